#!/bin/bash
# Every check and test, in the order in which they fail fastest; ends with one line of totals.
# A test that lacks something on this machine appends "name: reason" to $QUIZSTACK_SKIP_FILE.
# With CI=true a skipped test is a failure.
set -uo pipefail

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/e2e"
QUIZSTACK_SKIP_FILE=$(realpath "$target/e2e")/skipped
output=$target/e2e/tests.log
: >"$QUIZSTACK_SKIP_FILE"
: >"$output"
# Colours would hide the numbers from the count below.
export QUIZSTACK_SKIP_FILE CARGO_TERM_COLOR=never

# Cargo's own runner does the same, one binary after the other.
runner=(cargo nextest run)
cargo nextest --version >/dev/null 2>&1 || runner=(cargo test)

# The storage node on machines that a test makes up; nothing else can be built with this feature.
simulated=(-p quiz-storage --features simulation)
# The balancer with its optional TLS.
encrypted=(-p quiz-lb --features tls)

tests() {
    "$target/debug/quiz-lab" postgres -- "${runner[@]}" --workspace --locked --no-fail-fast 2>&1 | tee "$output"
}
simulation() { # counted with the others
    "${runner[@]}" "${simulated[@]}" --test simulation --locked 2>&1 | tee -a "$output"
}
tls() { # counted with the others
    if ! command -v openssl >/dev/null; then
        echo "tls: openssl is not installed" >>"$QUIZSTACK_SKIP_FILE"
        return 0
    fi
    "${runner[@]}" "${encrypted[@]}" --test lb --locked tls 2>&1 | tee -a "$output"
}
compose() { # counted with the others
    lab/scripts/test-compose.sh 2>&1 | tee -a "$output"
}
lints() {
    cargo clippy --workspace --all-targets --locked -- -D warnings &&
        cargo clippy "${simulated[@]}" --lib --test simulation --locked -- -D warnings &&
        cargo clippy "${encrypted[@]}" --all-targets --locked -- -D warnings
}
queries() {
    cargo build -p quiz-lab --locked && "$target/debug/quiz-lab" postgres -- lab/scripts/sqlx.sh check
}
licences() {
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --offline check licenses bans sources
    else
        echo "Not checked: cargo-deny is not installed (cargo install cargo-deny)."
    fi
}
step() { # NAME COMMAND...: runs it unless an earlier step has failed
    [ "$failed" = "" ] || return 0
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    if "$@"; then
        printf '== %s: ok, %d s\n' "$name" $((SECONDS - start))
    else
        failed=$name
        printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - start))
    fi
}

failed=
began=$SECONDS
step format cargo fmt --all --check
step licences licences
step lints lints
step docs env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
step build "${runner[@]}" --workspace --locked --no-run
step queries queries
step tests tests
step simulation simulation
step tls tls
step compose compose

count() { # WORD: the sum of "N WORD" over the summaries
    grep -E 'Summary \[|^test result:' "$output" | grep -oE "[0-9]+ $1" | awk '{sum += $1} END {print sum + 0}'
}
passed=$(count passed)
skips=$(wc -l <"$QUIZSTACK_SKIP_FILE")
[ "$failed" != "" ] || [ "$passed" -gt 0 ] || failed="tests (none ran)"
if [ "$skips" -gt 0 ]; then
    printf '\nSkipped on this machine:\n'
    sed 's/^/  /' "$QUIZSTACK_SKIP_FILE"
    [ "${CI:-}" != true ] || [ "$failed" != "" ] || failed="tests (skipped ones, which CI does not allow)"
fi
printf '\nTOTAL: %d tests passed, %d failed, %d skipped, in %d s%s\n' \
    "$((passed - skips))" "$(count failed)" "$skips" $((SECONDS - began)) "${failed:+; FAILED: $failed}"
[ "$failed" = "" ]
