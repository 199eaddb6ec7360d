//! The command as a user types it.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;

use std::process::{Output, Stdio};

use common::{reply, serve};
use quiz_loadtest::report::{Report, json};
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

/// `run` at that URL with arguments that have no spaces in them.
async fn run(url: &str, arguments: &str) -> Output {
    let arguments = arguments.split(' ');
    loadtest(
        &["run", url]
            .into_iter()
            .chain(arguments)
            .collect::<Vec<_>>(),
    )
    .await
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

/// It ended well, or was found invalid because this machine is busy with other tests, and said so.
fn assert_done(output: &Output) {
    let words = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => assert_eq!(words, ""),
        Some(4) => assert!(words.contains("the run is invalid"), "{words}"),
        other => panic!("{other:?}: {words}"),
    }
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
    let output = run(&url, "--rate 100 --duration 200ms --warm-up 0s").await;
    // Standard error is no terminal here, so there is no progress on it.
    assert_done(&output);
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
    let output = run(
        &url,
        "--rate 100 --duration 200ms --warm-up 100ms --format json",
    )
    .await;
    assert_done(&output);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["version"], 2);
    assert_eq!(report["requests"]["succeeded"], 20);
    assert_eq!(report["requests"]["warm_up"], 10);
    assert_eq!(report["served_by"]["a"]["share"], 1.0);
    assert!(report["latency_us"]["p99_9"].is_u64());
}

#[tokio::test]
async fn without_a_single_success_the_status_is_one_and_the_report_is_there() {
    let (address, _) = serve(|_| async { reply(503, "a") }).await;
    let url = format!("http://{address}/");
    let output = run(&url, "--rate 50 --duration 100ms --warm-up 0s").await;
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
        let output = command(&["run", &url, "--duration", "50ms", "--warm-up", "0s"])
            .args(["--format", format])
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
            .wait_with_output()
            .await
            .expect("it ends");
        assert_done(&output);
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
    let output = command(&["run", &url, "--duration", "50ms", "--warm-up", "0s"])
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
    let status = command(&["run", "https://127.0.0.1/"])
        .stderr(writer)
        .status()
        .await
        .expect("the binary runs");
    assert_eq!(status.code(), Some(2));
}

#[tokio::test]
async fn a_public_target_is_refused_with_a_way_out() {
    // An address of the documentation range: nobody is there, and it is not private.
    let words = refusal(&["run", "http://192.0.2.1/"]).await;
    assert!(
        words.contains("192.0.2.1 is neither") && words.contains("--allow-public"),
        "{words}"
    );
}

#[tokio::test]
async fn https_is_refused_by_name() {
    let words = refusal(&["run", "https://127.0.0.1/"]).await;
    assert!(words.contains("https is not supported"), "{words}");
}

#[tokio::test]
async fn wrong_usage_ends_with_status_two_and_names_the_option() {
    let url = "http://127.0.0.1:1/";
    for (option, value) in [
        ("--rate", "0"),
        ("--rate", "1000001"),
        ("--duration", "10"),
        ("--duration", "0s"),
        ("--duration", "4294967295m"),
        ("--warm-up", "4294967295m"),
        ("--timeout", "4294967295m"),
        ("--timeout", "0s"),
        ("--users", "0"),
        ("--format", "xml"),
        ("--load", "ramp:1"),
        ("--think", "1s"),
        ("--scenario", "guest"),
        ("--slo", "p99<1"),
        ("--account", "admin"),
    ] {
        let words = refusal(&["run", url, option, value]).await;
        assert!(words.contains(option), "{option} {value}: {words}");
    }
    assert!(refusal(&["run"]).await.contains("<URL>"));
}

