#!/usr/bin/env bash
# Measures the NBD server of models/backend/local/nbd beside qemu-nbd and nbdkit:
# the same file, TCP over loopback, in one run, as ratios to the better of the two.
#
#   docs/nbd-bench.sh              needs go, fio, nbdcopy, nbdinfo, qemu-img, qemu-nbd, nbdkit
#   ROUNDS=15 ONLY=rand docs/nbd-bench.sh
#
# The servers take turns within each round and the first of a round changes, with a
# sync before each turn. The figures are medians over the rounds, and so is the first
# ratio; the second is that of the best rounds, which other work on the machine
# disturbs least. "no server" is the same work of fio on the file itself, without a
# network: the floor.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-9} only=${ONLY:-} size=${SIZE:-1024} # MiB
work=$(mktemp -d "${WORK:-/var/tmp}/nbd-bench.XXXXXX")
disk=$work/disk
pids=()
finish() {
	[ ${#pids[@]} -eq 0 ] || kill -INT "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap finish EXIT

head -c "${size}M" /dev/urandom >"$disk"
go test -c -o "$work/server" ./models/backend/local/nbd
port=$((20000 + RANDOM % 12000)) # below those that clients get
BLOCKCONSOLE_NBD_BENCH_FILE=$disk BLOCKCONSOLE_NBD_BENCH_PORT=$port \
	"$work/server" -test.run '^TestBenchServer$' -test.timeout 0 >"$work/ours.log" 2>&1 &
pids+=($!)
qemu-nbd -f raw -t -e 16 -b 127.0.0.1 -p $((port + 1)) "$disk" &
pids+=($!)
nbdkit -f -i 127.0.0.1 -p $((port + 2)) file "$disk" &
pids+=($!)
for i in 0 1 2; do
	for _ in $(seq 100); do
		nbdinfo --size "nbd://127.0.0.1:$((port + i))" >/dev/null 2>&1 && break
		sleep 0.1
	done
done

# Each measure prints how much it did in a second; uri is empty for the file itself.
measure_fio() { # uri, fio arguments
	local target=(--ioengine=nbd "--uri=$1")
	[ -n "$1" ] || target=(--ioengine=psync --invalidate=0 "--filename=$disk")
	fio --name=x "${target[@]}" "--size=${size}m" --output-format=terse "${@:2}" 2>/dev/null | awk -F';' '/^3;/ {n += $8 + $49} END {print n}'
}
seconds() { # command
	local start end
	start=$(date +%s%N)
	"$@" >/dev/null
	end=$(date +%s%N)
	echo $((end - start)) | awk '{print 1e9 / $1}'
}
measure() { # what, uri
	case $1 in
	seq-read) measure_fio "$2" --rw=read --bs=256k --iodepth=16 --io_size=512m ;;
	seq-write) measure_fio "$2" --rw=write --bs=256k --iodepth=16 --io_size=128m ;;
	rand-read-4k) measure_fio "$2" --rw=randread --bs=4k --iodepth=32 --io_size=100m ;;
	rand-write-4k) measure_fio "$2" --rw=randwrite --bs=4k --iodepth=32 --io_size=50m ;;
	nbdcopy-read) seconds nbdcopy "$2" null: ;;
	nbdcopy-write) seconds nbdcopy "$disk.src" "$2" ;;
	qemu-img-read-4k) seconds qemu-img bench -f raw -d 32 -c 15000 -s 4096 -S 53248 "$2" ;;
	qemu-img-write-64k) seconds qemu-img bench -f raw -w -d 32 -c 1500 -s 65536 "$2" ;;
	esac
}
head -c 256M "$disk" >"$disk.src"

median() { sort -g "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
best() { sort -g "$1" | tail -n 1; }
printf '%-20s %10s %10s %10s %10s  %s\n' 'in a second' ours qemu-nbd nbdkit 'no server' 'ratio to the better: medians, best'
for what in seq-read seq-write rand-read-4k rand-write-4k nbdcopy-read nbdcopy-write qemu-img-read-4k qemu-img-write-64k; do
	[[ $what == *$only* ]] || continue
	rm -f "$work"/result.*
	cat "$disk" >/dev/null # into memory
	for round in $(seq "$rounds"); do
		for turn in 0 1 2; do
			i=$(((turn + round) % 3))
			sync "$disk"
			measure "$what" "nbd://127.0.0.1:$((port + i))" >>"$work/result.$i"
		done
		case $what in
		seq-* | rand-*)
			sync "$disk"
			measure "$what" '' >>"$work/result.file"
			;;
		esac
	done
	[ -e "$work/result.file" ] || echo 0 >"$work/result.file"
	figures=() bests=()
	for i in 0 1 2 file; do
		figures+=("$(median "$work/result.$i")") bests+=("$(best "$work/result.$i")")
	done
	echo "$what" "${figures[@]}" "${bests[@]}" | awk '
		function ratio(ours, a, b) { return ours / (a > b ? a : b) }
		{printf "%-20s %10.5g %10.5g %10.5g %10.5g  %.2f %.2f\n", $1, $2, $3, $4, $5, ratio($2, $3, $4), ratio($6, $7, $8)}'
done
echo "$(nproc) processors, load$(uptime | sed 's/.*average//'), $(stat -f -c %T "$work"), $(fio --version), $(nbdkit --version), $(qemu-nbd --version | head -n 1)"
