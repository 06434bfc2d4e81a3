# shellcheck shell=bash
# What goes wrong on the way, at the exact moment (hook.c), and where the guest is then.

test_wrong_overlay_is_noticed_and_the_guest_brought_home() {
	a_writing_guest 0
	expect 4 hooked HOOK_SYNCHRONOUS=/srv/scratch/synchronous -- \
		migrate one vda --to nfs --json
	[ -e /srv/scratch/synchronous ] || die "the mirror was not spoilt"
	is result rolled-back
	says 'compare|differ'
	as_before
	[ "$(files_in nfs)" = "" ] || die "left at the destination: $(files_in nfs)"
}

test_destination_gone_after_the_pivot() {
	a_writing_guest
	"$lab" lun 2 96M
	expect 1 hooked HOOK_AFTER_pivot="$lab server iscsi stop" -- \
		migrate one vda --to iscsi --json --on-failure rollback --retry-for 2s
	is result rolled-back
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	as_before
}

# With our help, or the guardian's.
no_job_open() {
	blockmig resume >/dev/null 2>&1 || true
	[ "$(blockmig history --json | tail -n 1 | jq -r .state)" != open ]
}

test_destination_gone_before_the_pivot() {
	local status=0
	a_writing_guest
	"$lab" lun 2 96M
	hooked HOOK_AFTER_suspend="$lab server iscsi stop" -- migrate one vda --to iscsi --json \
		--on-failure rollback --retry-for 2s >"$out" 2>"$out.err" || status=$?
	case $status in
	1) ;;
	3 | 5)
		# The outcome of the pivot was not known: it settles when the target is back.
		"$lab" server iscsi start
		wait_until 60 no_job_open
		;;
	*) die "ended with $status: $(cat "$out.err")" ;;
	esac
	"$lab" server iscsi start
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	nothing_left
	guest_wait_writing one 100
	whole one
}

# Nobody refuses anything: there is just no answer.  Nobody resumes the job, either.
test_destination_silent_in_the_cutover() {
	local begun=$SECONDS
	a_writing_guest
	"$lab" lun 2 96M
	expect 5 hooked HOOK_AFTER_suspend="$lab server iscsi pause" -- \
		migrate one vda --to iscsi --json --retry-for 2s
	says 'the guest stands still; process'
	says 'not known'
	[ $((SECONDS - begun)) -lt 120 ] || die "it took $((SECONDS - begun)) s to give up"
	"$lab" server iscsi continue
	wait_until 90 job_ended
	expect 0 blockmig report 1 --json
	is result 'done'
	is guarantee proven
	[ "$(field downtime_ms)" -gt 3000 ] || die "told of a downtime of $(field downtime_ms) ms"
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	lies_on one "iscsi $target/2"
	guest_wait_writing one 100
	whole one
}

test_libvirt_away_for_longer_than_our_patience_after_the_pivot() {
	local before
	a_writing_guest
	"$lab" lun 2 96M
	expect 3 hooked HOOK_AFTER_pivot="$lab server libvirt stop" -- \
		migrate one vda --to iscsi --json --retry-for 2s
	says 'the guest stands still; process'
	before=$(lab_acknowledged one)
	sleep 2
	[ "$(lab_acknowledged one)" = "$before" ] || die "the guest writes"
	"$lab" server libvirt start
	guest_wait_writing one 100
	wait_until 60 job_ended
	lies_on one "iscsi $target/2"
	expect 0 blockmig resume
	whole one
}

test_destination_silent_before_the_cutover() {
	a_writing_guest
	"$lab" lun 2 96M
	expect 3 hooked HOOK_AFTER_blockcopy="$lab server iscsi pause" -- \
		migrate one vda --to iscsi --json --retry-for 2s
	says 'the guest writes on'
	guest_wait_writing one 100
	stalled_less_than one 8000
	expect 0 blockmig abort 1 --json
	"$lab" server iscsi continue
	as_before
}

killed() { # at CALL
	a_writing_guest
	"$lab" lun 2 96M
	expect 137 hooked "$1=$kill_us" -- migrate one vda --to iscsi
	wait_until 60 job_ended
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	lies_on one "iscsi $target/2"
	guest_wait_writing one 100
	stalled_less_than one 20000
	whole one
}

test_killed_while_the_guest_is_suspended() { killed HOOK_AFTER_suspend; }
test_killed_right_after_the_pivot() { killed HOOK_AFTER_pivot; }

resumed_after_kill_at() {
	a_writing_guest
	expect 137 hooked "$1=$kill_us" -- migrate one vda --to nfs --delete-source
	expect 0 blockmig resume --json
	is result 'done'
	lies_on one /srv/nfs/disk.raw
	[ "$(files_in local)" = "" ] || die "left: $(files_in local)"
	guest_wait_writing one 100
	whole one
}

