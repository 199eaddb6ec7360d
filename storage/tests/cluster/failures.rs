//! Nodes that are down, frozen, stale, damaged or strangers.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::TryStreamExt as _;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path;
use object_store::{Attribute, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};

use crate::common::{TestCluster, client, eventually, retries};
use crate::relay::{Way, alter, relay, says};

fn path(name: &str) -> Path {
    Path::from(name)
}

async fn read(cluster: &TestCluster, node: usize, name: &str) -> String {
    let got = cluster.store(node).get(&path(name)).await.unwrap();
    String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap()
}

async fn absent(cluster: &TestCluster, node: usize, name: &str) -> bool {
    matches!(
        cluster.store(node).get(&path(name)).await,
        Err(Error::NotFound { .. })
    )
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, Error>) {
    let text = format!("{:?}", result.unwrap_err());
    assert!(
        text.contains("503") && text.contains("ServiceUnavailable"),
        "{text}"
    );
}

#[tokio::test]
async fn a_write_is_on_two_nodes_when_acknowledged_and_on_three_soon_after() {
    let cluster = TestCluster::start().await;
    for i in 1..=20_usize {
        let store = cluster.store(i % 3);
        store
            .put(&Path::from(format!("{i}")), "bytes".into())
            .await
            .unwrap();
        let holding = (0..3)
            .filter(|node| cluster.blobs(*node).len() >= i)
            .count();
        assert!(holding >= 2, "{holding} nodes have the blob");
        for node in 0..3 {
            eventually("the third node has it too", async || {
                cluster.blobs(node).len() == i
                    && cluster.gauge(node, "storage_objects").await == i as i64
            })
            .await;
        }
    }
    assert_eq!(cluster.gauge(0, "storage_blobs").await, 20);
    assert_eq!(cluster.gauge(1, "storage_object_bytes").await, 100);
}

#[tokio::test]
async fn reads_and_writes_go_on_with_any_one_node_down() {
    for down in 0..3 {
        let mut cluster = TestCluster::start().await;
        cluster
            .store(down)
            .put(&path("before"), "old".into())
            .await
            .unwrap();
        cluster.stop(down).await;
        for node in (0..3).filter(|node| *node != down) {
            assert_eq!(read(&cluster, node, "before").await, "old");
            let name = format!("through{node}");
            let create = PutMode::Create.into();
            cluster
                .store(node)
                .put_opts(&path(&name), "new".into(), create)
                .await
                .unwrap();
            assert_eq!(read(&cluster, node, &name).await, "new");
            cluster.store(node).delete(&path(&name)).await.unwrap();
            assert!(absent(&cluster, node, &name).await);
            let listed: Vec<_> = cluster.store(node).list(None).try_collect().await.unwrap();
            assert_eq!(listed.len(), 1);
        }
    }
}

/// The deadlines are far beyond the clients' patience, so a request that waited for the frozen node would fail.
#[tokio::test]
async fn reads_and_writes_do_not_wait_for_a_frozen_node() {
    for frozen in 0..3 {
        let mut cluster = TestCluster::start_with(|config| {
            config.fsync = false;
            config.rpc_deadline_ms = 60_000;
            config.blob_deadline_ms = 60_000;
            config.contention_ms = 60_000;
        })
        .await;
        cluster
            .store(0)
            .put(&path("before"), "old".into())
            .await
            .unwrap();
        for node in 0..3 {
            eventually("all have it", async || {
                cluster.gauge(node, "storage_objects").await == 1
            })
            .await;
        }
        cluster.stop(frozen).await;
        let _silent = cluster.freeze(frozen).await;
        for node in (0..3).filter(|node| *node != frozen) {
            for i in 0..5 {
                assert_eq!(read(&cluster, node, "before").await, "old");
                let name = format!("{node}-{i}");
                cluster
                    .store(node)
                    .put(&path(&name), "new".into())
                    .await
                    .unwrap();
                assert_eq!(read(&cluster, node, &name).await, "new");
                cluster.store(node).delete(&path(&name)).await.unwrap();
                assert!(absent(&cluster, node, &name).await);
            }
            let listed: Vec<_> = cluster.store(node).list(None).try_collect().await.unwrap();
            assert_eq!(listed.len(), 1);
        }
    }
}

