//! A balancer as operators run it: a process with a log, signals and limits.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    time,
};

use crate::common::{PATIENCE, client, eventually};

/// A balancer as operators run it. Killed when dropped.
pub(crate) struct Process {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) async fn start(listen: &str, backends: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-lb"));
        command.args(["--listen", listen]);
        command.args(["--backends", backends]);
        Self::spawn(command, flags, "info").await
    }

    /// With the settings of a file.
    pub(crate) async fn with_file(file: &Path) -> Self {
        Self::with_file_and(file, &[]).await
    }

    /// And with these variables.
    pub(crate) async fn with_file_and(file: &Path, variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-lb"));
        command
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(file)
            .envs(variables.iter().copied());
        Self::spawn(command, &[], "info").await
    }

    /// With `ulimit` called like this before, and with what `RUST_LOG` is to be.
    pub(crate) async fn limited(
        ulimit: &str,
        backends: &str,
        flags: &[&str],
        filter: &str,
    ) -> Self {
        let mut command = with_ulimit(ulimit);
        command.args(["--backends", backends]);
        Self::spawn(command, flags, filter).await
    }

    /// One that binds no port yet: see `listening`.
    pub(crate) fn waiting(listen: &str, backends: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quiz-lb"));
        command.args(["--listen", listen, "--backends", backends]);
        Self::launch(command, flags, "info")
    }

    async fn spawn(command: Command, flags: &[&str], filter: &str) -> Self {
        let mut process = Self::launch(command, flags, filter);
        process.listening().await;
        process
    }

    fn launch(mut command: Command, flags: &[&str], filter: &str) -> Self {
        let mut child = command
            .args(["--admin-listen", "127.0.0.1:0"])
            .args(["--probe-interval", "20", "--probe-timeout", "5000"])
            .args(flags)
            .env("RUST_LOG", filter)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().expect("stderr is piped");
        // Read to the end, or the balancer would one day block on a full pipe.
        tokio::spawn(collect(stderr, Arc::clone(&log)));
        let nowhere = SocketAddr::from(([0; 4], 0));
        Self {
            addr: nowhere,
            admin: nowhere,
            child,
            log,
        }
    }

    /// Waits until it listens, and learns where.
    pub(crate) async fn listening(&mut self) {
        let line = self.line("balancing on ").await;
        let (_, addrs) = line
            .split_once("balancing on ")
            .expect("the line was chosen for it");
        let (addr, admin) = addrs
            .split_once(", admin on ")
            .expect("the line names both ports");
        // In JSON, quotes and braces follow.
        let parse = |addr: &str| {
            let addr = addr.split('"').next().unwrap_or_default().trim();
            addr.parse().expect("the log shows an address")
        };
        (self.addr, self.admin) = (parse(addr), parse(admin));
    }

    /// How many lines of the log contain this.
    pub(crate) fn logged(&self, text: &str) -> usize {
        matching(&self.log, text).len()
    }

    /// How many of these are for whoever debugs.
    pub(crate) fn debugged(&self, text: &str) -> usize {
        let lines = matching(&self.log, text);
        lines.iter().filter(|line| line.contains("DEBUG")).count()
    }

    /// The first line of the log that contains this, as soon as there is one.
    pub(crate) async fn line(&self, text: &str) -> String {
        first_line(&self.log, text).await
    }

    pub(crate) fn pid(&self) -> Pid {
        let pid = self.child.id().expect("the process runs");
        Pid::from_raw(pid.cast_signed()).expect("no process has the number 0")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is ours to signal");
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it is ours to kill");
    }

    /// Sets how many file descriptors it may have from now on; those it has it keeps. Returns the old number.
    pub(crate) fn allow_descriptors(&self, most: Option<u64>) -> Option<u64> {
        let pid = Some(self.pid());
        let limit = |current, maximum| Rlimit { current, maximum };
        let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
        let old = prlimit(pid, Resource::Nofile, limit(most, hard)).expect("it is ours to limit");
        old.current
    }

    pub(crate) async fn status(&self, addr: SocketAddr, path: &str) -> u16 {
        let reply = client().get(format!("http://{addr}{path}")).send().await;
        reply.map_or(0, |reply| reply.status().as_u16())
    }

    pub(crate) async fn wait_until_ready(&self) {
        eventually("the process is ready", async || {
            self.status(self.admin, "/ready").await == 200
        })
        .await;
    }

    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let exited = time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("the process exits");
        exited.expect("the process is ours to wait for").code()
    }
}

/// The balancer on a port of the kernel's choice, in a shell that first calls `ulimit` like this.
pub(crate) fn with_ulimit(ulimit: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!(r#"ulimit {ulimit} && exec "$0" "$@""#)])
        .args([env!("CARGO_BIN_EXE_quiz-lb"), "--listen", "127.0.0.1:0"]);
    command
}

async fn collect(stderr: ChildStderr, log: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.lock().unwrap().push(line);
    }
}

fn matching(log: &Mutex<Vec<String>>, text: &str) -> Vec<String> {
    let lines = log.lock().unwrap();
    lines
        .iter()
        .filter(|line| line.contains(text))
        .cloned()
        .collect()
}

async fn first_line(log: &Mutex<Vec<String>>, text: &str) -> String {
    eventually(&format!("{text:?} is logged"), async || {
        !matching(log, text).is_empty()
    })
    .await;
    matching(log, text).remove(0)
}
