#!/usr/bin/env bash
# Measures snapshots of a volume that a server writes to: how long its writes are held, how
# fast they are until the copy is whole, and how long the copy takes. Goals and figures
# stand in docs/bench-local.md.
#
#   docs/snapshot-bench.sh        needs go, fio, libnbd-bin, python3 and, from Debian's
#                                 qemu-system-common, qemu-storage-daemon
#   ROUNDS=3 GIB=1 ONLY=cold WORK=/some/disk docs/snapshot-bench.sh
#
# hold:  a volume of 1 TiB with GIB of data; fio writes 4 KiB at random places of those.
# cold, warm: a volume of GIB, fully written, out of the page cache or in it. In each round
#        each side takes its turn, and the first one changes: fio writes 4 KiB at random
#        places all over it from the instant of a snapshot until its copy is durable (for
#        qemu-storage-daemon, from a blockdev-backup job's beginning to its end and a sync
#        of its file, which the job does not make), then for as long without a snapshot;
#        and cp --sparse=always copies the idle file and syncs the copy.
# The ratios are medians over the rounds, each of the two figures of one round.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-15} gib=${GIB:-10} only=${ONLY:-}
daemon=${QEMU_STORAGE_DAEMON:-qemu-storage-daemon}
for needed in "$daemon" fio nbdinfo python3; do
	command -v "$needed" >/dev/null || { echo "$needed is missing" >&2; exit 1; }
