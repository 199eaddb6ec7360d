"""What boto3 does with a store: run by tests/cluster/clients.rs, which sets the environment."""

import io
import os
import tempfile
import urllib.request

import boto3
import botocore
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

BUCKET = os.environ["BUCKET"]
KEYS = ["plain", "with space", "plus+and%25", "ä/ö ü", "a&b<c>'d\"", "deep/er/key"]


def client(**config):
    style = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **config)
    return boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], config=style)


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"not refused: {code}")


s3 = client()
s3.create_bucket(Bucket=BUCKET)
assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == [BUCKET]
refused("TooManyBuckets", s3.create_bucket, Bucket="another")
s3.head_bucket(Bucket=BUCKET)
assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)

# Objects, their metadata and their checksums, under keys that need care.
for key in KEYS:
    put = s3.put_object(
        Bucket=BUCKET, Key=key, Body=key.encode(), ContentType="text/x", Metadata={"who": "pepe"}
    )
    got = s3.get_object(Bucket=BUCKET, Key=key)
    assert got["Body"].read() == key.encode()
    assert got["ETag"] == put["ETag"]
    assert (got["ContentType"], got["Metadata"]) == ("text/x", {"who": "pepe"})
for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
    try:
        s3.put_object(Bucket=BUCKET, Key="sum", Body=b"x", ChecksumAlgorithm=algorithm)
    except botocore.exceptions.MissingDependencyException:
        continue  # what boto3 itself lacks on this machine
s3.delete_object(Bucket=BUCKET, Key="sum")
refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="none")
refused("404", s3.head_object, Bucket=BUCKET, Key="none")
refused("NoSuchBucket", s3.get_object, Bucket="another", Key="plain")
refused("InvalidRange", s3.get_object, Bucket=BUCKET, Key="plain", Range="bytes=99-")
# Not with empty bodies, after which botocore before 1.44 misreads the next answer and waits for its time-out.
refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="plain", Body=b"x", IfNoneMatch="*")
refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="plain", Body=b"x", IfMatch='"0"')
refused("BadDigest", s3.put_object, Bucket=BUCKET, Key="bad", Body=b"x", ChecksumCRC32="AAAAAA==")

# All listings, page by page.
for kind, items in [
    ("list_objects", "Contents"),
    ("list_objects_v2", "Contents"),
    ("list_object_versions", "Versions"),
]:
    pages = s3.get_paginator(kind).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
    keys = [item["Key"] for page in pages for item in page.get(items, [])]
    assert keys == sorted(KEYS, key=str.encode), (kind, keys)
    pages = s3.get_paginator(kind).paginate(
        Bucket=BUCKET, Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    folded = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
    assert folded == ["deep/", "ä/"], (kind, folded)

# A large file: in parts up, in ranges down, copied in parts, compared.
parts = TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=6 << 20)
data = bytes(range(256)) * (80 << 10) + b"end"
s3.upload_fileobj(io.BytesIO(data), BUCKET, "large", Config=parts)
head = s3.head_object(Bucket=BUCKET, Key="large")
assert head["ContentLength"] == len(data) and head["ETag"].endswith('-4"'), head
s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, "copy", Config=parts)
for key in ["large", "copy"]:
    with tempfile.NamedTemporaryFile() as file:
        s3.download_file(BUCKET, key, file.name, Config=parts)
        assert open(file.name, "rb").read() == data
third = s3.get_object(Bucket=BUCKET, Key="large", PartNumber=3)
assert third["Body"].read() == data[12 << 20 : 18 << 20] and third["PartsCount"] == 4
s3.copy_object(Bucket=BUCKET, Key="one", CopySource={"Bucket": BUCKET, "Key": "with space"})
assert s3.get_object(Bucket=BUCKET, Key="one")["Body"].read() == b"with space"

# Uploads that are not completed.
upload = s3.create_multipart_upload(Bucket=BUCKET, Key="begun")["UploadId"]
s3.upload_part(Bucket=BUCKET, Key="begun", UploadId=upload, PartNumber=7, Body=b"x")
listed = s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
assert [(u["Key"], u["UploadId"]) for u in listed] == [("begun", upload)]
listed = s3.list_parts(Bucket=BUCKET, Key="begun", UploadId=upload)["Parts"]
assert [p["PartNumber"] for p in listed] == [7]
s3.abort_multipart_upload(Bucket=BUCKET, Key="begun", UploadId=upload)
assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)

# Signed URLs, of either kind of signature.
for version in ["s3v4", "s3"]:
    signing = client(signature_version=version)
    name = {"Bucket": BUCKET, "Key": "signed"}
    url = signing.generate_presigned_url("put_object", Params=name)
    kind = {"Content-Type": ""}  # or it would say one that was not signed
    put = urllib.request.Request(url, data=b"by url", headers=kind, method="PUT")
    urllib.request.urlopen(put)
    url = signing.generate_presigned_url("get_object", Params=name)
    assert urllib.request.urlopen(url).read() == b"by url"

# The end of all.
refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
versions = s3.list_object_versions(Bucket=BUCKET)["Versions"]
doomed = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]
gone = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": doomed})
assert len(gone["Deleted"]) == len(doomed) and "Errors" not in gone, gone
assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
refused("AccessDenied", s3.delete_bucket, Bucket=BUCKET)
print("boto3", boto3.__version__)
