//! Load balancer of Quizstack: one address in front of many quiz front-ends, on Pingora.
//!
//! # The life of one request
//!
//! 1. `server.rs` accepts the connection if there is room ([`descriptors`]) and its address has not too many
//!    ([`addresses`], [`proxy_header`]), wraps it (`downstream.rs`, which ends slow requests by `pace.rs`; `http2.rs` if
//!    that is spoken) and hands each request on it to Pingora.
//! 2. [`proxy`] refuses what is over the limits, and what could be read in two ways ([`framing`]). What [`cache`] has, or
//!    another request is about to bring there, is sent from there. All else takes a place on the backend whose turn it is
//!    ([`pool`], [`selection`]), or waits for one ([`queue`]).
//! 3. [`forward`] replaces what strangers claim about the client; the request goes to that backend.
//! 4. If the backend fails, [`life`] holds it against it, and [`retry`] and [`budget`] decide whether another one is
//!    tried. If it is lost meanwhile, `recall.rs` calls the request back.
//! 5. The reply gets its request id and the backend's address, and is compressed if that is worth it ([`compression`]). When nobody could answer, [`error_page`] does.
//! 6. [`metrics`] counts it, [`access_log`] writes it down; [`admin`] shows the counts on a port of its own and takes orders there; [`ctl`] sends them, and
//!    [`healthcheck`] asks whether it is ready.
//!
//! A new process can take the place of a running one ([`upgrade`]). Behind a firewall in the same network namespace, it begins
//! when that is in force and ends when it has gone elsewhere ([`namespace`]).
//!
//! Beside the requests, [`discovery`] keeps the list of backends and [`health`] finds out who is ready. A backend
//! gets no request before its `/ready` has answered 200.
//!
//! # What it does not do
//!
//! It keeps nothing on disk, knows nothing of quizzes or sessions, talks TLS only to visitors and only if it was built to,
//! and never repeats a request that may have changed something.

pub mod access_log;
pub mod addresses;
pub mod admin;
pub mod budget;
pub mod cache;
pub mod compression;
pub mod config;
pub mod ctl;
pub mod descriptors;
pub mod discovery;
pub mod dns;
mod downstream;
mod episode;
pub mod error_page;
pub mod forward;
pub mod framing;
pub mod health;
pub mod healthcheck;
mod http2;
pub mod latency;
pub mod life;
mod listeners;
pub mod metrics;
pub mod namespace;
mod outbox;
mod pace;
pub mod pool;
pub mod proxy;
pub mod proxy_header;
pub mod queue;
mod recall;
pub mod retry;
pub mod selection;
mod server;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls/absent.rs"]
mod tls;
pub mod upgrade;
mod wire;

use std::{collections::BTreeMap, future::Future, sync::Arc};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time,
};
use tracing::{error, info, warn};

use crate::{
    access_log::AccessLog,
    addresses::Addresses,
    admin::Admin,
    cache::Cache,
    config::{Config, reload},
    descriptors::{ADMIN_CONNECTIONS, Budget},
    discovery::Discovery,
    health::Health,
    metrics::Metrics,
    pool::Pool,
    proxy::Proxy,
    server::{House, Manner, serve},
    tls::Tls,
    upgrade::{Handover, catch_up, catch_up_late, hand_over},
};

pub use listeners::Listeners;

/// What the parts of a running balancer share.
struct Balancer {
    pools: BTreeMap<String, Arc<Pool>>,
    clients: Arc<ArcSwap<config::Clients>>,
    metrics: Arc<Metrics>,
    access: Arc<AccessLog>,
    cache: Arc<Cache>,
    draining: watch::Receiver<bool>,
    budget: Budget,
    /// By the name of the listener.
    certificates: BTreeMap<String, Arc<Tls>>,
}

