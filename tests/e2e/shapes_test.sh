# shellcheck shell=bash
# States of the guest, formats, and sizes.

test_cold_keeps_the_guest_off() {
	local before
	guest_define one "$(new_image local raw 64M)" --rate 300
	guest_start one
	guest_wait_writing one 200
	guest_stop one
	before=$(virsh dumpxml one --inactive | grep -v '<source')
	migrate one nfs --delete-source
	lies_on one /srv/nfs/
	[ "$(virsh -q domstate one)" = "shut off" ] || die "the guest was started"
	[ "$before" = "$(virsh dumpxml one --inactive | grep -v '<source')" ] || die "more than the source changed"
	is downtime_ms -1
	whole one
	guest_start one
	guest_wait_writing one 50
	whole one
}

test_cold_keep_is_byte_for_byte() {
	local sum
	guest_define one "$(new_image local qcow2 64M)" --rate 300
	guest_start one
	guest_wait_writing one 200
	guest_stop one
	sum=$(sha256sum </srv/local/disk.qcow2)
	migrate one nfs
	lies_on one /srv/nfs/disk.qcow2
	[ "$sum" = "$(sha256sum </srv/nfs/disk.qcow2)" ] || die "the copy differs from the source"
	[ "$sum" = "$(sha256sum </srv/local/disk.qcow2)" ] || die "the kept source was changed"
	whole one
}

test_paused_stays_paused() {
	"$lab" lun 2 64M
	writing_guest one "$(new_image local raw 64M)" --rate 300
	virsh -q suspend one
	migrate one iscsi --delete-source
	lies_on one "iscsi $target/2"
	[ "$(virsh -q domstate one)" = paused ] || die "the guest is $(virsh -q domstate one)"
	virsh -q resume one
	guest_wait_writing one 50
	whole one
}

# Dense enough for the guest to write on meanwhile, at a rate that the rounds keep up with.
guest_with_data() { # FORMAT
	head -c 64M /dev/urandom >/srv/scratch/data.raw
	truncate -s 128M /srv/scratch/data.raw
	qemu-img convert -O "$1" /srv/scratch/data.raw "/srv/local/disk.$1"
	rm /srv/scratch/data.raw
	writing_guest one "/srv/local/disk.$1" --rate 150 --blocks 8000
}

test_keep_qcow2_with_rounds() {
	guest_with_data qcow2
	migrate one nfs --delete-source --max-downtime 200ms --bwlimit 24M
	lies_on one /srv/nfs/disk.qcow2
	[ "$(field rounds)" -ge 1 ] || die "no round was needed: the test shows nothing"
	qemu-img info -U /srv/nfs/disk.qcow2 | grep -q 'file format: qcow2' || die "not qcow2"
	stalled_less_than one 8000
	guest_wait_writing one 100
	whole one
	qemu-img check -q /srv/nfs/disk.qcow2 || die "qemu-img check finds errors"
}

test_raw_becomes_qcow2() {
	guest_with_data raw
	migrate one nfs --format qcow2 --delete-source --max-downtime 200ms --bwlimit 24M
	[ "$(field rounds)" -ge 1 ] || die "no round was needed: the test shows nothing"
	lies_on one /srv/nfs/disk.qcow2
	stalled_less_than one 8000
	guest_wait_writing one 100
	whole one
	qemu-img check -q /srv/nfs/disk.qcow2 || die "qemu-img check finds errors"
	[ "$(stat -c %b /srv/nfs/disk.qcow2)" -lt $((100 << 11)) ] || die "thin became thick"
}

test_qcow2_becomes_raw() {
	writing_guest one "$(new_image nfs qcow2 96M)" --rate 300
	migrate one local --format raw --delete-source
	lies_on one /srv/local/disk.raw
	[ "$(stat -c %s /srv/local/disk.raw)" = $((96 << 20)) ] || die "the size changed"
	stalled_less_than one 8000
	whole one
}

test_discards_stay_holes() {
	writing_guest one "$(new_image local raw 96M)" --mode discard --rate 300
	migrate one nfs --delete-source
	lies_on one /srv/nfs/
	whole one
}

