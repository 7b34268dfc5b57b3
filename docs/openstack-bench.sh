#!/usr/bin/env bash
# Measures the lists of this console beside Horizon's on the same cloud: time to the
# last byte of the page, with 20 and 100 rows, in one run, as a ratio of medians.
#
#   OS_CLOUD=… HORIZON=http://127.0.0.1/horizon HORIZON_USER=… HORIZON_PASSWORD=… docs/openstack-bench.sh
#
# needs go, curl, jq. OS_CLOUD (or the OS_* variables) name the project for the
# console; Horizon is switched to the project of the same id. The console gets a data
# folder of its own, which is removed. It also says how long the first copy of the
# cloud took beside plain paging, how much memory the console has, and how many
# requests a second it costs the cloud when nothing happens (STEADY=300 seconds).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-9} steady=${STEADY:-0}
work=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

CGO_ENABLED=0 go build -o "$work/blockconsole" .
began=$(date +%s%N)
BLOCKCONSOLE_BACKEND=openstack BLOCKCONSOLE_DATA=$work/data BLOCKCONSOLE_ADDR=127.0.0.1:0 BLOCKCONSOLE_METRICS_ADDR=127.0.0.1:${METRICS_PORT:-19464} \
	BLOCKCONSOLE_ADMIN_PASSWORD=correct-horse-1 "$work/blockconsole" >"$work/out" 2>"$work/log" &
pid=$!
until base=$(grep -o 'http://[^ ]*' "$work/out"); do
	kill -0 "$pid" || { cat "$work/log"; exit 1; }
	sleep 0.05
done
console=(-s -b "$work/console")
curl -s -c "$work/console" -o /dev/null -H "Origin: $base" -d 'username=admin&password=correct-horse-1' "$base/login"
lists=$base/storage/block-storage
project() { curl "${console[@]}" -H 'Accept: application/json' "$lists/volumes?size=20" | jq -r '.items[0].project_id // empty'; }
total() { curl "${console[@]}" -H 'Accept: application/json' "$lists/$1?size=20" | jq .total; }
seen=-1
while now="$(total volumes) $(total snapshots)"; [ "$now" != "$seen" ] || [ -z "$(project)" ]; do
	seen=$now copied=$(date +%s%N)
	sleep 1
done
echo "first copy: $seen volumes and snapshots in $(((copied - began) / 1000000)) ms at most, from the start of the program"
grep VmRSS "/proc/$pid/status"

horizon=(-s -b "$work/horizon" -c "$work/horizon")
curl "${horizon[@]}" -o "$work/page" "$HORIZON/auth/login/"
token=$(grep -oP 'name="csrfmiddlewaretoken" value="\K[^"]+' "$work/page" | head -n 1)
curl "${horizon[@]}" -o /dev/null -e "$HORIZON/auth/login/" --data-urlencode "csrfmiddlewaretoken=$token" -d region=default \
	--data-urlencode "username=$HORIZON_USER" --data-urlencode "password=$HORIZON_PASSWORD" "$HORIZON/auth/login/"
curl "${horizon[@]}" -o /dev/null "$HORIZON/auth/switch/$(project)/?next=/project/"

median() { sort -g "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
timed() { curl -s -o "$work/page" -w '%{http_code} %{time_total}\n' "$@" | awk '$1 != 200 {print "answered " $1 > "/dev/stderr"; exit 1} {print $2}'; }
host=$(echo "$HORIZON" | sed -E 's,^[a-z]+://([^/:]+).*,\1,')
printf '%-18s %6s %12s %12s %8s\n' 'seconds' rows Horizon ours ratio
for list in snapshots volumes; do
	for size in 20 100; do
		rm -f "$work"/time.*
		for _ in $(seq "$rounds"); do
			sed -i '/API_RESULT_PAGE_SIZE/d' "$work/horizon"
			printf '%s\tFALSE\t/\tFALSE\t0\tAPI_RESULT_PAGE_SIZE\t%s\n' "$host" "$size" >>"$work/horizon"
			timed -b "$work/horizon" "$HORIZON/project/$list/" >>"$work/time.horizon"
			theirs=$(grep -o 'data-object-id='  "$work/page" | wc -l)
			timed -b "$work/console" "$lists/$list?size=$size" >>"$work/time.ours"
			ours=$(grep -oE '<tr id="(volume|snapshot)-' "$work/page" | wc -l)
		done
		[ "$theirs" = "$ours" ] || echo "rows differ: Horizon $theirs, ours $ours" >&2
		echo "$list $ours $(median "$work/time.horizon") $(median "$work/time.ours")" |
			awk '{printf "%-18s %6s %12.4f %12.6f %8.0f\n", $1, $2, $3, $4, $3 / $4}'
	done
done
if [ "$steady" -gt 0 ]; then
	requests() { curl -s "http://127.0.0.1:${METRICS_PORT:-19464}/metrics" | awk '/^blockconsole_cloud_requests_total/ {n += $2} END {print n + 0}'; }
	before=$(requests)
	sleep "$steady"
	echo "$(requests) $before $steady" | awk '{printf "steady: %.2f requests a second\n", ($1 - $2) / $3}'
fi
echo "$(nproc) processors, load$(uptime | sed 's/.*average//')"
