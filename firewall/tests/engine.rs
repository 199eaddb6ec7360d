//! The ruleset beside a real container engine, which writes rules of its own whenever a container starts.
//!
//! The test starts its own binary again on a stage ([`stage`]): namespaces in which the engine, its containers, the
//! machine under the policy and a neighbour of it live, and which end with the first process in them. It tells by
//! `QUIZ_FIREWALL_TEST_ROLE` which part to play.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;
#[path = "packets/probe.rs"]
mod probe;
#[expect(dead_code, reason = "the probes here are connections")]
#[path = "packets/raw.rs"]
mod raw;
#[path = "engine/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;
use std::time::{Duration, Instant};

use probe::{ANSWERED, SILENT};
use stage::{Engine, docker, sh};

const TEST: &str = "ports_that_a_container_engine_publishes_by_mistake_stay_closed";
const ROLE: &str = "QUIZ_FIREWALL_TEST_ROLE";
const PATIENCE: Duration = Duration::from_secs(20);

const POLICY: &str = r#"
topology = "container-host"
[networks.containers]
interfaces = ["br-*", "docker0"]
reach = ["everything"]
[web]
port = 80
"#;

const MACHINE: [&str; 2] = ["198.18.2.2", "fd00:18:2::2"];
const NEIGHBOUR: [&str; 2] = ["198.18.2.1", "fd00:18:2::1"];
const BALANCER: [&str; 2] = ["198.18.8.2", "fd00:18:8::2"];
const DATABASE: [&str; 2] = ["198.18.8.3", "fd00:18:8::3"];
/// What each container listens on beside its own port, and does not publish.
const UNPUBLISHED: u16 = 3000;
const AT_FIRST: &[u16] = &[80, 5432, 9100];
const LATER: &[u16] = &[80, 5432, 9100, 3306];

/// What became of each connection that was tried, by a name for it.
type Reports = BTreeMap<String, String>;

#[test]
fn ports_that_a_container_engine_publishes_by_mistake_stay_closed() {
    match std::env::var_os(ROLE).as_deref().and_then(OsStr::to_str) {
        Some("prober") => probe::report_all(),
        Some("machine") => be_the_machine(),
        Some(role) => panic!("there is no role {role}"),
        None => {
            if stage::can_be_built_or_skip(TEST) {
                stage::play(TEST);
            }
        }
    }
}

fn be_the_machine() {
    stage::build();
    let engine = Engine::start();
    stage::make_image_and_network();
    run("balancer", 80, &on_our_network(BALANCER));
    run("database", 5432, &on_our_network(DATABASE));
    run("exporter", 9100, "");
    // Were all this not open without the firewall, silence behind it would prove nothing.
    wait_until_all_answer("without a firewall", || from_outside(&everything(AT_FIRST)));
    wait_until_all_answer("without a firewall", from_inside);

    firewall(&format!("apply {}", stage::POLICY_FILE));
    expect_the_web_alone("behind the firewall", AT_FIRST);

    docker("restart balancer database exporter");
    run("another", 3306, "");
    expect_the_web_alone("after containers were started", LATER);

    engine.stop();
    let engine = Engine::start();
    expect_the_web_alone("after the engine was started again", LATER);
    // 0 only while the rules in force are those of the policy.
    firewall(&format!("status {}", stage::POLICY_FILE));

    firewall("remove");
    wait_until_all_answer("after the firewall was removed", || {
        from_outside(&everything(LATER))
    });
    engine.stop();
}

fn on_our_network([ip4, ip6]: [&str; 2]) -> String {
    format!("--network ours --ip {ip4} --ip6 {ip6}")
}

/// Starts a container that publishes `port`. It comes again when the engine does, and goes at once when told to.
fn run(name: &str, port: u16, options: &str) {
    docker(&format!(
        "run --detach --name {name} --restart always --stop-signal KILL --publish {port}:{port} {options} box \
         busybox sh -c 'busybox httpd -p {UNPUBLISHED}; exec busybox httpd -f -p {port}'"
    ));
}

fn firewall(command: &str) {
    let program = env!("CARGO_BIN_EXE_quiz-firewall");
    sh(&format!("ip netns exec machine '{program}' {command}"));
}

/// From outside the web port is reached and no other, and inside everything works as before.
fn expect_the_web_alone(when: &str, published: &[u16]) {
    let web = MACHINE.map(|address| format!("tcp {address} 80"));
    wait_until_all_answer(when, || from_outside(&web));
    wait_until_all_answer(when, from_inside);
    let names = everything(published);
    let word = |name| if web.contains(name) { ANSWERED } else { SILENT };
    let expected: Reports = names
        .iter()
        .map(|name| (name.clone(), word(name).to_owned()))
        .collect();
    assert_eq!(from_outside(&names), expected, "{when}");
}

/// What the neighbour tries: what is published, and the containers by their own addresses.
fn everything(published: &[u16]) -> Vec<String> {
    let of_machine = MACHINE
        .into_iter()
        .flat_map(|address| published.iter().map(move |port| (address, *port)));
    let directly = [(BALANCER, 80), (DATABASE, 5432)]
        .into_iter()
        .flat_map(|(addresses, port)| {
            addresses.map(|address| [port, UNPUBLISHED].map(|port| (address, port)))
        })
        .flatten();
    of_machine
        .chain(directly)
        .map(|(address, port)| format!("tcp {address} {port}"))
        .collect()
}

/// Lets the neighbour try these probes.
fn from_outside(names: &[String]) -> Reports {
    let output = stage::again(TEST, "prober", &["ip", "netns", "exec", "neighbour"])
        .env(probe::NAMES, names.join(","))
        .output()
        .expect("ip runs");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{words}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let reports = words
        .lines()
        .filter_map(|line| line.split_once(probe::MARK)?.1.split_once(": "));
    reports
        .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
        .collect()
}

/// Lets containers connect to the neighbour, from either network of theirs, and to another of the same network.
fn from_inside() -> Reports {
    let ways = [
        ("database", NEIGHBOUR),
        ("exporter", NEIGHBOUR),
        ("database", BALANCER),
    ];
    let tries = ways
        .into_iter()
        .flat_map(|(container, addresses)| addresses.map(|address| (container, address)));
    tries
        .map(|(container, address)| {
            let connects = Command::new("docker")
                .args(["--host", stage::SOCKET, "exec", container])
                .args(["busybox", "nc", "-w", "2", address, "80"])
                .output()
                .expect("docker runs");
            let word = if connects.status.success() {
                ANSWERED
            } else {
                SILENT
            };
            (format!("{container} to {address}"), word.to_owned())
        })
        .collect()
}

fn wait_until_all_answer(when: &str, mut attempt: impl FnMut() -> Reports) {
    let deadline = Instant::now() + PATIENCE;
    let mut reports = attempt();
    while reports.values().any(|answer| answer != ANSWERED) {
        assert!(
            Instant::now() < deadline,
            "{when}: {reports:?}\n{}",
            stage::log()
        );
        reports = attempt();
    }
}
