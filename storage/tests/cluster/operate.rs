//! The commands of an operator, as the program that they are.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt as _, PutPayload};
use quiz_storage::audit::audit;

use crate::common::{TestCluster, eventually, wait_ready};
use crate::process::{Process, dir, program, start};
use crate::relay::{relay, says};

/// Runs a command that asks the node at `admin`.
async fn ask(admin: SocketAddr, args: &[&str]) -> Output {
    let mut command = program();
    command
        .args(args)
        .env("STORAGE_ADMIN", format!("http://{admin}"));
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    run.await.unwrap()
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

async fn fill(nodes: &[Process], names: std::ops::Range<usize>, size: usize) {
    for i in names {
        let data = PutPayload::from(vec![i as u8; size]);
        let key = Key::from(format!("images/{i}"));
        nodes[0].store().put(&key, data).await.unwrap();
    }
}

fn replace(folder: &Path, node: usize, args: &[&str]) -> Output {
    let mut command = program();
    command
        .arg("replace")
        .args(args)
        .env("STORAGE_DIR", dir(folder, node))
        .env("STORAGE_NODE", node.to_string());
    command.output().unwrap()
}

#[tokio::test]
async fn a_health_check_ends_with_one_when_the_node_is_not_ready_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    let admin = nodes[0].admin;
    let check = |args: &'static [&str]| async move {
        let mut command = program();
        command
            .args(args)
            .env("STORAGE_ADMIN_LISTEN", admin.to_string());
        let run = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = run.await.unwrap();
        (output.status.code(), text(&output))
    };
    eventually("it is ready", async || {
        check(&["healthcheck"]).await == (Some(0), String::new())
    })
    .await;
    nodes[1].kill();
    nodes[2].kill();
    eventually("it is not ready alone", async || {
        let (code, said) = check(&["healthcheck"]).await;
        code == Some(1) && said.contains("/ready: 503 Service Unavailable")
    })
    .await;
    assert_eq!(check(&["healthcheck", "--live"]).await.0, Some(0));
    nodes[0].kill();
    let (code, said) = check(&["healthcheck", "--live"]).await;
    assert!(code == Some(1) && said.contains("no answer"), "{said}");
}

#[tokio::test]
async fn an_outage_as_its_operator_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    fill(&nodes, 0..5, 100).await;
    for node in &nodes {
        assert!(ask(node.admin, &["heal"]).await.status.success());
    }
    nodes[2].kill();
    fill(&nodes, 5..60, 100).await;
    let seen = ask(nodes[0].admin, &["status"]).await;
    let shown = text(&seen);
    println!("{shown}");
    assert_eq!(seen.status.code(), Some(1), "a node is down");
    assert!(shown.starts_with("degraded, 3 replicas, "), "{shown}");
    let row = |name: &str| -> Vec<String> {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split("  ")
            .map(|cell| cell.trim().to_owned())
            .filter(|cell| !cell.is_empty())
            .collect()
    };
    assert_eq!(row("state"), ["state", "voting", "voting", "down"]);
    assert_eq!(row("objects"), ["objects", "60", "60", "-"]);
    assert_eq!(row("entries to heal")[3], "110"); // 55 on each of the others
    let verified = ask(nodes[0].admin, &["verify"]).await;
    assert_eq!(verified.status.code(), Some(1));
    assert!(
        text(&verified).contains("not compared"),
        "{}",
        text(&verified)
    );

    nodes[2].restart();
    let healed = ask(nodes[0].admin, &["heal"]).await;
    println!("{}", text(&healed));
    assert!(healed.status.success());
    assert!(text(&healed).contains("nothing is left to heal"));
    wait_ready(nodes[2].admin).await;
    let verified = ask(nodes[1].admin, &["verify"]).await;
    println!("{}", text(&verified));
    assert!(verified.status.success());
    assert!(
        text(&verified).ends_with("identical\n"),
        "{}",
        text(&verified)
    );
    let seen = ask(nodes[2].admin, &["status", "--json"]).await;
    let json: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert!(seen.status.success());
    assert_eq!((&json["format"], &json["asked"]), (&1.into(), &3.into()));
}

#[tokio::test]
async fn a_scrub_says_what_it_found_and_a_node_that_is_down_cannot_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    fill(&nodes, 0..3, 1_000).await;
    let blobs = crate::common::files(&dir(folder.path(), 2).join("blobs"));
    std::fs::write(&blobs[0], "not what was written").unwrap();
    let scrubbed = ask(nodes[1].admin, &["scrub", "now", "--wait"]).await;
    println!("{}", text(&scrubbed));
    assert!(scrubbed.status.success());
    let last = text(&scrubbed);
    assert!(
        last.contains(": 1 not intact, 1 of them repaired"),
        "{last}"
    );
    nodes[1].kill();
    let refused = ask(nodes[1].admin, &["status"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains("is the node running"),
        "{}",
        text(&refused)
    );
}

