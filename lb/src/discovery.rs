//! Background loop: keeps the pool's membership equal to the configured sources.
//!
//! Names are asked for and files are read again and again, whatever a TTL says, in a loop of its own, so that a slow
//! DNS server never delays a health check.

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time};
use tracing::{info, warn};

use crate::{
    config::{self, Place, Source},
    dns,
    pool::Pool,
};

/// Where the system keeps the addresses of its DNS servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Backends and their weights.
type Members = BTreeMap<SocketAddr, u32>;

/// A source that is asked again and again, and its last answer worth keeping.
#[derive(Debug)]
struct Asked {
    source: Source,
    last_good: Members,
    failing: bool,
}

/// The sources of a pool and what they said last.
#[derive(Debug)]
pub struct Discovery {
    pool: Arc<Pool>,
    asked: Vec<Asked>,
}

impl Discovery {
    /// Prepares the loop and makes the fixed backends members at once.
    pub fn new(pool: Arc<Pool>) -> Self {
        let mut discovery = Self {
            pool,
            asked: Vec::new(),
        };
        discovery.configure();
        discovery.publish();
        discovery
    }

    /// Asks all sources, again and again, and takes a new configuration into account at once.
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

    /// Makes `asked` those of the settings; one that stays keeps its last good answer.
    fn configure(&mut self) {
        let mut known = std::mem::take(&mut self.asked);
        for source in &self.pool.settings().backends {
            if source.address().is_none() {
                let same = |known: &Asked| known.source == *source;
                self.asked.push(match known.iter().position(same) {
                    Some(index) => known.swap_remove(index),
                    None => Asked::new(source.clone()),
                });
            }
        }
    }

    async fn poll(&mut self) {
        let mut asking = JoinSet::new();
        for (index, asked) in self.asked.iter().enumerate() {
            let source = asked.source.clone();
            let settings = self.pool.settings().discovery.clone();
            asking.spawn(async move { (index, ask(&source, &settings).await) });
        }
        for (index, answer) in asking.join_all().await {
            self.asked[index].answered(answer);
        }
    }

    fn publish(&self) {
        let settings = self.pool.settings();
        let mut members = Members::new();
        for asked in &self.asked {
            members.extend(&asked.last_good);
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

impl Asked {
    fn new(source: Source) -> Self {
        Self {
            source,
            last_good: Members::new(),
            failing: false,
        }
    }

    /// Keeps a good answer; an error or an empty one changes nothing, because resolvers fail more often than all
    /// backends vanish, and health checks notice when they do.
    fn answered(&mut self, answer: io::Result<Members>) {
        let place = &self.source.place;
        let reason = match answer {
            Ok(members) if !members.is_empty() => {
                if self.failing {
                    info!(%place, "{place} tells its backends again");
                }
                self.failing = false;
                self.last_good = members;
                return;
            }
            Ok(_) => "the answer is empty".to_owned(),
            Err(error) => error.to_string(),
        };
        if !self.failing {
            let kept = self.last_good.len();
            warn!(%place, kept, reason, "{place} does not tell its backends, keeping the last {kept}: {reason}");
        }
        self.failing = true;
    }
}

async fn ask(source: &Source, settings: &config::Discovery) -> io::Result<Members> {
    match &source.place {
        Place::Static(addr) => Ok(Members::from([(*addr, source.weight)])),
        Place::File(path) => read(path, source.weight),
        Place::Dns { name, port } => {
            let ips = look_up(name, settings).await?.into_iter();
            Ok(ips
                .map(|ip| (SocketAddr::new(ip, *port), source.weight))
                .collect())
        }
    }
}

/// Asks one server after the other until one answers.
async fn look_up(name: &str, settings: &config::Discovery) -> io::Result<Vec<std::net::IpAddr>> {
    let servers = match settings.dns_server {
        Some(server) => vec![server],
        None => dns::servers(&fs::read_to_string(RESOLV_CONF)?),
    };
    let mut last = io::Error::other(format!("{RESOLV_CONF} names no server: set dns_server"));
    for server in servers {
        let asking = dns::addresses(server, name, settings.ipv6);
        match time::timeout(settings.timeout, asking).await {
            Ok(Ok(addresses)) => return Ok(addresses),
            Ok(Err(error)) => last = error,
            Err(_) => last = late(settings.timeout),
        }
    }
    Err(last)
}

fn late(limit: Duration) -> io::Error {
    let text = format!("no answer in {} ms", limit.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// One backend per line, `ip:port` and a weight if it is to have its own; what follows a # is a remark.
fn read(path: &Path, weight: u32) -> io::Result<Members> {
    let text = fs::read_to_string(path)?;
    let mut members = Members::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let wrong = |why: &str| io::Error::other(format!("line {number}: {why}"));
        let source: Source = entry.parse().map_err(|why: String| wrong(&why))?;
        let Some(addr) = source.address() else {
            return Err(wrong("write ip:port, and names in the settings"));
        };
        let own = entry.contains(char::is_whitespace);
        members.insert(addr, if own { source.weight } else { weight });
    }
    Ok(members)
}

#[cfg(test)]
mod tests;
