//! What the nodes say of themselves and of each other, and how soon.

use std::time::{Duration, Instant};

use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use crate::common::{TestCluster, eventually};

#[tokio::test]
async fn what_a_dead_node_has_missed_is_known_and_goes_to_zero_when_it_is_back() {
    let mut cluster = TestCluster::start().await;
    eventually("all is healthy", async || {
        cluster.status(0).await["state"] == "healthy"
    })
    .await;
    cluster.stop(2).await;
    for i in 0..25 {
        let key = Path::from(format!("{i}"));
        cluster.store(0).put(&key, "bytes".into()).await.unwrap();
    }
    cluster.store(1).delete(&Path::from("3")).await.unwrap();
    let status = cluster.status(1).await;
    assert_eq!(status["state"], "degraded");
    assert_eq!(status["asked"], 2);
    let third = &status["nodes"][2];
    assert_eq!(
        (&third["up"], &third["about"]),
        (&false.into(), &serde_json::Value::Null)
    );
    for source in ["1", "2"] {
        assert_eq!(third["to_heal"][source], 25);
    }
    let about = &status["nodes"][0]["about"];
    assert_eq!(
        (&about["objects"], &about["object_bytes"]),
        (&24.into(), &120.into())
    );
    assert_eq!(about["tombstones"], 1);
    assert!(about["space"]["free_bytes"].as_u64() <= about["space"]["total_bytes"].as_u64());
    cluster.restart(2).await;
    eventually("all is healed", async || {
        cluster.status(0).await["state"] == "healthy"
    })
    .await;
    assert_eq!(cluster.status(0).await["nodes"][2]["about"]["objects"], 24);
}

#[tokio::test]
async fn a_frozen_node_holds_the_status_up_by_a_moment_only() {
    let mut cluster = TestCluster::start().await;
    cluster.stop(1).await;
    let _silent = cluster.freeze(1).await;
    for _ in 0..5 {
        let start = Instant::now();
        let status = cluster.status(0).await;
        assert!(
            start.elapsed() < Duration::from_millis(600),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(status["nodes"][1]["up"], false);
        assert_eq!(status["nodes"][2]["up"], true);
    }
}

#[tokio::test]
async fn the_page_is_for_people_on_this_machine_and_not_for_other_sites() {
    let cluster = TestCluster::start().await;
    let url = format!("http://{}", cluster.nodes[0].config.admin_listen);
    let page = reqwest::get(&url).await.unwrap();
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text().await.unwrap().contains("node 3"));
    let forged = reqwest::Client::new()
        .post(format!("{url}/scrub"))
        .header("origin", "http://example.com");
    assert_eq!(forged.send().await.unwrap().status(), 403);
    let status = cluster.status(0).await;
    assert!(status["nodes"][0]["about"]["scrub"]["running"].is_null());
}