/// Balances until `shutdown` completes, then drains: no new connections, requests in flight finish, and the
/// function returns as soon as nothing is left, or when the grace period is over. What `reloads` brings meanwhile is
/// adopted without dropping a connection.
pub async fn run(
    mut config: Config,
    mut listeners: Listeners,
    mut reloads: mpsc::Receiver<Config>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (drain, draining) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let balancer = Balancer::new(&config, draining)?;
    let mut shutdown = std::pin::pin!(shutdown);
    // Dropped at the end of this function, and all of it stops with it.
    let mut background = JoinSet::new();
    let mut public = JoinSet::new();
    balancer.spawn_upkeep(&mut background);
    let predecessor = listeners.predecessor.take();
    if let Some(predecessor) = &predecessor {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            late = catch_up(predecessor, &balancer.pools, config.process.grace) => {
                background.spawn(catch_up_late(late?, balancer.pools.clone()));
            }
        }
    }
    let mut successor = JoinSet::new();
    if let Some(handover) = balancer.offer(&config, &listeners)? {
        successor.spawn(hand_over(handover));
    }
    balancer.announce(&listeners)?;
    balancer.spawn_admin(&config.admin, listeners.admin, leaving, &mut background);
    balancer.spawn_public(&config, listeners.public, &mut public);
    if let Some(predecessor) = predecessor {
        predecessor.relieve();
    }

    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(wanted) = reloads.recv() => config = balancer.adopt(&config, wanted),
            // Operators who look for this address want the other process from now on.
            Some(Ok(())) = successor.join_next() => { leave.send_replace(true); break; }
        }
    }
    // What is offered to a successor would stay open otherwise, and clients would wait at a door that nobody opens.
    successor.shutdown().await;
    let grace = config.process.grace;
    info!(grace_secs = grace.as_secs(), "draining");
    drain.send_replace(true);
    match time::timeout(grace, async { while public.join_next().await.is_some() {} }).await {
        Ok(()) => info!("drained, stopping"),
        Err(_) => warn!("the grace period is over, cutting the requests that are left"),
    }
    balancer.access.close();
    Ok(())
}

impl Balancer {
    fn new(config: &Config, draining: watch::Receiver<bool>) -> Result<Self> {
        let budget = descriptors::budget(config)?;
        let pools: BTreeMap<_, _> = config
            .pools
            .iter()
            .map(|(name, settings)| (name.clone(), Arc::new(Pool::new(name, settings.clone()))))
            .collect();
        let mut certificates = BTreeMap::new();
        for (name, listener) in &config.listeners {
            if let Some(files) = &listener.tls {
                let tls = Tls::load(files, listener.http2)?;
                certificates.insert(name.clone(), Arc::new(tls));
            }
        }
        let all = pools.values().cloned().collect();
        let metrics = Metrics::new(all).context("cannot register metrics")?;
        let access = AccessLog::open(config.access_log.clone(), metrics.lost_lines())?;
        let cache = Cache::new(config.cache.clone(), metrics.cache().clone());
        Ok(Self {
            pools,
            clients: Arc::new(ArcSwap::from_pointee(config.clients.clone())),
            metrics: Arc::new(metrics),
            access: Arc::new(access),
            cache: Arc::new(cache),
            draining,
            budget,
            certificates,
        })
    }

    fn announce(&self, listeners: &Listeners) -> Result<()> {
        let no_address = "a listener has no address";
        let admin = listeners.admin.local_addr().context(no_address)?;
        for listener in listeners.public.values() {
            let public = listener.local_addr().context(no_address)?;
            info!("balancing on {public}, admin on {admin}");
        }
        Ok(())
    }

    /// What a process that takes our place is handed, if that is wanted.
    fn offer(&self, config: &Config, listeners: &Listeners) -> Result<Option<Handover>> {
        let pools = self.pools.values().cloned().collect();
        let path = config.process.upgrade_socket.as_ref();
        path.map(|path| Handover::offer(path, listeners, pools))
            .transpose()
    }

