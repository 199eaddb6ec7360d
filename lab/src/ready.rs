//! Waits until a process is ready, and tells when that will never be.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout};

use crate::supervise::Process;

/// How long a process may take to become ready. A first start makes a database and hashes passwords; a machine
/// under load may need most of it.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Deaths in a row after which a process is given up during a start.
const MAX_QUICK_DEATHS: u32 = 5;
/// Between two looks at a process that is not ready.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long one look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Polls `probe` until it says yes.
///
/// # Errors
/// When the process dies again and again, or is not ready after [`DEADLINE`].
pub async fn wait(process: &Process, probe: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    let name = &process.spec().name;
    loop {
        if process.life().pid.is_some() && timeout(PROBE_TIMEOUT, probe()).await == Ok(true) {
            return Ok(());
        }
        if process.life().quick_deaths >= MAX_QUICK_DEATHS {
            bail!("{name} does not start; its last lines above say why");
        }
        if Instant::now() >= deadline {
            bail!(
                "{name} is not ready after {} s; its lines above say why",
                DEADLINE.as_secs()
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether `GET path` at `address` answers 200.
pub async fn http_ok(address: SocketAddr, path: &str) -> bool {
    matches!(get(address, path).await, Ok((StatusCode::OK, _)))
}

/// One GET, without keeping the connection.
///
/// # Errors
/// When there is no connection or no whole answer.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http();
    let uri = format!("http://{address}{path}")
        .parse()
        .context("an address and a path make a URL")?;
    let response = client.get(uri).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
