//! One thing that goes wrong with one of three backends, and is repaired after a while.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Method;
use rustix::process::Signal;
use tokio::time;

use crate::{
    Form,
    backend::Backend,
    balancer::{Balancer, PATIENCE},
    load::{Load, Sample, millis, percentile, reasons},
    space::Space,
};

/// What a page takes that is no trouble.
const PAGE: Duration = Duration::from_millis(5);
/// A request that took longer was noticed.
const NOTICED: Duration = Duration::from_millis(100);
/// Of a row, in tenths: when the fault begins, and when it is repaired.
const BEGIN: u32 = 2;
const END: u32 = 7;

const ALL: [Fault; 9] = [
    Fault::None,
    Fault::Kill,
    Fault::Term,
    Fault::Freeze,
    Fault::Cut,
    Fault::Slow,
    Fault::ErrorsInTurn,
    Fault::ErrorsAtRandom,
    Fault::Flap,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Kill,
    Term,
    Freeze,
    Cut,
    Slow,
    ErrorsInTurn,
    ErrorsAtRandom,
    Flap,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Kill => "kill -9",
            Self::Term => "SIGTERM (drains)",
            Self::Freeze => "SIGSTOP",
            Self::Cut => "cable cut",
            Self::Slow => "slow to 2 s",
            Self::ErrorsInTurn => "every other answer is 500",
            Self::ErrorsAtRandom => "50 % are 500, at random",
            Self::Flap => "flapping (kill -9, restart)",
        }
    }

    async fn strike(self, backend: &mut Backend, space: &Space) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Kill | Self::Flap => backend.signal(Signal::KILL),
            Self::Term => backend.signal(Signal::TERM),
            Self::Freeze => backend.signal(Signal::STOP),
            Self::Cut => space.cut(backend.addr.ip()),
            Self::Slow => backend.tell("page_us 2000000").await,
            Self::ErrorsInTurn => backend.tell("fail_in_turn 1").await,
            Self::ErrorsAtRandom => backend.tell("fail_at_random 1").await,
        }
    }

    async fn repair(self, backend: &mut Backend, space: &Space) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::Kill | Self::Flap | Self::Term => backend.revive().await,
            Self::Freeze => backend.signal(Signal::CONT),
            Self::Cut => space.mend(),
            Self::Slow => backend.tell(&format!("page_us {}", PAGE.as_micros())).await,
            Self::ErrorsInTurn => backend.tell("fail_in_turn 0").await,
            Self::ErrorsAtRandom => backend.tell("fail_at_random 0").await,
        }
    }
}

/// Prints the table; how many bars were missed.
pub(crate) async fn measure(form: &Form, space: &Space) -> Result<usize> {
    let wanted: Vec<_> = ALL
        .iter()
        .filter(|fault| form.wants("faults", fault.name()))
        .collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    println!(
        "\n{} requests/s at 3 backends for {} s; one of them has the fault from second {} to {}.\n",
        form.rate,
        form.row.as_secs_f64(),
        (form.row * BEGIN / 10).as_secs_f64(),
        (form.row * END / 10).as_secs_f64(),
    );
    println!(
        "| fault | method | requests | failed | run twice | over 100 ms | p99 | longest | last one noticed after |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut missed = 0;
    for fault in wanted {
        if *fault == Fault::Cut && !space.cuts() {
            println!("| {} | skipped: no namespaces, or no nft |", fault.name());
            continue;
        }
        for method in [Method::GET, Method::POST] {
            let row = time::timeout(form.row + PATIENCE, row(form, space, *fault, &method));
            let what = || format!("{}, {method}", fault.name());
            let ok = row.await.with_context(what)?.with_context(what)?;
            missed += usize::from(!ok);
        }
    }
    Ok(missed)
}

async fn row(form: &Form, space: &Space, fault: Fault, method: &Method) -> Result<bool> {
    let folder = space.folder()?;
    let start = || Backend::start(space.address(), folder.path(), PAGE, form.linger);
    let mut backends = [start().await?, start().await?, start().await?];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let list = addrs.map(|addr| addr.to_string()).join(",");
    let balancer = Balancer::start(form, space.address(), &list, &[]).await?;
    balancer.wait_for(&addrs).await?;

    let load = Load::start(balancer.addr, method, form.rate);
    let begin = form.row * BEGIN / 10;
    load.until(begin).await;
    let sick = &mut backends[1];
    fault.strike(sick, space).await?;
    if fault == Fault::Flap {
        // Down for a twentieth of the row, up for another.
        for step in 1..(END - BEGIN) * 2 {
            load.until(begin + form.row * step / 20).await;
            match step % 2 {
                0 => fault.strike(sick, space).await?,
                _ => fault.repair(sick, space).await?,
            }
        }
    }
    load.until(form.row * END / 10).await;
    if fault != Fault::Flap {
        fault.repair(sick, space).await?;
    }
    load.until(form.row).await;
    let samples = load.end().await?;
    let twice = run_twice(&backends)?;
    print(fault, method, &samples, twice, begin);
    let failed = samples.iter().any(|sample| sample.failed.is_some());
    Ok(twice == 0 && (*method == Method::POST || !failed))
}

/// How many POSTs were told to backends more than once.
pub(crate) fn run_twice(backends: &[Backend]) -> Result<usize> {
    let mut ids = Vec::new();
    for backend in backends {
        ids.extend(backend.changes()?);
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    Ok(all - ids.len())
}

fn print(fault: Fault, method: &Method, samples: &[Sample], twice: usize, begin: Duration) {
    let failed = samples.iter().filter(|it| it.failed.is_some()).count();
    let late = |sample: &&Sample| sample.took > NOTICED;
    let noticed = samples
        .iter()
        .filter(|it| it.failed.is_some() || late(it))
        .map(|it| it.due + it.took);
    let last = noticed.max().map_or("-".to_owned(), |last| {
        format!("{:.1} s", last.as_secs_f64() - begin.as_secs_f64())
    });
    println!(
        "| {} | {method} | {} | {failed} | {twice} | {} | {} | {} | {last} |",
        fault.name(),
        samples.len(),
        samples.iter().filter(late).count(),
        millis(percentile(samples, 99)),
        millis(percentile(samples, 100)),
    );
    if failed > 0 {
        eprintln!("  failed: {}", reasons(samples));
    }
}