done
work=$(mktemp -d "${WORK:-/var/tmp}/snapshot-bench.XXXXXX")
pids=()
finish() {
	trap - EXIT
	[ ${#pids[@]} -eq 0 ] || kill -INT "${pids[@]}" 2>/dev/null || true
	exec {to}>&- 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM
go test -c -o "$work/backend" ./models/backend/local
port=$((20000 + RANDOM % 12000)) # below those that clients get
mkfifo "$work/to" "$work/from"

# serve begins to serve a volume of $1 GiB: sets file and uri.
serve() {
	BLOCKCONSOLE_SNAPSHOT_BENCH_DIR=$work/data BLOCKCONSOLE_SNAPSHOT_BENCH_PORT=$port BLOCKCONSOLE_SNAPSHOT_BENCH_GIB=$1 \
		"$work/backend" -test.run '^TestBenchBackend$' -test.timeout 0 <"$work/to" >"$work/from" 2>"$work/backend.log" &
	server=$! pids+=($!)
	exec {to}>"$work/to" {from}<"$work/from"
	read -r file export <&$from
	uri=nbd://127.0.0.1:$port/$export
}
stop() {
	exec {to}>&-
	wait "$server"
	exec {from}<&-
	rm -rf "$work/data"
}
fill() { # bytes that no file system compresses, in requests that no cache notices
	fio --name=x --ioengine=psync "--filename=$file" --rw=write --bs=1m "--size=${gib}g" --allow_file_create=0 --overwrite=0 --fallocate=none --end_fsync=1 >/dev/null
}
write_on() { # uri, log: 4 KiB at random places over GIB, until killed
	fio --name=x --ioengine=nbd "--uri=$1" --rw=randwrite --bs=4k --iodepth=32 "--size=${gib}g" --norandommap --randrepeat=0 \
		--time_based --runtime=100000 "--write_iops_log=$2" --log_avg_msec=100 --log_unix_epoch=1 --output=/dev/null &
	writer=$! pids+=($!)
	sleep 2
	kill -0 "$writer"
}
stop_writing() {
	kill -INT "$writer"
	wait "$writer" || true
}
now() { date +%s%3N; }
# rate is the writes per second of a log between two times.
rate() { # log, from, to
	awk -F', *' -v from="$2" -v to="$3" '$1 > from + 100 && $1 <= to {sum += $2; n++} END {print n ? sum / n : 0}' "$1"_iops.1.log
}
median() { sort -g "$@" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
sleep_ms() { sleep "$(awk "BEGIN {print $1 / 1000}")"; }

measure_hold() {
	serve 1024
	fill
	write_on "$uri" "$work/log"
	for ((i = 0; i < rounds; i++)); do
		echo begin >&$to
		read -r _ held _ <&$from
		read -r _ <&$from
		echo "$held" >>"$work/held"
		sleep 1
	done
	stop_writing
	stop
	echo "held: median $(median "$work/held") ms, most $(sort -g "$work/held" | tail -n 1) ms, of $rounds snapshots"
}

# prepare brings the volume's file into the page cache, or out of it, with nothing to write.
prepare() { # cold or warm
	rm -f "$work"/log*
	sync "$file"
	[ "$1" = cold ] && dd if="$file" iflag=nocache count=0 status=none || cat "$file" >/dev/null
}

# Each turn appends "with without" to a result: the writes per second with a snapshot and without.
turn_ours() { # cold or warm
	local start end
	prepare "$1"
	write_on "$uri" "$work/log"
	echo copy >&$to
	read -r _ _ start <&$from
	read -r _ end <&$from
	read -r _ <&$from
	stop_writing
	with=$(rate "$work/log" "$start" "$end") took=$((end - start))
	echo "$took" >>"$work/$1.took"
	without "$uri" "$1"
	echo "$with $alone" >>"$work/$1.ours"
}
without() { # uri, cold or warm: for as long as the snapshot took
	local start
	prepare "$2"
	write_on "$1" "$work/log"
	start=$(now)
	sleep_ms "$took"
	stop_writing
	alone=$(rate "$work/log" "$start" $((start + took)))
}
turn_qemu() {
	local start end
	prepare "$1"
	truncate -s "${gib}G" "$work/backup"
	"$daemon" --blockdev "driver=file,node-name=disk,filename=$file" --blockdev "driver=file,node-name=copy,filename=$work/backup" \
		--nbd-server "addr.type=inet,addr.host=127.0.0.1,addr.port=$((port + 1))" --export type=nbd,id=e,node-name=disk,name=disk,writable=on \
		--chardev "socket,id=q,path=$work/qmp,server=on,wait=off" --monitor chardev=q &
	local qemu=$! address=nbd://127.0.0.1:$((port + 1))/disk
	until nbdinfo --size "$address" >/dev/null 2>&1; do sleep 0.1; done
	write_on "$address" "$work/log"
	read -r start end < <(python3 docs/qmp-backup.py "$work/qmp" "$work/backup")
	stop_writing
	with=$(rate "$work/log" "$start" "$end") took=$((end - start))
	without "$address" "$1"
	kill "$qemu"
	wait "$qemu" || true
	rm -f "$work/backup" "$work/qmp"
	echo "$with $alone" >>"$work/$1.qemu"
	echo "$took" >>"$work/$1.qemu-took"
}
turn_cp() {
	local start
	prepare "$1"
	start=$(now)
	cp --sparse=always "$file" "$work/copy"
	sync "$work/copy"
	echo $(($(now) - start)) >>"$work/$1.cp"
	rm -f "$work/copy"
}
measure_writes() { # cold or warm
	serve "$gib"
	fill
	for ((i = 0; i < rounds; i++)); do
		local turns=(ours qemu cp)
		for turn in 0 1 2; do "turn_${turns[$(((turn + i) % 3))]}" "$1"; done
	done
	stop
	for side in ours qemu; do
		awk '{print $1}' "$work/$1.$side" >"$work/with"
		awk '{print $2}' "$work/$1.$side" >"$work/alone"
		awk '$2 {print $1 / $2}' "$work/$1.$side" >"$work/ratios"
		echo "$1, $side: $(median "$work/with") writes/s during the copy, $(median "$work/alone") without, ratio $(median "$work/ratios")"
	done
	paste "$work/$1.took" "$work/$1.cp" | awk '{print $1 / $2}' >"$work/ratios"
	echo "$1: the copy took $(median "$work/$1.took") ms, cp of the idle file $(median "$work/$1.cp") ms, ratio $(median "$work/ratios"); qemu's job $(median "$work/$1.qemu-took") ms"
}

[[ hold != *$only* ]] || measure_hold
for cache in cold warm; do
	[[ $cache != *$only* ]] || measure_writes "$cache"
done
echo "$rounds rounds, $gib GiB, $(nproc) processors, load$(uptime | sed 's/.*average//'), $(stat -f -c %T "$work"), $(fio --version), $("$daemon" --version | head -n 1)"
