//! The command line: `quiz-lab run`, `quiz-lab postgres`, and the commands of the network mode (`cli/network.rs`).

mod network;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::console::Console;
use crate::ports::Ports;
use crate::postgres::{Postgres, Settings};
use crate::stack::{MAX_QUIZ, Options, Stack};
use crate::state::scratch_folder;

/// Runs all of Quizstack on this machine.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Run the whole stack in the foreground until Ctrl-C; its data stays in the state folder
    Run(RunArgs),
    /// Run a command with `DATABASE_URL` set to a PostgreSQL of its own that is thrown away afterwards
    Postgres(PostgresArgs),
    #[command(flatten)]
    Network(network::Commands),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// How many front-ends to run
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = quiz_count)]
    quiz: usize,
    /// Port of the site [default: 80 if it can be bound, else 8080; 0 is any free port]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Address of the site; 0.0.0.0 lets other machines in
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    host: IpAddr,
    /// Folder of everything that outlives a run [default: /var/lib/quizstack as root,
    /// otherwise ~/.local/state/quizstack]
    #[arg(long, env = "QUIZSTACK_STATE", value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder of the programs quiz-lb, quiz-web and quiz-storage [default: the folder of quiz-lab]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Home of the user, for the default state folder
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
    /// Start an empty site with the four capitals only, without the demo questions
    #[arg(long)]
    no_demo: bool,
    /// Never write colours
    #[arg(long, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    no_color: bool,
}

#[derive(Debug, Args)]
struct PostgresArgs {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn quiz_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MAX_QUIZ).contains(&count) => Ok(count),
        _ => Err(format!("give a number from 1 to {MAX_QUIZ}")),
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// When a stack or a cluster cannot be started.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Subcommands::Run(args) => run_stack(args).await,
        Subcommands::Postgres(args) => run_with_postgres(&args).await,
        Subcommands::Network(command) => network::run(command).await,
    }
}

async fn run_stack(args: RunArgs) -> anyhow::Result<ExitCode> {
    let console = Console::stdout(args.no_color);
    let options = Options {
        quiz: args.quiz,
        host: args.host,
        port: args.port,
        state: args
            .state
            .map_or_else(|| default_state(args.home.as_deref()), Ok)?,
        programs: args.programs.map_or_else(own_folder, Ok)?,
        quiz_settings: vec![("QUIZ_SEED_DEMO".to_owned(), (!args.no_demo).to_string())],
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stop =
        async || tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} };

    let Some(stack) = Stack::start(&options, &console, stop()).await? else {
        console.plain("\nStopped before everything was up. The data stays.\n");
        return Ok(ExitCode::FAILURE);
    };
    console.plain(&greeting(&stack));
    tokio::select! {
        () = stack.keep_published(&console) => {}
        () = stop() => {}
    }
    console.plain("\nStopping, the balancer first. Ctrl-C again ends it at once.\n");
    tokio::select! {
        () = stack.stop() => console.plain("All stopped. The data stays.\n"),
        () = stop() => console.plain("Ended at once.\n"),
    }
    Ok(ExitCode::SUCCESS)
}

fn greeting(stack: &Stack) -> String {
    let metrics = stack
        .lb()
        .spec()
        .admin
        .map_or_else(String::new, |admin| format!("http://{admin}/metrics"));
    format!(
        "\nQuizstack is running.\n\n  \
         Site      {}\n  \
         Log in    admin or pepe, password {}\n  \
         Balancer  {metrics}\n  \
         State     {}\n\n\
         Ctrl-C stops it; the data stays.\n\n",
        stack.url(),
        stack.site_password(),
        stack.folder().display()
    )
}

fn default_state(home: Option<&Path>) -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/quizstack"));
    }
    let home = home.context("there is no HOME to keep the state in: name a folder with --state")?;
    Ok(home.join(".local/state/quizstack"))
}

fn own_folder() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot find the file of this program")?;
    Ok(exe
        .parent()
        .context("a program lies in a folder")?
        .to_owned())
}

async fn run_with_postgres(args: &PostgresArgs) -> anyhow::Result<ExitCode> {
    let folder = scratch_folder().context("cannot make a folder for the database")?;
    let mut ports = Ports::reserve(1)?;
    let password = rand::random::<u128>().to_string();
    let settings = Settings {
        folder: folder.path().join("postgres"),
        address: (Ipv4Addr::LOCALHOST, ports.take()).into(),
        hba_file: None,
        password: &password,
        durable: false,
    };
    // Its log is of no use here; a failing statement reaches whoever ran it.
    let postgres =
        Postgres::launch(&settings, &Console::new(Box::new(std::io::sink()), false)).await?;
    postgres.ready().await?;

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (program, arguments) = args
        .command
        .split_first()
        .context("clap asks for a command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("DATABASE_URL", postgres.superuser_url("postgres"))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        // The terminal's Ctrl-C reaches the command as well; here it only has to be waited for.
        _ = interrupt.recv() => child.wait().await.ok(),
        _ = terminate.recv() => None,
    };
    drop(child);
    postgres.stop().await;
    let code = status
        .and_then(|status| status.code())
        .and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_stack_without_front_ends_is_refused_with_the_range() {
        let message = Cli::try_parse_from(["quiz-lab", "run", "--quiz", "0"])
            .unwrap_err()
            .to_string();
        assert!(message.contains("1 to 25"), "{message}");
    }

    #[test]
    fn the_command_of_postgres_keeps_its_own_flags() {
        let cli =
            Cli::try_parse_from(["quiz-lab", "postgres", "--", "cargo", "test", "--all"]).unwrap();
        let Subcommands::Postgres(args) = cli.command else {
            panic!("not the postgres command")
        };
        assert_eq!(args.command, ["cargo", "test", "--all"]);
    }
}