/// Which nodes are believed up is a hint. Here it is wrong twice: one that is back is believed down, and one that is
/// frozen is believed up.
#[tokio::test]
async fn a_write_does_not_depend_on_who_is_believed_up() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.heartbeat_ms = 600_000;
        config.rpc_deadline_ms = 60_000;
        config.blob_deadline_ms = 60_000;
    })
    .await;
    cluster.stop(2).await;
    cluster.store(0).put(&path("a"), "x".into()).await.unwrap();
    eventually("node 3 is believed down", async || {
        cluster.gauge(0, r#"storage_peer_up{node="3"}"#).await == 0
    })
    .await;
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    cluster.stop(1).await;
    let _silent = cluster.freeze(1).await;
    cluster.store(0).put(&path("b"), "y".into()).await.unwrap();
    assert_eq!(read(&cluster, 0, "b").await, "y");
}

#[tokio::test]
async fn writers_of_one_key_settle_while_a_node_is_frozen() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.rpc_deadline_ms = 60_000;
        config.blob_deadline_ms = 60_000;
        config.contention_ms = 60_000;
    })
    .await;
    cluster.stop(2).await;
    let _silent = cluster.freeze(2).await;
    let creates = (0..6).map(async |i| {
        let store = cluster.store(i % 2);
        store
            .put_opts(&path("key"), format!("{i}").into(), PutMode::Create.into())
            .await
    });
    let results = futures::future::join_all(creates).await;
    assert_eq!(
        results.iter().filter(|r| r.is_ok()).count(),
        1,
        "{results:?}"
    );
}

#[tokio::test]
async fn with_two_nodes_down_a_request_is_told_so_and_nothing_is_applied() {
    let mut cluster = TestCluster::start().await;
    cluster
        .store(0)
        .put(&path("before"), "old".into())
        .await
        .unwrap();
    cluster.stop(1).await;
    cluster.stop(2).await;
    assert_unavailable(cluster.store(0).get(&path("before")).await);
    assert_unavailable(cluster.store(0).put(&path("new"), "x".into()).await);
    assert_unavailable(cluster.store(0).list_with_delimiter(None).await);
    let admin = cluster.nodes[0].config.admin_listen;
    eventually("not ready, and alive", async || {
        let get = async |page| {
            reqwest::get(format!("http://{admin}{page}"))
                .await
                .unwrap()
                .status()
        };
        get("/ready").await == 503 && get("/live").await == 200
    })
    .await;
    cluster.restart(1).await;
    cluster.wait_ready(0).await;
    assert!(absent(&cluster, 0, "new").await);
    assert_eq!(read(&cluster, 1, "before").await, "old");
}

/// What node 1 and the others say to each other is altered on its way: what a read asks for, or what it is told.
async fn assert_altered_is_not_believed(way: Way, old: &'static str, new: &'static str) {
    let on: &'static AtomicBool = Box::leak(Box::default());
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        if config.place.node == 1 {
            for (_, address) in config.peers.0.iter_mut().filter(|(node, _)| **node != 1) {
                *address = alter(address.clone(), way, old, new, on).to_string();
            }
        }
    })
    .await;
    let attributes = [(Attribute::ContentType, "image/one")]
        .into_iter()
        .collect();
    let options = PutOptions {
        attributes,
        ..PutOptions::default()
    };
    let (store, key) = (cluster.store(0), path("key-one"));
    store.put_opts(&key, "x".into(), options).await.unwrap();
    assert_eq!(read(&cluster, 0, "key-one").await, "x");
    on.store(true, Relaxed);
    assert_unavailable(store.get(&key).await);
    on.store(false, Relaxed);
    assert_eq!(read(&cluster, 0, "key-one").await, "x");
}

#[tokio::test]
async fn a_question_that_was_altered_on_its_way_is_not_answered() {
    assert_altered_is_not_believed(Way::There, "key-one", "key-two").await;
}

#[tokio::test]
async fn an_answer_that_was_altered_on_its_way_does_not_count() {
    assert_altered_is_not_believed(Way::Back, "image/one", "image/two").await;
}

