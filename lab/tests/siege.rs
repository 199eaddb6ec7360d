//! Visitors who mean no good, and rules that are replaced while others play.

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::load::Load;
use common::scenario::{SITE, Scenario, block_on, skip};
use common::{Connection, Visitor, eventually, programs};

const BALANCER: &str = "198.18.2.2";

/// What the firewall on `fw` has counted.
fn counter(scenario: &Scenario, name: &str) -> u64 {
    let said = scenario.exec("fw", &["nft", "list", "counter", "inet", "quizstack", name]);
    let mut words = said
        .split_whitespace()
        .skip_while(|word| *word != "packets");
    words.nth(1).unwrap().parse().unwrap()
}

fn firewall(scenario: &Scenario, arguments: &[&str]) -> std::process::Output {
    let program = programs().join("quiz-firewall");
    let command: Vec<&str> = [program.to_str().unwrap()]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    scenario.output("fw", &command)
}

#[test]
fn rules_are_replaced_two_hundred_times_under_load_and_no_request_fails() {
    let name = "rules_are_replaced_two_hundred_times_under_load_and_no_request_fails";
    let Some(scenario) = Scenario::create(name, 2) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let policy = std::fs::read_to_string(
        scenario
            .lab()
            .folder()
            .path()
            .join("hosts/fw/firewall.toml"),
    )
    .unwrap();
    let files = ["one", "two", "broken"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&files[0], &policy).unwrap();
    std::fs::write(&files[1], policy.clone() + "[ping]\nrate_per_second = 21\n").unwrap();
    std::fs::write(&files[2], policy + "[pings]\n").unwrap();

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visitors = scope.spawn(|| {
            scenario.on("c1", async || {
                let address = format!("{BALANCER}:80").parse().unwrap();
                let mut old = Connection::open(address).await;
                old.get("/quizzes").await;
                let visitor = Visitor::new(SITE.to_owned());
                let load = Load::new(&visitor, &["/quizzes", "/quizzes/1/play"]);
                let failures = load.during(async {
                    eventually("the rules have been replaced", async || {
                        over.load(Ordering::Relaxed)
                    })
                    .await;
                });
                assert_eq!(failures.await, Vec::<String>::new());
                old.get("/quizzes").await;
            });
        });
        for turn in 0..200 {
            let applied = firewall(&scenario, &["apply", &files[turn % 2]]);
            assert!(applied.status.success(), "{applied:?}");
        }
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = visitors.join() {
            std::panic::resume_unwind(panic);
        }
    });
    // The last of the two hundred was the second.
    assert!(!firewall(&scenario, &["apply", &files[2]]).status.success());
    assert!(firewall(&scenario, &["plan", &files[1]]).status.success());
}

/// Requests of a player in one measurement.
const REQUESTS: usize = 300;
/// A flood may not make the player's slowest hundredth slower than this many times.
const SLOWER: u32 = 2;
/// Noise of the machine makes a measurement worse and never better: one of so many pairs has to be good.
const PAIRS: usize = 6;

/// The 99th percentile of a player's requests, none of which may fail.
async fn p99() -> Duration {
    let visitor = Visitor::new(SITE.to_owned());
    let mut took = Vec::new();
    for number in 0..REQUESTS {
        let path = if number % 2 == 0 {
            "/quizzes/1/play"
        } else {
            "/quizzes/1/check?answer=Rome"
        };
        let begun = Instant::now();
        visitor.page(path).await;
        took.push(begun.elapsed());
    }
    took.sort();
    took[REQUESTS * 99 / 100]
}

/// Something that goes on until it is dropped.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Packets from `c2` to the balancer, so many a second, and never more than half a minute of them.
fn flood(scenario: &Scenario, kind: &[&str], per_second: u32) -> Flood {
    let mut command: Command = scenario.lab().command("c2").unwrap();
    let (rate, count) = (per_second.to_string(), (per_second * 30).to_string());
    command
        .args(["nping", "-N", "-HN", "-q", "--rate", &rate, "-c", &count])
        .args(kind)
        .arg(BALANCER)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Flood(command.spawn().unwrap())
}

/// While `trouble` is on, a player on `c1` notices nothing of it, and `counted` at the firewall goes up.
fn the_player_notices_nothing<T>(
    scenario: &Scenario,
    what: &str,
    counted: &str,
    trouble: impl Fn() -> T,
) {
    scenario.on("c1", async || p99().await);
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let quiet = scenario.on("c1", async || p99().await);
        let before = counter(scenario, counted);
        let on = trouble();
        block_on(eventually("the firewall drops some of it", async || {
            counter(scenario, counted) > before
        }));
        let flooded = scenario.on("c1", async || p99().await);
        drop(on);
        println!(
            "{what}: p99 {quiet:?}, meanwhile {flooded:?}, {counted} +{}",
            counter(scenario, counted) - before
        );
        pairs.push((quiet, flooded));
        if flooded <= quiet * SLOWER {
            return;
        }
    }
    panic!("{what}: {pairs:?}");
}

#[test]
fn floods_and_hoarding_by_one_visitor_are_dropped_and_another_plays_on() {
    let name = "floods_and_hoarding_by_one_visitor_are_dropped_and_another_plays_on";
    if Command::new("nping").arg("--version").output().is_err() {
        return skip(name, "nping (package nmap) is not installed");
    }
    let Some(scenario) = Scenario::create(name, 2) else {
        return;
    };
    let syn = ["--tcp", "--flags", "syn", "-p", "80"];
    the_player_notices_nothing(&scenario, "SYN flood", "dropped_rate", || {
        flood(&scenario, &syn, 10_000)
    });
    the_player_notices_nothing(&scenario, "ping flood", "dropped_ping", || {
        flood(&scenario, &["--icmp"], 5_000)
    });
    the_player_notices_nothing(&scenario, "hoarding", "dropped_connections", || {
        hoard(&scenario)
    });
}

/// So many connections of one visitor: more than the firewall allows it.
const HOARD: usize = 2_300;

fn hoard(scenario: &Scenario) -> Vec<std::net::TcpStream> {
    scenario.on("c2", async || {
        let address: std::net::SocketAddr = format!("{BALANCER}:80").parse().unwrap();
        let open = async || {
            let connect = tokio::net::TcpStream::connect(address);
            let connected = tokio::time::timeout(Duration::from_secs(2), connect).await;
            connected.ok()?.ok()?.into_std().ok()
        };
        let all = futures::future::join_all((0..HOARD).map(|_| open())).await;
        all.into_iter().flatten().collect()
    })
}
