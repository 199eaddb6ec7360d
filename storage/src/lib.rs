//! Storage node of Quizstack: an S3 subset kept on three nodes.
//!
//! Three of these processes, each with a folder of its own, hold every object. A write is acknowledged when two have
//! it on disk; reads and writes go on with any one of them down or frozen. Per key, put, get, delete and conditional
//! put are linearizable. Any node serves any request.
//!
//! # The life of a write
//! 1. `serve` takes the connection; `s3s` checks the signature and calls `api`, which checks limits and takes an
//!    upload place before it reads the body (`api`'s `upload`), piece by piece, adding up what it must add up to
//!    (`sums`).
//! 2. `coordinator` begins a `fanout` of the bytes to all three replicas (`replica`: this `node` directly, the others
//!    through `peer` and their `rpc`); each writes a file, syncs it and names it (`blobs`). Two are enough to go on,
//!    and one that holds up the others is left behind.
//! 3. `round` runs a round of the register protocol: a quorum promises a `ballot`, shows the current `version`,
//!    the `conditions` are judged by it, and a quorum accepts the new version. The rules are in `register`, the
//!    rows in `index`, the conclusions in `quorum`.
//! 4. The client gets its answer; the third node's part goes on in the background.
//!
//! # The life of a read
//! `coordinator` asks all three for the version; when the first two agree, that is it, otherwise a round settles it.
//! The bytes come piece by piece from this node's disk, every block checked, or from a peer when they are not intact
//! here (`node`'s `bytes`).
//! `list` merges pages of two nodes, and of the third where they differ; what is still open is read.
//!
//! # The life of an upload in parts
//! `multipart` records the upload and each of its parts as registers of their own (`keys`), with the part's blob.
//! Completing writes one version of the object that lists the blobs.
//!
//! # The life of a missed change
//! `index`'s `feed` has one entry per changed key. `resync` pulls every peer's feed, and accepts what is newer there
//! than here; how far it has come is on disk on both sides, so every node knows at any time how many entries each of
//! the others has yet to look at.
//!
//! # A full disk
//! `blobs`' `space` knows how much is free beyond a reserve. A node without room refuses blobs and does all else; the
//! others know from its heartbeats, so that it is not sent what it would refuse. When two refuse, a put is answered
//! 507. `resync` fetches what a node had no room for once it has.
//!
//! # The life of a delete
//! A round writes a tombstone. `collect` asks all three whether they know of nothing else under the key, and when all
//! agree they drop the row; `sweep` removes the files that no row has
//! named for a while. A row in the making keeps its blobs.
//!
//! # A node that has forgotten
//! A node votes once another has recognised its folder (`standing`, `index`'s `members`). One whose folder was replaced or
//! set back is rebuilt from both others first (`rebuild`).
//!
//! # A damaged blob
//! Nothing of it is served, as every block is checked when it is read. Whoever meets it first, a reader or `scrub`,
//! replaces it by a peer's.
//!
//! # The operator's view
//! `admin` answers for all nodes from what each says of itself (`status`, `verify`); `cli` has the commands that ask it.
//!
//! # The machine
//! Files, connections, the clock and chance come from [`sys`], so that a simulation can take their place.
//!
//! # What this does not do
//! There are no versions of objects, no access lists, and nothing between nodes is encrypted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

mod admin;
mod api;
pub mod audit;
mod ballot;
mod blobs;
pub mod cli;
mod collect;
mod conditions;
pub mod config;
mod coordinator;
mod error;
pub mod failpoint;
mod fanout;
pub mod healthcheck;
mod human;
mod index;
mod keys;
mod list;
pub mod log;
mod metrics;
mod multipart;
mod node;
mod page;
mod peer;
mod quorum;
mod rebuild;
mod register;
mod replica;
mod resync;
mod round;
mod rpc;
mod scrub;
mod serve;
mod standing;
mod status;
pub mod superblock;
mod sweep;
pub mod sys;
mod tasks;
mod verify;
mod version;
mod wire;

use admin::Admin;
use config::Config;
use coordinator::Coordinator;
use metrics::{Counters, Metrics};
use node::{Disk, Node};
use peer::Peer;
use round::Cluster;
use serve::{Stop, serve};
use sys::net::TcpListener;
use tasks::Tasks;
use wire::Sealer;

