//! One keep-alive connection to the target, opened when it is needed and again when the server has closed it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::sample::{Failure, Reply};
use crate::target::Target;

const AGENT: &str = concat!("quiz-loadtest/", env!("CARGO_PKG_VERSION"));

/// Holds at most one open connection.
#[derive(Debug, Default)]
pub struct Connection {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without this a reply that was given up would go on arriving.
        self.driver.abort();
    }
}

impl Connection {
    /// Sends one request and reads its reply to the end.
    ///
    /// # Errors
    /// How it failed; the next call opens a new connection then.
    pub async fn get(&mut self, target: &Target, timeout: Duration) -> Result<Reply, Failure> {
        let deadline = Instant::now() + timeout;
        let result = self.get_before(target, deadline).await;
        if result.is_err() {
            self.open = None;
        }
        result
    }

    async fn get_before(&mut self, target: &Target, deadline: Instant) -> Result<Reply, Failure> {
        let reused = self.open.is_some();
        match self.try_get(target, deadline).await {
            // A server may close an idle connection at any time. What it cannot have seen is sent again, once.
            Err(Unanswered::NotSent) if reused => {
                self.open = None;
                self.try_get(target, deadline).await.map_err(Failure::from)
            }
            other => other.map_err(Failure::from),
        }
    }

    async fn try_get(&mut self, target: &Target, deadline: Instant) -> Result<Reply, Unanswered> {
        if self.open.is_none() {
            let opening = timeout_at(deadline, open(target)).await;
            let opened = opening.map_err(|_| Failure::Timeout)?;
            self.open = Some(opened.ok_or(Failure::Connect)?);
        }
        let open = self.open.as_mut().expect("it was opened above");
        let exchange = async {
            read(send(&mut open.sender, target).await?)
                .await
                .map_err(Unanswered::from)
        };
        timeout_at(deadline, exchange)
            .await
            .map_err(|_| Failure::Timeout)?
    }
}

/// Why there is no reply, as far as it decides on sending again.
enum Unanswered {
    /// Not a byte of the request has left.
    NotSent,
    Failed(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent => Self::NoReply,
            Unanswered::Failed(failure) => failure,
        }
    }
}

async fn open(target: &Target) -> Option<Open> {
    let stream = TcpStream::connect(&target.addresses[..]).await.ok()?;
    // A request is one small write; waiting to fill a packet would only add latency.
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(async {
        // Its errors reach the request that they concern.
        let _ = connection.await;
    });
    Some(Open { sender, driver })
}

async fn send(
    sender: &mut SendRequest<Empty<Bytes>>,
    target: &Target,
) -> Result<Response<Incoming>, Unanswered> {
    sender.ready().await.map_err(|_| Unanswered::NotSent)?;
    let request = Request::get(target.path.clone())
        .header(HOST, &target.host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .body(Empty::new())
        .expect("its parts were checked when the target was made");
    sender
        .try_send_request(request)
        .await
        .map_err(|mut error| match error.take_message() {
            Some(_) => Unanswered::NotSent,
            None => Failure::NoReply.into(),
        })
}

async fn read(response: Response<Incoming>) -> Result<Reply, Failure> {
    let (head, mut body) = response.into_parts();
    let served_by = head
        .headers
        .get("x-served-by")
        .and_then(|value| value.to_str().ok());
    let mut body_bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::Body)?;
        body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Reply {
        status: head.status.as_u16(),
        served_by: served_by.map(str::to_owned),
        body_bytes,
    })
}
