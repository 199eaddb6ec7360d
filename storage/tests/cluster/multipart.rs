//! Uploads in parts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures::TryStreamExt as _;
use http::Method;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore as _, ObjectStoreExt as _};

use crate::common::{TestCluster, eventually};
use crate::relay::{relay, says};
use crate::signed::{Signed, ask, tagged};

const MIB: usize = 1024 * 1024;

/// Numbers of parts and what was sent as each.
type Parts<'a> = &'a [(u32, &'a [u8])];

fn part(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

async fn begin(to: SocketAddr, path: &str) -> String {
    let (status, text) = ask(to, Method::POST, path, "uploads=", &[]).await;
    assert_eq!(status, 200, "{text}");
    tagged(&text, "UploadId").to_owned()
}

async fn put_part(
    to: SocketAddr,
    path: &str,
    id: &str,
    number: u32,
    body: Vec<u8>,
) -> (u16, String) {
    let answered = try_put_part(to, path, id, number, body).await;
    answered.unwrap()
}

async fn try_put_part(
    to: SocketAddr,
    path: &str,
    id: &str,
    number: u32,
    body: Vec<u8>,
) -> reqwest::Result<(u16, String)> {
    let query = format!("partNumber={number}&uploadId={id}");
    let request = Signed {
        method: Method::PUT,
        path,
        query: &query,
        headers: &[],
        payload: "UNSIGNED-PAYLOAD",
        body,
    };
    request.try_send(to).await
}

async fn complete(to: SocketAddr, path: &str, id: &str, parts: Parts<'_>) -> (u16, String) {
    complete_if(to, path, id, parts, &[]).await
}

async fn complete_if(
    to: SocketAddr,
    path: &str,
    id: &str,
    parts: Parts<'_>,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let parts = parts.iter().map(|(number, data)| {
        let tag = hex::encode(md5(data));
        format!("<Part><PartNumber>{number}</PartNumber><ETag>\"{tag}\"</ETag></Part>")
    });
    let parts: String = parts.collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    let query = format!("uploadId={id}");
    let request = Signed {
        method: Method::POST,
        path,
        query: &query,
        headers,
        payload: "UNSIGNED-PAYLOAD",
        body: body.into_bytes(),
    };
    request.send(to).await
}

fn md5(data: &[u8]) -> [u8; 16] {
    use s3s::crypto::Checksum as _;
    s3s::crypto::Md5::checksum(data)
}

async fn keys(cluster: &TestCluster) -> Vec<String> {
    let listed: Vec<_> = cluster.store(1).list(None).try_collect().await.unwrap();
    listed.into_iter().map(|o| o.location.to_string()).collect()
}

#[tokio::test]
async fn an_object_in_parts_is_one_object_through_every_node() {
    let cluster = TestCluster::start().await;
    let at = |node: usize| cluster.nodes[node].config.listen;
    let id = begin(at(0), "/quiz/a/b").await;
    let (first, last) = (part(1, 5 * MIB + 3), part(2, 70_000));
    // Through any node, in any order, with gaps, and once again with other bytes.
    for (node, number, data) in [(1, 9, &last), (2, 4, &last), (0, 4, &first)] {
        let (status, text) = put_part(at(node), "/quiz/a/b", &id, number, data.clone()).await;
        assert_eq!(status, 200, "{text}");
    }
    assert!(keys(&cluster).await.is_empty(), "it is no object yet");
    let done = complete(at(2), "/quiz/a/b", &id, &[(4, &first), (9, &last)]).await;
    assert_eq!(done.0, 200, "{done:?}");
    let whole = [first.clone(), last.clone()].concat();
    let sums = [md5(&first), md5(&last)].concat();
    let tag = format!("\"{}-2\"", hex::encode(md5(&sums)));
    let path = Path::from("a/b");
    for node in 0..3 {
        let got = cluster.store(node).get(&path).await.unwrap();
        assert_eq!(got.meta.e_tag.as_ref(), Some(&tag));
        assert!(got.bytes().await.unwrap() == whole);
        let across = first.len() as u64 - 2..first.len() as u64 + 2;
        let got = cluster.store(node).get_range(&path, across).await.unwrap();
        assert_eq!(got, [1, 1, 2, 2][..]);
        let options = GetOptions::new().with_if_none_match(Some(tag.clone()));
        let same = cluster.store(node).get_opts(&path, options).await;
        assert!(matches!(same, Err(object_store::Error::NotModified { .. })));
    }
    assert_eq!(keys(&cluster).await, ["a/b"]);
    for node in 0..3 {
        eventually("one object, and no part is counted", async || {
            cluster.gauge(node, "storage_objects").await == 1
        })
        .await;
    }
    let (status, _) = ask(at(1), Method::GET, "/quiz/a/b", "partNumber=2", &[]).await;
    assert_eq!(status, 206);
    let (status, _) = ask(at(1), Method::GET, "/quiz/a/b", "partNumber=3", &[]).await;
    assert_eq!(status, 416);
}

#[tokio::test]
async fn what_cannot_be_completed_says_why() {
    let cluster = TestCluster::start().await;
    let (to, path) = (cluster.nodes[0].config.listen, "/quiz/a");
    let id = begin(to, path).await;
    let (small, last) = (part(1, 1_000), part(2, 10));
    for (number, data) in [(1, &small), (2, &last)] {
        assert_eq!(put_part(to, path, &id, number, data.clone()).await.0, 200);
    }
    let nobody = "0".repeat(32);
    let cases: [(&str, Parts<'_>, &str); 6] = [
        (&id, &[(2, &last), (1, &small)], "InvalidPartOrder"),
        (&id, &[(1, &small), (2, &last)], "EntityTooSmall"),
        (&id, &[(1, b"other")], "InvalidPart"),
        (&id, &[(3, &last)], "InvalidPart"),
        (&id, &[], "MalformedXML"),
        (&nobody, &[(1, &small)], "NoSuchUpload"),
    ];
    for (id, parts, code) in cases {
        let (status, text) = complete(to, path, id, parts).await;
        assert!(status == 400 || status == 404, "{code}: {status} {text}");
        assert_eq!(tagged(&text, "Code"), code, "{text}");
    }
    for number in [0, 10_001] {
        assert_eq!(put_part(to, path, &id, number, last.clone()).await.0, 400);
    }
    let other_key = put_part(to, "/quiz/b", &id, 1, last.clone()).await;
    assert_eq!(other_key.0, 404, "{other_key:?}");
    let strange = ask(to, Method::GET, path, "uploadId=..%2F1", &[]).await;
    assert_eq!(strange.0, 404, "{strange:?}");
}

#[tokio::test]
async fn uploads_and_their_parts_are_listed_until_they_end() {
    let cluster = TestCluster::start().await;
    let to = cluster.nodes[0].config.listen;
    let ids = [
        begin(to, "/quiz/x/a").await,
        begin(to, "/quiz/x/a").await,
        begin(to, "/quiz/y").await,
    ];
    for number in [2, 1, 3] {
        let put = put_part(to, "/quiz/x/a", &ids[0], number, part(1, 5)).await;
        assert_eq!(put.0, 200);
    }
    let query = "max-uploads=1&prefix=x%2F&uploads=";
    let (_, text) = ask(to, Method::GET, "/quiz", query, &[]).await;
    assert_eq!(tagged(&text, "IsTruncated"), "true", "{text}");
    let next = tagged(&text, "NextUploadIdMarker");
    let query = format!("key-marker=x%2Fa&prefix=x%2F&upload-id-marker={next}&uploads=");
    let (_, rest) = ask(to, Method::GET, "/quiz", &query, &[]).await;
    assert_eq!(tagged(&rest, "IsTruncated"), "false", "{rest}");
    let seen = [text, rest].map(|text| text.matches("<Upload>").count());
    assert_eq!(seen, [1, 1]);
    let query = format!("max-parts=2&part-number-marker=1&uploadId={}", ids[0]);
    let (_, text) = ask(to, Method::GET, "/quiz/x/a", &query, &[]).await;
    let (_, text) = text.split_once("<Part>").unwrap();
    assert!(text.contains("<PartNumber>2</PartNumber>"), "{text}");
    assert!(text.contains("<PartNumber>3</PartNumber>"), "{text}");
    for (id, path) in ids.iter().zip(["/quiz/x/a", "/quiz/x/a", "/quiz/y"]) {
        let query = format!("uploadId={id}");
        assert_eq!(ask(to, Method::DELETE, path, &query, &[]).await.0, 204);
        assert_eq!(ask(to, Method::DELETE, path, &query, &[]).await.0, 404);
        assert_eq!(ask(to, Method::GET, path, &query, &[]).await.0, 404);
    }
    let (_, text) = ask(to, Method::GET, "/quiz", "uploads=", &[]).await;
    assert!(!text.contains("<Upload>"), "{text}");
    let late = put_part(to, "/quiz/y", &ids[2], 1, part(1, 5)).await;
    assert_eq!(late.0, 404, "{late:?}");
}

/// A client that lost the first answer asks again.
#[tokio::test]
async fn completing_again_gives_the_same_answer_and_a_condition_is_kept() {
    let cluster = TestCluster::start().await;
    let (to, path) = (cluster.nodes[0].config.listen, "/quiz/a");
    let data = part(1, 1_000);
    let id = begin(to, path).await;
    put_part(to, path, &id, 1, data.clone()).await;
    let absent = [("if-none-match", "*")];
    let first = complete_if(to, path, &id, &[(1, &data)], &absent).await;
    assert_eq!(first.0, 200, "{first:?}");
    let again = complete(to, path, &id, &[(1, &data)]).await;
    assert_eq!(again, first);
    let id = begin(to, path).await;
    put_part(to, path, &id, 1, data.clone()).await;
    let exists = complete_if(to, path, &id, &[(1, &data)], &absent).await;
    assert_eq!(exists.0, 412, "{exists:?}");
    cluster.store(0).delete(&Path::from("a")).await.unwrap();
    let done = complete_if(to, path, &id, &[(1, &data)], &absent).await;
    assert_eq!(done.0, 200, "{done:?}");
}

#[tokio::test]
async fn an_upload_goes_on_while_nodes_take_turns_to_be_down() {
    let mut cluster = TestCluster::start().await;
    let (large, last) = (part(1, 5 * MIB), part(2, 9));
    let path = Path::from("a");
    let store = cluster.store(0);
    let id = store.create_multipart(&path).await.unwrap();
    cluster.stop(2).await;
    let first = store.put_part(&path, &id, 0, large.clone().into());
    let first = first.await.unwrap();
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    cluster.stop(1).await;
    let store = cluster.store(2);
    let second = store.put_part(&path, &id, 1, last.clone().into());
    let parts = vec![first, second.await.unwrap()];
    cluster.restart(1).await;
    cluster.wait_ready(1).await;
    cluster.stop(0).await;
    let store = cluster.store(1);
    store.complete_multipart(&path, &id, parts).await.unwrap();
    for node in [1, 2] {
        let got = cluster.store(node).get(&path).await.unwrap();
        assert!(got.bytes().await.unwrap() == [&large[..], &last].concat());
    }
}

#[tokio::test]
async fn an_upload_that_nobody_completes_is_removed_with_its_parts() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.upload_expiry_secs = 1;
    })
    .await;
    let (to, path) = (cluster.nodes[0].config.listen, "/quiz/a");
    let id = begin(to, path).await;
    put_part(to, path, &id, 1, part(1, 10)).await;
    eventually("the upload is gone", async || {
        let (_, text) = ask(to, Method::GET, "/quiz", "uploads=", &[]).await;
        !text.contains("<Upload>")
    })
    .await;
    let late = put_part(to, path, &id, 2, part(1, 10)).await;
    assert_eq!(late.0, 404, "{late:?}");
}

