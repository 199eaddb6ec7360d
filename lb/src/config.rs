//! Every setting of the balancer: one flag and one `LB_` variable each, checked before any port is bound.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::{Parser, ValueEnum};

/// Pingora's own limits: what is over them it answers itself, before any of our code, with a 400 without a page.
const PINGORA_MAX_HEAD_BYTES: usize = 1024 * 1024;
const PINGORA_MAX_HEADERS: usize = 256;

/// Load balancer of Quizstack: one address in front of many quiz front-ends.
///
/// Every setting is a flag and an environment variable; the flag wins, and the last flag wins over the first.
#[derive(Clone, Debug, Parser)]
#[command(name = "quiz-lb", version, args_override_self = true)]
pub struct Config {
    /// Address and port that visitors connect to.
    #[arg(
        long,
        env = "LB_LISTEN",
        value_name = "LB_LISTEN",
        default_value = "0.0.0.0:80"
    )]
    pub listen: SocketAddr,

    /// Address and port of /live, /ready and /metrics; keep it private.
    #[arg(
        long,
        env = "LB_ADMIN_LISTEN",
        value_name = "LB_ADMIN_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    pub admin_listen: SocketAddr,

    /// Comma list of backends: `ip:port` for one, `dns:name:port` for all addresses of a name.
    #[arg(
        long,
        env = "LB_BACKENDS",
        value_name = "LB_BACKENDS",
        value_delimiter = ',',
        required = true
    )]
    pub backends: Vec<Source>,

    /// Worker threads [default: the number of cores].
    #[arg(long, env = "LB_THREADS", value_name = "LB_THREADS", default_value_t = cores(), hide_default_value = true, value_parser = count)]
    pub threads: usize,

    /// Milliseconds between two probes (GET /ready) of one backend.
    #[arg(long, env = "LB_PROBE_INTERVAL_MS", value_name = "LB_PROBE_INTERVAL_MS", default_value = "500", value_parser = millis)]
    pub probe_interval: Duration,

    /// Milliseconds after which a probe without an answer has failed.
    #[arg(long, env = "LB_PROBE_TIMEOUT_MS", value_name = "LB_PROBE_TIMEOUT_MS", default_value = "1000", value_parser = millis)]
    pub probe_timeout: Duration,

    /// Successful probes in a row that make a backend healthy.
    #[arg(long, env = "LB_PROBE_RISE", value_name = "LB_PROBE_RISE", default_value = "1", value_parser = count)]
    pub probe_rise: usize,

    /// Failed probes in a row that make a backend unhealthy; a 503 or a refused connection does so at once.
    #[arg(long, env = "LB_PROBE_FALL", value_name = "LB_PROBE_FALL", default_value = "2", value_parser = count)]
    pub probe_fall: usize,

    /// Milliseconds between two look-ups of each `dns:` backend; the TTL of the answer is ignored.
    #[arg(long, env = "LB_DNS_INTERVAL_MS", value_name = "LB_DNS_INTERVAL_MS", default_value = "1000", value_parser = millis)]
    pub dns_interval: Duration,

    /// Milliseconds after which a look-up has failed and the last good answer stays.
    #[arg(long, env = "LB_DNS_TIMEOUT_MS", value_name = "LB_DNS_TIMEOUT_MS", default_value = "300", value_parser = millis)]
    pub dns_timeout: Duration,

    /// Milliseconds to connect to a backend before another one is tried.
    #[arg(long, env = "LB_CONNECT_TIMEOUT_MS", value_name = "LB_CONNECT_TIMEOUT_MS", default_value = "300", value_parser = millis)]
    pub connect_timeout: Duration,

    /// Milliseconds a backend may be silent while its reply is awaited; then a GET, HEAD or OPTIONS is tried once more
    /// on another backend, so that a visitor waits twice as long at worst. More than the 12 seconds that a front-end
    /// may need to store a picture.
    #[arg(long, env = "LB_UPSTREAM_READ_TIMEOUT_MS", value_name = "LB_UPSTREAM_READ_TIMEOUT_MS", default_value = "30000", value_parser = millis)]
    pub upstream_read_timeout: Duration,

    /// Milliseconds a backend may refuse to take more of the request.
    #[arg(long, env = "LB_UPSTREAM_WRITE_TIMEOUT_MS", value_name = "LB_UPSTREAM_WRITE_TIMEOUT_MS", default_value = "30000", value_parser = millis)]
    pub upstream_write_timeout: Duration,

    /// Seconds an idle connection to a backend is kept for the next request.
    #[arg(long, env = "LB_UPSTREAM_IDLE_SECS", value_name = "LB_UPSTREAM_IDLE_SECS", default_value = "30", value_parser = secs)]
    pub upstream_idle: Duration,

    /// Idle connections kept to all backends together; lowered like `LB_MAX_CONNECTIONS`.
    #[arg(long, env = "LB_UPSTREAM_POOL_SIZE", value_name = "LB_UPSTREAM_POOL_SIZE", default_value = "512", value_parser = count)]
    pub upstream_pool_size: usize,

    /// Client connections at a time; further clients wait until one is closed. Lowered at start, with a warning, to
    /// what the limit of file descriptors (ulimit -n) allows: two for each client, and some to spare.
    #[arg(long, env = "LB_MAX_CONNECTIONS", value_name = "LB_MAX_CONNECTIONS", default_value = "10000", value_parser = count)]
    pub max_connections: usize,

    /// Seconds an idle client connection is kept for its next request.
    #[arg(long, env = "LB_CLIENT_KEEPALIVE_SECS", value_name = "LB_CLIENT_KEEPALIVE_SECS", default_value = "60", value_parser = secs)]
    pub client_keepalive: Duration,

    /// Seconds a client may be silent in the middle of a request body; a shorter `LB_UPSTREAM_READ_TIMEOUT_MS` ends
    /// it sooner, because the backend is silent meanwhile.
    #[arg(long, env = "LB_CLIENT_READ_TIMEOUT_SECS", value_name = "LB_CLIENT_READ_TIMEOUT_SECS", default_value = "60", value_parser = secs)]
    pub client_read_timeout: Duration,

    /// Seconds a client may refuse to take more of the reply.
    #[arg(long, env = "LB_CLIENT_WRITE_TIMEOUT_SECS", value_name = "LB_CLIENT_WRITE_TIMEOUT_SECS", default_value = "60", value_parser = secs)]
    pub client_write_timeout: Duration,

    /// Backends tried for one request, the first included; after a read timeout at most one more, however many are left.
    #[arg(long, env = "LB_MAX_TRIES", value_name = "LB_MAX_TRIES", default_value = "3", value_parser = count)]
    pub max_tries: usize,

    /// Largest request head in bytes, 1048576 at most; more is answered 431, and beyond 1048576 a bare 400.
    #[arg(long, env = "LB_MAX_HEAD_BYTES", value_name = "LB_MAX_HEAD_BYTES", default_value = "32768", value_parser = count)]
    pub max_head_bytes: usize,

    /// Most header lines in a request, 256 at most; more are answered 431, and beyond 256 a bare 400.
    #[arg(long, env = "LB_MAX_HEADERS", value_name = "LB_MAX_HEADERS", default_value = "100", value_parser = count)]
    pub max_headers: usize,

    /// Largest request body in bytes; more is answered 413.
    #[arg(long, env = "LB_MAX_BODY_BYTES", value_name = "LB_MAX_BODY_BYTES", default_value = "33554432", value_parser = count)]
    pub max_body_bytes: usize,

    /// Seconds that requests in flight get to finish after SIGTERM or SIGINT.
    #[arg(long, env = "LB_GRACE_SECS", value_name = "LB_GRACE_SECS", default_value = "10", value_parser = secs)]
    pub grace: Duration,

    /// Shape of the log on stderr; `RUST_LOG` filters it (default: info).
    #[arg(
        long,
        env = "LB_LOG_FORMAT",
        value_name = "LB_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// Shape of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// Where backends come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One fixed backend.
    Static(SocketAddr),
    /// All addresses of a name, each a backend on this port.
    Dns {
        /// Name to look up.
        name: String,
        /// Port of every backend of that name.
        port: u16,
    },
}

