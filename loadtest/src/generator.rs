//! How the load tester itself fares. What it cannot send in time is its own fault and not that of the server, so such a
//! run is invalid, not slow.

use std::fs;
use std::time::Duration;

use crate::report;
use crate::stats::Stats;

/// A thread that has so little time left sends late.
const BUSY: f64 = 0.95;
/// As long as a late start: what is later at the 99th percentile may spoil it.
const LAG_MICROS: u64 = crate::sample::LATE_AFTER_MS * 1_000;
/// It does where it is at least this share of the latency that was measured.
const LAG_SHARE: f64 = 0.1;

/// Processor time that the calling thread has used so far, as Linux counts it; zero where it does not.
#[must_use]
pub fn thread_time() -> Duration {
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .map_or(Duration::ZERO, Duration::from_nanos)
}

/// Judges a run by the processor time of each thread that sent.
#[must_use]
pub fn judge(
    stats: &Stats,
    threads: &[Duration],
    elapsed: Duration,
    stopped: bool,
) -> report::Generator {
    let share = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let busiest = threads.iter().copied().max().unwrap_or_default();
    let (busiest, lag) = (share(busiest), stats.lag.value_at_quantile(0.99));
    let mut reasons = Vec::new();
    if busiest > BUSY {
        reasons.push(format!(
            "a thread of the load tester was busy {:.0} % of the time: use more --threads, or a second machine and `merge`",
            busiest * 100.0
        ));
    }
    let latency = stats.latency.value_at_quantile(0.99);
    if lag > LAG_MICROS && lag as f64 > latency as f64 * LAG_SHARE {
        reasons.push(format!(
            "the load tester began requests {:.1} ms late of its own fault (99th percentile): it needs a processor to \
             itself",
            lag as f64 / 1_000.0
        ));
    }
    if stopped {
        reasons.push(format!(
            "it was stopped after {:.1} s",
            elapsed.as_secs_f64()
        ));
    }
    report::Generator {
        cores_used: share(threads.iter().sum()),
        busiest_thread: busiest,
        lag_p99_us: lag,
        valid: reasons.is_empty(),
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Outcome;
    use crate::stats::tests::sample;

    const SECOND: Duration = Duration::from_secs(1);

    /// Beside a server that takes 150 ms.
    fn judged(busy_ms: u64, lag_ms: u64) -> report::Generator {
        let mut stats = Stats::new(Duration::ZERO, SECOND);
        stats.record(&sample(0, 0, 150, Outcome::Succeeded));
        stats.record_lag(Duration::from_millis(lag_ms));
        judge(
            &stats,
            &[Duration::from_millis(busy_ms), Duration::ZERO],
            SECOND,
            false,
        )
    }

    #[test]
    fn a_run_is_valid_while_the_generator_has_time_to_spare() {
        let generator = judged(500, 14);
        assert!(generator.valid, "{generator:?}");
        assert!((generator.busiest_thread - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_saturated_generator_makes_a_run_invalid_and_says_what_to_do() {
        for (generator, words) in [
            (judged(970, 1), "--threads"),
            (judged(500, 20), "processor"),
        ] {
            assert!(!generator.valid, "{generator:?}");
            assert!(generator.reasons[0].contains(words), "{generator:?}");
        }
    }

    #[test]
    fn the_time_of_this_thread_goes_on_while_it_works() {
        let before = thread_time();
        let mut sum = 0_u64;
        while thread_time() == before {
            sum = (0..100_000).fold(sum, |sum, number| sum ^ std::hint::black_box(number));
        }
        assert!(thread_time() > before);
    }
}