/// Longest pause between two looks for uploads in parts that nobody completes.
const EXPIRY: Duration = Duration::from_secs(60 * 60);
/// Pause between two looks at how full the disk is.
const SPACE: Duration = Duration::from_secs(1);
/// Pause between two looks for what other nodes have begun to send and never ended.
const SWEEP: Duration = Duration::from_secs(10);

/// Longest pause between heartbeats as long as one of the two nodes does not vote yet, or has not met the other.
const STARTING: Duration = Duration::from_millis(100);

/// The three sockets of a node, bound by the caller.
pub struct Listeners {
    /// S3, for clients.
    pub s3: TcpListener,
    /// For the other nodes.
    pub peer: TcpListener,
    /// `/live`, `/ready`, `/metrics`.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds the addresses of `config`.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |address, variable: &str| {
            let bound = TcpListener::bind(address).await;
            bound.with_context(|| format!("cannot listen on {address} ({variable})"))
        };
        Ok(Self {
            s3: bind(config.listen, "STORAGE_LISTEN").await?,
            peer: bind(config.peer_listen, "STORAGE_PEER_LISTEN").await?,
            admin: bind(config.admin_listen, "STORAGE_ADMIN_LISTEN").await?,
        })
    }
}

/// Runs a node until `shutdown`, then finishes what is in flight within the grace period and cancels the rest. The
/// folder is closed when this returns, which takes as long as the disk takes for what it was already told to do.
pub async fn run(
    listeners: Listeners,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    config.validate()?;
    if !config.fsync {
        warn!(
            "STORAGE_FSYNC=false: acknowledged writes do not survive a power cut; for tests only"
        );
    }
    let sealer = Sealer::new(config.cluster_secret.expose());
    let tasks = Tasks::default();
    let counters = Counters::new().context("making counters")?;
    let metrics = Arc::new(Metrics::new(&counters).context("registering metrics")?);
    let node = open(&config, &sealer, tasks.clone(), counters).await?;
    let stop = Stop::default();

    let background = TaskTracker::new();
    heartbeats(&node, config.deadlines().heartbeat, &stop, &background);
    sweep(&node, &stop, &background);
    watch_space(&node, &stop, &background);
    let cluster = Arc::new(Cluster::new(Arc::clone(&node), config.deadlines()));
    resync(&cluster, &stop, &background);
    let rebuild = rebuild::watch(Arc::clone(&node));
    background.spawn(stop.drain.clone().run_until_cancelled_owned(rebuild));
    let collect = collect::collect(Arc::clone(&node), config.collect_after());
    background.spawn(stop.drain.clone().run_until_cancelled_owned(collect));
    let unused = sweep::sweep(Arc::clone(&node), config.sweep_after());
    background.spawn(stop.drain.clone().run_until_cancelled_owned(unused));
    let scrub = scrub::scrub(
        Arc::clone(&node),
        config.scrub_every(),
        config.scrub_bytes_per_sec,
    );
    background.spawn(stop.drain.clone().run_until_cancelled_owned(scrub));
    let store = Arc::new(Coordinator::new(cluster));
    expire(&store, config.upload_expiry(), &stop, &background);
    let s3 = api::Api::service(&config, store, Arc::clone(&metrics));
    let s3 = move |reset: serve::Reset| {
        let s3 = s3.clone();
        service_fn(move |request| api::respond(s3.clone(), reset.clone(), request))
    };
    let peer = TowerToHyperService::new(rpc::router(Arc::clone(&node), sealer, config.deadlines()));
    let admin = TowerToHyperService::new(admin::router(Admin {
        node: Arc::clone(&node),
        metrics,
        draining: stop.drain.clone(),
        comparing: Arc::new(Semaphore::new(1)),
    }));
    info!(node = node.id(), s3 = %listeners.s3.local_addr()?, "storage node {} is running", node.id());

    let connections = TaskTracker::new();
    let others = TaskTracker::new();
    let peers_and_admin = Stop {
        // Other nodes may still finish through this one, and health is asked until the end.
        drain: stop.close.clone(),
        close: stop.close.clone(),
    };
    let servers = TaskTracker::new();
    let slowest = config.read_min_bytes_per_sec;
    let clients = serve(listeners.s3, slowest, s3, stop.clone(), connections.clone());
    servers.spawn(clients);
    for (listener, service) in [(listeners.peer, peer), (listeners.admin, admin)] {
        let stop = peers_and_admin.clone();
        servers.spawn(serve(
            listener,
            slowest,
            move |_| service.clone(),
            stop,
            others.clone(),
        ));
    }
    drop(node);

    shutdown.await;
    info!("shutting down");
    drain(&stop, config.grace(), &connections, &tasks).await;
    for ended in [&servers, &others, &background] {
        ended.close();
        ended.wait().await;
    }
    info!("stopped");
    Ok(())
}

