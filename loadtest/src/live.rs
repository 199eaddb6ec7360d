//! What a terminal shows while a run is under way.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use crate::report::words::time;
use crate::stats::{Series, Stats};

/// Cells of the progress bar and of the curve.
const WIDTH: usize = 48;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Redraws the same lines on standard error, if that is a terminal.
#[derive(Debug, Default)]
pub struct Live {
    drawn: usize,
}

impl Live {
    /// Does anybody see it?
    #[must_use]
    pub fn is_seen() -> bool {
        io::stderr().is_terminal()
    }

    /// Draws over what was drawn before.
    pub fn draw(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in lines {
            let _ = writeln!(text, "\r\x1b[K{line}");
        }
        self.drawn = lines.len();
        // A terminal that went away is no reason to stop measuring.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Takes it away: the report follows.
    pub fn clear(&mut self) {
        if self.drawn > 0 {
            let _ = write!(io::stderr(), "\x1b[{}A\x1b[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// How a run stands after `elapsed` of `whole`.
#[must_use]
pub fn lines(stats: &Stats, elapsed: Duration, warm_up: Duration, whole: Duration) -> Vec<String> {
    let done = (elapsed.as_secs_f64() / whole.as_secs_f64()).min(1.0);
    let filled = (done * WIDTH as f64) as usize;
    let phase = if elapsed < warm_up {
        "warm-up"
    } else {
        "measuring"
    };
    let now = stats
        .series
        .until(elapsed.saturating_sub(stats.series.length));
    let rate = now.map_or(0.0, |now| {
        now.completed as f64 / stats.series.length.as_secs_f64()
    });
    let quantile = |quantile| time(stats.latency.value_at_quantile(quantile));
    let failed = stats.errors.total();
    vec![
        format!(
            "{}{} {:>3.0} % {phase}, {:.0} of {:.0} s",
            "█".repeat(filled),
            "░".repeat(WIDTH - filled),
            done * 100.0,
            elapsed.as_secs_f64(),
            whole.as_secs_f64(),
        ),
        format!(
            "rate      {rate:>10.0} /s now      {:>10} done ({} in the warm-up)",
            stats.ended(),
            stats.warm_up
        ),
        format!(
            "latency   {:>10} p50 {:>10} p90 {:>10} p99 {:>10} max",
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(1.0)
        ),
        format!(
            "errors    {failed:>10} failed   {:>10} dropped {:>10} late",
            stats.dropped, stats.late_starts
        ),
        format!("p99       {}", curve(&stats.series)),
    ]
}

/// The 99th percentile of the latest intervals, the highest being full height.
fn curve(series: &Series) -> String {
    let skipped = series.intervals.len().saturating_sub(WIDTH);
    let p99: Vec<u64> = series.intervals[skipped..]
        .iter()
        .map(|interval| interval.latency.value_at_quantile(0.99))
        .collect();
    let highest = p99.iter().copied().max().unwrap_or(0).max(1);
    p99.iter()
        .map(|value| BARS[(value * (BARS.len() as u64 - 1) / highest) as usize])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Outcome;
    use crate::stats::tests::sample;

    #[test]
    fn the_view_tells_progress_rate_percentiles_and_errors() {
        let (warm_up, whole) = (Duration::from_secs(2), Duration::from_secs(10));
        let mut stats = Stats::new(warm_up, whole);
        stats.record(&sample(1_000, 0, 1, Outcome::Succeeded));
        for at in [2_000, 2_100, 2_200] {
            stats.record(&sample(at, 0, 4, Outcome::Succeeded));
        }
        stats.record(&sample(2_300, 0, 40, Outcome::Dropped));
        let shown = lines(&stats, Duration::from_millis(2_500), warm_up, whole).join("\n");
        insta::assert_snapshot!(shown, @"
        ████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  25 % measuring, 2 of 10 s
        rate               0 /s now               5 done (1 in the warm-up)
        latency      4.00 ms p50   40.03 ms p90   40.03 ms p99   40.03 ms max
        errors             0 failed            1 dropped          0 late
        p99       ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁█
        ");
    }
}
