//! The network mode: the whole scenario on one machine, each host a network namespace with its own firewall.
//!
//! The life of a lab:
//! 1. [`topology`] says which hosts there are, in which of the four LANs, with which addresses.
//! 2. `create` makes secrets and storage folders, then [`cables`] makes namespaces, switches and cables.
//! 3. For each host a supervisor ([`machine`]) starts inside its namespace: it puts the host's firewall in force
//!    ([`policy`]), keeps its process alive and reports. Data first, then front-ends, then the balancer.
//! 4. `shutdown` ends the supervisors in the opposite order and takes the hosts off the network, `start` brings them back
//!    with the same data, `destroy` leaves nothing behind, whatever a crash has left there.
//!
//! Commands of one lab take turns. Nothing but the state folder is shared between labs of different names.

pub mod cables;
mod folder;
pub mod machine;
pub mod map;
pub mod policy;
mod standing;
pub mod topology;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

use self::cables::Cables;
pub use self::folder::Folder;
use self::folder::turn;
pub use self::standing::Standing;
use self::topology::{Host, Lan, Leg, QUIZ_PORT, Role, Topology};
use crate::console::Console;
use crate::plan::{self, Plan};
use crate::ready::DEADLINE;
use crate::state::{self, Secrets};

/// Roles in the order in which they start; those of one line start together.
const ORDER: [&[Role]; 3] = [
    &[Role::Database, Role::Storage, Role::Firewall, Role::Client],
    &[Role::FrontEnd],
    &[Role::Balancer],
];
/// How long a host may take to end in peace: more than any process's own grace.
const END: Duration = Duration::from_secs(45);
/// How long what a killed supervisor leaves behind may take to end in peace.
const LEFT_OVER: Duration = Duration::from_secs(10);
/// Between two looks at something that is to happen.
const INTERVAL: Duration = Duration::from_millis(20);
/// The last lines of a log that an error shows.
const SHOWN: usize = 12;

/// A lab by its name. While the value lives, no other command changes that lab.
#[derive(Debug)]
pub struct Lab {
    folder: Folder,
    cables: Cables,
    programs: PathBuf,
    _turn: File,
}

impl Lab {
    /// The lab `name`, with its files in `state` and the programs in `programs`; waits until other commands are through.
    ///
    /// # Errors
    /// The name is unfit, this is not root, or there is no such lab.
    pub fn open(name: &str, state: &Path, programs: &Path) -> anyhow::Result<Self> {
        if !state.join(name).exists() {
            bail!(
                "there is no lab {name:?} in {}: `quiz-lab create` makes one",
                state.display()
            );
        }
        Self::open_or_make(name, state, programs)
    }

    /// The same, for one that may not be there yet, or not any more.
    ///
    /// # Errors
    /// The name is unfit, this is not root, or the folder cannot be made.
    pub fn open_or_make(name: &str, state: &Path, programs: &Path) -> anyhow::Result<Self> {
        let plain = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if !plain || name.is_empty() || name.len() > 20 {
            bail!("{name:?} is no name for a lab: use up to 20 letters a-z and digits");
        }
        if !rustix::process::geteuid().is_root() {
            bail!("networks need root: run it with sudo");
        }
        let folder = state.join(name);
        Ok(Self {
            _turn: turn(&folder)?,
            folder: Folder::at(folder.canonicalize()?),
            cables: Cables::of(name),
            programs: programs.to_owned(),
        })
    }

    /// The state folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Which hosts there are.
    ///
    /// # Errors
    /// As of [`Folder::topology`].
    pub fn topology(&self) -> anyhow::Result<Topology> {
        self.folder.topology()
    }

    /// Password of the seeded users `admin` and `pepe`.
    ///
    /// # Errors
    /// The secrets are damaged.
    pub fn site_password(&self) -> anyhow::Result<String> {
        Ok(Secrets::of(self.folder.path())?.site)
    }

    /// Makes what is missing of a lab and starts what does not run. A new lab has the hosts of `topology`, one that exists
    /// keeps its own.
    ///
    /// # Errors
    /// A program is missing, a namespace cannot be made, or a host does not come up.
    pub async fn create(&self, topology: &Topology, console: &Console) -> anyhow::Result<()> {
        for program in [
            "quiz-lb",
            "quiz-web",
            "quiz-storage",
            "quiz-firewall",
            "quiz-lab",
        ] {
            let path = self.programs.join(program);
            if !path.exists() {
                bail!(
                    "{} does not exist: build the workspace first (cargo build --workspace)",
                    path.display()
                );
            }
        }
        if self.folder.record().exists() {
            let servers = self.topology()?.servers();
            if servers != topology.servers() {
                console.plain(&format!(
                    "The lab is there, with {servers} front-ends: `quiz-lab add` and `remove` change that.\n"
                ));
            }
        } else {
            if !self.cables.all().is_empty() {
                bail!(
                    "a lab of this name runs, and keeps its state in another folder: choose another --name, or `quiz-lab destroy` it"
                );
            }
            self.make_storage(topology).await?;
            self.folder.remember(topology)?;
        }
        self.start(None, console).await
    }

