//! Three nodes in processes of their own, every message between two of them through a [`Proxy`].

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use quiz_storage::audit::{Audit, audit};
use quiz_storage::superblock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::proxy::{Line, Proxy};

pub(crate) const ACCESS_KEY: &str = "test-key";
pub(crate) const SECRET_KEY: &str = "test-secret";
/// Longest wait for the nodes to settle once nothing is wrong any more. Far more than it takes.
const SETTLED: Duration = Duration::from_secs(90);

struct Node {
    child: Child,
    command: Command,
    dir: PathBuf,
    log: PathBuf,
    s3: SocketAddr,
    admin: SocketAddr,
    /// Meant to be dead.
    dead: bool,
}

/// Three nodes, numbered from 0 here and from 1 by themselves. Killed when dropped.
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    /// From the first to the second.
    lines: Vec<(usize, usize, Proxy)>,
    http: reqwest::Client,
    folder: TempDir,
}

impl Nodes {
    /// Three nodes that all vote.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // All ports are held until the last is drawn, so that none is drawn twice.
        let sockets = [(); 3].map(|()| [(); 3].map(|()| reserve()));
        let addresses = sockets
            .each_ref()
            .map(|node| node.each_ref().map(|s| s.local_addr().unwrap()));
        let mut lines = Vec::new();
        for (from, to) in pairs() {
            lines.push((from, to, Proxy::start(addresses[to][1]).await));
        }
        drop(sockets);
        let mut nodes = Vec::new();
        for (node, [s3, peer, admin]) in addresses.into_iter().enumerate() {
            let mut peers = vec![format!("{}={peer}", node + 1)];
            let ways = lines.iter().filter(|(from, ..)| *from == node);
            peers.extend(ways.map(|(_, to, proxy)| format!("{}={}", to + 1, proxy.address)));
            let dir = folder.path().join(format!("node{}", node + 1));
            let log = folder.path().join(format!("node{}.log", node + 1));
            superblock::init(&dir, node as u8 + 1).unwrap();
            let mut command = serve(&dir, &log, node, [s3, peer, admin]);
            command.env("STORAGE_PEERS", peers.join(","));
            command.envs(settings.iter().copied());
            nodes.push(Node {
                child: command.spawn().unwrap(),
                command,
                dir,
                log,
                s3,
                admin,
                dead: false,
            });
        }
        let http = reqwest::Client::builder().no_proxy();
        let nodes = Self {
            nodes,
            lines,
            http: http.timeout(Duration::from_secs(2)).build().unwrap(),
            folder,
        };
        nodes.wait("all nodes vote", votes).await;
        nodes.wait_ready().await;
        nodes
    }

    /// Waits until each counts on others: in a new store, a node that votes is met by them a moment later.
    async fn wait_ready(&self) {
        let start = Instant::now();
        for node in &self.nodes {
            let ready = async || {
                let url = format!("http://{}/ready", node.admin);
                let reply = self.http.get(url).send().await;
                reply.is_ok_and(|reply| reply.status() == 200)
            };
            while !ready().await {
                assert!(start.elapsed() < SETTLED, "not ready\n{}", self.logs());
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// The S3 listeners.
    pub(crate) fn endpoints(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|node| self.nodes[node].s3)
    }

    pub(crate) fn set_line(&self, from: usize, to: usize, line: Line) {
        let mut lines = self.lines.iter();
        let found = lines.find(|(a, b, _)| (*a, *b) == (from, to));
        found.unwrap().2.set(line);
    }

    /// All lines to and from a node.
    pub(crate) fn set_lines_of(&self, node: usize, line: Line) {
        for (from, to, proxy) in &self.lines {
            if *from == node || *to == node {
                proxy.set(line);
            }
        }
    }

    fn signal(&mut self, node: usize, signal: Signal) {
        let node = &self.nodes[node];
        if !node.dead {
            kill_process(Pid::from_child(&node.child), signal).unwrap();
        }
    }

    pub(crate) fn freeze(&mut self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    pub(crate) fn thaw(&mut self, node: usize) {
        self.signal(node, Signal::CONT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
        self.nodes[node].child.kill().unwrap();
        self.nodes[node].child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.child = node.command.spawn().unwrap();
        node.dead = false;
    }

    /// Gives a dead node an empty folder.
    pub(crate) fn wipe(&self, node: usize) {
        fs::remove_dir_all(&self.nodes[node].dir).unwrap();
        superblock::init(&self.nodes[node].dir, node as u8 + 1).unwrap();
    }

    /// Copies the folder of a dead node, for [`Nodes::set_back`].
    pub(crate) fn back_up(&self, node: usize) {
        let copied = self.backup(node);
        if copied.exists() {
            fs::remove_dir_all(&copied).unwrap();
        }
        copy(&self.nodes[node].dir, &copied);
    }

    pub(crate) fn set_back(&self, node: usize) {
        fs::remove_dir_all(&self.nodes[node].dir).unwrap();
        copy(&self.backup(node), &self.nodes[node].dir);
    }

    pub(crate) fn has_backup(&self, node: usize) -> bool {
        self.backup(node).exists()
    }

    fn backup(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("backup{}", node + 1))
    }

    /// Waits until no node has anything to do any more: all vote, have what the others have, and no tombstone is left.
    pub(crate) async fn wait_quiet(&self) {
        self.wait("nothing to heal and no tombstone", |said| {
            let members = said["nodes"].as_array().unwrap().iter();
            let mut tombstones = members.map(|member| member["about"]["tombstones"].as_u64());
            said["state"] == "healthy" && tombstones.all(|left| left == Some(0))
        })
        .await;
    }

    pub(crate) async fn wait_voting(&self) {
        self.wait("all nodes vote", votes).await;
    }

    /// Waits until `holds` of what each of the nodes says of all.
    async fn wait(&self, what: &str, holds: impl Fn(&Json) -> bool) {
        let start = Instant::now();
        let mut last = Vec::new();
        loop {
            last.clear();
            for node in &self.nodes {
                let url = format!("http://{}/status", node.admin);
                let said = match self.http.get(url).send().await {
                    Ok(reply) => reply.json().await.unwrap_or_default(),
                    Err(_) => Json::Null,
                };
                last.push(said);
            }
            let good = |said: &Json| said.is_object() && holds(said);
            if last.iter().all(good) {
                return;
            }
            assert!(
                start.elapsed() < SETTLED,
                "still not so: {what}: {last:#?}\n{}",
                self.logs()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether all nodes run that should.
    pub(crate) fn check_alive(&mut self) {
        for at in 0..3 {
            let node = &mut self.nodes[at];
            if node.dead {
                continue;
            }
            let (at, ended) = (at + 1, node.child.try_wait().unwrap());
            assert!(
                ended.is_none(),
                "node {at} ended: {ended:?}\n{}",
                self.logs()
            );
        }
    }

    /// Ends all nodes and looks through their folders.
    pub(crate) fn audit(&mut self) -> Vec<Audit> {
        (0..3).for_each(|node| self.kill(node));
        let nodes = self.nodes.iter().zip(1..);
        nodes
            .map(|(node, at)| audit(&node.dir, at).unwrap())
            .collect()
    }

    /// The end of each node's log.
    pub(crate) fn logs(&self) -> String {
        let nodes = self.nodes.iter().zip(1..);
        let logs = nodes.map(|(node, at)| format!("--- node {at}\n{}\n", tail(&node.log)));
        logs.collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.child.kill().ok();
            node.child.wait().ok();
        }
    }
}

fn votes(said: &Json) -> bool {
    said["state"] == "healthy" || said["state"] == "healing"
}

/// Every node and every other.
pub(crate) fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..9)
        .map(|pair| (pair / 3, pair % 3))
        .filter(|(a, b)| a != b)
}

/// A free port below the range that the kernel takes ports for outgoing connections from, and below that of the lab. No
/// other test takes it while its node is dead, as the UDP port of the same number is held until this process ends.
fn reserve() -> TcpListener {
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    loop {
        let address = ("127.0.0.1", rand::random_range(10_000..20_000));
        if let (Ok(held), Ok(socket)) = (UdpSocket::bind(address), TcpListener::bind(address)) {
            HELD.lock().unwrap().push(held);
            return socket;
        }
    }
}

fn serve(dir: &Path, log: &Path, node: usize, [s3, peer, admin]: [SocketAddr; 3]) -> Command {
    let log = OpenOptions::new().create(true).append(true).open(log);
    let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-storage"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stderr(log.unwrap())
        .arg("serve")
        .env("STORAGE_DIR", dir)
        .env("STORAGE_NODE", (node + 1).to_string())
        .env("STORAGE_LISTEN", s3.to_string())
        .env("STORAGE_PEER_LISTEN", peer.to_string())
        .env("STORAGE_ADMIN_LISTEN", admin.to_string())
        .env("STORAGE_CLUSTER_SECRET", "0123456789abcdef0123456789abcdef")
        .env("STORAGE_ACCESS_KEY_ID", ACCESS_KEY)
        .env("STORAGE_SECRET_ACCESS_KEY", SECRET_KEY);
    command
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn tail(log: &Path) -> String {
    let mut file = File::open(log).unwrap();
    let len = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(len.saturating_sub(8_000)))
        .unwrap();
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    String::from_utf8_lossy(&end).into_owned()
}