test_killed_after_the_snapshot() { resumed_after_kill_at HOOK_AFTER_snapshot; }
test_killed_before_the_snapshot() { resumed_after_kill_at HOOK_BEFORE_snapshot; }
test_killed_after_the_mirror_began() { resumed_after_kill_at HOOK_AFTER_blockcopy; }
test_killed_after_the_merge_began() { resumed_after_kill_at HOOK_AFTER_commit; }

test_flipped_byte_is_written_again() {
	a_writing_guest
	mkdir /srv/local/to
	expect 0 hooked HOOK_FLIP=to/disk.raw:50000000:1 -- \
		migrate one vda --to /srv/local/to/ --json --delete-source
	is result 'done'
	is guarantee proven
	[ "$(field bytes_resent)" -gt 0 ] || die "nothing was sent again"
	lies_on one /srv/local/to/disk.raw
	whole one
}

test_lasting_flip_leaves_the_guest_on_its_source() {
	a_writing_guest
	mkdir /srv/local/to
	expect 4 hooked HOOK_FLIP=to/disk.raw:50000000 -- \
		migrate one vda --to /srv/local/to/ --json
	is result rolled-back
	says 'differ|not what was|SHA-256'
	as_before
	[ ! -e /srv/local/to/disk.raw ] || die "the wrong copy is left"
}

test_interrupted_and_resumed() {
	a_writing_guest
	expect 3 timeout --preserve-status -s INT 3 "$program" migrate one vda --to nfs --bwlimit 16M
	says 'blockmig resume 1'
	expect 0 blockmig resume 1 --json
	is result 'done'
	[ "$(field bytes_resent)" -le $((64 << 20)) ] || die "sent again: $(field bytes_resent)"
	lies_on one /srv/nfs/disk.raw
	whole one
}

test_same_command_again_carries_on() {
	a_writing_guest
	expect 137 timeout -s KILL 3 "$program" migrate one vda --to nfs --bwlimit 16M
	migrate one nfs
	[ "$(field bytes_skipped)" -gt 0 ] || die "it began again at zero"
	lies_on one /srv/nfs/disk.raw
	whole one
}

test_aborted_in_the_middle() {
	a_writing_guest
	expect 3 timeout --preserve-status -s INT 3 "$program" migrate one vda --to nfs --bwlimit 16M
	expect 0 blockmig abort 1 --json
	is result rolled-back
	as_before
	[ "$(files_in nfs)" = "" ] || die "left at the destination: $(files_in nfs)"
}

test_second_blockmig_is_told_who_is_first() {
	local first
	a_writing_guest
	"$program" migrate one vda --to nfs --bwlimit 16M >/dev/null 2>&1 &
	first=$!
	wait_until 20 bash -c "'$program' status --json | grep -q seed"
	expect 75 blockmig migrate one vda --to nfs
	says "process $first .*migrate one vda --to nfs.* job 1 since 20"
	kill -INT $first
	wait $first || true
	expect 75 blockmig migrate one vda --to iscsi
	expect 0 blockmig abort 1
	as_before
}

test_server_gone_holds_and_resumes() {
	a_writing_guest
	(sleep 2 && "$lab" server nfs stop) &
	expect 3 blockmig migrate one vda --to nfs --bwlimit 16M --retry-for 2s
	says 'resume 1'
	guest_wait_writing one 50
	"$lab" server nfs start
	expect 0 blockmig resume 1 --json
	is result 'done'
	lies_on one /srv/nfs/disk.raw
	whole one
}

test_server_restarted_in_the_middle_is_no_failure() {
	a_writing_guest
	(sleep 2 && "$lab" server nfs restart) &
	migrate one nfs --bwlimit 20M
	lies_on one /srv/nfs/disk.raw
	whole one
}

test_server_gone_rolls_back() {
	a_writing_guest
	(sleep 2 && "$lab" server nfs stop) &
	expect 1 blockmig migrate one vda --to nfs --json --bwlimit 16M --retry-for 2s --on-failure rollback
	is result rolled-back
	as_before
}

test_guest_shut_off_in_the_middle() {
	a_writing_guest
	(sleep 3 && virsh -q destroy one) &
	migrate one nfs --bwlimit 20M --delete-source
	lies_on one /srv/nfs/disk.raw
	[ "$(virsh -q domstate one)" = "shut off" ] || die "the guest was started"
	whole one
}

test_guest_started_in_the_middle() {
	a_writing_guest
	guest_stop one
	(sleep 3 && virsh -q start one) &
	migrate one nfs --bwlimit 20M --delete-source
	lies_on one /srv/nfs/disk.raw
	guest_wait_writing one 100
	whole one
}

test_libvirtd_restarted_in_the_middle() {
	a_writing_guest
	(sleep 2 && "$lab" server libvirt restart) &
	migrate one nfs --bwlimit 20M --delete-source
	lies_on one /srv/nfs/disk.raw
	whole one
}
