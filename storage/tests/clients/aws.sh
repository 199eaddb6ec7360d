#!/bin/bash
# What the AWS command line does with a store: run by tests/cluster/clients.rs, which sets the environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Unlike `grep -q`, reads to the end, so that the program before it can.
has() { grep "$@" >/dev/null; }
export AWS_CONFIG_FILE=$work/config AWS_MAX_ATTEMPTS=1 AWS_PAGER=
s3() { aws --endpoint-url "$ENDPOINT" s3 "$@" --only-show-errors; }
list() { aws --endpoint-url "$ENDPOINT" s3 ls "$@"; }
api() { aws --endpoint-url "$ENDPOINT" --output text s3api "$@"; }

aws --endpoint-url "$ENDPOINT" s3 mb "s3://$BUCKET"
list | has "$BUCKET"
mkdir -p tree/sub
head -c 20000000 /dev/urandom >tree/large
for i in 1 2 3; do echo "$i" >"tree/sub/a +$i"; done
s3 sync tree "s3://$BUCKET/tree"
s3 cp "s3://$BUCKET/tree/large" "s3://$BUCKET/copied"
s3 mv "s3://$BUCKET/copied" "s3://$BUCKET/moved"
s3 cp "s3://$BUCKET/moved" moved
cmp moved tree/large
head -c 7000000 tree/large | s3 cp - "s3://$BUCKET/piped"
s3 cp "s3://$BUCKET/piped" - | cmp - <(head -c 7000000 tree/large)
list --recursive "s3://$BUCKET/tree/" | has "sub/a +2"
rm "tree/sub/a +3"
s3 sync --delete tree "s3://$BUCKET/tree"
s3 sync "s3://$BUCKET/tree" back
diff -r tree back
api head-object --bucket "$BUCKET" --key moved --query ContentLength | has -x 20000000
api list-object-versions --bucket "$BUCKET" --query 'Versions[0].VersionId' | has -x null
api get-bucket-location --bucket "$BUCKET" | has None
! api put-object --bucket "$BUCKET" --key moved --body moved --tagging a=b 2>err
grep -q NotImplemented err
s3 rm --recursive "s3://$BUCKET"
[ -z "$(list --recursive "s3://$BUCKET")" ]
aws --version
