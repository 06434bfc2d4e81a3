# shellcheck shell=bash
# The cells of tests/matrix/table that need libvirt, QEMU and the servers themselves: a
# test each, cell_ROW_COLUMN.  Those marked R are among the end-to-end tests; with
# MATRIX_ALL those marked r are, too.  MATRIX_TOLD names a file for the endings.

matrix_table=$(dirname "${BASH_SOURCE[0]}")/../matrix/table

# cells_of MARKS: "ROW COLUMN OUTCOMES" of the real cells
cells_of() {
	awk -v marks="$1" '
		/^#/ || !NF { next }
		!columns { columns = split($0, column); next }
		{
			for (i = 2; i <= NF; i++)
				if (match($i, "(^|,)[" marks "]=[a-zA-Z]+")) {
					ending = substr($i, RSTART, RLENGTH)
					sub(/.*=/, "", ending)
					print $1, column[i], ending
				}
		}' "$matrix_table"
}

while read -r row column outcomes; do
	eval "test_cell_${row//-/_}_${column//-/_}() { cell $row $column $outcomes; }"
done < <(cells_of "R${MATRIX_ALL:+r}")

# ---- what goes wrong ---------------------------------------------------------------------

# The command that the hook is to run, in a shell of its own; the server is the destination's.
# shellcheck disable=SC2016
fault_command() { # COLUMN SERVER ROW
	case $1 in
	kill) echo 'kill -9 $BLOCKMIG_PID' ;;
	libvirtd) echo "kill -9 \$(cat /run/lab/libvirt.pid); sleep 0.5; '$lab' server libvirt start" ;;
	qemu) echo 'kill -9 $(cat /run/libvirt/qemu/one.pid); while [ -e /run/libvirt/qemu/one.pid ]; do sleep 0.05; done' ;;
	# One that we suspended does not hear of it.
	shutdown) [ "$3" = put-back ] && echo 'virsh -q destroy one' || echo "'$lab' guest shutdown one" ;;
	start) echo 'virsh -q start one' ;;
	reboot) echo 'virsh -q reset one' ;;
	pause) echo 'virsh -q suspend one' ;;
	save) echo 'virsh -q managedsave one' ;;
	reset) echo reset ;;
	blackhole) echo "'$lab' server $2 pause" ;;
	restart) echo "'$lab' server $2 restart" ;;
	full) echo 'fallocate -l $(($(df --output=avail -B1 /srv/local/to | tail -n 1))) /srv/local/to/filler' ;;
	overlay) echo 'fallocate -l $(($(df --output=avail -B1 /srv/local/from | tail -n 1) - (20 << 20))) /srv/local/from/filler' ;;
	*) die "no command for $1" ;;
	esac
}

# Afterwards all is well again.
lift_fault() { # COLUMN SERVER
	case $1 in
	blackhole) "$lab" server "$2" continue ;;
	full) rm -f /srv/local/to/filler ;;
	overlay) rm -f /srv/local/from/filler ;;
	esac
}

# The hook's name for the place in the move.
hook_of() { # ROW COLUMN
	case $1 in
	cutover) [ "$2" = start ] && echo HOOK_AT_cutover || echo HOOK_BEFORE_suspend ;;
	pivoted) echo HOOK_AFTER_pivot ;;
	put-back) [[ $2 == shutdown || $2 == save ]] && echo HOOK_BEFORE_graft || echo HOOK_AT_undo_cutover ;;
	seed) echo HOOK_IN_seed ;;
	merge) echo HOOK_AFTER_commit ;;
	undo-*) echo "HOOK_AT_${1//-/_}" ;;
	*) echo "HOOK_AT_$1" ;;
	esac
}

small_file_system() { # FOLDER SIZE
	mkdir -p "$1"
	truncate -s "$2" "/srv/scratch/${1##*/}.ext4"
	mkfs.ext4 -q "/srv/scratch/${1##*/}.ext4"
	mount -o loop "/srv/scratch/${1##*/}.ext4" "$1"
	rmdir "$1/lost+found"
	chmod 0777 "$1"
}

# ---- the move ------------------------------------------------------------------------------

# hooked SETTING... -- COMMAND...: status in $status
hooked() {
	local settings=()
	status=0
	while [ "$1" != -- ]; do
		settings+=("$1")
		shift
	done
	shift
	env LD_PRELOAD="$hook" HOOK_ONCE=/run/lab/once "${settings[@]}" \
		timeout 200 "$program" "$@" >"$out" 2>"$out.err" || status=$?
}

# scene ROW COLUMN: the guest, and $source, $to, $server, $arrived
scene() {
	server=nfs to=nfs arrived=/srv/nfs/disk.raw source=/srv/local/disk.raw
	case $2 in
	full)
		small_file_system /srv/local/to 128M
		to=/srv/local/to/ arrived=/srv/local/to/disk.raw
		;;
	overlay)
		small_file_system /srv/local/from 512M
		source=/srv/local/from/disk.raw
		;;
	blackhole | restart | reset)
		case $1 in
		cutover | pivoted | persist | merge)
			"$lab" lun 2 64M
			server=iscsi to=iscsi arrived="iscsi $target/2"
			;;
		esac
		;;
	esac
	qemu-img create -q -f raw "$source" 64M
	dd if=/dev/urandom of="$source" bs=1M count=64 conv=notrunc status=none
	# A mirror goes wrong where the guest writes all the time.
	guest_define one "$source" --rate "$([ "$1" = put-back ] && echo 0 || echo 300)"
	if [ "$2" != start ]; then
		guest_start one
		guest_wait_writing one 100
	fi
	virsh dumpxml one --inactive >/run/lab/before.xml
}