#[tokio::test]
async fn a_part_is_copied_from_a_range_of_another_object() {
    let cluster = TestCluster::start().await;
    let (to, path) = (cluster.nodes[0].config.listen, "/quiz/to");
    let (store, from) = (cluster.store(0), Path::from("from"));
    store.put(&from, "abcdef".into()).await.unwrap();
    let id = begin(to, path).await;
    let query = format!("partNumber=1&uploadId={id}");
    for (range, status) in [("bytes=2-6", 400), ("bytes=2-4", 200)] {
        let source = [
            ("x-amz-copy-source", "/quiz/from"),
            ("x-amz-copy-source-range", range),
        ];
        let copied = ask(to, Method::PUT, path, &query, &source).await;
        assert_eq!(copied.0, status, "{copied:?}");
    }
    let done = complete(to, path, &id, &[(1, b"cde")]).await;
    assert_eq!(done.0, 200, "{done:?}");
    let got = cluster.store(2).get(&Path::from("to")).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "cde");
}

/// Completing, the parts' records go and the object names their blobs.
#[tokio::test]
async fn files_of_parts_stay_with_the_object_and_those_of_no_object_go() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.sweep_after_secs = 1;
    })
    .await;
    let (to, path) = (cluster.nodes[0].config.listen, "/quiz/a");
    let (first, last) = (part(1, 5 * MIB), part(2, 9));
    let id = begin(to, path).await;
    for (number, data) in [(1, &last), (1, &first), (2, &last), (3, &last)] {
        assert_eq!(put_part(to, path, &id, number, data.clone()).await.0, 200);
    }
    let aborted = begin(to, path).await;
    put_part(to, path, &aborted, 1, part(3, 9)).await;
    let query = format!("uploadId={aborted}");
    assert_eq!(ask(to, Method::DELETE, path, &query, &[]).await.0, 204);
    let done = complete(to, path, &id, &[(1, &first), (2, &last)]).await;
    assert_eq!(done.0, 200, "{done:?}");
    for node in 0..3 {
        eventually("the object's two blobs are left", async || {
            cluster.blobs(node).len() == 2
        })
        .await;
    }
    // The blobs of the parts are read from this node's own disk.
    for node in 0..3 {
        let got = cluster.store(node).get(&Path::from("a")).await.unwrap();
        assert!(got.bytes().await.unwrap() == [&first[..], &last].concat());
        assert_eq!(cluster.blobs(node).len(), 2);
    }
}

