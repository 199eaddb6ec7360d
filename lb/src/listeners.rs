//! The ports: bound, or taken over from the process whose place this one takes.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::{config::Config, upgrade::Predecessor};

/// The ports, bound. Whoever binds them knows their numbers, even when the kernel chose.
#[derive(Debug)]
pub struct Listeners {
    /// For visitors, by name in the configuration.
    pub public: BTreeMap<String, TcpListener>,
    /// For operators.
    pub admin: TcpListener,
    pub(crate) predecessor: Option<Predecessor>,
}

impl Listeners {
    /// These, which nobody else has.
    pub fn new(public: BTreeMap<String, TcpListener>, admin: TcpListener) -> Self {
        Self {
            public,
            admin,
            predecessor: None,
        }
    }

    /// Binds what the configuration says; what a running process offers for it is taken instead.
    pub async fn bind(config: &Config) -> Result<Self> {
        let mut predecessor = match &config.process.upgrade_socket {
            Some(path) => Predecessor::find(path)?,
            None => None,
        };
        let mut public = BTreeMap::new();
        for (name, listener) in &config.listeners {
            let setting = format!("listeners.{name}.address (LB_LISTEN)");
            let found = predecessor.as_mut();
            let found = found.and_then(|found| found.public(name, listener.address));
            let bound = adopt_or_bind(found, listener.address, &setting).await?;
            public.insert(name.clone(), bound);
        }
        let address = config.admin.address;
        let found = predecessor.as_mut().and_then(|found| found.admin(address));
        let admin = adopt_or_bind(found, address, "admin.address (LB_ADMIN_LISTEN)").await?;
        Ok(Self {
            public,
            admin,
            predecessor,
        })
    }
}

async fn adopt_or_bind(
    found: Option<std::net::TcpListener>,
    addr: SocketAddr,
    setting: &str,
) -> Result<TcpListener> {
    let Some(found) = found else {
        return bind(addr, setting).await;
    };
    found
        .set_nonblocking(true)
        .context("cannot use a socket that was taken over")?;
    TcpListener::from_std(found).context("cannot use a socket that was taken over")
}

async fn bind(addr: SocketAddr, setting: &str) -> Result<TcpListener> {
    // Tokio sets SO_REUSEADDR, so that a restart does not wait for old connections to be forgotten.
    let bound = TcpListener::bind(addr).await;
    bound.with_context(|| format!("cannot listen on {addr}: free the port or change {setting}"))
}