#[tokio::test]
async fn help_names_every_setting_with_its_variable_and_its_default() {
    let output = loadtest(&["run", "--help"]).await;
    let help = text(output.stdout);
    for (variable, default) in [
        ("LOADTEST_RATE", "200"),
        ("LOADTEST_DURATION", "10s"),
        ("LOADTEST_WARM_UP", "2s"),
        ("LOADTEST_USERS", "100"),
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

#[tokio::test]
async fn an_objective_that_is_broken_ends_with_status_three_and_is_named() {
    let (address, _) =
        serve(|number| async move { reply(if number % 2 == 0 { 503 } else { 200 }, "a") }).await;
    let url = format!("http://{address}/");
    let output = run(
        &url,
        "--rate 100 --duration 200ms --warm-up 0s --slo p99<1m,errors<1%",
    )
    .await;
    assert_eq!(
        output.status.code(),
        Some(2),
        "minutes are no unit of a percentile"
    );
    let output = run(
        &url,
        "--rate 100 --duration 200ms --warm-up 0s --slo p99<60s,errors<1%",
    )
    .await;
    let report = text(output.stdout);
    assert!(
        report.contains("errors<1%") && report.contains("50.000 %"),
        "{report}"
    );
    if output.status.code() != Some(4) {
        assert_eq!(output.status.code(), Some(3), "{report}");
    }
}

#[tokio::test]
async fn reports_are_kept_compared_shown_and_merged() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    let generator = async |name: &str| {
        let output = loadtest(&[
            "run",
            &url,
            "--rate",
            "100",
            "--duration",
            "200ms",
            "--warm-up",
            "2s",
            "--json",
            &file(name),
        ])
        .await;
        assert_done(&output);
    };
    tokio::join!(generator("one.json"), generator("two.json"));
    let output = loadtest(&[
        "merge",
        &file("one.json"),
        &file("two.json"),
        "--json",
        &file("both.json"),
        "--html",
        &file("both.html"),
    ])
    .await;
    assert_done(&output);
    let merged = text(output.stdout);
    assert!(merged.contains("40 planned: 40 succeeded"), "{merged}");
    let page = std::fs::read_to_string(file("both.html")).expect("a page");
    assert!(
        page.starts_with("<!DOCTYPE html>") && page.contains(&url),
        "{page}"
    );
    // A baseline that was twice as fast is a reason to complain.
    let before = std::fs::read_to_string(file("one.json")).expect("a report");
    let mut before: Report = serde_json::from_str(&before).expect("a report");
    before.achieved.rate_per_second *= 2.0;
    before.generator.valid = true;
    std::fs::write(file("before.json"), json::render(&before)).expect("a file");
    let output = loadtest(&[
        "show",
        &file("one.json"),
        "--baseline",
        &file("before.json"),
    ])
    .await;
    assert!(matches!(output.status.code(), Some(3 | 4)), "{output:?}");
    assert!(text(output.stdout).contains("WORSE"));
    std::fs::write(file("old.json"), r#"{"version": 1}"#).expect("a file");
    let words = refusal(&["show", &file("old.json")]).await;
    assert!(words.contains("no report of version 2"), "{words}");
}

#[tokio::test]
async fn a_trace_is_sent_as_it_was_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace.txt");
    std::fs::write(&trace, "0\n0.05\n0.1\n0.1\n0.1\n").expect("a file");
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    let load = format!("trace:{}", trace.display());
    let output = loadtest(&["run", &url, "--warm-up", "0s", "--load", &load]).await;
    assert_done(&output);
    let report = text(output.stdout);
    assert!(report.contains("5 planned: 5 succeeded"), "{report}");
    std::fs::write(&trace, "0\nsoon\n").expect("a file");
    let words = refusal(&["run", &url, "--load", &load]).await;
    assert!(words.contains("line 2 of the trace"), "{words}");
}

#[tokio::test]
async fn chaos_does_what_the_timeline_says_and_tells_how_long_it_was_felt() {
    let folder = tempfile::tempdir().expect("a folder");
    let done = folder.path().join("done");
    let (address, _) = serve(|_| async { reply(200, "a") }).await;
    let url = format!("http://{address}/");
    let timeline = format!("300ms run touch {}", done.display());
    let output = loadtest(&[
        "chaos",
        &url,
        "--via",
        "shell",
        "--at",
        &timeline,
        "--rate",
        "50",
        "--duration",
        "1s",
        "--warm-up",
        "0s",
    ])
    .await;
    assert_done(&output);
    assert!(done.exists());
    let report = text(output.stdout);
    assert!(report.contains("run touch"), "{report}");
    for (timeline, words) in [
        ("2s run true", "--duration longer"),
        ("1ms kill lb", "is not known"),
    ] {
        let said = refusal(&[
            "chaos",
            &url,
            "--via",
            "shell",
            "--at",
            timeline,
            "--duration",
            "1s",
        ])
        .await;
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn the_capacity_of_a_server_that_refuses_above_a_rate_is_found() {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};
    // So many tokens, one more every 2.5 ms: it bears 400 requests/s, whoever asks and however late.
    let bucket = Arc::new(Mutex::new((Instant::now(), 20.0_f64)));
    let (address, _) = serve(move |_| {
        let bucket = Arc::clone(&bucket);
        async move {
            let mut bucket = bucket.lock().expect("nobody panics");
            let now = Instant::now();
            bucket.1 = (bucket.1 + now.duration_since(bucket.0).as_secs_f64() * 400.0).min(20.0);
            bucket.0 = now;
            if bucket.1 < 1.0 {
                return reply(503, "a");
            }
            bucket.1 -= 1.0;
            reply(200, "a")
        }
    })
    .await;
    let url = format!("http://{address}/");
    let output = tokio::time::timeout(
        Duration::from_secs(120),
        loadtest(&[
            "find-capacity",
            &url,
            "--slo",
            "errors<5%",
            "--from",
            "100",
            "--to",
            "3000",
            "--repeat",
            "1",
            "--precision",
            "0.2",
            "--warm-up",
            "0s",
            "--duration",
            "500ms",
            "--hold",
            "500ms",
            "--format",
            "json",
        ]),
    )
    .await
    .expect("a search ends");
    let capacity: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object");
    let round = &capacity["rounds"][0];
    if round["ended"] == "generator" {
        // This machine has no time to send at all: it must say so, instead of blaming the server.
        let trials = round["trials"].as_array().expect("there were trials");
        assert_eq!(trials.last().expect("one")["valid"], false, "{capacity}");
        return;
    }
    let found = capacity["median"].as_f64().expect("a rate");
    // Refusals depend on when requests arrive, so a busy machine moves it a little.
    assert!((200.0..=700.0).contains(&found), "{capacity}");
    assert!(text(output.stderr).contains("breaks"));
}
