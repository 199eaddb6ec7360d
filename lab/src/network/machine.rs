//! One host's own supervisor: puts its firewall in force, keeps its process alive and says how it stands.
//!
//! It is a process inside the host's namespace that outlives the command which started it. A lock on a file tells
//! whether it runs; whoever ends it takes the number in that file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use super::topology::{
    Host, Lan, PEER_PORT, POSTGRES_PORT, QUIZ_PORT, Role, S3_PORT, Topology, WEB_PORT,
};
use super::{Folder, cables, policy};
use crate::console::Console;
use crate::plan::{Plan, ServedAt, StorageAt};
use crate::postgres::{Postgres, Settings};
use crate::ready;
use crate::stack::healthy_backends;
use crate::state::{self, Secrets};
use crate::supervise::{Process, Spec};

/// How long the balancer may take to find all front-ends of its list; it serves with those it has found.
const ALL_BACKENDS: Duration = Duration::from_secs(10);
/// How often a supervisor asks its process whether it is ready, and how long the answer may take.
const ASKED: Duration = Duration::from_secs(1);
/// How often it looks whether the process is still the same.
const INTERVAL: Duration = Duration::from_millis(100);

/// What a supervisor says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its process serves.
    pub ready: bool,
    /// What runs: nothing on the machine of a visitor.
    pub process: Option<Running>,
}

/// The process of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// `quiz-lb`.
    pub program: String,
    /// Its process id, while one runs.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u32,
}

/// The files of one host.
#[derive(Debug, Clone)]
pub struct Files(pub(super) PathBuf);

impl Files {
    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What its supervisor and its process print.
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn firewall(&self) -> PathBuf {
        self.0.join("firewall.toml")
    }

    /// What a supervisor said before is not what the next one says.
    pub(super) fn forget(&self) {
        let _ = std::fs::remove_file(self.report());
    }

    fn report(&self) -> PathBuf {
        self.0.join("report.json")
    }

    /// Process id of the supervisor, while it runs.
    pub fn supervisor(&self) -> Option<Pid> {
        let mut lock = File::open(self.lock()).ok()?;
        if lock.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        lock.read_to_string(&mut text).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }

    /// What the supervisor said last; `None` when none runs.
    pub fn reported(&self) -> Option<Report> {
        self.supervisor()?;
        serde_json::from_str(&std::fs::read_to_string(self.report()).ok()?).ok()
    }
}

/// What runs on a host. Dropping it kills the process.
enum Served {
    Nothing,
    Process(Process),
    Postgres(Postgres),
}

/// Is the supervisor of `host` until a signal ends it.
///
/// # Errors
/// Another one runs, the firewall cannot be put in force, or the process does not become ready.
pub async fn run(folder: &Folder, host: &str, programs: &Path) -> anyhow::Result<()> {
    let topology = folder.topology()?;
    let host = topology.host(host)?;
    let files = folder.files(&host.name);
    let _lock = lock(&files)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    files.forget();
    guard(&files, &host, &topology, programs).await?;
    if host.role == Role::Firewall {
        cables::pass_on()?;
    }
    let plan = Settled {
        folder,
        topology: &topology,
        secrets: Secrets::of(folder.path())?,
        programs,
    };
    let console = Console::new(Box::new(std::io::stdout()), false);
    let mut served = Served::Nothing;
    tokio::select! {
        kept = served.keep(&plan, &host, &files, &console) => kept?,
        () = ended => {}
    }
    served.stop().await;
    Ok(())
}

