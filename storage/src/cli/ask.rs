//! Questions to the admin listener of a running node.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::config::AdminUrl;

/// Longest wait for an answer that is given from memory.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// A comparison reads all rows of all nodes.
pub(super) const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Asks a node.
pub(super) async fn ask<T: DeserializeOwned>(
    admin: &AdminUrl,
    method: Method,
    path: &str,
    wait: Duration,
) -> anyhow::Result<T> {
    let base = admin.url.to_string();
    let base = base.trim_end_matches('/');
    let url = format!("{base}{path}");
    let asked = async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let request = Request::builder().method(method).uri(&url);
        let reply = client.request(request.body(Empty::new())?).await?;
        let status = reply.status();
        let body = reply.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(serde_json::from_slice(&body)?)
    };
    let answer = timeout(wait, asked).await.context("no answer");
    answer.flatten().with_context(|| {
        format!("cannot ask {url}: is the node running, and is this its admin listener?")
    })
}

/// Writes a text, unless who reads it has gone.
pub(super) fn write(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
