//! Whether a client sends fast enough. Pure: `downstream.rs` tells what arrives and asks when to hang up.
//!
//! Time-outs for silence do not help against a client that sends a byte now and then; these are totals.

use std::time::{Duration, Instant};

use crate::config::Clients;

/// What a client is expected to send, and how it has done so far.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    stage: Stage,
    rules: Rules,
    /// Head: when its first byte came. Body: since when we wait.
    since: Option<Instant>,
    /// How long we have waited for parts of the body that came.
    waited: Duration,
    bytes: usize,
    late: bool,
}

/// What a client is expected to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request head, or nothing.
    #[default]
    Head,
    /// A request body.
    Body,
    /// Nothing, or whatever it likes after an upgrade.
    Anything,
}

#[derive(Debug, Default)]
struct Rules {
    head: Duration,
    grace: Duration,
    bytes_per_sec: usize,
}

impl Pace {
    /// The next request begins.
    pub(crate) fn restart(&mut self, clients: &Clients) {
        *self = Self {
            rules: Rules {
                head: clients.head_timeout,
                grace: clients.body_grace,
                bytes_per_sec: clients.min_body_bytes_per_sec,
            },
            ..Self::default()
        };
    }

    /// From now on this is expected.
    pub(crate) fn expect(&mut self, stage: Stage) {
        self.stage = stage;
        self.since = None;
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// So many bytes have come.
    pub(crate) fn received(&mut self, bytes: usize, now: Instant) {
        match self.stage {
            Stage::Head => {
                self.since.get_or_insert(now);
            }
            Stage::Body => {
                if let Some(since) = self.since.take() {
                    self.waited += now.saturating_duration_since(since);
                }
                self.bytes = self.bytes.saturating_add(bytes);
            }
            Stage::Anything => {}
        }
    }

    /// We wait for more; until when, unless forever.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        match self.stage {
            Stage::Head => self.since.map(|since| since + self.rules.head),
            Stage::Body if self.rules.bytes_per_sec > 0 => {
                let earned = self.bytes as f64 / self.rules.bytes_per_sec as f64;
                let allowed = self.rules.grace + Duration::from_secs_f64(earned);
                let since = *self.since.get_or_insert(now);
                Some(since + allowed.saturating_sub(self.waited))
            }
            Stage::Body | Stage::Anything => None,
        }
    }

    /// The deadline has passed. What still comes while the client is told so has none.
    pub(crate) fn give_up(&mut self) -> Stage {
        self.late = true;
        std::mem::replace(&mut self.stage, Stage::Anything)
    }

    /// Whether it has.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(stage: Stage, bytes_per_sec: usize) -> Pace {
        let mut pace = Pace::default();
        pace.restart(&Clients {
            head_timeout: Duration::from_secs(10),
            body_grace: Duration::from_secs(20),
            min_body_bytes_per_sec: bytes_per_sec,
            ..Clients::default()
        });
        pace.expect(stage);
        pace
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_head_has_its_time_from_the_first_byte_however_many_follow() {
        let start = Instant::now();
        let mut pace = pace(Stage::Head, 1);
        assert_eq!(pace.deadline(start), None);
        for second in 5..14 {
            pace.received(1, start + secs(second));
            let deadline = pace.deadline(start + secs(second));
            assert_eq!(deadline, Some(start + secs(15)));
        }
    }

    #[test]
    fn a_body_earns_time_with_every_byte_and_pays_only_for_our_waiting() {
        let start = Instant::now();
        let mut pace = pace(Stage::Body, 100);
        assert_eq!(pace.deadline(start), Some(start + secs(20)));
        pace.received(500, start + secs(10));
        // Nobody waits for it now: the backend is busy with what has come.
        let later = start + secs(1000);
        assert_eq!(pace.deadline(later), Some(later + secs(20 + 5 - 10)));
        pace.received(0, later + secs(15));
        let then = later + secs(2000);
        assert_eq!(pace.deadline(then), Some(then));
    }

    #[test]
    fn without_a_minimum_and_after_the_body_nothing_is_due() {
        let now = Instant::now();
        assert_eq!(pace(Stage::Body, 0).deadline(now), None);
        let mut after = pace(Stage::Anything, 100);
        after.received(1, now);
        assert_eq!(after.deadline(now), None);
    }
}
