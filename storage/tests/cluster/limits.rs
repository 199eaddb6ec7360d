//! What one client may ask of a node, and what it may not.

use std::time::Duration;

use crate::common::{TestCluster, client, eventually, presign};
use crate::signed::Signed;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Attribute, ClientOptions, ObjectStore, ObjectStoreExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The body is never sent, so an answer shows that nobody waits for it.
#[tokio::test]
async fn a_form_of_a_stranger_is_refused_before_its_body_is_read() {
    let cluster = TestCluster::start().await;
    for kind in ["multipart/form-data", " Multipart/Form-Data"] {
        let address = cluster.nodes[0].config.listen;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /quiz HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}; boundary=x\r\n\
             content-length: 4000000000\r\n\r\n--x\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = vec![0; 12];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, b"HTTP/1.1 405");
    }
}

#[tokio::test]
async fn a_thousand_objects_are_deleted_by_one_request() {
    // Three nodes share this machine with whatever else it does: nobody is to give up on another.
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.rpc_deadline_ms = 60_000;
        config.contention_ms = 60_000;
    })
    .await;
    let patient = ClientOptions::new()
        .with_allow_http(true)
        .with_timeout(Duration::from_secs(120));
    let store = client(cluster.nodes[0].config.listen)
        .with_client_options(patient)
        .build()
        .unwrap();
    let paths: Vec<_> = (0..1_000).map(|i| Path::from(format!("{i:04}"))).collect();
    for group in paths.chunks(16) {
        let puts = group.iter().map(|path| store.put(path, "x".into()));
        futures::future::try_join_all(puts).await.unwrap();
    }
    let all = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
    let deleted: Vec<_> = store.delete_stream(all).try_collect().await.unwrap();
    assert_eq!(deleted.len(), 1_000);
    let left: Vec<_> = cluster.store(1).list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "{} are left", left.len());
}

#[tokio::test]
async fn a_delete_of_more_than_a_thousand_keys_is_refused() {
    let cluster = TestCluster::start().await;
    let keys: String = (0..1_001)
        .map(|i| format!("<Object><Key>{i}</Key></Object>"))
        .collect();
    let request = Signed {
        method: http::Method::POST,
        path: "/quiz",
        query: "delete=",
        headers: &[],
        payload: "UNSIGNED-PAYLOAD",
        body: format!("<Delete>{keys}</Delete>").into_bytes(),
    };
    let (status, text) = request.send(cluster.nodes[0].config.listen).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("MalformedXML"), "{text}");
}

/// Sends an object whose checksum comes after its body, as newer clients do.
async fn put_with_trailer(cluster: &TestCluster, announced: &str, trailer: &str) -> (u16, String) {
    let request = Signed {
        method: http::Method::PUT,
        path: "/quiz/trailed",
        query: "",
        headers: &[
            ("content-encoding", "aws-chunked,gzip"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", announced),
        ],
        payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        body: format!("5\r\nhello\r\n0\r\n{trailer}\r\n").into_bytes(),
    };
    request.send(cluster.nodes[0].config.listen).await
}

#[tokio::test]
async fn a_checksum_after_the_body_is_checked() {
    let cluster = TestCluster::start().await;
    let path = Path::from("trailed");
    let crc32 = "x-amz-checksum-crc32";
    let wrong = put_with_trailer(&cluster, crc32, "x-amz-checksum-crc32:AAAAAA==\r\n").await;
    assert!(wrong.0 == 400 && wrong.1.contains("BadDigest"), "{wrong:?}");
    let missing = put_with_trailer(&cluster, crc32, "").await;
    assert_eq!(missing.0, 400, "{missing:?}");
    let unknown = put_with_trailer(&cluster, "x-amz-checksum-new", "").await;
    assert_eq!(unknown.0, 501, "{unknown:?}");
    assert!(cluster.store(0).head(&path).await.is_err());
    let right = put_with_trailer(&cluster, crc32, "x-amz-checksum-crc32:NhCmhg==\r\n").await;
    assert_eq!(right.0, 200, "{right:?}");
    let got = cluster.store(1).get(&path).await.unwrap();
    let encoding = got.attributes.get(&Attribute::ContentEncoding);
    assert_eq!(encoding.map(AsRef::as_ref), Some("gzip"));
    assert_eq!(got.bytes().await.unwrap(), "hello");
}

/// A cluster of which only the first node answers and does not know it, after a client has sent it an upload: the
/// write has begun, and cannot end.
async fn hanging_write(grace_secs: u64) -> (TestCluster, TcpStream, [Vec<TcpListener>; 2]) {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.max_uploads = 1;
        config.heartbeat_ms = 600_000;
        config.rpc_deadline_ms = 60_000;
        config.blob_deadline_ms = 60_000;
        config.grace_secs = grace_secs;
    })
    .await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let silent = [cluster.freeze(1).await, cluster.freeze(2).await];
    let target = presign(&cluster, http::Method::PUT, "left").await;
    let address = cluster.nodes[0].config.listen;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request =
        format!("PUT {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 5\r\n\r\nhello");
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("this node has the bytes", async || {
        cluster.blobs(0).len() == 1
    })
    .await;
    (cluster, client, silent)
}

