//! The bucket as a folder and as an archive, and back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};

use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions};

use crate::common::{ACCESS_KEY, SECRET_KEY, TestCluster};
use crate::process::program;
use crate::signed;

const KEYS: [&str; 6] = ["a", "a/b", "images/x y+z.png", "ü/&<>\"'", "empty", "large"];

fn content(key: &str) -> Vec<u8> {
    match key {
        "empty" => Vec::new(),
        "large" => (0..3_000_000_u32).map(|at| (at % 251) as u8).collect(),
        _ => key.as_bytes().to_vec(),
    }
}

fn attributes(key: &str) -> Attributes {
    let user = Attribute::Metadata("owner".into());
    Attributes::from_iter([
        (Attribute::ContentType, format!("image/{}", key.len())),
        (Attribute::CacheControl, "max-age=60".to_owned()),
        (user, format!("user {}", key.len())),
    ])
}

async fn fill(cluster: &TestCluster) {
    for (i, key) in KEYS.into_iter().enumerate() {
        let options = PutOptions::from(attributes(key));
        let (store, place) = (cluster.store(i % 3), Key::from(key));
        let put = store.put_opts(&place, content(key).into(), options);
        put.await.unwrap();
    }
}

/// Runs a command on the bucket of a cluster.
async fn run(cluster: &TestCluster, args: [&str; 2], input: Option<&Path>) -> Output {
    let mut command = program();
    command
        .args(args)
        .env("STORAGE_ACCESS_KEY_ID", ACCESS_KEY)
        .env("STORAGE_SECRET_ACCESS_KEY", SECRET_KEY)
        .env(
            "STORAGE_ENDPOINT",
            format!("http://{}", cluster.nodes[1].config.listen),
        );
    if let Some(input) = input {
        command.stdin(Stdio::from(std::fs::File::open(input).unwrap()));
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    output.await.unwrap()
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text.lines().last().unwrap().to_owned()
}

async fn assert_all_there(cluster: &TestCluster) {
    for key in KEYS {
        let got = cluster.store(2).get(&Key::from(key)).await.unwrap();
        assert_eq!(got.attributes, attributes(key), "{key}");
        assert!(got.bytes().await.unwrap() == content(key), "{key}");
    }
}

async fn delete_all(cluster: &TestCluster) {
    let store = cluster.store(0);
    let keys: Vec<_> = store
        .list(None)
        .map_ok(|it| it.location)
        .try_collect()
        .await
        .unwrap();
    for key in keys {
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_holds_all_of_the_bucket_and_brings_it_back() {
    let cluster = TestCluster::start().await;
    fill(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backup");
    let path = path.to_str().unwrap();
    let first = run(&cluster, ["export", path], None).await;
    assert_eq!(
        said(&first),
        "6 objects copied (3.0 MB), 0 were there already, 0 failed"
    );
    let image = dir.path().join("backup/objects/images/x y+z.png");
    assert_eq!(std::fs::read(image).unwrap(), content(KEYS[2]));
    let again = run(&cluster, ["export", path], None).await;
    assert_eq!(
        said(&again),
        "0 objects copied (0 B), 6 were there already, 0 failed"
    );
    delete_all(&cluster).await;
    run(&cluster, ["import", path], None).await;
    assert_all_there(&cluster).await;
    let again = run(&cluster, ["import", path], None).await;
    assert_eq!(
        said(&again),
        "0 objects copied (0 B), 6 were there already, 0 failed"
    );
}

#[tokio::test]
async fn an_export_is_renewed_and_goes_on_where_it_was_interrupted() {
    let cluster = TestCluster::start().await;
    fill(&cluster).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    said(&run(&cluster, ["export", path], None).await);
    // What an interrupted one leaves: no manifest, and a journal with half a line at its end.
    let manifest = dir.path().join("manifest.jsonl");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    let half = text.len() - 40;
    std::fs::write(dir.path().join("manifest.jsonl.part"), &text[..half]).unwrap();
    let refused = run(&cluster, ["import", path], None).await;
    assert_eq!(refused.status.code(), Some(1));
    let on = run(&cluster, ["export", path], None).await;
    assert!(said(&on).contains(" 5 were there already"), "{}", said(&on));
    assert_eq!(
        std::fs::read_to_string(&manifest).unwrap().lines().count(),
        6
    );

    let store = cluster.store(0);
    store.delete(&Key::from("a")).await.unwrap();
    store
        .put(&Key::from("empty"), "not any more".into())
        .await
        .unwrap();
    let renewed = run(&cluster, ["export", path], None).await;
    assert_eq!(
        said(&renewed),
        "1 objects copied (12 B), 4 were there already, 0 failed"
    );
    let files = crate::common::files(&dir.path().join("objects"));
    assert_eq!(files.len(), 5);
}

#[tokio::test]
async fn an_archive_is_read_by_tar_and_brings_the_bucket_to_another_store() {
    let from = TestCluster::start().await;
    fill(&from).await;
    let odd = format!("/quiz/x//y%20{}", "z".repeat(300));
    let put = signed::Signed {
        method: http::Method::PUT,
        path: &odd,
        query: "",
        headers: &[],
        payload: "UNSIGNED-PAYLOAD",
        body: b"odd".to_vec(),
    };
    let (status, _) = put.send(from.nodes[0].config.listen).await;
    assert_eq!(status, 200);
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("bucket.tar");
    let exported = run(&from, ["export", "-"], None).await;
    said(&exported);
    std::fs::write(&archive, &exported.stdout).unwrap();
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&archive)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        listed.status.success() && listed.stderr.is_empty(),
        "{listed:?}"
    );
    let names = String::from_utf8(listed.stdout).unwrap();
    assert!(names.contains("objects/images/x y+z.png\n"), "{names}");

    let to = TestCluster::start().await;
    let imported = run(&to, ["import", "-"], Some(&archive)).await;
    assert!(
        said(&imported).starts_with("7 objects copied"),
        "{}",
        said(&imported)
    );
    assert_all_there(&to).await;
    let list = async |cluster: &TestCluster| -> BTreeMap<String, String> {
        let address = cluster.nodes[0].config.listen;
        let (_, xml) = signed::ask(address, http::Method::GET, "/quiz", "list-type=2", &[]).await;
        let objects = xml.split("<Contents>").skip(1);
        let object = |xml| {
            let key = signed::tagged(xml, "Key").to_owned();
            (key, signed::tagged(xml, "ETag").to_owned())
        };
        objects.map(object).collect()
    };
    assert_eq!(list(&from).await, list(&to).await);
}
