//! Background loop: keeps the pool's membership equal to the configured sources.
//!
//! Names are polled whatever the TTL says (a container DNS answers with ten minutes) in a loop of its own, so that
//! a slow resolver never delays a health check.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::lookup_host, task::JoinSet, time};
use tracing::{info, warn};

use crate::{config::Place, pool::Pool};

/// A `dns:` source and the last answer worth keeping.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    weight: u32,
    last_good: BTreeSet<SocketAddr>,
    failing: bool,
}

/// The sources of a pool and what they said last.
#[derive(Debug)]
pub struct Discovery {
    pool: Arc<Pool>,
    names: Vec<Name>,
}

impl Discovery {
    /// Prepares the loop and makes the fixed backends members at once.
    pub fn new(pool: Arc<Pool>) -> Self {
        let mut discovery = Self {
            pool,
            names: Vec::new(),
        };
        discovery.configure();
        discovery.publish();
        discovery
    }

    /// Looks all names up, again and again, and takes a new configuration into account at once.
    pub async fn run(mut self) {
        let mut revision = self.pool.revision();
        loop {
            self.configure();
            self.poll().await;
            self.publish();
            let interval = self.pool.settings().discovery.interval;
            let _ = time::timeout(interval, revision.changed()).await;
        }
    }

    /// Makes `names` those of the settings; a name that stays keeps its last good answer.
    fn configure(&mut self) {
        let mut known = std::mem::take(&mut self.names);
        for source in &self.pool.settings().backends {
            if let Place::Dns { name, port } = &source.place {
                let same = |known: &Name| known.host == *name && known.port == *port;
                let mut name = match known.iter().position(same) {
                    Some(index) => known.swap_remove(index),
                    None => Name::new(name, *port),
                };
                name.weight = source.weight;
                self.names.push(name);
            }
        }
    }

    async fn poll(&mut self) {
        let limit = self.pool.settings().discovery.timeout;
        let mut lookups = JoinSet::new();
        for (index, name) in self.names.iter().enumerate() {
            let target = (name.host.clone(), name.port);
            lookups.spawn(async move { (index, look_up(target, limit).await) });
        }
        for (index, answer) in lookups.join_all().await {
            self.names[index].answered(answer);
        }
    }

    fn publish(&self) {
        let settings = self.pool.settings();
        let mut members = BTreeMap::new();
        for name in &self.names {
            members.extend(name.last_good.iter().map(|addr| (*addr, name.weight)));
        }
        // What is said of one address wins over what is said of its name.
        let fixed = settings.backends.iter();
        members.extend(fixed.filter_map(|source| Some((source.address()?, source.weight))));
        let change = self.pool.set_members(&members, Instant::now());
        for addr in change.joined {
            info!(backend.addr = %addr, "backend {addr} joined, warming until it is ready");
        }
        for addr in change.left {
            info!(backend.addr = %addr, "backend {addr} left");
        }
        for (addr, state) in change.switched {
            info!(backend.addr = %addr, "backend {addr} is {} by its settings", state.name());
        }
    }
}

impl Name {
    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            weight: 1,
            last_good: BTreeSet::new(),
            failing: false,
        }
    }

    /// Keeps a good answer; an error or an empty one changes nothing, because resolvers fail more often than all
    /// backends vanish, and health checks notice when they do.
    fn answered(&mut self, answer: io::Result<BTreeSet<SocketAddr>>) {
        let reason = match answer {
            Ok(addrs) if !addrs.is_empty() => {
                if self.failing {
                    info!(name = self.host, "name {} resolves again", self.host);
                }
                self.failing = false;
                self.last_good = addrs;
                return;
            }
            Ok(_) => "the answer is empty".to_owned(),
            Err(error) => error.to_string(),
        };
        if !self.failing {
            let kept = self.last_good.len();
            warn!(
                name = self.host,
                kept,
                reason,
                "name {} does not resolve, keeping its last {kept} backends",
                self.host
            );
        }
        self.failing = true;
    }
}

async fn look_up(target: (String, u16), limit: Duration) -> io::Result<BTreeSet<SocketAddr>> {
    match time::timeout(limit, lookup_host(target)).await {
        Ok(answer) => Ok(answer?.collect()),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn set(port: u16) -> BTreeSet<SocketAddr> {
        BTreeSet::from([SocketAddr::from(([10, 0, 0, 1], port))])
    }

    #[test]
    fn a_good_answer_replaces_the_last_one() {
        let mut name = Name::new("quiz", 3000);
        name.answered(Ok(set(1)));
        name.answered(Ok(set(2)));
        assert_eq!(name.last_good, set(2));
    }

    #[test]
    fn an_error_a_timeout_or_an_empty_answer_keeps_the_last_good_set() {
        let mut name = Name::new("quiz", 3000);
        name.answered(Ok(set(1)));
        name.answered(Err(io::Error::other("servfail")));
        name.answered(Err(io::Error::new(io::ErrorKind::TimedOut, "late")));
        name.answered(Ok(BTreeSet::new()));
        assert_eq!((&name.last_good, name.failing), (&set(1), true));
        name.answered(Ok(set(1)));
        assert!(!name.failing);
    }

    #[tokio::test]
    async fn a_name_nobody_knows_leaves_the_fixed_backends_alone() {
        let backends = ["10.0.0.1:1", "dns:nobody.invalid:3000"];
        let settings = config::Pool {
            backends: backends.map(|source| source.parse().unwrap()).into(),
            ..config::Pool::default()
        };
        let pool = Arc::new(Pool::new("quiz", settings));
        let mut discovery = Discovery::new(Arc::clone(&pool));
        discovery.poll().await;
        discovery.publish();
        assert!(discovery.names[0].failing);
        assert_eq!(pool.backends().len(), 1);
    }
}
