//! `quiz-web`: reads the settings, binds the ports, serves until SIGTERM or SIGINT. `quiz-web migrate` prepares the
//! database for that, `quiz-web fill` fills one to be measured, `quiz-web healthcheck` asks one that serves.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, bail};
use quiz_web::config::{Call, Config, Healthcheck, LogFormat};
use quiz_web::fill::FillConfig;
use quiz_web::healthcheck;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// As in the balancer: most of a page is small pieces of text, for which it is quicker than glibc's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a call that cannot work, as clap uses it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match Call::parse() {
        Call::Serve(config) => with(*config, Ok(()), serve),
        Call::Migrate(config) => with(*config, Ok(()), migrate),
        Call::Fill(config, filling) => {
            with(*config, filling.check(), |config| fill(config, &filling))
        }
        Call::Healthcheck(check) => healthcheck(check),
    }
}

fn with(
    config: Config,
    more: Result<(), String>,
    work: impl FnOnce(Config) -> anyhow::Result<()>,
) -> ExitCode {
    if let Err(wrong) = config.check().and(more) {
        eprintln!("quiz-web: the settings are not usable:\n{wrong}");
        return ExitCode::from(USAGE);
    }
    start_log(&config);
    match work(config) {
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
    let told_to_stop = told_to_stop()?;
    let site = TcpListener::bind(config.listen)
        .await
        .context("binding QUIZ_LISTEN")?;
    let admin = TcpListener::bind(config.admin_listen)
        .await
        .context("binding QUIZ_ADMIN_LISTEN")?;
    tracing::info!(site = %site.local_addr()?, admin = %admin.local_addr()?, "listening");
    quiz_web::run(site, admin, config, told_to_stop).await
}

#[tokio::main]
async fn migrate(config: Config) -> anyhow::Result<()> {
    let told_to_stop = told_to_stop()?;
    tokio::select! {
        done = quiz_web::migrate(config) => done,
        () = told_to_stop => bail!("told to stop before the database was ready; it is safe to migrate again"),
    }
}

#[tokio::main]
async fn fill(config: Config, filling: &FillConfig) -> anyhow::Result<()> {
    let told_to_stop = told_to_stop()?;
    tokio::select! {
        done = quiz_web::fill(config, filling) => done,
        () = told_to_stop => bail!("told to stop: nothing has been added, unless it was committing already; the database lets go of its locks within seconds"),
    }
}

/// Resolves at SIGTERM or SIGINT.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
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
