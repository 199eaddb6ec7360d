//! Files of blobs that nothing names any more go away, and no others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use quiz_storage::audit::audit;

use crate::common::{TestCluster, eventually};

async fn cluster() -> TestCluster {
    TestCluster::start_with(|config| {
        config.fsync = false;
        config.sweep_after_secs = 1;
    })
    .await
}

async fn wait_for_blobs(cluster: &TestCluster, node: usize, count: usize) {
    eventually("only the blobs that are named are left", async || {
        cluster.blobs(node).len() == count
    })
    .await;
}

#[tokio::test]
async fn files_of_overwritten_and_deleted_objects_disappear_on_all_nodes() {
    let mut cluster = cluster().await;
    for round in 0..3 {
        for key in 0..10 {
            let bytes = format!("{round} {key}");
            let store = cluster.store(key % 3);
            store
                .put(&Path::from(format!("{key}")), bytes.into())
                .await
                .unwrap();
        }
    }
    for key in 0..4 {
        let key = Path::from(format!("{key}"));
        cluster.store(1).delete(&key).await.unwrap();
    }
    for node in 0..3 {
        wait_for_blobs(&cluster, node, 6).await;
        assert_eq!(cluster.gauge(node, "storage_blobs").await, 6);
        assert!(cluster.gauge(node, "storage_blobs_swept_total").await >= 24);
    }
    for key in 4..10 {
        let got = cluster.store(2).get(&Path::from(format!("{key}"))).await;
        let expected = format!("2 {key}");
        assert_eq!(got.unwrap().bytes().await.unwrap(), expected);
    }
    for node in 0..3 {
        cluster.stop(node).await;
        let audit = audit(cluster.dir(node), node as u8 + 1).unwrap();
        assert_eq!((audit.objects.len(), audit.broken.len()), (6, 0));
    }
}

#[tokio::test]
async fn the_blob_of_an_upload_that_never_ended_disappears() {
    let cluster = cluster().await;
    cluster
        .store(0)
        .put(&Path::from("a"), "kept".into())
        .await
        .unwrap();
    wait_for_blobs(&cluster, 1, 1).await;
    // What a coordinator leaves that dies between storing the bytes and naming them.
    let name = format!("blobs/00/00{}", "5".repeat(30));
    let stray = cluster.dir(1).join(name);
    std::fs::copy(&cluster.blobs(1)[0], &stray).unwrap();
    // The node did not see the file come, and looks again only when it knows of a change.
    cluster
        .store(0)
        .put(&Path::from("b"), "kept too".into())
        .await
        .unwrap();
    eventually("the stray file is gone", async || !stray.exists()).await;
    wait_for_blobs(&cluster, 1, 2).await;
}

#[tokio::test]
async fn a_file_stays_as_long_as_no_other_node_is_known_to_have_what_replaced_it() {
    let mut cluster = cluster().await;
    let key = Path::from("a");
    cluster.store(0).put(&key, "old".into()).await.unwrap();
    wait_for_blobs(&cluster, 2, 1).await;
    cluster.stop(1).await;
    cluster.store(0).put(&key, "new".into()).await.unwrap();
    cluster.stop(2).await; // before it has pulled the change
    let alone = Instant::now();
    while alone.elapsed() < Duration::from_secs(3) {
        assert_eq!(cluster.blobs(0).len(), 2);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.restart(2).await;
    wait_for_blobs(&cluster, 0, 1).await;
    let got = cluster.store(0).get(&key).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "new");
}

#[tokio::test]
async fn who_reads_an_overwritten_version_reads_it_to_its_end() {
    let cluster = cluster().await;
    let key = Path::from("large");
    let old = Bytes::from(vec![7; 48 * 1024 * 1024]);
    cluster
        .store(0)
        .put(&key, old.clone().into())
        .await
        .unwrap();
    let got = cluster.store(0).get(&key).await.unwrap();
    let mut stream = got.into_stream();
    let mut read = stream.next().await.unwrap().unwrap().len();
    cluster.store(1).put(&key, "new".into()).await.unwrap();
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        assert!(piece.iter().all(|byte| *byte == 7));
        read += piece.len();
    }
    assert_eq!(read, old.len());
    wait_for_blobs(&cluster, 0, 1).await;
}

#[tokio::test]
async fn versions_written_while_files_are_deleted_keep_theirs() {
    let mut cluster = cluster().await;
    let stores = [0, 1, 2].map(|node| cluster.store(node));
    let writers = (0..6).map(|writer| {
        let store = stores[writer % 3].clone();
        async move {
            let begun = Instant::now();
            let mut round = 0;
            while begun.elapsed() < Duration::from_secs(4) || round < 10 {
                let key = Path::from(format!("{}", round % 5));
                let bytes = format!("{writer} {round}");
                // On a busy machine some have no known outcome.
                store.put(&key, bytes.into()).await.ok();
                round += 1;
            }
        }
    });
    futures::future::join_all(writers).await;
    let mut objects = 0;
    eventually("only the blobs that are named are left", async || {
        // A write of unknown outcome may come late.
        let keys = stores[0].list(None).try_collect::<Vec<_>>().await;
        objects = keys.map_or(0, |keys| keys.len());
        objects > 0 && (0..3).all(|node| cluster.blobs(node).len() == objects)
    })
    .await;
    for node in 0..3 {
        assert!(cluster.gauge(node, "storage_blobs_swept_total").await > 0);
        cluster.stop(node).await;
        let audit = audit(cluster.dir(node), node as u8 + 1).unwrap();
        assert_eq!((audit.objects.len(), audit.broken.len()), (objects, 0));
    }
}
