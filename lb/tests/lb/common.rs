//! A balancer in this process, on ports of the kernel's choice, and what every test needs.

use std::{
    collections::{BTreeMap, HashMap},
    fs::OpenOptions,
    io::Write,
    net::SocketAddr,
    time::Duration,
};

use clap::Parser;
use http::StatusCode;
use quiz_lb::{
    Listeners,
    config::{Config, cli::Cli},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time,
};

pub(crate) use crate::backend::{Action, Backend};

/// Longer than anything here takes on the slowest machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A balancer running in this process.
pub(crate) struct Balancer {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    reload: mpsc::Sender<Config>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Balancer {
    /// In front of these backends, with these flags on top.
    pub(crate) async fn start(backends: &str, flags: &[&str]) -> Self {
        Self::with(config(backends, flags)).await
    }

    /// With this configuration, but on ports of the kernel's choice. `addr` is that of the first listener.
    pub(crate) async fn with(config: Config) -> Self {
        let mut public = BTreeMap::new();
        for name in config.listeners.keys() {
            public.insert(name.clone(), listen().await);
        }
        let listeners = Listeners::new(public, listen().await);
        let first = listeners.public.values().next().expect("there is one");
        let (addr, admin) = (address(first), address(&listeners.admin));
        let (stop, stopped) = oneshot::channel();
        let (reload, reloads) = mpsc::channel(1);
        let running = tokio::spawn(quiz_lb::run(config, listeners, reloads, async {
            let _ = stopped.await;
        }));
        Self {
            addr,
            admin,
            reload,
            stop: Some(stop),
            running,
        }
    }

    /// Adopts another configuration.
    pub(crate) async fn reload(&self, config: Config) {
        self.reload.send(config).await.expect("it runs");
    }

    /// In front of these, and waits until all of them are healthy.
    pub(crate) async fn before(backends: &[&Backend], flags: &[&str]) -> Self {
        let list: Vec<_> = backends
            .iter()
            .map(|backend| backend.addr.to_string())
            .collect();
        let balancer = Self::start(&list.join(","), flags).await;
        for backend in backends {
            balancer.wait_for_state(backend.addr, "healthy").await;
        }
        balancer
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        client()
            .get(self.url(path))
            .send()
            .await
            .expect("the balancer answers")
    }

    /// Status and text of a page of the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> (StatusCode, String) {
        let reply = client()
            .get(format!("http://{}{path}", self.admin))
            .send()
            .await;
        let reply = reply.expect("the admin listener answers");
        (
            reply.status(),
            reply.text().await.expect("the admin listener sends text"),
        )
    }

    /// Value of one line of /metrics; 0 when there is no such line.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let (_, text) = self.admin_get("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| {
            value.parse().expect("a counter is a whole number")
        })
    }

    pub(crate) async fn wait_for_state(&self, backend: SocketAddr, state: &str) {
        let series =
            format!(r#"lb_backend_state{{backend="{backend}",pool="quiz",state="{state}"}}"#);
        eventually(&format!("{backend} is {state}"), async || {
            self.metric(&series).await == 1
        })
        .await;
    }

    /// Begins the drain and does not wait for its end.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits for the end of the drain.
    pub(crate) async fn ended(self) {
        let ended = time::timeout(PATIENCE, self.running)
            .await
            .expect("the drain ends");
        ended.expect("no panic").expect("no error");
    }
}

/// What these flags amount to, on top of what suits tests.
pub(crate) fn config(backends: &str, flags: &[&str]) -> Config {
    // Probes fast enough not to be waited for, patient enough for a busy machine.
    let usual = [
        "quiz-lb",
        "--backends",
        backends,
        "--probe-interval",
        "20",
        "--probe-timeout",
        "5000",
    ];
    let usual_too = [
        "--connect-timeout",
        "5000",
        "--dns-timeout",
        "5000",
        "--dns-interval",
        "50",
        "--slow-start",
        "0",
    ];
    let args = [&usual[..], &usual_too[..], flags].concat();
    let cli = Cli::try_parse_from(args).expect("the test gives valid flags");
    cli.load().expect("the test gives settings that fit")
}

/// A client with one connection at most, kept alive.
pub(crate) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .pool_max_idle_per_host(1)
        .timeout(PATIENCE);
    builder
        .no_proxy()
        .build()
        .expect("a plain client can be built")
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0")
        .await
        .expect("the loopback has a free port")
}

pub(crate) fn address(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .expect("a bound listener has an address")
}

/// Polls until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let polled = time::timeout(PATIENCE, async {
        while !holds().await {
            time::sleep(Duration::from_millis(5)).await;
        }
    });
    polled.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Sends bytes as they are and returns all that comes back until the other side closes, in lower case.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(addr)
        .await
        .expect("the balancer accepts");
    tcp.write_all(bytes).await.expect("the balancer reads");
    let mut reply = Vec::new();
    let read = time::timeout(PATIENCE, tcp.read_to_end(&mut reply)).await;
    read.expect("the balancer closes").expect("without a reset");
    String::from_utf8(reply)
        .expect("the reply is text")
        .to_ascii_lowercase()
}

/// Says that a test did not run, or not all of it, on standard error and in the file that `QUIZSTACK_SKIP_FILE` names.
pub(crate) fn skip(test: &str, reason: &str) {
    let line = format!("{test}: {reason}\n");
    eprint!("skipped {line}");
    if let Some(path) = std::env::var_os("QUIZSTACK_SKIP_FILE") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // One write, so that tests that run at the same time do not mix their lines.
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// How many of these texts there are of each.
pub(crate) fn shares(texts: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for text in texts {
        *shares.entry(text).or_default() += 1;
    }
    shares
}
