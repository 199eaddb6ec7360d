//! How long a node takes to have again all that it missed.

use std::time::{Duration, Instant};

use crate::Args;
use crate::bars::Bars;
use crate::faults::shell;
use crate::nodes::{Nodes, until};
use crate::store::{Store, bytes_of, delete, fill};

/// Longest wait for `GlusterFS`. That it takes longer is a result as well.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// One node is down while much changes: how long until it has everything again?
pub(crate) async fn healing(
    args: &Args,
    nodes: &mut Nodes,
    gluster: Option<&Store>,
    bars: &mut Bars,
) -> anyhow::Result<()> {
    let deleted = args.heal / 10;
    println!(
        "\n| healing after {} new and {deleted} deleted objects of 10 KiB | seconds | objects/s |",
        args.heal
    );
    println!("|---|---|---|");
    let row = |name: &str, took: Duration| {
        let seconds = took.as_secs_f64();
        let rate = (args.heal + deleted) as f64 / seconds;
        println!("| {name} | {seconds:.1} | {rate:.0} |");
    };
    let ours = Store::of(vec![nodes.store(0)?, nodes.store(1)?]);
    for i in 0..deleted {
        ours.put(i, format!("old-{i}"), bytes_of(10 * 1024)).await?;
    }
    let left = "storage_entries_to_heal{node=\"3\"} ";
    let settled = async |nodes: &Nodes| -> anyhow::Result<bool> {
        Ok(nodes.metric(0, left).await? == 0 && nodes.metric(1, left).await? == 0)
    };
    until(Duration::from_secs(60), async || settled(nodes).await).await?;
    nodes.kill(2)?;
    fill(&ours, "heal", args.heal, 10 * 1024).await?;
    delete(&ours, (0..deleted).map(|i| format!("old-{i}"))).await?;
    nodes.run(2)?;
    let start = Instant::now();
    until(Duration::from_secs(600), async || settled(nodes).await).await?;
    let mine = start.elapsed();
    row("quiz-storage", mine);
    let (Some(gluster), Some(brick)) = (gluster, &args.brick) else {
        return Ok(());
    };
    for i in 0..deleted {
        gluster
            .put(i, format!("old-{i}"), bytes_of(10 * 1024))
            .await?;
    }
    shell(args.brick_stop.as_ref())?;
    fill(gluster, "heal", args.heal, 10 * 1024).await?;
    delete(gluster, (0..deleted).map(|i| format!("old-{i}"))).await?;
    shell(args.brick_start.as_ref())?;
    let start = Instant::now();
    let complete = async || {
        let held = |prefix: &str| -> anyhow::Result<usize> {
            let mut count = 0;
            for entry in std::fs::read_dir(brick)? {
                let entry = entry?;
                let ours = entry.file_name().to_string_lossy().starts_with(prefix);
                count += usize::from(ours && entry.metadata()?.len() == 10 * 1024);
            }
            Ok(count)
        };
        Ok(held("heal-")? == args.heal && held("old-")? == 0)
    };
    let healed = until(PATIENCE, complete).await.is_ok();
    let theirs = start.elapsed();
    row(
        if healed {
            "GlusterFS"
        } else {
            "GlusterFS, not done by then"
        },
        theirs,
    );
    let ratio = theirs.as_secs_f64() / mine.as_secs_f64();
    bars.at_least("healing, times GlusterFS", 10.0, ratio);
    Ok(())
}
