//! The commands.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::apply::{Compared, Turn};
use crate::confirm::{self, Decision, Guard};
use crate::nft::{self, Judgement};
use crate::packet::{self, Packet};
use crate::policy::Policy;
use crate::watch::{self, Settings};
use crate::{apply, compile, explain, healthcheck, session, site};

/// Compiles a firewall policy to an nftables ruleset, and keeps a machine under it.
///
/// Exit status: 0 done, 1 the policy is not usable or something else failed, 2 wrong usage, 3 `check` found the policy
/// sound but could not show its ruleset to nft, 4 `plan` or `status` found the rules in force to differ from the policy,
/// 5 `apply` was not confirmed.
#[derive(Debug, Parser)]
#[command(name = "quiz-firewall", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the ruleset as nft text, to be loaded with `nft -f`
    Render {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
    },
    /// Check the policy, then have nft judge its ruleset in a throw-away namespace; nothing is loaded.
    /// Ends with status 3 when nft cannot be asked
    Check {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
    },
    /// Tell what becomes of a packet and which rule decides, without sending one
    #[command(after_help = format!("How to ask: {}.", packet::GRAMMAR))]
    Explain {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
        /// The packet, in quotes: "198.51.100.7 -> lb tcp/5432"
        #[arg(required = true, allow_hyphen_values = true)]
        question: Vec<String>,
    },
    /// Show what `apply` would change in the rules of this machine; needs root
    Plan {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Put the policy in force, all of it or nothing; counters go on; needs root
    Apply {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
        /// Bring the rules before back after so many seconds, unless `keep` is typed
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
        confirm: Option<u32>,
        /// Also when the SSH session that this runs in would be cut off
        #[arg(long)]
        force: bool,
    },
    /// Take the rules away: everything is open then; needs root
    Remove,
    /// Tell whether the rules are in force, as a policy says, and what they counted; needs root
    Status {
        /// Policy file to compare with, as config/firewall.toml
        file: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep this machine under the policy: put it in force now, whenever the file changes, and when somebody else has changed
    /// the rules; tell Prometheus how it goes. Needs root; ends on SIGTERM, and the rules stay
    Watch {
        /// Policy file, as config/firewall.toml
        file: PathBuf,
        #[command(flatten)]
        listener: Listener,
        /// Between two looks at the file and the rules, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 5, env = "FIREWALL_INTERVAL_SECS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        /// File that names this network namespace while the rules are in force, for a balancer in it
        #[arg(long, value_name = "PATH", env = "FIREWALL_NAMESPACE_FILE")]
        namespace_file: Option<PathBuf>,
    },
    /// Ask a running `watch` whether the rules are in force: 0 when its /ready answers 200, else 1 with what it said, after
    /// two seconds at most. For container engines
    Healthcheck {
        #[command(flatten)]
        listener: Listener,
        /// Ask /live: whether it runs at all
        #[arg(long)]
        live: bool,
    },
    #[command(hide = true)]
    KeepOrRevert {
        #[arg(long)]
        bytes: usize,
        #[arg(long)]
        seconds: u32,
    },
}

#[derive(Debug, Args)]
struct Listener {
    /// Where `watch` serves /metrics, /live and /ready
    #[arg(
        long = "listen",
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9091",
        env = "FIREWALL_LISTEN"
    )]
    address: SocketAddr,
}

/// What a command that did not fail leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// For standard output.
    pub text: String,
    pub exit_status: u8,
}

/// So that a script does not take "sound as far as we know" for "accepted".
const NOT_JUDGED: u8 = 3;
/// The rules in force are not those of the policy.
const DIFFERS: u8 = 4;

/// Runs one command.
///
/// # Errors
/// The file cannot be read, the policy has faults, nft refuses its ruleset or may not touch the rules of this machine, or
/// what was to be done to them is not done.
pub fn run(cli: &Cli) -> anyhow::Result<Answer> {
    match &cli.command {
        Command::Render { file } => Ok(Answer {
            text: nft_text(file)?,
            exit_status: 0,
        }),
        Command::Check { file } => check(file),
        Command::Explain { file, question } => explain(file, &question.join(" ")),
        Command::Plan { file, json } => plan(file, *json),
        Command::Apply {
            file,
            confirm,
            force,
        } => apply(file, *confirm, *force),
        Command::Remove => {
            let _turn = Turn::take()?;
            nft::remove()?;
            Ok(done(
                "removed: this machine has no rules of quiz-firewall\n",
            ))
        }
        Command::Status { file, json } => status(file.as_deref(), *json),
        Command::Watch {
            file,
            listener,
            interval,
            namespace_file,
        } => watch(Settings {
            file: file.clone(),
            listen: listener.address,
            interval: Duration::from_secs(*interval),
            namespace_file: namespace_file.clone(),
        }),
        Command::Healthcheck { listener, live } => {
            healthcheck::ask(listener.address, *live).map_err(anyhow::Error::msg)?;
            Ok(done(""))
        }
        Command::KeepOrRevert { bytes, seconds } => {
            let decision = confirm::keep_or_revert(*bytes, *seconds)?;
            Ok(decided(decision, "", ""))
        }
    }
}

