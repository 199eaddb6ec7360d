//! A node that missed changes fetches them by itself.

use crate::common::{TestCluster, eventually};
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt as _, PutMode};
use quiz_storage::audit::{Audit, audit};

async fn put(cluster: &TestCluster, node: usize, name: &str, bytes: &'static str) {
    let store = cluster.store(node);
    store.put(&Path::from(name), bytes.into()).await.unwrap();
}

async fn delete(cluster: &TestCluster, node: usize, name: &str) {
    let deleted = cluster.store(node).delete(&Path::from(name)).await;
    deleted.unwrap();
}

/// Changes of `source` that `node` has yet to look at.
async fn to_heal(cluster: &TestCluster, source: usize, node: usize) -> i64 {
    let name = format!("storage_entries_to_heal{{node=\"{}\"}}", node + 1);
    cluster.gauge(source, &name).await
}

/// Waits until no running node has anything left to look at in another.
async fn healed(cluster: &TestCluster, running: &[usize]) {
    for &source in running {
        for &node in running.iter().filter(|node| **node != source) {
            eventually("everything is healed", async || {
                to_heal(cluster, source, node).await == 0
            })
            .await;
        }
    }
}

/// Stops all nodes and reads their folders.
async fn audits(cluster: &mut TestCluster) -> Vec<Audit> {
    for node in 0..3 {
        cluster.stop(node).await;
    }
    let dirs = (0..3).map(|node| (cluster.dir(node), node as u8 + 1));
    dirs.map(|(dir, node)| audit(dir, node).unwrap()).collect()
}

#[tokio::test]
async fn a_node_that_was_down_fetches_what_it_missed_and_nobody_has_to_ask() {
    let mut cluster = TestCluster::start().await;
    for i in 0..20 {
        put(&cluster, 0, &format!("old{i}"), "old").await;
    }
    healed(&cluster, &[0, 1, 2]).await;
    cluster.stop(2).await;
    for i in 0..30 {
        put(&cluster, i % 2, &format!("new{i}"), "new").await;
    }
    for round in ["first", "second"] {
        for i in 0..5 {
            put(&cluster, 0, &format!("old{i}"), round).await;
        }
    }
    for i in 10..15 {
        delete(&cluster, 1, &format!("old{i}")).await;
    }
    for source in [0, 1] {
        eventually("both others know what node 3 has to heal", async || {
            to_heal(&cluster, source, 2).await == 40
        })
        .await;
    }
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    healed(&cluster, &[0, 1, 2]).await;
    let audits = audits(&mut cluster).await;
    assert_eq!(audits[2].objects.len(), 45);
    assert_eq!(audits[2].tombstones.len(), 5);
    assert!(audits[2].broken.is_empty());
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
}

#[tokio::test]
async fn two_nodes_that_were_down_in_turn_end_up_the_same() {
    let mut cluster = TestCluster::start().await;
    for i in 0..10 {
        put(&cluster, 0, &format!("{i}"), "before").await;
    }
    for turn in 0..4 {
        let (down, up) = [(1, 2), (2, 1)][turn % 2];
        cluster.stop(down).await;
        for i in 0..10 {
            match (i + turn) % 3 {
                0 => delete(&cluster, up, &format!("{i}")).await,
                1 => put(&cluster, 0, &format!("{i}"), ["a", "b", "c", "d"][turn]).await,
                _ => put(&cluster, up, &format!("{turn}-{i}"), "new").await,
            }
        }
        // It comes back while what it missed goes on being changed.
        cluster.restart(down).await;
        cluster.wait_ready(down).await;
    }
    healed(&cluster, &[0, 1, 2]).await;
    let audits = audits(&mut cluster).await;
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
    assert!(audits[0].broken.is_empty());
}

#[tokio::test]
async fn the_rolling_outage_that_splits_other_stores_loses_nothing() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 0, "x", "w0").await;
    cluster.stop(2).await;
    put(&cluster, 0, "x", "w1").await;
    cluster.stop(1).await;
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    put(&cluster, 2, "x", "w2").await;
    cluster.stop(0).await;
    cluster.restart(1).await;
    cluster.wait_ready(1).await;
    for node in [1, 2] {
        let got = cluster.store(node).get(&Path::from("x")).await.unwrap();
        assert_eq!(got.bytes().await.unwrap(), "w2");
    }
    put(&cluster, 1, "x", "w3").await;
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    healed(&cluster, &[0, 1, 2]).await;
    let audits = audits(&mut cluster).await;
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
}

#[tokio::test]
async fn healing_goes_on_where_it_stopped() {
    let mut cluster = TestCluster::start().await;
    for i in 0..10 {
        put(&cluster, 0, &format!("{i}"), "bytes").await;
    }
    healed(&cluster, &[0, 1, 2]).await;
    for node in 0..3 {
        cluster.stop(node).await;
    }
    for node in 0..3 {
        cluster.restart(node).await;
    }
    cluster.wait_ready(0).await;
    // Before anybody pulled anything: the cursors are on disk, at the puller and at the source.
    assert_eq!(to_heal(&cluster, 0, 1).await, 0);
    assert_eq!(to_heal(&cluster, 0, 2).await, 0);
}

/// A cluster that collects tombstones as soon as it can.
async fn eager_cluster() -> TestCluster {
    TestCluster::start_with(|config| {
        config.fsync = false;
        config.collect_after_secs = 0;
    })
    .await
}

/// Waits until no node remembers a deleted object.
async fn collected(cluster: &TestCluster) {
    for node in 0..3 {
        eventually("all tombstones are collected", async || {
            cluster.gauge(node, "storage_tombstones").await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_deleted_object_leaves_nothing_behind_and_does_not_come_back() {
    let mut cluster = eager_cluster().await;
    for i in 0..20 {
        put(&cluster, 0, &format!("{i}"), "bytes").await;
    }
    healed(&cluster, &[0, 1, 2]).await;
    cluster.stop(2).await;
    for i in 0..10 {
        delete(&cluster, i % 2, &format!("{i}")).await;
    }
    assert_eq!(cluster.gauge(0, "storage_tombstones").await, 10);
    cluster.restart(2).await;
    collected(&cluster).await;
    for node in 0..3 {
        let gone = cluster.store(node).get(&Path::from("3")).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
    // A key whose tombstone is gone can be used again, also where nobody may have it.
    let create = PutMode::Create.into();
    let store = cluster.store(1);
    let key = Path::from("3");
    let again = store.put_opts(&key, "again".into(), create);
    again.await.unwrap();
    healed(&cluster, &[0, 1, 2]).await;
    let audits = audits(&mut cluster).await;
    assert_eq!(audits[0].objects.len(), 11);
    assert!(audits[0].tombstones.is_empty());
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
}

#[tokio::test]
async fn tombstones_wait_for_a_node_that_is_down() {
    let mut cluster = eager_cluster().await;
    put(&cluster, 0, "a", "bytes").await;
    put(&cluster, 0, "b", "bytes").await;
    healed(&cluster, &[0, 1, 2]).await;
    delete(&cluster, 0, "a").await;
    collected(&cluster).await;
    cluster.stop(2).await;
    delete(&cluster, 0, "b").await;
    // Healing takes longer than several looks for something to collect.
    healed(&cluster, &[0, 1]).await;
    assert_eq!(cluster.gauge(0, "storage_tombstones").await, 1);
    assert_eq!(cluster.gauge(1, "storage_tombstones").await, 1);
    cluster.restart(2).await;
    collected(&cluster).await;
}
