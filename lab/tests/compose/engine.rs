//! The engine itself is started anew.

use std::fs::OpenOptions;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::compose::Compose;
use crate::common::{eventually, skip};

const PID_FILE: &str = "/var/run/docker.pid";
const LOG: &str = "/var/log/dockerd.log";

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn what_was_stored_outlives_a_restart_of_the_engine() {
    if std::env::var_os("QUIZSTACK_ENGINE").is_none() {
        return skip(
            "what_was_stored_outlives_a_restart_of_the_engine",
            "the engine runs for others as well",
        );
    }
    let stack = Compose::prepare("compose-engine", 8);
    stack.compose(&["up", "--detach", "--wait"]).await;
    stack.works("scale", &["2"]).await;
    stack.wait_for_page().await;
    let admin = stack.visitor();
    admin.log_in("admin", &stack.secret("site_password")).await;
    let (quiz, picture) = admin.create_quiz("What is left?", 3).await;
    let bytes = admin.get(&picture).await.bytes().await.unwrap();

    let begun = Instant::now();
    restart().await;
    // As the unit of systemd does at each start: the engine may have tried the balancer before the firewall.
    stack.compose(&["up", "--detach", "--no-recreate"]).await;
    stack.wait_for_page().await;
    println!(
        "engine restarted: a page after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(stack.containers("quiz").await.len(), 2, "as many as before");
    assert!(admin.page(&quiz).await.contains("What is left?"));
    let after = admin.get(&picture).await.bytes().await.unwrap();
    assert_eq!(after, bytes);
    eventually("all is well", async || {
        stack.tool("status", &[]).await.status.success()
    })
    .await;
}

async fn restart() {
    if std::path::Path::new("/run/systemd/system").exists() {
        let restarted = Command::new("systemctl")
            .args(["restart", "docker"])
            .status();
        assert!(restarted.unwrap().success());
    } else {
        restart_by_hand().await;
    }
    eventually("the engine answers", async || {
        let version = tokio::process::Command::new("docker")
            .arg("version")
            .output();
        version.await.unwrap().status.success()
    })
    .await;
}

async fn restart_by_hand() {
    let pid = std::fs::read_to_string(PID_FILE).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    // It takes the file with it.
    eventually("the engine has ended", async || {
        !std::path::Path::new(PID_FILE).exists()
    })
    .await;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(LOG)
        .unwrap();
    // In a session of its own: it outlives this test.
    let started = Command::new("setsid")
        .args(["--fork", "dockerd"])
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status();
    assert!(started.unwrap().success());
}
