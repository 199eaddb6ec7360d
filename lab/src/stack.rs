//! Which processes a stack has, with which settings, in which order they start and stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use tokio::process::Command;

use crate::console::Console;
use crate::ports::Ports;
use crate::postgres::{Postgres, Settings};
use crate::ready;
use crate::state::{Running, RunningProcess, Secrets, State};
use crate::supervise::{Process, Spec};

/// Storage nodes of a stack: the replication factor.
pub const STORAGE_NODES: usize = 3;
/// The most front-ends the lab runs: ten database connections each stay below PostgreSQL's limit.
pub const MAX_QUIZ: usize = 25;
/// The port for visitors where it can be bound, and the one taken where it cannot.
const WEB_PORTS: [u16; 2] = [80, 8080];
/// Listeners on loopback: PostgreSQL, three for each storage node, two for each front-end, one of the balancer.
const fn listeners(quiz: usize) -> usize {
    1 + 3 * STORAGE_NODES + 2 * quiz + 1
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many front-ends, 1 to [`MAX_QUIZ`].
    pub quiz: usize,
    /// Address the balancer listens on.
    pub host: IpAddr,
    /// Its port: `None` is 80 if it can be bound, else 8080; 0 is any free one.
    pub port: Option<u16>,
    /// Folder of everything that outlives a run.
    pub state: PathBuf,
    /// Folder of the programs `quiz-lb`, `quiz-web`, `quiz-storage`.
    pub programs: PathBuf,
}

/// A running stack. Dropping it kills its processes; [`Stack::stop`] ends them in order.
#[derive(Debug)]
pub struct Stack {
    state: State,
    secrets: Secrets,
    web: SocketAddr,
    postgres: Postgres,
    storage: Vec<Process>,
    quiz: Vec<Process>,
    lb: Process,
    _ports: Ports,
}

impl Stack {
    /// Starts everything and waits until the site answers through the balancer.
    ///
    /// # Errors
    /// When a program or a port is missing, the state folder is in use, or a process does not become ready.
    pub async fn start(options: &Options, console: &Console) -> anyhow::Result<Self> {
        for program in ["quiz-lb", "quiz-web", "quiz-storage"] {
            let path = options.programs.join(program);
            if !path.exists() {
                bail!(
                    "{} does not exist: build the workspace first (cargo build --workspace)",
                    path.display()
                );
            }
        }
        let state = State::open(&options.state)?;
        let secrets = state.secrets()?;
        let mut ports = Ports::reserve(listeners(options.quiz) + 1)?;
        let web = web_address(options, &mut ports)?;
        let begun = Instant::now();
        let progress = Progress { console, begun };
        let plan = Plan {
            options,
            secrets: &secrets,
            folder: state.folder(),
        };

        let settings = Settings {
            folder: state.folder().join("postgres"),
            port: ports.take(),
            password: &secrets.postgres,
            durable: true,
        };
        let storage = plan.storage(&mut ports).await?;
        let storage: Vec<Process> = storage
            .into_iter()
            .map(|spec| Process::start(spec, console.clone()))
            .collect();
        let postgres = Postgres::start(&settings, console).await?;
        let database = postgres.ensure_database("quiz", &secrets.database).await?;
        progress.ready(postgres.process());
        progress.wait_all(&storage).await?;

        let quiz = plan.quiz(&database, &storage, &mut ports);
        let quiz: Vec<Process> = quiz
            .into_iter()
            .map(|spec| Process::start(spec, console.clone()))
            .collect();
        progress.wait_all(&quiz).await?;

        let lb = Process::start(plan.lb(web, &quiz, &mut ports), console.clone());
        progress.wait_all(std::slice::from_ref(&lb)).await?;
        let stack = Self {
            state,
            secrets,
            web,
            postgres,
            storage,
            quiz,
            lb,
            _ports: ports,
        };
        stack.wait_for_backends().await?;
        stack.publish()?;
        Ok(stack)
    }

    /// The site as a visitor on this machine reaches it, with a slash at the end.
    pub fn url(&self) -> String {
        let ip = if self.web.ip().is_unspecified() {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        } else {
            self.web.ip()
        };
        match self.web.port() {
            80 => format!("http://{ip}/"),
            port => format!("http://{}/", SocketAddr::new(ip, port)),
        }
    }

    /// Password of the seeded users `admin` and `pepe`.
    pub fn site_password(&self) -> &str {
        &self.secrets.site
    }

    /// The secrets of this stack's state folder.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The folder of its state, absolute.
    pub fn folder(&self) -> &Path {
        self.state.folder()
    }

