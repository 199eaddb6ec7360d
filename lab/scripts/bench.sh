#!/bin/bash
# What the balancer costs: the same constant rate at the balancer and straight at a front-end, in turn, in one run.
# Usage: bench.sh PROGRAMS [RATE] [SECONDS] [ROUNDS]. Reports are kept in target/bench.
set -euo pipefail

programs=$1 rate=${2:-300} seconds=${3:-10} rounds=${4:-3}
# /var/tmp: PostgreSQL may run as another user, to whom TMPDIR may be closed.
state=$(mktemp -d /var/tmp/quizstack-bench-XXXXXX)
chmod 711 "$state"
reports=${CARGO_TARGET_DIR:-target}/bench
mkdir -p "$reports"
"$programs/quiz-lab" run --quiz 2 --port 0 --state "$state/state" >"$reports/lab.log" 2>&1 &
lab=$!
trap 'kill "$lab" 2>/dev/null || true; wait "$lab" || true; rm -rf "$state"' EXIT

echo "Starting a stack of two front-ends."
until grep -q 'Ctrl-C stops it' "$reports/lab.log"; do
    kill -0 "$lab" || { cat "$reports/lab.log"; exit 1; }
    sleep 0.2
done
lab_json=$state/state/lab.json
balancer=$(sed -n 's/.*"url": "\(.*\)\/",/\1/p' "$lab_json")
front=http://$(grep -A 2 '"name": "quiz-1"' "$lab_json" | sed -n 's/.*"address": "\(.*\)",/\1/p')

for path in / /quizzes; do
    for round in $(seq "$rounds"); do
        for way in balancer front; do
            printf '\n%s %s, round %d of %d, %d requests/s for %d s\n' "$way" "$path" "$round" "$rounds" "$rate" "$seconds"
            "$programs/quiz-loadtest" run "${!way}$path" --rate "$rate" --warm-up 2s --duration "${seconds}s" |
                tee "$reports/$way-${path#/}-$round.txt"
        done
    done
done
