//! What all rows share: a private PostgreSQL, three storage nodes, and ways to start front-ends, balancers and nginx.

use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use quiz_lab::console::Console;
use quiz_lab::plan::{self, Plan, ServedAt, StorageAt};
use quiz_lab::ports::Ports;
use quiz_lab::postgres::{Postgres, Settings};
use quiz_lab::ready;
use quiz_lab::stack::{STORAGE_NODES, healthy_backends};
use quiz_lab::state::State;
use quiz_lab::supervise::{Process, Spec};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::Command;
use tokio::sync::OnceCell as AsyncOnceCell;

use crate::Form;
use crate::processes::{Cores, Watched};

mod data;
mod nginx;

/// More than all rows have listeners.
const LISTENERS: usize = 120;
/// How long any other command may take.
const COMMAND: Duration = Duration::from_secs(300);

/// Names of the components in tables.
pub(crate) const BALANCER: &str = "balancer";
pub(crate) const FRONT_END: &str = "front-end";
pub(crate) const POSTGRES: &str = "PostgreSQL";
pub(crate) const STORAGE: &str = "storage";
pub(crate) const NGINX: &str = "nginx";

/// Everything that runs from the first row to the last. What a row starts ends with it.
pub(crate) struct Site {
    pub(crate) form: Form,
    pub(crate) cores: Cores,
    pub(crate) postgres: Postgres,
    storage: Vec<Process>,
    state: State,
    console: Console,
    log: PathBuf,
    ports: RefCell<Ports>,
    small: AsyncOnceCell<String>,
    large: AsyncOnceCell<String>,
    nginx_version: OnceCell<String>,
}

impl Site {
    /// Starts it in a folder that the user whom PostgreSQL runs as may enter.
    pub(crate) async fn start(form: &Form, folder: &Path) -> anyhow::Result<Self> {
        let cores = Cores::take()?;
        allow_many_files()?;
        let log = folder.join("log");
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let console = Console::new(Box::new(out), false);
        let started = Self::start_in(form, cores, folder, &log, console).await;
        started.with_context(|| last_lines(&log))
    }

    async fn start_in(
        form: &Form,
        cores: Cores,
        folder: &Path,
        log: &Path,
        console: Console,
    ) -> anyhow::Result<Self> {
        let state = State::open(&folder.join("state"))?;
        let secrets = state.secrets()?;
        let mut ports = Ports::reserve(LISTENERS)?;
        let settings = Settings {
            folder: state.folder().join("postgres"),
            address: loopback(&mut ports),
            hba_file: None,
            password: &secrets.postgres,
            durable: true,
        };
        let nodes: Vec<StorageAt> = (0..STORAGE_NODES)
            .map(|_| StorageAt {
                s3: loopback(&mut ports),
                peer: loopback(&mut ports),
                admin: loopback(&mut ports),
            })
            .collect();
        let plan = Plan {
            programs: &form.programs,
            quiz_settings: &[],
            secrets: &secrets,
            folder: state.folder(),
        };
        let mut storage = Vec::new();
        for index in 0..STORAGE_NODES {
            let spec = plan.storage(index, &nodes);
            plan::init_storage(&spec).await?;
            storage.push(Process::start(cores.serve(spec), console.clone()));
        }
        let postgres = Postgres::launch(&settings, &console).await?;
        postgres.ready().await?;
        let pid = postgres.process().life().pid;
        cores.move_to_server(pid.context("PostgreSQL has just been ready")?)?;
        for node in &storage {
            wait(node).await?;
        }
        Ok(Self {
            form: form.clone(),
            cores,
            postgres,
            storage,
            state,
            console,
            log: log.to_owned(),
            ports: RefCell::new(ports),
            small: AsyncOnceCell::new(),
            large: AsyncOnceCell::new(),
            nginx_version: OnceCell::new(),
        })
    }

    /// Ends all in order.
    pub(crate) async fn stop(self) {
        end(self.storage).await;
        self.postgres.stop().await;
    }

