//! Keeps one process alive: starts it, passes on what it prints, starts it again with back-off, ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::console::Console;

/// What to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name in the log: `quiz-1`.
    pub name: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment, but for `PATH`, `LANG`, `TZ`, `RUST_LOG` and `RUST_BACKTRACE`, which it inherits.
    pub env: Vec<(String, String)>,
    /// Run it as this user and group instead of as the lab's own.
    pub user: Option<(u32, u32)>,
    /// What asks it to end.
    pub stop: Signal,
    /// How long it may take to end before it is killed.
    pub grace: Duration,
    /// Where it serves.
    pub address: SocketAddr,
    /// Where it tells of itself.
    pub admin: Option<SocketAddr>,
}

/// Variables of the lab's own environment that its children see.
const INHERITED: [&str; 5] = ["PATH", "LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// The first wait before a dead process is started again; doubled at each death in a row.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest such wait.
const BACKOFF_LAST: Duration = Duration::from_secs(5);
/// A process that lived this long has recovered: its next death counts as the first.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// A supervised process. Dropping it kills the process; [`Process::stop`] ends it in peace.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    life: watch::Receiver<Life>,
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
}

/// What shall become of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It runs; when it dies it is started again.
    Running,
    /// When it dies it stays dead.
    Down,
    /// It ends in peace, for good.
    Stopped,
}

/// What became of a process so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// Its process id, while one runs.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u32,
    /// How often in a row it died soon after a start.
    pub quick_deaths: u32,
}

impl Process {
    /// Starts `spec` and keeps it running.
    ///
    /// The kernel is told to end the process when the thread that starts it ends, so call this from a runtime
    /// whose threads live as long as the stack: a current-thread one.
    pub fn start(spec: Spec, console: Console) -> Self {
        let (life_tx, life) = watch::channel(Life::default());
        let (wanted, wanted_rx) = watch::channel(Wanted::Running);
        let task = tokio::spawn(supervise(spec.clone(), console, life_tx, wanted_rx));
        Self {
            spec,
            life,
            wanted,
            task,
        }
    }

    /// What is run.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What became of it so far.
    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Resolves at the next change of [`Process::life`].
    pub async fn changed(&mut self) {
        // An error means that supervision has ended; there is nothing left to wait for.
        let _ = self.life.changed().await;
    }

    /// Sends a signal to the process, if one runs now.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.life().pid {
            send(pid, signal);
        }
    }

    /// Kills the process, and lets it stay dead until [`Process::revive`].
    pub fn kill(&self) {
        self.wanted.send_replace(Wanted::Down);
        self.signal(Signal::KILL);
    }

    /// Starts a killed process again.
    pub fn revive(&self) {
        self.wanted.send_replace(Wanted::Running);
    }

    /// Asks the process to end, kills it after its grace period, and does not start it again.
    pub async fn stop(self) {
        self.wanted.send_replace(Wanted::Stopped);
        let _ = self.task.await;
    }
}

async fn supervise(
    spec: Spec,
    console: Console,
    life: watch::Sender<Life>,
    mut wanted: watch::Receiver<Wanted>,
) {
    loop {
        let started = Instant::now();
        let ended = run_once(&spec, &console, &life, &mut wanted).await;
        life.send_modify(|life| {
            life.pid = None;
            life.quick_deaths = if started.elapsed() >= HEALTHY_AFTER {
                1
            } else {
                life.quick_deaths + 1
            };
        });
        let Some(how) = ended else { return };
        console.event('✘', &spec.name, &how);
        let wait = backoff(life.borrow().quick_deaths);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = until(&mut wanted, Wanted::Stopped) => return,
        }
        let next = wanted.wait_for(|wanted| *wanted != Wanted::Down).await;
        if !next.is_ok_and(|wanted| *wanted == Wanted::Running) {
            return;
        }
        console.event('↻', &spec.name, "starts again");
    }
}

/// Runs the process to its end; says how it ended, unless it was asked to.
async fn run_once(
    spec: &Spec,
    console: &Console,
    life: &watch::Sender<Life>,
    wanted: &mut watch::Receiver<Wanted>,
) -> Option<String> {
    let mut child = match command(spec).spawn() {
        Ok(child) => child,
        Err(error) => {
            return Some(format!("cannot start {}: {error}", spec.program.display()));
        }
    };
    pass_on(&mut child, &spec.name, console);
    life.send_modify(|life| {
        life.pid = child.id();
        life.starts += 1;
    });
    tokio::select! {
        status = child.wait() => return Some(ended(status)),
        () = until(wanted, Wanted::Stopped) => {}
    }
    end(child, spec, console).await;
    None
}

/// Resolves when this is wanted, also when nobody can want anything any more because the [`Process`] is gone.
async fn until(wanted: &mut watch::Receiver<Wanted>, state: Wanted) {
    let _ = wanted.wait_for(|wanted| *wanted == state).await;
}

/// The wait before the next start after so many quick deaths in a row.
fn backoff(quick_deaths: u32) -> Duration {
    let doublings = quick_deaths.saturating_sub(1).min(16);
    BACKOFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACKOFF_LAST)
}

/// The command line, run through `setpriv` (util-linux): it drops root where asked, and asks the kernel to end
/// the process should the lab die without a word, which needs `unsafe` to do from here.
fn command(spec: &Spec) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg(signal_name(spec.stop));
    if let Some((user, group)) = spec.user {
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={group}"))
            .arg("--clear-groups");
    }
    command.arg("--").arg(&spec.program).args(&spec.args);
    command
        .env_clear()
        .envs(inherited())
        .envs(spec.env.iter().map(|(name, value)| (name, value)));
    // Own process group: Ctrl-C at the terminal reaches the lab alone, which then stops all in order.
    command.process_group(0).kill_on_drop(true);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn inherited() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os().filter(|(name, _)| INHERITED.iter().any(|inherited| name == inherited))
}

fn signal_name(signal: Signal) -> &'static str {
    if signal == Signal::INT { "INT" } else { "TERM" }
}

fn pass_on(child: &mut Child, name: &str, console: &Console) {
    if let Some(out) = child.stdout.take() {
        tokio::spawn(copy_lines(out, name.to_owned(), console.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(copy_lines(err, name.to_owned(), console.clone()));
    }
}

async fn copy_lines(from: impl AsyncRead + Unpin, name: String, console: Console) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        console.line(&name, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

async fn end(mut child: Child, spec: &Spec, console: &Console) {
    if let Some(pid) = child.id() {
        send(pid, spec.stop);
    }
    match tokio::time::timeout(spec.grace, child.wait()).await {
        Ok(Ok(status)) if status.success() => console.event('■', &spec.name, "stopped"),
        Ok(status) => console.event('■', &spec.name, &ended(status)),
        Err(_) => {
            let waited = spec.grace.as_secs();
            console.event(
                '✘',
                &spec.name,
                &format!("did not stop within {waited} s: killed"),
            );
            if let Some(group) = child.id().and_then(pid_of) {
                // Its own group: what it has started must not outlive it.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait().await;
        }
    }
}

fn ended(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => format!("ended: {status}"),
        Err(error) => format!("cannot be waited for: {error}"),
    }
}

/// Signals a child that has not been waited for, so that its number cannot belong to another process yet.
fn send(pid: u32, signal: Signal) {
    if let Some(pid) = pid_of(pid) {
        // The process may have ended by itself in the meantime.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests;
