//! The last minute of a backend, for whoever watches it. Pure: time is passed in.

use std::time::{Duration, Instant};

/// How long one slot lasts.
pub(super) const SLOT: Duration = Duration::from_secs(2);
/// How many there are: a minute.
pub(super) const SLOTS: usize = 30;

/// What a backend did of late, in slots of two seconds that overwrite the oldest.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    begun: Instant,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u64,
    requests: u32,
    failed: u32,
    took: Duration,
}

/// The last minute, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Minute {
    /// Requests that were answered or failed.
    pub requests: u32,
    /// Those of them that failed: no connection, a reset, silence or a server error.
    pub failed: u32,
    /// Mean time to the head of the reply in milliseconds; of nothing, nothing.
    pub latency_ms: Option<f64>,
    /// The same slot by slot, the oldest first.
    pub history_ms: Vec<Option<f64>>,
}

impl Recent {
    /// Of a backend that has done nothing yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            slots: [Slot::default(); SLOTS],
        }
    }

    /// Takes one request into account.
    pub(super) fn observe(&mut self, now: Instant, took: Duration, failed: bool) {
        let number = self.number(now);
        let slot = &mut self.slots[index(number)];
        if slot.number != number {
            *slot = Slot {
                number,
                ..Slot::default()
            };
        }
        slot.requests = slot.requests.saturating_add(1);
        slot.failed = slot.failed.saturating_add(failed.into());
        slot.took = slot.took.saturating_add(took);
    }

    /// What the last minute amounts to.
    pub(super) fn minute(&self, now: Instant) -> Minute {
        let last = self.number(now);
        let numbers = (0..SLOTS as u64).rev().map(|ago| last.checked_sub(ago));
        let slots: Vec<_> = numbers
            .map(|number| {
                let slot = self.slots[index(number?)];
                (number == Some(slot.number)).then_some(slot)
            })
            .map(Option::unwrap_or_default)
            .collect();
        let took = slots.iter().map(|slot| slot.took).sum();
        let requests = slots.iter().map(|slot| slot.requests).sum();
        Minute {
            requests,
            failed: slots.iter().map(|slot| slot.failed).sum(),
            latency_ms: mean_ms(took, requests),
            history_ms: slots
                .iter()
                .map(|slot| mean_ms(slot.took, slot.requests))
                .collect(),
        }
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / SLOT.as_secs()
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % SLOTS as u64).expect("it is below SLOTS")
}

fn mean_ms(took: Duration, requests: u32) -> Option<f64> {
    (requests > 0).then(|| took.as_secs_f64() * 1000.0 / f64::from(requests))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_minute_is_added_up_and_what_is_older_forgotten() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        recent.observe(start, 10 * MS, false);
        recent.observe(start, 30 * MS, true);
        recent.observe(start + 59 * 1000 * MS, 5 * MS, false);
        let minute = recent.minute(start + 59 * 1000 * MS);
        assert_eq!((minute.requests, minute.failed), (3, 1));
        assert_eq!(minute.latency_ms, Some(15.0));
        assert_eq!(minute.history_ms.len(), SLOTS);
        assert_eq!(
            (minute.history_ms[0], minute.history_ms[29]),
            (Some(20.0), Some(5.0))
        );

        let minute = recent.minute(start + 60 * 1000 * MS);
        assert_eq!((minute.requests, minute.history_ms[28]), (1, Some(5.0)));
        // The slot of the first request comes round again.
        recent.observe(start + 61 * 1000 * MS, MS, false);
        assert_eq!(recent.minute(start + 61 * 1000 * MS).requests, 2);
        let later = recent.minute(start + 3_600_000 * MS);
        assert_eq!((later.requests, later.latency_ms), (0, None));
    }
}
