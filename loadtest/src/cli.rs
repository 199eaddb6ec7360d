//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::chaos::{Timeline, Via};
use crate::drive::{self, Brake, Disturbance};
use crate::report::{Report, merge};
use crate::simulate::cli::SimulateArgs;

mod capacity;
mod load;
mod output;

pub use load::LoadArgs;
pub use output::{Format, OutputArgs};

/// Load on the quiz site, or on one URL, with honest percentiles.
///
/// Exit status: 0 done, 1 no request succeeded or something could not be read or written, 2 wrong usage, 3 the objective
/// (--slo) is broken, the run is worse than its baseline or an action of `chaos` failed, 4 the run is invalid because the load tester was too slow or
/// was stopped.
#[derive(Debug, Parser)]
#[command(name = "quiz-loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send load and report
    Run {
        #[command(flatten)]
        load: LoadArgs,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Find the highest rate that meets an objective
    FindCapacity(capacity::CapacityArgs),
    /// Send load, do things to the server meanwhile, and tell how long each was felt
    Chaos {
        #[command(flatten)]
        load: LoadArgs,
        /// What to do and when, from the end of the warm-up: '10s kill quiz-2; 20s freeze nas1; 30s thaw nas1'
        #[arg(long = "at", value_name = "TIMELINE")]
        timeline: Timeline,
        /// Where the stack runs: lab:STATE-FOLDER (make run), network (make lab), compose (containers), or shell
        #[arg(long, value_name = "WHERE", env = "LOADTEST_VIA")]
        via: Via,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Make one report of several generators' reports of the same run
    Merge {
        /// Written with --json
        #[arg(required = true, value_name = "REPORT")]
        reports: Vec<PathBuf>,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Simulate queues behind a balancer, without sending anything
    Simulate(SimulateArgs),
    /// Print a report again, in any form
    Show {
        /// Written with --json
        #[arg(value_name = "REPORT")]
        report: PathBuf,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// A command line that cannot be carried out, or a world in which it cannot.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    World(String),
}

impl Error {
    pub(crate) fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    pub(crate) fn world(error: impl std::fmt::Display) -> Self {
        Self::World(error.to_string())
    }

    /// 2 when the usage is wrong, 1 when the world is.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::World(_) => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Does what it says. Reports go to standard output and to files; `complain` gets what went wrong beside it.
    ///
    /// # Errors
    /// What to change on the command line, or what could not be done.
    pub async fn carry_out(self, complain: impl Fn(&str)) -> Result<ExitCode, Error> {
        match self.command {
            Command::Run { load, output } => {
                output.check()?;
                let report = send(&load, Disturbance::default(), &complain).await?;
                output.put_out(report, &complain)
            }
            Command::Chaos {
                load,
                timeline,
                via,
                output,
            } => {
                let disturbance = Disturbance {
                    deeds: timeline.deeds(&via).map_err(Error::usage)?,
                    folder: via.folder(),
                };
                if timeline.last() >= load.duration() {
                    return Err(Error::Usage(format!(
                        "the last action is after {} s, and the load ends after {} s: make --duration longer, so that \
                         recovery can be seen",
                        timeline.last().as_secs_f64(),
                        load.duration().as_secs_f64()
                    )));
                }
                output.check()?;
                let report = send(&load, disturbance, &complain).await?;
                output.put_out(report, &complain)
            }
            Command::FindCapacity(search) => search.carry_out(&complain).await,
            Command::Merge { reports, output } => {
                let reports: Result<Vec<Report>, Error> =
                    reports.iter().map(|path| output::read(path)).collect();
                let merged = merge::merge(&reports?).map_err(Error::usage)?;
                output.put_out(merged, &complain)
            }
            Command::Simulate(args) => {
                output::print(&args.run().map_err(Error::usage)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Show { report, output } => output.put_out(output::read(&report)?, &complain),
        }
    }
}

async fn send(
    load: &LoadArgs,
    disturbance: Disturbance,
    complain: &impl Fn(&str),
) -> Result<Report, Error> {
    let plan = load.plan().await?;
    let brake = braked_by_signals();
    let mut complaints = Vec::new();
    let report = drive::run(&plan, disturbance, &brake, &mut complaints).await;
    for complaint in complaints {
        complain(&complaint);
    }
    report.map_err(Error::world)
}

/// Ctrl-C and SIGTERM end a run early, with a report, and with what was made removed. A second one ends the program at
/// once.
fn braked_by_signals() -> Brake {
    let brake = Brake::default();
    let pulled = brake.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        pulled.pull();
        // Where nobody listens, it stops all the same.
        let _ = writeln!(
            std::io::stderr(),
            "quiz-loadtest: stopping, and removing what was made on the site; a second signal leaves it there"
        );
        told_to_stop().await;
        std::process::exit(INTERRUPTED);
    });
    brake
}

/// Exit status of a program that a signal ended, as shells have it for SIGINT.
const INTERRUPTED: i32 = 130;

async fn told_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        // Without a handler for Ctrl-C the system ends the program.
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}
