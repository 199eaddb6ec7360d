#!/bin/bash
# Tests the stack in containers: an engine if none runs, the base images, our images, and the tests that are ignored
# elsewhere. An engine that this has started ends with it.
set -euo pipefail

if [ "$(id -u)" != 0 ]; then
    echo "compose: only root can start an engine and look into containers" >>"${QUIZSTACK_SKIP_FILE:-/dev/stderr}"
    exit 0
fi

quiet_end() {
    if [ -d /run/systemd/system ]; then
        systemctl disable --now docker.service docker.socket
        return
    fi
    local pid
    pid=$(cat /var/run/docker.pid 2>/dev/null) || return 0
    kill "$pid"
    # It takes the file with it.
    while [ -e /var/run/docker.pid ]; do sleep 0.2; done
}
if ! docker version >/dev/null 2>&1; then
    trap quiet_end EXIT
    # A test restarts it, which nobody else will mind.
    export QUIZSTACK_ENGINE=ours
fi
compose/build/deps.sh
compose/build/bases.sh
# Optimised less than what is shipped, as linking takes minutes otherwise, and under a tag that no site runs.
PROFILE=${PROFILE:-release} compose/build/images.sh test

runner=(cargo nextest run --run-ignored only)
filter=()
cargo nextest --version >/dev/null 2>&1 || {
    runner=(cargo test)
    filter=(-- --ignored --test-threads 1)
}
"${runner[@]}" -p quiz-lab --test compose --locked --no-fail-fast "$@" "${filter[@]}"