/// Whoever hangs up without reading what still comes takes the answer away from its client.
#[tokio::test]
async fn with_two_nodes_down_a_large_create_is_told_that_nothing_was_applied() {
    let mut cluster = TestCluster::start().await;
    let store = cluster.store(0);
    let upload = store.create_multipart(&path("parts")).await.unwrap();
    cluster.stop(1).await;
    cluster.stop(2).await;
    for _ in 0..5 {
        let create = PutMode::Create.into();
        let large = vec![1; 8_000_000];
        assert_unavailable(
            store
                .put_opts(&path("new"), large.clone().into(), create)
                .await,
        );
        assert_unavailable(
            store
                .put_part(&path("parts"), &upload, 0, large.into())
                .await,
        );
    }
}

#[tokio::test]
async fn with_two_nodes_frozen_a_request_is_told_so() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.rpc_deadline_ms = 300;
        config.blob_deadline_ms = 300;
    })
    .await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let _silent = (cluster.freeze(1).await, cluster.freeze(2).await);
    assert_unavailable(
        cluster
            .store(0)
            .put(&path("new"), vec![1; 100_000].into())
            .await,
    );
    assert_unavailable(cluster.store(0).get(&path("new")).await);
}

#[tokio::test]
async fn an_object_deleted_while_a_node_was_down_stays_deleted() {
    let mut cluster = TestCluster::start().await;
    cluster.store(0).put(&path("a"), "x".into()).await.unwrap();
    eventually("node 3 has it", async || {
        cluster.gauge(2, "storage_objects").await == 1
    })
    .await;
    cluster.stop(2).await;
    cluster.store(0).delete(&path("a")).await.unwrap();
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    assert!(absent(&cluster, 2, "a").await);
    // Now the node that missed the delete is half of the quorum.
    cluster.stop(0).await;
    assert!(absent(&cluster, 2, "a").await);
    assert!(absent(&cluster, 1, "a").await);
    let listed: Vec<_> = cluster.store(2).list(None).try_collect().await.unwrap();
    assert!(listed.is_empty(), "{listed:?}");
}

#[tokio::test]
async fn a_node_that_was_down_serves_what_it_missed() {
    let mut cluster = TestCluster::start().await;
    cluster
        .store(0)
        .put(&path("a"), "old".into())
        .await
        .unwrap();
    eventually("node 3 has it", async || {
        cluster.gauge(2, "storage_objects").await == 1
    })
    .await;
    cluster.stop(2).await;
    cluster
        .store(0)
        .put(&path("a"), "new".into())
        .await
        .unwrap();
    cluster
        .store(1)
        .put(&path("b"), "other".into())
        .await
        .unwrap();
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    assert_eq!(read(&cluster, 2, "a").await, "new");
    assert_eq!(read(&cluster, 2, "b").await, "other");
    let listed: Vec<_> = cluster.store(2).list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
    // Each of the nodes that saw the writes goes, and the one that did not still has a quorum.
    cluster.wait_ready(1).await;
    cluster.stop(0).await;
    assert_eq!(read(&cluster, 2, "a").await, "new");
    assert_eq!(read(&cluster, 2, "b").await, "other");
    // Being needed for the quorum, it has accepted what it missed, and with it the bytes.
    assert_eq!(cluster.gauge(2, "storage_objects").await, 2);
    assert_eq!(cluster.blobs(2).len(), 3);
}

#[tokio::test]
async fn a_flipped_byte_is_never_served_and_is_repaired_by_the_read() {
    let cluster = TestCluster::start().await;
    let data = vec![9_u8; 150_000];
    cluster
        .store(0)
        .put(&path("a"), data.clone().into())
        .await
        .unwrap();
    for node in 0..3 {
        eventually("the blob is there", async || cluster.blobs(node).len() == 1).await;
    }
    let file = cluster.blobs(0).remove(0);
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[70_000] ^= 1;
    std::fs::write(&file, bad).unwrap();
    let range = cluster
        .store(0)
        .get_range(&path("a"), 69_990..70_010)
        .await
        .unwrap();
    assert_eq!(range, data[..20]);
    eventually("the copy is whole again", async || {
        std::fs::read(&file).unwrap() == good
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    let whole = cluster
        .store(0)
        .get(&path("a"))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(whole, data);
    eventually("the copy is back", async || file.exists()).await;
}

#[tokio::test]
async fn data_survives_a_restart_of_all_nodes_in_any_order() {
    let mut cluster = TestCluster::start_with(|_| {}).await;
    for i in 0..10 {
        cluster
            .store(i % 3)
            .put(&Path::from(format!("{i}")), "x".into())
            .await
            .unwrap();
    }
    cluster.store(0).delete(&path("0")).await.unwrap();
    for node in 0..3 {
        cluster.stop(node).await;
    }
    for node in [2, 0, 1] {
        cluster.restart(node).await;
    }
    for node in 0..3 {
        cluster.wait_ready(node).await;
    }
    for node in 0..3 {
        assert!(absent(&cluster, node, "0").await);
        let listed: Vec<_> = cluster.store(node).list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), 9);
        assert_eq!(read(&cluster, node, "7").await, "x");
    }
}

