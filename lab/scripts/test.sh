#!/bin/bash
# Every check and test, in the order in which they fail fastest; ends with one line of totals.
# A test that lacks something on this machine appends "name: reason" to $QUIZSTACK_SKIP_FILE.
# With CI=true a skipped test is a failure.
set -euo pipefail

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/e2e"
QUIZSTACK_SKIP_FILE=$(realpath "$target/e2e")/skipped
output=$target/e2e/tests.log
: >"$QUIZSTACK_SKIP_FILE"
export QUIZSTACK_SKIP_FILE
began=$SECONDS

step() { # NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" || { printf '\nFAILED: %s (%d s)\n' "$name" $((SECONDS - start)); exit 1; }
    printf '== %s: ok, %d s\n' "$name" $((SECONDS - start))
}
# Cargo's own runner does the same, one binary after the other.
runner=(cargo nextest run)
cargo nextest --version >/dev/null 2>&1 || runner=(cargo test)
tests() {
    "$target/debug/quiz-lab" postgres -- "${runner[@]}" --workspace --locked --no-fail-fast 2>&1 | tee "$output"
}

step format cargo fmt --all --check
step lints cargo clippy --workspace --all-targets --locked -- -D warnings
step docs env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
step build "${runner[@]}" --workspace --locked --no-run
step tests tests

count() { # WORD: the sum of "N WORD" over the summaries
    grep -E 'Summary \[|^test result:' "$output" | grep -oE "[0-9]+ $1" | awk '{sum += $1} END {print sum + 0}'
}
skips=$(wc -l <"$QUIZSTACK_SKIP_FILE")
if [ "$skips" -gt 0 ]; then
    printf '\nSkipped on this machine:\n'
    sed 's/^/  /' "$QUIZSTACK_SKIP_FILE"
fi
printf '\nTOTAL: %d tests passed, %d failed, %d skipped, in %d s\n' \
    "$(($(count passed) - skips))" "$(count failed)" "$skips" $((SECONDS - began))
[ "${CI:-}" != true ] || [ "$skips" = 0 ]
