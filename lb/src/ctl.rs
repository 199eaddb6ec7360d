//! `quiz-lb ctl`: asks a running balancer how it is, and tells it what to do with a backend.

use std::{
    fmt::Write as _,
    io::{Read, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    admin::state::{BackendState, State},
    config::Admin,
};

/// The balancer is near and has little to do for an answer; a wrong token costs half a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a running balancer can be asked and told.
#[derive(Clone, Debug, Subcommand)]
pub enum Ctl {
    /// Show pools and backends.
    Status,
    /// Send a backend no new requests; those in flight finish.
    Drain {
        /// Its address and port.
        addr: SocketAddr,
    },
    /// Send a backend requests again, as soon as it is ready.
    Enable {
        /// Its address and port.
        addr: SocketAddr,
    },
    /// Take a backend out at once: requests in flight go elsewhere if they can.
    Disable {
        /// Its address and port.
        addr: SocketAddr,
    },
    /// Give a backend another share.
    Weight {
        /// Its address and port.
        addr: SocketAddr,
        /// From 1 to 1000; one without any has 1.
        weight: u32,
    },
}

impl Ctl {
    /// Asks, and returns what there is to show.
    pub fn run(&self, admin: &Admin) -> Result<String> {
        let (path, body) = match self {
            Self::Status => {
                let state = ask(admin, "GET", "/state.json", "")?;
                return Ok(table(&state));
            }
            Self::Drain { addr } => (format!("/backends/{addr}/drain"), String::new()),
            Self::Enable { addr } => (format!("/backends/{addr}/enable"), String::new()),
            Self::Disable { addr } => (format!("/backends/{addr}/disable"), String::new()),
            Self::Weight { addr, weight } => (
                format!("/backends/{addr}/weight"),
                json!({ "weight": weight }).to_string(),
            ),
        };
        if admin.token.is_none() {
            bail!("orders need the token of the balancer: set LB_ADMIN_TOKEN or admin.token");
        }
        ask(admin, "POST", &path, &body).map(|state| table(&state))
    }
}

fn ask(admin: &Admin, method: &str, path: &str, body: &str) -> Result<State> {
    let addr = admin.address;
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/json\r\n",
        body.len()
    );
    if let Some(token) = &admin.token {
        write!(request, "Authorization: Bearer {}\r\n", token.secret())?;
    }
    write!(request, "\r\n{body}")?;
    let reply = exchange(addr, request.as_bytes()).with_context(|| {
        format!(
            "no answer from {addr}: is that the address of the admin listener (LB_ADMIN_LISTEN)?"
        )
    })?;
    let strange = || anyhow!("{addr} does not answer like a balancer: is LB_ADMIN_LISTEN right?");
    let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(strange)?;
    if head.split(' ').nth(1) == Some("200") {
        return serde_json::from_str(body).map_err(|_| strange());
    }
    let value: Value = serde_json::from_str(body).map_err(|_| strange())?;
    bail!("{}", value["error"].as_str().ok_or_else(strange)?)
}

fn exchange(addr: SocketAddr, request: &[u8]) -> Result<String> {
    let mut tcp = TcpStream::connect_timeout(&addr, PATIENCE)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    tcp.write_all(request)?;
    let mut reply = String::new();
    tcp.read_to_string(&mut reply)?;
    Ok(reply)
}

/// Pools and backends in words.
fn table(state: &State) -> String {
    let mut text = String::new();
    for pool in &state.pools {
        let (rate, flight) = (pool.requests_per_sec, pool.in_flight);
        let (name, waiting) = (&pool.name, pool.waiting);
        text += &format!(
            "pool {name} ({}): {rate:.1} requests/s, {flight} in flight, {waiting} waiting\n\
             {:<24} {:<10} {:>6} {:>6} {:>9} {:>9} {:>7}\n",
            pool.algorithm, "backend", "state", "weight", "share", "in flight", "latency", "errors"
        );
        for backend in &pool.backends {
            text += &row(backend);
        }
    }
    if state.draining {
        text += "the balancer is draining\n";
    }
    text
}

fn row(backend: &BackendState) -> String {
    let latency = backend.latency_ms;
    let latency = latency.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"));
    let (share, errors) = (backend.share * 100.0, backend.error_rate * 100.0);
    let (share, errors) = (format!("{share:.0} %"), format!("{errors:.1} %"));
    let reason = match backend.reason.as_str() {
        "" => String::new(),
        reason => format!("  {reason}"),
    };
    format!(
        "{:<24} {:<10} {:>6} {share:>6} {:>9} {latency:>9} {errors:>7}{reason}\n",
        backend.address.to_string(),
        backend.state,
        backend.weight,
        backend.in_flight
    )
}
