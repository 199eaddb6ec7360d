//! Front-end of Quizstack: pages, accounts and pictures of the quiz site.
//!
//! Any number of these processes run side by side behind the balancer. They share a PostgreSQL database and an image
//! store and keep nothing of their own, so any of them serves any visitor.
//!
//! # The life of one request
//!
//! 1. [`run`] serves two listeners: [`routes::site`] for visitors, [`routes::admin`] for operators.
//! 2. The layers of [`app::layers`] take it from outside in: [`telemetry::observe`] names and counts it,
//!    [`lifecycle`] asks for a new connection when the process is about to end, [`headers`] are put on the reply,
//!    [`error::pages`] gives errors their page. Then those of [`app::contain`]: a panic becomes an error, a time limit runs.
//! 3. [`routes`] picks the handler, which may have a limit ([`limits`]) and a largest body of its own. Its arguments are read from the request: [`visitor::Visitor`] (cookies, session,
//!    messages), [`params::Params`] (query), and for changes [`csrf::ProtectedForm`] or [`upload::Form`].
//! 4. The handler in [`pages`] applies the rules of [`domain`], asks [`db`] (all SQL) and [`images`] (the store), and
//!    renders its template, or returns an [`error::Error`].
//! 5. [`visitor::Visitor::page`] or [`visitor::Visitor::redirect`] puts the cookies on the reply.
//!
//! Calls of programs go to [`api`] instead of 3 to 5: [`api::auth`] asks for a token, knows no cookie, and the handlers
//! there reply in JSON or XML ([`api::format`]), errors included ([`api::error`]).
//!
//! # What it does not do
//!
//! It keeps nothing on disk, and between requests only how often answers are checked and the API is called. It terminates
//! no TLS and sends nobody to HTTPS; of the headers about it, it believes those of trusted proxies ([`client`]).
//! Without JavaScript everything works.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub mod accounts;
pub mod api;
pub mod app;
pub mod assets;
pub mod attachments;
pub mod auth;
pub mod client;
pub mod config;
pub mod csrf;
pub mod db;
pub mod demo;
pub mod domain;
pub mod error;
pub mod fill;
pub mod flash;
pub mod game;
pub mod headers;
pub mod healthcheck;
pub mod images;
pub mod lifecycle;
pub mod limits;
pub mod listing;
pub mod locale;
pub mod pages;
pub mod params;
pub mod picture;
pub mod routes;
pub mod session;
pub mod sign_in;
pub mod startup;
pub mod telemetry;
pub mod token;
pub mod upload;
pub mod visitor;

use app::App;
use config::Config;
use fill::FillConfig;
use lifecycle::Phase;

/// Serves until `shutdown` resolves, then drains and finishes the running requests within the grace period.
///
/// Both listeners answer from the first moment: `/live` is 200 while the database is waited for, `/ready` is not.
/// An error means that the site never came up.
pub async fn run(
    listener: TcpListener,
    admin_listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let app = App::new(config)?;
    let (stop, stopped) = watch::channel(());
    // Dropped on every way out, which ends what still runs in it.
    let mut servers = JoinSet::new();
    servers.spawn(serve(listener, routes::site(&app), stopped.clone()));
    servers.spawn(serve(admin_listener, routes::admin(&app), stopped));
    let mut background = JoinSet::new();
    tokio::pin!(shutdown);
    let started = tokio::select! {
        result = startup::prepare(&app) => Some(result),
        () = &mut shutdown => None,
    };
    if let Some(result) = started {
        result.context("starting")?;
        app.lifecycle.enter(Phase::Serving);
        tracing::info!("serving");
        background.spawn(session::purge_for_ever(app.clone()));
        background.spawn(limits::tidy_for_ever(app.clone()));
        background.spawn(attachments::sweep::for_ever(app.clone()));
        shutdown.await;
        app.lifecycle.enter(Phase::Draining);
        tracing::info!(drain_secs = app.config.drain.as_secs(), "draining");
        tokio::time::sleep(app.config.drain).await;
    }
    drop(stop);
    finish(servers, &app).await;
    app.db.close().await;
    Ok(())
}

/// Prepares the database as a front-end does at its start, and no more: for a job before several of them start.
pub async fn migrate(config: Config) -> anyhow::Result<()> {
    let app = App::new(config)?;
    startup::migrate(&app).await.context("migrating")?;
    tracing::info!("the database is ready for front-ends");
    Ok(())
}

/// Prepares a database and [fills](mod@fill) it with what nobody has written.
pub async fn fill(config: Config, fill: &FillConfig) -> anyhow::Result<()> {
    let app = App::new(config)?;
    // Whose it is comes first: a site of somebody's is not even brought up to date.
    fill::refuse_somebodys(&app, fill).await?;
    startup::prepare(&app).await.context("migrating")?;
    fill::run(&app, fill).await.context("filling the database")
}

/// Waits for the running requests, but not for ever.
async fn finish(mut servers: JoinSet<anyhow::Result<()>>, app: &App) {
    let all_done = async {
        while let Some(done) = servers.join_next().await {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = format!("{error:#}"), "a listener failed")
                }
                Err(error) => tracing::error!(%error, "a listener failed"),
            }
        }
    };
    match tokio::time::timeout(app.config.grace, all_done).await {
        Ok(()) => tracing::info!("all requests are done"),
        Err(_) => tracing::warn!("the grace period is over, unfinished requests are cut off"),
    }
}

/// Serves until the channel closes, then until its last request is done.
async fn serve(
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<()>,
) -> anyhow::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Replies are small and complete: waiting to fill a packet only delays them. A socket that refuses still works.
        stream.set_nodelay(true).ok();
    });
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { while stopped.changed().await.is_ok() {} })
        .await
        .context("serving")
}
