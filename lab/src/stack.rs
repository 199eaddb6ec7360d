//! Which processes a stack has, with which settings, in which order they start and stop.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::plan::{self, Plan, ServedAt, StorageAt};
use crate::ports::Ports;
use crate::postgres::{self, Postgres, Settings};
use crate::ready;
use crate::state::{Running, RunningProcess, Secrets, State};
use crate::supervise::Process;
use anyhow::{Context as _, bail};

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
    /// More settings of the front-ends, as environment variables.
    pub quiz_settings: Vec<(String, String)>,
}

/// A running stack. Dropping it kills its processes; [`Stack::stop`] ends them in order.
#[derive(Debug)]
pub struct Stack {
    state: State,
    secrets: Secrets,
    web: SocketAddr,
    parts: Parts,
    _ports: Ports,
}

/// The processes of a stack, as far as they have been started.
#[derive(Debug, Default)]
struct Parts {
    postgres: Option<Postgres>,
    storage: Vec<Process>,
    quiz: Vec<Process>,
    lb: Option<Process>,
}

impl Stack {
    /// Starts everything and waits until the site answers through the balancer; `None` when `cancel` resolves
    /// first. What was started by then, or by the time of an error, is stopped in order.
    ///
    /// # Errors
    /// When a program or a port is missing, the state folder is in use, or a process does not become ready.
    pub async fn start(
        options: &Options,
        console: &Console,
        cancel: impl Future<Output = ()>,
    ) -> anyhow::Result<Option<Self>> {
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
        let plan = Plan {
            programs: &options.programs,
            quiz_settings: &options.quiz_settings,
            secrets: &secrets,
            folder: state.folder(),
        };

        let mut parts = Parts::default();
        let outcome = tokio::select! {
            started = parts.start(&plan, options.quiz, web, &mut ports, console) => started.map(|()| true),
            () = cancel => Ok(false),
        };
        if !matches!(outcome, Ok(true)) {
            parts.stop().await;
            return outcome.map(|_| None);
        }
        let stack = Self {
            state,
            secrets,
            web,
            parts,
            _ports: ports,
        };
        stack.publish()?;
        Ok(Some(stack))
    }

    /// The site as a visitor on this machine reaches it, with a slash at the end.
    pub fn url(&self) -> String {
        url(self.web)
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
        let postgres = self.parts.postgres.as_ref();
        postgres.expect("a stack that has started has its database")
    }

    /// The storage nodes `nas1`, `nas2`, `nas3`.
    pub fn storage(&self) -> &[Process] {
        &self.parts.storage
    }

    /// The front-ends `quiz-1`, `quiz-2`, and so on.
    pub fn quiz(&self) -> &[Process] {
        &self.parts.quiz
    }

    /// The balancer.
    pub fn lb(&self) -> &Process {
        let lb = self.parts.lb.as_ref();
        lb.expect("a stack that has started has its balancer")
    }

    /// Folder in which storage node `index` (from 0) keeps its data.
    pub fn storage_folder(&self, index: usize) -> PathBuf {
        plan::storage_folder(self.folder(), index)
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

    /// Keeps `lab.json` true until the future is dropped: a process that died has a new id. A full disk is told
    /// and tried again; it is no reason to stop anything.
    pub async fn keep_published(&self, console: &Console) {
        let mut seen: Vec<_> = self.processes().map(Process::life).collect();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now: Vec<_> = self.processes().map(Process::life).collect();
            if now == seen {
                continue;
            }
            if let Err(error) = self.publish() {
                console.event('✘', "lab", &format!("{error:#}"));
            }
            seen = now;
        }
    }

    /// Stops in the opposite order of the start: nobody loses the server it still needs.
    pub async fn stop(self) {
        self.parts.stop().await;
        self.state.retract();
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let parts = &self.parts;
        let postgres = parts.postgres.iter().map(Postgres::process);
        postgres
            .chain(&parts.storage)
            .chain(&parts.quiz)
            .chain(&parts.lb)
    }
}

