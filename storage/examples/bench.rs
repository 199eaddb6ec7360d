//! Compares three storage nodes with `GlusterFS` replica 3 on the same disk, with the same client library, in one run.
//!
//! Run by `make bench-storage` (`lab/scripts/bench-storage.sh`), which makes the volume and mounts it. Starts three nodes of its
//! own below `--dir`. The two take turns, and so does a raw loop of write, fsync and rename, which is what the disk can do at
//! best with one copy. Prints a Markdown table of medians with the spread of the rounds, and the ratios that count.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};

const SIZES: [(usize, &str); 3] = [
    (10 * 1024, "10 KiB"),
    (100 * 1024, "100 KiB"),
    (1024 * 1024, "1 MiB"),
];
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// Bytes of the objects that are written for one measurement of reads, and the most objects. Each is read once, by a client
/// that did not write it, as a front-end reads most pictures: a second read would measure the client's own memory.
const READ_BYTES: usize = 64 * 1024 * 1024;
const READ_OBJECTS: usize = 500;

/// Measures the store beside `GlusterFS` and the raw disk.
#[derive(Debug, Parser)]
struct Args {
    /// The program `quiz-storage`.
    #[arg(long)]
    program: PathBuf,
    /// An empty folder on the disk to measure.
    #[arg(long)]
    dir: PathBuf,
    /// The mounted volume; without it the table has no peer.
    #[arg(long)]
    gluster: Option<PathBuf>,
    /// Another mount of the volume, for reading.
    #[arg(long, requires = "gluster")]
    gluster_read: Option<PathBuf>,
    /// The folder of the volume's third brick, and the commands that stop and start it.
    #[arg(long, requires_all = ["brick_stop", "brick_start", "brick_freeze", "brick_thaw"])]
    brick: Option<PathBuf>,
    #[arg(long)]
    brick_stop: Option<String>,
    #[arg(long)]
    brick_start: Option<String>,
    #[arg(long)]
    brick_freeze: Option<String>,
    #[arg(long)]
    brick_thaw: Option<String>,
    /// Times that each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement. Needs some 2 GiB of free disk for each.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the measurements whose names contain this, such as "PUT 100 KiB, 8 at once"; no faults and no healing.
    #[arg(long)]
    only: Option<String>,
    /// New objects of the healing run; a tenth as many are deleted.
    #[arg(long, default_value_t = 10_000)]
    heal: usize,
}

/// What has to come out, beside what came out.
#[derive(Default)]
struct Bars(Vec<(String, bool)>);

impl Bars {
    fn at_least(&mut self, what: &str, bar: f64, value: f64) {
        self.note(format!("{what}: at least {bar}: {value:.2}"), value >= bar);
    }

    fn at_most(&mut self, what: &str, bar: f64, value: f64) {
        self.note(format!("{what}: at most {bar}: {value:.2}"), value <= bar);
    }

    fn note(&mut self, text: String, met: bool) {
        self.0.push((text, met));
    }

    /// Prints them. Fails when one was missed.
    fn end(self) -> anyhow::Result<()> {
        println!("\n| bar | |\n|---|---|");
        for (text, met) in &self.0 {
            println!("| {text} | {} |", if *met { "met" } else { "MISSED" });
        }
        let missed = self.0.iter().filter(|(_, met)| !met).count();
        ensure!(missed == 0, "{missed} bars were missed");
        Ok(())
    }
}

/// The three nodes of this run.
struct Nodes {
    program: PathBuf,
    dir: PathBuf,
    ports: [[u16; 3]; 3],
    children: Vec<Option<Child>>,
}