    /// Gives the storage nodes of a new lab their folders.
    async fn make_storage(&self, topology: &Topology) -> anyhow::Result<()> {
        let (secrets, data) = (Secrets::of(self.folder.path())?, self.folder.data());
        state::create(&data)?;
        let plan = Plan {
            programs: &self.programs,
            quiz_settings: &[],
            secrets: &secrets,
            folder: &data,
        };
        let nodes = machine::storage_nodes(topology);
        for index in 0..nodes.len() {
            // Again after a crash: it changes nothing where it was through.
            plan::init_storage(&plan.storage(index, &nodes)).await?;
        }
        Ok(())
    }

    /// Starts all hosts that do not run, or one of them, each with its cables.
    ///
    /// # Errors
    /// A host does not come up; the error shows the end of its log.
    pub async fn start(&self, only: Option<&str>, console: &Console) -> anyhow::Result<()> {
        let topology = self.topology()?;
        let begun = Instant::now();
        self.cables.make_switches()?;
        let mut hosts = topology.hosts();
        if let Some(name) = only {
            hosts = vec![topology.host(name)?];
        }
        if !self.folder.backends().exists() {
            let hosts = topology.of(Role::FrontEnd);
            let all: Vec<String> = hosts.iter().map(backend).collect();
            self.folder.list(&all)?;
        }
        for roles in ORDER {
            let hosts = hosts.iter().filter(|host| roles.contains(&host.role));
            let mut starting = Vec::new();
            for host in hosts {
                starting.push((host, self.boot(host).await?));
            }
            for (host, mut child) in starting {
                self.wait_up(host, child.as_mut()).await?;
                if child.is_some() {
                    let seconds = begun.elapsed().as_secs_f32();
                    let text = format!("up after {seconds:.1} s  {}", addresses(host));
                    console.event('✔', &host.name, &text);
                }
            }
        }
        Ok(())
    }

