//! A node whose folder was replaced or set back has forgotten promises, and is rebuilt before it votes.

use std::path::Path as FsPath;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _};
use quiz_storage::audit::audit;
use quiz_storage::superblock;

use crate::common::{TestCluster, eventually};

async fn put(cluster: &TestCluster, node: usize, name: &str, bytes: &'static str) {
    let store = cluster.store(node);
    store.put(&Path::from(name), bytes.into()).await.unwrap();
}

async fn get(cluster: &TestCluster, node: usize, name: &str) -> Result<String, Error> {
    let got = cluster.store(node).get(&Path::from(name)).await?;
    Ok(String::from_utf8(got.bytes().await?.to_vec()).unwrap())
}

async fn votes(cluster: &TestCluster, node: usize) -> bool {
    cluster.gauge(node, "storage_votes").await == 1
}

async fn wait_voting(cluster: &TestCluster, node: usize) {
    eventually("the node votes", async || votes(cluster, node).await).await;
}

/// Gives a stopped node an empty folder.
fn wipe(cluster: &TestCluster, node: usize) {
    std::fs::remove_dir_all(cluster.dir(node)).unwrap();
    superblock::init(cluster.dir(node), node as u8 + 1).unwrap();
}

async fn assert_same(cluster: &mut TestCluster, objects: usize) {
    for source in 0..3 {
        for node in (1..=3).filter(|node| *node != source + 1) {
            let name = format!("storage_entries_to_heal{{node=\"{node}\"}}");
            eventually("everything is healed", async || {
                cluster.gauge(source, &name).await == 0
            })
            .await;
        }
    }
    for node in 0..3 {
        cluster.stop(node).await;
    }
    let audits = [0, 1, 2].map(|node| audit(cluster.dir(node), node as u8 + 1).unwrap());
    assert_eq!(audits[0].objects.len(), objects);
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
    assert!(audits[0].broken.is_empty());
}

fn copy(from: &FsPath, to: &FsPath) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_wiped_node_is_rebuilt_from_both_others_without_being_told() {
    let mut cluster = TestCluster::start().await;
    for i in 0..20 {
        put(&cluster, i % 3, &format!("{i}"), "bytes").await;
    }
    cluster.store(0).delete(&Path::from("7")).await.unwrap();
    cluster.stop(2).await;
    wipe(&cluster, 2);
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    put(&cluster, 2, "after", "bytes").await;
    // With only one other node left, it has to have everything itself.
    cluster.stop(0).await;
    for i in (0..20).filter(|i| *i != 7) {
        assert_eq!(get(&cluster, 2, &format!("{i}")).await.unwrap(), "bytes");
    }
    assert!(matches!(
        get(&cluster, 2, "7").await,
        Err(Error::NotFound { .. })
    ));
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    assert_same(&mut cluster, 20).await;
}

#[tokio::test]
async fn a_wiped_node_does_not_vote_while_one_of_the_others_is_down() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 0, "a", "bytes").await;
    cluster.stop(1).await;
    cluster.stop(2).await;
    wipe(&cluster, 2);
    cluster.restart(2).await;
    eventually("it knows that it has to be rebuilt", async || {
        cluster.gauge(2, "storage_rebuilding").await == 1
    })
    .await;
    // Two nodes are up and one of them knows nothing: there is no quorum.
    let refused = cluster.store(0).put(&Path::from("a"), "lost".into()).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("ServiceUnavailable"), "{text}");
    assert!(!votes(&cluster, 2).await);
    // Nor does it run rounds of its own: it may have used any ballot before.
    let refused = cluster.store(2).put(&Path::from("b"), "lost".into()).await;
    let text = format!("{:?}", refused.unwrap_err());
    assert!(text.contains("ServiceUnavailable"), "{text}");
    cluster.restart(1).await;
    wait_voting(&cluster, 2).await;
    assert_eq!(get(&cluster, 2, "a").await.unwrap(), "bytes");
    assert_same(&mut cluster, 1).await;
}

#[tokio::test]
async fn an_older_copy_of_a_folder_is_known_for_what_it_is() {
    let mut cluster = TestCluster::start().await;
    for i in 0..10 {
        put(&cluster, 0, &format!("{i}"), "old").await;
    }
    cluster.stop(2).await;
    let backup = tempfile::tempdir().unwrap();
    copy(cluster.dir(2), backup.path());
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    for i in 0..5 {
        put(&cluster, 2, &format!("{i}"), "new").await;
    }
    cluster.store(2).delete(&Path::from("9")).await.unwrap();
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.dir(2)).unwrap();
    copy(backup.path(), cluster.dir(2));
    cluster.restart(2).await;
    eventually("it was rebuilt", async || {
        cluster.gauge(2, "storage_rebuilds_total").await == 1
    })
    .await;
    wait_voting(&cluster, 2).await;
    // What the copy lacks is there again, and what it does not know to be deleted is gone.
    cluster.stop(0).await;
    assert_eq!(get(&cluster, 2, "3").await.unwrap(), "new");
    assert_eq!(get(&cluster, 2, "8").await.unwrap(), "old");
    assert!(matches!(
        get(&cluster, 2, "9").await,
        Err(Error::NotFound { .. })
    ));
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    assert_same(&mut cluster, 9).await;
}

