//! Settings for clients: how patient the balancer is with them, what they may send, and whose word counts.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

use super::{Http2, Problem, file, problem};

/// Pingora's own limits: what is over them it answers itself, before any of our code, with a 400 without a page.
const PINGORA_MAX_HEAD_BYTES: usize = 1024 * 1024;
const PINGORA_MAX_HEADERS: usize = 256;

/// Patience with clients, and what they may send.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clients {
    /// Connections at a time, of all listeners together.
    #[serde(deserialize_with = "file::count")]
    pub max_connections: usize,
    /// How long an idle connection is kept for its next request.
    #[serde(rename = "keepalive_secs", deserialize_with = "file::secs")]
    pub keepalive: Duration,
    /// Requests on one connection.
    #[serde(deserialize_with = "file::count")]
    pub max_requests_per_connection: usize,
    /// How long a request head may take, from its first byte on.
    #[serde(rename = "head_timeout_secs", deserialize_with = "file::secs")]
    pub head_timeout: Duration,
    /// How long a client may be silent in the middle of a body.
    #[serde(rename = "read_timeout_secs", deserialize_with = "file::secs")]
    pub read_timeout: Duration,
    /// What must arrive of a body for each second that we wait for it, on average; 0 for no minimum.
    pub min_body_bytes_per_sec: usize,
    /// So long a body may be waited for, however slow it is.
    #[serde(rename = "body_grace_secs", deserialize_with = "file::secs")]
    pub body_grace: Duration,
    /// How long it may refuse to take more of the reply.
    #[serde(rename = "write_timeout_secs", deserialize_with = "file::secs")]
    pub write_timeout: Duration,
    /// Largest request head.
    #[serde(deserialize_with = "file::count")]
    pub max_head_bytes: usize,
    /// Most header lines.
    #[serde(deserialize_with = "file::count")]
    pub max_headers: usize,
    /// Largest request body.
    #[serde(deserialize_with = "file::count")]
    pub max_body_bytes: usize,
    /// Connections of one address at a time; 0 for no limit.
    pub max_connections_per_address: usize,
    /// Requests of one address that are worked on at a time; 0 for no limit.
    pub max_in_flight_per_address: usize,
    /// Requests of one address each second; 0 for no limit.
    pub max_requests_per_sec_per_address: usize,
    /// So many requests an address may send at once.
    #[serde(deserialize_with = "file::count")]
    pub request_burst_per_address: usize,
    /// What these say about their clients counts.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// Replies that the backend did not compress.
    pub compression: Compression,
    /// What one HTTP/2 connection may take.
    pub http2: Http2,
}

/// Compression of replies for clients that want it. A level of 0 switches an algorithm off.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Compression {
    /// Of Zstandard, 22 at most.
    pub zstd_level: u32,
    /// Of Brotli, 11 at most.
    pub brotli_level: u32,
    /// Of gzip, 9 at most.
    pub gzip_level: u32,
    /// Shorter replies stay as they are.
    #[serde(deserialize_with = "file::count")]
    pub min_bytes: usize,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            zstd_level: 3,
            brotli_level: 4,
            gzip_level: 5,
            min_bytes: 1024,
        }
    }
}

impl Compression {
    fn validate(&self) -> Result<(), Problem> {
        for (key, variable, level, most) in [
            ("zstd_level", "LB_ZSTD_LEVEL", self.zstd_level, 22),
            ("brotli_level", "LB_BROTLI_LEVEL", self.brotli_level, 11),
            ("gzip_level", "LB_GZIP_LEVEL", self.gzip_level, 9),
        ] {
            if level > most {
                let message = format!("({variable}) is {level}: set {most} or less, or 0 for off");
                return problem(&["clients", "compression", key], &message);
            }
        }
        Ok(())
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            keepalive: Duration::from_secs(60),
            max_requests_per_connection: 1000,
            head_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            min_body_bytes_per_sec: 1024,
            body_grace: Duration::from_secs(20),
            write_timeout: Duration::from_secs(60),
            max_head_bytes: 32 * 1024,
            max_headers: 100,
            max_body_bytes: 32 * 1024 * 1024,
            max_connections_per_address: 2000,
            max_in_flight_per_address: 2000,
            max_requests_per_sec_per_address: 0,
            request_burst_per_address: 100,
            trusted_proxies: Vec::new(),
            compression: Compression::default(),
            http2: Http2::default(),
        }
    }
}

impl Clients {
    /// Whether what this address says about its clients counts.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|network| network.contains(&address))
    }

    /// A limit that would never be reached is a promise we cannot keep.
    pub(super) fn validate(&self) -> Result<(), Problem> {
        for (key, variable, value, most) in [
            (
                "max_head_bytes",
                "LB_MAX_HEAD_BYTES",
                self.max_head_bytes,
                PINGORA_MAX_HEAD_BYTES,
            ),
            (
                "max_headers",
                "LB_MAX_HEADERS",
                self.max_headers,
                PINGORA_MAX_HEADERS,
            ),
        ] {
            if value > most {
                let message = format!(
                    "({variable}) is {value}, but requests over {most} are refused whatever it says: set {most} or less"
                );
                return problem(&["clients", key], &message);
            }
        }
        self.http2.validate()?;
        self.compression.validate()
    }
}

/// One address is a network too.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = || text.parse::<IpAddr>().map(|ip| ip.to_canonical().into());
    text.parse().or_else(|_| address()).map_err(|_| {
        format!("{text:?} is no network: write one like 10.0.0.0/8, or an address like 10.0.0.1")
    })
}

fn networks<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let networks = texts.iter().map(|text| network(text));
    networks.collect::<Result<_, _>>().map_err(D::Error::custom)
}
