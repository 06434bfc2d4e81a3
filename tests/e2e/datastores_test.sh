# shellcheck shell=bash
# Datastores that are pools of libvirt, and emptying one.

pool() { # NAME XML-REST
	virsh -q pool-define /dev/stdin <<<"<pool type='$2'><name>$1</name>$3</pool>"
	virsh -q pool-start "$1"
}

pools() {
	pool images dir "<target><path>/srv/local</path></target>"
	pool filer-pool dir "<target><path>/srv/nfs</path></target>"
	"$lab" lun 1 64M
	"$lab" lun 2 32M
	pool array-pool iscsi-direct "<source><host name='127.0.0.1'/><device path='$target'/>
		<initiator><iqn name='iqn.2026-01.com.example:me'/></initiator></source>"
}

# named_as NAME POOL VOLUME: in the XML that a start takes
named_as() {
	local xml
	xml=$(virsh dumpxml "$1" --inactive --xpath "//disk[target/@dev='vda']")
	grep -q "<source pool=['\"]$2['\"] volume=['\"]$3['\"]" <<<"$xml" ||
		die "$1 is not named as $3 of $2: $xml"
}

as_volume() { # NAME POOL VOLUME
	virsh dumpxml "$1" --inactive |
		sed -E "s|<disk type='[a-z]+'|<disk type='volume'|; s|<source file='[^']*'/>|<source pool='$2' volume='$3'/>|" |
		virsh -q define /dev/stdin >/dev/null
}

# whole_at NAME IMAGE FORMAT: the checker knows no volumes
whole_at() {
	[ "$(virsh -q domstate "$1")" = "shut off" ] || guest_stop "$1"
	guest_check "$1" vda "$2" "$3" || die "$1: its history and its disk differ"
}

test_volumes_stay_volumes() {
	pools
	guest_define one "$(new_image local qcow2 32M)"
	virsh -q pool-refresh images
	as_volume one images disk.qcow2
	guest_start one
	guest_wait_writing one 50
	migrate one filer-pool
	named_as one filer-pool disk.qcow2
	nothing_left
	guest_stop one
	guest_start one
	guest_wait_writing one 50
	whole_at one /srv/nfs/disk.qcow2 qcow2
}

test_a_volume_of_a_target_stays_one() {
	pools
	guest_define one "$(new_image local raw 32M)"
	virsh -q pool-refresh images
	as_volume one images disk.raw
	migrate one array-pool
	named_as one array-pool unit:0:0:2
	guest_start one
	guest_wait_writing one 50
	guest_stop one
	migrate one filer-pool
	named_as one filer-pool one-vda.raw
	whole_at one /srv/nfs/one-vda.raw raw
	nothing_left
}

# store NAME FIELD: of the lines in $out
store() {
	jq -r "select(.type == \"datastore\" and .name == \"$1\") | .$2" "$out"
}

# store_is NAME FIELD VALUE
store_is() {
	[ "$(store "$1" "$2")" = "$3" ] || {
		cat "$out" >&2
		die "$1: $2 is '$(store "$1" "$2")', not '$3'"
	}
}

test_datastores_are_listed() {
	pools
	"$lab" lun 3 16M
	qemu-img create -q -f qcow2 /srv/nfs/disk.qcow2 64M
	guest_define one /srv/nfs/disk.qcow2
	guest_define two "iscsi://127.0.0.1/$target/3,raw"
	virsh -q pool-define /dev/stdin <<<"<pool type='dir'><name>asleep</name>
		<target><path>/srv/scratch</path></target></pool>"
	expect 0 blockmig datastores --json
	store_is local kind folder
	store_is local pool images
	store_is nfs url nfs://127.0.0.1/srv/export/
	store_is nfs pool null
	store_is nfs domains 1
	store_is nfs promised_bytes $((64 << 20))
	store_is nfs maintenance false
	store_is filer-pool url /srv/nfs/
	store_is iscsi pool array-pool
	store_is iscsi size_bytes $(((64 + 32 + 16) << 20))
	store_is iscsi free_bytes $(((64 + 32) << 20))
	store_is iscsi 'luns[2].user' 'domain two, disk vda'
	! grep -q asleep "$out" || die "an inactive pool is listed"
	is datastores 4
	"$lab" server iscsi stop
	expect 0 blockmig datastores
	grep -q '^nfs  *nfs .* nfs://127.0.0.1/srv/export/' "$out" || die "$(cat "$out")"
	grep -A2 '^iscsi' "$out" | grep -q 'refused' || die "the dead target is not told: $(cat "$out")"
}

# A netfs pool as if it were mounted: libvirt finds the export's name in the mount table at the
# pool's folder, and leaves it at that.  No guest can run there (no O_DIRECT).
mounted_netfs_pool() {
	"$lab" server nfs stop
	umount /srv/nfs
	mount -t tmpfs -o size=64M 127.0.0.1:/srv/export /srv/export
	mkdir -p /srv/mounted
	mount --bind /srv/export /srv/mounted
	"$lab" server nfs start
	pool mounted netfs "<source><host name='127.0.0.1'/><dir path='/srv/export'/>
		<format type='auto'/></source><target><path>/srv/mounted</path></target>"
}

