//! `quiz-storage init`, `quiz-storage serve`, and what an operator asks of running nodes.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use quiz_storage::config::{Config, Log, Place, secret_files};
use quiz_storage::{Listeners, cli, log, superblock};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// One node of the replicated image store.
#[derive(Debug, Parser)]
#[command(version, after_help = secret_files::HELP)]
struct Cli {
    #[command(flatten)]
    log: Log,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prepare the folder of a new node. Doing it again changes nothing.
    Init(Place),
    /// Run the node.
    #[command(after_help = secret_files::HELP)]
    Serve {
        #[command(flatten)]
        config: Box<Config>,
        #[cfg(debug_assertions)]
        #[command(flatten)]
        crash: quiz_storage::config::Crash,
    },
    #[command(flatten)]
    Operate(cli::Command),
}

fn main() -> ExitCode {
    let cli: Cli = secret_files::parse();
    log::start(cli.log.format);
    let done = match cli.command {
        Command::Init(place) => init(&place),
        Command::Serve {
            config,
            #[cfg(debug_assertions)]
            crash,
        } => {
            #[cfg(debug_assertions)]
            if let Some(Err(wrong)) = crash.at.as_deref().map(quiz_storage::failpoint::arm) {
                error!("STORAGE_CRASH_AT: {wrong}");
                return ExitCode::from(2);
            }
            if let Err(invalid) = config.validate() {
                error!("{invalid}");
                return ExitCode::from(2);
            }
            serve(*config)
        }
        Command::Operate(command) => match cli::run(command) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = done {
        error!("{error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn init(place: &Place) -> anyhow::Result<()> {
    let superblock = superblock::init(&place.dir, place.node)?;
    let store_id: String = superblock
        .store_id
        .map(|byte| format!("{byte:02x}"))
        .concat();
    info!(
        node = place.node,
        store_id,
        "{} is ready",
        place.dir.display()
    );
    Ok(())
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    if config.init {
        init(&config.place)?;
    }
    superblock::load(&config.place.dir, config.place.node)?;
    take_open_files();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let listeners = Listeners::bind(&config).await?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    quiz_storage::run(listeners, config, shutdown).await
}

/// Takes as many open files as it may have: every connection is one. Many systems give 1,024 unless asked.
fn take_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        warn!(%error, "cannot raise the limit of open files");
    }
}
