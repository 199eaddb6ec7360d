//! Every setting of the balancer: `lb.toml`, with the environment and flags on top ([`cli`]), checked whole before any
//! port is bound.
//!
//! [`file`](mod@file) reads and names lines, [`source`] knows where backends come from, [`reload`](mod@reload) what a running
//! balancer can adopt.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use clap::ValueEnum;
use http::HeaderName;
use serde::Deserialize;

pub mod access_log;
pub mod cache;
pub mod cli;
pub mod clients;
pub mod file;
pub mod http2;
pub mod reload;
mod secret_files;
pub mod source;
pub mod statuses;
pub mod token;

pub use cache::Cache;
pub use clients::Clients;
pub use http2::Http2;
pub use source::{Place, Source};
pub use statuses::Statuses;
pub use token::Token;

use crate::{selection::Algorithm, tls::Tls};

/// Names in the configuration that nobody gave.
const LISTENER: &str = "public";
const POOL: &str = "quiz";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where visitors connect, by name.
    pub listeners: BTreeMap<String, Listener>,
    /// Where operators connect.
    pub admin: Admin,
    /// Backends that answer the same requests, by name.
    pub pools: BTreeMap<String, Pool>,
    /// Patience with clients, and what they may send.
    pub clients: Clients,
    /// Replies that are kept in memory.
    pub cache: Cache,
    /// A line for each request.
    pub access_log: access_log::AccessLog,
    /// The process itself.
    pub process: Process,
}

/// A port for visitors.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port.
    pub address: SocketAddr,
    /// Name of the pool that answers.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// Whether connections of trusted proxies begin with a PROXY protocol header, version 1 or 2.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether clients may talk HTTP/2 as well as HTTP/1: by prior knowledge, or, with TLS, by ALPN.
    #[serde(default)]
    pub http2: bool,
    /// With this it talks TLS, and nothing else.
    #[serde(default)]
    pub tls: Option<Certificate>,
}

/// Where a certificate lies; read again at every reload.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// File with the certificate and those of its issuers, as PEM.
    pub certificate: PathBuf,
    /// File with its private key, as PEM.
    pub key: PathBuf,
}

/// The port for operators.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port of the status page and what else operators look at; keep it private.
    pub address: SocketAddr,
    /// Who knows it may drain backends and change weights; without it nobody may.
    pub token: Option<Token>,
}

/// Backends that answer the same requests.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Where the backends come from.
    pub backends: Vec<Source>,
    /// Of these no backend gets a request: an operator's switch.
    pub disabled: Vec<SocketAddr>,
    /// Whose turn it is.
    pub algorithm: Algorithm,
    /// The header that `hash` looks at, instead of the client's address.
    #[serde(deserialize_with = "file::header")]
    pub hash_header: Option<HeaderName>,
    /// In this time the share of a backend that was not at work grows from a tenth to the whole; 0 for at once.
    #[serde(rename = "slow_start_secs", deserialize_with = "file::secs_or_none")]
    pub slow_start: Duration,
    /// Active checks.
    pub checks: Checks,
    /// What failed requests lead to.
    pub ejection: Ejection,
    /// Look-ups of names.
    pub discovery: Discovery,
    /// Patience with backends.
    pub timeouts: Timeouts,
    /// What happens after a failure.
    pub retries: Retries,
    /// How much of a crowd the backends get at a time.
    pub crowd: Crowd,
}

/// Active checks: `GET /ready` of every backend.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// Time between two probes of one backend.
    #[serde(rename = "interval_ms", deserialize_with = "file::millis")]
    pub interval: Duration,
    /// A probe without an answer has failed after this.
    #[serde(rename = "timeout_ms", deserialize_with = "file::millis")]
    pub timeout: Duration,
    /// Successful probes in a row that make a backend healthy.
    #[serde(deserialize_with = "file::count")]
    pub rise: usize,
    /// Failed probes in a row that make it unhealthy.
    #[serde(deserialize_with = "file::count")]
    pub fall: usize,
}

