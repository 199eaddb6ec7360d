//! Hands out tickets when they are due. A thread of its own keeps the time: the timers of the asynchronous runtime
//! tick in milliseconds, which is longer than many replies take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::schedule::Schedule;

/// How long the thread may take to notice that nobody wants its tickets any more.
const NOTICE: Duration = Duration::from_millis(50);

/// The thread that keeps the time; it ends when this is dropped.
#[derive(Debug)]
pub struct Pacer {
    tickets: Arc<Tickets>,
}

/// The requests of one schedule, each claimed once and not before it is due.
#[derive(Debug)]
pub struct Tickets {
    /// One permit for each ticket that is due and not claimed.
    due: Semaphore,
    next: AtomicU64,
    requests: u64,
    abandoned: AtomicBool,
}

impl Pacer {
    /// Starts to hand out tickets to `workers` of them, with intended starts counted from `origin`.
    ///
    /// # Panics
    /// When the system has no thread left.
    #[must_use]
    pub fn start(schedule: Schedule, origin: Instant, workers: usize) -> Self {
        let tickets = Arc::new(Tickets {
            due: Semaphore::new(0),
            next: AtomicU64::new(0),
            requests: schedule.requests(),
            abandoned: AtomicBool::new(false),
        });
        let paced = Arc::clone(&tickets);
        thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || paced.pace(schedule, origin, workers))
            .expect("the system has a thread left");
        Self { tickets }
    }

    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        Arc::clone(&self.tickets)
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.tickets.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Tickets {
    /// Waits for the next ticket that is due. `None` when the schedule is at its end.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn claim(&self) -> Option<u64> {
        self.due
            .acquire()
            .await
            .expect("the semaphore is never closed")
            .forget();
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        (request < self.requests).then_some(request)
    }

    fn pace(&self, schedule: Schedule, origin: Instant, workers: usize) {
        for request in 0..self.requests {
            let start = origin + schedule.intended_start(request);
            loop {
                if self.abandoned.load(Ordering::Relaxed) {
                    return;
                }
                let wait = start.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    break;
                }
                thread::sleep(wait.min(NOTICE));
            }
            self.due.add_permits(1);
        }
        // One beyond the end for each worker tells it to go.
        self.due.add_permits(workers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_ticket_is_claimed_once_in_order_and_never_early() {
        let schedule = Schedule {
            rate_per_second: 1_000,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(100),
        };
        let origin = Instant::now();
        let pacer = Pacer::start(schedule, origin, 1);
        let tickets = pacer.tickets();
        let mut claimed = Vec::new();
        while let Some(request) = tickets.claim().await {
            assert!(origin.elapsed() >= schedule.intended_start(request));
            claimed.push(request);
        }
        assert_eq!(claimed, (0..100).collect::<Vec<u64>>());
    }
}