#[tokio::test]
async fn a_node_with_another_secret_gets_no_answer_and_does_no_harm() {
    let mut cluster = TestCluster::start().await;
    cluster.store(2).put(&path("a"), "x".into()).await.unwrap();
    cluster.stop(2).await;
    let stranger = quiz_storage::config::Secret::new("ffffffffffffffffffffffffffffffff");
    cluster.nodes[2].config.cluster_secret = stranger;
    cluster.restart(2).await;
    assert_unavailable(cluster.store(2).put(&path("b"), "y".into()).await);
    assert_unavailable(cluster.store(2).get(&path("a")).await);
    cluster.store(0).put(&path("b"), "z".into()).await.unwrap();
    assert_eq!(read(&cluster, 1, "b").await, "z");
    assert!(
        cluster.gauge(2, "storage_objects").await <= 1,
        "it was told nothing"
    );
}

#[tokio::test]
async fn a_message_without_proof_is_refused() {
    let cluster = TestCluster::start().await;
    let address = cluster.nodes[0].config.peer_listen;
    let client = reqwest::Client::new();
    let blob = format!("http://{address}/v1/blob/{}", "ab".repeat(16));
    let bare = client.put(&blob).body("x").send().await.unwrap();
    assert_eq!(bare.status(), 403);
    let forged = client
        .put(&blob)
        .header("x-storage-from", "2")
        .header("x-storage-time", "1")
        .header("x-storage-body-blake3", "00".repeat(32))
        .header("x-storage-proof", "00".repeat(32))
        .body("x");
    assert_eq!(forged.send().await.unwrap().status(), 403);
    assert!(cluster.blobs(0).is_empty());
}

/// A retrying client against a node that comes back: what is not applied is said so, and trying again is right.
#[tokio::test]
async fn a_retrying_client_gets_through_once_a_quorum_is_back() {
    let mut cluster = TestCluster::start().await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let store = client(cluster.nodes[0].config.listen)
        .with_retry(retries(1_000))
        .build()
        .unwrap();
    let put = tokio::spawn(async move {
        let create = PutMode::Create.into();
        store.put_opts(&path("a"), "x".into(), create).await
    });
    eventually("the put was refused at least once", async || {
        let url = format!("http://{}/metrics", cluster.nodes[0].config.admin_listen);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        text.contains(r#"operation="put",outcome="unavailable""#)
    })
    .await;
    cluster.restart(1).await;
    put.await.unwrap().unwrap();
    assert_eq!(read(&cluster, 0, "a").await, "x");
}

/// Two peers hear promises and never accepts: nobody can tell what becomes of the write, and the client must not be
/// led to send it again.
#[tokio::test]
async fn a_create_of_unknown_outcome_is_not_sent_again() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.contention_ms = 300;
        if config.place.node == 1 {
            for (_, address) in config.peers.0.iter_mut().filter(|(node, _)| **node != 1) {
                *address = relay(address.clone(), |sent| says(sent, "/v1/accept")).to_string();
            }
        }
    })
    .await;
    let first = &cluster.nodes[0].config;
    let store = client(first.listen).with_retry(retries(5)).build().unwrap();
    let create = PutMode::Create.into();
    let error = store
        .put_opts(&path("a"), "x".into(), create)
        .await
        .unwrap_err();
    assert!(!matches!(error, Error::AlreadyExists { .. }), "{error}");
    let url = format!("http://{}/metrics", first.admin_listen);
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let puts: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(r#"storage_operations_total{operation="put""#))
        .collect();
    assert_eq!(
        puts,
        [r#"storage_operations_total{operation="put",outcome="unknown"} 1"#]
    );
    // It may still take effect, but once it is seen it stays.
    let mut seen = Vec::new();
    for node in [1, 2, 1, 2, 1] {
        seen.push(!absent(&cluster, node, "a").await);
    }
    assert!(seen.is_sorted(), "{seen:?}");
}
