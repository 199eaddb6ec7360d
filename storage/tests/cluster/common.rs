//! Three nodes in this process, each with a folder and three ports of its own, and clients for them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener as Socket, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use quiz_storage::config::{Config, Peers, Place, Secret};
use quiz_storage::{Listeners, superblock};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const ACCESS_KEY: &str = "test-key";
pub(crate) const SECRET_KEY: &str = "test-secret";
pub(crate) const CLUSTER_SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Longest wait for anything that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(15);

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

pub(crate) struct TestNode {
    pub(crate) config: Config,
    running: Option<Running>,
}

pub(crate) struct TestCluster {
    pub(crate) nodes: Vec<TestNode>,
    _folder: TempDir,
}

impl TestCluster {
    /// Three running nodes, ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(|config| config.fsync = false).await
    }

    /// Three running nodes with other settings, ready.
    pub(crate) async fn start_with(change: impl Fn(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listeners = [(); 3].map(|()| listeners(reserve()));
        let addresses = listeners
            .iter()
            .map(|l| l.peer.local_addr().unwrap().to_string());
        let peers = Peers((1..=3).zip(addresses).collect());
        let mut cluster = Self {
            nodes: Vec::new(),
            _folder: folder,
        };
        for (node, listeners) in (1..=3).zip(listeners) {
            let dir = cluster._folder.path().join(format!("node{node}"));
            superblock::init(&dir, node).unwrap();
            let mut config = config(node, &dir, peers.clone(), &listeners);
            change(&mut config);
            let running = Some(run(listeners, config.clone()));
            cluster.nodes.push(TestNode { config, running });
        }
        for node in 0..3 {
            cluster.wait_ready(node).await;
            for other in (1..=3).filter(|other| *other != node + 1) {
                let name = format!("storage_peer_counts{{node=\"{other}\"}}");
                eventually("the nodes have met", async || {
                    cluster.gauge(node, &name).await == 1
                })
                .await;
            }
        }
        cluster
    }

    /// One running node on its own, ready, that collects tombstones as soon as it can.
    pub(crate) async fn single() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listeners = listeners(reserve());
        let peers = [(1, listeners.peer.local_addr().unwrap().to_string())];
        let dir = folder.path().join("node1");
        superblock::init(&dir, 1).unwrap();
        let mut config = config(1, &dir, Peers(peers.into()), &listeners);
        config.fsync = false;
        config.collect_after_secs = 0;
        let running = Some(run(listeners, config.clone()));
        let cluster = Self {
            nodes: vec![TestNode { config, running }],
            _folder: folder,
        };
        cluster.wait_ready(0).await;
        cluster
    }

    /// Why a stopped node cannot be started.
    pub(crate) async fn fails_to_start(&self, node: usize) -> String {
        let config = self.nodes[node].config.clone();
        let listeners = bind([config.listen, config.peer_listen, config.admin_listen]).await;
        let ended = run(listeners, config).ended.await.unwrap();
        format!("{:#}", ended.unwrap_err())
    }

    /// Ends a node; its folder is closed when this returns.
    pub(crate) async fn stop(&mut self, node: usize) {
        let running = self.nodes[node].running.take().unwrap();
        running.stop.send(()).unwrap();
        running.ended.await.unwrap().unwrap();
    }

    /// Starts a stopped node on its old ports.
    pub(crate) async fn restart(&mut self, node: usize) {
        let config = self.nodes[node].config.clone();
        let listeners = bind([config.listen, config.peer_listen, config.admin_listen]).await;
        self.nodes[node].running = Some(run(listeners, config));
    }

    /// Replaces a stopped node by one that takes connections and never answers.
    pub(crate) async fn freeze(&mut self, node: usize) -> Vec<TcpListener> {
        let config = &self.nodes[node].config;
        let mut silent = Vec::new();
        for address in [config.listen, config.peer_listen] {
            silent.push(TcpListener::bind(address).await.unwrap());
        }
        silent
    }

    pub(crate) async fn wait_ready(&self, node: usize) {
        let address = self.nodes[node].config.admin_listen;
        wait_ready(address).await;
    }

    /// A client of one node that never retries.
    pub(crate) fn store(&self, node: usize) -> AmazonS3 {
        client(self.nodes[node].config.listen).build().unwrap()
    }

    pub(crate) fn dir(&self, node: usize) -> &Path {
        &self.nodes[node].config.place.dir
    }

    /// The blob files of a node.
    pub(crate) fn blobs(&self, node: usize) -> Vec<PathBuf> {
        files(&self.dir(node).join("blobs"))
    }

    /// What the admin listener of a node answers.
    pub(crate) async fn admin(
        &self,
        node: usize,
        method: http::Method,
        path: &str,
    ) -> serde_json::Value {
        let url = format!("http://{}{path}", self.nodes[node].config.admin_listen);
        let client = reqwest::Client::new();
        let reply = client.request(method, url).send().await.unwrap();
        assert!(reply.status().is_success(), "{}", reply.status());
        reply.json().await.unwrap()
    }

    /// What a node says of all.
    pub(crate) async fn status(&self, node: usize) -> serde_json::Value {
        self.admin(node, http::Method::GET, "/status").await
    }

    /// A gauge of a node.
    pub(crate) async fn gauge(&self, node: usize, name: &str) -> i64 {
        let url = format!("http://{}/metrics", self.nodes[node].config.admin_listen);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(name));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// Three free ports below the range that the kernel takes ports for outgoing connections from, and below that of the
