//! The longest request after a node froze or died.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::Args;
use crate::bars::Bars;
use crate::nodes::Nodes;
use crate::store::{Store, bytes_of};

/// The longest of the requests in ten seconds after `event`.
async fn longest(store: &Store, event: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    event()?;
    let start = Instant::now();
    let mut longest = 0.0_f64;
    let mut turn = 0;
    while start.elapsed() < Duration::from_secs(10) {
        let began = Instant::now();
        let key = format!("fault-{}", rand::random::<u64>());
        let limit = Duration::from_secs(100);
        let both = async {
            store.put(0, key.clone(), bytes_of(10 * 1024)).await?;
            let put = began.elapsed();
            store.get(0, key).await?;
            anyhow::Ok(put.max(began.elapsed() - put))
        };
        match tokio::time::timeout(limit, both).await {
            Ok(took) => longest = longest.max(took?.as_secs_f64() * 1_000.0),
            Err(_) => return Ok(limit.as_secs_f64() * 1_000.0),
        }
        turn += 1;
    }
    ensure!(turn > 0, "nothing was done");
    Ok(longest)
}

pub(crate) fn shell(command: Option<&String>) -> anyhow::Result<()> {
    let command = command.context("the command for the brick")?;
    let done = Command::new("sh").arg("-c").arg(command).status()?;
    ensure!(done.success(), "`{command}` failed");
    Ok(())
}

pub(crate) async fn faults(
    args: &Args,
    nodes: &mut Nodes,
    gluster: Option<&Store>,
    bars: &mut Bars,
) -> anyhow::Result<()> {
    println!(
        "\n| longest PUT or GET of 10 KiB in the ten seconds after | quiz-storage | GlusterFS |"
    );
    println!("|---|---|---|");
    let ours = Store::of(vec![nodes.store(0)?]);
    let show = |longest: Option<anyhow::Result<f64>>| match longest {
        None => "-".to_owned(),
        Some(Ok(ms)) => format!("{ms:.0} ms"),
        Some(Err(error)) => format!("an error: {error}"),
    };
    let mine = longest(&ours, || nodes.signal(2, rustix::process::Signal::STOP)).await?;
    nodes.signal(2, rustix::process::Signal::CONT)?;
    bars.at_most("longest request after SIGSTOP, ms", 1_000.0, mine);
    let theirs = match gluster.filter(|_| args.brick.is_some()) {
        Some(gluster) => {
            let took = longest(gluster, || shell(args.brick_freeze.as_ref())).await;
            shell(args.brick_thaw.as_ref())?;
            Some(took)
        }
        None => None,
    };
    println!(
        "| one node is frozen (SIGSTOP) | {} | {} |",
        show(Some(Ok(mine))),
        show(theirs)
    );
    let mine = {
        nodes.kill(2)?;
        longest(&ours, || Ok(())).await?
    };
    bars.at_most("longest request after SIGKILL, ms", 1_000.0, mine);
    nodes.run(2)?;
    let theirs = match gluster.filter(|_| args.brick.is_some()) {
        Some(gluster) => {
            let took = longest(gluster, || shell(args.brick_stop.as_ref())).await;
            shell(args.brick_start.as_ref())?;
            Some(took)
        }
        None => None,
    };
    println!(
        "| one node is killed (SIGKILL) | {} | {} |",
        show(Some(Ok(mine))),
        show(theirs)
    );
    Ok(())
}
