//! The thread that writes lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Stdout, Write},
    net::{Ipv6Addr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use tracing::warn;

use super::now;
use crate::{
    config::access_log::{AccessLog, Output},
    episode::Episode,
};

/// Facility local0, severity informational.
const PRIORITY: u8 = 16 * 8 + 6;

/// Lines gather for so long, so that a busy balancer wakes this thread fifty times a second and not for each request.
const GATHER: Duration = Duration::from_millis(20);

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Job {
    Write(Vec<u8>),
    Close,
}

/// Where lines go.
pub(super) enum Sink {
    Off,
    Stdout(BufWriter<Stdout>),
    File(BufWriter<File>),
    Udp(UdpSocket, Prefix),
    Unix(UnixDatagram, PathBuf, Prefix),
}

/// What stands before each message of RFC 5424, after the time.
pub(super) struct Prefix(String);

impl Sink {
    pub(super) fn open(output: &Output) -> io::Result<Self> {
        Ok(match output {
            Output::Off => Self::Off,
            Output::Stdout => Self::Stdout(BufWriter::new(io::stdout())),
            Output::File(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                Self::File(BufWriter::new(file))
            }
            Output::Udp(addr) => {
                let socket = match addr.is_ipv6() {
                    true => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
                    false => UdpSocket::bind("0.0.0.0:0")?,
                };
                socket.connect(addr)?;
                Self::Udp(socket, Prefix::new())
            }
            Output::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Self::Unix(socket, path.clone(), Prefix::new())
            }
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let whole = |prefix: &Prefix| {
            let head = format!("<{PRIORITY}>1 {} {}", now(), prefix.0);
            [head.as_bytes(), line].concat()
        };
        match self {
            Self::Off => Ok(()),
            // In one piece, so that the lines of two processes do not mix while one replaces the other.
            Self::Stdout(out) => out.write_all(&[line, b"\n"].concat()),
            Self::File(out) => out.write_all(&[line, b"\n"].concat()),
            Self::Udp(socket, prefix) => socket.send(&whole(prefix)).map(drop),
            Self::Unix(socket, path, prefix) => {
                let line = whole(prefix);
                // Whoever listened may have been replaced by another with the same path.
                let again = |_| socket.connect(path).and_then(|()| socket.send(&line));
                socket.send(&line).or_else(again).map(drop)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(out) => out.flush(),
            Self::Off | Self::Udp(..) | Self::Unix(..) => Ok(()),
        }
    }
}

impl Prefix {
    fn new() -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = match host.trim() {
            "" => "-",
            host => host,
        };
        // Host, program, process, kind of message; no structured data, for the message is structured itself.
        Self(format!("{host} quiz-lb {} access - ", std::process::id()))
    }
}

/// Writes until it is told to close, or until nobody is left to tell it.
pub(super) fn run(
    mut sink: Sink,
    wanted: &ArcSwap<AccessLog>,
    jobs: &Receiver<Job>,
    lost: &IntCounter,
) {
    let mut opened = wanted.load_full();
    let mut trouble = Episode::default();
    let mut complain = |error: &io::Error| {
        lost.inc();
        if trouble.begins(Instant::now()) {
            warn!(%error, "lines of the access log are lost: {error}");
        }
    };
    loop {
        let job = match jobs.try_recv() {
            Ok(job) => job,
            Err(TryRecvError::Disconnected) => Job::Close,
            // Nothing to do: now those who read along shall see all of it.
            Err(TryRecvError::Empty) => {
                let flushed = sink.flush();
                flushed.unwrap_or_else(|error| complain(&error));
                let job = jobs.recv().unwrap_or(Job::Close);
                if matches!(job, Job::Write(_)) {
                    thread::sleep(GATHER);
                }
                job
            }
        };
        match job {
            Job::Write(line) => {
                let settings = wanted.load_full();
                if !Arc::ptr_eq(&settings, &opened) {
                    let flushed = sink.flush();
                    flushed.unwrap_or_else(|error| complain(&error));
                    sink = reopened(sink, &settings.output);
                    opened = settings;
                }
                sink.write(&line).unwrap_or_else(|error| complain(&error));
            }
            Job::Close => {
                let _ = sink.flush();
                return;
            }
        }
    }
}

fn reopened(old: Sink, output: &Output) -> Sink {
    Sink::open(output).unwrap_or_else(|error| {
        warn!(%error, "the access log stays where it was, {output} cannot be opened: {error}");
        old
    })
}
