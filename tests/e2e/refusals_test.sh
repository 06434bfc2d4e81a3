# shellcheck shell=bash
# What cannot work is refused before anything changes, with the reason and the way out.

state_of_all() {
	virsh dumpxml one --inactive
	find /srv/local /srv/nfs /srv/scratch -printf '%p %u %m\n' | sort
}

# refused PATTERN OPTION...: and nothing has changed
refused() {
	local pattern=$1 before after
	shift
	before=$(state_of_all)
	expect 1 blockmig migrate one vda "$@"
	says "$pattern"
	expect 1 blockmig plan one vda "$@"
	after=$(state_of_all)
	[ "$before" = "$after" ] || die "something changed: $(diff <(echo "$before") <(echo "$after"))"
}

a_guest() { # SPEC
	guest_define one "${1:-$(new_image local raw 32M)}"
}

edit() { # SED-EXPRESSION
	virsh dumpxml one --inactive | sed -E "$1" | virsh -q define /dev/stdin >/dev/null
}

test_disk_kinds() {
	a_guest
	edit "s|(<target dev=.vda.)|<shareable/>\1|"
	refused 'shareable' --to nfs
	edit "s|<shareable/>|<transient/>|"
	refused 'transient' --to nfs
	edit "s|<transient/>|<readonly/>|"
	refused 'read-only' --to nfs
}

test_destinations() {
	a_guest
	expect 2 blockmig migrate one vda --to nowhere-known
	says 'nowhere-known'
	touch /srv/nfs/disk.raw /srv/nfs/one-vda.raw
	refused 'exists' --to nfs
	refused 'same image' --to /srv/local/disk.raw
	ln /srv/local/disk.raw /srv/local/link.raw
	refused 'same image|in use' --to /srv/local/link.raw
	refused 'no LUN' --to iscsi
	"$lab" lun 1 16M
	refused 'too small' --to "iscsi://127.0.0.1/$target/1"
	"$lab" lun 2 64M
	qemu-io -f raw -c 'write -P 7 0 64k' "iscsi://127.0.0.1/$target/2" >/dev/null
	refused 'not empty' --to "iscsi://127.0.0.1/$target/2"
	"$lab" lun 3 64M
	guest_define two "iscsi://127.0.0.1/$target/3"
	refused 'in use.*two' --to "iscsi://127.0.0.1/$target/3"
	refused '.' --to "iscsi://127.0.0.1/$target/9"
}

test_images() {
	qemu-img create -q -f qcow2 /srv/local/base.qcow2 32M
	qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 /srv/local/disk.qcow2
	a_guest /srv/local/disk.qcow2
	refused 'backing file|layers' --to nfs
	rm /srv/local/base.qcow2
	refused 'backing file|layers' --to nfs
	qemu-img create -q -f qcow2 /srv/local/disk.qcow2 32M
	qemu-img snapshot -c one /srv/local/disk.qcow2
	refused 'internal snapshots' --to nfs --format raw
}

test_domain_states() {
	a_guest
	guest_start one
	guest_wait_writing one 20
	virsh -q managedsave one >/dev/null
	refused 'managed save' --to nfs
	virsh -q managedsave-remove one >/dev/null
	guest_start one
	guest_wait_writing one 20
	virsh -q blockcopy one vda /srv/local/elsewhere.raw --format raw --transient-job >/dev/null
	refused 'block job' --to nfs
	virsh -q blockjob one vda --abort >/dev/null
	virsh -q snapshot-create-as one first --disk-only --no-metadata \
		--diskspec vda,file=/srv/local/snap.qcow2 >/dev/null
	refused 'layers' --to nfs
	guest_stop one
}

test_transient_domain() {
	a_guest
	virsh dumpxml one --inactive >/srv/scratch/one.xml
	virsh -q undefine one >/dev/null
	virsh -q create /srv/scratch/one.xml >/dev/null
	expect 1 blockmig migrate one vda --to nfs
	says 'transient'
}

test_too_little_room() {
	a_guest "$(new_image local raw 64M)"
	dd if=/dev/urandom of=/srv/local/disk.raw bs=1M count=60 conv=notrunc status=none
	mkdir /srv/small
	mount -t tmpfs -o size=40m small /srv/small
	refused 'too little room' --to /srv/small/
}

test_bad_words() {
	a_guest
	expect 2 blockmig migrate one vda
	expect 2 blockmig migrate one vda --to nfs --chunk-size 3M
	expect 2 blockmig migrate one vda --to nfs --bwlimit fast
	expect 2 blockmig migrate one vda --to nfs --on-failure shrug
	expect 2 blockmig frobnicate
	expect 1 blockmig migrate no-such-guest --to nfs
	says 'no-such-guest'
	expect 2 blockmig migrate one vdx --to nfs
	says 'vdx'
	expect 2 blockmig migrate one --to nfs -c qemu+ssh://elsewhere/system
	expect 2 blockmig copy nfs://user:secret@host/x /srv/local/y
	! grep -q secret "$out.err" || die "the secret is repeated"
}
