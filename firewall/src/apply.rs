//! A policy against the rules in force: what would change, putting it in force, and whether it still is.
//!
//! The life of `apply`: the session that it runs in must survive ([`cut_off`]), the kernel must take the ruleset in a
//! throw-away namespace, then it is loaded in one transaction and read back. What differs from what the namespace listed
//! is undone. [`confirm`](crate::confirm) stands ready before that, and undoes the rest when nobody confirms it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::compile::{self, TABLE};
use crate::explain::{Outcome, explain};
use crate::nft::{self, Sender};
use crate::packet::{Content, Packet, State, TcpFlags};
use crate::policy::Policy;
use crate::render;
use crate::ruleset::{Counted, Ruleset};

/// Held while the rules of this machine are changed and while a change waits for its confirmation, by one at a time: what
/// another one put in force meanwhile would be undone with it. There is one for each network namespace, and it goes with
/// the process that has it.
#[derive(Debug)]
pub struct Turn {
    _held: Held,
}

#[derive(Debug)]
enum Held {
    /// In a folder where only root can write, so that nobody else can keep root from its turn.
    File { _locked: Locked },
    /// Where that folder cannot be written: a name that is one per network namespace.
    Name { _name: UnixListener },
}

impl Turn {
    /// # Errors
    /// It is somebody else's.
    pub fn take() -> anyhow::Result<Self> {
        let taken = "another quiz-firewall is changing the rules, or waits for a confirmation: end that first";
        let held = match Locked::take() {
            Ok(Some(locked)) => Held::File { _locked: locked },
            Ok(None) => bail!("{taken}"),
            Err(error) if NOT_WRITABLE.contains(&error.kind()) => {
                let name = SocketAddr::from_abstract_name("quiz-firewall");
                match UnixListener::bind_addr(&name.context("naming a socket")?) {
                    Ok(name) => Held::Name { _name: name },
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!("{taken}"),
                    Err(error) => return Err(error).context("taking turns with others"),
                }
            }
            Err(error) => return Err(error).context("taking turns with others"),
        };
        Ok(Self { _held: held })
    }
}

/// Why a file cannot be made: not root, a read-only file system, no such folder.
const NOT_WRITABLE: [io::ErrorKind; 3] = [
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ReadOnlyFilesystem,
    io::ErrorKind::NotFound,
];

/// A file that is locked, and removed with the lock.
#[derive(Debug)]
struct Locked {
    path: PathBuf,
    _file: File,
}

impl Locked {
    /// `None` while somebody else has it.
    fn take() -> io::Result<Option<Self>> {
        let namespace = fs::metadata("/proc/self/ns/net")?.ino();
        let path = PathBuf::from(format!("/run/quiz-firewall.{namespace}.lock"));
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it before may have removed the file between our two steps.
            let there = fs::metadata(&path).map(|meta| meta.ino());
            if there.is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there)) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // While it is still locked. One that is left does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

/// A ruleset that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    ruleset: Ruleset,
    /// How the kernel lists it; unknown where no namespace can be made.
    expected: Option<String>,
    before: Before,
}

/// The rules before, in the words that bring them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before(pub String);

impl Before {
    fn now() -> anyhow::Result<Self> {
        let before = nft::in_force(true)?.unwrap_or_default();
        Ok(Self(render::removal(TABLE) + &before))
    }

    /// Puts them in force again; their counters go on from what has been counted since.
    ///
    /// # Errors
    /// As of [`nft::load`].
    pub fn bring_back(&self) -> anyhow::Result<()> {
        // With what is not known any more, the old numbers have to do.
        nft::load(&going_on(&self.0, &nft::counted().unwrap_or_default()))
    }
}