/// Passive checks: a backend whose requests fail in a run gets none for a while.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Failed requests in a row: no connection, a reset, silence or a server error.
    #[serde(deserialize_with = "file::count")]
    pub failures: usize,
    /// The first back-off; the second lasts twice as long, the third three times.
    #[serde(rename = "base_secs", deserialize_with = "file::secs")]
    pub base: Duration,
    /// No back-off lasts longer.
    #[serde(rename = "max_secs", deserialize_with = "file::secs")]
    pub max: Duration,
    /// How much of the pool may be ejected at a time; 0 switches ejection off.
    pub max_percent: usize,
}

/// Look-ups of `dns:` backends, and readings of `file:` ones.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// Time between two look-ups; the TTL of the answer is ignored.
    #[serde(rename = "interval_ms", deserialize_with = "file::millis")]
    pub interval: Duration,
    /// A look-up has failed after this, and the last good answer stays.
    #[serde(rename = "timeout_ms", deserialize_with = "file::millis")]
    pub timeout: Duration,
    /// Who is asked; without it, the servers in `/etc/resolv.conf`.
    pub dns_server: Option<SocketAddr>,
    /// Whether AAAA records are asked for as well.
    pub ipv6: bool,
}

/// Patience with backends.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect, before another backend is tried.
    #[serde(rename = "connect_ms", deserialize_with = "file::millis")]
    pub connect: Duration,
    /// How long a backend may be silent while its reply is awaited.
    #[serde(rename = "read_ms", deserialize_with = "file::millis")]
    pub read: Duration,
    /// How long it may be silent in a WebSocket or an event stream.
    #[serde(rename = "stream_secs", deserialize_with = "file::secs")]
    pub stream: Duration,
    /// How long it may refuse to take more of the request.
    #[serde(rename = "write_ms", deserialize_with = "file::millis")]
    pub write: Duration,
    /// How long an idle connection is kept for the next request.
    #[serde(rename = "idle_secs", deserialize_with = "file::secs")]
    pub idle: Duration,
}

/// What happens after a failure.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Backends tried for one request, the first included.
    #[serde(deserialize_with = "file::count")]
    pub max_tries: usize,
    /// So many retries there may be for a hundred requests of late.
    pub budget_percent: usize,
    /// And so many more each second.
    pub budget_per_sec: usize,
    /// Replies with these statuses are failures of their backend, and another one is asked.
    pub statuses: Statuses,
}

/// How much of a crowd the backends get at a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Crowd {
    /// Requests that one backend works on at a time.
    #[serde(deserialize_with = "file::count")]
    pub max_in_flight: usize,
    /// Requests that wait at a time while all backends are busy; 0 for none.
    pub max_waiting: usize,
    /// How long a request waits at most.
    #[serde(rename = "max_wait_ms", deserialize_with = "file::millis")]
    pub max_wait: Duration,
}

/// The process itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Worker threads.
    #[serde(deserialize_with = "file::count")]
    pub threads: usize,
    /// What requests in flight get to finish after SIGTERM or SIGINT.
    #[serde(rename = "grace_secs", deserialize_with = "file::secs")]
    pub grace: Duration,
    /// Shape of the log.
    pub log_format: LogFormat,
    /// Where a new process asks this one for its listening sockets; without it an upgrade is a restart.
    pub upgrade_socket: Option<PathBuf>,
    /// Where the firewall says in which network namespace its rules are in force; with it nobody is let in elsewhere.
    pub namespace_file: Option<PathBuf>,
    /// Idle connections kept to all backends together.
    #[serde(deserialize_with = "file::count")]
    pub upstream_pool_size: usize,
}

