# shellcheck shell=bash
# The laboratory's guests, from inside it: source this in a test's script.
#
#     guest_define NAME DISK... [OPTION...]   a guest that writes to its disks for ever
#         DISK   PATH|nfs://...|iscsi://.../LUN[,raw|,qcow2]   (qcow2 where the name says so)
#         --mode random|sequential|overwrite|discard, --rate WRITES-A-SECOND (0: no pause),
#         --blocks N (only the first N blocks of 4 KiB), --run N, --memory MIB
#     guest_start NAME
#     guest_wait_writing NAME [N] [SECONDS]   N more writes were acknowledged
#     guest_shutdown NAME                     by its power button; waits until it is off
#     guest_stop NAME                         at once, as a power cut
#     guest_check NAME [TARGET IMAGE FORMAT] [CHECKER-OPTION...]
#         compares history and disk; without IMAGE, every disk as the domain names it
#     guest_longest_stall NAME                milliseconds on the host's clock
#     guest_stall_reset NAME
#     guest_log NAME                          path of the history
#
# All return a status and say on stderr why they failed.

lab_history=/srv/scratch/history
export LIBVIRT_DEFAULT_URI=qemu:///system

guest_log() {
	echo "$lab_history/$1.log"
}

# The name in the guest of its disk number N.
lab_target() {
	local letters=abcdefghijklmnopqrstuvwxyz
	echo "vd${letters:$1:1}"
}

