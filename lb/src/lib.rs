//! Load balancer of Quizstack: one address in front of many quiz front-ends, on Pingora.
//!
//! # The life of one request
//!
//! 1. `server.rs` accepts the connection if there is room ([`descriptors`]), wraps it (`downstream.rs`) and hands each request on it to Pingora.
//! 2. [`proxy`] refuses a head or body over the limits, then asks [`pool`] whose turn it is.
//! 3. [`forward`] replaces what strangers claim about the client; the request goes to that backend.
//! 4. If the backend fails, [`retry`] decides whether another one is tried.
//! 5. The reply gets its request id and the backend's address. When nobody could answer, [`error_page`] does.
//! 6. [`metrics`] counts it; [`admin`] shows the counts on a port of its own.
//!
//! Beside the requests, [`discovery`] keeps the list of backends and [`health`] finds out who is ready. A backend
//! gets no request before its `/ready` has answered 200.
//!
//! # What it does not do
//!
//! It keeps nothing on disk, knows nothing of quizzes or sessions, talks no TLS, caches and compresses nothing, and
//! never repeats a request that may have changed something.

pub mod admin;
pub mod config;
pub mod descriptors;
pub mod discovery;
mod downstream;
mod episode;
pub mod error_page;
pub mod forward;
pub mod health;
pub mod metrics;
pub mod pool;
pub mod proxy;
pub mod retry;
mod server;

use std::{future::Future, sync::Arc};

use anyhow::{Context, Result};
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tracing::{info, warn};

use crate::{
    admin::Admin,
    config::Config,
    descriptors::{ADMIN_CONNECTIONS, Budget},
    discovery::Discovery,
    health::Health,
    metrics::Metrics,
    pool::{Pool, Thresholds},
    proxy::Proxy,
    server::{Patience, serve},
};

/// The two ports, bound. Whoever binds them knows their numbers, even when the kernel chose.
#[derive(Debug)]
pub struct Listeners {
    /// For visitors.
    pub public: TcpListener,
    /// For operators.
    pub admin: TcpListener,
}

impl Listeners {
    /// Binds what the configuration says.
    pub async fn bind(config: &Config) -> Result<Self> {
        let bind = async |addr, variable| {
            // Tokio sets SO_REUSEADDR, so that a restart does not wait for old connections to be forgotten.
            let bound = TcpListener::bind(addr).await;
            bound.with_context(|| {
                format!("cannot listen on {addr}: free the port or change {variable}")
            })
        };
        Ok(Self {
            public: bind(config.listen, "LB_LISTEN").await?,
            admin: bind(config.admin_listen, "LB_ADMIN_LISTEN").await?,
        })
    }
}

/// Balances until `shutdown` completes, then drains: no new connections, requests in flight finish, and the
/// function returns as soon as nothing is left, or when the grace period is over.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let config = Arc::new(config);
    let budget = descriptors::budget(&config)?;
    let thresholds = Thresholds {
        rise: config.probe_rise,
        fall: config.probe_fall,
    };
    let pool = Arc::new(Pool::new(thresholds));
    let metrics = Arc::new(Metrics::new(Arc::clone(&pool)).context("cannot register metrics")?);
    let (drain, draining) = watch::channel(false);
    let patience = Patience::from(&*config);
    info!(
        "balancing on {}, admin on {}",
        listeners
            .public
            .local_addr()
            .context("the public listener has no address")?,
        listeners
            .admin
            .local_addr()
            .context("the admin listener has no address")?,
    );

    // Dropped at the end of this function, and all of it stops with it.
    let mut background = JoinSet::new();
    background.spawn(Discovery::new(Arc::clone(&pool), &config).run());
    background.spawn(Health::new(Arc::clone(&pool), &config).run());
    let admin = Arc::new(Admin::new(
        Arc::clone(&pool),
        Arc::clone(&metrics),
        draining.clone(),
    ));
    // Operators may watch the drain to its end: this listener is never told to stop.
    let (_never, unstopped) = watch::channel(false);
    background.spawn(serve(
        listeners.admin,
        ADMIN_CONNECTIONS,
        admin,
        patience,
        unstopped,
    ));

    let proxy = http_proxy(
        &Arc::new(pingora_conf(&config, budget)),
        Proxy::new(Arc::clone(&config), pool, metrics, draining.clone()),
    );
    let mut public = JoinSet::new();
    public.spawn(serve(
        listeners.public,
        budget.clients,
        Arc::new(proxy),
        patience,
        draining,
    ));

    shutdown.await;
    info!(grace_secs = config.grace.as_secs(), "draining");
    drain.send_replace(true);
    match time::timeout(config.grace, public.join_next()).await {
        Ok(_) => info!("drained, stopping"),
        Err(_) => warn!("the grace period is over, cutting the requests that are left"),
    }
    Ok(())
}

fn pingora_conf(config: &Config, budget: Budget) -> ServerConf {
    ServerConf {
        threads: config.threads,
        max_retries: config.max_tries,
        upstream_keepalive_pool_size: budget.idle_upstreams,
        ..ServerConf::default()
    }
}
