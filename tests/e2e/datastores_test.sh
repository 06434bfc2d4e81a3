# shellcheck shell=bash
# Datastores that are pools of libvirt, and emptying one.

pool() { # NAME XML-REST
	virsh -q pool-define /dev/stdin <<<"<pool type='$2'><name>$1</name>$3</pool>"
	virsh -q pool-start "$1"
}

# What a mounted netfs pool is to blockmig: its XML, and the export's folder in the mount's place.
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
	guest_stop "$1"
	guest_check "$1" vda "$2" "$3" || die "$1: its history and its disk differ"
}

test_volumes_stay_volumes() {
	pools
	guest_define one "$(new_image local qcow2 32M)"
	virsh -q pool-refresh images
	as_volume one images disk.qcow2
	guest_start one
	guest_wait_writing one 100
	migrate one filer-pool
	named_as one filer-pool disk.qcow2
	nothing_left
	whole_at one /srv/nfs/disk.qcow2 qcow2
	guest_start one
	guest_wait_writing one 100
	whole_at one /srv/nfs/disk.qcow2 qcow2
	migrate one array-pool
	named_as one array-pool unit:0:0:2
	migrate one images
	named_as one images one-vda.raw
	guest_start one
	guest_wait_writing one 100
	whole_at one /srv/local/one-vda.raw raw
	nothing_left
}
