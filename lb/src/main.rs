//! Load balancer of Quizstack: one address in front of many quiz front-ends.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, error::ErrorKind};
use quiz_lb::{
    Listeners,
    config::{Config, LogFormat},
    descriptors,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

fn main() -> Result<()> {
    let config = Config::parse();
    if let Err(problem) = config.validate() {
        Config::command()
            .error(ErrorKind::ValueValidation, problem)
            .exit();
    }
    log_to_stderr(config.log_format);
    descriptors::raise_limit();
    let runtime = Builder::new_multi_thread()
        .worker_threads(config.threads)
        .enable_all()
        .build()
        .context("cannot start the worker threads")?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
        let listeners = Listeners::bind(&config).await?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        quiz_lb::run(config, listeners, shutdown).await
    });
    // A look-up that hangs in the system's resolver must not hold up the exit.
    runtime.shutdown_background();
    ended
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
