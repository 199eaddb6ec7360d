//! Disks that are full, real ones: a small file system in memory, in a mount namespace of the node that is on it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use reqwest::StatusCode;
use serde_json::Value;

use crate::common::{eventually, files, presigned, skip};
use crate::process::{Process, dir, start_as};

/// The whole folder is on the small disk.
const ALL: &str = "mount -t tmpfs -o size=16m none $STORAGE_DIR && $0 init && exec $0 serve";
/// Only the blobs are: the index cannot run out of room.
const BLOBS: &str = "mkdir $STORAGE_DIR/small && mount -t tmpfs -o size=16m none $STORAGE_DIR/small && \
    mkdir $STORAGE_DIR/small/blobs $STORAGE_DIR/small/tmp && \
    ln -s small/blobs small/tmp $STORAGE_DIR && exec $0 serve";
/// Starts the node again when it has died, with what filled the disk gone.
const AGAIN: &str = "mount -t tmpfs -o size=16m none $STORAGE_DIR && $0 init && { $0 serve; \
    echo $? >$STORAGE_DIR.code; rm $STORAGE_DIR/filler; exec $0 serve; }";

const SETTINGS: [(&str, &str); 4] = [
    ("STORAGE_FSYNC", "false"),
    ("STORAGE_HEARTBEAT_MS", "50"),
    ("STORAGE_COLLECT_AFTER_SECS", "0"),
    ("STORAGE_SWEEP_AFTER_SECS", "1"),
];
const MIB: usize = 1024 * 1024;

fn namespace(script: &str) -> Command {
    let mut command = Command::new("unshare");
    let own = "--user --map-root-user --mount --pid --fork --kill-child";
    command
        .args(own.split(' '))
        .args(["sh", "-c", script])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null());
    command
}

/// Three nodes, some of them on a small disk by `script`. `None` where this machine has no namespaces.
async fn start(
    test: &str,
    folder: &Path,
    small: &[usize],
    script: &str,
    reserve: &str,
) -> Option<Vec<Process>> {
    let tried = namespace("mount -t tmpfs none /tmp").output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        skip(test, "no mount namespace may be made here");
        return None;
    }
    let nodes = start_as(folder, &SETTINGS, |node, serve| {
        if !small.contains(&node) {
            return serve;
        }
        let mut command = namespace(script);
        command.arg(serve.get_program());
        for (name, value) in serve.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("STORAGE_RESERVE_BYTES", reserve);
        command
    });
    Some(nodes.await)
}

/// The folder of a node, as the node sees it.
fn inside(folder: &Path, nodes: &[Process], node: usize) -> PathBuf {
    let dir = dir(folder, node);
    let root = PathBuf::from(format!("/proc/{}/root", nodes[node - 1].child.id()));
    root.join(dir.strip_prefix("/").unwrap())
}

/// Writes a file until the disk is full.
fn fill_up(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [MIB, 4096, 1] {
        let piece = vec![0; size];
        while file.write_all(&piece).is_ok() {}
    }
}

fn key(i: usize) -> Key {
    Key::from(format!("images/{i:03}"))
}

fn content(i: usize) -> Vec<u8> {
    vec![i as u8; MIB / 2]
}

async fn put(nodes: &[Process], i: usize) -> Result<(), object_store::Error> {
    let store = nodes[i % 3].store();
    store.put(&key(i), content(i).into()).await.map(drop)
}

async fn status(nodes: &[Process], asked: usize) -> Value {
    let url = format!("http://{}/status", nodes[asked - 1].admin);
    reqwest::get(url).await.unwrap().json().await.unwrap()
}

async fn is_full(nodes: &[Process], node: usize) -> bool {
    let status = status(nodes, 1).await;
    status["nodes"][node - 1]["about"]["space"]["full"] == true
}

