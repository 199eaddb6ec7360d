//! Load balancer of Quizstack: one address in front of many quiz front-ends.

use std::{
    future::pending,
    io::{self, IsTerminal},
    pin::pin,
    process::ExitCode,
};

use anyhow::{Context, Error, Result};
use clap::{CommandFactory, error::ErrorKind};
use quiz_lb::{
    Listeners,
    config::{
        Config, LogFormat,
        cli::{Cli, Command, SAMPLE},
    },
    descriptors, healthcheck,
    namespace::Namespace,
};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tracing::error;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// A request asks for memory 130 times, large buffers among it; with glibc's allocator that is a fifth of what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    let cli = Cli::read().unwrap_or_else(|wrong| wrong.exit());
    if let Some(Command::Sample) = cli.command {
        print!("{SAMPLE}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Command::Ctl(ctl)) = &cli.command {
        print!("{}", ctl.run(&cli.admin()?)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(Command::Healthcheck { live }) = cli.command {
        healthcheck::ask(cli.admin()?.address, live).map_err(Error::msg)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = cli.load().unwrap_or_else(|problem| {
        Cli::command()
            .error(ErrorKind::ValueValidation, format!("{problem:#}"))
            .exit()
    });
    if let Some(Command::Check { file }) = &cli.command {
        println!("{}: the balancer would start with it", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    log_to_stderr(config.process.log_format);
    descriptors::raise_limit();
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.process.threads)
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let ended = runtime.block_on(balance(config));
    // A look-up that hangs in the system's resolver must not hold up the exit.
    runtime.shutdown_background();
    ended
}

async fn balance(config: Config) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let hangup = signal(SignalKind::hangup()).context("cannot watch SIGHUP")?;
    let mut shutdown = pin!(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let file = config.process.namespace_file.clone();
    let namespace = file.map(Namespace::of_this_process).transpose()?;
    if let Some(namespace) = &namespace {
        tokio::select! {
            guarded = namespace.guarded() => if let Err(stranded) = guarded {
                error!("{stranded}");
                return Ok(ExitCode::FAILURE);
            },
            () = &mut shutdown => return Ok(ExitCode::SUCCESS),
        }
    }
    let listeners = Listeners::bind(&config).await?;
    let (reload, reloads) = mpsc::channel(1);
    tokio::spawn(reload_on(hangup, reload));
    let left = async {
        match &namespace {
            Some(namespace) => namespace.left().await,
            None => pending().await,
        }
    };
    tokio::select! {
        ended = quiz_lb::run(config, listeners, reloads, shutdown) => ended.map(|()| ExitCode::SUCCESS),
        stranded = left => {
            error!("{stranded}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reads the file again at every SIGHUP, and those of secrets. A wrong one changes nothing.
async fn reload_on(mut hangup: Signal, reload: mpsc::Sender<Config>) {
    while hangup.recv().await.is_some() {
        match Cli::read()
            .map_err(|wrong| in_a_line(&wrong))
            .and_then(|cli| cli.load())
        {
            Ok(config) => {
                if reload.send(config).await.is_err() {
                    return;
                }
            }
            Err(problem) => error!("the configuration stays as it was: {problem:#}"),
        }
    }
}

/// What clap says without the help that follows it.
fn in_a_line(wrong: &clap::Error) -> Error {
    let text = wrong.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::msg(line.trim_start_matches("error: ").to_owned())
}

/// Pingora reports whatever strangers break off as an error; what matters we log ourselves, with the request id.
const QUIET: &str = "info,pingora_core=error,pingora_proxy=off";

/// Pingora logs through `log`; `init` brings its lines here too.
fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(QUIET));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => registry.with(lines.json()).init(),
        LogFormat::Text => registry
            .with(lines.with_ansi(io::stderr().is_terminal()))
            .init(),
    }
}
