//! `quiz-web`: reads the settings, binds the ports, serves until SIGTERM or SIGINT. `quiz-web healthcheck` asks one that does.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use quiz_web::config::{Call, Config, Healthcheck, LogFormat};
use quiz_web::healthcheck;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code of a call that cannot work, as clap uses it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let config = match Call::parse() {
        Call::Serve(config) => *config,
        Call::Healthcheck(check) => return healthcheck(check),
    };
    if let Err(wrong) = config.check() {
        eprintln!("quiz-web: the settings are not usable:\n{wrong}");
        return ExitCode::from(USAGE);
    }
    start_log(&config);
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn healthcheck(check: Healthcheck) -> ExitCode {
    match healthcheck::ask(check.admin_listen, check.live) {
        Ok(()) => ExitCode::SUCCESS,
        Err(answer) => {
            eprintln!("quiz-web: {answer}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let site = TcpListener::bind(config.listen)
        .await
        .context("binding QUIZ_LISTEN")?;
    let admin = TcpListener::bind(config.admin_listen)
        .await
        .context("binding QUIZ_ADMIN_LISTEN")?;
    tracing::info!(site = %site.local_addr()?, admin = %admin.local_addr()?, "listening");
    quiz_web::run(site, admin, config, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}

fn start_log(config: &Config) {
    let filter = EnvFilter::new(&config.log_filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}