/// Opens this node's folder and its clients to the others.
async fn open(
    config: &Config,
    sealer: &Sealer,
    tasks: Tasks,
    counters: Counters,
) -> anyhow::Result<Arc<Node>> {
    let place = config.place.clone();
    let superblock = superblock::load(&place.dir, place.node)?;
    let others = config
        .peers
        .0
        .iter()
        .filter(|(node, _)| **node != place.node);
    let peer = |(node, address): (&u8, &String)| {
        let (address, sealer) = (address.clone(), sealer.clone());
        Arc::new(Peer::new(
            *node,
            address,
            place.node,
            sealer,
            config.deadlines(),
        ))
    };
    let peers: Vec<_> = others.map(peer).collect();
    let disk = Disk {
        fsync: config.fsync,
        reserve: config.reserve(),
        read_bytes: config.disk_read_bytes,
    };
    let opening = sys::blocking(move || {
        Node::open(
            place.node,
            &place.dir,
            superblock.store_id,
            disk,
            peers,
            tasks,
            counters,
        )
        .with_context(|| format!("cannot open {}", place.dir.display()))
    });
    Ok(Arc::new(opening.await.context("opening the folder")??))
}

/// Asks every peer for a sign of life, for ever.
fn heartbeats(node: &Arc<Node>, pause: Duration, stop: &Stop, tracker: &TaskTracker) {
    for peer in node.peers() {
        let (node, peer, stopped) = (Arc::clone(node), Arc::clone(peer), stop.close.clone());
        tracker.spawn(stopped.run_until_cancelled_owned(async move {
            loop {
                let pong = peer.ping(&node.folder()).await;
                if let Some(pong) = &pong {
                    node.heard(peer.node(), pong);
                }
                node.save_members().await;
                let starting = pong.is_some() && !node.counts_on(&peer);
                let pause = if starting { pause.min(STARTING) } else { pause };
                tokio::time::sleep(pause).await;
            }
        }));
    }
}

/// Pulls every peer's change feed, until the node stops taking requests.
fn resync(cluster: &Arc<Cluster>, stop: &Stop, tracker: &TaskTracker) {
    for peer in cluster.node().peers() {
        let pull = resync::pull(Arc::clone(cluster), Arc::clone(peer));
        let stopped = stop.drain.clone();
        tracker.spawn(stopped.run_until_cancelled_owned(pull));
    }
}

/// Deletes what other nodes have begun to send and never ended, for ever.
fn sweep(node: &Arc<Node>, stop: &Stop, background: &TaskTracker) {
    let (node, stopped) = (Arc::clone(node), stop.close.clone());
    background.spawn(stopped.run_until_cancelled_owned(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            node.sweep().await;
        }
    }));
}

/// Looks how full the disk is, for ever.
fn watch_space(node: &Arc<Node>, stop: &Stop, background: &TaskTracker) {
    let (node, stopped) = (Arc::clone(node), stop.close.clone());
    background.spawn(stopped.run_until_cancelled_owned(async move {
        loop {
            tokio::time::sleep(SPACE).await;
            node.look_at_space().await;
        }
    }));
}

/// Removes uploads in parts that nobody completes, for ever.
fn expire(store: &Arc<Coordinator>, age: Duration, stop: &Stop, background: &TaskTracker) {
    let (store, stopped) = (Arc::clone(store), stop.drain.clone());
    background.spawn(stopped.run_until_cancelled_owned(async move {
        loop {
            tokio::time::sleep(EXPIRY.min(age)).await;
            if let Err(error) = store.expire_uploads(age).await {
                debug!(%error, "cannot look for expired uploads now");
            }
        }
    }));
}

/// Stops taking requests, waits for those in flight and their background work, at most `grace`, then closes all.
async fn drain(stop: &Stop, grace: Duration, connections: &TaskTracker, tasks: &Tasks) {
    stop.drain.cancel();
    connections.close();
    let done = async || {
        connections.wait().await;
        tasks.wait().await;
    };
    let in_time = tokio::time::timeout(grace, done()).await.is_ok();
    stop.close.cancel();
    if !in_time {
        warn!("the grace period ended before all requests did");
        tasks.cancel();
        done().await;
    }
}
