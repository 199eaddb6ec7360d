//! The commands: `render`, `check` and `explain`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::nft::{self, Judgement};
use crate::packet::{self, Packet};
use crate::{compile, explain, site};

/// Compiles a firewall policy to an nftables ruleset.
///
/// Exit status: 0 done, 1 the policy is not usable or something else failed, 2 wrong usage, 3 `check` found the policy
/// sound but could not show its ruleset to nft.
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
        /// Policy file, as config/site.toml
        file: PathBuf,
    },
    /// Check the policy, then have nft judge its ruleset in a throw-away namespace; nothing is loaded.
    /// Ends with status 3 when nft cannot be asked
    Check {
        /// Policy file, as config/site.toml
        file: PathBuf,
    },
    /// Tell what becomes of a packet and which rule decides, without sending one
    #[command(after_help = format!("How to ask: {}.", packet::GRAMMAR))]
    Explain {
        /// Policy file, as config/site.toml
        file: PathBuf,
        /// The packet, in quotes: "198.51.100.7 -> lb tcp/5432"
        #[arg(required = true, allow_hyphen_values = true)]
        question: Vec<String>,
    },
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

/// Runs one command.
///
/// # Errors
/// The file cannot be read, the policy has faults, or nft refuses its ruleset.
pub fn run(cli: &Cli) -> anyhow::Result<Answer> {
    match &cli.command {
        Command::Render { file } => Ok(Answer {
            text: nft_text(file)?,
            exit_status: 0,
        }),
        Command::Check { file } => check(file),
        Command::Explain { file, question } => explain(file, &question.join(" ")),
    }
}

fn explain(file: &Path, question: &str) -> anyhow::Result<Answer> {
    let policy = site::parse(&read(file)?).with_context(|| file.display().to_string())?;
    let packet = Packet::parse(question, &policy).map_err(anyhow::Error::msg)?;
    let ruleset = compile::ruleset(&policy);
    Ok(Answer {
        text: explain::in_words(&explain::explain(&ruleset, &packet)),
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
