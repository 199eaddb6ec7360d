//! Bit rot: what a disk loses or changes is never served, and is found and replaced.

use std::os::unix::fs::FileExt as _;
use std::path::Path as FsPath;

use http::Method;
use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use quiz_storage::audit::audit;
use serde_json::Value;

use crate::common::{TestCluster, eventually};

fn key(i: usize) -> Path {
    Path::from(format!("images/{i}"))
}

/// From nothing to several pieces of several blocks.
fn content(i: usize) -> Vec<u8> {
    let len = [0, 1, 1_000, 65_536, 65_537, 3_000_000][i % 6];
    (0..len).map(|at| (at * 31 + i) as u8).collect()
}

async fn fill(cluster: &TestCluster, objects: usize) {
    for i in 0..objects {
        let store = cluster.store(i % 3);
        store.put(&key(i), content(i).into()).await.unwrap();
    }
    for node in 0..3 {
        eventually("every node has every blob", async || {
            cluster.blobs(node).len() == objects
        })
        .await;
    }
}

/// Flips one bit of one byte, wherever in the file.
fn damage(path: &FsPath) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let at = rand::random_range(0..file.metadata().unwrap().len());
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << rand::random_range(0..8))], at)
        .unwrap();
}

async fn assert_all_right(cluster: &TestCluster, node: usize, objects: usize) {
    for i in 0..objects {
        let got = cluster.store(node).get(&key(i)).await.unwrap();
        assert!(got.bytes().await.unwrap() == content(i), "object {i}");
    }
}

async fn scrub(cluster: &TestCluster, node: usize) -> Value {
    cluster.admin(node, Method::POST, "/scrub").await;
    let mut last = Value::Null;
    eventually("the scrub has ended", async || {
        let status = cluster.status(node).await;
        let scrub = &status["nodes"][node]["about"]["scrub"];
        last = scrub["last"].clone();
        scrub["running"].is_null() && !last.is_null()
    })
    .await;
    last
}

#[tokio::test]
async fn no_bad_byte_is_served_of_a_node_whose_every_blob_is_damaged_and_a_scrub_repairs_all() {
    let objects = 30;
    let mut cluster = TestCluster::start().await;
    fill(&cluster, objects).await;
    let files = cluster.blobs(1);
    files.iter().for_each(|path| damage(path));
    let missing = &files[0];
    std::fs::remove_file(missing).unwrap();
    // Reading repairs what is read, so only some are, and the scrub has work to do.
    for i in 0..objects / 3 {
        let got = cluster.store(1).get(&key(i)).await.unwrap();
        assert!(got.bytes().await.unwrap() == content(i), "object {i}");
    }
    let run = scrub(&cluster, 1).await;
    assert_eq!(run["blobs"], objects);
    assert!(
        run["found"].as_u64().unwrap() >= 2 * objects as u64 / 3,
        "{run}"
    );
    assert_eq!(run["found"], run["repaired"]);
    assert!(missing.exists());
    let again = scrub(&cluster, 1).await;
    assert_eq!(
        (&again["found"], &again["blobs"]),
        (&0.into(), &objects.into())
    );
    // The other nodes are not needed for any of it any more.
    assert_all_right(&cluster, 1, objects).await;
    let pulls = cluster.gauge(1, "storage_blob_pulls_total").await;
    assert!(pulls >= objects as i64, "{pulls}");
    cluster.stop(1).await;
    assert!(audit(cluster.dir(1), 2).unwrap().broken.is_empty());
}

#[tokio::test]
async fn what_no_other_node_has_is_found_again_and_repaired_once_one_has() {
    let mut cluster = TestCluster::start().await;
    fill(&cluster, 3).await;
    cluster.stop(0).await;
    cluster.stop(1).await;
    let files = cluster.blobs(2).into_iter();
    let largest = files.max_by_key(|path| path.metadata().unwrap().len());
    damage(&largest.unwrap());
    let run = scrub(&cluster, 2).await;
    assert_eq!((&run["found"], &run["repaired"]), (&1.into(), &0.into()));
    cluster.restart(0).await;
    cluster.wait_ready(2).await;
    let run = scrub(&cluster, 2).await;
    assert_eq!((&run["found"], &run["repaired"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn a_run_goes_on_after_a_restart_and_the_last_one_is_remembered() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.scrub_bytes_per_sec = 64 * 1024;
    })
    .await;
    fill(&cluster, 6).await; // a minute's worth
    cluster.admin(0, Method::POST, "/scrub").await;
    let run = async |cluster: &TestCluster| {
        let status = cluster.status(0).await;
        status["nodes"][0]["about"]["scrub"]["running"].clone()
    };
    eventually("some is read", async || run(&cluster).await["bytes"] != 0).await;
    let before = run(&cluster).await;
    cluster.stop(0).await;
    cluster.nodes[0].config.scrub_bytes_per_sec = 1024 * 1024 * 1024;
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    let mut last = Value::Null;
    eventually("the run has ended", async || {
        let status = cluster.status(0).await;
        last = status["nodes"][0]["about"]["scrub"]["last"].clone();
        !last.is_null()
    })
    .await;
    assert_eq!(last["started_ms"], before["started_ms"]);
    assert_eq!(last["blobs"], 6);
    cluster.stop(0).await;
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    let status = cluster.status(0).await;
    assert_eq!(status["nodes"][0]["about"]["scrub"]["last"], last);
}
