#!/usr/bin/env bash
# Compares the speed of this tree with that of an earlier revision: both binaries by
# turns in one run, with the 95 % interval of the ratio. It fails when a whole
# interval lies below 0.98.
#
#   docs/bench-compare.sh REVISION               needs go and fio
#   ROUNDS=21 ONLY=nbd docs/bench-compare.sh REVISION
#
# A measure of REVISION may stand in another package or have another name there; the
# table below says so as earlier:now. Ratios are now / earlier of speed: above 1 is
# faster now.
set -euo pipefail
cd "$(dirname "$0")/.."
revision=$1 rounds=${ROUNDS:-15} only=${ONLY:-}
work=$(mktemp -d "${WORK:-/var/tmp}/bench-compare.XXXXXX")
pids=()
finish() {
	[ ${#pids[@]} -eq 0 ] || kill -INT "${pids[@]}" 2>/dev/null || true
	wait
	git worktree remove --force "$work/earlier" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
git worktree add -q --detach "$work/earlier" "$revision"

# package, benchmark, metric (of ns/op and milliseconds less is faster), iterations of one turn
measures='
views:views                              SnapshotsPage:SnapshotsPage                 ns/op 200x
views:views                              SnapshotRow:SnapshotRow                     ns/op 20000x
web:web                                  PageAgainstStatic:PageAgainstStatic         ratio 1x
models/backend/local:models/backend/local PageOf50:PageOf50                           ns/op 2000x
models/backend/local:models/backend/local Hold/1000:Hold/1000                         ms-held 1x
models/backend/local:models/backend/local SnapshotReflink:SnapshotReflink             ms-ours 1x
models/backend/local:models/backend/local SnapshotCopy/cached:SnapshotCopy/cached     ms-ours 1x
'

# run prints "name value" for each (sub-)benchmark of one turn, as speed.
run() { # folder, test binary, benchmark, metric, iterations
	(cd "$1" && "$2" -test.run '^$' -test.bench "^Benchmark$3\$" -test.benchtime "$5" -test.timeout 30m) |
		awk -v metric="$4" '/^Benchmark/ {
			name = $1; sub(/-[0-9]+$/, "", name); sub(/^Benchmark[^\/]*/, "", name)
			for (i = 3; i < NF; i++) if ($(i + 1) == metric) print (name == "" ? "/" : name), (metric ~ /^(ns|ms)/ ? 1e9 / $i : $i)
		}'
}

# summary reads "name earlier now" lines and prints the ratio with its interval.
summary() { # title
	awk -v title="$1" '
		{ r = log($3 / $2); if (!($1 in n)) order[++names] = $1; n[$1]++; sum[$1] += r; square[$1] += r * r }
		END {
			for (i = 1; i <= names; i++) {
				k = order[i]; mean = sum[k] / n[k]
				half = n[k] > 1 ? 2.14 * sqrt((square[k] / n[k] - mean * mean) * n[k] / (n[k] - 1) / n[k]) : 0
				bad = exp(mean + half) < 0.98
				if (bad) failed = 1
				printf "%-60s %.3f (%.3f to %.3f) of %d rounds%s\n", title (k == "/" ? "" : k), exp(mean), exp(mean - half), exp(mean + half), n[k], bad ? "  SLOWER" : ""
			}
			exit failed
		}'
}

status=0
while read -r packages benchmarks metric iterations; do
	[ -n "$packages" ] || continue
	before=${packages%%:*} now=${packages##*:} title="$now ${benchmarks##*:}"
	[[ $title == *$only* ]] || continue
	(cd "$work/earlier" && go test -c -o "$work/before.test" "./$before")
	go test -c -o "$work/now.test" "./$now"
	: >"$work/turns"
	for ((i = 0; i < rounds; i++)); do
		if ((i % 2)); then
			run "$now" "$work/now.test" "${benchmarks##*:}" "$metric" "$iterations" >"$work/b"
			run "$work/earlier/$before" "$work/before.test" "${benchmarks%%:*}" "$metric" "$iterations" >"$work/a"
		else
			run "$work/earlier/$before" "$work/before.test" "${benchmarks%%:*}" "$metric" "$iterations" >"$work/a"
			run "$now" "$work/now.test" "${benchmarks##*:}" "$metric" "$iterations" >"$work/b"
		fi
		paste -d' ' "$work/a" "$work/b" | awk '{print $1, $2, $4}' >>"$work/turns"
	done
	summary "$title" <"$work/turns" || status=1
done <<<"$measures"

# NBD: fio against both servers, each with a file of its own of the same bytes.
[[ "nbd" == *$only* ]] || exit $status
package=models/backend/local/nbd size=${SIZE:-512} # MiB
(cd "$work/earlier" && go test -c -o "$work/before.test" "./$package")
go test -c -o "$work/now.test" "./$package"
head -c "${size}M" /dev/urandom >"$work/before.disk"
cp "$work/before.disk" "$work/now.disk"
port=$((20000 + RANDOM % 12000)) # below those that clients get
serve() { # binary, disk, port
	BLOCKCONSOLE_NBD_BENCH_FILE=$2 BLOCKCONSOLE_NBD_BENCH_PORT=$3 \
		"$1" -test.run '^Test(ServeForBench|BenchServer)$' -test.timeout 0 >/dev/null 2>&1 &
	pids+=($!)
}
serve "$work/before.test" "$work/before.disk" "$port"
serve "$work/now.test" "$work/now.disk" $((port + 1))
for p in "$port" $((port + 1)); do
	for _ in $(seq 100); do
		nbdinfo --size "nbd://127.0.0.1:$p" >/dev/null 2>&1 && break
		sleep 0.1
	done
done
measure() { # port, fio arguments
	fio --name=x --ioengine=nbd "--uri=nbd://127.0.0.1:$1" "--size=${size}m" --output-format=terse "${@:2}" 2>/dev/null |
		awk -F';' '/^3;/ {n += $8 + $49} END {print n}'
}
: >"$work/turns"
for ((i = 0; i < rounds; i++)); do
	while read -r name arguments; do
		sync
		if ((i % 2)); then
			b=$(measure $((port + 1)) $arguments) a=$(measure "$port" $arguments)
		else
			a=$(measure "$port" $arguments) b=$(measure $((port + 1)) $arguments)
		fi
		echo "/$name $a $b" >>"$work/turns"
	done <<-'WORK'
		seq-read --rw=read --bs=256k --iodepth=16 --io_size=512m
		seq-write --rw=write --bs=256k --iodepth=16 --io_size=256m
		rand-read-4k --rw=randread --bs=4k --iodepth=32 --io_size=100m
		rand-write-4k --rw=randwrite --bs=4k --iodepth=32 --io_size=64m
	WORK
done
summary nbd <"$work/turns" || status=1
exit $status
