//! Workers for a while, and what they saw.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::StreamExt as _;

/// One measurement.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) per_sec: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Runs `work` in so many workers for a while.
pub(crate) async fn measure<F>(
    workers: usize,
    time: Duration,
    most: usize,
    work: impl Fn(usize) -> F,
) -> anyhow::Result<Sample>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let start = Instant::now();
    let turn = AtomicUsize::new(0);
    let (turn, work) = (&turn, &work);
    let mut running: futures::stream::FuturesUnordered<_> = (0..workers)
        .map(|_| async move {
            let mut took = Vec::new();
            while start.elapsed() < time {
                let began = Instant::now();
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                if turn >= most {
                    break;
                }
                work(turn).await?;
                took.push(began.elapsed().as_secs_f64() * 1_000.0);
            }
            anyhow::Ok(took)
        })
        .collect();
    let mut all = Vec::new();
    while let Some(took) = running.next().await {
        all.extend(took?);
    }
    let elapsed = start.elapsed().as_secs_f64();
    all.sort_by(f64::total_cmp);
    ensure!(!all.is_empty(), "nothing was done");
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Ok(Sample {
        per_sec: all.len() as f64 / elapsed,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

pub(crate) fn median(samples: &[Sample], of: fn(&Sample) -> f64) -> (f64, f64, f64) {
    let mut values: Vec<_> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    (
        values[0],
        values[values.len() / 2],
        values[values.len() - 1],
    )
}
