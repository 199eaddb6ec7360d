//! Three nodes of quiz-storage, as processes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};

/// The three nodes of this run.
pub(crate) struct Nodes {
    program: PathBuf,
    dir: PathBuf,
    ports: [[u16; 3]; 3],
    children: Vec<Option<Child>>,
}

impl Nodes {
    pub(crate) fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
        let mut nodes = Self {
            program: program.to_owned(),
            dir: dir.to_owned(),
            ports: [ports()?, ports()?, ports()?],
            children: vec![None, None, None],
        };
        for node in 0..3 {
            let done = nodes.command("init", node).status()?;
            ensure!(done.success(), "quiz-storage init failed");
            nodes.run(node)?;
        }
        Ok(nodes)
    }

    fn command(&self, command: &str, node: usize) -> Command {
        let mut program = Command::new(&self.program);
        program
            .arg(command)
            .env("STORAGE_NODE", (node + 1).to_string())
            .env("STORAGE_DIR", self.dir.join(format!("node{}", node + 1)))
            .env("RUST_LOG", "warn");
        program
    }

    pub(crate) fn run(&mut self, node: usize) -> anyhow::Result<()> {
        let peers: Vec<_> = (0..3)
            .map(|n| format!("{}=127.0.0.1:{}", n + 1, self.ports[n][1]))
            .collect();
        let [s3, peer, admin] = self.ports[node].map(|port| format!("127.0.0.1:{port}"));
        let child = self
            .command("serve", node)
            .env("STORAGE_LISTEN", s3)
            .env("STORAGE_PEER_LISTEN", peer)
            .env("STORAGE_ADMIN_LISTEN", admin)
            .env("STORAGE_PEERS", peers.join(","))
            .env("STORAGE_CLUSTER_SECRET", "bench".repeat(8))
            .env("STORAGE_ACCESS_KEY_ID", "bench")
            .env("STORAGE_SECRET_ACCESS_KEY", "bench")
            .env("STORAGE_COLLECT_AFTER_SECS", "5")
            // What has been measured need not stay on the disk, but is not to be looked for all the time.
            .env("STORAGE_SWEEP_AFTER_SECS", "60")
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting quiz-storage")?;
        self.children[node] = Some(child);
        Ok(())
    }

    pub(crate) fn signal(
        &self,
        node: usize,
        signal: rustix::process::Signal,
    ) -> anyhow::Result<()> {
        let child = self.children[node].as_ref().context("the node runs")?;
        let pid = rustix::process::Pid::from_child(child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    pub(crate) fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        let mut child = self.children[node].take().context("the node runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    pub(crate) fn store(&self, node: usize) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(Duration::from_secs(120));
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.ports[node][0]))
            .with_allow_http(true)
            .with_bucket_name("quiz")
            .with_region("us-east-1")
            .with_access_key_id("bench")
            .with_secret_access_key("bench")
            .with_client_options(options)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            });
        Ok(Arc::new(store.build()?))
    }

    pub(crate) async fn metric(&self, node: usize, name: &str) -> anyhow::Result<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports[node][2]);
        let text = reqwest::get(url).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("no such metric")?.trim().parse()?)
    }

    pub(crate) async fn wait_ready(&self) -> anyhow::Result<()> {
        for node in 0..3 {
            let url = format!("http://127.0.0.1:{}/ready", self.ports[node][2]);
            let ready = async || {
                let reply = reqwest::get(&url).await;
                Ok(reply.is_ok_and(|reply| reply.status() == 200))
            };
            until(Duration::from_secs(30), ready).await?;
        }
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn ports() -> anyhow::Result<[u16; 3]> {
    let sockets: Vec<_> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let ports: Vec<_> = sockets
        .iter()
        .map(|socket| Ok(socket.local_addr()?.port()))
        .collect::<anyhow::Result<_>>()?;
    Ok([ports[0], ports[1], ports[2]])
}

pub(crate) async fn until(
    limit: Duration,
    check: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !check().await? {
        ensure!(start.elapsed() < limit, "not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