image() { # PATH SIZE
	qemu-img create -q -f "${1##*.}" "$1" "$2"
	chmod 666 "$1"
}

# line TYPE DOMAIN FIELD
line() {
	jq -r "select(.type == \"$1\" and .domain == \"$2\") | .$3" "$out"
}

# goes DOMAIN DESTINATION [LUN]
goes() {
	[ "$(line move "$1" destination) $(line move "$1" lun)" = "$2 ${3:-null}" ] || {
		cat "$out" >&2
		die "$1 does not go to $2 ${3-}"
	}
}

stays() { # DOMAIN WHY PATTERN
	if [ "$(line stay "$1" why)" != "$2" ] || ! line stay "$1" reason | grep -q "$3"; then
		cat "$out" >&2
		die "$1 does not stay for $2, '$3'"
	fi
}

test_a_netfs_pool_is_planned_empty() {
	local before
	pools
	mounted_netfs_pool
	for image in path.qcow2 volume.raw link.raw network.raw shared.raw cd.raw; do
		image "/srv/export/$image" 16M
	done
	ln -s /srv/mounted /srv/scratch/link
	guest_define path /srv/mounted/path.qcow2
	guest_define volume /srv/mounted/volume.raw
	as_volume volume mounted volume.raw
	guest_define link /srv/scratch/link/link.raw
	guest_define network nfs://127.0.0.1/srv/export/network.raw
	guest_define shared /srv/mounted/shared.raw
	virsh dumpxml shared | sed -E "s|(<target dev=.vda.)|<shareable/>\1|" |
		virsh -q define /dev/stdin >/dev/null
	guest_define elsewhere "$(new_image local raw 16M)"
	virsh -q attach-disk elsewhere /srv/mounted/cd.raw sda --type cdrom --config >/dev/null
	printf '[domain path]\navoid=array-pool\n[domain net*]\nprefer=array-pool\n' \
		>>/etc/blockmig/blockmig.conf
	virsh -q metadata link --config --key evacuate --uri https://blockmig.example/evacuate/1 \
		--set "<evacuate priority='10'/>" >/dev/null
	before=$(find /srv -printf '%p %u %m %T@\n' | sort)
	expect 1 blockmig evacuate mounted --to array-pool,images --dry-run --json
	is moves 4
	is fits_virtual true
	goes path images
	# Which LUN it is hangs on how soon the server counts a block of the image.
	[ "$(line move network destination)" = array-pool ] || die "what is preferred is not taken"
	[ "$(line move link priority)" = 10 ] || die "the metadata's priority is not read"
	stays shared obstacle 'shareable.*Shut all of its users off'
	[ "$(line move volume domain) $(line move link domain)" = "volume link" ] ||
		die "not all disks of the pool were found: $(cat "$out")"
	[ "$(line residue elsewhere path)" = /srv/mounted/cd.raw ] || die "the medium is not told"
	[ "$(line residue elsewhere kind)" = medium ] || die "the medium is told as something else"
	expect 1 blockmig evacuate mounted --to images --dry-run
	grep -q '^stays: shared vda (obstacle)' "$out" || die "$(cat "$out")"
	[ "$before" = "$(find /srv -printf '%p %u %m %T@\n' | sort)" ] || die "the plan changed something"
	expect 2 blockmig evacuate mounted --to nfs --dry-run
	says 'mounted and nfs are one place'
	expect 2 blockmig evacuate mounted --to nowhere --dry-run
	says 'nowhere: no such datastore'
}

test_a_target_and_a_folder_are_planned_empty() {
	pools
	guest_define lun "iscsi://127.0.0.1/$target/1,raw"
	guest_define volume "iscsi://127.0.0.1/$target/2,raw"
	virsh dumpxml volume --inactive |
		sed -E "s|<disk type='network'|<disk type='volume'|; s|<source protocol.*>|<source pool='array-pool' volume='unit:0:0:2'/>|; /<host name/d; /<\/source>/d" |
		virsh -q define /dev/stdin >/dev/null
	expect 0 blockmig evacuate array-pool --to images --dry-run --json
	is moves 2
	goes lun images
	goes volume images
	guest_define one "$(new_image local qcow2 16M)"
	guest_start one
	guest_wait_writing one 100
	expect 0 blockmig evacuate images --to nfs --dry-run --json
	is moves 1
	goes one nfs
	expect 1 blockmig evacuate images --to array-pool --dry-run
	grep -q 'no free LUN that is large enough' "$out" || die "$(cat "$out")"
	"$lab" lun 3 16M
	expect 0 blockmig evacuate images --to array-pool --dry-run
	grep -q 'array-pool, LUN 3' "$out" || die "$(cat "$out")"
	whole one
}
