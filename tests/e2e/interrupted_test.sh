# shellcheck shell=bash
# What is sent twice, and how soon a copy goes on, after it was killed or cut off.
#
#     E2E_SEED=N tests/e2e/run 'interrupted:.*fifty'    the same moments again

window=$((64 << 20))

random_image() { # FILE MIB
	dd if=/dev/urandom of="$1" bs=1M count="$2" status=none
}

milliseconds() {
	echo $(($(date +%s%N) / 1000000))
}

# start_blockmig COMMAND...: $running; its lines come from descriptor $lines
start_blockmig() {
	exec {lines}< <(exec "$program" "$@" --json 2>"$out.err")
	running=$!
}

# Reads its progress until so much of the content is done (per cent); fails where it ends first.
read_until_done() {
	local line figures='"bytes_total": *([0-9]+), *"bytes_done": *([0-9]+)'
	while read -r -u "$lines" line; do
		[[ $line =~ $figures ]] || continue
		[ $((BASH_REMATCH[2] * 100)) -lt $((BASH_REMATCH[1] * $1)) ] || return 0
	done
	die "it ended before $1 %: $(cat "$out.err")"
}

kill_it() {
	kill -KILL "$running"
	exec {lines}<&-
	while kill -0 "$running" 2>/dev/null; do
		sleep 0.02
	done
}

# until_moving FILE SINCE: milliseconds until the server wrote to it, or until we gave up
until_moving() {
	local since=$2 end=$((SECONDS + 30)) changed
	while :; do
		changed=$(stat -c %.3Y "$1")
		changed=${changed/./}
		[ "$changed" -le "$since" ] || break
		if [ "$SECONDS" -ge "$end" ]; then
			changed=$(milliseconds)
			break
		fi
		sleep 0.02
	done
	echo $((changed - since))
}

# At a rate at which a line of progress, one a second, is less than the tenth that is left:
# a run that is killed with all of it sent would leave the next one nothing to move.
rate=60M

# killed_at_90 FILE COMMAND...: the machine is shared, so of three tries one is to be quick
killed_at_90() {
	local file=$1 try began moving
	shift
	start_blockmig "$@"
	read_until_done 90
	kill_it
	for try in 1 2 3; do
		# What was on its way is not what the next run moves.
		sleep 0.5
		began=$(milliseconds)
		start_blockmig "$@"
		moving=$(until_moving "$file" "$began")
		echo "moving data after $moving ms"
		[ "$moving" -gt 2000 ] || break
		[ "$try" -lt 3 ] || die "moving data only after $moving ms"
		kill_it
	done
	cat <&"$lines" >"$out"
	exec {lines}<&-
	is result 'done'
	is guarantee proven
	echo "sent again: $(field bytes_resent) bytes"
	[ "$(field bytes_resent)" -le $window ] || die "sent again: $(field bytes_resent)"
	[ "$(field bytes_skipped)" -gt $((512 << 20)) ] || die "it began anew: $(field bytes_skipped)"
}

copy_killed_at_90() { # FILE URL
	random_image /srv/local/disk.raw 1024
	killed_at_90 "$1" copy /srv/local/disk.raw "$2" --bwlimit $rate
	cmp /srv/local/disk.raw "$1" || die "the copy differs"
}

test_copy_to_nfs_killed_at_90_percent() {
	copy_killed_at_90 /srv/nfs/copy.raw nfs://127.0.0.1/srv/export/copy.raw
}

test_copy_to_iscsi_killed_at_90_percent() {
	"$lab" lun 2 1G
	copy_killed_at_90 /srv/luns/2 "iscsi://127.0.0.1/$target/2"
}

move_killed_at_90() { # FILE DATASTORE PLACE
	random_image /srv/local/disk.raw 1024
	writing_guest one /srv/local/disk.raw --rate 100
	killed_at_90 "$1" migrate one vda --to "$2" --bwlimit $rate
	lies_on one "$3"
	guest_wait_writing one 50
	whole one
}

test_move_to_nfs_killed_at_90_percent() {
	move_killed_at_90 /srv/nfs/disk.raw nfs /srv/nfs/disk.raw
}

test_move_to_iscsi_killed_at_90_percent() {
	"$lab" lun 2 1G
	move_killed_at_90 /srv/luns/2 iscsi "iscsi $target/2"
}

# ---- fifty times -------------------------------------------------------------------------

seed_random() {
	seed=${E2E_SEED:-$((RANDOM * 32768 + RANDOM))}
	RANDOM=$seed
	trap 'echo "seed: $seed"' EXIT
}

