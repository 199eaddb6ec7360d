//! The command line and the environment: one flag and one `LB_` variable for each setting, on top of the file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

use http::HeaderName;

mod cache;
mod clients;
mod numbers;

use super::{
    Admin, Certificate, Config, LogFormat, Pool, Source, Statuses, Token, access_log::Output, file,
    secret_files,
};
use crate::{ctl::Ctl, selection::Algorithm};
use numbers::{count, millis, secs, secs_or_none};

/// Every setting with its default and the reasons, as a file that is accepted.
pub const SAMPLE: &str = include_str!("../../lb.toml");

/// Load balancer of Quizstack: one address in front of many quiz front-ends.
///
/// Settings come from the file, then from the environment, then from flags; the last one wins. A flag for what a pool
/// has holds for every pool.
#[derive(Clone, Debug, Parser)]
#[command(name = "quiz-lb", version, args_override_self = true, after_help = secret_files::HELP)]
pub struct Cli {
    /// What else to do than to balance.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// File with the settings, as TOML; `quiz-lb sample` prints one with every default. SIGHUP reads it again.
    #[arg(long, env = "LB_CONFIG", value_name = "LB_CONFIG")]
    pub config: Option<PathBuf>,

    /// Address and port that visitors connect to, if there is one listener [default: 0.0.0.0:80].
    #[arg(long, env = "LB_LISTEN", value_name = "LB_LISTEN")]
    pub listen: Option<SocketAddr>,

    /// Whether connections of `LB_TRUSTED_PROXIES` begin with a PROXY protocol header, version 1 or 2 [default: false].
    #[arg(long, env = "LB_PROXY_PROTOCOL", value_name = "LB_PROXY_PROTOCOL")]
    pub proxy_protocol: Option<bool>,

    /// Whether clients may talk HTTP/2 as well as HTTP/1: by prior knowledge, or, with TLS, by ALPN [default: false].
    #[arg(long, env = "LB_HTTP2", value_name = "LB_HTTP2")]
    pub http2: Option<bool>,