async fn healed(nodes: &[Process]) {
    eventually("all is healed and collected", async || {
        let status = status(nodes, 1).await;
        let nodes = status["nodes"].as_array().unwrap();
        status["state"] == "healthy" && nodes.iter().all(|it| it["about"]["tombstones"] == 0)
    })
    .await;
}

async fn assert_readable(nodes: &[Process], through: usize, objects: impl Iterator<Item = usize>) {
    for i in objects {
        let got = nodes[through - 1].store().get(&key(i)).await.unwrap();
        assert!(got.bytes().await.unwrap() == content(i), "object {i}");
    }
}

#[tokio::test]
async fn a_full_node_is_noticed_by_nobody_and_catches_up_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let test = "a_full_node_is_noticed_by_nobody_and_catches_up_when_there_is_room";
    let Some(nodes) = start(test, folder.path(), &[3], ALL, "4194304").await else {
        return;
    };
    for i in 0..40 {
        put(&nodes, i).await.unwrap();
    }
    // One that is not known to have no room for it.
    let large = Key::from("large");
    let put_large = nodes[2].store().put(&large, vec![7; 14 * MIB].into()).await;
    put_large.unwrap();
    assert!(is_full(&nodes, 3).await);
    let metrics = reqwest::get(format!("http://{}/metrics", nodes[2].admin)).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nstorage_full 1\n"), "{metrics}");
    assert!(
        metrics.contains("\nstorage_disk_reserve_bytes 4194304\n"),
        "{metrics}"
    );
    let space = &status(&nodes, 1).await["nodes"][2]["about"]["space"];
    // What is left is for the index.
    assert!(
        space["free_bytes"].as_u64() > Some(3 * MIB as u64),
        "{space}"
    );
    assert_readable(&nodes, 3, 0..40).await;
    nodes[2].store().delete(&large).await.unwrap();
    for i in 0..25 {
        nodes[i % 3].store().delete(&key(i)).await.unwrap();
    }
    // The deletes make room, and nobody has to do anything.
    healed(&nodes).await;
    assert!(!is_full(&nodes, 3).await);
    assert_readable(&nodes, 3, 25..40).await;
    let small = inside(folder.path(), &nodes, 3);
    eventually("node 3 has the blobs and no others", async || {
        files(&small.join("blobs")).len() == 15
    })
    .await;
    assert_eq!(files(&small.join("tmp")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn with_two_full_nodes_a_put_gets_507_and_all_else_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let test = "with_two_full_nodes_a_put_gets_507_and_all_else_goes_on";
    let Some(nodes) = start(test, folder.path(), &[2, 3], ALL, "4194304").await else {
        return;
    };
    let mut stored = 0;
    while put(&nodes, stored).await.is_ok() {
        stored += 1;
    }
    assert!((15..25).contains(&stored), "{stored}");
    for (node, length) in [(1, MIB), (2, MIB), (3, MIB), (1, 3 * MIB), (2, 3 * MIB)] {
        let store = nodes[node - 1].store();
        let target = presigned(&store, http::Method::PUT, "refused").await;
        let url = format!("http://{}{target}", nodes[node - 1].s3);
        let put = reqwest::Client::new().put(url).body(vec![1; length]);
        let reply = put.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(reply.headers()["x-not-applied"], "1");
        let text = reply.text().await.unwrap();
        assert!(text.contains("<Code>InsufficientStorage</Code>"), "{text}");
        assert!(text.contains("have room for it"), "{text}");
    }
    for node in 1..=3 {
        let store = nodes[node - 1].store();
        let absent = store.get(&Key::from("refused")).await;
        assert!(matches!(absent, Err(object_store::Error::NotFound { .. })));
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(listed.len(), stored);
        assert_readable(&nodes, node, 0..stored).await;
        let tmp = inside(folder.path(), &nodes, node).join("tmp");
        assert_eq!(files(&tmp), Vec::<PathBuf>::new());
    }
    for i in 0..12 {
        nodes[i % 3].store().delete(&key(i)).await.unwrap();
    }
    eventually("there is room again", async || {
        put(&nodes, 100).await.is_ok()
    })
    .await;
    healed(&nodes).await;
    for node in 1..=3 {
        assert_readable(&nodes, node, (12..stored).chain([100])).await;
    }
}

/// Between two looks at how full the disk is, it is the disk that refuses.
#[tokio::test]
async fn a_disk_that_others_fill_refuses_blobs_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let test = "a_disk_that_others_fill_refuses_blobs_and_leaves_nothing_behind";
    let Some(nodes) = start(test, folder.path(), &[3], BLOBS, "0").await else {
        return;
    };
    put(&nodes, 0).await.unwrap();
    let small = inside(folder.path(), &nodes, 3).join("small");
    fill_up(&small.join("filler"));
    for i in 1..10 {
        put(&nodes, i).await.unwrap();
    }
    nodes[2].store().delete(&key(0)).await.unwrap();
    assert!(is_full(&nodes, 3).await);
    assert_eq!(files(&small.join("tmp")), Vec::<PathBuf>::new());
    fs::remove_file(small.join("filler")).unwrap();
    healed(&nodes).await;
    eventually("node 3 has the blobs and no others", async || {
        files(&small.join("blobs")).len() == 9
    })
    .await;
    assert_readable(&nodes, 3, 1..10).await;
}

