//! The ruleset against packets: the machine it guards in one network namespace, its neighbours in others, and cables
//! between.
//!
//! Each test starts its own binary again, several times in each namespace, and tells it by `QUIZ_FIREWALL_TEST_ROLE`
//! which part to play. The namespaces end with the processes in them, also when a test fails or is killed.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;
#[path = "packets/crowded.rs"]
mod crowded;
#[path = "packets/explained.rs"]
mod explained;
#[path = "packets/neighbour.rs"]
mod neighbour;
#[path = "packets/probe.rs"]
mod probe;
#[path = "packets/raw.rs"]
mod raw;
#[path = "packets/routed.rs"]
mod routed;
#[path = "packets/visited.rs"]
mod visited;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{nft_or_skip, skip};
use quiz_firewall::nft::search_path;

const ROLE: &str = "QUIZ_FIREWALL_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(20);

/// The report of each probe, by its name.
type Reports = BTreeMap<String, String>;

#[test]
fn a_visitor_reaches_the_web_port_and_ping_and_nothing_else() {
    play(
        "a_visitor_reaches_the_web_port_and_ping_and_nothing_else",
        visited::CABLES,
        visited::be_the_guarded_machine,
    );
}

#[test]
fn each_layer_alone_holds_for_the_machines_behind_and_for_a_second_address() {
    play(
        "each_layer_alone_holds_for_the_machines_behind_and_for_a_second_address",
        routed::CABLES,
        routed::be_the_guarded_machine,
    );
}

#[test]
fn a_sender_beyond_its_share_is_dropped_and_others_are_not() {
    play(
        "a_sender_beyond_its_share_is_dropped_and_others_are_not",
        crowded::CABLES,
        crowded::be_the_guarded_machine,
    );
}

#[test]
fn the_kernel_does_with_a_packet_what_explain_says() {
    play(
        "the_kernel_does_with_a_packet_what_explain_says",
        explained::CABLES,
        explained::be_the_guarded_machine,
    );
}

/// Plays the part that this process was given. The first of all, which was given none, starts the guarded machine, or
/// skips the test when `cables` says that this machine cannot stage it.
fn play(test: &'static str, cables: &str, guarded: fn(&'static str)) {
    match std::env::var_os(ROLE).as_deref().and_then(OsStr::to_str) {
        Some("prober") => probe::report_all(),
        Some("neighbour") => neighbour::stay(),
        Some("guarded") => guarded(test),
        Some(role) => panic!("there is no role {role}"),
        None => {
            if !nft_or_skip(test) || !cables_or_skip(test, cables) {
                return;
            }
            let output = again(test, "guarded", &["unshare", "--map-root-user", "--net"])
                .output()
                .expect("unshare runs");
            let words =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words}");
            println!("{words}");
            assert!(
                words.contains("1 passed"),
                "the inner test did not run: {words}"
            );
        }
    }
}

/// This test again, behind `prefix`, in another role.
fn again(test: &str, role: &str, prefix: &[&str]) -> Command {
    let mut command = Command::new(prefix[0]);
    command
        .args(&prefix[1..])
        .arg(std::env::current_exe().expect("a test knows its binary"))
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .env("PATH", search_path());
    command
}

fn cables_or_skip(test: &str, cables: &str) -> bool {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-ec", cables])
        .env("PATH", search_path())
        .output()
        .expect("unshare runs, nft was asked through it");
    if !output.status.success() {
        skip(test, &String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

/// Probes until nothing is silent. Were it not so without a firewall, silence behind one would prove nothing.
fn wait_until_all_answer(mut probe: impl FnMut() -> Reports) {
    let deadline = Instant::now() + PATIENCE;
    let mut open = probe();
    while open.values().any(|answer| answer != probe::ANSWERED) {
        assert!(Instant::now() < deadline, "without a firewall: {open:?}");
        open = probe();
    }
}

fn listen(ports: &[u16]) -> Vec<TcpListener> {
    let listen = |port: &u16| {
        TcpListener::bind(("::", *port)).expect("nobody else listens in a namespace of ours")
    };
    ports.iter().map(listen).collect()
}

fn nft(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(text.as_bytes())
        .expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "{text}");
}

fn sh(script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{script}");
}
