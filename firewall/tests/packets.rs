//! The ruleset against packets: a visitor in one network namespace, the machine it guards in another, a cable between.
//!
//! Each test starts its own binary twice more, once in each namespace, and tells it by `QUIZ_FIREWALL_TEST_ROLE` which
//! part to play. Both namespaces end with the processes in them, also when a test fails or is killed.

#[expect(dead_code, reason = "each test binary uses its own part")]
mod common;
#[path = "packets/probe.rs"]
mod probe;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{nft_or_skip, skip};
use quiz_firewall::nft::search_path;
use quiz_firewall::nft_text;

const TEST: &str = "a_visitor_reaches_the_web_port_and_ping_and_nothing_else";
const ROLE: &str = "QUIZ_FIREWALL_TEST_ROLE";
/// A port that a container engine publishes by redirecting it to the web port.
const PUBLISHED: u16 = 9999;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_visitor_reaches_the_web_port_and_ping_and_nothing_else() {
    match std::env::var_os(ROLE)
        .as_deref()
        .and_then(std::ffi::OsStr::to_str)
    {
        Some("visitor") => probe::report_all(),
        Some("guarded") => be_the_guarded_machine(),
        Some(role) => panic!("there is no role {role}"),
        None => {
            if !nft_or_skip(TEST) || !cables_or_skip() {
                return;
            }
            let output = myself("guarded", &["unshare", "--map-root-user", "--net"])
                .output()
                .expect("unshare runs");
            let words =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words}");
            assert!(
                words.contains("1 passed"),
                "the inner test did not run: {words}"
            );
        }
    }
}

/// This test again, behind `prefix`, in another role.
fn myself(role: &str, prefix: &[&str]) -> Command {
    let mut command = Command::new(prefix[0]);
    command
        .args(&prefix[1..])
        .arg(std::env::current_exe().expect("a test knows its binary"))
        .args(["--exact", TEST, "--nocapture"])
        .env(ROLE, role)
        .env("PATH", search_path());
    command
}

fn cables_or_skip() -> bool {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "sh", "-ec"])
        .arg("nsenter --version; ip link add name v0 type veth peer name v1; ip -6 address add ::2/64 dev v0")
        .env("PATH", search_path())
        .output()
        .expect("unshare runs, nft was asked through it");
    if !output.status.success() {
        skip(TEST, &String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn be_the_guarded_machine() {
    let visitor = Visitor::plug_in();
    let listeners: Vec<TcpListener> = probe::TCP_PORTS
        .into_iter()
        .filter(|port| *port != PUBLISHED)
        .map(|port| TcpListener::bind(("::", port)).expect("the namespace is ours alone"))
        .collect();
    serve_udp_echo();
    nft(&format!(
        "table inet engine {{ chain publish {{ type nat hook prerouting priority dstnat; tcp dport {PUBLISHED} redirect to :80; }}; }}"
    ));

    // Without a firewall everything answers. Were it not so, silence later on would prove nothing.
    let deadline = Instant::now() + PATIENCE;
    let mut open = visitor.probe();
    while open.values().any(|answer| answer == "silent") && Instant::now() < deadline {
        open = visitor.probe();
    }
    assert_eq!(open, expected(|_| true), "without a firewall");

    nft(
        &nft_text("[web]\nport = 80\n[ping]\nrate_per_second = 1\nburst_packets = 10\n")
            .expect("sound"),
    );
    let guarded = visitor.probe();
    assert_eq!(
        guarded,
        expected(|name| name.starts_with("ping ") || name.ends_with(" 80")),
        "behind the firewall"
    );

    errors_about_our_own_traffic_come_in();
    drop(listeners);
}

/// What each probe should report. A flood of pings is answered in full only where all else is.
fn expected(answers: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let word = |name: &str| if answers(name) { "answered" } else { "silent" };
    probe::names()
        .into_iter()
        .map(|name| (name.clone(), word(&name).to_owned()))
        .collect()
}

fn serve_udp_echo() {
    let socket = UdpSocket::bind(("::", probe::UDP_PORT)).expect("the namespace is ours alone");
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A send can fail while the visitor's address is not yet known; it asks again.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// A datagram of ours to a closed port draws an ICMP error, which must reach us: path MTU discovery rides on the same.
fn errors_about_our_own_traffic_come_in() {
    for (ours, theirs) in [
        ("0.0.0.0:0", "198.18.2.1:4"),
        ("[::]:0", "[fd00:18:2::1]:4"),
    ] {
        let socket = UdpSocket::bind(ours).expect("a free port");
        socket
            .connect(theirs.parse::<SocketAddr>().expect("an address"))
            .expect("a route");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        socket.send(b"anybody there?").expect("it is sent");
        let error = socket.recv(&mut [0; 8]).expect_err("nobody answers");
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "{theirs}"
        );
    }
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
    assert!(child.wait().expect("nft ends").success());
}

fn sh(script: &str) {
    let status = Command::new("sh")
        .args(["-ec", script])
        .status()
        .expect("sh runs");
    assert!(status.success(), "{script}");
}

/// The visitor's namespace, at the other end of a cable. It lives as long as the process that holds it, and that one
/// reads from a pipe of ours, so it ends with us however we end.
struct Visitor {
    holder: Child,
}

impl Visitor {
    fn plug_in() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let visitor = Self { holder };
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let deadline = Instant::now() + PATIENCE;
        while namespace(&visitor.pid()) == namespace("self") {
            assert!(
                Instant::now() < deadline,
                "the visitor's namespace did not come up"
            );
            std::thread::yield_now();
        }
        let pid = visitor.pid();
        sh(&format!(
            "ip link set lo up
             ip link add name guarded type veth peer name visitor netns {pid}
             ip address add 198.18.2.2/24 dev guarded
             ip address add fd00:18:2::2/64 dev guarded nodad
             ip link set guarded up
             nsenter --net=/proc/{pid}/ns/net sh -ec '
               ip address add 198.18.2.1/24 dev visitor
               ip address add fd00:18:2::1/64 dev visitor nodad
               ip link set visitor up'"
        ));
        visitor
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// Lets the visitor try everything, and returns what each probe reported.
    fn probe(&self) -> BTreeMap<String, String> {
        let namespace = format!("--net=/proc/{}/ns/net", self.pid());
        let output = myself("visitor", &["nsenter", &namespace])
            .output()
            .expect("nsenter runs");
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
}

impl Drop for Visitor {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to clean up.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