impl Nodes {
    fn start(program: &Path, dir: &Path) -> anyhow::Result<Self> {
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

    fn run(&mut self, node: usize) -> anyhow::Result<()> {
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
            // What has been measured need not stay on the disk.
            .env("STORAGE_SWEEP_AFTER_SECS", "5")
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting quiz-storage")?;
        self.children[node] = Some(child);
        Ok(())
    }

    fn signal(&self, node: usize, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let child = self.children[node].as_ref().context("the node runs")?;
        let pid = rustix::process::Pid::from_child(child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    fn kill(&mut self, node: usize) -> anyhow::Result<()> {
        let mut child = self.children[node].take().context("the node runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn store(&self, node: usize) -> anyhow::Result<Arc<dyn ObjectStore>> {
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

    async fn metric(&self, node: usize, name: &str) -> anyhow::Result<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports[node][2]);
        let text = reqwest::get(url).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("no such metric")?.trim().parse()?)
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
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

async fn until(
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

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    per_sec: f64,
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Clone)]
enum Store {
    Objects {
        write: Vec<Arc<dyn ObjectStore>>,
        read: Vec<Arc<dyn ObjectStore>>,
    },
    Raw(PathBuf),
}

impl Store {
    fn of(stores: Vec<Arc<dyn ObjectStore>>) -> Self {
        Self::Objects {
            read: stores.clone(),
            write: stores,
        }
    }

    async fn put(&self, turn: usize, key: String, bytes: bytes::Bytes) -> anyhow::Result<()> {
        match self {
            Self::Objects { write, .. } => {
                let store = &write[turn % write.len()];
                store.put(&Key::from(key), bytes.into()).await?;
            }
            Self::Raw(dir) => {
                let (temporary, path) = (dir.join(format!("{key}.new")), dir.join(&key));
                let dir = dir.clone();
                tokio::task::spawn_blocking(move || {
                    use std::io::Write as _;
                    let mut file = std::fs::File::create(&temporary)?;
                    file.write_all(&bytes)?;
                    file.sync_all()?;
                    std::fs::rename(&temporary, path)?;
                    std::fs::File::open(dir)?.sync_all()
                })
                .await??;
            }
        }
        Ok(())
    }

    /// Removes what begins with `prefix`, which is not measured.
    async fn clear(&self, prefix: &str) -> anyhow::Result<()> {
        match self {
            Self::Objects { write, .. } => {
                let store = &write[0];
                let prefix = prefix.to_owned();
                let listed = store.list(None).map_ok(|object| object.location);
                let ours = listed
                    .try_filter(move |key| std::future::ready(key.as_ref().starts_with(&prefix)));
                let deleted = store.delete_stream(ours.boxed());
                deleted.try_for_each(|_| std::future::ready(Ok(()))).await?;
            }
            Self::Raw(dir) => {
                for entry in std::fs::read_dir(dir)? {
                    std::fs::remove_file(entry?.path())?;
                }
            }
        }
        Ok(())
    }

    async fn get(&self, turn: usize, key: String) -> anyhow::Result<usize> {
        match self {
            Self::Objects { read, .. } => {
                let store = &read[turn % read.len()];
                Ok(store.get(&Key::from(key)).await?.bytes().await?.len())
            }
            Self::Raw(dir) => {
                let path = dir.join(key);
                Ok(tokio::task::spawn_blocking(move || std::fs::read(path))
                    .await??
                    .len())
            }
        }
    }
}

/// Runs `work` in so many workers for a while.
async fn measure<F>(
    workers: usize,
    time: Duration,
    most: usize,
    work: impl Fn(usize) -> F,
) -> anyhow::Result<Sample>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let start = Instant::now();
    let turn = AtomicUsize::new(0);
    let (turn, work) = (&turn, &work);
    let mut running: futures::stream::FuturesUnordered<_> = (0..workers)
        .map(|_| async move {
            let mut took = Vec::new();
            while start.elapsed() < time {
                let began = Instant::now();
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                if turn >= most {
                    break;
                }
                work(turn).await?;
                took.push(began.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(took)
        })
        .collect();
    let mut all = Vec::new();
    while let Some(took) = running.next().await {
        all.extend(took?);
    }
    let elapsed = start.elapsed().as_secs_f64();
    all.sort_by(f64::total_cmp);
    ensure!(!all.is_empty(), "nothing was done");
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Ok(Sample {
        per_sec: all.len() as f64 / elapsed,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

/// Bytes that differ from those of every other object, which nothing can compress or share.
fn bytes_of(size: usize) -> bytes::Bytes {
    let mut bytes = vec![0; size];
    rand::fill(&mut bytes[..]);
    bytes.into()
}

fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}

async fn throughput(args: &Args, stores: &[(&str, Store)], bars: &mut Bars) -> anyhow::Result<()> {
    println!("| work | at once | {} |", heads(stores));
    println!("|---|---|{}", "---|".repeat(stores.len() + 1));
    let time = Duration::from_secs(args.seconds);
    let mut unique = 0;
    for verb in ["PUT", "GET"] {
        for (size, name) in SIZES {
            for workers in CONCURRENCY {
                let what = format!("{verb} {name}, {workers} at once");
                if args.only.as_ref().is_some_and(|only| !what.contains(only)) {
                    continue;
                }
                let mut samples = vec![Vec::new(); stores.len()];
                for _ in 0..args.rounds {
                    for ((_, store), samples) in stores.iter().zip(&mut samples) {
                        unique += 1;
                        let prefix = format!("{verb}-{size}-{workers}-{unique}");
                        let name = |turn| format!("{prefix}-{turn}");
                        let sample = if verb == "PUT" {
                            let put = |turn| store.put(turn, name(turn), bytes_of(size));
                            measure(workers, time, usize::MAX, put).await?
                        } else {
                            let count = READ_OBJECTS.min(READ_BYTES / size);
                            fill(store, &prefix, count, size).await?;
                            let get = |turn| async move {
                                // By another node than the one that took it.
                                ensure!(store.get(turn + 1, name(turn)).await? == size, "short");
                                Ok(())
                            };
                            measure(workers, time, count, get).await?
                        };
                        samples.push(sample);
                        store.clear(&prefix).await?;
                    }
                }
                println!("| {verb} {name} | {workers} | {} |", cells(&samples));
                if stores.len() > 2 {
                    judge(bars, verb, name, workers, &samples);
                }
            }
        }
    }
    Ok(())
}

/// Compares with `GlusterFS` what there is a bar for.
fn judge(bars: &mut Bars, verb: &str, size: &str, workers: usize, samples: &[Vec<Sample>]) {
    let ratio = |of: fn(&Sample) -> f64| median(&samples[0], of).1 / median(&samples[1], of).1;
    match (verb, size, workers) {
        ("PUT", "100 KiB", 8) => {
            bars.at_least(
                "PUT 100 KiB, 8 at once, times GlusterFS",
                4.0,
                ratio(|s| s.per_sec),
            );
        }
        ("PUT", "10 KiB", 1) => {
            bars.at_most("PUT 10 KiB, p50 beside GlusterFS", 0.5, ratio(|s| s.p50_ms));
        }
        ("GET", "100 KiB", 8) => {
            bars.at_least(
                "GET 100 KiB, 8 at once, times GlusterFS",
                1.5,
                ratio(|s| s.per_sec),
            );
        }
        _ => {}
    }
}

fn heads(stores: &[(&str, Store)]) -> String {
    let names: Vec<_> = stores.iter().map(|(name, _)| *name).collect();
    format!("{} | {} / {}", names.join(" | "), names[0], names[1])
}

fn cells(samples: &[Vec<Sample>]) -> String {
    let mut cells: Vec<_> = samples
        .iter()
        .map(|samples| {
            let (least, rate, most) = median(samples, |sample| sample.per_sec);
            let (_, p50, _) = median(samples, |sample| sample.p50_ms);
            let (_, p99, _) = median(samples, |sample| sample.p99_ms);
            format!("{rate:.0}/s ({least:.0}-{most:.0}), p50 {p50:.1} p99 {p99:.0} ms")
        })
        .collect();
    let rate = |samples: &[Sample]| median(samples, |sample| sample.per_sec).1;
    cells.push(format!("{:.1}x", rate(&samples[0]) / rate(&samples[1])));
    cells.join(" | ")
}

/// The longest of the requests in ten seconds after `event`.
async fn longest(store: &Store, event: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    event()?;
    let start = Instant::now();
    let mut longest = 0.0_f64;
    let mut turn = 0;
    while start.elapsed() < Duration::from_secs(10) {
        let began = Instant::now();
        let key = format!("fault-{}", rand::random::<u64>());
        let limit = Duration::from_secs(100);
        let both = async {
            store.put(0, key.clone(), bytes_of(10 * 1024)).await?;
            let put = began.elapsed();
            store.get(0, key).await?;
            anyhow::Ok(put.max(began.elapsed() - put))
        };
        match tokio::time::timeout(limit, both).await {
            Ok(took) => longest = longest.max(took?.as_secs_f64() * 1_000.0),
            Err(_) => return Ok(limit.as_secs_f64() * 1_000.0),
        }
        turn += 1;
    }
    ensure!(turn > 0, "nothing was done");
    Ok(longest)
}

fn shell(command: Option<&String>) -> anyhow::Result<()> {
    let command = command.context("the command for the brick")?;
    let done = Command::new("sh").arg("-c").arg(command).status()?;
    ensure!(done.success(), "`{command}` failed");
    Ok(())
}

/// Writes so many objects, sixteen at a time.
async fn fill(store: &Store, prefix: &str, count: usize, size: usize) -> anyhow::Result<()> {
    let puts = futures::stream::iter(0..count)
        .map(|i| store.put(i, format!("{prefix}-{i}"), bytes_of(size)));
    let mut puts = puts.buffer_unordered(16);
    while let Some(put) = puts.next().await {
        put?;
    }
    Ok(())
}

async fn delete(store: &Store, names: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let Store::Objects { write, .. } = store else {
        bail!("only objects are deleted");
    };
    for name in names {
        write[0].delete(&Key::from(name)).await?;
    }
    Ok(())
}

/// One node is down while much changes: how long until it has everything again?
async fn healing(
    args: &Args,
    nodes: &mut Nodes,
    gluster: Option<&Store>,
    bars: &mut Bars,
) -> anyhow::Result<()> {
    let deleted = args.heal / 10;
    println!(
        "\n| healing after {} new and {deleted} deleted objects of 10 KiB | seconds | objects/s |",
        args.heal
    );
    println!("|---|---|---|");
    let row = |name: &str, took: Duration| {
        let seconds = took.as_secs_f64();
        let rate = (args.heal + deleted) as f64 / seconds;
        println!("| {name} | {seconds:.1} | {rate:.0} |");
    };
    let ours = Store::of(vec![nodes.store(0)?, nodes.store(1)?]);
    for i in 0..deleted {
        ours.put(i, format!("old-{i}"), bytes_of(10 * 1024)).await?;
    }
    let left = "storage_entries_to_heal{node=\"3\"} ";
    let settled = async |nodes: &Nodes| -> anyhow::Result<bool> {
        Ok(nodes.metric(0, left).await? == 0 && nodes.metric(1, left).await? == 0)
    };
    until(Duration::from_secs(60), async || settled(nodes).await).await?;
    nodes.kill(2)?;
    fill(&ours, "heal", args.heal, 10 * 1024).await?;
    delete(&ours, (0..deleted).map(|i| format!("old-{i}"))).await?;
    nodes.run(2)?;
    let start = Instant::now();
    until(Duration::from_secs(600), async || settled(nodes).await).await?;
    let mine = start.elapsed();
    row("quiz-storage", mine);
    let (Some(gluster), Some(brick)) = (gluster, &args.brick) else {
        return Ok(());
    };
    for i in 0..deleted {
        gluster
            .put(i, format!("old-{i}"), bytes_of(10 * 1024))
            .await?;
    }
    shell(args.brick_stop.as_ref())?;
    fill(gluster, "heal", args.heal, 10 * 1024).await?;
    delete(gluster, (0..deleted).map(|i| format!("old-{i}"))).await?;
    shell(args.brick_start.as_ref())?;
    let start = Instant::now();
    let complete = async || {
        let held = |prefix: &str| -> anyhow::Result<usize> {
            let mut count = 0;
            for entry in std::fs::read_dir(brick)? {
                let entry = entry?;
                let ours = entry.file_name().to_string_lossy().starts_with(prefix);
                count += usize::from(ours && entry.metadata()?.len() == 10 * 1024);
            }
            Ok(count)
        };
        Ok(held("heal-")? == args.heal && held("old-")? == 0)
    };
    until(Duration::from_secs(1_200), complete).await?;
    let theirs = start.elapsed();
    row("GlusterFS", theirs);
    let ratio = theirs.as_secs_f64() / mine.as_secs_f64();
    bars.at_least("healing, times GlusterFS", 10.0, ratio);
    Ok(())
}

async fn faults(
    args: &Args,
    nodes: &mut Nodes,
    gluster: Option<&Store>,
    bars: &mut Bars,
) -> anyhow::Result<()> {
    println!(
        "\n| longest PUT or GET of 10 KiB in the ten seconds after | quiz-storage | GlusterFS |"
    );
    println!("|---|---|---|");
    let ours = Store::of(vec![nodes.store(0)?]);
    let show = |longest: Option<f64>| longest.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    let mine = longest(&ours, || nodes.signal(2, rustix::process::Signal::STOP)).await?;
    nodes.signal(2, rustix::process::Signal::CONT)?;
    bars.at_most("longest request after SIGSTOP, ms", 1_000.0, mine);
    let theirs = match gluster.filter(|_| args.brick.is_some()) {
        Some(gluster) => {
            let took = longest(gluster, || shell(args.brick_freeze.as_ref())).await;
            shell(args.brick_thaw.as_ref())?;
            Some(took?)
        }
        None => None,
    };
    println!(
        "| one node is frozen (SIGSTOP) | {} | {} |",
        show(Some(mine)),
        show(theirs)
    );
    let mine = {
        nodes.kill(2)?;
        longest(&ours, || Ok(())).await?
    };
    bars.at_most("longest request after SIGKILL, ms", 1_000.0, mine);
    nodes.run(2)?;
    let theirs = match gluster.filter(|_| args.brick.is_some()) {
        Some(gluster) => {
            let took = longest(gluster, || shell(args.brick_stop.as_ref())).await;
            shell(args.brick_start.as_ref())?;
            Some(took?)
        }
        None => None,
    };
    println!(
        "| one node is killed (SIGKILL) | {} | {} |",
        show(Some(mine)),
        show(theirs)
    );
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let raw = args.dir.join("raw");
    std::fs::create_dir_all(&raw)?;
    let mut nodes = Nodes::start(&args.program, &args.dir)?;
    nodes.wait_ready().await?;
    let ours = Store::of(
        (0..3)
            .map(|node| nodes.store(node))
            .collect::<Result<_, _>>()?,
    );
    let gluster = match &args.gluster {
        Some(mount) => {
            let open = |mount: &PathBuf| -> anyhow::Result<Vec<Arc<dyn ObjectStore>>> {
                let store = LocalFileSystem::new_with_prefix(mount)?.with_fsync(true);
                Ok(vec![Arc::new(store)])
            };
            Some(Store::Objects {
                write: open(mount)?,
                read: open(args.gluster_read.as_ref().unwrap_or(mount))?,
            })
        }
        None => None,
    };
    let mut stores = vec![("quiz-storage", ours)];
    stores.extend(gluster.clone().map(|store| ("GlusterFS", store)));
    stores.push(("raw disk, one copy", Store::Raw(raw)));
    let mut bars = Bars::default();
    throughput(&args, &stores, &mut bars).await?;
    if args.only.is_some() {
        return bars.end();
    }
    faults(&args, &mut nodes, gluster.as_ref(), &mut bars).await?;
    nodes.wait_ready().await?;
    healing(&args, &mut nodes, gluster.as_ref(), &mut bars).await?;
    bars.end()
}