fn done(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        exit_status: 0,
    }
}

fn decided(decision: Decision, kept: &str, reverted: &str) -> Answer {
    match decision {
        Decision::Kept => done(kept),
        Decision::Reverted => Answer {
            text: reverted.to_owned(),
            exit_status: confirm::REVERTED,
        },
    }
}

fn policy(file: &Path) -> anyhow::Result<Policy> {
    site::parse(&read(file)?).with_context(|| file.display().to_string())
}

fn plan(file: &Path, json: bool) -> anyhow::Result<Answer> {
    let changes = apply::plan(&policy(file)?)?;
    let text = if json {
        serde_json::to_string_pretty(&changes)? + "\n"
    } else if changes.is_empty() {
        "nothing to change: the rules in force are those of the policy\n".to_owned()
    } else {
        let lines = changes
            .iter()
            .map(|change| format!("{} {}\n", change.sign, change.line));
        lines.collect()
    };
    let exit_status = if changes.is_empty() { 0 } else { DIFFERS };
    Ok(Answer { text, exit_status })
}

fn apply(file: &Path, confirm: Option<u32>, force: bool) -> anyhow::Result<Answer> {
    let _turn = Turn::take()?;
    let session = session::ssh_connection().filter(|_| !force);
    let ready = apply::prepare(&policy(file)?, session.as_deref())?;
    let (compared, decision) = match confirm {
        None => (ready.load()?, Decision::Kept),
        Some(seconds) => {
            let guard = Guard::start(ready.before(), seconds)?;
            match ready.load() {
                Ok(compared) => (compared, guard.ask()?),
                Err(error) => {
                    guard.give_up();
                    return Err(error);
                }
            }
        }
    };
    let kept = match compared {
        Compared::Same => "applied: the rules of the policy are in force\n",
        Compared::Unknown => {
            "applied: nft has loaded the rules of the policy; they were not compared with a trial, for which no network \
             namespace can be made here\n"
        }
    };
    let reverted = "not confirmed: the rules before are in force again\n";
    Ok(decided(decision, kept, reverted))
}

fn status(file: Option<&Path>, json: bool) -> anyhow::Result<Answer> {
    let policy = file.map(policy).transpose()?;
    let status = apply::status(policy.as_ref())?;
    Ok(Answer {
        text: if json {
            serde_json::to_string_pretty(&status)? + "\n"
        } else {
            status.in_words()
        },
        exit_status: if status.is_sound() { 0 } else { DIFFERS },
    })
}

fn watch(settings: Settings) -> anyhow::Result<Answer> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        };
        watch::run(settings, stop).await
    })?;
    Ok(done(""))
}

fn explain(file: &Path, question: &str) -> anyhow::Result<Answer> {
    let policy = policy(file)?;
    let packet = Packet::parse(question, &policy).map_err(anyhow::Error::msg)?;
    let ruleset = compile::ruleset(&policy);
    Ok(Answer {
        text: explain::in_words(&packet, &explain::explain(&ruleset, &packet)),
        exit_status: 0,
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn nft_text(file: &Path) -> anyhow::Result<String> {
    crate::nft_text(&read(file)?).with_context(|| file.display().to_string())
}

fn check(file: &Path) -> anyhow::Result<Answer> {
    let ruleset = nft_text(file)?;
    let file = file.display();
    match nft::judge(&ruleset).context("asking nft about the ruleset")? {
        Judgement::Accepted => Ok(Answer {
            text: format!("{file}: the policy is sound and nft accepts its ruleset\n"),
            exit_status: 0,
        }),
        Judgement::Unavailable(reason) => Ok(Answer {
            text: format!(
                "{file}: the policy is sound; its ruleset was not shown to nft, \
                 which is not available here: {reason}\n"
            ),
            exit_status: NOT_JUDGED,
        }),
        Judgement::Refused(words) => {
            bail!("{file}: the policy is sound but nft refuses its ruleset:\n{words}")
        }
    }
}
