#!/bin/bash
# What rclone does with a store: run by tests/cluster/clients.rs, which sets the environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Unlike `grep -q`, reads to the end, so that the program before it can.
has() { grep "$@" >/dev/null; }
export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_S_TYPE=s3 RCLONE_CONFIG_S_PROVIDER=Other RCLONE_CONFIG_S_ENV_AUTH=true
export RCLONE_CONFIG_S_ENDPOINT=$ENDPOINT RCLONE_CONFIG_S_REGION=us-east-1 RCLONE_S3_CHUNK_SIZE=5M
export RCLONE_S3_UPLOAD_CUTOFF=6M RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=1 RCLONE_S3_COPY_CUTOFF=6M

mkdir -p tree/sub "tree/with space+plus"
head -c 16000000 /dev/urandom >tree/large
for i in 1 2 3 4 5 6 7; do echo "$i" >"tree/sub/$i"; done
echo ü >"tree/with space+plus/ü"
rclone mkdir "s:$BUCKET"
rclone lsd s: | has "$BUCKET"
rclone sync tree "s:$BUCKET/tree"
rclone check tree "s:$BUCKET/tree"
rclone check --download tree "s:$BUCKET/tree"
[ "$(rclone lsf -R --files-only "s:$BUCKET/tree" | wc -l)" = 9 ]
rclone lsf "s:$BUCKET/tree" | has -x "with space+plus/"
rclone copyto "s:$BUCKET/tree/large" "s:$BUCKET/copied"
rclone moveto "s:$BUCKET/copied" "s:$BUCKET/moved"
rclone cat "s:$BUCKET/moved" | cmp - tree/large
rclone cat --offset 7000000 --count 10 "s:$BUCKET/moved" | cmp - <(tail -c +7000001 tree/large | head -c 10)
touch -d "2001-02-03 04:05:06" tree/sub/1
rclone sync tree "s:$BUCKET/tree"
rclone lsl "s:$BUCKET/tree/sub/1" | has "2001-02-03"
echo piped | rclone rcat "s:$BUCKET/piped"
[ "$(rclone cat "s:$BUCKET/piped")" = piped ]
rm tree/sub/7
rclone sync tree "s:$BUCKET/tree"
rclone sync "s:$BUCKET/tree" back
diff -r tree back
rclone backend cleanup "s:$BUCKET"
rclone delete "s:$BUCKET"
[ -z "$(rclone lsf -R "s:$BUCKET")" ]
rclone version | sed -n 1p
