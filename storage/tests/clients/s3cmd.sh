#!/bin/bash
# What s3cmd does with a store: run by tests/cluster/clients.rs, which sets the environment.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Unlike `grep -q`, reads to the end, so that the program before it can.
has() { grep "$@" >/dev/null; }
host=${ENDPOINT#http://}
cat >config <<END
[default]
host_base = $host
host_bucket = $host
use_https = False
bucket_location = us-east-1
access_key = $AWS_ACCESS_KEY_ID
secret_key = $AWS_SECRET_ACCESS_KEY
END
s3() { s3cmd --config=config --no-progress "$@"; }
same() { cmp "$1" "$2" || { echo "$2 is not $1"; exit 1; }; }

s3 mb "s3://$BUCKET"
s3 ls | has "s3://$BUCKET"
head -c 300000 /dev/urandom >small
head -c 17000000 /dev/urandom >large
s3 put small "s3://$BUCKET/dir/a small+one.bin" --add-header=x-amz-meta-who:pepe
s3 put --multipart-chunk-size-mb=6 large "s3://$BUCKET/dir/large"
s3 get "s3://$BUCKET/dir/a small+one.bin" got-small
s3 get "s3://$BUCKET/dir/large" got-large
same small got-small
same large got-large
s3 ls "s3://$BUCKET" | has "DIR .*s3://$BUCKET/dir/"
s3 ls --recursive "s3://$BUCKET" | has "300000 .*dir/a small+one.bin"
s3 info "s3://$BUCKET/dir/large" | has "17000000"
s3 info "s3://$BUCKET" | has "Location"
s3 cp "s3://$BUCKET/dir/large" "s3://$BUCKET/copy"
s3 mv "s3://$BUCKET/copy" "s3://$BUCKET/moved"
s3 get "s3://$BUCKET/moved" got-moved
same large got-moved
s3 modify --add-header=content-type:text/plain "s3://$BUCKET/moved"
s3 info "s3://$BUCKET/moved" | has "text/plain"
mkdir -p tree/sub
for i in 1 2 3 4 5; do echo "$i" >"tree/sub/$i"; done
s3 sync tree/ "s3://$BUCKET/tree/"
rm tree/sub/5
s3 sync --delete-removed tree/ "s3://$BUCKET/tree/"
s3 sync "s3://$BUCKET/tree/" back/
diff -r tree back
url=$(s3 signurl "s3://$BUCKET/tree/sub/1" +600)
python3 -c 'import sys, urllib.request; assert urllib.request.urlopen(sys.argv[1]).read() == b"1\n"' "${url/https:/http:}"
s3 multipart "s3://$BUCKET"
s3 du "s3://$BUCKET" | has "^ *34300008"
! s3 rb "s3://$BUCKET" 2>err
grep -q BucketNotEmpty err
s3 rm --recursive --force "s3://$BUCKET"
[ -z "$(s3 ls --recursive "s3://$BUCKET")" ]
s3cmd --version