impl Parts {
    async fn start(
        &mut self,
        plan: &Plan<'_>,
        quiz: usize,
        web: SocketAddr,
        ports: &mut Ports,
        console: &Console,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        let progress = Progress { console, begun };
        let supervise = |spec| Process::start(spec, console.clone());
        let settings = Settings {
            folder: plan.folder.join("postgres"),
            address: loopback(ports),
            hba_file: None,
            password: &plan.secrets.postgres,
            durable: true,
        };
        let nodes: Vec<StorageAt> = (0..STORAGE_NODES)
            .map(|_| StorageAt {
                s3: loopback(ports),
                peer: loopback(ports),
                admin: loopback(ports),
            })
            .collect();
        for index in 0..STORAGE_NODES {
            let spec = plan.storage(index, &nodes);
            // The database is made after the storage folders: without it nothing has been stored yet.
            if !postgres::exists(&settings.folder) {
                plan::init_storage(&spec).await?;
            }
            self.storage.push(supervise(spec));
        }
        let postgres = self
            .postgres
            .insert(Postgres::launch(&settings, console).await?);
        postgres.ready().await?;
        let password = &plan.secrets.database;
        let database = postgres.ensure_database("quiz", password).await?;
        progress.ready(postgres.process());
        progress.wait_all(&self.storage).await?;

        let storage: Vec<SocketAddr> = nodes.iter().map(|node| node.s3).collect();
        for number in 1..=quiz {
            let at = ServedAt {
                address: loopback(ports),
                admin: loopback(ports),
            };
            let spec = plan.quiz(&format!("quiz-{number}"), at, &database, &storage);
            self.quiz.push(supervise(spec));
        }
        progress.wait_all(&self.quiz).await?;

        let backends: Vec<String> = (self.quiz.iter())
            .map(|backend| backend.spec().address.to_string())
            .collect();
        let settings = [
            ("LB_LISTEN", web.to_string()),
            ("LB_BACKENDS", backends.join(",")),
        ];
        let at = ServedAt {
            address: web,
            admin: loopback(ports),
        };
        let lb = self.lb.insert(supervise(plan.lb(at, &settings)));
        progress.wait_all(std::slice::from_ref(lb)).await?;
        // It is ready with the first healthy backend; a stack is ready when it has seen all of them.
        let admin = lb
            .spec()
            .admin
            .context("the balancer has an admin listener")?;
        let all = Some(self.quiz.len());
        ready::wait(lb, async || healthy_backends(admin).await == all).await
    }

    async fn stop(self) {
        stop_all(self.lb).await;
        stop_all(self.quiz).await;
        stop_all(self.storage).await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
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

fn loopback(ports: &mut Ports) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports.take()).into()
}

async fn stop_all(processes: impl IntoIterator<Item = Process>) {
    let stopping: Vec<_> = processes
        .into_iter()
        .map(|process| tokio::spawn(process.stop()))
        .collect();
    for one in stopping {
        let _ = one.await;
    }
}

/// The address for visitors. The port stays reserved from here on: another lab that starts now must not count on it.
fn web_address(options: &Options, ports: &mut Ports) -> anyhow::Result<SocketAddr> {
    let spare = ports.take();
    let wanted: Vec<u16> = match options.port {
        Some(0) => return Ok(SocketAddr::new(options.host, spare)),
        Some(port) => vec![port],
        None => WEB_PORTS.to_vec(),
    };
    let mut refusals = Vec::new();
    for port in wanted {
        if !ports.claim(port)? {
            refusals.push(format!("port {port}: another lab uses it"));
        } else if let Err(error) = TcpListener::bind((options.host, port)) {
            refusals.push(format!("port {port}: {error}"));
        } else {
            return Ok(SocketAddr::new(options.host, port));
        }
    }
    bail!(
        "cannot listen on {} ({}): choose another port with --port",
        options.host,
        refusals.join("; ")
    )
}

/// The URL under which this machine reaches a listener, with a slash at the end.
fn url(web: SocketAddr) -> String {
    let host = match web.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("[{}]", Ipv6Addr::LOCALHOST),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match web.port() {
        80 => format!("http://{host}/"),
        port => format!("http://{host}:{port}/"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_one_that_a_browser_takes() {
        for (address, expected) in [
            ("127.0.0.1:80", "http://127.0.0.1/"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080/"),
            ("[::1]:80", "http://[::1]/"),
            ("[::]:8080", "http://[::1]:8080/"),
        ] {
            assert_eq!(url(address.parse().unwrap()), expected);
        }
    }
}
