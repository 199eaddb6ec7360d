//! A backend: a process that answers after a while, writes down what it was told to change, and can be told to be sick.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    time,
};

/// How long the last replies may take after a drain.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What this process is told when it is to be a backend.
#[derive(Debug, Args)]
pub(crate) struct Role {
    #[arg(long)]
    listen: SocketAddr,
    /// Where the ids of POSTs are written, one per line and before they are answered.
    #[arg(long)]
    journal: PathBuf,
    /// How long a reply takes.
    #[arg(long)]
    page_us: u64,
    /// How long it answers on after SIGTERM.
    #[arg(long)]
    linger_ms: u64,
}

/// What it does to requests.
struct Manner {
    journal: File,
    page_us: AtomicU64,
    /// Every other request fails, or each at even odds.
    fails_in_turn: AtomicBool,
    fails_at_random: AtomicBool,
    requests: AtomicU64,
    draining: AtomicBool,
}

impl Role {
    /// Answers until it is told to end, or nobody is left to tell it.
    pub(crate) fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<()> {
        let listener = TcpListener::bind(self.listen).await?;
        println!("{}", listener.local_addr()?);
        let mut journal = OpenOptions::new();
        let journal = journal.append(true).create(true).open(&self.journal)?;
        let manner = Arc::new(Manner {
            journal,
            page_us: AtomicU64::new(self.page_us),
            fails_in_turn: AtomicBool::new(false),
            fails_at_random: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        });
        let told = Arc::clone(&manner);
        std::thread::spawn(move || obey(&told));
        let mut term = signal(SignalKind::terminate())?;
        let draining = async {
            term.recv().await;
            manner.draining.store(true, Ordering::Relaxed);
            time::sleep(Duration::from_millis(self.linger_ms)).await;
        };
        let open = GracefulShutdown::new();
        tokio::select! {
            accepted = accept(listener, &manner, &open) => return accepted,
            () = draining => {}
        }
        // Nobody is cut off who is being answered.
        let _ = time::timeout(LAST_WORDS, open.shutdown()).await;
        Ok(())
    }
}

async fn accept(
    listener: TcpListener,
    manner: &Arc<Manner>,
    open: &GracefulShutdown,
) -> Result<()> {
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let manner = Arc::clone(manner);
        let watcher = open.watcher();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&manner, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(tcp), service);
            let _ = watcher.watch(connection).await;
        });
    }
}

async fn answer(
    manner: &Manner,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let draining = manner.draining.load(Ordering::Relaxed);
    let probe = request.uri().path() == "/ready";
    let mut status = match probe && draining {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    if !probe {
        let changes = request.method() == Method::POST;
        let id = request.uri().path().trim_start_matches('/').to_owned();
        request.into_body().collect().await?;
        if changes {
            // A line at a time, so that it is there whatever ends this process.
            let written = (&manner.journal).write_all(format!("{id}\n").as_bytes());
            written.expect("the journal can be written");
        }
        if manner.fails() {
            status = StatusCode::INTERNAL_SERVER_ERROR;
        }
        let page = manner.page_us.load(Ordering::Relaxed);
        time::sleep(Duration::from_micros(page)).await;
    }
    let mut reply = Response::new(Full::from(vec![b'x'; 512]));
    *reply.status_mut() = status;
    if draining {
        let close = HeaderValue::from_static("close");
        reply.headers_mut().insert(CONNECTION, close);
    }
    Ok(reply)
}

impl Manner {
    fn fails(&self) -> bool {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let in_turn = self.fails_in_turn.load(Ordering::Relaxed) && request.is_multiple_of(2);
        in_turn || self.fails_at_random.load(Ordering::Relaxed) && rand::random()
    }
}

/// Does what the lines say that come in, and ends with them.
fn obey(manner: &Manner) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("page_us", micros) => {
                let micros = micros.parse().expect("a number");
                manner.page_us.store(micros, Ordering::Relaxed);
            }
            ("fail_in_turn", whether) => {
                manner
                    .fails_in_turn
                    .store(whether == "1", Ordering::Relaxed);
            }
            ("fail_at_random", whether) => {
                manner
                    .fails_at_random
                    .store(whether == "1", Ordering::Relaxed);
            }
            _ => panic!("{line}?"),
        }
    }
    std::process::exit(0);
}

/// A backend as the program sees it. Killed when dropped.
pub(crate) struct Backend {
    pub(crate) addr: SocketAddr,
    journal: PathBuf,
    page: Duration,
    linger: Duration,
    child: Child,
    stdin: ChildStdin,
}

impl Backend {
    /// On a free port of this address.
    pub(crate) async fn start(
        address: IpAddr,
        folder: &Path,
        page: Duration,
        linger: Duration,
    ) -> Result<Self> {
        let journal = folder.join(address.to_string());
        let listen = SocketAddr::new(address, 0);
        let (child, stdin, addr) = spawn(listen, &journal, page, linger).await?;
        Ok(Self {
            addr,
            journal,
            page,
            linger,
            child,
            stdin,
        })
    }

    /// The same again, after it has ended.
    pub(crate) async fn revive(&mut self) -> Result<()> {
        self.child.wait().await?;
        (self.child, self.stdin, _) =
            spawn(self.addr, &self.journal, self.page, self.linger).await?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().context("it has ended already")?;
        let pid = Pid::from_raw(pid.cast_signed()).context("no process has the number 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    /// One of the lines that `obey` knows.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<()> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(())
    }

    /// What it was told to change, as often as it was told.
    pub(crate) fn changes(&self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.journal)?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

async fn spawn(
    listen: SocketAddr,
    journal: &Path,
    page: Duration,
    linger: Duration,
) -> Result<(Child, ChildStdin, SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("backend")
        .args(["--listen", &listen.to_string()])
        .arg("--journal")
        .arg(journal)
        .args(["--page-us", &page.as_micros().to_string()])
        .args(["--linger-ms", &linger.as_millis().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take().context("stdin is piped")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let line = BufReader::new(stdout).lines().next_line().await?;
    let line = line.context("a backend has not started")?;
    Ok((child, stdin, line.parse()?))
}
