//! How the load tester itself fares. What it cannot send in time is its own fault and not that of the server, so such a
//! run is invalid, not slow.

use std::fs;
use std::time::Duration;

use crate::Load;
use crate::report;
use crate::stats::Stats;

/// A thread that has so little time left sends late.
const BUSY: f64 = 0.95;
/// As long as a late start: what is later at the 99th percentile may spoil it.
const LAG_MICROS: u64 = crate::sample::LATE_AFTER_MS * 1_000;
/// It does where it is at least this share of the latency that was measured.
const LAG_SHARE: f64 = 0.1;

/// Of the time of a closed loop, more spent waiting for a processor is what users then did not send.
const STARVED: f64 = 0.1;

/// What a thread has had of the processors, as Linux counts it; zero where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadTime {
    pub running: Duration,
    /// Able to run, and no processor free.
    pub waiting: Duration,
}

impl ThreadTime {
    /// Of the calling thread so far.
    #[must_use]
    pub fn so_far() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut nanos = text.split_whitespace().map(|field| {
            let nanos = field.parse().unwrap_or_default();
            Duration::from_nanos(nanos)
        });
        Self {
            running: nanos.next().unwrap_or_default(),
            waiting: nanos.next().unwrap_or_default(),
        }
    }
}

/// Judges a run by the time of each thread that sent.
#[must_use]
pub fn judge(
    stats: &Stats,
    threads: &[ThreadTime],
    load: &Load,
    elapsed: Duration,
    stopped: bool,
) -> report::Generator {
    let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let most = |pick: fn(&ThreadTime) -> Duration| {
        share(threads.iter().map(pick).max().unwrap_or_default())
    };
    let (busiest, starved) = (most(|time| time.running), most(|time| time.waiting));
    let lag = stats.lag.value_at_quantile(0.99);
    let latency = stats.latency.value_at_quantile(0.99);
    let mut reasons = Vec::new();
    if busiest > BUSY {
        reasons.push(format!(
            "a thread of the load tester was busy {:.0} % of the time: use more --threads, or a second machine and `merge`",
            busiest * 100.0
        ));
    }
    if lag > LAG_MICROS && lag as f64 > latency as f64 * LAG_SHARE {
        reasons.push(format!(
            "the load tester began requests {:.1} ms late of its own fault (99th percentile): it needs a processor to \
             itself",
            lag as f64 / 1_000.0
        ));
    }
    // An open loop that has no processor is late, which is judged above.
    if matches!(load, Load::Closed { .. }) && starved > STARVED {
        reasons.push(format!(
            "a thread of the load tester waited for a processor {:.0} % of the time: it needs one to itself",
            starved * 100.0
        ));
    }
    if stats.errors.local > 0 {
        reasons.push(format!(
            "this machine had no port or file left for {} connections: raise net.ipv4.ip_local_port_range and \
             `ulimit -n`, or ask for fewer",
            stats.errors.local
        ));
    }
    if stopped {
        reasons.push(format!(
            "it was stopped after {:.1} s",
            elapsed.as_secs_f64()
        ));
    }
    report::Generator {
        cores_used: share(threads.iter().map(|time| time.running).sum()),
        busiest_thread: busiest,
        lag_p99_us: lag,
        valid: reasons.is_empty(),
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Failure, Outcome};
    use crate::stats::tests::sample;

    const SECOND: Duration = Duration::from_secs(1);
    const CLOSED: Load = Load::Closed {
        think: Duration::ZERO,
        warm_up: Duration::ZERO,
        duration: SECOND,
    };

    /// Beside a server that takes 150 ms.
    fn judged(busy_ms: u64, waiting_ms: u64, lag_ms: u64, outcome: Outcome) -> report::Generator {
        let mut stats = Stats::new(Duration::ZERO, SECOND);
        stats.record(&sample(0, 0, 150, outcome));
        stats.record_lag(Duration::ZERO, Duration::from_millis(lag_ms));
        let time = ThreadTime {
            running: Duration::from_millis(busy_ms),
            waiting: Duration::from_millis(waiting_ms),
        };
        judge(
            &stats,
            &[time, ThreadTime::default()],
            &CLOSED,
            SECOND,
            false,
        )
    }

    #[test]
    fn a_run_is_valid_while_the_generator_has_time_to_spare() {
        let generator = judged(500, 90, 14, Outcome::Succeeded);
        assert!(generator.valid, "{generator:?}");
        assert!((generator.busiest_thread - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_saturated_generator_makes_a_run_invalid_and_says_what_to_do() {
        let local = Outcome::Failed(Failure::Local);
        for (generator, words) in [
            (judged(970, 0, 1, Outcome::Succeeded), "--threads"),
            (judged(500, 0, 20, Outcome::Succeeded), "99th percentile"),
            (
                judged(500, 200, 1, Outcome::Succeeded),
                "waited for a processor 20 %",
            ),
            (judged(500, 0, 1, local), "ip_local_port_range"),
        ] {
            assert!(!generator.valid, "{generator:?}");
            assert!(generator.reasons[0].contains(words), "{generator:?}");
        }
    }

    #[test]
    fn the_time_of_this_thread_goes_on_while_it_works() {
        let before = ThreadTime::so_far().running;
        let mut sum = 0_u64;
        while ThreadTime::so_far().running == before {
            sum = (0..100_000).fold(sum, |sum, number| sum ^ std::hint::black_box(number));
        }
        assert!(ThreadTime::so_far().running > before);
    }
}
