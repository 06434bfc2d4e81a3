# shellcheck shell=bash
# Guests that write faster than the copy, and file systems that fill up.

# For a guest that writes 4 KiB more than about a hundred times a second, and syncs each time,
# to a disk of 32 MiB; not for one that does so 64 times, which is the floor.
too_slow=(--bwlimit 4M --max-downtime 220ms)

writes_of() {
	virsh domblkstat "$1" vda | awk '$2 == "wr_req" { print $3 }'
}

# On a machine that is busy the guest may have to wait for its turn.
wait_until_fast() {
	local before=0 now
	now=$(writes_of "$1")
	until [ $((now - before)) -ge 120 ] && [ "$before" != 0 ]; do
		before=$now
		sleep 1
		now=$(writes_of "$1")
	done
}

# too_slow_to_show_it NAME WRITES SECONDS: it wrote too little since to be slowed at all
too_slow_to_show_it() {
	local now
	now=$(writes_of "$1")
	[ $((now - $2)) -lt $((100 * (SECONDS - $3 + 1))) ] || return 1
	echo "the guest wrote $((now - $2)) times in $((SECONDS - $3)) s: this machine is too busy"
}

limits_of() {
	virsh blkdeviotune "$1" vda | sed '/group_name/d'
}

# Dense at first, so that a copy takes its time.
image_with_data() { # PATH SIZE DATA
	truncate -s "$2" "$1"
	dd if=/dev/urandom of="$1" bs=1M count="$3" conv=notrunc status=none
}

test_a_guest_that_is_too_fast_is_slowed_for_a_while() {
	local before inactive writes begun
	image_with_data /srv/local/disk.raw 32M 32
	writing_guest one /srv/local/disk.raw --rate 0
	wait_until_fast one
	virsh -q blkdeviotune one vda --live --total-bytes-sec 60M --total-bytes-sec-max 90M >/dev/null
	before=$(limits_of one)
	inactive=$(virsh dumpxml one --inactive | grep -v '<source')
	writes=$(writes_of one) begun=$SECONDS
	migrate one nfs "${too_slow[@]}" --delete-source
	grep -q 'slowed to' "$out.err" || too_slow_to_show_it one "$writes" "$begun" || die "it was not slowed"
	[ "$before" = "$(limits_of one)" ] || die "the limits were $before, and are $(limits_of one)"
	[ "$inactive" = "$(virsh dumpxml one --inactive | grep -v '<source')" ] || die "more than the source changed"
	lies_on one /srv/nfs/disk.raw
	guest_wait_writing one 100
	whole one
}

# slowed_and_aborted [COMMAND...]: killed while the guest is slow, and COMMAND before the abort
slowed_and_aborted() {
	local before writes begun
	image_with_data /srv/local/disk.raw 32M 32
	writing_guest one /srv/local/disk.raw --rate 0
	wait_until_fast one
	virsh -q blkdeviotune one vda --live --total-bytes-sec 60M --total-bytes-sec-max 90M >/dev/null
	virsh dumpxml one --inactive >/srv/scratch/before.xml
	before=$(limits_of one)
	writes=$(writes_of one) begun=$SECONDS
	"$program" migrate one vda --to nfs "${too_slow[@]}" >/dev/null 2>&1 &
	until virsh dumpxml one | grep -q '<write_bytes_sec>'; do
		kill -0 $! || {
			too_slow_to_show_it one "$writes" "$begun" || die "it was not slowed"
			return 0
		}
		sleep 0.1
	done
	kill -9 $!
	wait $! || true
	[ "$before" != "$(limits_of one)" ] || die "it is not slow any more"
	"$@"
	expect 0 blockmig abort 1 --json
	is result rolled-back
	[ "$before" = "$(limits_of one)" ] || die "the limits were $before, and are $(limits_of one)"
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	lies_on one /srv/local/disk.raw
	whole one
}

test_a_slow_guest_is_fast_again_after_a_kill_and_an_abort() {
	slowed_and_aborted true
}

test_a_slow_guest_is_fast_again_though_the_ledger_is_lost() {
	slowed_and_aborted find /var/lib/blockmig -mindepth 1 -delete
}

# A file system of its own with an image of 200 MiB, 60 of them data; NAME writes to it.
guest_in_a_small_place() { # SIZE RATE
	truncate -s "$1" /srv/scratch/small
	mkfs.ext4 -q -m 0 /srv/scratch/small
	mkdir /srv/small
	mount -o loop /srv/scratch/small /srv/small
	chmod 755 /srv/small
	image_with_data /srv/small/disk.raw 200M 60
	writing_guest one /srv/small/disk.raw --rate "$2"
	virsh dumpxml one --inactive >/srv/scratch/before.xml
}

# The guest went on without noticing: no ENOSPC, no pause, and everything as before.
home_in_the_small_place() {
	[ "$(virsh -q domstate one --reason)" != 'paused (I/O error)' ] || die "the guest met a full file system"
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	lies_on one /srv/small/disk.raw
	[ "$(find /srv/small -name '*blockmig*')" = "" ] || die "left: $(ls /srv/small)"
	guest_wait_writing one 50
	whole one
}

test_at_the_low_water_mark_a_job_rolls_back() {
	guest_in_a_small_place 320M 300
	expect 1 blockmig migrate one vda --to nfs --json --bwlimit 1M
	is result rolled-back
	says 'low water in /srv/small'
	home_in_the_small_place
}

test_a_held_job_is_rolled_back_by_resume_though_the_network_is_away() {
	local status=3
	guest_in_a_small_place 320M 60
	(sleep 3 && "$lab" server nfs stop) &
	expect 3 blockmig migrate one vda --to nfs --bwlimit 4M --retry-for 2s
	says 'free in /srv/small'
	until blockmig status --json | jq -e '.overlay.lasts_s' >/dev/null; do
		sleep 0.5
	done
	expect 0 blockmig status
	grep -q 'free in /srv/small: enough for' "$out" || die "no word about the room: $(cat "$out")"
	# As cron would.
	while [ "$status" = 3 ]; do
		status=0
		blockmig resume --json --retry-for 1s >"$out" 2>"$out.err" || status=$?
	done
	[ "$status" = 1 ] || die "ended with $status: $(cat "$out.err")"
	is result rolled-back
	says 'low water in /srv/small'
	home_in_the_small_place
}
