#!/bin/bash
# The storage nodes beside GlusterFS replica 3, on one disk, in one run. Usage: bench-storage.sh PROGRAMS [ARGS of the bench].
# Needs root: GlusterFS runs in a network and a mount namespace of its own, which has no way out and ends with this script.
set -euo pipefail

if [ "${QUIZSTACK_BENCH_INSIDE:-}" = "" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "GlusterFS needs root here: sudo env PATH=\"\$PATH\" HOME=\"\$HOME\" make bench-storage" >&2
        exit 1
    fi
    if ! command -v glusterd >/dev/null; then
        echo "Installing GlusterFS, the peer of this measurement; it is not started outside of it."
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q
        apt-get install -qy --no-install-recommends glusterfs-server glusterfs-client
    fi
    # /var/tmp is on a disk where /tmp may be memory.
    QUIZSTACK_BENCH_INSIDE=$(mktemp -d /var/tmp/quizstack-bench-XXXXXX)
    export QUIZSTACK_BENCH_INSIDE
    trap 'rm -rf "$QUIZSTACK_BENCH_INSIDE"' EXIT
    # All processes end with the first of the process namespace.
    unshare --net --mount --pid --fork --kill-child --mount-proc bash "$0" "$@"
    exit
fi

programs=$1
shift
dir=$QUIZSTACK_BENCH_INSIDE
address=198.18.0.1
ip link set lo up
ip address add "$address/32" dev lo
for folder in /var/lib/glusterd /var/log/glusterfs /run; do
    mkdir -p "$folder"
    mount -t tmpfs quizstack-bench "$folder"
done
mkdir -p /run/gluster "$dir/mount" "$dir/mount-read" "$dir/ours"
glusterd
gluster() { command gluster --mode=script "$@" >>"$dir/gluster.log" 2>&1; }
for _ in $(seq 50); do
    gluster volume info && break
    sleep 0.2
done
gluster volume create quiz replica 3 "$address:$dir/brick1" "$address:$dir/brick2" "$address:$dir/brick3" force
gluster volume start quiz
mount -t glusterfs "$address:/quiz" "$dir/mount"
mount -t glusterfs "$address:/quiz" "$dir/mount-read"

pid="cat /run/gluster/vols/quiz/*brick3.pid"
# Wherever the pid file is kept in this version.
eval "$pid" >/dev/null 2>&1 || pid="pgrep -f 'glusterfsd.*brick3'"
echo "Three storage nodes, GlusterFS $(glusterd --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p') with three bricks, and the disk itself:"
"$programs/bench" --program "$programs/quiz-storage" --dir "$dir/ours" --gluster "$dir/mount" --gluster-read "$dir/mount-read" --brick "$dir/brick3" \
    --brick-stop "kill -9 \$($pid)" --brick-start "gluster --mode=script volume start quiz force >/dev/null" \
    --brick-freeze "kill -STOP \$($pid)" --brick-thaw "kill -CONT \$($pid)" "$@"
umount "$dir/mount" "$dir/mount-read" || true
