//! Objects larger than what a node holds of them in memory.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{TestCluster, client, eventually, files, presign};
use crate::relay::{Way, alter};
use crate::signed::Signed;

const MIB: usize = 1024 * 1024;

/// Bytes of which no two megabytes are the same.
fn data(len: usize) -> Vec<u8> {
    let blocks = (0..len.div_ceil(32) as u64).map(|i| *blake3::hash(&i.to_le_bytes()).as_bytes());
    let mut data: Vec<u8> = blocks.flatten().collect();
    data.truncate(len);
    data
}

async fn read(cluster: &TestCluster, node: usize, key: &str) -> Vec<u8> {
    let got = cluster.store(node).get(&Path::from(key)).await.unwrap();
    got.bytes().await.unwrap().to_vec()
}

async fn put(cluster: &TestCluster, path: &Path, data: &[u8]) {
    let store = cluster.store(0);
    store.put(path, data.to_vec().into()).await.unwrap();
}

async fn has_one_blob(cluster: &TestCluster, node: usize) {
    eventually("the blob is there", async || cluster.blobs(node).len() == 1).await;
}

/// Neither a blob nor the beginning of one, on any node.
async fn nothing_is_left(cluster: &TestCluster) {
    for node in 0..3 {
        eventually("what was begun is gone", async || {
            files(&cluster.dir(node).join("tmp")).is_empty()
        })
        .await;
        assert!(cluster.blobs(node).is_empty());
    }
}

#[tokio::test]
async fn a_large_object_is_the_same_through_every_node() {
    let cluster = TestCluster::start().await;
    let data = data(5 * MIB + 77);
    let path = Path::from("large");
    let put = cluster.store(0).put(&path, data.clone().into()).await;
    let tag = put.unwrap().e_tag;
    for node in 0..3 {
        assert!(read(&cluster, node, "large").await == data);
        let store = cluster.store(node);
        assert_eq!(store.head(&path).await.unwrap().e_tag, tag);
        let len = data.len() as u64;
        for range in [
            MIB as u64 - 1..MIB as u64 + 1,
            65_536..3 * MIB as u64,
            len - 1..len,
        ] {
            let got = store.get_range(&path, range.clone()).await.unwrap();
            assert!(got == data[range.start as usize..range.end as usize]);
        }
    }
}

#[tokio::test]
async fn a_large_body_may_be_unsigned_or_come_in_signed_chunks_or_with_a_trailer() {
    let cluster = TestCluster::start().await;
    let address = cluster.nodes[0].config.listen;
    let data = data(2 * MIB + 5);
    let unsigned = client(address).with_unsigned_payload(true).build().unwrap();
    let path = Path::from("unsigned");
    unsigned.put(&path, data.clone().into()).await.unwrap();
    assert!(read(&cluster, 1, "unsigned").await == data);
    for (key, size) in [("chunked", 100_000), ("in-one-chunk", data.len())] {
        put_in_chunks(address, key, &data, size).await;
        assert!(read(&cluster, 2, key).await == data);
    }
}