    /// The database server.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The storage nodes `nas1`, `nas2`, `nas3`.
    pub fn storage(&self) -> &[Process] {
        &self.storage
    }

    /// The front-ends `quiz-1`, `quiz-2`, and so on.
    pub fn quiz(&self) -> &[Process] {
        &self.quiz
    }

    /// The balancer.
    pub fn lb(&self) -> &Process {
        &self.lb
    }

    /// Folder in which storage node `index` (from 0) keeps its data.
    pub fn storage_folder(&self, index: usize) -> PathBuf {
        storage_folder(self.folder(), index)
    }

    /// Writes `lab.json` with the process ids of this moment.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self) -> anyhow::Result<()> {
        let processes = self.processes().map(|process| RunningProcess {
            name: process.spec().name.clone(),
            pid: process.life().pid,
            address: process.spec().address,
            admin: process.spec().admin,
        });
        self.state.publish(&Running {
            pid: std::process::id(),
            url: self.url(),
            processes: processes.collect(),
        })
    }

    /// Keeps `lab.json` true until the future is dropped: a process that died has a new id.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn keep_published(&self) -> anyhow::Result<()> {
        let mut seen: Vec<_> = self.processes().map(Process::life).collect();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now: Vec<_> = self.processes().map(Process::life).collect();
            if now != seen {
                self.publish()?;
                seen = now;
            }
        }
    }

    /// Stops in the opposite order of the start: nobody loses the server it still needs.
    pub async fn stop(self) {
        self.lb.stop().await;
        stop_all(self.quiz).await;
        stop_all(self.storage).await;
        self.postgres.stop().await;
        self.state.retract();
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(self.postgres.process())
            .chain(&self.storage)
            .chain(&self.quiz)
            .chain(std::iter::once(&self.lb))
    }

    /// The balancer is ready with the first healthy backend; a stack is ready when it has seen all of them.
    async fn wait_for_backends(&self) -> anyhow::Result<()> {
        let admin = self
            .lb
            .spec()
            .admin
            .context("the balancer has an admin listener")?;
        let wanted = self.quiz.len();
        ready::wait(&self.lb, async || {
            healthy_backends(admin).await == Some(wanted)
        })
        .await
    }
}

/// How many backends the balancer holds for healthy, by its metrics.
pub async fn healthy_backends(admin: SocketAddr) -> Option<usize> {
    let (_, body) = ready::get(admin, "/metrics").await.ok()?;
    let text = std::str::from_utf8(&body).ok()?;
    let healthy = |line: &&str| {
        line.starts_with("lb_backend_state{")
            && line.contains("state=\"healthy\"")
            && line.ends_with(" 1")
    };
    Some(text.lines().filter(healthy).count())
}

async fn stop_all(processes: Vec<Process>) {
    let stopping: Vec<_> = processes
        .into_iter()
        .map(|process| tokio::spawn(process.stop()))
        .collect();
    for one in stopping {
        let _ = one.await;
    }
}

fn storage_folder(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("nas{}", index + 1))
}

/// The address for visitors.
fn web_address(options: &Options, ports: &mut Ports) -> anyhow::Result<SocketAddr> {
    let spare = ports.take();
    let wanted: Vec<u16> = match options.port {
        Some(0) => vec![spare],
        Some(port) => vec![port],
        None => WEB_PORTS.to_vec(),
    };
    let mut refusal = None;
    for &port in &wanted {
        match TcpListener::bind((options.host, port)) {
            Ok(_) => return Ok(SocketAddr::new(options.host, port)),
            Err(error) => refusal = Some(error),
        }
    }
    let refusal = refusal.context("at least one port was tried")?;
    bail!(
        "cannot listen on {} port {wanted:?} ({refusal}): choose another with --port",
        options.host
    )
}

/// Tells how far a start has come.
struct Progress<'a> {
    console: &'a Console,
    begun: Instant,
}

impl Progress<'_> {
    fn ready(&self, process: &Process) {
        let spec = process.spec();
        let pid = process
            .life()
            .pid
            .map_or_else(String::new, |pid| format!("  pid {pid}"));
        let seconds = self.begun.elapsed().as_secs_f32();
        self.console.event(
            '✔',
            &spec.name,
            &format!("ready after {seconds:.1} s  {}{pid}", spec.address),
        );
    }

    async fn wait_all(&self, processes: &[Process]) -> anyhow::Result<()> {
        for process in processes {
            let spec = process.spec();
            let address = spec.admin.unwrap_or(spec.address);
            ready::wait(process, async || ready::http_ok(address, "/ready").await).await?;
            self.ready(process);
        }
        Ok(())
    }
}

