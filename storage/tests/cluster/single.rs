//! One node on its own, for development: the same program with the only copy.

use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutMode};

use crate::common::{TestCluster, eventually};

#[tokio::test]
async fn a_single_node_stores_lists_deletes_and_collects() {
    let mut cluster = TestCluster::single().await;
    let store = cluster.store(0);
    let (a, b) = (Path::from("a"), Path::from("b"));
    store.put(&a, "first".into()).await.unwrap();
    let create = PutMode::Create;
    let again = store.put_opts(&a, "second".into(), create.clone().into());
    assert!(matches!(
        again.await,
        Err(object_store::Error::AlreadyExists { .. })
    ));
    let large = vec![7; 3 * 1024 * 1024];
    store.put(&b, large.clone().into()).await.unwrap();
    store.delete(&a).await.unwrap();
    eventually("the tombstone is collected", async || {
        cluster.gauge(0, "storage_tombstones").await == 0
    })
    .await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    cluster.wait_ready(0).await;
    let store = cluster.store(0);
    let got = store.get(&b).await.unwrap().bytes().await.unwrap();
    assert!(got == large);
    assert_eq!(
        store.list_with_delimiter(None).await.unwrap().objects.len(),
        1
    );
}

#[tokio::test]
async fn a_single_node_does_not_become_one_of_three() {
    let mut cluster = TestCluster::single().await;
    cluster.stop(0).await;
    let three = TestCluster::start().await;
    cluster.nodes[0].config.peers = three.nodes[0].config.peers.clone();
    let error = cluster.fails_to_start(0).await;
    assert!(error.contains("belongs to a cluster of 1"), "{error}");
}
