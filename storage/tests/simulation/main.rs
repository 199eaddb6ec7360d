//! Three nodes on simulated machines in one thread: a seed decides how the network, the disks and the clocks behave and
//! what clients do. What clients saw has to be what one store would have shown that does one thing at a time.
//!
//! `STORAGE_SIMULATION_SEEDS` is how many seeds are tried, `STORAGE_SIMULATION_SEED` is the first.
//!
//! Each seed has a process of its own: the order in which a dying node closes its connections depends on the numbers of
//! its tasks, which `tokio` counts from the start of the process.

#[path = "../chaos/history.rs"]
mod history;

mod client;
mod cluster;
mod judge;
mod nemesis;

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::Command;
use std::sync::Mutex;

use cluster::{Cluster, Told, UNKNOWN};

/// Seeds tried when nobody says otherwise.
const SEEDS: u64 = 50;
/// What comes before the line that a process ends with.
const TOLD: &str = "told: ";

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var_os(variable);
    given.map_or(default, |given| given.to_str().unwrap().parse().unwrap())
}

/// What came of one seed. `fsync`: whether nodes wait for their disks.
fn run(seed: u64, fsync: bool) -> Told {
    let mut one = Command::new(std::env::current_exe().unwrap());
    one.args(["one_seed", "--exact", "--ignored", "--nocapture"]);
    one.env("STORAGE_SIMULATION_SEED", seed.to_string());
    one.env("STORAGE_SIMULATION_FSYNC", u8::from(fsync).to_string());
    let ran = one.output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    let told = text.lines().find_map(|line| line.split_once(TOLD));
    let told = told.and_then(|(_, told)| serde_json::from_str(told).ok());
    told.unwrap_or_else(|| Told {
        wrong: vec![
            text.into_owned(),
            String::from_utf8_lossy(&ran.stderr).into(),
        ],
        ..Told::default()
    })
}

/// What came of many seeds.
#[derive(Default)]
struct Tried {
    seeds: u64,
    /// What is wrong, seed by seed.
    wrong: Vec<String>,
    counts: BTreeMap<String, u64>,
}

impl Tried {
    /// Tries `seeds`, two at a time.
    fn all(seeds: Range<u64>, fsync: bool) -> Self {
        let (count, tried) = (seeds.end - seeds.start, Mutex::new(Self::default()));
        let seeds = Mutex::new(seeds);
        let work = || {
            let next = || seeds.lock().unwrap().next();
            while let Some(seed) = next() {
                let told = run(seed, fsync);
                let mut tried = tried.lock().unwrap();
                tried.note(seed, told);
                if tried.seeds.is_multiple_of(100) {
                    println!("{} of {count} seeds", tried.seeds);
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
        });
        tried.into_inner().unwrap()
    }

    fn note(&mut self, seed: u64, told: Told) {
        self.seeds += 1;
        for (what, times) in told.counts {
            *self.counts.entry(what).or_default() += times;
        }
        if !told.wrong.is_empty() {
            let again = format!("STORAGE_SIMULATION_SEED={seed} STORAGE_SIMULATION_SEEDS=1");
            println!("seed {seed} went wrong; {again} runs it again");
            let wrong = told.wrong.join("\n");
            self.wrong.push(format!("seed {seed}:\n{wrong}"));
        }
    }
}

#[test]
fn whatever_fails_clients_see_one_store_that_loses_nothing() {
    let first = number("STORAGE_SIMULATION_SEED", 1);
    let seeds = first..first + number("STORAGE_SIMULATION_SEEDS", SEEDS);
    let tried = Tried::all(seeds.clone(), true);
    println!("seeds {seeds:?}: {:#?}", tried.counts);
    assert!(tried.wrong.is_empty(), "{}", tried.wrong.join("\n"));
    // Clients were answered all the while, and many seeds together met every kind of trouble.
    let (operations, unknown) = (tried.counts["operations"], tried.counts[UNKNOWN]);
    assert!(operations > 50 * tried.seeds && unknown < operations / 4);
    assert!(tried.counts["listings"] > tried.seeds);
    let met = tried.counts.len() - cluster::COUNTED;
    assert!(tried.seeds < SEEDS || met == nemesis::KINDS, "{met}");
}

#[test]
fn a_seed_decides_everything() {
    for seed in 1..=4 {
        let (first, second) = (run(seed, true), run(seed, true));
        assert!(first.counts["operations"] > 50, "{first:?}");
        assert_eq!(first, second);
    }
}

/// What is wrong with a store that has lost something, as opposed to one that cannot be tried.
const LOST: [&str; 5] = [
    "is not linearizable",
    "it should be there",
    "cannot be read in the end",
    "the folders are not the same",
    "is not what was read in the end",
];

#[test]
fn nodes_that_do_not_wait_for_their_disks_are_found_out() {
    let tried = Tried::all(1..5, false);
    let wrong = tried.wrong.join("\n");
    assert!(LOST.iter().any(|lost| wrong.contains(lost)), "{wrong}");
    // They served, before anything was lost.
    assert!(tried.counts["operations"] > 300, "{:?}", tried.counts);
}

#[test]
#[ignore = "what the others run in a process of its own"]
fn one_seed() {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .init();
    }
    let seed = number("STORAGE_SIMULATION_SEED", 1);
    let fsync = number("STORAGE_SIMULATION_FSYNC", 1) == 1;
    let mut cluster = Cluster::new(seed, fsync);
    cluster.run();
    println!("{TOLD}{}", serde_json::to_string(&cluster.end()).unwrap());
}