    /// Starts a host's supervisor in a namespace made anew, unless it runs.
    async fn boot(&self, host: &Host) -> anyhow::Result<Option<Child>> {
        let files = self.folder.files(&host.name);
        if files.supervisor().is_some() {
            return Ok(None);
        }
        state::create(&files.0)?;
        files.forget();
        // Of a supervisor that was killed; its process was told to end when that happened.
        self.clear(&host.name, LEFT_OVER).await?;
        self.cables.make(host)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(files.log())?;
        let mut command = self.cables.command(&host.name);
        // A session of its own: neither Ctrl-C nor a closed terminal reaches it.
        command
            .args(["setsid"])
            .arg(self.programs.join("quiz-lab"))
            .arg("machine")
            .arg("--folder")
            .arg(self.folder.path())
            .arg("--programs")
            .arg(&self.programs)
            .arg(&host.name)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Some(command.spawn().context("cannot run ip")?))
    }

    /// Waits until a host that was started is ready; for one that ran, until it was so once: it may be cut off now.
    async fn wait_up(&self, host: &Host, mut child: Option<&mut Child>) -> anyhow::Result<()> {
        let files = self.folder.files(&host.name);
        let deadline = Instant::now() + DEADLINE;
        loop {
            if files.reported().is_some() {
                return Ok(());
            }
            let ended = match child.as_mut() {
                Some(child) => child.try_wait()?.is_some(),
                None => files.supervisor().is_none(),
            };
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(files.log()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n  ");
                bail!(
                    "{} does not come up; {} ends with:\n  {last}",
                    host.name,
                    files.log().display()
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Ends all hosts, or one of them, and whatever else runs on them; they are off the network then. Their data stays.
    ///
    /// # Errors
    /// There is no such host, or one does not end.
    pub async fn shutdown(&self, only: Option<&str>, console: &Console) -> anyhow::Result<()> {
        let topology = self.topology()?;
        let mut hosts = topology.hosts();
        if let Some(name) = only {
            hosts = vec![topology.host(name)?];
        }
        for roles in ORDER.iter().rev() {
            let hosts = hosts.iter().filter(|host| roles.contains(&host.role));
            // All at once, and then one after the other is waited for.
            let ending: Vec<(&Host, bool)> = hosts
                .map(|host| (host, self.ask_to_end(&host.name)))
                .collect();
            for (host, ran) in ending {
                self.wait_ended(&host.name).await?;
                self.clear(&host.name, Duration::ZERO).await?;
                self.cables.unmake(&host.name)?;
                if ran {
                    console.event('■', &host.name, "down");
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing runs in a host's namespace, and kills what does after `patience`.
    async fn clear(&self, host: &str, patience: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let left = self.cables.processes(host)?;
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > patience + END {
                bail!("processes {left:?} of {host} do not end");
            }
            if begun.elapsed() >= patience {
                for pid in left.into_iter().filter_map(Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn ask_to_end(&self, host: &str) -> bool {
        let supervisor = self.folder.files(host).supervisor();
        if let Some(supervisor) = supervisor {
            machine::end(supervisor);
        }
        supervisor.is_some()
    }

    async fn wait_ended(&self, host: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + END;
        while self.folder.files(host).supervisor().is_some() {
            if Instant::now() > deadline {
                bail!(
                    "{host} does not end within {} s: `quiz-lab destroy` ends it",
                    END.as_secs()
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(())
    }

    /// Ends everything and removes it, data included, also what nobody remembers.
    ///
    /// # Errors
    /// A process does not end, or a namespace or the folder cannot be removed.
    pub async fn destroy(self, console: &Console) -> anyhow::Result<()> {
        if self.topology().is_ok() {
            // Whoever does not end in peace is killed below.
            let _ = self.shutdown(None, console).await;
        }
        for host in self.cables.all() {
            self.clear(&host, Duration::ZERO).await?;
            self.cables.unmake(&host)?;
        }
        let folder = self.folder.path();
        // Out of the way first: whoever waits for a turn must not begin in a folder that is going.
        let gone = folder.with_extension("gone");
        std::fs::rename(folder, &gone)
            .and_then(|()| std::fs::remove_dir_all(&gone))
            .with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// One more front-end: its host, and once it is ready a line in the balancer's list.
    ///
    /// # Errors
    /// The name is unfit or taken, or the host does not come up: it is not in the list then, and adding it again goes on.
    pub async fn add(&self, name: &str, console: &Console) -> anyhow::Result<()> {
        let mut topology = self.topology()?;
        let mut listed = self.folder.listed()?;
        match topology.front_end(name) {
            Ok(host) if !listed.contains(&backend(&host)) => {}
            _ => {
                topology.add(name)?;
                self.folder.remember(&topology)?;
            }
        }
        self.start(Some(name), console).await?;
        listed.push(backend(&topology.host(name)?));
        self.folder.list(&listed)
    }

    /// One front-end less: it drains and ends, then it leaves the list.
    ///
    /// # Errors
    /// There is no such front-end, it is the last one, or it does not end.
    pub async fn remove(&self, name: &str, console: &Console) -> anyhow::Result<()> {
        let mut topology = self.topology()?;
        let gone = backend(&topology.front_end(name)?);
        topology.remove(name)?;
        self.shutdown(Some(name), console).await?;
        let mut listed = self.folder.listed()?;
        listed.retain(|backend| *backend != gone);
        self.folder.list(&listed)?;
        self.folder.remember(&topology)?;
        let files = self.folder.files(name).0;
        if files.exists() {
            std::fs::remove_dir_all(&files)?;
        }
        Ok(())
    }

    /// Pulls (`plugged` false) or plugs the cables of a host, or the one in a LAN.
    ///
    /// # Errors
    /// There is no such host, or it has no cable in that LAN.
    pub fn plug(&self, name: &str, lan: Option<u8>, plugged: bool) -> anyhow::Result<()> {
        let host = self.topology()?.host(name)?;
        let legs: Vec<Leg> = (host.legs.iter().copied())
            .filter(|leg| lan.is_none_or(|lan| leg.lan.0 == lan))
            .collect();
        if legs.is_empty() {
            bail!("{name} has no cable in LAN {}", lan.unwrap_or_default());
        }
        for leg in legs {
            self.cables.plug(&host, leg, plugged)?;
        }
        Ok(())
    }

    /// How each host stands.
    ///
    /// # Errors
    /// There is no such lab, or `ip` fails.
    pub fn standing(&self) -> anyhow::Result<Vec<Standing>> {
        let pulled = self.cables.pulled()?;
        let standing = |host: Host| {
            let files = self.folder.files(&host.name);
            let legs = host.legs.iter();
            let pulled = legs.filter(|leg| pulled.contains(&cables::port(&host.name, **leg)));
            Standing {
                made: self.cables.exist(&host.name),
                supervisor: files.supervisor(),
                report: files.reported(),
                pulled: pulled.map(|leg| leg.lan).collect(),
                host,
            }
        };
        Ok(self.topology()?.hosts().into_iter().map(standing).collect())
    }

    /// The file that stands for a host's network namespace.
    pub fn namespace(&self, host: &str) -> PathBuf {
        self.cables.file(host)
    }

    /// A command on a host.
    ///
    /// # Errors
    /// There is no such host, or it has no namespace.
    pub fn command(&self, host: &str) -> anyhow::Result<std::process::Command> {
        self.topology()?.host(host)?;
        if !self.cables.exist(host) {
            bail!("{host} does not exist now: `quiz-lab start` makes it");
        }
        Ok(self.cables.command(host))
    }
}

/// A front-end as the balancer's list has it.
fn backend(host: &Host) -> String {
    host.at(Lan(3), QUIZ_PORT).to_string()
}

/// All IPv4 addresses of a host.
fn addresses(host: &Host) -> String {
    let legs = host.legs.iter().map(|leg| leg.v4().to_string());
    legs.collect::<Vec<_>>().join("  ")
}
