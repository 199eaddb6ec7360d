//! The load tester of Quizstack: requests at a constant rate to one URL, whatever the server makes of them.
//!
//! The life of one request:
//! 1. [`schedule`] says when it is meant to start. This depends on nothing that the server does: an open loop.
//! 2. [`pacer`] hands out its ticket at that time.
//! 3. A [`worker`] that is free claims the ticket and sends the request over its [`connection`]. When all workers are
//!    busy the ticket waits, which makes it a late start, or a drop once it has waited for the whole timeout.
//! 4. What came of it is a [`sample`], with the time it was meant to start beside the time it did.
//! 5. [`stats`] counts it. Latency runs from the *intended* start, so a server that stalls is charged for the
//!    requests that could not be sent meanwhile: no coordinated omission.
//! 6. [`report`] puts the figures into words or JSON.
//!
//! [`cli`] makes a [`Plan`] of the command line, and [`target`] refuses to aim it at strangers.
//!
//! What it does not do: it follows no redirects, keeps no cookies, speaks no TLS, and does not search for the rate
//! at which a server breaks.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

pub mod cli;
pub mod connection;
pub mod pacer;
pub mod report;
pub mod sample;
pub mod schedule;
pub mod stats;
pub mod target;
pub mod worker;

use pacer::Pacer;
use report::Report;
use sample::Sample;
use schedule::Schedule;
use stats::Stats;
use target::Target;
use worker::Worker;

/// Everything a run needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Target,
    pub schedule: Schedule,
    /// Workers, each with one keep-alive connection: as many requests are under way at once, and no more.
    pub connections: usize,
    /// From the actual start of a request until the end of its reply.
    pub timeout: Duration,
}

/// Carries out the plan and reports. Each request of the schedule is accounted for, however it ended.
///
/// # Panics
/// When the thread of the pacer cannot be started.
pub async fn run(plan: Plan) -> Report {
    let plan = Arc::new(plan);
    let origin = Instant::now();
    let pacer = Pacer::start(plan.schedule, origin, plan.connections);
    let (sender, samples) = mpsc::unbounded_channel();
    for _ in 0..plan.connections {
        let worker = Worker::new(Arc::clone(&plan), pacer.tickets(), origin);
        tokio::spawn(worker.run(sender.clone()));
    }
    // The channel ends when the last worker has gone.
    drop(sender);
    let stats = collect(samples, &plan, origin).await;
    Report::new(&plan, &stats)
}

async fn collect(
    mut samples: mpsc::UnboundedReceiver<Sample>,
    plan: &Plan,
    origin: Instant,
) -> Stats {
    let mut stats = Stats::new(plan.schedule);
    let on_a_terminal = std::io::stderr().is_terminal();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            sample = samples.recv() => match sample {
                Some(sample) => stats.record(&sample),
                None => break,
            },
            _ = second.tick(), if on_a_terminal => show(&report::progress_line(&stats, origin.elapsed())),
        }
    }
    if on_a_terminal {
        show("");
    }
    stats
}

/// Writes over the last line of the terminal.
fn show(line: &str) {
    // A terminal that went away is no reason to stop measuring.
    let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
}