async fn put_in_chunks(address: SocketAddr, key: &str, data: &[u8], size: usize) {
    let mut chunked = Vec::new();
    for chunk in data.chunks(size) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    let sum = base64(&Sha256::digest(data));
    chunked.extend(format!("0\r\nx-amz-checksum-sha256:{sum}\r\n\r\n").into_bytes());
    let request = Signed {
        method: http::Method::PUT,
        path: &format!("/quiz/{key}"),
        query: "",
        headers: &[
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", &data.len().to_string()),
            ("x-amz-trailer", "x-amz-checksum-sha256"),
        ],
        payload: "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        body: chunked,
    };
    let (status, text) = request.send(address).await;
    assert_eq!(status, 200, "{text}");
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_large_body_that_is_not_what_its_client_said_leaves_nothing() {
    let cluster = TestCluster::start().await;
    let data = data(2 * MIB);
    let sha256 = hex::encode(Sha256::digest(b"something else"));
    for (header, value, payload) in [
        (
            "content-md5",
            "1B2M2Y8AsgTpgAmY7PhCfg==",
            "UNSIGNED-PAYLOAD",
        ),
        ("x-amz-checksum-crc32", "AAAAAA==", "UNSIGNED-PAYLOAD"),
        ("x-amz-meta-a", "b", sha256.as_str()),
    ] {
        let request = Signed {
            method: http::Method::PUT,
            path: "/quiz/wrong",
            query: "",
            headers: &[(header, value)],
            payload,
            body: data.clone(),
        };
        let (status, text) = request.send(cluster.nodes[0].config.listen).await;
        assert_eq!(status, 400, "{header}: {text}");
        nothing_is_left(&cluster).await;
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_in_the_middle_of_a_large_body_leaves_nothing() {
    let cluster = TestCluster::start().await;
    let target = presign(&cluster, http::Method::PUT, "left").await;
    let address = cluster.nodes[0].config.listen;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("PUT {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 8000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&data(4 * MIB)).await.unwrap();
    for node in 0..3 {
        eventually("pieces are on every node", async || {
            files(&cluster.dir(node).join("tmp")).len() == 1
        })
        .await;
    }
    drop(stream);
    nothing_is_left(&cluster).await;
}

/// Nothing else than its full queue tells that the node is frozen.
#[tokio::test]
async fn a_large_upload_leaves_a_frozen_node_behind_and_that_one_catches_up() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.heartbeat_ms = 600_000;
        config.rpc_deadline_ms = 60_000;
        config.blob_deadline_ms = 60_000;
    })
    .await;
    cluster.stop(2).await;
    let silent = cluster.freeze(2).await;
    let data = data(6 * MIB);
    let path = Path::from("large");
    put(&cluster, &path, &data).await;
    assert!(read(&cluster, 1, "large").await == data);
    drop(silent);
    cluster.nodes[2].config.heartbeat_ms = 50;
    cluster.nodes[2].config.rpc_deadline_ms = 1_000;
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    assert!(read(&cluster, 2, "large").await == data);
    has_one_blob(&cluster, 2).await;
}

/// Slower than a small blob is waited for, which an overloaded disk is, too.
#[tokio::test]
async fn a_large_upload_is_not_refused_because_both_other_nodes_are_slow() {
    let cluster = two_slow_nodes().await;
    let data = data(MIB + 1);
    put(&cluster, &Path::from("large"), &data).await;
    assert!(read(&cluster, 1, "large").await == data);
}

#[tokio::test]
async fn a_read_is_not_cut_off_because_both_other_nodes_are_slow() {
    let cluster = two_slow_nodes().await;
    // Whoever is slow is slow for every 64 KiB.
    let data = data(300_000);
    let put = cluster
        .store(1)
        .put(&Path::from("a"), data.clone().into())
        .await;
    put.unwrap();
    has_one_blob(&cluster, 0).await;
    std::fs::remove_file(cluster.blobs(0).remove(0)).unwrap();
    assert!(read(&cluster, 0, "a").await == data);
}

/// It misses the upload, and what it fetches instead comes later than it has time to answer the accept.
#[tokio::test]
async fn a_node_that_fetches_a_blob_before_it_accepts_it_is_not_taken_for_dead() {
    static ALTERED: AtomicBool = AtomicBool::new(true);
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.heartbeat_ms = 600_000; // which would find it alive again
        config.rpc_deadline_ms = 1_000;
        for (node, address) in &mut config.peers.0 {
            if (config.place.node, *node) == (1, 3) {
                let altered = alter(
                    address.clone(),
                    Way::There,
                    "/v1/blob",
                    "/v1/lost",
                    &ALTERED,
                );
                *address = altered.to_string();
            } else if config.place.node == 3 && *node != 3 {
                *address = slow(address.clone()).to_string();
            }
        }
    })
    .await;
    let data = data(400_000);
    put(&cluster, &Path::from("a"), &data).await;
    eventually("the node that missed it has fetched it", async || {
        let up = cluster.gauge(0, "storage_peer_up{node=\"3\"}").await;
        assert_eq!(up, 1);
        cluster.blobs(2).len() == 1
    })
    .await;
    let late = cluster.gauge(0, "storage_peer_up{node=\"3\"}").await;
    assert_eq!(late, 1);
}

