//! One keep-alive connection to the target, opened when it is needed and again when the server has closed it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{
    ETAG, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE, USER_AGENT,
};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::sample::Failure;
use crate::target::Target;

const AGENT: &str = concat!("quiz-loadtest/", env!("CARGO_PKG_VERSION"));
/// The largest page that is kept for a check. What comes after is read and counted.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Too many open files, on Linux; the standard library has no name for it.
const EMFILE: i32 = 24;

/// What to send.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Path and query.
    pub path: Uri,
    /// Besides those that every request has.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
}

/// What came back, read to the end.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Empty unless it was to be kept.
    pub body: Bytes,
    pub body_bytes: u64,
}

/// Holds at most one open connection.
#[derive(Debug, Default)]
pub struct Connection {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without this a reply that was given up would go on arriving.
        self.driver.abort();
    }
}

impl Call {
    /// A GET of a path that is known to be one.
    #[must_use]
    pub fn get(path: Uri) -> Self {
        Self {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }
}

impl Reply {
    #[must_use]
    pub fn served_by(&self) -> Option<&str> {
        self.headers.get("x-served-by")?.to_str().ok()
    }

    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.headers.get(LOCATION)?.to_str().ok()
    }

    #[must_use]
    pub fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    /// The cookies that it sets, as they were written.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        let all = self.headers.get_all(SET_COOKIE).iter();
        all.filter_map(|value| value.to_str().ok())
    }
}

impl Connection {
    /// Sends one request and reads its reply to the end; keeps the body if told so.
    ///
    /// # Errors
    /// How it failed; the next call opens a new connection then.
    pub async fn send(
        &mut self,
        target: &Target,
        call: &Call,
        keep: bool,
        timeout: Duration,
    ) -> Result<Reply, Failure> {
        let deadline = Instant::now() + timeout;
        let reused = self.open.is_some();
        let mut result = self.try_send(target, call, keep, deadline).await;
        if reused && matches!(result, Err(Unanswered::NotSent)) {
            // A server may close an idle connection at any time. What it cannot have seen is sent again, once.
            self.open = None;
            result = self.try_send(target, call, keep, deadline).await;
        }
        if result.is_err() {
            self.open = None;
        }
        result.map_err(Failure::from)
    }

    async fn try_send(
        &mut self,
        target: &Target,
        call: &Call,
        keep: bool,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        if self.open.is_none() {
            let opening = timeout_at(deadline, open(target)).await;
            let opened = opening.map_err(|_| Failure::Timeout)?;
            self.open = Some(opened.map_err(|error| match error.kind() {
                // Neither a port (EADDRNOTAVAIL) nor a file (EMFILE) is the server's to give.
                ErrorKind::AddrNotAvailable => Failure::Local,
                _ if error.raw_os_error() == Some(EMFILE) => Failure::Local,
                _ => Failure::Connect,
            })?);
        }
        let open = self.open.as_mut().expect("it was opened above");
        let exchange = async {
            let response = exchange(&mut open.sender, target, call).await?;
            read(response, keep).await.map_err(Unanswered::from)
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

async fn open(target: &Target) -> io::Result<Open> {
    let stream = TcpStream::connect(&target.addresses[..]).await?;
    // A request is one small write; waiting to fill a packet would only add latency.
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let driver = tokio::spawn(async {
        // Its errors reach the request that they concern.
        let _ = connection.await;
    });
    Ok(Open { sender, driver })
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    target: &Target,
    call: &Call,
) -> Result<Response<Incoming>, Unanswered> {
    sender.ready().await.map_err(|_| Unanswered::NotSent)?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.path.clone();
    let headers = request.headers_mut();
    headers.insert(HOST, target.host.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &call.headers {
        headers.insert(name.clone(), value.clone());
    }
    sender
        .try_send_request(request)
        .await
        .map_err(|mut error| match error.take_message() {
            Some(_) => Unanswered::NotSent,
            None => Failure::NoReply.into(),
        })
}

async fn read(response: Response<Incoming>, keep: bool) -> Result<Reply, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut body_bytes = 0;
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| Failure::Body)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        body_bytes += data.len() as u64;
        if keep && body.len() < KEPT_BYTES {
            body.extend_from_slice(data);
        }
    }
    Ok(Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.freeze(),
        body_bytes,
    })
}
