//! Three real processes, faults between and upon them, and clients whose history has to be that of one store that does
//! one thing at a time.
//!
//! `STORAGE_CHAOS_SECS` is how long each run lasts, `STORAGE_CHAOS_SEED` makes it another. The seed decides what goes
//! wrong and what clients do; what then happens also depends on the machine.

mod history;
mod nemesis;
mod nodes;
mod proxy;
mod reply;
mod workload;

use std::sync::Arc;
use std::time::Duration;

use history::Value;
use nemesis::{Fault, Nemesis, Trouble};
use nodes::Nodes;
use quiz_storage::audit::Audit;
use tokio::task::JoinSet;
use workload::{Ended, Request, Workload, body};

/// Clients of each node.
const CLIENTS: usize = 3;
/// Seconds that a run lasts when nobody says otherwise.
const SECS: u64 = 30;
/// No request through a healthy node takes longer while another is dead or frozen.
const SECOND: Duration = Duration::from_secs(1);
/// Unless the machine is so busy that one in a hundred takes this part of a second with nothing wrong: then all that can be
/// told apart is who waited for the other node, which takes a deadline of the nodes.
const BUSY: u32 = 4;
const DEADLINE: Duration = Duration::from_secs(3);
/// Fewer requests than this while a node is dead, or frozen, say nothing about the longest.
const ENOUGH: usize = 50;
/// One in so many writes may end in a reset connection, that is, of unknown outcome. A write that others overtook cannot
/// tell what became of it when the key's tombstone is collected at that moment, which here is all the time, or the nodes
/// are fenced for one that is rebuilt.
const UNKNOWN: usize = 100;
/// Tombstones are collected and blobs deleted soon, so that both happen while things go wrong. Nothing waits for the
/// disk: only a power cut would show that. Nodes wait for each other long, so that whoever waits for a dead or frozen
/// one shows, and a busy machine does not.
const SETTINGS: [(&str, &str); 6] = [
    ("STORAGE_RPC_DEADLINE_MS", "3000"),
    ("STORAGE_BLOB_DEADLINE_MS", "3000"),
    ("STORAGE_FSYNC", "false"),
    ("STORAGE_HEARTBEAT_MS", "100"),
    ("STORAGE_COLLECT_AFTER_SECS", "1"),
    ("STORAGE_SWEEP_AFTER_SECS", "5"),
];

/// One run: clients work while things go wrong; then all is well again, and what happened is looked at.
struct Run {
    ended: Ended,
    troubles: Vec<Trouble>,
    audits: Vec<Audit>,
    logs: String,
}

impl Run {
    async fn new(seed: u64, double: bool, time: Duration, stale: bool) -> Self {
        println!("seed {seed}: STORAGE_CHAOS_SEED={seed} runs it again");
        let mut nodes = Nodes::start(&SETTINGS).await;
        let clients = Arc::new(Workload::new(nodes.endpoints(), stale));
        let mut tasks = JoinSet::new();
        for client in 0..3 * CLIENTS {
            let (clients, seed) = (Arc::clone(&clients), seed << 8 | client as u64);
            tasks.spawn(async move { clients.client(client % 3, seed).await });
        }
        let lister = Arc::clone(&clients);
        tasks.spawn(async move { lister.lister(seed << 8 | 255).await });
        let troubles = if stale {
            tokio::time::sleep(time).await;
            Vec::new()
        } else {
            let mut nemesis = Nemesis::new(seed, double);
            nemesis.rage(&mut nodes, &clients, time).await
        };
        clients.stop();
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        nodes.wait_quiet().await;
        let clients = Arc::into_inner(clients).unwrap();
        Self {
            ended: clients.end().await,
            troubles,
            audits: nodes.audit(),
            logs: nodes.logs(),
        }
    }