#[tokio::test]
async fn an_upload_keeps_its_place_when_its_client_hangs_up() {
    let (cluster, client, _silent) = hanging_write(5).await;
    drop(client);
    for _ in 0..50 {
        let refused = cluster.store(0).put(&Path::from("next"), "x".into()).await;
        let text = format!("{:?}", refused.unwrap_err());
        assert!(text.contains("SlowDown"), "{text}");
    }
}

#[tokio::test]
async fn the_folder_is_closed_also_when_the_grace_period_was_too_short() {
    let (mut cluster, _client, _silent) = hanging_write(0).await;
    cluster.stop(0).await;
    let audit = quiz_storage::audit::audit(cluster.dir(0), 1).unwrap();
    assert!(audit.objects.is_empty());
}

#[tokio::test]
async fn a_read_finds_no_room_while_another_is_being_sent() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.max_object_bytes = 32 * 1024 * 1024;
        config.max_read_bytes = 2 * 1024 * 1024;
    })
    .await;
    let path = Path::from("large");
    let store = cluster.store(0);
    let data = vec![1; 32 * 1024 * 1024];
    store.put(&path, data.clone().into()).await.unwrap();
    // More than the sockets take, to a client that takes nothing.
    let target = presign(&cluster, http::Method::GET, "large").await;
    let address = cluster.nodes[0].config.listen;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    let refused = store.get(&path).await.unwrap_err();
    assert!(format!("{refused:?}").contains("SlowDown"), "{refused:?}");
    drop(client);
    let got = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert!(got == data);
}

#[tokio::test]
async fn reads_that_take_turns_at_the_disk_all_get_theirs() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.disk_read_bytes = 1024 * 1024;
    })
    .await;
    let path = Path::from("large");
    let store = cluster.store(0);
    let data = vec![1; 3_000_000];
    store.put(&path, data.clone().into()).await.unwrap();
    let hung_up = (0..4).map(async |i| drop(store.get_range(&path, i..2_000_000).await));
    let cut = tokio::time::timeout(Duration::from_millis(1), futures::future::join_all(hung_up));
    cut.await.ok();
    let reads = (0..16).map(async |_| store.get(&path).await.unwrap().bytes().await.unwrap());
    for got in futures::future::join_all(reads).await {
        assert!(got == data);
    }
}

#[tokio::test]
async fn many_readers_of_a_lost_copy_cost_one_fetch() {
    let cluster = TestCluster::start().await;
    let path = Path::from("a");
    let store = cluster.store(0);
    store.put(&path, vec![7; 4_000_000].into()).await.unwrap();
    for node in 0..3 {
        eventually("it is everywhere", async || cluster.blobs(node).len() == 1).await;
    }
    std::fs::remove_file(&cluster.blobs(0)[0]).unwrap();
    let reads = (0..8).map(async |i| store.get_range(&path, i..i + 10).await.unwrap());
    for got in futures::future::join_all(reads).await {
        assert_eq!(got, [7; 10][..]);
    }
    assert_eq!(cluster.gauge(0, "storage_blob_pulls_total").await, 1);
}

#[tokio::test]
async fn nodes_that_cannot_write_are_told_apart_from_nodes_that_are_down() {
    let cluster = TestCluster::start().await;
    for node in 0..2 {
        std::fs::remove_dir(cluster.dir(node).join("tmp")).unwrap();
    }
    let refused = cluster.store(0).put(&Path::from("a"), "x".into()).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("could store it"), "{text}");
    for node in 0..2 {
        assert!(cluster.gauge(node, "storage_local_failures_total").await >= 1);
    }
}
