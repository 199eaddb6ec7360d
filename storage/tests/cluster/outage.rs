//! A long outage of one node: thousands of objects written, overwritten and deleted meanwhile.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use object_store::ObjectStoreExt as _;
use object_store::path::Path as Key;
use quiz_storage::audit::audit;
use serde_json::Value;

use crate::common::{number, wait_ready};
use crate::process::{Process, dir, start_with};

const SIZE: usize = 10 * 1024;
/// Clients at one time.
const CLIENTS: usize = 16;
/// Longest wait for the healing of as many objects as anybody asks for.
const LONG: Duration = Duration::from_secs(280);

/// Objects written while the node is down; a tenth as many are overwritten and deleted each. `make test-full` sets it.
const OBJECTS: (&str, usize) = ("STORAGE_TEST_OUTAGE", 1_000);
/// Seconds that healing may take; a bar for release builds only.
const BAR: &str = "STORAGE_TEST_HEAL_SECS";

fn key(group: &str, i: usize) -> Key {
    Key::from(format!("{group}/{i:06}"))
}

fn content(group: &str, i: usize) -> Vec<u8> {
    let mut bytes = format!("{group} {i} ").into_bytes();
    bytes.resize(SIZE, i as u8);
    bytes
}

/// Puts the objects of `key_group`, with bytes of `content_group`, through the first two nodes.
async fn put_all(nodes: &[Process], key_group: &str, content_group: &str, count: usize) {
    let stores = [nodes[0].store(), nodes[1].store()];
    let puts = (0..count).map(|i| {
        let store = &stores[i % 2];
        async move {
            let data = content(content_group, i);
            store.put(&key(key_group, i), data.into()).await.unwrap();
        }
    });
    let puts = futures::stream::iter(puts).buffer_unordered(CLIENTS);
    puts.collect::<Vec<()>>().await;
}

async fn delete_all(nodes: &[Process], group: &str, count: usize) {
    let stores = [nodes[0].store(), nodes[1].store()];
    let deletes = (0..count).map(|i| {
        let store = &stores[i % 2];
        async move { store.delete(&key(group, i)).await.unwrap() }
    });
    let deletes = futures::stream::iter(deletes).buffer_unordered(CLIENTS);
    deletes.collect::<Vec<()>>().await;
}

async fn status(nodes: &[Process]) -> Value {
    let url = format!("http://{}/status", nodes[0].admin);
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

/// What node 3 has to heal from each of the others.
fn left(status: &Value) -> [u64; 2] {
    let to_heal = &status["nodes"][2]["to_heal"];
    ["1", "2"].map(|source| to_heal[source].as_u64().unwrap())
}

/// Waits for `check` to hold of the status. Returns the longest that a status took.
async fn wait_until(
    nodes: &[Process],
    what: &str,
    mut check: impl FnMut(&Value) -> bool,
) -> Duration {
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let seen = status(nodes).await;
        slowest = slowest.max(asked.elapsed());
        if check(&seen) {
            return slowest;
        }
        assert!(start.elapsed() < LONG, "still not so: {what}: {seen}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_heals_with_exact_progress_and_leaves_identical_folders() {
    let new = number(OBJECTS.0, OBJECTS.1);
    let changed = new / 10;
    let folder = tempfile::tempdir().unwrap();
    let settings = [("STORAGE_COLLECT_AFTER_SECS", "0")];
    let mut nodes = start_with(folder.path(), &settings).await;
    put_all(&nodes, "overwritten", "first", changed).await;
    put_all(&nodes, "deleted", "first", changed).await;
    wait_until(&nodes, "all is healed", |it| it["state"] == "healthy").await;

    nodes[2].kill();
    let written = Instant::now();
    put_all(&nodes, "new", "new", new).await;
    let written = written.elapsed();
    put_all(&nodes, "overwritten", "second", changed).await;
    delete_all(&nodes, "deleted", changed).await;
    let missed = (new + 2 * changed) as u64;
    wait_until(&nodes, "both others know what node 3 has to heal", |it| {
        left(it) == [missed; 2]
    })
    .await;

    nodes[2].restart();
    let restarted = Instant::now();
    let mut shown = vec![[missed; 2]];
    let slowest = wait_until(&nodes, "node 3 is healed", |it| {
        let now = left(it);
        let before = shown[shown.len() - 1];
        assert!(
            now[0] <= before[0] && now[1] <= before[1],
            "{shown:?}, {now:?}"
        );
        if now != before {
            shown.push(now);
        }
        now == [0; 2]
    })
    .await;
    let took = restarted.elapsed();
    println!(
        "{new} objects of {SIZE} bytes written in {written:.1?}; healed {new} new, {changed} overwritten, {changed} deleted in {took:.1?} ({:.0}/s), shown in {} steps, each status within {slowest:.1?}",
        missed as f64 / took.as_secs_f64(),
        shown.len()
    );
    assert!(shown.len() > 3, "progress is shown on the way: {shown:?}");
    assert_same(folder.path(), nodes, new, changed).await;
    let bar = number(BAR, usize::MAX) as u64;
    assert!(took.as_secs() < bar, "{took:?}, and {bar} s is the bar");
}

async fn assert_same(
    folder: &std::path::Path,
    mut nodes: Vec<Process>,
    new: usize,
    changed: usize,
) {
    wait_until(&nodes, "all tombstones are collected", |it| {
        let nodes = it["nodes"].as_array().unwrap();
        nodes.iter().all(|it| it["about"]["tombstones"] == 0)
    })
    .await;
    let url = format!("http://{}/verify", nodes[0].admin);
    let verified = reqwest::Client::new().post(url).send().await.unwrap();
    let verified: Value = verified.json().await.unwrap();
    assert_eq!(verified["identical"], true, "{verified}");
    wait_ready(nodes[2].admin).await;
    nodes.iter_mut().for_each(Process::kill);
    let audits = [1, 2, 3].map(|node| audit(&dir(folder, node), node as u8).unwrap());
    assert!(audits[0] == audits[1] && audits[1] == audits[2]);
    assert!(audits[2].broken.is_empty() && audits[2].tombstones.is_empty());
    let mut expected = Vec::new();
    for (group, bytes, count) in [("new", "new", new), ("overwritten", "second", changed)] {
        for i in 0..count {
            let hash = *blake3::hash(&content(bytes, i)).as_bytes();
            expected.push((key(group, i).to_string(), hash));
        }
    }
    assert!(audits[2].objects.clone().into_iter().eq(expected));
}