fn lock(files: &Files) -> anyhow::Result<File> {
    let mut lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(files.lock())?;
    // Whoever asks whether it runs holds the lock for a moment.
    let mut tries = 0;
    while lock.try_lock().is_err() {
        tries += 1;
        if tries > 100 {
            bail!("its supervisor runs already");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| writeln!(lock, "{}", std::process::id()))?;
    Ok(lock)
}

/// Puts the host's policy in force, before anything listens.
async fn guard(
    files: &Files,
    host: &Host,
    topology: &Topology,
    programs: &Path,
) -> anyhow::Result<()> {
    let file = files.firewall();
    std::fs::write(&file, policy::of(host, topology))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let output = Command::new(programs.join("quiz-firewall"))
        // Whoever starts the lab by SSH sits outside of it.
        .args(["apply", "--force"])
        .arg(&file)
        .output()
        .await
        .context("cannot run quiz-firewall")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// What the settings of a host's process are made from.
struct Settled<'a> {
    folder: &'a Folder,
    topology: &'a Topology,
    secrets: Secrets,
    programs: &'a Path,
}

impl Settled<'_> {
    fn plan<'a>(&'a self, data: &'a Path, quiz_settings: &'a [(String, String)]) -> Plan<'a> {
        Plan {
            programs: self.programs,
            quiz_settings,
            secrets: &self.secrets,
            folder: data,
        }
    }

    fn nodes(&self) -> Vec<StorageAt> {
        storage_nodes(self.topology)
    }

    fn front_end(&self, host: &Host) -> Spec {
        let database = self.topology.of(Role::Database);
        let database = format!(
            "postgres://quiz:{}@{}/quiz",
            self.secrets.database,
            database[0].at(Lan(4), POSTGRES_PORT)
        );
        let storage: Vec<_> = self.nodes().iter().map(|node| node.s3).collect();
        let at = ServedAt {
            address: host.at(Lan(3), QUIZ_PORT),
            admin: loopback(9300),
        };
        let data = self.folder.data();
        self.plan(&data, self.topology.quiz_settings())
            .quiz(&host.name, at, &database, &storage)
    }

    fn balancer(&self, host: &Host) -> anyhow::Result<Spec> {
        let file = self.folder.files(&host.name).0.join("lb.toml");
        let leg = host.legs[0];
        let text = format!(
            "[listeners.ipv4]\naddress = \"{}:{WEB_PORT}\"\npool = \"quiz\"\n\
             [listeners.ipv6]\naddress = \"[{}]:{WEB_PORT}\"\npool = \"quiz\"\n\
             [pools.quiz]\nbackends = [\"file:{}\"]\n\
             # So that a front-end that is added is seen at work soon.\n\
             slow_start_secs = 3\n",
            leg.v4(),
            leg.v6(),
            self.folder.backends().display()
        );
        state::write(&file, &text)?;
        let at = ServedAt {
            address: host.at(leg.lan, WEB_PORT),
            admin: loopback(8081),
        };
        let data = self.folder.data();
        let settings = [("LB_CONFIG", file.display().to_string())];
        Ok(self.plan(&data, &[]).lb(at, &settings))
    }

    /// The database lets front-ends in, and of this host itself whoever has the superuser's password. The file is not in
    /// the folder of the database, whose owner is another user.
    fn clients(&self, host: &Host) -> anyhow::Result<PathBuf> {
        let file = self.folder.files(&host.name).0.join("pg_hba.conf");
        let text = format!(
            "host quiz quiz {} scram-sha-256\nhost all postgres {}/32 scram-sha-256\n",
            Lan(4).v4(),
            host.legs[0].v4()
        );
        state::write(&file, &text)?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o644))?;
        Ok(file)
    }
}

/// Where the storage nodes of a lab listen.
pub(super) fn storage_nodes(topology: &Topology) -> Vec<StorageAt> {
    let nodes = topology.of(Role::Storage).into_iter();
    let nodes = nodes.map(|node| StorageAt {
        s3: node.at(Lan(4), S3_PORT),
        peer: node.at(Lan(4), PEER_PORT),
        admin: loopback(9200),
    });
    nodes.collect()
}

fn loopback(port: u16) -> std::net::SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, port).into()
}

