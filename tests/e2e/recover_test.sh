# shellcheck shell=bash
# What is left when the ledger is lost, and guests whose memory was saved while they moved.

state=/var/lib/blockmig

# As kill_us, and the ledger goes first.
# shellcheck disable=SC2016
lose_all="rm -rf $state/*; "'kill -9 $BLOCKMIG_PID'

test_ledger_lost_before_the_cutover_and_the_guest_goes_home() {
	a_writing_guest
	expect 137 hooked HOOK_AFTER_blockcopy="$lose_all" -- migrate one vda --to nfs
	expect 0 blockmig status
	says 'domain one, disk vda carries job 1'
	expect 1 blockmig resume --json
	is result rolled-back
	says 'its ledger was lost'
	as_before
	[ "$(files_in nfs)" = "" ] || die "left at the destination: $(files_in nfs)"
	expect 0 blockmig gc --json
	[ "$(field kept)" = 0 ] || die "gc found: $(cat "$out")"
	expect 0 blockmig resume
}

# The guardian finds what there is to find.
test_ledger_lost_while_the_guest_is_suspended() {
	a_writing_guest
	"$lab" lun 2 96M
	expect 137 hooked HOOK_AFTER_pivot="$lose_all" -- migrate one vda --to iscsi
	wait_until 60 job_ended
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	lies_on one "iscsi $target/2"
	guest_wait_writing one 100
	stalled_less_than one 20000
	whole one
}

# It wrote there, and is off: the source that it came from is stale.
test_ledger_lost_with_the_host_just_after_the_guest_changed_over() {
	a_writing_guest
	expect 137 hooked HOOK_AFTER_resume="sleep 2; virsh -q destroy one; $lose_all" -- \
		migrate one vda --to nfs
	wait_until 60 job_ended
	[ "$(virsh -q domstate one)" = "shut off" ] || die "the guest is $(virsh -q domstate one)"
	lies_on one /srv/nfs/disk.raw
	virsh -q start one
	guest_wait_writing one 100
	whole one
}

# A guest that is off, as after a power cut, with its writes in overlays of a lost ledger.
test_ledger_lost_with_the_host_and_aborted() {
	a_writing_guest
	expect 137 hooked HOOK_AFTER_blockcopy="$lose_all" -- migrate one vda --to nfs
	guest_wait_writing one 100
	virsh -q destroy one
	expect 0 blockmig abort 1 --json
	is result rolled-back
	lies_on one /srv/local/disk.raw
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	whole one
}

boots() {
	grep -c 'laboratory guest is up' "$lab_history/one.console" || true
}

# It wakes up on the right disk, in the middle of what it did.
wakes_up_at() { # PLACE
	local boots
	boots=$(boots)
	[[ $(virsh dominfo one) == *"Managed save:   yes"* ]] || die "the saved image is gone"
	[[ $(virsh managedsave-dumpxml one) != *blockmig:job* ]] || die "our element is left in the saved XML"
	virsh -q start one
	[ "$(virsh -q domstate one)" = running ] || die "the guest is $(virsh -q domstate one)"
	lies_on one "$1"
	guest_wait_writing one 100
	[ "$(boots)" = "$boots" ] || die "the guest was booted anew"
	whole one
}

test_guest_saved_while_its_image_is_copied() {
	a_writing_guest
	(sleep 3 && virsh -q managedsave one) &
	migrate one nfs --bwlimit 20M --delete-source
	wakes_up_at /srv/nfs/disk.raw
}

test_guest_saved_with_its_host_after_the_freeze() {
	a_writing_guest
	expect 137 hooked HOOK_AFTER_blockcopy="$kill_us" -- migrate one vda --to nfs
	virsh -q blockjob one vda --abort || true
	virsh -q managedsave one
	expect 0 blockmig resume --json
	is result 'done'
	wakes_up_at /srv/nfs/disk.raw
}

test_guest_saved_with_its_host_and_the_move_aborted() {
	a_writing_guest
	expect 137 hooked HOOK_AFTER_snapshot="$kill_us" -- migrate one vda --to nfs
	guest_wait_writing one 100
	virsh -q managedsave one
	expect 0 blockmig abort 1 --json
	is result rolled-back
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	wakes_up_at /srv/local/disk.raw
}

# Everything that runs is gone at once, and what comes up is another boot.
host_goes_down() { # HOOK
	local qemu
	a_writing_guest
	qemu=$(cat /run/libvirt/qemu/one.pid)
	expect 137 hooked "$1=kill -9 $qemu \$(cat /run/lab/libvirt.pid) \$BLOCKMIG_PID" -- \
		migrate one vda --to nfs
	wait_until 20 is_gone "$qemu"
	cat /proc/sys/kernel/random/uuid >/srv/scratch/boot
	mount --bind /srv/scratch/boot /proc/sys/kernel/random/boot_id
	cmp -s /srv/scratch/boot /proc/sys/kernel/random/boot_id || die "it is the same boot"
	"$lab" server libvirt start
	[ "$(virsh -q domstate one)" = "shut off" ] || die "the guest is $(virsh -q domstate one)"
}

is_gone() { # PID
	! kill -0 "$1" 2>/dev/null
}

comes_up_and_is_moved() {
	expect 0 blockmig resume --json
	is result 'done'
	lies_on one /srv/nfs/disk.raw
	expect 0 blockmig gc --json
	[ "$(field kept) $(field removed)" = "0 0" ] || die "gc found: $(cat "$out")"
	[ "$(files_in nfs)" = "disk.raw " ] || die "at the destination: $(files_in nfs)"
	virsh -q start one
	guest_wait_writing one 100
	whole one
}

test_host_rebooted_after_the_freeze() {
	host_goes_down HOOK_AFTER_snapshot
	comes_up_and_is_moved
}

test_host_rebooted_while_the_mirror_runs() {
	host_goes_down HOOK_AFTER_blockcopy
	comes_up_and_is_moved
}
