//! The commands of the network mode: the scenario with a namespace for each host.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::own_folder;
use crate::console::Console;
use crate::network::topology::{MAX_SERVERS, Topology};
use crate::network::{Folder, Lab, Standing, machine, map};

/// Where labs keep their state, each in a folder of its name.
const STATE: &str = "/var/lib/quizstack/labs";
/// `status`: something is not as it should be.
const UNSOUND: u8 = 4;

/// What every command of a lab takes.
#[derive(Debug, Args)]
pub(super) struct LabArgs {
    /// Name of the lab: labs of different names do not meet
    #[arg(
        long,
        env = "QUIZ_LAB_NAME",
        default_value = "quiz",
        value_name = "NAME"
    )]
    name: String,
    /// Folder of the labs' state
    #[arg(long, env = "QUIZ_LAB_STATE", default_value = STATE, value_name = "DIR")]
    state: PathBuf,
    /// Folder of the programs [default: the folder of quiz-lab]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

impl LabArgs {
    fn open(&self) -> anyhow::Result<Lab> {
        Lab::open(&self.name, &self.state, &self.programs()?)
    }

    fn open_or_make(&self) -> anyhow::Result<Lab> {
        Lab::open_or_make(&self.name, &self.state, &self.programs()?)
    }

    fn programs(&self) -> anyhow::Result<PathBuf> {
        self.programs.clone().map_or_else(own_folder, Ok)
    }
}

