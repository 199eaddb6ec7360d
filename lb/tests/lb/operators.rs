//! What operators read in the log.

use crate::process::Process;

#[tokio::test]
async fn the_log_can_be_json() {
    let process = Process::start("127.0.0.1:0", "127.0.0.1:1", &["--log-format", "json"]).await;
    let line = process.line("balancing on ").await;
    assert!(
        line.starts_with('{') && line.contains(r#""level":"INFO""#),
        "{line}"
    );
}