/// All nodes have forgotten the object and its deletion; the older copy of one has the object.
#[tokio::test]
async fn what_was_deleted_and_collected_does_not_come_back_with_an_older_copy_of_a_folder() {
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.collect_after_secs = 0;
    })
    .await;
    put(&cluster, 0, "a", "deleted").await;
    put(&cluster, 0, "b", "kept").await;
    eventually("node 3 has both", async || {
        cluster.gauge(2, "storage_objects").await == 2
    })
    .await;
    cluster.stop(2).await;
    let backup = tempfile::tempdir().unwrap();
    copy(cluster.dir(2), backup.path());
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    cluster.store(0).delete(&Path::from("a")).await.unwrap();
    for node in 0..3 {
        eventually("the tombstone is collected", async || {
            let objects = cluster.gauge(node, "storage_objects").await;
            objects + cluster.gauge(node, "storage_tombstones").await == 1
        })
        .await;
    }
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.dir(2)).unwrap();
    copy(backup.path(), cluster.dir(2));
    cluster.restart(2).await;
    eventually("it was rebuilt", async || {
        cluster.gauge(2, "storage_rebuilds_total").await == 1
    })
    .await;
    wait_voting(&cluster, 2).await;
    for node in 0..3 {
        let got = get(&cluster, node, "a").await;
        assert!(matches!(got, Err(Error::NotFound { .. })), "{got:?}");
        assert_eq!(get(&cluster, node, "b").await.unwrap(), "kept");
    }
    assert_same(&mut cluster, 1).await;
}

/// The copy knows node 1 as it was before it was rebuilt itself. Whoever waits to be recognised judges nobody, or both
/// would wait for each other for ever.
#[tokio::test]
async fn an_older_copy_does_not_make_a_node_that_was_rebuilt_since_begin_again() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 1, "a", "old").await;
    cluster.stop(2).await;
    let backup = tempfile::tempdir().unwrap();
    copy(cluster.dir(2), backup.path());
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    cluster.stop(0).await;
    wipe(&cluster, 0);
    cluster.restart(0).await;
    wait_voting(&cluster, 0).await;
    put(&cluster, 1, "a", "new").await;
    cluster.stop(2).await;
    std::fs::remove_dir_all(cluster.dir(2)).unwrap();
    copy(backup.path(), cluster.dir(2));
    // It cannot ask the others what it is worth, and they ask it.
    let peers = cluster.nodes[2].config.peers.clone();
    for (node, address) in &mut cluster.nodes[2].config.peers.0 {
        if *node != 3 {
            *address = "127.0.0.1:1".to_owned();
        }
    }
    cluster.restart(2).await;
    for node in 0..2 {
        eventually("node 3 answers", async || {
            cluster.gauge(node, r#"storage_peer_up{node="3"}"#).await == 1
        })
        .await;
        put(&cluster, node, "b", "bytes").await;
        assert!(votes(&cluster, node).await);
    }
    cluster.stop(2).await;
    cluster.nodes[2].config.peers = peers;
    cluster.restart(2).await;
    eventually("it was rebuilt", async || {
        cluster.gauge(2, "storage_rebuilds_total").await == 1
    })
    .await;
    for node in 0..3 {
        wait_voting(&cluster, node).await;
        assert_eq!(get(&cluster, node, "a").await.unwrap(), "new");
    }
    assert_same(&mut cluster, 2).await;
}

#[tokio::test]
async fn a_rebuilding_that_was_cut_short_is_done_again() {
    let mut cluster = TestCluster::start().await;
    for i in 0..10 {
        put(&cluster, 0, &format!("{i}"), "bytes").await;
    }
    cluster.stop(1).await;
    cluster.stop(2).await;
    wipe(&cluster, 2);
    cluster.restart(2).await;
    eventually("it knows that it has to be rebuilt", async || {
        cluster.gauge(2, "storage_rebuilding").await == 1
    })
    .await;
    cluster.stop(2).await;
    cluster.restart(1).await;
    cluster.restart(2).await;
    eventually("it was rebuilt", async || {
        cluster.gauge(2, "storage_rebuilds_total").await == 1
    })
    .await;
    wait_voting(&cluster, 2).await;
    assert_same(&mut cluster, 10).await;
}

/// Asks for a while, in which a node that waits for nothing more would long vote.
async fn assert_never_votes(cluster: &TestCluster, nodes: [usize; 2]) {
    for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
        let name = format!("storage_peer_up{{node=\"{}\"}}", other + 1);
        eventually("they see each other", async || {
            cluster.gauge(node, &name).await == 1
        })
        .await;
    }
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        for node in nodes {
            assert!(!votes(cluster, node).await, "node {} votes", node + 1);
        }
    }
}

