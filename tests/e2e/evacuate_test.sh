# shellcheck shell=bash
# A datastore is emptied while its guests write: limits, a death in the middle, the way back.

# guests RUNNING OFF [WRITES-A-SECOND [WRITES]]: on NFS, called run1..., off1...; every one
# has a history.
guests() {
	local i name list=()
	for ((i = 1; i <= $1; i++)); do
		list+=("run$i")
	done
	for ((i = 1; i <= $2; i++)); do
		list+=("off$i")
	done
	for name in "${list[@]}"; do
		qemu-img create -q -f raw "/srv/nfs/$name.raw" 48M
		guest_define "$name" "/srv/nfs/$name.raw" --rate "${3:-100}" --blocks 6000 --memory 128
		guest_start "$name"
	done
	for name in "${list[@]}"; do
		guest_wait_writing "$name" "${4:-150}"
		[[ $name = run* ]] || guest_stop "$name"
	done
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
	[ "$(cat "$out" "$out.err")" = "" ] || die "it spoke: $(cat "$out" "$out.err")"
	[ "$(cat /srv/scratch/then)" = nfs ] || die "--then was not run"
	grep -q '^blockmig_evacuation_disks{datastore="nfs",state="moved"} 4$' /srv/scratch/report.prom ||
		die "the metrics do not say it: $(cat /srv/scratch/report.prom)"
	empty_of /srv/nfs
	at_most_at_once 2 2
	guest_wait_writing run1 50
	guest_wait_writing run2 50

	expect 0 blockmig report 1 --json
	is guarantee proven
	expect 0 blockmig report 1 --html /srv/scratch/report.html
	grep -q 'Chunks proven' /srv/scratch/report.html || die "no page: $(cat /srv/scratch/report.html)"

	# What is left behind there are sources that nobody names; the way back is free.
	rm -f /srv/nfs/*
	expect 0 blockmig evacuate local --to nfs
	expect 0 blockmig evacuate iscsi --to nfs --json
	is empty true
	empty_of /srv/local
	empty_of iqn
	all_whole
}

# The evacuation's own process, not those of its moves.
evacuation_in_background() {
	setsid "$program" evacuate "$@" </dev/null >/srv/scratch/evacuation.out 2>&1 &
	evacuation=$!
}

# seeding N: so many moves copy, in the evacuation that runs in the background
seeding() {
	local end=$((SECONDS + 120))
	until [ "$(blockmig status --json | jq -r 'select(.phase == "seed") | .job' | wc -l)" -ge "$1" ]; do
		kill -0 "$evacuation" 2>/dev/null || die "it ended: $(cat /srv/scratch/evacuation.out)"
		[ "$SECONDS" -lt "$end" ] || die "$1 moves do not seed: $(blockmig status; cat /srv/scratch/evacuation.out)"
		sleep 0.2
	done
}

test_a_death_in_the_middle_and_the_same_command_again() {
	local child children
	guests 2 1
	luns 2 64M
	evacuation_in_background nfs --to local,iscsi --bwlimit 8M
	seeding 2
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
	# At once, while its moves still reach their checkpoints: they are waited for.
	expect 0 blockmig evacuate nfs --to local,iscsi --json
	for child in "${children[@]}"; do
		! kill -0 "$child" 2>/dev/null || die "a move outlives its evacuation"
	done
	[ "$(field bytes_resent)" -le $((2 * 64 * 1024 * 1024)) ] || die "more than a window was sent again"
	empty_of /srv/nfs
	all_whole
}

# ends_with STATUS: the evacuation in the background
ends_with() {
	local status=0
	wait "$evacuation" || status=$?
	[ "$status" = "$1" ] || die "it ended with $status, not $1: $(cat /srv/scratch/evacuation.out)"
}

# A window that closes at the next full minute that is not too near.
window_that_closes_soon() {
	local closes=$((($(date +%s) + 40) / 60 * 60 + 60))
	echo "$(date -d "@$((closes - 300))" +%H:%M)-$(date -d "@$closes" +%H:%M)"
}

test_nights_that_end_by_the_user_and_by_the_window() {
	local window
	guests 2 0
	evacuation_in_background nfs --to local --bwlimit 200K
	seeding 2
	kill -INT "$evacuation"
	ends_with 3
	grep -q '2 held; not empty' /srv/scratch/evacuation.out ||
		die "the summary does not say it: $(cat /srv/scratch/evacuation.out)"
	[ "$(blockmig status --json | jq -r 'select(.state == "interrupted") | .job' | wc -l)" = 2 ] ||
		die "they are not at a checkpoint: $(blockmig status)"

	window=$(window_that_closes_soon)
	evacuation_in_background nfs --to local --bwlimit 200K --window "$window"
	seeding 2
	ends_with 3
	[ "$(date +%s)" -le "$(date -d "${window#*-}" +%s)" ] || die "it ran on behind its window"
	grep -q 'the window opens at' /srv/scratch/evacuation.out ||
		die "it does not say when it goes on: $(cat /srv/scratch/evacuation.out)"
	guest_wait_writing run1 50

	# Outside of its hours it begins nothing.
	expect 3 blockmig evacuate nfs --to local --window "$(date -d '+2 hours' +%H:%M)-$(date -d '+3 hours' +%H:%M)"
	says '2 not begun'

	expect 0 blockmig evacuate nfs --to local --json
	[ "$(field moved)" = 2 ] || die "not both moved: $(tail -n 1 "$out")"
	[ "$(field bytes_resent)" -le $((2 * 3 * 64 * 1024 * 1024)) ] || die "more was sent again than windows"
	empty_of /srv/nfs
	all_whole
}

test_what_could_not_leave_is_named() {
	local name
	for name in free shared; do
		qemu-img create -q -f raw "/srv/nfs/$name.raw" 16M
		guest_define $name "/srv/nfs/$name.raw"
	done
	virsh dumpxml shared | sed 's|<target dev=.vda.|<shareable/>&|' | virsh -q define /dev/stdin
	expect 6 blockmig evacuate nfs --to local --report /srv/scratch/report.json --then 'touch /srv/scratch/then'
	says '1 disk moved, 1 cannot be moved; not empty'
	says 'shared vda: .*shareable'
	[ ! -e /srv/scratch/then ] || die "--then was run though it is not empty"
	[ "$(jq -r '.stays[0].domain' /srv/scratch/report.json)" = shared ] || die "the report does not say it"
	lies_on free /srv/local/free.raw
	expect 1 blockmig migrate free --to nfs
	says 'nfs is being evacuated'

	# A destination that is away is no reason to begin.
	"$lab" server iscsi stop
	virsh dumpxml shared | sed 's|<shareable/>||' | virsh -q define /dev/stdin
	expect 1 blockmig evacuate nfs --to iscsi
	says 'shared'
	lies_on shared /srv/nfs/shared.raw
	expect 0 blockmig evacuate nfs --end-maintenance
	expect 0 blockmig migrate free --to nfs
}

installed() {
	make -s -C "$repository" install PREFIX=/usr/local DESTDIR=/run/lab/root >/dev/null
	# The laboratory's own /usr/local for as long as it lives.
	mount -t overlay -o lowerdir=/run/lab/root/usr/local:/usr/local laboratory /usr/local
}

# The whole of it: what a night has to do on one small host.
test_eight_running_and_four_off_leave_and_come_back() {
	local name
	guests 8 4 10 30
	luns 6 64M
	evacuation_in_background nfs --to iscsi,local --bwlimit 40M --per-host 4
	seeding 4
	kill -KILL "$evacuation"
	wait "$evacuation" 2>/dev/null || true
	expect 0 blockmig evacuate nfs --to iscsi,local --per-host 4 --json
	[ "$(field empty)" = true ] || die "it is not empty: $(tail -n 1 "$out")"
	empty_of /srv/nfs
	at_most_at_once 4 4
	for name in run{1..8}; do
		guest_wait_writing "$name" 20
	done

	rm -f /srv/nfs/*
	expect 0 blockmig evacuate local --to nfs --json
	expect 0 blockmig evacuate iscsi --to nfs --json
	empty_of /srv/local
	empty_of iqn
	for name in run{1..8}; do
		guest_wait_writing "$name" 20
	done
	all_whole
}

test_the_units_are_sound() {
	local units=/usr/local/lib/systemd/system
	installed
	mkdir -p /etc/blockmig/evacuate
	echo 'EVACUATE_TO=local' >/etc/blockmig/evacuate/filer.conf
	expect 0 env SYSTEMD_UNIT_PATH=$units:/lib/systemd/system systemd-analyze verify --man=no \
		blockmig-evacuate@filer.service blockmig-evacuate@filer.timer
	[ ! -s "$out.err" ] || die "systemd has something to say: $(cat "$out.err")"
	expect 0 systemd-analyze security --no-pager --offline=true --threshold=40 \
		$units/blockmig-evacuate@.service
}

# The line of README.md that cron would run, and what it has around it.
test_the_crontab_example_runs_as_written() {
	local command hour
	installed
	sed -i 's/\[datastore nfs\]/[datastore filer]/; s/\[datastore iscsi\]/[datastore array]/' \
		/etc/blockmig/blockmig.conf
	luns 1 64M
	qemu-img create -q -f raw /srv/nfs/one.raw 16M
	guest_define one /srv/nfs/one.raw
	mkdir -p /var/lib/prometheus/node-exporter
	command=$(sed -n 's/^    0 22 \* \* \* root //p' "$repository/README.md")
	[ -n "$command" ] || die "README.md has no such line"
	# Wherever it is eleven in the evening now.
	hour=$(((10#$(date -u +%H) + 1 + 14) % 24 - 14))
	[ "$hour" -ge -12 ] || hour=$((hour + 24))
	expect 0 env -i TZ="Etc/GMT$(printf '%+d' "$hour")" PATH=/usr/local/bin:/usr/bin:/bin HOME=/root LOGNAME=root SHELL=/bin/sh \
		/bin/sh -c "$command"
	[ "$(cat "$out" "$out.err")" = "" ] || die "cron would send a mail: $(cat "$out" "$out.err")"
	grep -q 'blockmig_evacuation_empty{datastore="filer"} 1' \
		/var/lib/prometheus/node-exporter/*.prom || die "no metrics"
	empty_of /srv/nfs
}