    /// All that is wrong.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = self.ended.wrong.clone();
        wrong.extend(self.ended.history.wrong());
        let [first, others @ ..] = &self.audits[..] else {
            panic!("no audits");
        };
        for (audit, node) in self.audits.iter().zip(1..) {
            if !audit.broken.is_empty() {
                wrong.push(format!("node {node} has broken copies: {:?}", audit.broken));
            }
        }
        if others.iter().any(|other| other != first) {
            wrong.push(format!("the folders are not the same: {:#?}", self.audits));
        }
        for (key, last) in &self.ended.last {
            let hash = |value: &Value| *blake3::hash(&body(*value)).as_bytes();
            if first.objects.get(key).copied() != last.as_ref().map(hash) {
                wrong.push(format!("{key} is not on disk as it was read: {last:?}"));
            }
        }
        wrong
    }

    /// Requests through nodes that nothing was wrong with, while nothing or one thing was wrong elsewhere; and what.
    fn promised(&self) -> impl Iterator<Item = (&Request, Vec<Fault>)> {
        let requests = self.ended.requests.iter().filter(|r| !r.impatient);
        requests.filter_map(|request| {
            let during = |trouble: &&Trouble| {
                trouble.from <= request.returned && request.called <= trouble.until
            };
            let troubles = self.troubles.iter().filter(during);
            let faults: Vec<Fault> = troubles.flat_map(|t| t.faults.iter().copied()).collect();
            let promised = faults.len() <= 1 && !faults.iter().any(|f| f.hits(request.node));
            promised.then_some((request, faults))
        })
    }

    fn check(&self) {
        let wrong = self.wrong();
        let operations: usize = self.ended.history.keys.values().map(Vec::len).sum();
        let unknown = self.ended.history.keys.values().flatten();
        let unknown = unknown.filter(|o| o.outcome == history::Outcome::Unknown);
        println!(
            "{operations} operations ({} of unknown outcome) on {} keys, {} listings, {} faults",
            unknown.count(),
            self.ended.history.keys.len(),
            self.ended.history.listings.len(),
            self.troubles.len()
        );
        if !wrong.is_empty() {
            println!("{}", self.logs);
            panic!("{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var_os(variable);
    given.map_or(default, |given| given.to_str().unwrap().parse().unwrap())
}

fn time() -> Duration {
    Duration::from_secs(number("STORAGE_CHAOS_SECS", SECS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_node_in_trouble_at_a_time_the_store_is_linearizable_and_serves() {
    let run = Run::new(number("STORAGE_CHAOS_SEED", 1), false, time(), false).await;
    run.check();
    let promised: Vec<_> = run.promised().collect();
    let (unknown, failed): (Vec<_>, Vec<_>) = promised
        .iter()
        .filter(|(request, _)| request.failed.is_some())
        .partition(|(request, _)| request.is_unknown());
    let logs = if failed.is_empty() { "" } else { &run.logs };
    assert!(failed.is_empty(), "not served:\n{failed:#?}\n{logs}");
    let writes = promised.iter().filter(|(request, _)| request.write).count();
    let during: Vec<_> = unknown.iter().map(|(_, faults)| faults).collect();
    println!(
        "{} of {writes} writes of unknown outcome, during {during:?}",
        unknown.len()
    );
    assert!(unknown.len() * UNKNOWN <= writes, "{unknown:#?}");
    let quiet = Times::of(&promised, "nothing is wrong", |faults| faults.is_empty());
    let killed = Times::of(&promised, "another node is dead", |faults| {
        matches!(faults[..], [Fault::Killed(_)])
    });
    let frozen = Times::of(&promised, "another node is frozen", |faults| {
        matches!(faults[..], [Fault::Frozen(_)])
    });
    let busy = quiet.high * BUSY > SECOND;
    let longest = if busy { DEADLINE } else { SECOND };
    for times in [killed, frozen] {
        assert!(times.count >= ENOUGH, "too few to judge: {times:?}");
        assert!(times.slowest < longest, "{times:?}, not below {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_nodes_in_trouble_at_a_time_the_store_is_linearizable() {
    let run = Run::new(number("STORAGE_CHAOS_SEED", 2), true, time(), false).await;
    run.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_from_a_cache_are_found_out() {
    let run = Run::new(3, false, Duration::from_secs(2), true).await;
    let wrong = run.ended.history.wrong();
    let stale = wrong
        .iter()
        .any(|wrong| wrong.contains("is not linearizable"));
    assert!(stale, "{wrong:?}");
}

/// How long requests took.
#[derive(Debug)]
struct Times {
    count: usize,
    /// All but one in a hundred took less.
    high: Duration,
    slowest: Duration,
}

impl Times {
    /// Of those while `during` held of the faults; and says so.
    fn of(
        promised: &[(&Request, Vec<Fault>)],
        when: &str,
        during: impl Fn(&[Fault]) -> bool,
    ) -> Self {
        let requests = promised.iter().filter(|(_, faults)| during(faults));
        let took = requests.map(|(r, _)| Duration::from_micros(r.returned - r.called));
        let mut took: Vec<_> = took.collect();
        took.sort_unstable();
        let (count, slowest) = (took.len(), took.last().copied().unwrap_or_default());
        let at = |part: usize| took.get(count * part / 100).copied().unwrap_or_default();
        let (middle, high) = (at(50), at(99));
        println!(
            "when {when}: {count} requests, p50 {middle:.1?}, p99 {high:.1?}, slowest {slowest:.1?}"
        );
        Self {
            count,
            high,
            slowest,
        }
    }
}
