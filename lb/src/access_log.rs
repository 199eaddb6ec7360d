//! The access log: a line of JSON for each request, or for one of so many.
//!
//! Requests only put their line into a bounded queue; a thread of its own writes (`writer.rs`), so that a slow disk or a
//! deaf collector delays nobody.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use prometheus::IntCounter;
use serde::Serialize;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::config::access_log::{AccessLog as Settings, Output};

mod writer;

use writer::{Job, Sink};

/// RFC 3339, and what RFC 5424 takes of it.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is written of a request. No query, no cookie, no body: they may hold secrets.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When it ended.
    pub time: String,
    /// As in the replies and in the log of events.
    pub request_id: &'a str,
    /// As in the configuration.
    pub pool: &'a str,
    /// Who sent it.
    pub client: Option<IpAddr>,
    /// GET and the like.
    pub method: &'a str,
    /// As the client named it.
    pub host: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// What the client was answered; nothing if it got no whole reply.
    pub status: Option<u16>,
    /// `backend`, `cache` or `balancer`, by who answered, or `aborted`.
    pub outcome: &'static str,
    /// Who answered, or was the last to try.
    pub backend: Option<String>,
    /// How often it was sent to another backend.
    pub retries: usize,
    /// Time in the line for a place on a backend.
    pub waited_ms: f64,
    /// Time to the head of the reply.
    pub head_ms: Option<f64>,
    /// Time to its last byte.
    pub duration_ms: f64,
    /// Of the body, from the client.
    pub received_bytes: usize,
    /// Of the body, to the client.
    pub sent_bytes: usize,
    /// What the client calls itself.
    pub user_agent: &'a str,
    /// This line stands for so many requests.
    pub sample: usize,
}

/// Bytes of a text of the client in a line: thousands of lines may wait for a slow disk.
const TEXT: usize = 1024;

/// The beginning of what a client sent.
pub fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT)]
}

/// Where requests leave their lines.
#[derive(Debug)]
pub struct AccessLog {
    settings: Arc<ArcSwap<Settings>>,
    turn: AtomicUsize,
    jobs: SyncSender<Job>,
    lost: IntCounter,
    writing: Mutex<Option<mpsc::Receiver<()>>>,
}

impl AccessLog {
    /// Opens the place where lines go. Those that are lost are counted.
    pub fn open(settings: Settings, lost: IntCounter) -> Result<Self> {
        let sink = Sink::open(&settings.output).with_context(|| {
            let place = &settings.output;
            format!("cannot write to {place}: change access_log.output (LB_ACCESS_LOG)")
        })?;
        let (jobs, waiting) = mpsc::sync_channel(settings.max_waiting);
        let (ended, writing) = mpsc::channel();
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let (wanted, lost_there) = (Arc::clone(&settings), lost.clone());
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writer::run(sink, &wanted, &waiting, &lost_there);
                let _ = ended.send(());
            })
            .context("cannot start the thread of the access log")?;
        Ok(Self {
            settings,
            turn: AtomicUsize::new(0),
            jobs,
            lost,
            writing: Mutex::new(Some(writing)),
        })
    }

    /// For how many requests the line of this one would stand; nothing if it is not to be written.
    pub fn wants(&self, status: Option<u16>) -> Option<usize> {
        let settings = self.settings.load();
        if settings.output == Output::Off {
            return None;
        }
        if status.is_none_or(|status| status >= 500) {
            return Some(1);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn.is_multiple_of(settings.sample)
            .then_some(settings.sample)
    }

    /// Writes it soon. Only the thread that writes may take its time.
    pub fn write(&self, line: &Line<'_>) {
        let text = serde_json::to_vec(line);
        let taken = text.is_ok_and(|text| self.jobs.try_send(Job::Write(text)).is_ok());
        if !taken {
            self.lost.inc();
        }
    }

    /// Lets other settings hold, and has the place opened anew, as when a log was rotated, before the next line.
    pub fn adopt(&self, settings: Settings) {
        self.settings.store(settings.into());
    }

    /// Waits until what was left here is written, for a second at most.
    pub fn close(&self) {
        let _ = self.jobs.try_send(Job::Close);
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = writing.take() {
            let _ = ended.recv_timeout(LAST_LINES);
        }
    }
}

/// The time now, as lines have it.
pub fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.format(TIME).expect("every date has these parts")
}
