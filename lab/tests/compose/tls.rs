//! Port 443, by an overlay.

use std::process::Command as Blocking;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::common::compose::Compose;
use crate::common::eventually;

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn https_is_served_and_a_balancer_that_was_told_to_reload_still_follows_its_firewall() {
    let stack = Compose::prepare("compose-tls", 9);
    let secrets = stack.root().join("compose/secrets");
    certify(&secrets);
    let files =
        "COMPOSE_FILE=compose/stack.yaml:compose/tls.yaml\nQUIZSTACK_TLS_PORT=127.0.0.1:0\n";
    std::fs::write(stack.root().join(".env"), files).unwrap();
    stack.compose(&["up", "--detach", "--wait"]).await;
    let served = async || {
        // It is another one after each start.
        let port = stack.compose(&["port", "firewall", "443"]).await;
        let port = port.trim().rsplit(':').next().unwrap().to_owned();
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--fail",
            "--max-time",
            "5",
            "--output",
            "/dev/null",
        ])
        .args(["--write-out", "%{http_version}", "--cacert"])
        .arg(secrets.join("tls_certificate"))
        .args(["--resolve", &format!("quiz.test:{port}:127.0.0.1")])
        .arg(format!("https://quiz.test:{port}/quizzes"));
        String::from_utf8(curl.output().await.unwrap().stdout).unwrap()
    };
    eventually("a page over HTTP/2 and TLS", async || served().await == "2").await;

    // The engine takes a signal that somebody sends for a stop by hand.
    stack.compose(&["kill", "--signal", "HUP", "lb"]).await;
    let firewall = stack.containers("firewall").await.remove(0);
    let pid = stack.pid(&firewall).await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("the engine starts the firewall again", async || {
        let now = stack.pid(&firewall).await;
        now != 0 && now != pid
    })
    .await;
    eventually("and the balancer follows", async || served().await == "2").await;
}

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn the_other_overlays_can_be_read() {
    let stack = Compose::prepare("compose-overlays", 10);
    let services = async |settings: &str| {
        std::fs::write(stack.root().join(".env"), settings).unwrap();
        stack.compose(&["config", "--services"]).await
    };
    let files = "COMPOSE_FILE=compose/stack.yaml:compose/external.yaml\n";
    let external = services(&format!("{files}QUIZ_STORE_URL=file:///images\n")).await;
    let mut external: Vec<_> = external.lines().collect();
    external.sort_unstable();
    assert_eq!(external, ["firewall", "lb", "migrate", "quiz"]);
    let swarm = services("COMPOSE_FILE=compose/swarm.yaml\n").await;
    assert_eq!(swarm.lines().count(), 6);
    // What Drop takes down.
    std::fs::remove_file(stack.root().join(".env")).unwrap();
}

/// Writes a certificate for `quiz.test` and its key.
fn certify(folder: &std::path::Path) {
    let mut openssl = Blocking::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=quiz.test",
            "-addext",
            "subjectAltName=DNS:quiz.test",
        ])
        .arg("-keyout")
        .arg(folder.join("tls_key"))
        .arg("-out")
        .arg(folder.join("tls_certificate"));
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let readable = Blocking::new("chmod")
        .arg("0444")
        .arg(folder.join("tls_key"))
        .status();
    assert!(readable.unwrap().success());
}
