//! Writes and reads of three sizes by one, eight and sixty-four clients.

use std::time::Duration;

use anyhow::ensure;

use crate::Args;
use crate::bars::Bars;
use crate::measure::{Sample, measure, median};
use crate::store::{Store, bytes_of, fill};

const SIZES: [(usize, &str); 3] = [
    (10 * 1024, "10 KiB"),
    (100 * 1024, "100 KiB"),
    (1024 * 1024, "1 MiB"),
];
/// Objects of this size are deleted when they have been measured, or the disk would be full. Smaller ones are not, as ext4
/// takes several times as long to create a file when many were deleted in the last minutes (`recently_deleted`): what is
/// measured would depend on how much was measured before.
const LARGE: usize = 1024 * 1024;
const CONCURRENCY: [usize; 3] = [1, 8, 64];
/// Bytes of the objects that are written for one measurement of reads, and the most objects. Each is read once, by a client
/// that did not write it, as a front-end reads most pictures: a second read would measure the client's own memory.
const READ_BYTES: usize = 64 * 1024 * 1024;
const READ_OBJECTS: usize = 500;

pub(crate) async fn throughput(
    args: &Args,
    stores: &[(&str, Store)],
    bars: &mut Bars,
) -> anyhow::Result<()> {
    println!("| work | at once | {} |", heads(stores));
    println!("|---|---|{}", "---|".repeat(stores.len() + 1));
    let time = Duration::from_secs(args.seconds);
    let mut unique = 0;
    for verb in ["PUT", "GET"] {
        for (size, name) in SIZES {
            for workers in CONCURRENCY {
                let what = format!("{verb} {name}, {workers} at once");
                if args.only.as_ref().is_some_and(|only| !what.contains(only)) {
                    continue;
                }
                let mut samples = vec![Vec::new(); stores.len()];
                for _ in 0..args.rounds {
                    for ((_, store), samples) in stores.iter().zip(&mut samples) {
                        unique += 1;
                        let prefix = format!("{verb}-{size}-{workers}-{unique}");
                        let name = |turn| format!("{prefix}-{turn}");
                        let sample = if verb == "PUT" {
                            let put = |turn| store.put(turn, name(turn), bytes_of(size));
                            measure(workers, time, usize::MAX, put).await?
                        } else {
                            let count = READ_OBJECTS.min(READ_BYTES / size);
                            fill(store, &prefix, count, size).await?;
                            let get = |turn| async move {
                                // By another node than the one that took it.
                                ensure!(store.get(turn + 1, name(turn)).await? == size, "short");
                                Ok(())
                            };
                            measure(workers, time, count, get).await?
                        };
                        samples.push(sample);
                        if size >= LARGE {
                            store.clear(&prefix).await?;
                        }
                    }
                }
                println!("| {verb} {name} | {workers} | {} |", cells(&samples));
                if stores.len() > 2 {
                    judge(bars, verb, name, workers, &samples);
                }
            }
        }
    }
    Ok(())
}

/// Compares with `GlusterFS` what there is a bar for.
fn judge(bars: &mut Bars, verb: &str, size: &str, workers: usize, samples: &[Vec<Sample>]) {
    let ratio = |of: fn(&Sample) -> f64| median(&samples[0], of).1 / median(&samples[1], of).1;
    match (verb, size, workers) {
        ("PUT", "100 KiB", 8) => {
            bars.at_least(
                "PUT 100 KiB, 8 at once, times GlusterFS",
                4.0,
                ratio(|s| s.per_sec),
            );
        }
        ("PUT", "10 KiB", 1) => {
            bars.at_most("PUT 10 KiB, p50 beside GlusterFS", 0.5, ratio(|s| s.p50_ms));
        }
        ("GET", "100 KiB", 8) => {
            bars.at_least(
                "GET 100 KiB, 8 at once, times GlusterFS",
                1.5,
                ratio(|s| s.per_sec),
            );
        }
        _ => {}
    }
}

fn heads(stores: &[(&str, Store)]) -> String {
    let names: Vec<_> = stores.iter().map(|(name, _)| *name).collect();
    format!("{} | {} / {}", names.join(" | "), names[0], names[1])
}

fn cells(samples: &[Vec<Sample>]) -> String {
    let mut cells: Vec<_> = samples
        .iter()
        .map(|samples| {
            let (least, rate, most) = median(samples, |sample| sample.per_sec);
            let (_, p50, _) = median(samples, |sample| sample.p50_ms);
            let (_, p99, _) = median(samples, |sample| sample.p99_ms);
            format!("{rate:.0}/s ({least:.0}-{most:.0}), p50 {p50:.1} p99 {p99:.0} ms")
        })
        .collect();
    // Of each round by itself, as its measurements are neighbours in time.
    let rounds = samples[0].iter().zip(&samples[1]);
    let mut ratios: Vec<_> = rounds
        .map(|(one, other)| one.per_sec / other.per_sec)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    let ratio = ratios[ratios.len() / 2];
    cells.push(format!("{ratio:.1}x ({least:.1}-{most:.1})"));
    cells.join(" | ")
}