/// All is well, then the next accept is waited for, then nobody is asked for a register any more.
const WELL: u8 = 0;
const ARMED: u8 = 1;
const CUT: u8 = 2;

/// Two nodes are lost between the recording of a part and the look whether its upload is still there.
#[tokio::test]
async fn a_part_that_was_recorded_is_not_said_to_be_not_applied() {
    let state = Arc::new(AtomicU8::new(WELL));
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        if config.place.node == 1 {
            for (_, address) in config.peers.0.iter_mut().filter(|(node, _)| **node != 1) {
                let state = Arc::clone(&state);
                let cut = move |sent: &[u8]| {
                    if says(sent, "/v1/accept") {
                        let next = (ARMED, CUT, Ordering::SeqCst, Ordering::SeqCst);
                        state.compare_exchange(next.0, next.1, next.2, next.3).ok();
                    }
                    says(sent, "/v1/read") && state.load(Ordering::SeqCst) == CUT
                };
                *address = relay(address.clone(), cut).to_string();
            }
        }
    })
    .await;
    let to = cluster.nodes[0].config.listen;
    let id = begin(to, "/quiz/a").await;
    state.store(ARMED, Ordering::SeqCst);
    let answer = try_put_part(to, "/quiz/a", &id, 1, part(1, 5)).await;
    assert!(answer.is_err(), "answered {answer:?}");
    assert_eq!(state.load(Ordering::SeqCst), CUT);
    let to = cluster.nodes[1].config.listen;
    let query = format!("uploadId={id}");
    let (status, text) = ask(to, Method::GET, "/quiz/a", &query, &[]).await;
    assert_eq!(
        (status, tagged(&text, "PartNumber")),
        (200, "1"),
        "it was recorded"
    );
}
