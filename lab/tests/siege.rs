//! Visitors who mean no good, and rules that are replaced while others play.

mod common;

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::load::Load;
use common::scenario::{SITE, Scenario, block_on};
use common::{Connection, Visitor, eventually, programs, skip};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const BALANCER: &str = "198.18.2.2";
/// Who measures has the machine alone, also where tests are threads of one process.
static ALONE: Mutex<()> = Mutex::new(());

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
    let _alone = ALONE.lock();
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
                let load = Load::new(&visitor, &["/quizzes", "/quizzes/1/play"]).at_most(200);
                let failures = load.during(async {
                    while !over.load(Ordering::Relaxed) {
                        load.more(100).await;
                        // Or the balancer would take it for forgotten.
                        old.get("/quizzes").await;
                    }
                });
                assert_eq!(failures.await, Vec::<String>::new());
            });
        });
        for turn in 0..200 {
            let applied = firewall(&scenario, &["apply", "--force", &files[turn % 2]]);
            assert!(applied.status.success(), "{applied:?}");
        }
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = visitors.join() {
            std::panic::resume_unwind(panic);
        }
    });
    // The last of the two hundred was the second.
    assert!(
        !firewall(&scenario, &["apply", "--force", &files[2]])
            .status
            .success()
    );
    assert!(firewall(&scenario, &["plan", &files[1]]).status.success());
}

/// Requests of a player in one measurement.
const REQUESTS: usize = 300;
/// A flood may not make the player's slowest hundredth slower than this many times.
const SLOWER: u32 = 2;
/// Noise of the machine makes a measurement worse and never better: the best of the quiet ones counts, and one of so many
/// under trouble has to be good.
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

/// So many packets of a flood and no more: some half minute of them.
const PACKETS: &str = "3000000";

/// Packets from `c2` to the balancer, as fast as `nping` can.
fn flood(scenario: &Scenario, kind: &[&str]) -> Flood {
    let mut command: Command = scenario.lab().command("c2").unwrap();
    command
        .args([
            "nping", "-N", "-HN", "-q", "--rate", "100000", "-c", PACKETS,
        ])
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
    goes_on: bool,
    trouble: impl Fn() -> T,
) {
    scenario.on("c1", async || p99().await);
    let dropped = || scenario.counter("fw", counted);
    let (mut quiet, mut pairs) = (Duration::MAX, Vec::new());
    for _ in 0..PAIRS {
        quiet = quiet.min(scenario.on("c1", async || p99().await));
        let before = dropped();
        let on = trouble();
        block_on(eventually("the firewall drops some of it", async || {
            dropped() > before
        }));
        let begun = dropped();
        let flooded = scenario.on("c1", async || p99().await);
        let meanwhile = dropped() - begun;
        drop(on);
        println!("{what}: p99 {quiet:?}, meanwhile {flooded:?}, {counted} +{meanwhile}");
        pairs.push((quiet, flooded));
        // A flood that was over before the player was is none.
        if flooded <= quiet * SLOWER && (meanwhile > 0 || !goes_on) {
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
    let _alone = ALONE.lock();
    let Some(scenario) = Scenario::create(name, 2) else {
        return;
    };
    let syn = ["--tcp", "--flags", "syn", "-p", "80"];
    the_player_notices_nothing(&scenario, "SYN flood", "dropped_rate", true, || {
        flood(&scenario, &syn)
    });
    the_player_notices_nothing(&scenario, "ping flood", "dropped_ping", true, || {
        flood(&scenario, &["--icmp"])
    });
    the_player_notices_nothing(&scenario, "hoarding", "dropped_connections", false, || {
        hoard(&scenario)
    });
}

/// So many connections of one visitor: more than the firewall allows it.
const HOARD: usize = 2_300;

fn hoard(scenario: &Scenario) -> Vec<std::net::TcpStream> {
    // The usual limit is less.
    let files = getrlimit(Resource::Nofile);
    let enough = files.maximum.or(Some(20_000)).map(|most| most.min(20_000));
    let files = Rlimit {
        current: enough,
        ..files
    };
    setrlimit(Resource::Nofile, files).unwrap();
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
