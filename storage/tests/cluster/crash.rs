//! A node that dies in the middle of a write, at every step of it: nothing acknowledged is lost, nothing is left over.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use object_store::path::Path as Key;
use object_store::{Error, ObjectStoreExt as _};
use quiz_storage::audit::{Audit, audit};
use quiz_storage::failpoint::PLACES;
use serde_json::Value;

use crate::common::{eventually, files, number, wait_ready};
use crate::process::{Process, dir, start_as};

const SETTINGS: [(&str, &str); 3] = [
    ("STORAGE_HEARTBEAT_MS", "50"),
    ("STORAGE_COLLECT_AFTER_SECS", "0"),
    ("STORAGE_SWEEP_AFTER_SECS", "1"),
];
const CRASH_AT: &str = "STORAGE_CRASH_AT";
const WRITERS: usize = 6;
/// The node that dies.
const VICTIM: usize = 1;

macro_rules! killed {
    ($($test:ident: $place:literal,)*) => {
        const TESTED: &[&str] = &[$($place),*];
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                for _ in 0..number("STORAGE_TEST_CRASHES", 1) {
                    dies_at($place, 3).await;
                    dies_at($place, 2).await;
                }
            }
        )*
    };
}

killed! {
    a_node_may_die_before_a_blob_is_synced: "blob-written",
    a_node_may_die_before_a_blob_has_its_name: "blob-synced",
    a_node_may_die_before_the_name_of_a_blob_is_durable: "blob-named",
    a_node_may_die_before_it_says_that_it_has_a_blob: "blob-durable",
    a_node_may_die_before_a_promise_is_durable: "promise-begun",
    a_node_may_die_before_it_says_what_it_promised: "promise-committed",
    a_node_may_die_before_an_accepted_version_is_durable: "accept-begun",
    a_node_may_die_before_it_says_what_it_accepted: "accept-committed",
    a_node_may_die_before_it_answers_its_client: "reply",
}

#[test]
fn a_node_dies_at_every_place_in_one_of_these_tests() {
    assert_eq!(TESTED, PLACES);
}

/// What a key may hold: after an acknowledged write that, after any other also what it would have written.
type Allowed = BTreeMap<String, Vec<Option<Vec<u8>>>>;

/// With two nodes up, all that is acknowledged rests on the one that dies, and with the first gone on it alone.
async fn dies_at(place: &str, up: usize) {
    let passage = rand::random_range(1..20);
    println!("dies at {place}:{passage}, {up} nodes up");
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start_as(folder.path(), &SETTINGS, |node, mut command| {
        if node == VICTIM + 1 {
            command.env(CRASH_AT, format!("{place}:{passage}"));
        }
        command
    })
    .await;
    if up == 2 {
        nodes[2].kill();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|writer| {
        let store = nodes[writer % up].store();
        let pieces = writer % up != VICTIM;
        tokio::spawn(write(writer, store, pieces, Arc::clone(&stop)))
    });
    let writers: Vec<_> = writers.collect();
    let mut ended = None;
    eventually("it dies", async || {
        ended = nodes[VICTIM].child.try_wait().unwrap();
        ended.is_some()
    })
    .await;
    assert_eq!(ended.unwrap().signal(), Some(6), "aborted");
    stop.store(true, Ordering::Relaxed);
    let mut allowed = Allowed::new();
    for writer in writers {
        allowed.extend(writer.await.unwrap());
    }
    nodes[0].kill();
    if up == 2 {
        nodes[2].restart();
    }
    nodes[VICTIM].restart_without(CRASH_AT);
    wait_ready(nodes[VICTIM].admin).await;
    for node in &nodes[VICTIM..] {
        assert_holds(node, &allowed).await;
    }
    nodes[0].restart();
    wait_ready(nodes[0].admin).await;
    healed(&nodes).await;
    for node in &nodes {
        assert_holds(node, &allowed).await;
    }
    for node in 1..=3 {
        let dir = dir(folder.path(), node);
        eventually("only the blobs of objects are left", async || {
            let names = names(&nodes[0]).await;
            files(&dir.join("blobs")).len() == names && files(&dir.join("tmp")).is_empty()
        })
        .await;
    }
    nodes.iter_mut().for_each(Process::kill);
    let audits = [1, 2, 3].map(|node| audit(&dir(folder.path(), node), node as u8).unwrap());
    assert_clean(&audits, &allowed);
}

/// Puts, overwrites and deletes objects of its own.
async fn write(
    writer: usize,
    store: object_store::aws::AmazonS3,
    pieces: bool,
    stop: Arc<AtomicBool>,
) -> Allowed {
    let mut allowed = Allowed::new();
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{writer}/{}", turn % 7);
        let delete = turn % 5 == 4;
        // In one message, and in pieces; those of a node that dies are given up after a minute.
        let size = [10, 100_000, 1_500_000][turn % (2 + usize::from(pieces))];
        let mut bytes = format!("{writer} {turn} ").into_bytes();
        bytes.resize(size, b'.');
        let key = Key::from(name.as_str());
        let (done, new) = if delete {
            (store.delete(&key).await, None)
        } else {
            let put = store.put(&key, bytes.clone().into()).await;
            (put.map(drop), Some(bytes))
        };
        let known = allowed.entry(name).or_insert_with(|| vec![None]);
        if done.is_ok() {
            known.clear();
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await; // it is dead: no hurry
        }
        known.push(new);
        turn += 1;
    }
    allowed
}

async fn assert_holds(node: &Process, allowed: &Allowed) {
    for (key, values) in allowed {
        let found = match node.store().get(&Key::from(key.as_str())).await {
            Ok(got) => Some(got.bytes().await.unwrap().to_vec()),
            Err(Error::NotFound { .. }) => None,
            Err(error) => panic!("{key}: {error}"),
        };
        assert!(values.contains(&found), "{key} is not what was written");
    }
}

fn assert_clean(audits: &[Audit; 3], allowed: &Allowed) {
    let [first, second, third] = audits;
    assert!(first == second && second == third, "{audits:?}");
    assert!(first.broken.is_empty() && first.tombstones.is_empty());
    let hash = |bytes: &Vec<u8>| *blake3::hash(bytes).as_bytes();
    for (key, values) in allowed {
        let found = first.objects.get(key).copied();
        let mut expected = values.iter().map(|value| value.as_ref().map(hash));
        assert!(expected.any(|value| value == found), "{key}");
    }
    assert!(first.objects.keys().all(|key| allowed.contains_key(key)));
}

async fn status(node: &Process) -> Value {
    let url = format!("http://{}/status", node.admin);
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn names(node: &Process) -> usize {
    status(node).await["nodes"][0]["about"]["objects"]
        .as_u64()
        .unwrap() as usize
}

/// Waits until nothing is left to heal and no tombstone to collect.
async fn healed(nodes: &[Process]) {
    eventually("all is healed and collected", async || {
        let status = status(&nodes[0]).await;
        let nodes = status["nodes"].as_array().unwrap();
        status["state"] == "healthy" && nodes.iter().all(|it| it["about"]["tombstones"] == 0)
    })
    .await;
}
