//! Background loop: keeps the pool's membership equal to the configured sources.
//!
//! Names are polled whatever the TTL says (a container DNS answers with ten minutes) in a loop of its own, so that
//! a slow resolver never delays a health check.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, task::JoinSet, time};
use tracing::{info, warn};

use crate::{
    config::{Config, Source},
    pool::Pool,
};

/// A `dns:` source and the last answer worth keeping.
#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    last_good: BTreeSet<SocketAddr>,
    failing: bool,
}

/// The sources of a configuration and what they said last.
#[derive(Debug)]
pub struct Discovery {
    pool: Arc<Pool>,
    fixed: BTreeSet<SocketAddr>,
    names: Vec<Name>,
    interval: Duration,
    timeout: Duration,
}

impl Discovery {
    /// Prepares the loop and makes the fixed backends members at once.
    pub fn new(pool: Arc<Pool>, config: &Config) -> Self {
        let mut fixed = BTreeSet::new();
        let mut names = Vec::new();
        for source in &config.backends {
            match source {
                Source::Static(addr) => {
                    fixed.insert(*addr);
                }
                Source::Dns { name, port } => names.push(Name::new(name, *port)),
            }
        }
        let discovery = Self {
            pool,
            fixed,
            names,
            interval: config.dns_interval,
            timeout: config.dns_timeout,
        };
        discovery.publish();
        discovery
    }

    /// Looks all names up, again and again. Returns at once when there is none.
    pub async fn run(mut self) {
        if self.names.is_empty() {
            return;
        }
        let mut tick = time::interval(self.interval);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.poll().await;
            self.publish();
        }
    }

    async fn poll(&mut self) {
        let mut lookups = JoinSet::new();
        for (index, name) in self.names.iter().enumerate() {
            let (target, limit) = ((name.host.clone(), name.port), self.timeout);
            lookups.spawn(async move { (index, look_up(target, limit).await) });
        }
        for (index, answer) in lookups.join_all().await {
            self.names[index].answered(answer);
        }
    }

    fn publish(&self) {
        let resolved = self.names.iter().flat_map(|name| &name.last_good);
        let members = self.fixed.iter().chain(resolved).copied().collect();
        let change = self.pool.set_members(&members);
        for addr in change.joined {
            info!(backend.addr = %addr, "backend {addr} joined, warming until it is ready");
        }
        for addr in change.left {
            info!(backend.addr = %addr, "backend {addr} left");
        }
    }
}

impl Name {
    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
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
        let config = [
            "quiz-lb",
            "--backends",
            "10.0.0.1:1,dns:nobody.invalid:3000",
        ];
        let config = <Config as clap::Parser>::parse_from(config);
        let pool = Arc::new(Pool::new(crate::pool::Thresholds { rise: 1, fall: 1 }));
        let mut discovery = Discovery::new(Arc::clone(&pool), &config);
        discovery.poll().await;
        discovery.publish();
        assert!(discovery.names[0].failing);
        assert_eq!(pool.backends().len(), 1);
    }
}