# random_sleep FROM TO (milliseconds)
random_sleep() {
	local ms=$(($1 + RANDOM % ($2 - $1)))
	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# Bytes that the next run may send for the second time: what the newest pass has claimed.
claimed() {
	sqlite3 -cmd '.timeout 10000' /var/lib/blockmig/ledger.db \
		"SELECT coalesce(sum(count), 0) * (4 << 20) FROM unit
			WHERE state = 1 AND pass = (SELECT max(id) FROM pass)"
}

# Slow enough to be interrupted so often, fast enough to arrive in between.
test_killed_fifty_times() {
	local i again=0
	seed_random
	random_image /srv/local/disk.raw 224
	writing_guest one /srv/local/disk.raw --rate 100
	for i in $(seq 50); do
		start_blockmig migrate one vda --to nfs --bwlimit 6M
		random_sleep 200 2200
		kill -0 "$running" 2>/dev/null || die "it ended after $i: $(cat "$out.err")"
		kill_it
		[ "$(claimed)" -le $window ] || die "claimed: $(claimed)"
		again=$((again + $(claimed)))
	done
	echo "sent again at most: $again bytes"
	[ $again -lt $((50 * window)) ] || die "sent again: $again"
	migrate one nfs
	[ "$(field bytes_skipped)" -gt 0 ] || die "it began anew"
	lies_on one /srv/nfs/disk.raw
	guest_wait_writing one 50
	whole one
}

test_cut_off_fifty_times() {
	local i
	seed_random
	"$lab" lun 2 256M
	random_image /srv/local/disk.raw 256
	writing_guest one /srv/local/disk.raw --rate 100
	start_blockmig migrate one vda --to iscsi --bwlimit 5M
	read_until_done 1
	for i in $(seq 50); do
		random_sleep 50 400
		"$lab" server iscsi restart
		kill -0 "$running" 2>/dev/null || die "it ended after $i: $(cat "$out.err")"
	done
	cat <&"$lines" >"$out"
	is result 'done'
	is guarantee proven
	echo "sent again: $(field bytes_resent) bytes"
	[ "$(field bytes_resent)" -lt $((50 * window)) ] || die "sent again: $(field bytes_resent)"
	lies_on one "iscsi $target/2"
	guest_wait_writing one 50
	whole one
}

# ---- the same command again ----------------------------------------------------------------

# Killed each time, and given in other words; the last one arrives.
test_same_place_in_other_words_carries_on() {
	local place
	random_image /srv/local/disk.raw 96
	writing_guest one /srv/local/disk.raw --rate 200
	for place in nfs nfs://127.0.0.1/srv/export/ /srv/nfs/; do
		start_blockmig migrate one vda --to "$place" --delete-source --bwlimit 12M
		read_until_done 10
		kill_it
	done
	migrate one nfs://127.0.0.1/srv/export/ --delete-source
	is job 1
	lies_on one /srv/nfs/disk.raw
	[ "$(files_in local)" = "" ] || die "left: $(files_in local)"
	whole one
}

test_second_copy_of_an_image_is_told_who_is_first() {
	random_image /srv/local/disk.raw 64
	start_blockmig copy /srv/local/disk.raw nfs://127.0.0.1/srv/export/copy.raw --bwlimit 8M
	read_until_done 10
	expect 75 blockmig copy /srv/local/disk.raw nfs://127.0.0.1/srv/export/copy.raw
	says "process $running .*blockmig copy .*job 1 since 20"
	expect 75 blockmig copy /srv/local/disk.raw /srv/scratch/other.raw
	says "process $running "
	kill_it
	# Whoever died holds nothing.
	expect 0 blockmig copy /srv/local/disk.raw nfs://127.0.0.1/srv/export/copy.raw --json
	is job 1
	cmp /srv/local/disk.raw /srv/nfs/copy.raw || die "the copy differs"
}

# ---- after a rollback -----------------------------------------------------------------------

# rolled_back DATASTORE: its server was lost half way, and is back
rolled_back() {
	random_image /srv/local/disk.raw 96
	writing_guest one /srv/local/disk.raw --rate 200 --blocks 2000
	virsh dumpxml one --inactive >/srv/scratch/before.xml
	start_blockmig migrate one vda --to "$1" --bwlimit 16M --retry-for 2s --on-failure rollback
	read_until_done 50
	"$lab" server "$1" stop
	cat <&"$lines" >"$out"
	is result rolled-back
	grep -q 'the partial copy stays at' "$out" || die "not a word of the copy: $(cat "$out")"
	lies_on one /srv/local/disk.raw
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	"$lab" server "$1" start
	guest_wait_writing one 50
}

# Half of it was there; of that the guest has changed the beginning.
uses_the_copy() { # TO
	migrate one "$1"
	grep -q 'is used: the source is hashed again' "$out" || die "it was not used: $(cat "$out")"
	[ "$(field bytes_skipped)" -gt 0 ] || die "it began anew"
}

test_partial_copy_on_nfs_is_used_after_a_rollback() {
	rolled_back nfs
	[ "$(files_in nfs)" = "disk.raw " ] || die "at the destination: $(files_in nfs)"
	uses_the_copy nfs
	lies_on one /srv/nfs/disk.raw
	guest_wait_writing one 50
	whole one
}

test_partial_copy_on_a_lun_is_used_after_a_rollback() {
	"$lab" lun 2 96M
	rolled_back iscsi
	uses_the_copy iscsi
	lies_on one "iscsi $target/2"
	guest_wait_writing one 50
	whole one
}

# The commit back makes the image that is copied as it is larger.
test_partial_qcow2_is_used_after_an_abort() {
	random_image /srv/scratch/data.raw 96
	qemu-img convert -O qcow2 /srv/scratch/data.raw /srv/local/disk.qcow2
	rm /srv/scratch/data.raw
	qemu-img resize -q /srv/local/disk.qcow2 192M
	writing_guest one /srv/local/disk.qcow2 --rate 200 --blocks 2000
	start_blockmig migrate one vda --to nfs --bwlimit 16M
	read_until_done 50
	kill_it
	expect 0 blockmig abort 1 --keep-partial --json
	is result rolled-back
	lies_on one /srv/local/disk.qcow2
	[ "$(files_in nfs)" = "disk.qcow2 " ] || die "at the destination: $(files_in nfs)"
	guest_wait_writing one 100
	uses_the_copy nfs
	lies_on one /srv/nfs/disk.qcow2
	guest_wait_writing one 50
	whole one
	qemu-img check -q /srv/nfs/disk.qcow2 || die "qemu-img check finds errors"
}