    /// File with the certificate and those of its issuers (PEM), for a listener that talks TLS; needs a build with the feature `tls`, and `LB_TLS_KEY` [default: none].
    #[arg(
        long,
        env = "LB_TLS_CERTIFICATE",
        value_name = "LB_TLS_CERTIFICATE",
        requires = "tls_key"
    )]
    pub tls_certificate: Option<PathBuf>,

    /// File with the private key of that certificate (PEM); both are read again at SIGHUP [default: none].
    #[arg(
        long,
        env = "LB_TLS_KEY",
        value_name = "LB_TLS_KEY",
        requires = "tls_certificate"
    )]
    pub tls_key: Option<PathBuf>,

    /// Address and port of the status page, /state.json, /metrics, /live and /ready; keep it private
    /// [default: 127.0.0.1:8081].
    #[arg(long, env = "LB_ADMIN_LISTEN", value_name = "LB_ADMIN_LISTEN")]
    pub admin_listen: Option<SocketAddr>,

    /// Who knows it may drain backends and change weights, on the status page, by the API and with `quiz-lb ctl`; without
    /// it nobody may. Better a variable than a flag, which every user of the machine can read.
    #[arg(
        long,
        env = "LB_ADMIN_TOKEN",
        value_name = "LB_ADMIN_TOKEN",
        hide_env_values = true
    )]
    pub admin_token: Option<Token>,

    /// Comma list of backends, if there is one pool: `ip:port` for one, `dns:name:port` for all addresses of a name, `file:path` for the lines of a file; ` weight=3` may follow.
    #[arg(
        long,
        env = "LB_BACKENDS",
        value_name = "LB_BACKENDS",
        value_delimiter = ','
    )]
    pub backends: Option<Vec<Source>>,

    /// Worker threads [default: the number of cores].
    #[arg(long, env = "LB_THREADS", value_name = "LB_THREADS", value_parser = count)]
    pub threads: Option<usize>,

    /// Whose turn it is [default: `round_robin`].
    #[arg(long, env = "LB_ALGORITHM", value_name = "LB_ALGORITHM")]
    pub algorithm: Option<Algorithm>,

    /// Header that `hash` looks at, instead of the client's address.
    #[arg(long, env = "LB_HASH_HEADER", value_name = "LB_HASH_HEADER")]
    pub hash_header: Option<HeaderName>,

    /// Seconds in which the share of a backend that was not at work grows from a tenth to the whole; 0 for at once
    /// [default: 10].
    #[arg(long, env = "LB_SLOW_START_SECS", value_name = "LB_SLOW_START_SECS", value_parser = secs_or_none)]
    pub slow_start: Option<Duration>,

    /// Failed requests in a row after which a backend is ejected [default: 5].
    #[arg(long, env = "LB_EJECT_FAILURES", value_name = "LB_EJECT_FAILURES", value_parser = count)]
    pub eject_failures: Option<usize>,

    /// Seconds of the first ejection; the second lasts twice as long, the third three times [default: 5].
    #[arg(long, env = "LB_EJECT_BASE_SECS", value_name = "LB_EJECT_BASE_SECS", value_parser = secs)]
    pub eject_base: Option<Duration>,

    /// Seconds of the longest ejection [default: 60].
    #[arg(long, env = "LB_EJECT_MAX_SECS", value_name = "LB_EJECT_MAX_SECS", value_parser = secs)]
    pub eject_max: Option<Duration>,

    /// How much of the pool may be ejected at a time; 0 switches ejection off [default: 50].
    #[arg(
        long,
        env = "LB_EJECT_MAX_PERCENT",
        value_name = "LB_EJECT_MAX_PERCENT"
    )]
    pub eject_max_percent: Option<usize>,

    /// Milliseconds between two probes (GET /ready) of one backend [default: 500].
    #[arg(long, env = "LB_PROBE_INTERVAL_MS", value_name = "LB_PROBE_INTERVAL_MS", value_parser = millis)]
    pub probe_interval: Option<Duration>,

    /// Milliseconds after which a probe without an answer has failed [default: 1000].
    #[arg(long, env = "LB_PROBE_TIMEOUT_MS", value_name = "LB_PROBE_TIMEOUT_MS", value_parser = millis)]
    pub probe_timeout: Option<Duration>,

    /// Successful probes in a row that make a backend healthy [default: 1].
    #[arg(long, env = "LB_PROBE_RISE", value_name = "LB_PROBE_RISE", value_parser = count)]
    pub probe_rise: Option<usize>,

    /// Failed probes in a row that make a backend unhealthy; a 503 or a refused connection takes it out at once [default: 2].
    #[arg(long, env = "LB_PROBE_FALL", value_name = "LB_PROBE_FALL", value_parser = count)]
    pub probe_fall: Option<usize>,

    /// Milliseconds between two look-ups of each `dns:` backend; the TTL of the answer is ignored [default: 1000].
    #[arg(long, env = "LB_DNS_INTERVAL_MS", value_name = "LB_DNS_INTERVAL_MS", value_parser = millis)]
    pub dns_interval: Option<Duration>,

    /// Milliseconds after which a look-up has failed and the last good answer stays [default: 300].
    #[arg(long, env = "LB_DNS_TIMEOUT_MS", value_name = "LB_DNS_TIMEOUT_MS", value_parser = millis)]
    pub dns_timeout: Option<Duration>,

    /// Address and port of the DNS server [default: those in /etc/resolv.conf].
    #[arg(long, env = "LB_DNS_SERVER", value_name = "LB_DNS_SERVER")]
    pub dns_server: Option<SocketAddr>,

    /// Whether AAAA records are asked for as well as A records [default: true].
    #[arg(long, env = "LB_DNS_IPV6", value_name = "LB_DNS_IPV6")]
    pub dns_ipv6: Option<bool>,

    /// Milliseconds to connect to a backend before another one is tried [default: 300].
    #[arg(long, env = "LB_CONNECT_TIMEOUT_MS", value_name = "LB_CONNECT_TIMEOUT_MS", value_parser = millis)]
    pub connect_timeout: Option<Duration>,

    /// Milliseconds a backend may be silent while its reply is awaited; then a GET, HEAD or OPTIONS is tried once more on another one [default: 30000].
    #[arg(long, env = "LB_UPSTREAM_READ_TIMEOUT_MS", value_name = "LB_UPSTREAM_READ_TIMEOUT_MS", value_parser = millis)]
    pub upstream_read_timeout: Option<Duration>,

    /// Seconds a backend or a client may be silent in a WebSocket or an event stream [default: 3600].
    #[arg(long, env = "LB_STREAM_TIMEOUT_SECS", value_name = "LB_STREAM_TIMEOUT_SECS", value_parser = secs)]
    pub stream_timeout: Option<Duration>,

    /// Milliseconds a backend may refuse to take more of the request [default: 30000].
    #[arg(long, env = "LB_UPSTREAM_WRITE_TIMEOUT_MS", value_name = "LB_UPSTREAM_WRITE_TIMEOUT_MS", value_parser = millis)]
    pub upstream_write_timeout: Option<Duration>,

    /// Seconds an idle connection to a backend is kept for the next request [default: 30].
    #[arg(long, env = "LB_UPSTREAM_IDLE_SECS", value_name = "LB_UPSTREAM_IDLE_SECS", value_parser = secs)]
    pub upstream_idle: Option<Duration>,

    /// Idle connections kept to all backends together; lowered like `LB_MAX_CONNECTIONS` [default: 512].
    #[arg(long, env = "LB_UPSTREAM_POOL_SIZE", value_name = "LB_UPSTREAM_POOL_SIZE", value_parser = count)]
    pub upstream_pool_size: Option<usize>,

    /// Patience with clients, and what they may send.
    #[command(flatten)]
    pub clients: clients::Flags,

    /// Replies that are kept in memory.
    #[command(flatten)]
    pub cache: cache::Flags,

    /// Backends tried for one request, the first included; after a read timeout at most one more [default: 3].
    #[arg(long, env = "LB_MAX_TRIES", value_name = "LB_MAX_TRIES", value_parser = count)]
    pub max_tries: Option<usize>,

    /// Retries for a hundred requests of late; a connection that never came about does not count [default: 20].
    #[arg(
        long,
        env = "LB_RETRY_BUDGET_PERCENT",
        value_name = "LB_RETRY_BUDGET_PERCENT"
    )]
    pub retry_budget_percent: Option<usize>,

    /// Retries there may be each second beside those [default: 10].
    #[arg(
        long,
        env = "LB_RETRY_BUDGET_PER_SEC",
        value_name = "LB_RETRY_BUDGET_PER_SEC"
    )]
    pub retry_budget_per_sec: Option<usize>,

    /// Comma list of the statuses with which a backend answers and another one is asked after all, if the method is GET, HEAD or OPTIONS; or none [default: 500,502,503,504].
    #[arg(long, env = "LB_RETRY_STATUSES", value_name = "LB_RETRY_STATUSES")]
    pub retry_statuses: Option<Statuses>,

    /// Requests that one backend works on at a time [default: 512].
    #[arg(long, env = "LB_MAX_IN_FLIGHT", value_name = "LB_MAX_IN_FLIGHT", value_parser = count)]
    pub max_in_flight: Option<usize>,

    /// Requests that wait at a time while all backends are busy; further ones are answered 503 at once [default: 1024].
    #[arg(long, env = "LB_MAX_WAITING", value_name = "LB_MAX_WAITING")]
    pub max_waiting: Option<usize>,

    /// Milliseconds a request waits at most before it is answered 503 [default: 1000].
    #[arg(long, env = "LB_MAX_WAIT_MS", value_name = "LB_MAX_WAIT_MS", value_parser = millis)]
    pub max_wait: Option<Duration>,

    /// Seconds that requests in flight get to finish after SIGTERM or SIGINT [default: 10].
    #[arg(long, env = "LB_GRACE_SECS", value_name = "LB_GRACE_SECS", value_parser = secs)]
    pub grace: Option<Duration>,

    /// Where a line of JSON for each request goes: off, stdout, /a/file, or syslog (RFC 5424) at `udp://127.0.0.1:514` or
    /// `unix:///dev/log` [default: off].
    #[arg(long, env = "LB_ACCESS_LOG", value_name = "LB_ACCESS_LOG")]
    pub access_log: Option<Output>,

    /// Of so many requests one is written to the access log; those that failed are written all [default: 1].
    #[arg(long, env = "LB_ACCESS_LOG_SAMPLE", value_name = "LB_ACCESS_LOG_SAMPLE", value_parser = count)]
    pub access_log_sample: Option<usize>,

    /// Lines that may wait to be written; further ones are dropped and counted [default: 8192].
    #[arg(long, env = "LB_ACCESS_LOG_MAX_WAITING", value_name = "LB_ACCESS_LOG_MAX_WAITING", value_parser = count)]
    pub access_log_max_waiting: Option<usize>,

    /// Path of a unix socket where a new process takes the listening sockets of the one that runs, which then drains and
    /// leaves: an upgrade without a refused connection [default: none].
    #[arg(long, env = "LB_UPGRADE_SOCKET", value_name = "LB_UPGRADE_SOCKET")]
    pub upgrade_socket: Option<PathBuf>,

    /// Path of the file in which `quiz-firewall watch` says in which network namespace its rules are in force: visitors are let
    /// in once it names that of the balancer, which ends when it names another one [default: none].
    #[arg(long, env = "LB_NAMESPACE_FILE", value_name = "LB_NAMESPACE_FILE")]
    pub namespace_file: Option<PathBuf>,

    /// Shape of the log on stderr; `RUST_LOG` filters it (default: info) [default: text].
    #[arg(long, env = "LB_LOG_FORMAT", value_name = "LB_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// What else the program can do than to balance.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say whether the balancer would start with this file; if not, name the line and the remedy.
    Check {
        /// The file to check; environment and flags come on top of it, as they would at a start.
        file: PathBuf,
    },
    /// Print a file with every setting, its default and what it is for.
    Sample,
    /// Ask a running balancer whether it is ready, for container engines: 0 when /ready of its admin listener answers 200, else
    /// 1 with what it said, after two seconds at most. It is found by `--config` and `LB_ADMIN_LISTEN`.
    Healthcheck {
        /// Ask /live: whether it runs at all.
        #[arg(long)]
        live: bool,
    },
    /// Ask a running balancer how it is, or tell it what to do with a backend. It is found like its settings, by
    /// `--config`, `LB_ADMIN_LISTEN` and `LB_ADMIN_TOKEN`.
    #[command(subcommand)]
    Ctl(Ctl),
}

