//! The commands: `render` and `check`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

use crate::nft::{self, Judgement};

/// Compiles a firewall policy to an nftables ruleset.
///
/// Exit status: 0 done, 1 the policy is not usable, 2 wrong usage.
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
    /// Check the policy, then have nft judge its ruleset in a throw-away namespace; nothing is loaded
    Check {
        /// Policy file, as config/site.toml
        file: PathBuf,
    },
}

/// Runs one command and returns what belongs on standard output.
///
/// # Errors
/// The file cannot be read, the policy has faults, or nft refuses its ruleset.
pub fn run(cli: &Cli) -> anyhow::Result<String> {
    match &cli.command {
        Command::Render { file } => compile(file),
        Command::Check { file } => check(file),
    }
}

fn compile(file: &Path) -> anyhow::Result<String> {
    let toml =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    crate::nft_text(&toml).with_context(|| file.display().to_string())
}

fn check(file: &Path) -> anyhow::Result<String> {
    let ruleset = compile(file)?;
    let file = file.display();
    match nft::judge(&ruleset).context("asking nft about the ruleset")? {
        Judgement::Accepted => Ok(format!(
            "{file}: the policy is sound and nft accepts its ruleset\n"
        )),
        Judgement::Unavailable(reason) => Ok(format!(
            "{file}: the policy is sound; its ruleset was not shown to nft, which is not available here: {reason}\n"
        )),
        Judgement::Refused(words) => {
            bail!("{file}: the policy is sound but nft refuses its ruleset:\n{words}")
        }
    }
}