#[tokio::test]
async fn a_node_whose_index_cannot_be_written_ends_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let test = "a_node_whose_index_cannot_be_written_ends_and_the_others_go_on";
    let Some(nodes) = start(test, folder.path(), &[3], AGAIN, "0").await else {
        return;
    };
    put(&nodes, 0).await.unwrap();
    fill_up(&inside(folder.path(), &nodes, 3).join("filler"));
    let code = dir(folder.path(), 3).with_extension("code");
    let mut written = 0;
    while !code.exists() {
        let name = Key::from(format!("{}/{written}", "long".repeat(200)));
        nodes[written % 2]
            .store()
            .put(&name, "x".into())
            .await
            .unwrap();
        written += 1;
        assert!(written < 20_000, "it lives on");
    }
    eventually("the shell has said how it ended", async || {
        fs::read_to_string(&code).is_ok_and(|code| code == "134\n") // aborted
    })
    .await;
    healed(&nodes).await;
    let listed = nodes[2].store().list(None).try_collect::<Vec<_>>();
    assert_eq!(listed.await.unwrap().len(), written + 1);
}

/// Each has room when it begins, and not all have room to end.
#[tokio::test]
async fn uploads_that_run_out_of_room_on_the_way_get_507_and_are_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let test = "uploads_that_run_out_of_room_on_the_way_get_507_and_are_not_applied";
    let Some(nodes) = start(test, folder.path(), &[2, 3], ALL, "4194304").await else {
        return;
    };
    let uploads = (0..6).map(async |i| {
        let name = format!("{i}");
        let node = &nodes[i % 3];
        let target = presigned(&node.store(), http::Method::PUT, &name).await;
        let url = format!("http://{}{target}", node.s3);
        let put = reqwest::Client::new().put(url).body(vec![1; 5 * MIB]);
        (name, put.send().await.unwrap().status())
    });
    let ended = futures::future::join_all(uploads).await;
    let refused = ended.iter().filter(|(_, status)| *status != 200);
    assert!(refused.count() >= 4, "{ended:?}");
    for (name, status) in ended {
        let got = nodes[0].store().get(&Key::from(name)).await;
        match status {
            StatusCode::OK => assert_eq!(got.unwrap().bytes().await.unwrap().len(), 5 * MIB),
            StatusCode::INSUFFICIENT_STORAGE => assert!(got.is_err()),
            other => panic!("{other}"),
        }
    }
    for node in 1..=3 {
        let tmp = inside(folder.path(), &nodes, node).join("tmp");
        eventually("what came of the refused ones is gone", async || {
            files(&tmp).is_empty()
        })
        .await;
    }
}
