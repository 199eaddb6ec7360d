//! The programs wait for one another, in whatever order they start.

use std::time::{Duration, Instant};

use crate::common::compose::{Compose, docker, inspect};
use crate::common::eventually;

/// How much later than all others the database starts.
const LATE: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn started_in_reverse_with_a_late_database_and_without_one_storage_node_the_stack_comes_up() {
    let stack = Compose::prepare("compose-order", 4);
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=2"])
        .await;
    stack.wait_for_page().await;
    stack.compose(&["stop"]).await;

    // The balancer cannot be before the firewall, in whose network it lives: the engine refuses.
    let balancer = stack.containers("lb").await;
    let alone = tokio::process::Command::new("docker")
        .arg("start")
        .args(&balancer)
        .output();
    assert!(!alone.await.unwrap().status.success());
    for service in ["firewall", "lb", "quiz", "migrate", "nas2", "nas1"] {
        for container in stack.containers(service).await {
            docker(&["start", &container]).await;
        }
    }
    let visitor = stack.visitor();
    let ask = async || {
        let page = visitor.http.get(format!("{}/quizzes", visitor.base)).send();
        page.await.map(|page| page.status().as_u16())
    };
    eventually("the balancer has a page for that", async || {
        ask().await.is_ok_and(|status| status == 503)
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < LATE {
        assert_eq!(ask().await.unwrap(), 503);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let database = stack.containers("db").await.remove(0);
    docker(&["start", &database]).await;
    let begun = Instant::now();
    stack.wait_for_page().await;
    println!(
        "a page {:.1} s after the late database's start",
        begun.elapsed().as_secs_f64()
    );
    for container in stack.containers("quiz").await {
        let seen = inspect(&container).await;
        assert_eq!(seen["RestartCount"], 0, "it waited rather than failed");
    }

    // Two storage nodes are enough.
    let admin = stack.visitor();
    admin.log_in("admin", &stack.secret("site_password")).await;
    let (_, picture) = admin.create_quiz("With two?", 5).await;
    let third = stack.containers("nas3").await.remove(0);
    docker(&["start", &third]).await;
    eventually("the third node has all that it missed", async || {
        stack.tool("status", &[]).await.status.success()
    })
    .await;
    let verify = ["exec", "-T", "nas3", "/usr/bin/quiz-storage", "verify"];
    stack.compose(&verify).await;
    assert_eq!(admin.get(&picture).await.status(), 200);
}