/// The first node hears from the others later than it waits for a small blob.
async fn two_slow_nodes() -> TestCluster {
    TestCluster::start_with(|config| {
        config.fsync = false;
        config.blob_deadline_ms = 100;
        config.blob_min_bytes_per_sec = 100 * MIB as u64;
        if config.place.node == 1 {
            for (_, address) in config.peers.0.iter_mut().filter(|(node, _)| **node != 1) {
                *address = slow(address.clone()).to_string();
            }
        }
    })
    .await
}

/// A relay to `target` whose answers come late.
fn slow(target: String) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(target).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let answers = async move {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                        tokio::time::sleep(Duration::from_millis(250)).await;
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(answers, async {
                    tokio::io::copy(&mut from_client, &mut to_server).await.ok();
                });
            });
        }
    });
    address
}

#[tokio::test]
async fn a_large_upload_to_fewer_than_two_nodes_is_refused_and_leaves_nothing() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.rpc_deadline_ms = 300;
        config.blob_deadline_ms = 300;
    })
    .await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let _silent = (cluster.freeze(1).await, cluster.freeze(2).await);
    let (store, path) = (cluster.store(0), Path::from("a"));
    let refused = store.put(&path, data(3 * MIB).into()).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("503"), "{text}");
    eventually("what was begun is gone", async || {
        files(&cluster.dir(0).join("tmp")).is_empty()
    })
    .await;
    assert!(cluster.blobs(0).is_empty());
}

/// Each node has intact what another has not, so the object is read by putting the copies together.
#[tokio::test]
async fn copies_that_are_all_damaged_in_other_places_still_make_a_whole() {
    let cluster = TestCluster::start().await;
    let data = data(4 * MIB);
    let path = Path::from("large");
    put(&cluster, &path, &data).await;
    for node in 0..3 {
        has_one_blob(&cluster, node).await;
        let file = cluster.blobs(node).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[node * MIB + 500_000] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(read(&cluster, 0, "large").await == data);
    eventually("the copy is whole again", async || {
        let bytes = std::fs::read(&cluster.blobs(0)[0]).unwrap();
        bytes[..data.len()] == data
    })
    .await;
}

#[tokio::test]
async fn a_read_that_loses_its_last_copy_ends_early_and_not_with_wrong_bytes() {
    let cluster = TestCluster::start().await;
    let data = data(8 * MIB);
    let path = Path::from("large");
    put(&cluster, &path, &data).await;
    for node in 0..3 {
        has_one_blob(&cluster, node).await;
        let file = cluster.blobs(node).remove(0);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[6 * MIB] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    let mut parts = cluster.store(0).get(&path).await.unwrap().into_stream();
    let mut got = Vec::new();
    let mut broken = false;
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => got.extend_from_slice(&part),
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    assert!(broken, "the connection is cut");
    assert!(got.len() <= 6 * MIB && got == data[..got.len()]);
}

#[tokio::test]
async fn a_create_that_must_fail_is_told_so_after_a_large_body() {
    let cluster = TestCluster::start().await;
    let path = Path::from("once");
    let create = || object_store::PutMode::Create.into();
    let store = cluster.store(0);
    let put = async |data: PutPayload| {
        use object_store::ObjectStore as _;
        store.put_opts(&path, data, create()).await
    };
    put(data(3 * MIB).into()).await.unwrap();
    let again = put(data(10 * MIB).into()).await;
    assert!(
        matches!(again, Err(object_store::Error::AlreadyExists { .. })),
        "{again:?}"
    );
    assert_eq!(cluster.blobs(0).len(), 1);
}
