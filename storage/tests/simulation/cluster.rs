//! Three machines, the network between them, and the clients.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use clap::Parser as _;
use quiz_storage::config::Config;
use quiz_storage::sys::simulated::{self, Machine, random_range};
use quiz_storage::{Listeners, superblock};
use turmoil::Sim;
use turmoil::net::TcpListener;

use crate::client::{Client, Records};
use crate::history::Outcome;
use crate::judge;
use crate::nemesis::Nemesis;

pub(crate) const ACCESS_KEY: &str = "test-key";
pub(crate) const SECRET_KEY: &str = "test-secret";
pub(crate) const S3: u16 = 9000;
pub(crate) const ADMIN: u16 = 9200;
const DIR: &str = "/data";
/// Clients of each node.
const CLIENTS: usize = 2;
/// How long things go wrong and how long they may take to be well again.
const RAGE: Duration = Duration::from_secs(15);
/// Longer than promises of rounds that came to nothing are kept: as long, they keep a tombstone.
const SETTLED: Duration = Duration::from_secs(150);
/// How long it may take to read everything in the end.
const READ: Duration = Duration::from_secs(600);

/// The settings of a node as the command line has them.
#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

fn config(node: usize, fsync: bool) -> Config {
    let node = node.to_string();
    let given = [
        ("--node", &*node),
        ("--dir", DIR),
        ("--peers", "1=node1:9100,2=node2:9100,3=node3:9100"),
        ("--cluster-secret", "0123456789abcdef0123456789abcdef"),
        ("--access-key-id", ACCESS_KEY),
        ("--secret-access-key", SECRET_KEY),
        ("--admin-listen", "0.0.0.0:9200"),
        // Tombstones, unused blobs and whole scrubs come and go while things go wrong.
        ("--collect-after-secs", "1"),
        ("--sweep-after-secs", "5"),
        ("--scrub-every-secs", "4"),
        ("--reserve-bytes", "4194304"),
        ("--reserve-percent", "0"),
    ];
    let given = given.iter().flat_map(|(name, value)| [*name, *value]);
    let mut config = Settings::parse_from(std::iter::once("quiz-storage").chain(given)).config;
    config.fsync = fsync;
    config
}

/// What happened in a run, which the seed decides.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Told {
    pub(crate) wrong: Vec<String>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// BLAKE3 of everything that clients did and saw, and when.
    pub(crate) history: String,
}

/// Three nodes and their clients.
pub(crate) struct Cluster {
    sim: Sim<'static>,
    machines: Vec<Machine>,
    nemesis: Nemesis,
    records: Rc<Records>,
    stop: Rc<Cell<bool>>,
    judged: Rc<RefCell<Vec<String>>>,
    wrong: Vec<String>,
}

pub(crate) fn name(node: usize) -> String {
    format!("node{node}")
}

impl Cluster {
    /// Nodes that wait for their disks, or do not.
    pub(crate) fn new(seed: u64, fsync: bool) -> Self {
        simulated::begin(seed);
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(RAGE + SETTLED + READ)
            .tcp_capacity(100_000)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(random_range(2..30)));
        let mut sim = builder.build();
        let hour = 3_600;
        let machines = (0..3).map(|_| Machine::new(random_range(-hour..=hour)));
        let machines: Vec<_> = machines.collect();
        for (machine, node) in machines.iter().zip(1..) {
            let machine = machine.clone();
            sim.host(name(node), move || serve(machine.clone(), node, fsync));
        }
        let records = Rc::new(Records::default());
        let stop = Rc::new(Cell::new(false));
        for client in 0..3 * CLIENTS {
            let host = format!("client{client}");
            let client = Client::new(client % 3 + 1, client / 3 == 0, Rc::clone(&records));
            let stop = Rc::clone(&stop);

            sim.client(host, async move {
                client.run(&stop).await;
                Ok(())
            });
        }
        Self {
            sim,
            machines,
            nemesis: Nemesis::new(RAGE),
            records,
            stop,
            judged: Rc::default(),
            wrong: Vec::new(),
        }
    }

    /// Runs to the end: clients work while things go wrong; then all is well again, and clients read it all.
    pub(crate) fn run(&mut self) {
        let mut judging = false;
        loop {
            match self.sim.step() {
                Ok(true) if judging => return,
                Ok(_) => {}
                Err(error) => {
                    self.wrong.push(format!("the simulation ended: {error}"));
                    return;
                }
            }
            self.nemesis.act(&mut self.sim, &self.machines);
            if !judging && self.sim.elapsed() >= RAGE {
                self.stop.set(true);
                judging = true;
                let (records, judged) = (Rc::clone(&self.records), Rc::clone(&self.judged));
                let deadline = RAGE + SETTLED;
                self.sim.client("judge", async move {
                    *judged.borrow_mut() = judge::look(&records, deadline).await;
                    Ok(())
                });
            }
        }
    }

    /// Looks at what happened, and at the disks.
    pub(crate) fn end(mut self) -> Told {
        self.wrong.append(&mut self.judged.borrow_mut());
        self.wrong.append(&mut self.records.wrong.borrow_mut());
        self.wrong.extend(self.records.history.borrow().wrong());
        for (machine, node) in self.machines.iter().zip(1..) {
            machine.kill();
            self.sim.crash(name(node));
        }
        if self.wrong.is_empty() {
            self.wrong = judge::compare(&mut self.sim, &self.machines, &self.records);
        }
        let mut counts = self.nemesis.counts();
        counts.insert("simulated seconds", self.sim.elapsed().as_secs());
        let history = self.records.history.borrow();
        let operations = || history.keys.values().flatten();
        let unknown = operations().filter(|o| o.outcome == Outcome::Unknown);
        counts.insert("operations", operations().count() as u64);
        counts.insert(UNKNOWN, unknown.count() as u64);
        counts.insert("listings", history.listings.len() as u64);
        let text = format!("{:?} {:?}", history.keys, history.listings);
        let history = blake3::hash(text.as_bytes()).to_hex().to_string();
        let named = |(what, times): (&str, u64)| (what.to_owned(), times);
        Told {
            wrong: self.wrong,
            counts: counts.into_iter().map(named).collect(),
            history,
        }
    }
}

/// What is counted beside trouble: simulated seconds, operations, those of unknown outcome, listings.
pub(crate) const COUNTED: usize = 4;
pub(crate) const UNKNOWN: &str = "operations of unknown outcome";

/// What runs on a machine.
async fn serve(machine: Machine, node: usize, fsync: bool) -> turmoil::Result {
    machine.boot();
    let config = config(node, fsync);
    let ended = async {
        superblock::init(&config.place.dir, config.place.node)?;
        let bind = |address: SocketAddr| {
            let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(any)
        };
        let listeners = Listeners {
            s3: bind(config.listen).await?,
            peer: bind(config.peer_listen).await?,
            admin: bind(config.admin_listen).await?,
        };
        quiz_storage::run(listeners, config, std::future::pending()).await
    };
    let ended: anyhow::Result<()> = ended.await;
    // Whatever it is, whoever looks after the node starts it again.
    tracing::warn!("node {node} ended: {:#}", ended.unwrap_err());
    machine.kill();
    Ok(())
}
