//! A balancer in this process and backends that fail on demand, all on ports of the kernel's choice.

use std::{
    collections::HashMap,
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
use clap::Parser;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use quiz_lb::{Listeners, config::Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time,
};

/// Longer than anything here takes on the slowest machine; only a failing test waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A balancer running in this process.
pub(crate) struct Balancer {
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Balancer {
    /// In front of these backends, with these flags on top.
    pub(crate) async fn start(backends: &str, flags: &[&str]) -> Self {
        // Probes fast enough not to be waited for, patient enough for a busy machine.
        let usual = [
            "quiz-lb",
            "--backends",
            backends,
            "--probe-interval",
            "20",
            "--probe-timeout",
            "5000",
        ];
        let usual_too = [
            "--connect-timeout",
            "5000",
            "--dns-timeout",
            "5000",
            "--dns-interval",
            "50",
        ];
        let args = [&usual[..], &usual_too[..], flags].concat();
        let config = Config::try_parse_from(args).expect("the test gives valid flags");
        let listeners = Listeners {
            public: listen().await,
            admin: listen().await,
        };
        let (addr, admin) = (address(&listeners.public), address(&listeners.admin));
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(quiz_lb::run(config, listeners, async {
            let _ = stopped.await;
        }));
        Self {
            addr,
            admin,
            stop: Some(stop),
            running,
        }
    }

    /// In front of these, and waits until all of them are healthy.
    pub(crate) async fn before(backends: &[&Backend], flags: &[&str]) -> Self {
        let list: Vec<_> = backends
            .iter()
            .map(|backend| backend.addr.to_string())
            .collect();
        let balancer = Self::start(&list.join(","), flags).await;
        for backend in backends {
            balancer.wait_for_state(backend.addr, "healthy").await;
        }
        balancer
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        client()
            .get(self.url(path))
            .send()
            .await
            .expect("the balancer answers")
    }

    /// Status and text of a page of the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> (StatusCode, String) {
        let reply = client()
            .get(format!("http://{}{path}", self.admin))
            .send()
            .await;
        let reply = reply.expect("the admin listener answers");
        (
            reply.status(),
            reply.text().await.expect("the admin listener sends text"),
        )
    }

    /// Value of one line of /metrics; 0 when there is no such line.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let (_, text) = self.admin_get("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| {
            value.parse().expect("a counter is a whole number")
        })
    }

    pub(crate) async fn wait_for_state(&self, backend: SocketAddr, state: &str) {
        let series = format!(r#"lb_backend_state{{backend="{backend}",state="{state}"}}"#);
        eventually(&format!("{backend} is {state}"), async || {
            self.metric(&series).await == 1
        })
        .await;
    }

    /// Begins the drain and does not wait for its end.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits for the end of the drain.
    pub(crate) async fn ended(self) {
        let ended = time::timeout(PATIENCE, self.running)
            .await
            .expect("the drain ends");
        ended.expect("no panic").expect("no error");
    }
}

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
    /// 200 that claims another request id and another backend.
    Lie,
}

/// What a backend saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
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
        Action::Reply | Action::Refuse => Ok(whole),
    }
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

/// A client with one connection at most, kept alive.
pub(crate) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .pool_max_idle_per_host(1)
        .timeout(PATIENCE);
    builder
        .no_proxy()
        .build()
        .expect("a plain client can be built")
}

pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0")
        .await
        .expect("the loopback has a free port")
}

pub(crate) fn address(listener: &TcpListener) -> SocketAddr {
    listener
        .local_addr()
        .expect("a bound listener has an address")
}

/// Polls until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let polled = time::timeout(PATIENCE, async {
        while !holds().await {
            time::sleep(Duration::from_millis(5)).await;
        }
    });
    polled.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Sends bytes as they are and returns all that comes back until the other side closes, in lower case.
pub(crate) async fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = TcpStream::connect(addr)
        .await
        .expect("the balancer accepts");
    tcp.write_all(bytes).await.expect("the balancer reads");
    let mut reply = Vec::new();
    let read = time::timeout(PATIENCE, tcp.read_to_end(&mut reply)).await;
    read.expect("the balancer closes").expect("without a reset");
    String::from_utf8(reply)
        .expect("the reply is text")
        .to_ascii_lowercase()
}

/// How many of these texts there are of each.
pub(crate) fn shares(texts: impl IntoIterator<Item = String>) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for text in texts {
        *shares.entry(text).or_default() += 1;
    }
    shares
}