impl Served {
    /// Starts what runs on the host and reports on it, for ever.
    async fn keep(
        &mut self,
        settled: &Settled<'_>,
        host: &Host,
        files: &Files,
        console: &Console,
    ) -> anyhow::Result<()> {
        self.start(settled, host, console).await?;
        let (mut said, mut ready, mut asked) = (None, true, Instant::now());
        loop {
            if asked.elapsed() >= ASKED {
                ready = self.serves().await;
                asked = Instant::now();
            }
            let report = Report {
                ready,
                process: self.process().map(|process| Running {
                    program: name_of(process.spec()),
                    pid: process.life().pid,
                    starts: process.life().starts,
                }),
            };
            if said.as_ref() != Some(&report) {
                state::write(&files.report(), &serde_json::to_string_pretty(&report)?)?;
                said = Some(report);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn start(
        &mut self,
        settled: &Settled<'_>,
        host: &Host,
        console: &Console,
    ) -> anyhow::Result<()> {
        let spec = match host.role {
            Role::Client | Role::Firewall => return Ok(()),
            Role::Database => return self.start_database(settled, host, console).await,
            Role::Storage => {
                let nodes = settled.topology.of(Role::Storage);
                let index = nodes.iter().position(|node| node.name == host.name);
                let data = settled.folder.data();
                settled
                    .plan(&data, &[])
                    .storage(index.context("it is one of them")?, &settled.nodes())
            }
            Role::FrontEnd => settled.front_end(host),
            Role::Balancer => settled.balancer(host)?,
        };
        let admin = spec.admin.context("it tells of itself")?;
        *self = Self::Process(Process::start(spec, console.clone()));
        let process = self.process().context("it was started")?;
        ready::wait(process, async || ready::http_ok(admin, "/ready").await).await?;
        if host.role == Role::Balancer {
            let listed = settled.folder.listed()?.len();
            let all = async || healthy_backends(admin).await == Some(listed);
            // Front-ends that are down are no reason not to serve.
            let _ = tokio::time::timeout(ALL_BACKENDS, ready::wait(process, all)).await;
        }
        Ok(())
    }

    async fn start_database(
        &mut self,
        settled: &Settled<'_>,
        host: &Host,
        console: &Console,
    ) -> anyhow::Result<()> {
        let clients = settled.clients(host)?;
        let settings = Settings {
            folder: settled.folder.data().join("postgres"),
            address: host.at(Lan(4), POSTGRES_PORT),
            hba_file: Some(&clients),
            password: &settled.secrets.postgres,
            durable: true,
        };
        let postgres = Postgres::launch(&settings, console).await?;
        *self = Self::Postgres(postgres);
        let Self::Postgres(postgres) = self else {
            unreachable!("it was just put there")
        };
        postgres.ready().await?;
        postgres
            .ensure_database("quiz", &settled.secrets.database)
            .await?;
        Ok(())
    }

    /// Whether its process says that it is ready; of the database, whether one runs.
    async fn serves(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Postgres(postgres) => postgres.process().life().pid.is_some(),
            Self::Process(process) => {
                let Some(admin) = process.spec().admin else {
                    return false;
                };
                let asked = ready::http_ok(admin, "/ready");
                tokio::time::timeout(ASKED, asked).await == Ok(true)
            }
        }
    }

    fn process(&self) -> Option<&Process> {
        match self {
            Self::Nothing => None,
            Self::Process(process) => Some(process),
            Self::Postgres(postgres) => Some(postgres.process()),
        }
    }

    async fn stop(self) {
        match self {
            Self::Nothing => {}
            Self::Process(process) => process.stop().await,
            Self::Postgres(postgres) => postgres.stop().await,
        }
    }
}

fn name_of(spec: &Spec) -> String {
    let name = spec.program.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Asks a supervisor to end.
pub(super) fn end(supervisor: Pid) {
    // It may have ended by itself.
    let _ = rustix::process::kill_process(supervisor, Signal::TERM);
}
