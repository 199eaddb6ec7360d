//! The visitors: a constant stream of requests, whatever becomes of them, each timed from the moment it was due.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

/// A visitor who waits longer has no answer. Longer than the balancer waits for a backend.
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) type Client = legacy::Client<HttpConnector, Full<Bytes>>;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// From the begin of the load.
    pub(crate) due: Duration,
    pub(crate) took: Duration,
    pub(crate) failed: Option<String>,
    pub(crate) backend: Option<SocketAddr>,
}

/// A stream of requests that is under way.
pub(crate) struct Load {
    pub(crate) began: Instant,
    stop: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<Vec<Sample>>,
}

impl Load {
    /// So many requests each second. A POST has a body, and its number as an id.
    pub(crate) fn start(addr: SocketAddr, method: &Method, rate: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let stopped = Arc::clone(&stop);
        let method = method.clone();
        let sending = tokio::spawn(async move {
            let client = client();
            let mut requests = JoinSet::new();
            let mut samples = Vec::new();
            for number in 0.. {
                let due = Duration::from_secs(1) * number / rate;
                time::sleep_until(began + due).await;
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                while let Some(Ok(sample)) = requests.try_join_next() {
                    samples.push(sample);
                }
                let (client, method) = (client.clone(), method.clone());
                requests.spawn(async move {
                    let asked = time::timeout(PATIENCE, ask(&client, addr, method, number));
                    let (failed, backend) = match asked.await {
                        Ok(Ok((200, backend))) => (None, backend),
                        Ok(Ok((status, backend))) => (Some(status.to_string()), backend),
                        Ok(Err(error)) => (Some(format!("{error:?}")), None),
                        Err(_) => (Some("no answer".to_owned()), None),
                    };
                    let took = began.elapsed().saturating_sub(due);
                    Sample {
                        due,
                        took,
                        failed,
                        backend,
                    }
                });
            }
            samples.extend(requests.join_all().await);
            samples
        });
        Self {
            began,
            stop,
            sending,
        }
    }

    /// Waits until so long after the begin.
    pub(crate) async fn until(&self, time: Duration) {
        time::sleep_until(self.began + time).await;
    }

    /// Sends no more, and waits for what is under way.
    pub(crate) async fn end(self) -> Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.sending.await?)
    }
}

/// A client that sends nothing a second time by itself.
pub(crate) fn client() -> Client {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .pool_timer(TokioTimer::new())
        .build(http)
}

async fn ask(
    client: &Client,
    addr: SocketAddr,
    method: Method,
    number: u32,
) -> Result<(u16, Option<SocketAddr>)> {
    let body = match method {
        Method::POST => Full::from("answer=42"),
        _ => Full::default(),
    };
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{addr}/{number}"))
        .body(body)?;
    let reply = client.request(request).await?;
    let status = reply.status().as_u16();
    let served_by = reply.headers().get("x-served-by");
    let backend = served_by.and_then(|backend| backend.to_str().ok()?.parse().ok());
    // Half a reply is none.
    reply.into_body().collect().await?;
    Ok((status, backend))
}

/// The time within which so many hundredths of the requests were over.
pub(crate) fn percentile(samples: &[Sample], percent: usize) -> Duration {
    let mut times: Vec<_> = samples.iter().map(|sample| sample.took).collect();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Of those that failed: why, and how often.
pub(crate) fn reasons(samples: &[Sample]) -> String {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for why in samples.iter().filter_map(|sample| sample.failed.as_deref()) {
        *counts.entry(why).or_default() += 1;
    }
    let listed = counts.iter().map(|(why, count)| format!("{count} x {why}"));
    listed.collect::<Vec<_>>().join(", ")
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
