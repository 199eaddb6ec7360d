#!/bin/bash
# The long versions of tests, which `make test` runs small; ends with one line of totals. Takes two hours or
# so. What this machine is too small for runs smaller, and the end says why.
#
#     lab/scripts/test-full.sh [STAGE...]    all stages, or these: models simulation outage memory crashes chaos scan queues
set -uo pipefail

stages=("$@")
[ $# -gt 0 ] || stages=(models simulation outage memory crashes chaos scan queues)
for stage in "${stages[@]}"; do
    [[ $stage =~ ^(models|simulation|outage|memory|crashes|chaos|scan|queues)$ ]] || {
        echo "'$stage' is no stage; say one or more of: models simulation outage memory crashes chaos scan queues"
        exit 1
    }
done

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/e2e"
output=$target/e2e/tests-full.log
QUIZSTACK_SKIP_FILE=$(realpath "$target/e2e")/skipped-full
: >"$QUIZSTACK_SKIP_FILE"
: >"$output"
export QUIZSTACK_SKIP_FILE CARGO_TERM_COLOR=never

failed=()
began=$SECONDS
crate=quiz-storage
run() { # NAME FILTER ARGUMENTS...: tests of $crate, with what they print, if asked for; goes on after a failure
    [[ " ${stages[*]} " = *" $1 "* ]] || return 0
    local name=$1 filter=$2 start=$SECONDS
    shift 2
    printf '\n== %s\n' "$name"
    if cargo nextest run -p "$crate" --locked --no-fail-fast --profile full --success-output immediate \
        -E "$filter" "$@" 2>&1 | tee -a "$output"; then
        printf '== %s: ok, %d s\n' "$name" $((SECONDS - start))
    else
        failed+=("$name")
        printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - start))
    fi
}
count() { # WORD: the sum of "N WORD" over the summaries
    grep -E 'Summary \[' "$output" | grep -oE "[0-9]+ $1" | awk '{sum += $1} END {print sum + 0}'
}

cargo nextest --version >/dev/null 2>&1 || {
    echo "needs cargo-nextest: cargo install cargo-nextest --locked"
    exit 1
}

# 64 objects on three nodes, and a tenth more.
folder=${TMPDIR:-/tmp}
free=$(df --output=avail -BM "$folder" | tail -1 | tr -dc 0-9)
mib=256
while [ "$mib" -gt 16 ] && [ $((mib * 64 * 3 * 11 / 10)) -gt "$free" ]; do mib=$((mib / 2)); done
[ "$mib" -eq 256 ] || echo "memory: objects of $mib MiB instead of 256: $free MiB are free in $folder" \
    >>"$QUIZSTACK_SKIP_FILE"

export QUIZSTACK_MODEL_RUNS=60000 STORAGE_TEST_OBJECT_MIB=$mib STORAGE_TEST_OUTAGE=10000 STORAGE_TEST_CRASHES=10
export STORAGE_TEST_HEAL_SECS=20 STORAGE_CHAOS_SECS=600 STORAGE_SIMULATION_SEEDS=5000
run models 'kind(lib)' --release
run simulation 'binary(simulation)' --release --features simulation --test simulation
run outage 'test(outage::)' --release
run memory 'test(memory::)' --release
# In debug builds, as release builds have no places to die at.
run crashes 'test(crash::)'
run chaos 'binary(chaos)' --release
crate=quiz-lab
export QUIZ_LAB_SCAN=full
run scan 'binary(scan)'
# Two minutes for each row of the table in docs/capacity.md.
run queues 'binary(simulate)' --run-ignored all

if [ -s "$QUIZSTACK_SKIP_FILE" ]; then
    printf '\nSmaller or skipped on this machine:\n'
    sed 's/^/  /' "$QUIZSTACK_SKIP_FILE"
fi
wrong=$(IFS=,; echo "${failed[*]}")
printf '\nTOTAL: %d tests passed, %d failed, in %d s%s\n' \
    "$(count passed)" "$(count failed)" $((SECONDS - began)) "${wrong:+; FAILED: $wrong}"
[ "$wrong" = "" ]
