//! The commands beside `serve`: what an operator asks of running nodes, and does to a stopped one.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{AdminUrl, OwnAdmin, Place, S3Access};
use crate::healthcheck;

mod ask;
mod copy;
mod entry;
mod folder;
mod heal;
mod replace;
mod s3;
mod scrub;
mod status;
mod tar;
mod verify;

use s3::S3;

/// What an operator asks for.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show how the three nodes are: who is up, what is still to heal, space, the last scrub.
    ///
    /// Asks one node, which asks the others. Ends with code 0 when all three nodes take part, 1 when one does not.
    Status {
        #[command(flatten)]
        admin: AdminUrl,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Show how healing goes on, until nothing is left of what is to heal now.
    ///
    /// Nodes heal by themselves: this only watches. Ends with code 0 when all three nodes have all that has changed
    /// before it was started, 1 when a node that is needed for that stays down.
    Heal {
        #[command(flatten)]
        admin: AdminUrl,
    },
    /// Verify every blob of one node now, and repair what is damaged or missing.
    ///
    /// Ends with code 1 when, with --wait, something could not be repaired.
    Scrub {
        /// When: at once, which may be said.
        #[arg(value_parser = ["now"])]
        when: Option<String>,
        #[command(flatten)]
        admin: AdminUrl,
        /// Wait until it is done and say what was found.
        #[arg(long)]
        wait: bool,
    },
    /// Compare what the three nodes hold: a digest over the keys and versions of all objects on each.
    ///
    /// Ends with code 0 when all three are identical, 1 when they are not or a node cannot be asked.
    Verify {
        #[command(flatten)]
        admin: AdminUrl,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Ask the node of this machine whether it is ready, for container engines.
    ///
    /// Ends with code 0 when `/ready` of its admin listener answers 200, else with 1 and what it said, after two seconds at
    /// most.
    Healthcheck {
        #[command(flatten)]
        admin: OwnAdmin,
        /// Ask `/live`: whether it runs at all.
        #[arg(long)]
        live: bool,
    },
    /// Copy the whole bucket to a folder, or as a tar archive to stdout.
    ///
    /// A folder is brought up to date: run it again to go on with what was interrupted, or to renew a backup. Content
    /// types, the other headers of objects and user metadata are kept. What is written meanwhile may or may not be in.
    Export {
        /// Folder to bring up to date, or `-` for an archive on stdout.
        target: PathBuf,
        #[command(flatten)]
        access: S3Access,
    },
    /// Copy a folder or an archive that `export` has made to the bucket.
    ///
    /// Objects that are there with the same content and headers are left alone, others of the same key are
    /// overwritten, and none is deleted: it is safe to repeat.
    Import {
        /// Folder to copy, or `-` for an archive on stdin.
        source: PathBuf,
        #[command(flatten)]
        access: S3Access,
    },
    /// Make the folder of a stopped node new: for a new disk, or when its index is damaged.
    ///
    /// The index is put aside and the blob files stay. When the node is started, it is rebuilt from both others before
    /// it takes part again; blob files that are intact are not copied again. Refuses while the node runs, and, without
    /// --force, when the index is intact.
    Replace {
        #[command(flatten)]
        place: Place,
        /// Also put an intact index aside, and with it what this node has promised.
        #[arg(long)]
        force: bool,
    },
}

/// Runs a command, and says what a script should know of its outcome.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Replace { place, force } => {
            replace::replace(&place.dir, place.node, force)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Healthcheck { admin, live } => {
            healthcheck::ask(admin.listen, live).map_err(anyhow::Error::msg)?;
            Ok(ExitCode::SUCCESS)
        }
        asking => ask_nodes(asking),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn ask_nodes(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    let good = match command {
        Command::Status { admin, json } => status::show(&mut out, &admin, json).await?,
        Command::Heal { admin } => heal::watch(&mut out, &admin).await?,
        Command::Scrub { admin, wait, .. } => scrub::start(&mut out, &admin, wait).await?,
        Command::Verify { admin, json } => verify::show(&mut out, &admin, json).await?,
        Command::Export { target, access } => {
            let s3 = S3::new(access)?;
            match target.to_str() {
                Some("-") => copy::export_archive(&s3).await?,
                _ => copy::export_folder(&s3, &target).await?,
            }
        }
        Command::Import { source, access } => {
            let s3 = S3::new(access)?;
            match source.to_str() {
                Some("-") => copy::import_archive(&s3).await?,
                _ => copy::import_folder(&s3, &source).await?,
            }
        }
        Command::Replace { .. } | Command::Healthcheck { .. } => {
            unreachable!("needs no runtime")
        }
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
