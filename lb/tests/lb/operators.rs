//! What operators read in the log.

use crate::{
    common::{Backend, eventually},
    process::Process,
};

#[tokio::test]
async fn the_log_can_be_json() {
    let process = Process::start("127.0.0.1:0", "127.0.0.1:1", &["--log-format", "json"]).await;
    let line = process.line("balancing on ").await;
    assert!(
        line.starts_with('{') && line.contains(r#""level":"INFO""#),
        "{line}"
    );
}

#[tokio::test]
async fn a_backend_that_never_becomes_ready_is_explained_once() {
    let (wrong, draining) = (Backend::start().await, Backend::start().await);
    wrong.set_ready(404);
    draining.set_ready(503);
    let backends = format!("{},{}", wrong.addr, draining.addr);
    let process = Process::start("127.0.0.1:0", &backends, &[]).await;
    for (backend, status) in [(&wrong, 404), (&draining, 503)] {
        let line = process
            .line(&format!("backend {} is not ready so far", backend.addr))
            .await;
        assert!(
            line.contains("WARN") && line.contains(&format!("/ready answered {status}")),
            "{line}"
        );
        let before = backend.probes();
        eventually("it is asked on", async || backend.probes() >= before + 5).await;
    }
    assert_eq!(process.logged("is not ready so far"), 2);
}

#[tokio::test]
async fn a_backend_that_refuses_from_the_start_is_explained() {
    let refusing = Backend::start().await;
    refusing.kill().await;
    let process = Process::start("127.0.0.1:0", &refusing.addr.to_string(), &[]).await;
    let line = process.line("is not ready so far").await;
    assert!(line.contains("refused the connection"), "{line}");
}