/// A listing in which the counters begin with what has been `counted`.
fn going_on(listing: &str, counted: &[Counted]) -> String {
    let mut text = String::new();
    let mut counter: Option<&Counted> = None;
    for line in listing.lines() {
        let begins = line
            .trim()
            .strip_prefix("counter ")
            .and_then(|rest| rest.strip_suffix(" {"));
        match counter.take() {
            Some(Counted { packets, bytes, .. }) if line.trim().starts_with("packets ") => {
                text.push_str(&format!("packets {packets} bytes {bytes}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
        counter = begins.and_then(|name| counted.iter().find(|counter| counter.name == name));
    }
    text
}

/// Whether what was loaded is what a throw-away namespace lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    Same,
    /// No namespace can be made here, so nft's word has to do.
    Unknown,
}

/// Does all that can be done to put a policy in force without changing anything.
///
/// # Errors
/// It would cut off `session` (as of [`cut_off`]), or nft refuses it or may not look at the rules of this machine.
pub fn prepare(policy: &Policy, session: Option<&str>) -> anyhow::Result<Ready> {
    if let Some(why) = session.and_then(|session| cut_off(policy, session)) {
        bail!("{why}");
    }
    let ruleset = compile::ruleset(policy);
    Ok(Ready {
        before: Before::now()?,
        expected: nft::tried(&render::to_nft(&ruleset, &[]))?,
        ruleset,
    })
}

impl Ready {
    #[must_use]
    pub fn before(&self) -> &Before {
        &self.before
    }

    /// Puts it in force.
    ///
    /// # Errors
    /// The kernel does not take it, or lists something else afterwards, or cannot be asked. The rules before are in force
    /// then, or the error says that they could not be brought back.
    pub fn load(&self) -> anyhow::Result<Compared> {
        let counted = match nft::in_force(false)? {
            Some(_) => nft::counted()?,
            None => Vec::new(),
        };
        nft::load(&render::to_nft(&self.ruleset, &counted))?;
        let compared = self.compare();
        if compared.is_err() {
            let back = self.before.bring_back();
            back.context("the rules before could not be brought back")?;
        }
        compared
    }

    /// To be loaded again: what is in force now is what a failure brings back.
    ///
    /// # Errors
    /// As of [`nft::in_force`].
    pub fn renew(&mut self) -> anyhow::Result<()> {
        self.before = Before::now()?;
        Ok(())
    }

    /// Where no namespace could be made to learn how the kernel lists it: what is listed now, right after loading.
    ///
    /// # Errors
    /// As of [`nft::in_force`].
    pub fn take_as_expected(&mut self) -> anyhow::Result<()> {
        if self.expected.is_none() {
            self.expected = nft::in_force(false)?;
        }
        Ok(())
    }

    /// The lines in which the rules in force differ from it; none where it is not known how they should be listed.
    ///
    /// # Errors
    /// As of [`nft::in_force`].
    pub fn drift(&self) -> anyhow::Result<Vec<Change>> {
        let running = nft::in_force(false)?.unwrap_or_default();
        let expected = self.expected.as_ref();
        Ok(expected.map_or_else(Vec::new, |expected| changes(&running, expected)))
    }

    fn compare(&self) -> anyhow::Result<Compared> {
        let listed = nft::in_force(false)?;
        match &self.expected {
            None => Ok(Compared::Unknown),
            Some(_) if listed == self.expected => Ok(Compared::Same),
            Some(_) => bail!(
                "the kernel does not list what was loaded, so the rules before are in force again"
            ),
        }
    }
}

/// Why a policy would cut off the SSH session in whose environment `SSH_CONNECTION` is `session`, or why that cannot be
/// told. `None`: the next session from there would come through.
#[must_use]
pub fn cut_off(policy: &Policy, session: &str) -> Option<String> {
    let Some((sender, receiver, port)) = ends(session) else {
        return Some(format!(
            "the SSH session that this command runs in says {session:?} of itself, from which nobody can tell whether \
             the rules would cut it off: say --force if they do not"
        ));
    };
    let packet = Packet {
        interface: None,
        out: None,
        sender,
        receiver,
        local: true,
        content: Content::Tcp {
            port,
            flags: TcpFlags::Syn,
        },
        state: State::New,
        route_back: true,
        published: false,
        redirected_to: None,
        within_limits: true,
    };
    let ruleset = compile::ruleset(policy);
    let steps = explain(&ruleset, &packet);
    let cut = steps.iter().any(|step| step.outcome == Outcome::Dropped);
    cut.then(|| {
        format!(
            "these rules let nobody from {sender} in at port {port}, which is how the session came that this command \
             runs in: name the address under `sources` of `[ssh]`, with `port = {port}`, or say --force"
        )
    })
}

/// Client, server and its port, of `CLIENT PORT SERVER PORT`.
fn ends(session: &str) -> Option<(IpAddr, IpAddr, u16)> {
    let words: Vec<&str> = session.split_whitespace().collect();
    let [client, _, server, port] = words[..] else {
        return None;
    };
    // The scope of a link-local address is of no interest to a rule.
    let address = |text: &str| text.split('%').next()?.parse().ok();
    Some((address(client)?, address(server)?, port.parse().ok()?))
}

/// One line that differs between the rules in force and those of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `+` is added by the policy, `-` taken away.
    pub sign: char,
    /// As nft lists it.
    pub line: String,
}

/// What putting `policy` in force would change; nothing when it is in force.
///
/// # Errors
/// nft refuses the ruleset, or may not look at the rules of this machine.
pub fn plan(policy: &Policy) -> anyhow::Result<Vec<Change>> {
    let text = render::to_nft(&compile::ruleset(policy), &[]);
    let wanted = nft::tried(&text)?;
    let wanted = wanted.context("no network namespace can be made here to try the ruleset in")?;
    let running = nft::in_force(false)?.unwrap_or_default();
    Ok(changes(&running, &wanted))
}

fn changes(running: &str, wanted: &str) -> Vec<Change> {
    let diff = TextDiff::from_lines(running, wanted);
    let changes = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Insert => '+',
            ChangeTag::Delete => '-',
        };
        let line = change.value().trim().to_owned();
        (!line.is_empty()).then_some(Change { sign, line })
    });
    changes.collect()
}

