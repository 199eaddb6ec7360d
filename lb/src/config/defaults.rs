//! What holds when nobody says otherwise; `lb.toml` beside the sources shows all of it, with the reasons.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::*;

impl Default for Config {
    fn default() -> Self {
        let listener = Listener {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
            pool: default_pool(),
            proxy_protocol: false,
            http2: false,
            tls: None,
        };
        Self {
            listeners: BTreeMap::from([(LISTENER.to_owned(), listener)]),
            admin: Admin::default(),
            pools: BTreeMap::from([(default_pool(), Pool::default())]),
            clients: Clients::default(),
            cache: Cache::default(),
            access_log: access_log::AccessLog::default(),
            process: Process::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            token: None,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            backends: Vec::new(),
            disabled: Vec::new(),
            algorithm: Algorithm::RoundRobin,
            hash_header: None,
            slow_start: Duration::from_secs(10),
            checks: Checks::default(),
            ejection: Ejection::default(),
            discovery: Discovery::default(),
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            crowd: Crowd::default(),
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(1000),
            rise: 1,
            fall: 2,
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: 5,
            base: Duration::from_secs(5),
            max: Duration::from_secs(60),
            max_percent: 50,
        }
    }
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(1000),
            timeout: Duration::from_millis(300),
            dns_server: None,
            ipv6: true,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(300),
            read: Duration::from_secs(30),
            stream: Duration::from_secs(3600),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(30),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max_tries: 3,
            budget_percent: 20,
            budget_per_sec: 10,
            statuses: Statuses::default(),
        }
    }
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            max_in_flight: 512,
            max_waiting: 1024,
            max_wait: Duration::from_millis(1000),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            grace: Duration::from_secs(10),
            log_format: LogFormat::Text,
            upgrade_socket: None,
            namespace_file: None,
            upstream_pool_size: 512,
        }
    }
}
