# shellcheck shell=bash
# What the end-to-end tests share; sourced inside a laboratory of their own.
#
# Every test is a script with functions called test_...; `run` calls each in a laboratory
# of its own.  A test that returns has passed; whatever fails ends it.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$repository/build
program=${BLOCKMIG:-$build/blockmig}
lab=$repository/tests/lab/lab
hook=$build/tests/e2e/hook.so
target=iqn.2026-01.com.example:lab
out=/run/lab/out
# shellcheck source=tests/lab/guest.sh
. "$repository/tests/lab/guest.sh"

die() {
	echo "FAILED: $*" >&2
	exit 1
}

blockmig() {
	"$program" "$@"
}

# expect STATUS COMMAND...: the command's exit status; its words are in $out.err
expect() {
	local wanted=$1 status=0
	shift
	"$@" >"$out" 2>"$out.err" || status=$?
	[ "$status" = "$wanted" ] || {
		cat "$out" "$out.err" >&2
		die "'$*' ended with $status, not $wanted"
	}
}

says() {
	grep -qiE -- "$1" "$out.err" || {
		cat "$out.err" >&2
		die "the message does not say '$1'"
	}
}

field() { # of the summary, the last line that was printed
	tail -n 1 "$out" | jq -r ".$1"
}

# field NAME is VALUE
is() {
	[ "$(field "$1")" = "$2" ] || die "summary: $1 is '$(field "$1")', not '$2': $(tail -n 1 "$out")"
}

# ---- images ----------------------------------------------------------------------------

# new_image local|nfs|iscsi FORMAT SIZE: prints what guest_define takes
new_image() {
	case $1 in
	iscsi)
		"$lab" lun 1 "$3"
		[ "$2" = raw ] || qemu-img create -q -f "$2" "iscsi://127.0.0.1/$target/1" "$3"
		echo "iscsi://127.0.0.1/$target/1,$2"
		;;
	*)
		qemu-img create -q -f "$2" "/srv/$1/disk.$2" "$3"
		echo "/srv/$1/disk.$2"
		;;
	esac
}

# The images that lie in a datastore of files; none of blockmig's may be left anywhere.
files_in() {
	find "/srv/$1" -maxdepth 1 -type f -printf '%f\n' | sort | tr '\n' ' '
}

# ---- the domain ---------------------------------------------------------------------------

# The disk's source as "TYPE PLACE": of the live XML, or with --inactive.
source_of() {
	local name=$1 xml
	shift
	xml=$(virsh dumpxml "$name" "$@" --xpath "//disk[target/@dev='vda']" | tr -d '\n')
	sed -E "s/.*<source (file|dev|protocol)=[\"']([^\"']*)[\"']( name=[\"']([^\"']*)[\"'])?.*/\2 \4/" \
		<<<"${xml%%<backingStore*}" | sed 's/ $//'
}

layers_of() {
	virsh dumpxml "$1" --xpath "//disk[target/@dev='vda']" | sed '/<mirror/,/<\/mirror/d' |
		grep -c '<source '
}

# lies_on NAME WANTED: live and inactive XML name it, with one layer, and nothing of ours is left
lies_on() {
	local name=$1 wanted=$2 where
	for where in '' --inactive; do
		# shellcheck disable=SC2086
		[[ $(source_of "$name" $where) == "$wanted"* ]] ||
			die "$name lies on '$(source_of "$name" $where)' ${where:-live}, not on '$wanted'"
	done
	[ "$(layers_of "$name")" = 1 ] || die "$name has $(layers_of "$name") layers"
	! virsh dumpxml "$name" --inactive | grep -q 'blockmig:job' || die "our element is left in the XML"
	nothing_left
}

nothing_left() {
	local left
	left=$(find /srv/local /srv/nfs /srv/scratch -name '*blockmig*' -printf '%p ')
	[ -z "$left" ] || die "left behind: $left"
}

# whole NAME: the guest is stopped, and its disk holds every acknowledged write
whole() {
	[ "$(virsh -q domstate "$1")" = "shut off" ] || guest_stop "$1"
	guest_check "$1" || die "$1: its history and its disk differ"
}

# No guest may have stood still for longer; generous, since the machine is shared.
stalled_less_than() {
	local stall
	stall=$(guest_longest_stall "$1")
	[ "${stall%.*}" -le "$2" ] || die "$1 stood still for $stall ms"
}

writing_guest() { # NAME SPEC [OPTION...]
	guest_define "$@"
	guest_start "$1"
	guest_wait_writing "$1" 200
	guest_stall_reset "$1"
}

# migrate NAME TO [OPTION...] with the summary in $out, proven
migrate() {
	expect 0 blockmig migrate "$1" vda --to "$2" --json "${@:3}"
	is result 'done'
	is guarantee proven
	[ "$(field chunks_total)" = "$(field chunks_proven)" ] || die "not all chunks are proven"
	[[ $(field sha256) =~ ^[0-9a-f]{64}$ ]] || die "no root: $(field sha256)"
}

# ---- faults ---------------------------------------------------------------------------

# hooked NAME=VALUE... -- COMMAND...
hooked() {
	local settings=()
	while [ "$1" != -- ]; do
		settings+=("$1")
		shift
	done
	shift
	env LD_PRELOAD="$hook" HOOK_ONCE=/srv/scratch/once "${settings[@]}" "$program" "$@"
}

a_writing_guest() {
	local disk
	disk=$(new_image local raw 96M)
	# Dense, so that a copy takes the time that the faults need.
	dd if=/dev/urandom of="$disk" bs=1M count=96 conv=notrunc status=none
	writing_guest one "$disk" --rate "${1:-300}"
	virsh dumpxml one --inactive >/srv/scratch/before.xml
}

# The guest is where it was, and its definition is what it was, letter for letter.
as_before() {
	lies_on one /srv/local/disk.raw
	virsh dumpxml one --inactive | cmp - /srv/scratch/before.xml || die "the inactive XML changed"
	guest_wait_writing one 100
	whole one
}

wait_until() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || die "it did not come about: $*"
		sleep 0.2
	done
}

job_ended() {
	blockmig history --json | grep -q '"state": *"done"'
}

# The hook's command is for the shell that the hook starts.
# shellcheck disable=SC2016
kill_us='kill -9 $BLOCKMIG_PID'

"$lab" config
