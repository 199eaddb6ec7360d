//! The command as a user types it.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;

use std::process::{Output, Stdio};

use common::{reply, serve};
use tokio::process::Command;

/// The binary without settings from the environment of the test.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-loadtest"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOADTEST_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).kill_on_drop(true);
    command
}

async fn loadtest(arguments: &[&str]) -> Output {
    command(arguments).output().await.expect("the binary runs")
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

async fn refusal(arguments: &[&str]) -> String {
    let output = loadtest(arguments).await;
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty());
    text(output.stderr)
}

#[tokio::test]
async fn a_short_run_prints_a_report_and_ends_with_status_zero() {
    let (address, _) = serve(|_| async { reply(200, "10.0.0.1:3000") }).await;
    let url = format!("http://{address}/");
    let output = loadtest(&[
        &url,
        "--rate",
        "100",
        "--duration",
        "200ms",
        "--warm-up",
        "0s",
    ])
    .await;
    assert_eq!(output.status.code(), Some(0));
    // Standard error is no terminal here, so there is no progress on it.
    assert_eq!(text(output.stderr), "");
    let report = text(output.stdout);
    assert!(
        report.contains("20 planned: 20 succeeded, 0 failed, 0 dropped"),
        "{report}"
    );
    assert!(report.contains("10.0.0.1:3000"), "{report}");
}

#[tokio::test]
async fn json_is_one_object_with_its_version() {
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    let output = loadtest(&[
        &url,
        "--rate",
        "100",
        "--duration",
        "200ms",
        "--warm-up",
        "100ms",
        "--format",
        "json",
    ])
    .await;
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["version"], 1);
    assert_eq!(report["requests"]["succeeded"], 20);
    assert_eq!(report["requests"]["warm_up"], 10);
    assert_eq!(report["served_by"]["a"]["share"], 1.0);
    assert!(report["latency_us"]["p99_9"].is_u64());
}

#[tokio::test]
async fn without_a_single_success_the_status_is_one_and_the_report_is_there() {
    let (address, _) = serve(|_| async { reply(503, "a") }).await;
    let url = format!("http://{address}/");
    let output = loadtest(&[
        &url,
        "--rate",
        "50",
        "--duration",
        "100ms",
        "--warm-up",
        "0s",
    ])
    .await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(output.stdout).contains("status 5xx 5"));
    assert!(text(output.stderr).contains("no request succeeded"));
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    for format in ["text", "json"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command(&[&url, "--duration", "50ms", "--warm-up", "0s"])
            .args(["--format", format])
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
            .wait_with_output()
            .await
            .expect("it ends");
        assert_eq!(text(output.stderr), "");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_ends_with_status_one() {
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has a device that is always full");
    let output = command(&[&url, "--duration", "50ms", "--warm-up", "0s"])
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
        .wait_with_output()
        .await
        .expect("it ends");
    let words = text(output.stderr);
    assert!(words.contains("cannot write the report"), "{words}");
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn a_standard_error_that_nobody_reads_does_not_change_the_status() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command(&["https://127.0.0.1/"])
        .stderr(writer)
        .status()
        .await
        .expect("the binary runs");
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn a_public_target_is_refused_with_a_way_out() {
    // An address of the documentation range: nobody is there, and it is not private.
    let words = refusal(&["http://192.0.2.1/"]).await;
    assert!(
        words.contains("192.0.2.1 is neither") && words.contains("--allow-public"),
        "{words}"
    );
}

#[tokio::test]
async fn https_is_refused_by_name() {
    let words = refusal(&["https://127.0.0.1/"]).await;
    assert!(words.contains("https is not supported"), "{words}");
}

#[tokio::test]
async fn wrong_usage_ends_with_status_two_and_names_the_option() {
    let url = "http://127.0.0.1:1/";
    for (option, value) in [
        ("--rate", "0"),
        ("--rate", "100001"),
        ("--duration", "10"),
        ("--duration", "0s"),
        ("--duration", "4294967295m"),
        ("--warm-up", "4294967295m"),
        ("--timeout", "4294967295m"),
        ("--timeout", "0s"),
        ("--connections", "0"),
        ("--format", "xml"),
    ] {
        let words = refusal(&[url, option, value]).await;
        assert!(words.contains(option), "{option} {value}: {words}");
    }
    assert!(refusal(&[]).await.contains("<URL>"));
}

#[tokio::test]
async fn help_names_every_setting_with_its_variable_and_its_default() {
    let output = loadtest(&["--help"]).await;
    let help = text(output.stdout);
    for (variable, default) in [
        ("LOADTEST_RATE", "200"),
        ("LOADTEST_DURATION", "10s"),
        ("LOADTEST_WARM_UP", "2s"),
        ("LOADTEST_CONNECTIONS", "100"),
        ("LOADTEST_TIMEOUT", "5s"),
        ("LOADTEST_FORMAT", "text"),
    ] {
        assert!(
            help.contains(&format!("[env: {variable}=]")),
            "{variable}: {help}"
        );
        assert!(
            help.contains(&format!("[default: {default}]")),
            "{variable}: {help}"
        );
    }
    assert!(help.contains("LOADTEST_ALLOW_PUBLIC"), "{help}");
}
