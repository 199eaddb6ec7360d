//! How far it is: a bar on a terminal, a line in the log now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Between two states of the bar, and between two lines.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Of the bar, in characters.
const WIDTH: usize = 30;

/// Rows that are copied, of all that are to be.
pub(super) struct Progress {
    rows: u64,
    done: u64,
    begun: Instant,
    shown: Instant,
    on_terminal: bool,
}

impl Progress {
    pub(super) fn new(rows: u64) -> Self {
        let now = Instant::now();
        Self {
            rows,
            done: 0,
            begun: now,
            shown: now,
            on_terminal: stderr().is_terminal(),
        }
    }

    /// So many rows more are copied.
    pub(super) fn advance(&mut self, rows: u64) {
        self.done += rows;
        let pause = if self.on_terminal { PAUSES.0 } else { PAUSES.1 };
        if self.shown.elapsed() < pause && self.done < self.rows {
            return;
        }
        self.shown = Instant::now();
        let state = state(self.done, self.rows, self.begun.elapsed());
        if self.on_terminal {
            let full = share(self.done, self.rows, WIDTH as u64) as usize;
            let bar = format!("{}{}", "#".repeat(full), " ".repeat(WIDTH - full));
            let end = if self.done < self.rows { "" } else { "\n" };
            // A terminal that has gone is no reason to stop.
            write!(stderr(), "\r[{bar}] {state}\x1b[K{end}").ok();
        } else {
            tracing::info!(
                rows = self.done,
                elapsed_ms = self.begun.elapsed().as_millis() as u64,
                "{state}"
            );
        }
    }
}

/// So much of `whole` as is done of all.
fn share(done: u64, all: u64, whole: u64) -> u64 {
    (u128::from(done.min(all)) * u128::from(whole) / u128::from(all.max(1))) as u64
}

/// `45 %, 120000 rows/s, 50 s left`: the time for the rows only, at the speed so far.
fn state(done: u64, all: u64, elapsed: Duration) -> String {
    let speed = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = all.saturating_sub(done) as f64 / speed.max(1.0);
    format!(
        "{} %, {speed:.0} rows/s, {left:.0} s left",
        share(done, all, 100)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_rest_at_the_speed_so_far() {
        let half = state(500, 1000, Duration::from_secs(5));
        assert_eq!(half, "50 %, 100 rows/s, 5 s left");
        let end = state(1000, 1000, Duration::from_secs(8));
        assert_eq!(end, "100 %, 125 rows/s, 0 s left");
    }
}