/// How the machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Our table is there.
    pub in_force: bool,
    /// The lines that differ from the policy that was asked about; `None` when none was.
    pub drift: Option<Vec<Change>>,
    /// Empty without a table.
    pub counters: Vec<Counted>,
    /// Those of whom most was dropped lately: ten at most.
    pub dropped_senders: Vec<Sender>,
}

/// Senders that a status names.
const TOP: usize = 10;

/// # Errors
/// As of [`plan`].
pub fn status(policy: Option<&Policy>) -> anyhow::Result<Status> {
    let in_force = nft::in_force(false)?.is_some();
    Ok(Status {
        in_force,
        drift: policy.map(plan).transpose()?,
        counters: if in_force {
            nft::counted()?
        } else {
            Vec::new()
        },
        dropped_senders: if in_force {
            nft::dropped_senders()?.into_iter().take(TOP).collect()
        } else {
            Vec::new()
        },
    })
}

impl Status {
    /// For people.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut text = match (self.in_force, self.drift.as_deref()) {
            (false, _) => "NOT IN FORCE: this machine has no rules of quiz-firewall\n".to_owned(),
            (true, None) => "in force\n".to_owned(),
            (true, Some([])) => "in force, as the policy says\n".to_owned(),
            (true, Some(drift)) => format!(
                "DRIFTED: lines in which the rules in force differ from the policy: {}; `plan` shows them\n",
                drift.len()
            ),
        };
        if !self.counters.is_empty() {
            text.push_str(&format!(
                "\n{:<19} {:>14} {:>18}\n",
                "counter", "packets", "bytes"
            ));
        }
        for Counted {
            name,
            packets,
            bytes,
        } in &self.counters
        {
            text.push_str(&format!("{name:<19} {packets:>14} {bytes:>18}\n"));
        }
        if !self.dropped_senders.is_empty() {
            let title = "dropped in the last minutes";
            text.push_str(&format!(
                "\n{title:<39} {:>10} {:>12}\n",
                "packets", "bytes"
            ));
        }
        for Sender {
            address,
            packets,
            bytes,
        } in &self.dropped_senders
        {
            let address = address.to_string();
            text.push_str(&format!("{address:<39} {packets:>10} {bytes:>12}\n"));
        }
        text
    }

    /// Whether the machine is as the policy says, as far as one was named.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.in_force && self.drift.as_ref().is_none_or(Vec::is_empty)
    }
}