#[tokio::test]
async fn a_node_with_a_damaged_index_is_replaced_and_keeps_its_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start(folder.path()).await;
    fill(&nodes, 0..20, 1_000).await;
    let third = dir(folder.path(), 3);
    eventually("every node has every blob", async || {
        crate::common::files(&third.join("blobs")).len() == 20
    })
    .await;
    let running = replace(folder.path(), 3, &["--force"]);
    assert!(
        text(&running).contains("stop it first"),
        "{}",
        text(&running)
    );
    nodes[2].kill();
    let intact = replace(folder.path(), 3, &[]);
    assert_eq!(intact.status.code(), Some(1));
    assert!(text(&intact).contains("--force"), "{}", text(&intact));
    let other = replace(folder.path(), 3, &["--node", "2"]);
    assert!(
        text(&other).contains("belongs to node 3"),
        "{}",
        text(&other)
    );

    let index = third.join("index.redb");
    let bytes = std::fs::read(&index).unwrap();
    std::fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
    nodes[2].restart();
    let mut code = None;
    eventually("it refuses to serve", async || {
        code = nodes[2].child.try_wait().unwrap();
        code.is_some()
    })
    .await;
    assert!(!code.unwrap().success());
    let replaced = replace(folder.path(), 3, &[]);
    println!("{}", text(&replaced));
    assert!(replaced.status.success());
    assert!(third.join("index.redb.replaced").exists());
    nodes[2].restart();
    eventually("it takes part again", async || {
        ask(nodes[2].admin, &["status"]).await.status.success()
    })
    .await;
    let metrics = reqwest::get(format!("http://{}/metrics", nodes[2].admin));
    let metrics = metrics.await.unwrap().text().await.unwrap();
    assert!(metrics.contains("storage_blob_pulls_total 0"), "{metrics}");
    assert!(ask(nodes[2].admin, &["heal"]).await.status.success());
    assert!(ask(nodes[2].admin, &["verify"]).await.status.success());
    drop(nodes);
    let audit = audit(&third, 3).unwrap();
    assert_eq!((audit.objects.len(), audit.broken.len()), (20, 0));
}

#[tokio::test]
async fn a_replacement_that_was_interrupted_can_be_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = dir(folder.path(), 1);
    quiz_storage::superblock::init(&place, 1).unwrap();
    std::fs::remove_file(place.join("superblock")).unwrap();
    assert!(replace(folder.path(), 1, &[]).status.success());
    assert!(quiz_storage::superblock::load(&place, 1).is_ok());
}

#[tokio::test]
async fn what_a_node_has_missed_and_cannot_fetch_is_named_as_different() {
    static CUT: AtomicBool = AtomicBool::new(false);
    let mut cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        if config.place.node == 3 {
            for (_, address) in config.peers.0.iter_mut().filter(|(node, _)| **node != 3) {
                let cut = |sent: &[u8]| CUT.load(Relaxed) && says(sent, "/v1/feed");
                *address = relay(address.clone(), cut).to_string();
            }
        }
    })
    .await;
    for name in ["changed", "deleted", "left"] {
        cluster
            .store(0)
            .put(&Key::from(name), "1".into())
            .await
            .unwrap();
    }
    let everywhere = async || {
        let verified = cluster.admin(0, http::Method::POST, "/verify").await;
        verified["identical"] == true && verified["nodes"][2]["objects"] == 3
    };
    eventually("all have all three", everywhere).await;
    CUT.store(true, Relaxed);
    cluster.stop(2).await;
    cluster
        .store(0)
        .put(&Key::from("changed"), "2".into())
        .await
        .unwrap();
    cluster
        .store(0)
        .delete(&Key::from("deleted"))
        .await
        .unwrap();
    cluster.restart(2).await;
    cluster.wait_ready(2).await;
    let admin = cluster.nodes[0].config.admin_listen;
    let verified = ask(admin, &["verify"]).await;
    let shown = text(&verified);
    assert_eq!(verified.status.code(), Some(1), "{shown}");
    let named = "NOT identical: 2 keys differ, among them \"changed\", \"deleted\"\n";
    assert!(shown.ends_with(named), "{shown}");
    CUT.store(false, Relaxed);
    eventually("it has fetched them", async || {
        ask(admin, &["verify"]).await.status.success()
    })
    .await;
}

#[tokio::test]
async fn a_comparison_takes_no_write_under_way_for_a_difference() {
    let cluster = TestCluster::start_with(|config| {
        config.fsync = false;
        config.heartbeat_ms = 50;
    })
    .await;
    let stores = [0, 1, 2].map(|node| cluster.store(node));
    let puts = (0..1_500).map(|i| {
        let (store, key) = (stores[i % 3].clone(), Key::from(format!("{i}")));
        async move { store.put(&key, "x".into()).await.map(drop) }
    });
    let puts = futures::stream::iter(puts).buffer_unordered(16);
    puts.try_collect::<()>().await.unwrap();
    let verify = async || cluster.admin(0, http::Method::POST, "/verify").await;
    let busy = async {
        for i in 0..200 {
            let key = Key::from(format!("{}", i % 7));
            stores[i % 3].put(&key, "y".into()).await.unwrap();
        }
    };
    let (meanwhile, ()) = tokio::join!(verify(), busy);
    assert_eq!(meanwhile["different"], 0, "{meanwhile}");
    eventually("the last writes are everywhere", async || {
        verify().await["identical"] == true
    })
    .await;
    let verified = verify().await;
    assert_eq!(verified["nodes"][1]["objects"], 1_500);
    let digests = [0, 1, 2].map(|node| verified["nodes"][node]["digest"].clone());
    assert!(digests[0].is_string() && digests[0] == digests[1] && digests[1] == digests[2]);
}
