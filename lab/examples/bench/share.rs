//! Equal shares of a processor: a control group for each process that lets it have so much of every period, and no more.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use quiz_lab::supervise::Process;

/// Short enough that a request seldom waits for the next one for long.
const PERIOD_US: u64 = 10_000;

/// Where the kernel keeps its groups: version 1, which has a tree for each kind, and version 2, which has one.
const TREES: [(&str, Version); 3] = [
    ("/sys/fs/cgroup/cpu", Version::One),
    ("/sys/fs/cgroup/cpu,cpuacct", Version::One),
    ("/sys/fs/cgroup", Version::Two),
];

const PREFIX: &str = "quizstack-bench-";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A group, which goes when this is dropped, if its processes have ended.
#[derive(Debug)]
pub(crate) struct Share(PathBuf);

impl Share {
    /// A group of which all processes together may have this share of one core. None where no group can be made: that takes
    /// root, and a tree that may be written.
    pub(crate) fn of_a_core(share: f64, name: &str) -> Option<Self> {
        let quota = (PERIOD_US as f64 * share) as u64;
        TREES.into_iter().find_map(|(tree, version)| {
            let tree = Path::new(tree);
            clear(tree);
            let group = Self(tree.join(format!("{PREFIX}{}-{name}", std::process::id())));
            std::fs::create_dir(&group.0).ok()?;
            let limited = match version {
                Version::One => group
                    .write("cpu.cfs_period_us", &PERIOD_US.to_string())
                    .and_then(|()| group.write("cpu.cfs_quota_us", &quota.to_string())),
                Version::Two => group.write("cpu.max", &format!("{quota} {PERIOD_US}")),
            };
            limited.ok().map(|()| group)
        })
    }

    /// Has a process and all its threads in it from now on.
    pub(crate) fn take_in(&self, process: &Process) -> anyhow::Result<()> {
        let pid = process.life().pid.context("it runs")?;
        self.write("cgroup.procs", &pid.to_string())
    }

    fn write(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let file = self.0.join(name);
        // It must be there already: a file that a test folder would get is no limit.
        anyhow::ensure!(file.exists(), "{} does not exist", file.display());
        std::fs::write(&file, value).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// What a run that was killed left behind. A group with a process in it cannot be removed.
fn clear(tree: &Path) {
    let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}
