//! Hands out tickets when they are due. A thread of its own keeps the time: the timers of the asynchronous runtime
//! tick in milliseconds, which is longer than many replies take.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// One permit for each ticket that is due and not claimed, and at the end one for each who claims.
    due: Semaphore,
    starts: Mutex<VecDeque<(Duration, Duration)>>,
    abandoned: AtomicBool,
}

/// The right to send one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub intended_start: Duration,
    /// When it was handed out.
    pub released: Duration,
    /// Whoever claimed it was waiting for it already: all of the time since its intended start is the generator's.
    pub was_awaited: bool,
}

impl Pacer {
    /// Starts to hand out tickets to `users` of them, with intended starts counted from `origin`.
    ///
    /// # Panics
    /// When the system has no thread left.
    #[must_use]
    pub fn start(schedule: &Schedule, origin: Instant, users: usize) -> Self {
        let tickets = Arc::new(Tickets {
            due: Semaphore::new(0),
            starts: Mutex::default(),
            abandoned: AtomicBool::new(false),
        });
        let paced = Arc::clone(&tickets);
        let starts = schedule.starts();
        thread::Builder::new()
            .name("pacer".to_owned())
            .spawn(move || paced.pace(starts, origin, users))
            .expect("the system has a thread left");
        Self { tickets }
    }

    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        Arc::clone(&self.tickets)
    }

    /// No further ticket becomes due.
    pub fn stop(&self) {
        self.tickets.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Tickets {
    /// Waits for the next ticket that is due. `None` when the schedule is at its end.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn claim(&self) -> Option<Ticket> {
        let was_awaited = match self.due.try_acquire() {
            Ok(permit) => {
                permit.forget();
                false
            }
            Err(_) => {
                let permit = self.due.acquire().await;
                permit.expect("the semaphore is never closed").forget();
                true
            }
        };
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let (intended_start, released) = starts.pop_front()?;
        Some(Ticket {
            intended_start,
            released,
            was_awaited,
        })
    }

    fn pace(&self, starts: impl Iterator<Item = Duration>, origin: Instant, users: usize) {
        for intended_start in starts {
            if !self.wait_until(origin + intended_start) {
                break;
            }
            self.starts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back((intended_start, origin.elapsed()));
            self.due.add_permits(1);
        }
        // One beyond the end for each user tells them to go.
        self.due.add_permits(users);
    }

    /// False when nobody wants tickets any more.
    fn wait_until(&self, start: Instant) -> bool {
        loop {
            if self.abandoned.load(Ordering::Relaxed) {
                return false;
            }
            let wait = start.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return true;
            }
            thread::sleep(wait.min(NOTICE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_ticket_is_claimed_once_in_order_and_never_early() {
        let schedule = Schedule::constant(1_000.0, Duration::ZERO, Duration::from_millis(100));
        let origin = Instant::now();
        let pacer = Pacer::start(&schedule, origin, 1);
        let tickets = pacer.tickets();
        let mut claimed = Vec::new();
        while let Some(ticket) = tickets.claim().await {
            assert!(origin.elapsed() >= ticket.intended_start);
            claimed.push(ticket.intended_start);
        }
        assert_eq!(claimed, schedule.starts().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_pacer_that_is_stopped_lets_everybody_go() {
        let schedule = Schedule::constant(1.0, Duration::ZERO, Duration::from_secs(3_600));
        let pacer = Pacer::start(&schedule, Instant::now(), 2);
        let tickets = pacer.tickets();
        assert!(tickets.claim().await.is_some());
        pacer.stop();
        assert_eq!(tickets.claim().await, None);
        assert_eq!(tickets.claim().await, None);
    }
}