impl Config {
    /// Checks what one setting alone cannot know; the message names the variables and the remedy.
    pub fn validate(&self) -> Result<(), String> {
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(format!(
                "LB_LISTEN and LB_ADMIN_LISTEN are both {}: give the admin listener a port of its own",
                self.listen
            ));
        }
        let own = |source: &Source| *source == Source::Static(self.listen);
        if self.backends.iter().any(own) {
            return Err(format!(
                "LB_BACKENDS names {}, which is LB_LISTEN itself: list the front-ends there",
                self.listen
            ));
        }
        at_most(
            "LB_MAX_HEAD_BYTES",
            self.max_head_bytes,
            PINGORA_MAX_HEAD_BYTES,
        )?;
        at_most("LB_MAX_HEADERS", self.max_headers, PINGORA_MAX_HEADERS)
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = |why: &str| {
            format!(
                "{why}: write ip:port (10.0.0.1:3000, [::1]:3000) or dns:name:port (dns:quiz:3000)"
            )
        };
        let Some(rest) = text.strip_prefix("dns:") else {
            return match text.parse::<SocketAddr>() {
                Ok(addr) if addr.port() != 0 => Ok(Self::Static(addr)),
                _ => Err(wrong("not an address with a port")),
            };
        };
        let (name, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if name.is_empty() || !name.chars().all(letter) {
            return Err(wrong("not a host name"));
        }
        Ok(Self::Dns {
            name: name.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(addr) => write!(f, "{addr}"),
            Self::Dns { name, port } => write!(f, "dns:{name}:{port}"),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number from 1 up".to_owned()),
    }
}

/// A limit that would never be reached is a promise we cannot keep.
fn at_most(variable: &str, value: usize, most: usize) -> Result<(), String> {
    if value > most {
        return Err(format!(
            "{variable} is {value}, but requests over {most} are refused whatever it says: set {most} or less"
        ));
    }
    Ok(())
}

fn millis(text: &str) -> Result<Duration, String> {
    count(text).map(|ms| Duration::from_millis(ms as u64))
}

fn secs(text: &str) -> Result<Duration, String> {
    count(text).map(|secs| Duration::from_secs(secs as u64))
}

#[cfg(test)]
mod tests;
