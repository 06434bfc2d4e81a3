# shellcheck shell=bash
# A datastore is emptied while its guests write: limits, a death in the middle, the way back.

# guests RUNNING OFF: on NFS, called run1..., off1...; every one has a history.
guests() {
	local i
	for ((i = 1; i <= $1 + $2; i++)); do
		local name=run$i
		[ "$i" -le "$1" ] || name=off$((i - $1))
		qemu-img create -q -f raw "/srv/nfs/$name.raw" 48M
		guest_define "$name" "/srv/nfs/$name.raw" --rate 100 --blocks 6000 --memory 128
		guest_start "$name"
	done
	for ((i = 1; i <= $1 + $2; i++)); do
		[ "$i" -le "$1" ] && guest_wait_writing "run$i" 150
		[ "$i" -gt "$1" ] && guest_wait_writing "off$((i - $1))" 150 && guest_stop "off$((i - $1))"
	done
	return 0
}

names() {
	virsh -q list --all --name | grep -v '^$'
}

luns() { # COUNT SIZE
	local i
	for ((i = 1; i <= $1; i++)); do
		"$lab" lun "$i" "$2"
	done
}

# Nothing that any domain names is below the path.
empty_of() {
	local name
	for name in $(names); do
		! virsh dumpxml "$name" | grep -qE "<source (file|dev|name)='$1" ||
			die "$name still names something of $1: $(source_of "$name")"
		! virsh dumpxml "$name" --inactive | grep -q 'blockmig:job' ||
			die "$name has an element of ours"
	done
	nothing_left
}

all_whole() {
	local name
	for name in $(names); do
		whole "$name"
	done
}

# From the time line of the ledger: at no moment did more than N moves run.
at_most_at_once() {
	local most
	most=$(for job in $(blockmig history --json | jq -r .job); do
		blockmig status "$job" --json |
			jq -r '.phases | [(map(.begun_us) | min), (map(.ended_us) | max)] | "\(.[0]) 1\n\(.[1]) -1"'
	done | sort -n | awk '{ n += $2; if (n > most) most = n } END { print most }')
	[ "$most" -le "$1" ] || die "$most moves ran at once"
	[ "$most" -ge "$2" ] || die "never more than $most move ran at once"
}

test_four_guests_leave_and_come_back() {
	guests 2 2
	luns 2 64M
	expect 0 blockmig evacuate nfs --to local,iscsi --report /srv/scratch/report.prom \
		--then "echo \$BLOCKMIG_DATASTORE >/srv/scratch/then"
	# Success is silent: cron would send a mail of every word.
	[ ! -s "$out" ] && [ ! -s "$out.err" ] || die "it spoke: $(cat "$out" "$out.err")"
	[ "$(cat /srv/scratch/then)" = nfs ] || die "--then was not run"
	grep -q '^blockmig_evacuation_disks{datastore="nfs",state="moved"} 4$' /srv/scratch/report.prom ||
		die "the metrics do not say it: $(cat /srv/scratch/report.prom)"
	empty_of /srv/nfs
	at_most_at_once 2 2
	guest_wait_writing run1 50
	guest_wait_writing run2 50

	# What is left behind there are sources that nobody names; the way back is free.
	rm -f /srv/nfs/*
	expect 0 blockmig evacuate local --to nfs
	expect 0 blockmig evacuate iscsi --to nfs --json
	is empty true
	empty_of /srv/local
	! virsh dumpxml run1 | grep -q iqn || die "run1 is still on the target"
	all_whole
}

# The evacuation's own process, not those of its moves.
evacuation_in_background() {
	setsid "$build/blockmig" evacuate "$@" </dev/null >/srv/scratch/evacuation.out 2>&1 &
	evacuation=$!
}

test_a_death_in_the_middle_and_the_same_command_again() {
	local end child
	guests 2 1
	luns 2 64M
	end=$((SECONDS + 120))
	evacuation_in_background nfs --to local,iscsi --bwlimit 8M
	until [ "$(blockmig status --json | jq -r 'select(.phase == "seed") | .job' | wc -l)" -ge 2 ]; do
		[ "$SECONDS" -lt "$end" ] || die "two moves do not seed: $(blockmig status; cat /srv/scratch/evacuation.out)"
		sleep 0.2
	done
	# A second one leaves at once.
	expect 75 blockmig evacuate nfs --to local
	says 'nfs is being evacuated already'
	# And nothing new may come.
	qemu-img create -q -f raw /srv/local/new.raw 16M
	guest_define new /srv/local/new.raw
	expect 1 blockmig migrate new --to nfs
	says 'nfs is being evacuated: choose another destination'
	virsh -q undefine new

	mapfile -t children < <(ps -o pid= --ppid "$evacuation")
	kill -KILL "$evacuation"
	wait "$evacuation" 2>/dev/null || true
	for child in "${children[@]}"; do
		while kill -0 "$child" 2>/dev/null; do
			[ "$SECONDS" -lt "$end" ] || die "a move outlives its evacuation"
			sleep 0.1
		done
	done
	expect 0 blockmig evacuate nfs --to local,iscsi --json
	[ "$(field bytes_resent)" -le $((2 * 64 * 1024 * 1024)) ] || die "more than a window was sent again"
	empty_of /srv/nfs
	all_whole
}