test_network_disk_over_nfs() {
	local url=nfs://127.0.0.1/srv/export
	qemu-img create -q -f raw /srv/nfs/disk.raw 64M
	chown 64055:64055 /srv/nfs/disk.raw
	writing_guest one $url/disk.raw --rate 300
	expect 0 blockmig migrate one vda --to local --json --delete-source
	lies_on one /srv/local/disk.raw
	# Where the datastore has no path, the guest gets a network disk.
	sed -i '/path=.srv.nfs/d' /etc/blockmig/blockmig.conf
	migrate one nfs --delete-source
	[[ $(source_of one) == "nfs /srv/export/"* ]] || die "lies on $(source_of one)"
	whole one
}

test_lun_twice_the_size_stays_the_guests_size() {
	"$lab" lun 2 128M
	writing_guest one "$(new_image local raw 64M)" --rate 300
	migrate one iscsi --delete-source
	[ "$(virsh domblkinfo one vda | awk '/Capacity/ { print $2 }')" = $((64 << 20)) ] || die "the guest's disk grew"
	guest_stop one
	guest_start one
	guest_wait_writing one 50
	[ "$(virsh domblkinfo one vda | awk '/Capacity/ { print $2 }')" = $((64 << 20)) ] || die "the guest's disk grew"
	# And away again, at its own size.
	migrate one local --delete-source
	[ "$(stat -c %s /srv/local/one-vda.raw)" = $((64 << 20)) ] || die "the image has another size"
	lies_on one /srv/local/one-vda.raw
	whole one
}

test_block_device_there_and_back() {
	local device owner
	truncate -s 96M /srv/scratch/device
	device=$(losetup --find --show /srv/scratch/device)
	owner=$(stat -c %u:%g "$device")
	# shellcheck disable=SC2064
	trap "chown $owner $device" EXIT
	# Held by us and given up: it is free with our end, however that comes about.
	exec 9<"$device"
	losetup -d "$device"
	writing_guest one "$(new_image local qcow2 64M)" --rate 300
	migrate one "$device" --delete-source
	lies_on one "$device"
	[ "$(virsh domblkinfo one vda | awk '/Capacity/ { print $2 }')" = $((64 << 20)) ] || die "the guest's disk grew"
	stalled_less_than one 8000
	migrate one nfs --format qcow2 --delete-source
	lies_on one /srv/nfs/one-vda.qcow2
	whole one
}

test_several_disks_of_one_guest() {
	qemu-img create -q -f raw /srv/local/a.raw 48M
	qemu-img create -q -f raw /srv/local/b.raw 48M
	guest_define two /srv/local/a.raw /srv/local/b.raw --rate 200
	guest_start two
	guest_wait_writing two 200
	expect 0 blockmig migrate two --to nfs --json --delete-source
	[ "$(grep -c '"type": *"summary"' "$out")" = 2 ] || die "not two summaries"
	[ "$(files_in local)" = "" ] || die "left: $(files_in local)"
	nothing_left
	whole two
}

# A terabyte of hole takes the time and memory of its data.
sparse() {
	local to=$1
	truncate -s 1T /srv/local/huge.raw
	dd if=/dev/urandom of=/srv/local/huge.raw bs=1M count=60 seek=1000 conv=notrunc status=none
	dd if=/dev/urandom of=/srv/local/huge.raw bs=1M count=40 seek=900000 conv=notrunc status=none
	expect 0 timeout 60 /usr/bin/env time -f '%M' -o /srv/scratch/memory \
		"$program" copy /srv/local/huge.raw "$to" --json
	is guarantee proven
	[ "$(field bytes_sent)" -le $((112 << 20)) ] || die "sent $(field bytes_sent)"
	[ "$(tail -n 1 /srv/scratch/memory)" -le $((96 << 10)) ] || die "peak $(cat /srv/scratch/memory) KiB"
}

test_sparse_terabyte_local() {
	sparse /srv/local/copy.raw
	cmp -n $((1 << 20)) -i $((1000 << 20)) /srv/local/huge.raw /srv/local/copy.raw
	[ "$(stat -c %b /srv/local/copy.raw)" -le $((120 << 11)) ] || die "thin became thick"
	# By names in the current folder, as any tool takes them.
	cd /srv/local || die "no /srv/local"
	expect 0 blockmig verify huge.raw copy.raw
	printf x | dd of=copy.raw bs=1 seek=$((900001 << 20)) conv=notrunc status=none
	expect 4 blockmig verify huge.raw copy.raw
	says $((900001 << 20))
}

test_sparse_terabyte_to_nfs() {
	sparse nfs://127.0.0.1/srv/export/copy.raw
	cmp -n $((1 << 20)) -i $((900000 << 20)) /srv/local/huge.raw /srv/nfs/copy.raw
}