/// Shape of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// A setting that makes no sense beside the others.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands in the file, part by part.
    pub key: Vec<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Config {
    /// Checks what one setting alone cannot know.
    pub fn validate(&self) -> Result<(), Problem> {
        if self.listeners.is_empty() {
            return problem(&["listeners"], "is empty: add [listeners.public]");
        }
        for (name, listener) in &self.listeners {
            let key = ["listeners", name.as_str()];
            if !self.pools.contains_key(&listener.pool) {
                let known: Vec<_> = self.pools.keys().map(String::as_str).collect();
                let message = format!(
                    "there is no pool {:?}: name one of {}, or add [pools.{}]",
                    listener.pool,
                    known.join(", "),
                    listener.pool
                );
                return problem(&[&key[..], &["pool"]].concat(), &message);
            }
            if listener.proxy_protocol && self.clients.trusted_proxies.is_empty() {
                let message = "(LB_PROXY_PROTOCOL) is of no use: name the proxies in clients.trusted_proxies (LB_TRUSTED_PROXIES), or leave it out";
                return problem(&[&key[..], &["proxy_protocol"]].concat(), message);
            }
            if let Some(Err(why)) = listener
                .tls
                .as_ref()
                .map(|files| Tls::load(files, listener.http2))
            {
                let message = format!("(LB_TLS_CERTIFICATE, LB_TLS_KEY) does not hold: {why:#}");
                return problem(&[&key[..], &["tls"]].concat(), &message);
            }
            self.validate_address(name, listener.address)?;
        }
        for (name, pool) in &self.pools {
            pool.validate(name)?;
        }
        self.cache.validate()?;
        self.clients.validate()
    }

    fn validate_address(&self, name: &str, address: SocketAddr) -> Result<(), Problem> {
        let key = ["listeners", name, "address"];
        if address == self.admin.address && address.port() != 0 {
            let message = format!(
                "(LB_LISTEN) and admin.address (LB_ADMIN_LISTEN) are both {address}: give the admin listener a port of its own"
            );
            return problem(&key, &message);
        }
        let twin = self.listeners.iter().find(|(other, listener)| {
            *other != name && listener.address == address && address.port() != 0
        });
        if let Some((other, _)) = twin {
            let message = format!("is {address} like that of {other}: give it another port");
            return problem(&key, &message);
        }
        let own = |source: &Source| source.address() == Some(address);
        for (pool, settings) in &self.pools {
            if settings.backends.iter().any(own) {
                let message = format!(
                    "(LB_BACKENDS) names {address}, which is listeners.{name}.address (LB_LISTEN) itself: list the front-ends there"
                );
                return problem(&["pools", pool, "backends"], &message);
            }
        }
        Ok(())
    }
}

impl Pool {
    fn validate(&self, name: &str) -> Result<(), Problem> {
        if self.backends.is_empty() {
            let message = r#"(LB_BACKENDS) is empty: list where the front-ends listen, as in ["10.0.0.1:3000", "dns:quiz:3000"]"#;
            return problem(&["pools", name, "backends"], message);
        }
        if self.ejection.max_percent > 100 {
            let message = "(LB_EJECT_MAX_PERCENT) is more than 100: set 100 or less";
            return problem(&["pools", name, "ejection", "max_percent"], message);
        }
        if self.retries.budget_percent > 100 {
            let message = "(LB_RETRY_BUDGET_PERCENT) is more than 100: set 100 or less";
            return problem(&["pools", name, "retries", "budget_percent"], message);
        }
        if self.hash_header.is_some() && self.algorithm != Algorithm::Hash {
            let message =
                "(LB_HASH_HEADER) is of no use: set algorithm = \"hash\", or leave it out";
            return problem(&["pools", name, "hash_header"], message);
        }
        Ok(())
    }
}

fn problem(key: &[&str], message: &str) -> Result<(), Problem> {
    Err(Problem {
        key: key.iter().map(|&part| part.to_owned()).collect(),
        message: message.to_owned(),
    })
}

fn default_pool() -> String {
    POOL.to_owned()
}

mod defaults;

#[cfg(test)]
mod tests;