/// What they could tell each other is worth nothing, and the one that knows is down.
#[tokio::test]
async fn two_wiped_nodes_do_not_welcome_each_other() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 0, "a", "bytes").await;
    for node in 0..3 {
        cluster.stop(node).await;
    }
    wipe(&cluster, 1);
    wipe(&cluster, 2);
    cluster.restart(1).await;
    cluster.restart(2).await;
    assert_never_votes(&cluster, [1, 2]).await;
    cluster.restart(0).await;
    for node in [1, 2] {
        eventually("it knows that it has to be rebuilt", async || {
            cluster.gauge(node, "storage_rebuilding").await == 1
        })
        .await;
    }
    let got = get(&cluster, 0, "a").await;
    assert!(
        !matches!(got, Err(Error::NotFound { .. })),
        "denied: {got:?}"
    );
}

#[tokio::test]
async fn a_new_store_begins_when_all_three_nodes_are_there() {
    let mut cluster = TestCluster::start().await;
    for node in 0..3 {
        cluster.stop(node).await;
        wipe(&cluster, node);
    }
    cluster.restart(0).await;
    cluster.restart(1).await;
    assert_never_votes(&cluster, [0, 1]).await;
    cluster.restart(2).await;
    for node in 0..3 {
        cluster.wait_ready(node).await;
    }
    put(&cluster, 2, "a", "bytes").await;
    assert_same(&mut cluster, 1).await;
}

/// Waits until every node has the blobs of all objects.
async fn wait_blobs(cluster: &TestCluster, count: usize) {
    for node in 0..3 {
        eventually("the blobs are everywhere", async || {
            cluster.blobs(node).len() == count
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_that_nobody_can_read_keeps_no_node_from_being_rebuilt() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 0, "lost", "bytes").await;
    wait_blobs(&cluster, 1).await;
    let (first, second) = (cluster.blobs(0).remove(0), cluster.blobs(1).remove(0));
    put(&cluster, 0, "kept", "bytes").await;
    wait_blobs(&cluster, 2).await;
    cluster.stop(2).await;
    wipe(&cluster, 2);
    let aside = first.with_extension("aside");
    std::fs::rename(&first, &aside).unwrap();
    std::fs::remove_file(&second).unwrap();
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    cluster.stop(0).await;
    assert_eq!(get(&cluster, 2, "kept").await.unwrap(), "bytes");
    put(&cluster, 2, "new", "bytes").await;
    assert!(get(&cluster, 2, "lost").await.is_err());
    // When a copy turns up, a scrub fetches it.
    std::fs::rename(&aside, &first).unwrap();
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    for node in [1, 2] {
        cluster.admin(node, http::Method::POST, "/scrub").await;
    }
    wait_blobs(&cluster, 3).await;
    assert_same(&mut cluster, 3).await;
}

#[tokio::test]
async fn a_node_without_room_is_rebuilt_and_fetches_the_bytes_when_it_has_some() {
    let mut cluster = TestCluster::start().await;
    put(&cluster, 0, "a", "bytes").await;
    wait_blobs(&cluster, 1).await;
    cluster.stop(2).await;
    wipe(&cluster, 2);
    cluster.nodes[2].config.reserve_bytes = u64::MAX / 2;
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    cluster.stop(1).await;
    assert_eq!(get(&cluster, 2, "a").await.unwrap(), "bytes");
    cluster.store(2).delete(&Path::from("b")).await.unwrap();
    cluster.restart(1).await;
    cluster.stop(2).await;
    cluster.nodes[2].config.reserve_bytes = 0;
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    cluster.admin(2, http::Method::POST, "/scrub").await;
    wait_blobs(&cluster, 1).await;
    assert_same(&mut cluster, 1).await;
}

#[tokio::test]
async fn a_node_starts_on_a_folder_of_format_3_and_brings_it_to_this_one() {
    let mut cluster = TestCluster::start().await;
    for i in 0..20 {
        put(&cluster, 0, &format!("{i}"), "kept").await;
    }
    eventually("the last node has all", async || {
        cluster.blobs(2).len() == 20
    })
    .await;
    cluster.stop(2).await;
    for blob in cluster.blobs(2) {
        let name = blob.file_name().unwrap().to_str().unwrap();
        let below = blob.with_file_name(&name[2..4]);
        std::fs::create_dir_all(&below).unwrap();
        std::fs::rename(&blob, below.join(name)).unwrap();
    }
    let superblock = cluster.dir(2).join("superblock");
    let marked = || std::fs::read_to_string(&superblock).unwrap();
    let old = marked().replace("quizstack-storage 4\n", "quizstack-storage 3\n");
    std::fs::write(&superblock, old).unwrap();
    cluster.restart(2).await;
    wait_voting(&cluster, 2).await;
    assert!(marked().starts_with("quizstack-storage 4\n"));
    for blob in cluster.blobs(2) {
        let [name, above] = [&*blob, blob.parent().unwrap()].map(|path| path.file_name().unwrap());
        assert_eq!(above.to_str().unwrap(), &name.to_str().unwrap()[..2]);
    }
    assert_eq!(cluster.gauge(2, "storage_blobs").await, 20);
    assert_eq!(get(&cluster, 2, "7").await.unwrap(), "kept");
    assert_same(&mut cluster, 20).await;
}