# Into the row, and the fault there.
disturbed_move() { # ROW COLUMN
	local command place options=(--json --retry-for 3s)
	command=$(fault_command "$2" "$server" "$1")
	place=$(hook_of "$1" "$2")
	# Slow enough for a third commit.
	[ "$1" != seed ] || options+=(--bwlimit 20M)
	case $1 in
	undo-*)
		hooked "HOOK_AT_cutover=kill -9 \$BLOCKMIG_PID" -- migrate one vda --to "$to"
		[ "$status" = 137 ] || die "the job did not stop before its cutover: $status"
		rm -f /run/lab/once
		hooked "$place=$command" -- abort 1 --json
		;;
	put-back)
		hooked HOOK_SYNCHRONOUS=/run/lab/synchronous "$place=$command" -- migrate one vda --to "$to" "${options[@]}"
		;;
	*) hooked "$place=$command" -- migrate one vda --to "$to" "${options[@]}" ;;
	esac
	[ -e /run/lab/once ] || die "the move never came to $1 (status $status)"
}

# ---- the end ---------------------------------------------------------------------------------

last_result() {
	blockmig history --json | tail -n 1 | jq -r .state
}

# Whether the destination answered when the partial copy was to be removed.
back() {
	[ -e "$arrived" ] && echo l || echo b
}

# What became of the move, a letter as in the table; the job is brought to its end.
ending() {
	local letter
	case $status in
	0) [ "$(field result)" = rolled-back ] && back || echo d ;;
	1 | 4) back ;;
	3 | 5 | 137)
		letter=h
		[ "$status" != 5 ] || letter=o
		[ "$status" != 137 ] || letter=k
		settle "$letter"
		;;
	*) die "ended with $status" ;;
	esac
}

# resume may be at work already: a guardian's.
settle() { # LETTER
	local result end=$((SECONDS + 90))
	# There is no job yet.
	if [ "$row" = inspect ]; then
		expect 0 blockmig migrate one vda --to "$to" --json
		echo "$1"
		return
	fi
	while :; do
		blockmig resume >"$out" 2>"$out.err" || true
		result=$(last_result)
		[ "$result" = open ] || [ "$result" = null ] || [ -z "$result" ] || break
		[ "$SECONDS" -lt "$end" ] || die "the job does not end: $(cat "$out.err")"
		sleep 0.5
	done
	[ "$result" != rolled-back ] || { echo "${1^^}" && return; }
	echo "$1"
}

is_home() { # LETTER
	[[ $1 == [blA-Z] ]]
}

boots() {
	grep -c 'laboratory guest is up' "$lab_history/one.console" || true
}

# A guest whose memory was saved goes on in the middle of what it did.
wake_up() {
	local boots
	boots=$(boots)
	[[ $(virsh dominfo one) == *"Managed save:   yes"* ]] || die "the saved image is gone"
	[[ $(virsh managedsave-dumpxml one) != *blockmig:job* ]] || die "our element is left in the saved XML"
	virsh -q start one
	[ "$(boots)" = "$boots" ] || die "the guest was booted anew"
}

# The guest is on, off or paused, as the fault left it.
assert_run_state() { # COLUMN
	local wanted=running now
	case $1 in
	qemu | shutdown) wanted='shut off' ;;
	pause) wanted=paused ;;
	save) wake_up ;;
	esac
	now=$(virsh -q domstate one)
	[ "$now" = "$wanted" ] || die "the guest is $now, not $wanted"
	[ "$now" != paused ] || virsh -q resume one
	# A guest that was reset boots again, on a machine that does much else.
	[ "$wanted" = 'shut off' ] || guest_wait_writing one 50 180
	# QEMU 7.2 keeps this word even where the guest goes on, and where it is resumed again.
	[ "$1" != overlay ] || return 0
	! virsh -q domblkerror one 2>/dev/null | grep -q ' ' || [ "$wanted" = 'shut off' ] ||
		[[ $(virsh -q domblkerror one) == 'No errors found' ]] || die "$(virsh domblkerror one)"
}

assert_resume_changes_nothing() {
	local before after
	before=$(virsh dumpxml one)
	expect 0 blockmig resume
	after=$(virsh dumpxml one)
	[ "$before" = "$after" ] || die "a second resume changed the domain"
}

cell() { # ROW COLUMN OUTCOMES
	local row=$1 column=$2 outcomes=$3 letter server to arrived source status
	scene "$row" "$column"
	disturbed_move "$row" "$column"
	lift_fault "$column" "$server"
	letter=$(ending)
	echo "$row $column: $letter (status $status): $(tail -n 1 "$out.err")"
	[ -z "${MATRIX_TOLD-}" ] || echo "$row $column $letter" >>"$MATRIX_TOLD"
	[[ $letter == ["$outcomes"] ]] || die "it ended with $letter, not one of $outcomes: $(cat "$out.err")"
	[ "$letter" != l ] || rm "$arrived"
	if is_home "$letter"; then
		lies_on one "$source"
		virsh dumpxml one --inactive | cmp - /run/lab/before.xml || die "the inactive XML changed"
		[ ! -e "$arrived" ] || die "$arrived is left"
	else
		lies_on one "$arrived"
	fi
	assert_resume_changes_nothing
	assert_run_state "$column"
	[ "$column" != save ] || lies_on one "$(is_home "$letter" && echo "$source" || echo "$arrived")"
	# A pivot that does not return is waited for 30 s.  Once the disk is there, it is the
	# guest's own that does not answer.
	[ "$column" != blackhole ] || [ "$row" = merge ] || stalled_less_than one 60000
	whole one
}
