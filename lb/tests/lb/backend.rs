//! A small HTTP server that can be told to misbehave, killed and brought back.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::{JoinHandle, JoinSet},
};

use crate::common::{address, listen};

/// What a backend does with a request that is not a probe.
type Behaviour = Arc<dyn Fn(usize) -> Action + Send + Sync>;

/// One way to treat a request.
pub(crate) enum Action {
    /// 200 with the backend's address as text, once the body was read.
    Reply,
    /// Reads the request and cuts the connection.
    Die,
    /// Sends a part of the reply, and cuts the connection once `release` is called.
    DieMidReply,
    /// Never answers.
    Hang,
    /// Replies once `release` is called.
    Wait,
    /// 413 without reading the body.
    Refuse,
    /// 500, once the body was read.
    Fail,
    /// As `Reply`, after this time.
    Slow(Duration),
    /// 200 with these headers and this text.
    Say(&'static [(&'static str, &'static str)], String),
    /// The same once `release` is called.
    SayLater(&'static [(&'static str, &'static str)], String),
    /// The head and half of the text, and cuts the connection once `release` is called.
    SayHalf(&'static [(&'static str, &'static str)], String),
    /// As `Reply`, with `Connection: close`.
    ReplyAndClose,
    /// 200 that claims another request id and another backend.
    Lie,
}

/// What a backend saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// As it stood in the request line.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body_bytes: usize,
}

/// A small HTTP server that can be told to misbehave, killed and brought back.
pub(crate) struct Backend {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    addr: SocketAddr,
    ready: AtomicU16,
    probes: AtomicUsize,
    arrived: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    release: Notify,
    behaviour: Behaviour,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        Self::with(|_| Action::Reply).await
    }

    /// `behaviour` gets the number of requests that arrived before.
    pub(crate) async fn with(behaviour: impl Fn(usize) -> Action + Send + Sync + 'static) -> Self {
        let listener = listen().await;
        let addr = address(&listener);
        let shared = Arc::new(Shared {
            addr,
            ready: AtomicU16::new(200),
            probes: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            seen: Mutex::default(),
            release: Notify::new(),
            behaviour: Arc::new(behaviour),
        });
        let serving = Mutex::new(Some(tokio::spawn(accept(listener, Arc::clone(&shared)))));
        Self {
            addr,
            shared,
            serving,
        }
    }

    /// What /ready answers from now on; 0 for never anything.
    pub(crate) fn set_ready(&self, status: u16) {
        self.shared.ready.store(status, Ordering::SeqCst);
    }

    pub(crate) fn probes(&self) -> usize {
        self.shared.probes.load(Ordering::SeqCst)
    }

    /// Requests whose head arrived, probes apart.
    pub(crate) fn arrived(&self) -> usize {
        self.shared.arrived.load(Ordering::SeqCst)
    }

    /// Requests that arrived whole.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Lets one request that waits go on.
    pub(crate) fn release(&self) {
        self.shared.release.notify_one();
    }

    /// Closes the listener and cuts every connection, as `kill -9` does.
    pub(crate) async fn kill(&self) {
        let serving = self.serving.lock().unwrap().take().expect("running");
        serving.abort();
        let _ = serving.await;
    }

    /// Listens again on the same address.
    pub(crate) async fn revive(&self) {
        let listener = TcpListener::bind(self.addr)
            .await
            .expect("the port is still ours");
        *self.serving.lock().unwrap() =
            Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener
            .accept()
            .await
            .expect("a test has descriptors enough");
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| serve(Arc::clone(&shared), request));
            // An error is what `Action::Die` asks for.
            let _ = http1::Builder::new()
                // More than the balancer lets through, so that it is the one to refuse.
                .max_headers(200)
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        });
    }
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Frames>, Died> {
    if request.uri().path() == "/ready" {
        shared.probes.fetch_add(1, Ordering::SeqCst);
        let ready = shared.ready.load(Ordering::SeqCst);
        if ready == 0 {
            std::future::pending::<()>().await;
        }
        return Ok(reply(StatusCode::from_u16(ready).unwrap(), ""));
    }
    let action = (shared.behaviour)(shared.arrived.fetch_add(1, Ordering::SeqCst));
    if matches!(action, Action::Refuse) {
        return Ok(reply(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too large for the backend",
        ));
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Died)?.to_bytes();
    shared.seen.lock().unwrap().push(Seen {
        path: head.uri.path().to_owned(),
        target: head.uri.to_string(),
        headers: head.headers,
        body_bytes: body.len(),
    });
    let whole = reply(StatusCode::OK, &shared.addr.to_string());
    match action {
        Action::Die => Err(Died),
        Action::DieMidReply => {
            let (frames, body) = mpsc::unbounded_channel();
            frames
                .send(Ok(Bytes::from_static(b"part")))
                .expect("the body is held here");
            tokio::spawn(async move {
                shared.release.notified().await;
                let _ = frames.send(Err(Died));
            });
            Ok(Response::new(Frames(body)))
        }
        Action::SayLater(headers, text) => {
            shared.release.notified().await;
            Ok(say(headers, &text))
        }
        Action::Say(headers, text) => Ok(say(headers, &text)),
        Action::SayHalf(headers, text) => {
            let mut half = say(headers, &text);
            let (frames, body) = mpsc::unbounded_channel();
            let bytes = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
            frames.send(Ok(bytes)).expect("the body is held here");
            tokio::spawn(async move {
                shared.release.notified().await;
                let _ = frames.send(Err(Died));
            });
            *half.body_mut() = Frames(body);
            Ok(half)
        }
        Action::Hang => std::future::pending().await,
        Action::Wait => {
            shared.release.notified().await;
            Ok(whole)
        }
        Action::Lie => {
            let mut lie = whole;
            lie.headers_mut()
                .insert("x-request-id", http::HeaderValue::from_static("lie"));
            lie.headers_mut()
                .insert("x-served-by", http::HeaderValue::from_static("lie"));
            Ok(lie)
        }
        Action::Fail => Ok(reply(StatusCode::INTERNAL_SERVER_ERROR, "failed")),
        Action::Slow(time) => {
            tokio::time::sleep(time).await;
            Ok(whole)
        }
        Action::ReplyAndClose => {
            let mut last = whole;
            last.headers_mut()
                .insert("connection", http::HeaderValue::from_static("close"));
            Ok(last)
        }
        Action::Reply | Action::Refuse => Ok(whole),
    }
}

fn say(headers: &[(&'static str, &'static str)], text: &str) -> Response<Frames> {
    let mut said = reply(StatusCode::OK, text);
    for (name, value) in headers {
        let value = http::HeaderValue::from_static(value);
        said.headers_mut().insert(*name, value);
    }
    said
}

fn reply(status: StatusCode, text: &str) -> Response<Frames> {
    let (frames, body) = mpsc::unbounded_channel();
    frames
        .send(Ok(Bytes::copy_from_slice(text.as_bytes())))
        .expect("the body is held here");
    let reply = Response::builder()
        .status(status)
        .header("content-length", text.len());
    reply
        .body(Frames(body))
        .expect("a status and a length make a valid reply")
}

/// A body that is sent piece by piece.
struct Frames(mpsc::UnboundedReceiver<Result<Bytes, Died>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Died;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Died>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}

/// Makes hyper cut the connection.
#[derive(Debug)]
struct Died;

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("died on request")
    }
}

impl std::error::Error for Died {}