    fn spawn_upkeep(&self, background: &mut JoinSet<()>) {
        for pool in self.pools.values() {
            background.spawn(Discovery::new(Arc::clone(pool)).run());
            background.spawn(Health::new(Arc::clone(pool)).run());
            background.spawn(health::end_ejections(Arc::clone(pool)));
        }
    }

    /// Operators may watch a drain to its end: only `leaving` stops this listener.
    fn spawn_admin(
        &self,
        settings: &config::Admin,
        listener: TcpListener,
        leaving: watch::Receiver<bool>,
        background: &mut JoinSet<()>,
    ) {
        let admin = Arc::new(Admin::new(
            self.pools.values().cloned().collect(),
            Arc::clone(&self.metrics),
            Arc::clone(&self.cache),
            self.draining.clone(),
            settings.token.clone(),
        ));
        let house = House::new(
            Arc::clone(&self.clients),
            Addresses::new(),
            Arc::clone(&self.metrics),
            ADMIN_CONNECTIONS,
            1,
            false,
        );
        background.spawn(serve(listener, house, admin, Manner::default(), leaving));
    }

    fn spawn_public(
        &self,
        config: &Config,
        listeners: BTreeMap<String, TcpListener>,
        public: &mut JoinSet<()>,
    ) {
        let conf = Arc::new(pingora_conf(self.budget, listeners.len()));
        let addresses = Addresses::new();
        let house = House::new(
            Arc::clone(&self.clients),
            Arc::clone(&addresses),
            Arc::clone(&self.metrics),
            self.budget.clients,
            listeners.len(),
            true,
        );
        for (name, listener) in listeners {
            let settings = &config.listeners[&name];
            let proxy = Proxy {
                clients: Arc::clone(&self.clients),
                addresses: Arc::clone(&addresses),
                pool: Arc::clone(&self.pools[&settings.pool]),
                metrics: Arc::clone(&self.metrics),
                access: Arc::clone(&self.access),
                cache: Arc::clone(&self.cache),
                draining: self.draining.clone(),
                https: settings.tls.is_some(),
            };
            public.spawn(serve(
                listener,
                Arc::clone(&house),
                Arc::new(http_proxy(&conf, proxy)),
                Manner {
                    proxied: settings.proxy_protocol,
                    http2: settings.http2,
                    tls: self.certificates.get(&name).cloned(),
                },
                self.draining.clone(),
            ));
        }
    }

    /// Lets a new configuration hold, as far as that is possible now.
    fn adopt(&self, running: &Config, wanted: Config) -> Config {
        let (config, waiting) = reload::adopt(running, wanted);
        for (name, pool) in &self.pools {
            pool.adopt(config.pools[name].clone());
        }
        self.clients.store(Arc::new(config.clients.clone()));
        self.access.adopt(config.access_log.clone());
        self.cache.adopt(config.cache.clone());
        for (name, certificate) in &self.certificates {
            if let Err(problem) = certificate.reload() {
                error!("listener {name} keeps its certificate: {problem:#}");
            }
        }
        info!("the new configuration holds");
        if !waiting.is_empty() {
            warn!(
                "these settings have changed and need a restart: {}",
                waiting.join(", ")
            );
        }
        config
    }
}

/// For each of so many listeners, which has idle connections of its own.
fn pingora_conf(budget: Budget, listeners: usize) -> ServerConf {
    ServerConf {
        // Pingora keeps so many idle connections for each of its threads, and these threads are none of its own.
        threads: 1,
        upstream_keepalive_pool_size: budget.idle_upstreams / listeners.max(1),
        // Only an upper bound: `retry.rs` counts the tries, and may be told another number at any time.
        max_retries: usize::MAX,
        ..ServerConf::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_listeners_together_keep_no_more_idle_connections_than_there_is_room_for() {
        let budget = Budget {
            clients: 100,
            idle_upstreams: 238,
        };
        for listeners in 1..5 {
            let conf = pingora_conf(budget, listeners);
            let kept = conf.upstream_keepalive_pool_size * conf.threads * listeners;
            assert!((234..=238).contains(&kept), "{kept}");
        }
    }
}
