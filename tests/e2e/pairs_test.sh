# shellcheck shell=bash
# Every kind of datastore to every kind, while the guest writes.

size=96M

place_of() { # how the destination shows in the XML
	case $1 in
	iscsi) echo "iscsi $target/2" ;;
	*) echo "/srv/$1/" ;;
	esac
}

# What the server holds is what the summary says.
agrees_with_server() {
	local to=$1 bytes
	[ "$(field bytes_total)" -ge $((96 << 20)) ] || die "bytes_total: $(field bytes_total)"
	[ "$(field bytes_sent)" -ge "$(field bytes_data)" ] || die "sent less than the data"
	case $to in
	iscsi) bytes=$(stat -c %s /srv/luns/2) ;;
	*) bytes=$(stat -c %s "/srv/$to/$(field destination | sed 's|.*/||')") ;;
	esac
	[ "$bytes" = $((96 << 20)) ] || die "the server's image has $bytes bytes"
}

move_between() {
	local from=$1 to=$2 disk destination=$2
	disk=$(new_image "$from" raw $size)
	[ "$to" != iscsi ] || "$lab" lun 2 $size
	if [ "$from" = "$to" ] && [ "$to" != iscsi ]; then
		destination=/srv/$to/moved.raw
	fi
	writing_guest one "$disk" --rate 300
	migrate one "$destination" --delete-source
	lies_on one "$(place_of "$to")"
	agrees_with_server "$to"
	guest_wait_writing one 100
	stalled_less_than one 8000
	case $from in
	iscsi) [ "$(stat -c %b /srv/luns/1)" -lt 64 ] || die "the LUN that was left still holds data" ;;
	*) [ ! -e "/srv/$from/disk.raw" ] || die "the source is still there" ;;
	esac
	whole one
}

test_local_to_local() { move_between local local; }
test_local_to_nfs() { move_between local nfs; }
test_local_to_iscsi() { move_between local iscsi; }
test_nfs_to_local() { move_between nfs local; }
test_nfs_to_nfs() { move_between nfs nfs; }
test_nfs_to_iscsi() { move_between nfs iscsi; }
test_iscsi_to_local() { move_between iscsi local; }
test_iscsi_to_nfs() { move_between iscsi nfs; }
test_iscsi_to_iscsi() { move_between iscsi iscsi; }