/// lab. No other test takes one while its node is stopped, as the UDP port of the same number is held until this process
/// ends. The sockets hold them until they are served or dropped.
pub(crate) fn reserve() -> [Socket; 3] {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    [(); 3].map(|()| {
        loop {
            let address = ("127.0.0.1", rand::random_range(10_000..20_000));
            if let (Ok(held), Ok(socket)) = (UdpSocket::bind(address), Socket::bind(address)) {
                HELD.lock().unwrap().push(held);
                return socket;
            }
        }
    })
}

fn listeners(sockets: [Socket; 3]) -> Listeners {
    let [s3, peer, admin] = sockets.map(|socket| {
        socket.set_nonblocking(true).unwrap();
        TcpListener::from_std(socket).unwrap()
    });
    Listeners { s3, peer, admin }
}

fn run(listeners: Listeners, config: Config) -> Running {
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        stopped.await.ok();
    };
    let ended = tokio::spawn(quiz_storage::run(listeners, config, shutdown));
    Running { stop, ended }
}

async fn bind([s3, peer, admin]: [SocketAddr; 3]) -> Listeners {
    Listeners {
        s3: TcpListener::bind(s3).await.unwrap(),
        peer: TcpListener::bind(peer).await.unwrap(),
        admin: TcpListener::bind(admin).await.unwrap(),
    }
}

fn config(node: u8, dir: &Path, peers: Peers, listeners: &Listeners) -> Config {
    Config {
        place: Place {
            node,
            dir: dir.to_owned(),
        },
        init: false,
        listen: listeners.s3.local_addr().unwrap(),
        peer_listen: listeners.peer.local_addr().unwrap(),
        admin_listen: listeners.admin.local_addr().unwrap(),
        peers,
        cluster_secret: Secret::new(CLUSTER_SECRET),
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: Secret::new(SECRET_KEY),
        bucket: "quiz".to_owned(),
        anonymous_read: false,
        max_object_bytes: 64 * 1024 * 1024,
        max_uploads: 16,
        max_read_bytes: 64 * 1024 * 1024,
        disk_read_bytes: 4 * 1024 * 1024,
        upload_min_bytes_per_sec: 256 * 1024,
        read_min_bytes_per_sec: 64 * 1024,
        upload_expiry_secs: 3_600,
        // Nodes of many tests share two cores: only a test about deadlines is to see one pass.
        rpc_deadline_ms: 5_000,
        blob_deadline_ms: 5_000,
        piece_deadline_ms: 10_000,
        blob_min_bytes_per_sec: 4 * 1024 * 1024,
        contention_ms: 5_000,
        heartbeat_ms: 50,
        collect_after_secs: 3_600,
        sweep_after_secs: 3_600,
        scrub_every_secs: 3_600,
        scrub_bytes_per_sec: 1024 * 1024 * 1024,
        reserve_bytes: 0,
        reserve_percent: 0,
        grace_secs: 5,
        fsync: true,
    }
}

/// A client of the node at `address` that never retries.
pub(crate) fn client(address: SocketAddr) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(format!("http://{address}"))
        .with_allow_http(true)
        .with_bucket_name("quiz")
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_client_options(
            ClientOptions::new()
                .with_allow_http(true)
                .with_timeout(SOON),
        )
        .with_retry(retries(0))
}

pub(crate) fn retries(max_retries: usize) -> RetryConfig {
    RetryConfig {
        max_retries,
        retry_timeout: SOON,
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(10),
            max_backoff: Duration::from_millis(50),
            base: 2.0,
        },
    }
}

pub(crate) async fn wait_ready(admin: SocketAddr) {
    let url = format!("http://{admin}/ready");
    eventually("the node is ready", async || {
        let reply = reqwest::get(&url).await;
        reply.is_ok_and(|reply| reply.status() == 200)
    })
    .await;
}

/// Polls until `check` holds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !check().await {
        assert!(start.elapsed() < SOON, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A number that `make test-full` sets higher.
pub(crate) fn number(variable: &str, default: usize) -> usize {
    let given = std::env::var_os(variable);
    given.map_or(default, |number| number.to_str().unwrap().parse().unwrap())
}

/// All files below `dir`.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}

/// Path and query of a presigned request to the first node.
pub(crate) async fn presign(cluster: &TestCluster, method: http::Method, key: &str) -> String {
    presigned(&cluster.store(0), method, key).await
}

/// Path and query of a presigned request.
pub(crate) async fn presigned(store: &AmazonS3, method: http::Method, key: &str) -> String {
    use object_store::signer::Signer as _;
    let soon = Duration::from_secs(600);
    let url = store
        .signed_url(method, &object_store::path::Path::from(key), soon)
        .await
        .unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// Says that a test did not run, on standard error and in the file that `QUIZSTACK_SKIP_FILE` names.
pub(crate) fn skip(test: &str, reason: &str) {
    eprintln!("skipped {test}: {reason}");
    if let Some(path) = std::env::var_os("QUIZSTACK_SKIP_FILE") {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path);
        writeln!(file.unwrap(), "{test}: {reason}").unwrap();
    }
}
