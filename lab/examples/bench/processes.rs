//! The processors: who may use which, and how much of them a process has used.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quiz_lab::supervise::{Process, Spec};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Clock ticks each second in `/proc/PID/stat`, on every Linux of today.
const TICKS: u64 = 100;

/// Two processors: what serves is on one, what asks (this process and what it starts) on the other, so that neither takes from
/// the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
}

impl Cores {
    /// The first two that we may use. From here on this process and what it starts is on the client's, unless told otherwise.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("cannot read which cores we may use")?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let (client, server) = (cores.next(), cores.next());
        let cores = client.zip(server);
        let (client, server) =
            cores.context("two cores are needed: one for what serves, one for what asks")?;
        sched_setaffinity(None, &only(client)).context("cannot choose a core")?;
        Ok(Self { server })
    }

    /// Has a program run on the server's core from its first thread on.
    pub(crate) fn serve(&self, mut spec: Spec) -> Spec {
        let program = std::mem::replace(&mut spec.program, "taskset".into());
        let pinned = [
            "--cpu-list".to_owned(),
            self.server.to_string(),
            program.display().to_string(),
        ];
        spec.args.splice(0..0, pinned);
        spec
    }

    /// Moves a process that runs already, with its threads and children.
    pub(crate) fn move_to_server(&self, pid: u32) -> anyhow::Result<()> {
        for process in family(pid) {
            for thread in threads(process) {
                // It may have ended just now.
                let _ = sched_setaffinity(Some(thread), &only(self.server));
            }
        }
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let now = sched_getaffinity(pid).context("cannot read where a process runs")?;
        ensure!(
            now.is_set(self.server) && now.count() == 1,
            "a process did not move to its core"
        );
        Ok(())
    }
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Which processes are a component of the site.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) component: &'static str,
    pub(crate) pids: Vec<u32>,
}

impl Watched {
    pub(crate) fn of<'a>(
        component: &'static str,
        processes: impl IntoIterator<Item = &'a Process>,
    ) -> Self {
        let pids = processes
            .into_iter()
            .filter_map(|process| process.life().pid);
        Self {
            component,
            pids: pids.collect(),
        }
    }

    /// Time on a processor so far, of their children too.
    pub(crate) fn cpu(&self) -> Duration {
        let families = self.pids.iter().flat_map(|pid| family(*pid));
        families.map(cpu).sum()
    }

    /// Bytes of memory that are theirs and present.
    pub(crate) fn resident(&self) -> u64 {
        self.pids.iter().map(|pid| resident(*pid)).sum()
    }
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = numbers(Path::new("/proc")).filter(|each| parent(*each) == Some(pid));
    std::iter::once(pid).chain(children).collect()
}

fn numbers(folder: &Path) -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of `/proc/PID/stat` after the name, which may have spaces: the first is the state, the third of `proc(5)`.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

fn threads(pid: u32) -> impl Iterator<Item = Pid> {
    let threads = numbers(Path::new(&format!("/proc/{pid}/task"))).collect::<Vec<_>>();
    threads
        .into_iter()
        .filter_map(|thread| Pid::from_raw(i32::try_from(thread).ok()?))
}

/// To the nanosecond of what runs, to the tick of children that have ended.
fn cpu(pid: u32) -> Duration {
    let running = |thread: Pid| {
        let path = format!("/proc/{pid}/task/{}/schedstat", thread.as_raw_nonzero());
        let text = std::fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    let nanos: u64 = threads(pid).filter_map(running).sum();
    let ticks: u64 = stat(pid).map_or(0, |fields| {
        let ended = fields.iter().skip(13).take(2);
        ended.filter_map(|field| field.parse::<u64>().ok()).sum()
    });
    Duration::from_nanos(nanos) + Duration::from_millis(ticks * 1000 / TICKS)
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let fields: HashMap<&str, &str> = status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    let kib = fields
        .get("VmRSS")
        .and_then(|value| value.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}