/// Settings of each kind of process.
struct Plan<'a> {
    options: &'a Options,
    secrets: &'a Secrets,
    folder: &'a Path,
}

impl Plan<'_> {
    /// Three nodes that know one another, each with a folder that `init` has made its own.
    async fn storage(&self, ports: &mut Ports) -> anyhow::Result<Vec<Spec>> {
        let peers: Vec<SocketAddr> = (0..STORAGE_NODES).map(|_| loopback(ports)).collect();
        let list: Vec<String> = (1..)
            .zip(&peers)
            .map(|(node, address)| format!("{node}={address}"))
            .collect();
        let mut specs = Vec::with_capacity(STORAGE_NODES);
        for (index, peer) in peers.iter().enumerate() {
            let (address, admin) = (loopback(ports), loopback(ports));
            let env = [
                ("STORAGE_NODE", (index + 1).to_string()),
                (
                    "STORAGE_DIR",
                    storage_folder(self.folder, index).display().to_string(),
                ),
                ("STORAGE_LISTEN", address.to_string()),
                ("STORAGE_PEER_LISTEN", peer.to_string()),
                ("STORAGE_ADMIN_LISTEN", admin.to_string()),
                ("STORAGE_PEERS", list.join(",")),
                ("STORAGE_CLUSTER_SECRET", self.secrets.cluster.clone()),
                ("STORAGE_ACCESS_KEY_ID", self.secrets.s3_id.clone()),
                ("STORAGE_SECRET_ACCESS_KEY", self.secrets.s3_secret.clone()),
            ];
            let mut spec = self.spec(
                &format!("nas{}", index + 1),
                "quiz-storage",
                address,
                Some(admin),
                &env,
            );
            let init = Command::new(&spec.program)
                .arg("init")
                .envs(spec.env.clone())
                .output()
                .await?;
            if !init.status.success() {
                bail!(
                    "quiz-storage init: {}",
                    String::from_utf8_lossy(&init.stderr).trim()
                );
            }
            spec.args = vec!["serve".to_owned()];
            specs.push(spec);
        }
        Ok(specs)
    }

    fn quiz(&self, database: &str, storage: &[Process], ports: &mut Ports) -> Vec<Spec> {
        let endpoints: Vec<String> = storage
            .iter()
            .map(|node| format!("http://{}", node.spec().address))
            .collect();
        let mut specs = Vec::with_capacity(self.options.quiz);
        for number in 1..=self.options.quiz {
            let (address, admin) = (loopback(ports), loopback(ports));
            let env = [
                ("DATABASE_URL", database.to_owned()),
                ("QUIZ_LISTEN", address.to_string()),
                ("QUIZ_ADMIN_LISTEN", admin.to_string()),
                ("QUIZ_SECRET", self.secrets.quiz.clone()),
                ("QUIZ_STORE_URL", "s3://quiz".to_owned()),
                ("QUIZ_STORE_ENDPOINTS", endpoints.join(",")),
                ("AWS_ACCESS_KEY_ID", self.secrets.s3_id.clone()),
                ("AWS_SECRET_ACCESS_KEY", self.secrets.s3_secret.clone()),
                ("QUIZ_SEED_PASSWORD", self.secrets.site.clone()),
                // The balancer looks twice a second: one second is enough to be seen leaving.
                ("QUIZ_DRAIN_SECS", "1".to_owned()),
            ];
            specs.push(self.spec(
                &format!("quiz-{number}"),
                "quiz-web",
                address,
                Some(admin),
                &env,
            ));
        }
        specs
    }

    fn lb(&self, web: SocketAddr, quiz: &[Process], ports: &mut Ports) -> Spec {
        let backends: Vec<String> = quiz
            .iter()
            .map(|backend| backend.spec().address.to_string())
            .collect();
        let admin = loopback(ports);
        let env = [
            ("LB_LISTEN", web.to_string()),
            ("LB_ADMIN_LISTEN", admin.to_string()),
            ("LB_BACKENDS", backends.join(",")),
        ];
        self.spec("lb", "quiz-lb", web, Some(admin), &env)
    }

    fn spec(
        &self,
        name: &str,
        program: &str,
        address: SocketAddr,
        admin: Option<SocketAddr>,
        env: &[(&str, String)],
    ) -> Spec {
        Spec {
            name: name.to_owned(),
            program: self.options.programs.join(program),
            args: Vec::new(),
            env: env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            user: None,
            stop: Signal::TERM,
            grace: Duration::from_secs(20),
            address,
            admin,
        }
    }
}

fn loopback(ports: &mut Ports) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports.take()).into()
}
