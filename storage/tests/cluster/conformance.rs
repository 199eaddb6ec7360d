//! All checks that `object_store` has for a store that speaks S3, with three nodes up, with one down, and with one that
//! is killed and comes back all the while.

use std::cell::Cell;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3CopyIfNotExists};
use object_store::integration::*;
use object_store::*;

use crate::common::{TestCluster, client, retries, wait_ready};
use crate::process::start_with;

/// Every check, in the order of the crate's own test, each on what the ones before it left.
async fn conforms(builder: impl Fn() -> AmazonS3Builder) {
    let plain = || builder().with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    let marked = plain().with_http_connector(MarkerHttpConnector::default());
    let store = marked.build().unwrap();
    put_get_delete_list(&store).await;
    list_with_offset_exclusivity(&store).await;
    get_opts(&store).await;
    list_uses_directories_correctly(&store).await;
    list_with_delimiter(&store).await;
    rename_and_copy(&store).await;
    copy_rename_nonexistent_object(&store).await;
    stream_get(&store).await;
    multipart(&store, &store).await;
    multipart_with_opts(&store, &store).await;
    multipart_put_part_out_of_order(&store, &store).await;
    multipart_race_condition(&store, true).await;
    multipart_out_of_order(&store).await;
    put_get_attributes(&store).await;
    list_paginated(&store, &store).await;
    response_extensions(&store, true).await;
    copy_if_not_exists(&store).await;
    put_opts(&store, true).await;
    let missing = get_nonexistent_object(&store, None).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    for other in [
        plain().with_unsigned_payload(true),
        plain().with_checksum_algorithm(Checksum::SHA256),
        plain().with_checksum_algorithm(Checksum::CRC64NVME),
    ] {
        put_get_delete_list(&other.build().unwrap()).await;
    }
    let header = S3CopyIfNotExists::Header("if-none-match".to_owned(), "*".to_owned());
    let store = builder().with_copy_if_not_exists(header).build().unwrap();
    copy_if_not_exists(&store).await;
    copy_rename_nonexistent_object(&store).await;
    for checksum in [Checksum::SHA256, Checksum::CRC64NVME] {
        let store = plain().with_checksum_algorithm(checksum).build().unwrap();
        multipart(&store, &store).await;
    }
}

#[tokio::test]
async fn three_nodes_pass_every_check_of_the_client() {
    let cluster = TestCluster::start().await;
    conforms(|| client(cluster.nodes[0].config.listen)).await;
}

#[tokio::test]
async fn two_of_three_nodes_pass_every_check_of_the_client() {
    let mut cluster = TestCluster::start().await;
    cluster.stop(2).await;
    conforms(|| client(cluster.nodes[0].config.listen)).await;
}

/// The client retries, as every client in use does: a request that meets a dying node is sent again.
#[tokio::test]
async fn nodes_pass_every_check_of_the_client_while_one_is_killed_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = start_with(folder.path(), &[("STORAGE_FSYNC", "false")]).await;
    let address = nodes[0].s3;
    let mut victim = nodes.pop().unwrap();
    let done = Cell::new(false);
    let kill = async {
        let mut kills = 0;
        while !done.get() {
            victim.kill();
            // Long enough that requests meet its absence, whatever else happens.
            tokio::time::sleep(Duration::from_millis(300)).await;
            victim.restart();
            wait_ready(victim.admin).await;
            kills += 1;
        }
        kills
    };
    let check = async {
        conforms(|| client(address).with_retry(retries(10))).await;
        done.set(true);
    };
    let (kills, ()) = tokio::join!(kill, check);
    assert!(kills > 2, "{kills} kills");
}

/// Listings agree through every node.
#[tokio::test]
async fn a_check_passes_through_a_node_that_missed_the_writes() {
    let mut cluster = TestCluster::start().await;
    cluster.stop(1).await;
    let store: AmazonS3 = cluster.store(0);
    put_get_delete_list(&store).await;
    cluster.restart(1).await;
    cluster.wait_ready(1).await;
    cluster.stop(2).await;
    put_get_delete_list(&cluster.store(1)).await;
}