/// One host, or all of them.
#[derive(Debug, Args)]
pub(super) struct Only {
    /// This host alone
    #[arg(short = 'M', long = "host", value_name = "HOST")]
    host: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Commands {
    /// Make the networks and hosts of the scenario and start them; what is there stays (root)
    Create {
        #[command(flatten)]
        lab: LabArgs,
        /// Front-ends of a new lab
        #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MAX_SERVERS as i64))]
        servers: u8,
        /// A setting of the front-ends of a new lab, as `QUIZ_SEED_DEMO=true`; may be given again
        #[arg(long = "quiz-setting", value_name = "NAME=VALUE", value_parser = setting)]
        quiz_settings: Vec<(String, String)>,
    },
    /// Start hosts that are down, with the data they had (root)
    Start {
        #[command(flatten)]
        lab: LabArgs,
        #[command(flatten)]
        only: Only,
    },
    /// End hosts and take them off the network; their data stays (root)
    Shutdown {
        #[command(flatten)]
        lab: LabArgs,
        #[command(flatten)]
        only: Only,
    },
    /// End all hosts and remove them, data included (root)
    Destroy {
        #[command(flatten)]
        lab: LabArgs,
    },
    /// Draw the networks and hosts
    Map {
        #[command(flatten)]
        lab: LabArgs,
        /// Write an SVG drawing to this file instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Tell how each host stands; ends with 4 when one does not serve or a cable is pulled (root)
    Status {
        #[command(flatten)]
        lab: LabArgs,
    },
    /// Run a command on a host (root): `quiz-lab exec c1 -- curl http://198.18.2.2/`
    Exec {
        #[command(flatten)]
        lab: LabArgs,
        /// Where
        host: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<std::ffi::OsString>,
    },
    /// Add a front-end to a running lab: `quiz-lab add s4` (root)
    Add {
        #[command(flatten)]
        lab: LabArgs,
        /// Its name
        host: String,
    },
    /// Drain a front-end and remove it (root)
    Remove {
        #[command(flatten)]
        lab: LabArgs,
        /// Its name
        host: String,
    },
    /// Pull a host's cables, or the one in a LAN (root)
    Cut {
        #[command(flatten)]
        lab: LabArgs,
        /// Whose
        host: String,
        /// In this LAN alone, 1 to 4
        #[arg(long, value_name = "N")]
        lan: Option<u8>,
    },
    /// Plug a host's cables in again (root)
    Restore {
        #[command(flatten)]
        lab: LabArgs,
        /// Whose
        host: String,
        /// In this LAN alone, 1 to 4
        #[arg(long, value_name = "N")]
        lan: Option<u8>,
    },
    #[command(hide = true)]
    Machine {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        programs: PathBuf,
        host: String,
    },
}

pub(super) async fn run(command: Commands) -> anyhow::Result<ExitCode> {
    let console = Console::new(Box::new(std::io::stdout()), std::io::stdout().is_terminal());
    match command {
        Commands::Create {
            lab,
            servers,
            quiz_settings,
        } => {
            let lab = lab.open_or_make()?;
            let topology = Topology::new(servers).with_quiz_settings(quiz_settings);
            lab.create(&topology, &console).await?;
            let greeting = greeting(&lab)?;
            console.plain(&greeting);
        }
        Commands::Start { lab, only } => lab.open()?.start(only.host.as_deref(), &console).await?,
        Commands::Shutdown { lab, only } => {
            lab.open()?.shutdown(only.host.as_deref(), &console).await?;
        }
        Commands::Destroy { lab } => {
            lab.open_or_make()?.destroy(&console).await?;
            console.plain("Destroyed: nothing of it is left.\n");
        }
        Commands::Map { lab, svg } => draw(&lab, svg)?,
        Commands::Status { lab } => {
            let standing = lab.open()?.standing()?;
            console.plain(&table(&standing));
            if !standing.iter().all(Standing::is_sound) {
                return Ok(ExitCode::from(UNSOUND));
            }
        }
        Commands::Exec { lab, host, command } => {
            // This process becomes the command, and gives the turn back with that.
            let mut exec = lab.open()?.command(&host)?;
            return Err(exec.args(command).exec()).context("cannot run ip");
        }
        Commands::Add { lab, host } => {
            lab.open()?.add(&host, &console).await?;
            console.plain(&format!("{host} is in the balancer's list.\n"));
        }
        Commands::Remove { lab, host } => {
            lab.open()?.remove(&host, &console).await?;
            console.plain(&format!("{host} has drained and is gone.\n"));
        }
        Commands::Cut { lab, host, lan } => lab.open()?.plug(&host, lan, false)?,
        Commands::Restore { lab, host, lan } => lab.open()?.plug(&host, lan, true)?,
        Commands::Machine {
            folder,
            programs,
            host,
        } => {
            let folder = Folder::at(folder);
            machine::run(&folder, &host, &programs).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn greeting(lab: &Lab) -> anyhow::Result<String> {
    Ok(format!(
        "\n{}\nThe lab runs, and goes on when this terminal is closed.\n\n  \
         As a visitor  quiz-lab exec c1 -- curl http://198.18.2.2/\n  \
         Log in        admin or pepe, password {}\n  \
         How it is     quiz-lab status\n  \
         State         {}\n\n\
         `quiz-lab shutdown` ends it and keeps the data, `quiz-lab destroy` leaves nothing.\n",
        map::text(&lab.topology()?),
        lab.site_password()?,
        lab.folder().path().display()
    ))
}

/// Of the lab as it is, or as `create` would make it.
fn draw(lab: &LabArgs, svg: Option<PathBuf>) -> anyhow::Result<()> {
    let folder = Folder::at(lab.state.join(&lab.name));
    let topology = if folder.record().exists() {
        folder.topology()?
    } else {
        Topology::new(3)
    };
    match svg {
        None => std::io::stdout()
            .write_all(map::text(&topology).as_bytes())
            .context("cannot write the map"),
        Some(file) => std::fs::write(&file, map::svg(&topology))
            .with_context(|| format!("cannot write {}", file.display())),
    }
}

fn table(standing: &[Standing]) -> String {
    let mut text = format!(
        "{:<6} {:<30} {:<10} {}\n",
        "HOST", "ADDRESSES", "STATE", "PROCESS"
    );
    for one in standing {
        let addresses: Vec<String> = one
            .host
            .legs
            .iter()
            .map(|leg| leg.v4().to_string())
            .collect();
        let process = one
            .report
            .as_ref()
            .and_then(|report| report.process.as_ref());
        let state = match (&one.supervisor, &one.report) {
            (None, _) if !one.made => "down",
            (None, _) => "crashed",
            (Some(_), None) => "starting",
            (Some(_), Some(_)) if process.is_some_and(|process| process.pid.is_none()) => {
                "restarts"
            }
            (Some(_), Some(report)) if !report.ready => "not ready",
            (Some(_), Some(_)) => "up",
        };
        let mut what = process.map_or_else(String::new, |process| {
            let pid = process
                .pid
                .map_or_else(String::new, |pid| format!(" pid {pid}"));
            let again = match process.starts {
                0 | 1 => String::new(),
                starts => format!(", started {starts} times"),
            };
            format!("{}{pid}{again}", process.program)
        });
        for lan in &one.pulled {
            what.push_str(&format!("  CABLE PULLED: LAN {}", lan.0));
        }
        let line = format!(
            "{:<6} {:<30} {state:<10} {what}",
            one.host.name,
            addresses.join(" ")
        );
        let written = writeln!(text, "{}", line.trim_end());
        written.expect("a String takes all that is written to it");
    }
    text
}