# lab_disk_xml TARGET SPEC
lab_disk_xml() {
	local target=$1 spec=$2 format=raw path host
	case $spec in
	*,raw) spec=${spec%,raw} ;;
	*,qcow2) spec=${spec%,qcow2} format=qcow2 ;;
	*.qcow2) format=qcow2 ;;
	esac
	host=${spec#*://} host=${host%%/*} path=${spec#*://*/}
	case $spec in
	nfs://*)
		echo "<disk type='network' device='disk'><driver name='qemu' type='$format' cache='none' discard='unmap'/>"
		echo "<source protocol='nfs' name='/$path'><host name='$host'/></source>"
		;;
	iscsi://*)
		echo "<disk type='network' device='disk'><driver name='qemu' type='$format' cache='none' discard='unmap'/>"
		echo "<source protocol='iscsi' name='$path'><host name='$host' port='3260'/></source>"
		;;
	/dev/*)
		echo "<disk type='block' device='disk'><driver name='qemu' type='$format' cache='none' io='native' discard='unmap'/>"
		echo "<source dev='$spec'/>"
		;;
	*)
		echo "<disk type='file' device='disk'><driver name='qemu' type='$format' cache='none' io='native' discard='unmap'/>"
		echo "<source file='$spec'/>"
		;;
	esac
	echo "<target dev='$target' bus='virtio'/></disk>"
}

guest_define() {
	local name=$1 disks=() targets='' options='' memory=160 run=1 i spec
	shift
	while [ $# -gt 0 ]; do
		case $1 in
		--mode | --rate | --blocks) options+=" blockmig.${1#--}=$2" && shift ;;
		--run) run=$2 && shift ;;
		--memory) memory=$2 && shift ;;
		-*) echo "guest_define: $1: no such option" >&2 && return 2 ;;
		*) disks+=("$1") ;;
		esac
		shift
	done
	for i in "${!disks[@]}"; do
		targets+=",$(lab_target "$i")"
	done
	mkdir -p "$lab_history"
	chmod 1777 "$lab_history"
	virsh -q define /dev/stdin <<-END >/dev/null
		<domain type='$(cat "$LAB_BUILD/accelerator")'>
		<name>$name</name>
		<memory unit='MiB'>$memory</memory>
		<vcpu>1</vcpu>
		<os>
		<type arch='x86_64' machine='pc'>hvm</type>
		<kernel>/run/lab/guest/vmlinuz</kernel>
		<initrd>/run/lab/guest/initramfs</initrd>
		<cmdline>console=ttyS0 loglevel=4 panic=-1 blockmig.disks=${targets#,} blockmig.run=$run$options</cmdline>
		</os>
		<features><acpi/></features>
		<on_reboot>restart</on_reboot>
		<on_crash>destroy</on_crash>
		<devices>
		<emulator>/usr/bin/qemu-system-x86_64</emulator>
		$(for i in "${!disks[@]}"; do
		lab_disk_xml "$(lab_target "$i")" "${disks[i]}"
	done)
		<controller type='usb' model='none'/>
		<serial type='file'><source path='$lab_history/$name.console' append='on'/><target port='0'/></serial>
		<serial type='file'><source path='$lab_history/$name.log' append='on'/><target port='1'/></serial>
		<memballoon model='none'/>
		</devices>
		</domain>
	END
}

guest_start() {
	local name=$1
	touch "$lab_history/$name.log"
	if ! lab_watched "$name"; then
		setsid "$LAB_BUILD/stopwatch" "$lab_history/$name.log" "$lab_history/$name.stall" \
			</dev/null >/dev/null 2>&1 &
		echo $! >"$lab_history/$name.stopwatch"
	fi
	virsh -q start "$name" >/dev/null
}

lab_watched() {
	local pid
	[ -r "$lab_history/$1.stopwatch" ] && read -r pid <"$lab_history/$1.stopwatch" &&
		kill -0 "$pid" 2>/dev/null
}

lab_acknowledged() {
	grep -c ' a ' "$lab_history/$1.log" || true
}

guest_wait_writing() {
	local name=$1 more=${2:-1} seconds=${3:-90} goal end
	goal=$(($(lab_acknowledged "$name") + more))
	end=$((SECONDS + seconds))
	until [ "$(lab_acknowledged "$name")" -ge "$goal" ]; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "$name: $(lab_acknowledged "$name") writes after $seconds s, not $goal; its console:" >&2
			tail -n 5 "$lab_history/$name.console" >&2 || true
			return 1
		fi
		sleep 0.1
	done
}

lab_wait_off() {
	local end=$((SECONDS + 60))
	until [ "$(virsh -q domstate "$1")" = "shut off" ]; do
		if [ "$SECONDS" -ge "$end" ]; then
			echo "$1: is not off after 60 s" >&2
			return 1
		fi
		sleep 0.1
	done
}

guest_shutdown() {
	virsh -q shutdown "$1" --mode acpi >/dev/null && lab_wait_off "$1"
}

guest_stop() {
	virsh -q destroy "$1" >/dev/null && lab_wait_off "$1"
}

# Prints "TARGET FORMAT IMAGE" for each disk of the inactive definition.
lab_disks() {
	local name=$1 target disk format source protocol path host
	for target in $(virsh -q domblklist "$name" --inactive | awk '{ print $1 }'); do
		disk=$(virsh dumpxml "$name" --inactive --xpath "//disk[target/@dev='$target']" | tr '\n' ' ')
		format=$(sed -E "s/.*<driver [^>]*type=\"([^\"]*)\".*/\1/" <<<"$disk")
		source=$(sed -E 's/.*(<source .*<\/source>|<source [^>]*\/>) .*<target.*/\1/; s/<backingStore.*//' <<<"$disk")
		path=$(sed -E 's/.* (file|dev|name)="([^"]*)".*/\2/' <<<"${source%%>*}")
		protocol=$(sed -nE 's/.*protocol="([^"]*)".*/\1/p' <<<"${source%%>*}")
		host=$(sed -nE 's/.*<host name="([^"]*)".*/\1/p' <<<"$source")
		[ -z "$protocol" ] || path=$protocol://$host/${path#/}
		echo "$target $format $path"
	done
}

# Options for the checker begin with --; --json gives one object a disk.
guest_check() {
	local name=$1 target format image options=() place=() status=0
	shift
	for image; do
		case $image in
		--*=* | --json) options+=("$image") ;;
		*) place+=("$image") ;;
		esac
	done
	while read -r target format image; do
		lab_check_disk "$name" "$target" "$format" "$image" "${options[@]}" || status=1
	done < <(if [ ${#place[@]} -gt 0 ]; then
		echo "${place[0]} ${place[2]} ${place[1]}"
	else
		lab_disks "$name"
	fi)
	return "$status"
}

lab_check_disk() {
	local name=$1 target=$2 format=$3 image=$4 raw status=0
	raw=$(mktemp /srv/scratch/check.XXXXXX)
	qemu-img convert -q -f "$format" -O raw "$image" "$raw" &&
		"$LAB_BUILD/checker" --disk="$target" "${@:5}" "$lab_history/$name.log" "$raw" || status=1
	rm -f "$raw"
	return "$status"
}

guest_longest_stall() {
	cat "$lab_history/$1.stall" 2>/dev/null || echo 0
}

guest_stall_reset() {
	local pid
	lab_watched "$1" && read -r pid <"$lab_history/$1.stopwatch" && kill -USR1 "$pid"
}