impl Cli {
    /// Reads command line, environment and the files of secrets.
    pub fn read() -> Result<Self, clap::Error> {
        let arguments = std::env::args_os().collect();
        secret_files::parse(arguments, |name| std::env::var_os(name))
    }

    /// Where the balancer of these settings is asked, and with what secret. Nothing else need be right.
    pub fn admin(&self) -> Result<Admin> {
        let mut admin = match &self.config {
            Some(path) => file::read(path)?.0.admin,
            None => Admin::default(),
        };
        self.apply_to_admin(&mut admin);
        Ok(admin)
    }

    /// The configuration all of this amounts to; the message says which setting is wrong and what to do.
    pub fn load(&self) -> Result<Config> {
        let path = match &self.command {
            Some(Command::Check { file }) => Some(file),
            _ => self.config.as_ref(),
        };
        let (mut config, text) = match path {
            Some(path) => file::read(path)?,
            None => (Config::default(), String::new()),
        };
        self.apply(&mut config)?;
        if let Err(problem) = config.validate() {
            let file = path.map(|path| (path.as_path(), text.as_str()));
            bail!(file::explain(&problem, file));
        }
        Ok(config)
    }

    fn apply(&self, config: &mut Config) -> Result<()> {
        if let Some(address) = self.listen {
            let mut listeners = config.listeners.values_mut();
            match (listeners.next(), listeners.next()) {
                (Some(listener), None) => listener.address = address,
                _ => bail!("LB_LISTEN is for one listener: set the address of each in the file"),
            }
        }
        for listener in config.listeners.values_mut() {
            set(&mut listener.proxy_protocol, self.proxy_protocol);
            set(&mut listener.http2, self.http2);
            if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
                listener.tls = Some(Certificate {
                    certificate: certificate.clone(),
                    key: key.clone(),
                });
            }
        }
        if let Some(backends) = &self.backends {
            let mut pools = config.pools.values_mut();
            match (pools.next(), pools.next()) {
                (Some(pool), None) => pool.backends.clone_from(backends),
                _ => bail!("LB_BACKENDS is for one pool: set the backends of each in the file"),
            }
        }
        for pool in config.pools.values_mut() {
            self.apply_to_pool(pool);
        }
        self.apply_to_admin(&mut config.admin);
        set(&mut config.process.threads, self.threads);
        set(
            &mut config.process.upstream_pool_size,
            self.upstream_pool_size,
        );
        self.clients.apply(&mut config.clients);
        self.cache.apply(&mut config.cache);
        let access_log = &mut config.access_log;
        if let Some(output) = &self.access_log {
            access_log.output.clone_from(output);
        }
        set(&mut access_log.sample, self.access_log_sample);
        set(&mut access_log.max_waiting, self.access_log_max_waiting);
        if self.upgrade_socket.is_some() {
            let process = &mut config.process;
            process.upgrade_socket.clone_from(&self.upgrade_socket);
        }
        if self.namespace_file.is_some() {
            let process = &mut config.process;
            process.namespace_file.clone_from(&self.namespace_file);
        }
        set(&mut config.process.grace, self.grace);
        set(&mut config.process.log_format, self.log_format);
        Ok(())
    }

    fn apply_to_admin(&self, admin: &mut Admin) {
        set(&mut admin.address, self.admin_listen);
        if self.admin_token.is_some() {
            admin.token.clone_from(&self.admin_token);
        }
    }

    fn apply_to_pool(&self, pool: &mut Pool) {
        set(&mut pool.algorithm, self.algorithm);
        if self.hash_header.is_some() {
            pool.hash_header.clone_from(&self.hash_header);
        }
        set(&mut pool.slow_start, self.slow_start);
        set(&mut pool.ejection.failures, self.eject_failures);
        set(&mut pool.ejection.base, self.eject_base);
        set(&mut pool.ejection.max, self.eject_max);
        set(&mut pool.ejection.max_percent, self.eject_max_percent);
        set(&mut pool.checks.interval, self.probe_interval);
        set(&mut pool.checks.timeout, self.probe_timeout);
        set(&mut pool.checks.rise, self.probe_rise);
        set(&mut pool.checks.fall, self.probe_fall);
        set(&mut pool.discovery.interval, self.dns_interval);
        set(&mut pool.discovery.timeout, self.dns_timeout);
        if self.dns_server.is_some() {
            pool.discovery.dns_server = self.dns_server;
        }
        set(&mut pool.discovery.ipv6, self.dns_ipv6);
        set(&mut pool.timeouts.connect, self.connect_timeout);
        set(&mut pool.timeouts.read, self.upstream_read_timeout);
        set(&mut pool.timeouts.stream, self.stream_timeout);
        set(&mut pool.timeouts.write, self.upstream_write_timeout);
        set(&mut pool.timeouts.idle, self.upstream_idle);
        set(&mut pool.retries.max_tries, self.max_tries);
        set(&mut pool.retries.budget_percent, self.retry_budget_percent);
        set(&mut pool.retries.budget_per_sec, self.retry_budget_per_sec);
        if let Some(statuses) = &self.retry_statuses {
            pool.retries.statuses.clone_from(statuses);
        }
        set(&mut pool.crowd.max_in_flight, self.max_in_flight);
        set(&mut pool.crowd.max_waiting, self.max_waiting);
        set(&mut pool.crowd.max_wait, self.max_wait);
    }
}

fn set<T: Copy>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}