    fn front_end_spec(
        &self,
        name: &str,
        database: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Spec> {
        let secrets = self.state.secrets()?;
        let plan = Plan {
            programs: &self.form.programs,
            quiz_settings: &[],
            secrets: &secrets,
            folder: self.state.folder(),
        };
        let nodes: Vec<SocketAddr> = self
            .storage
            .iter()
            .map(|node| node.spec().address)
            .collect();
        let mut spec = plan.quiz(name, self.served_at(), database, &nodes);
        // Nobody here is one visitor of many, and nobody waits for one who leaves.
        let own = [
            ("QUIZ_LIMIT_CHECK", "0"),
            ("QUIZ_LIMIT_UPLOAD", "0"),
            ("QUIZ_SESSION_IDLE_SECS", "86400"),
            ("QUIZ_SESSION_TTL_SECS", "86400"),
            ("QUIZ_DRAIN_SECS", "0"),
        ];
        // Each site has pictures of its own.
        let store = format!(
            "s3://quiz/{}",
            database.rsplit('/').next().unwrap_or_default()
        );
        let store = [("QUIZ_STORE_URL", store.as_str())];
        let all = own.iter().chain(&store).chain(settings);
        spec.env
            .extend(all.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        Ok(spec)
    }

    /// A front-end on the server's core, ready.
    pub(crate) async fn front_end(
        &self,
        name: &str,
        database: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let spec = self.front_end_spec(name, database, settings)?;
        self.start_ready(spec).await
    }

    /// A balancer on the server's core that has seen all its backends.
    pub(crate) async fn balancer<'a>(
        &self,
        name: &str,
        backends: impl IntoIterator<Item = &'a Process>,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let backends: Vec<String> = backends
            .into_iter()
            .map(|backend| backend.spec().address.to_string())
            .collect();
        let secrets = self.state.secrets()?;
        let plan = Plan {
            programs: &self.form.programs,
            quiz_settings: &[],
            secrets: &secrets,
            folder: self.state.folder(),
        };
        let at = self.served_at();
        // All visitors here have one address.
        let own = [
            ("LB_LISTEN", at.address.to_string()),
            ("LB_BACKENDS", backends.join(",")),
            ("LB_THREADS", "1".to_owned()),
            ("LB_SLOW_START_SECS", "0".to_owned()),
            ("LB_MAX_CONNECTIONS_PER_ADDRESS", "0".to_owned()),
            ("LB_MAX_IN_FLIGHT_PER_ADDRESS", "0".to_owned()),
            ("LB_MAX_REQUESTS_PER_CONNECTION", "100000000".to_owned()),
        ];
        let given = settings
            .iter()
            .map(|&(name, value)| (name, value.to_owned()));
        let all: Vec<_> = own.into_iter().chain(given).collect();
        let mut spec = plan.lb(at, &all);
        spec.name = name.to_owned();
        let balancer = self.start_ready(spec).await?;
        let seen = async || healthy_backends(at.admin).await == Some(backends.len());
        ready::wait(&balancer, seen).await?;
        Ok(balancer)
    }

    async fn start_ready(&self, spec: Spec) -> anyhow::Result<Process> {
        let process = Process::start(self.cores.serve(spec), self.console.clone());
        wait(&process)
            .await
            .with_context(|| last_lines(&self.log))?;
        Ok(process)
    }

    /// A folder for files of a row.
    pub(crate) fn files(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.state.folder().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Password of the users `admin` and `pepe`, and of those that are made up.
    pub(crate) fn site_password(&self) -> anyhow::Result<String> {
        Ok(self.state.secrets()?.site)
    }

    /// What all processes have printed so far.
    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    pub(crate) fn watch_postgres(&self) -> Watched {
        Watched::of(POSTGRES, [self.postgres.process()])
    }

    pub(crate) fn watch_storage(&self) -> Watched {
        Watched::of(STORAGE, &self.storage)
    }

    fn served_at(&self) -> ServedAt {
        let mut ports = self.ports.borrow_mut();
        ServedAt {
            address: loopback(&mut ports),
            admin: loopback(&mut ports),
        }
    }
}

/// Base URL of what a process serves.
pub(crate) fn url(process: &Process, path: &str) -> String {
    format!("http://{}{path}", process.spec().address)
}

/// Runs a command to its end and returns what it printed.
pub(crate) async fn run(
    mut command: Command,
    name: &str,
    within: Duration,
) -> anyhow::Result<String> {
    command.kill_on_drop(true);
    let output = tokio::time::timeout(within, command.output());
    let output = output
        .await
        .with_context(|| format!("{name} does not end"))?;
    let output = output.with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, why.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long a command of a peer may take beside its load.
pub(crate) const fn patience() -> Duration {
    COMMAND
}

/// Ends processes, all at the same time.
pub(crate) async fn end(processes: impl IntoIterator<Item = Process>) {
    let ending: Vec<_> = processes
        .into_iter()
        .map(|process| tokio::spawn(process.stop()))
        .collect();
    for one in ending {
        let _ = one.await;
    }
}

async fn wait(process: &Process) -> anyhow::Result<()> {
    let spec = process.spec();
    let address = spec.admin.unwrap_or(spec.address);
    ready::wait(process, async || ready::http_ok(address, "/ready").await).await
}

fn loopback(ports: &mut Ports) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports.take()).into()
}

/// As many open files as this user may have: children inherit it.
fn allow_many_files() -> anyhow::Result<()> {
    let files = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, most).context("cannot raise the limit of open files")
}

/// Of the log, for who has to find out why something did not start.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(15);
    format!(
        "the last lines of the processes:\n{}\n",
        lines[last..].join("\n")
    )
}
