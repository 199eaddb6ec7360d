//! One of three backends ten times slower than the others: what `round_robin` and `least_load` make of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use hyper::Method;

use crate::{
    Form,
    backend::Backend,
    balancer::Balancer,
    load::{Load, Sample, millis, percentile},
    space::Space,
};

const PAGE: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(20);
/// The slow one may have less than this, in percent, and the others' visitors may wait so much longer.
const SHARE: f64 = 10.0;
const LONGER: f64 = 1.5;

/// Prints the table; how many bars were missed.
pub(crate) async fn measure(form: &Form, space: &Space) -> Result<usize> {
    if !form.wants("slow", "") {
        return Ok(0);
    }
    println!(
        "\n{} GET/s at 3 backends of {} ms for {} s, all alike or one of them ten times slower.\n",
        form.rate,
        PAGE.as_millis(),
        form.row.as_secs_f64(),
    );
    println!(
        "| algorithm | third backend | requests | failed | its share | p50 | p95 | p99 | longest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut missed = 0;
    for algorithm in ["round_robin", "least_load"] {
        let (healthy, _) = row(form, space, algorithm, PAGE).await?;
        let (slow, third) = row(form, space, algorithm, SLOW).await?;
        let failed = |samples: &[Sample]| samples.iter().any(|it| it.failed.is_some());
        missed += usize::from(failed(&healthy) || failed(&slow));
        if form.strict && algorithm == "least_load" {
            let most = percentile(&healthy, 99).mul_f64(LONGER);
            missed += usize::from(share(&slow, third) >= SHARE);
            missed += usize::from(percentile(&slow, 99) > most);
        }
    }
    Ok(missed)
}

/// The requests, and who was the third.
async fn row(
    form: &Form,
    space: &Space,
    algorithm: &str,
    page: Duration,
) -> Result<(Vec<Sample>, SocketAddr)> {
    let folder = space.folder()?;
    let start = |page| Backend::start(space.address(), folder.path(), page, form.linger);
    let backends = [start(PAGE).await?, start(PAGE).await?, start(page).await?];
    let addrs = backends.each_ref().map(|backend| backend.addr);
    let list = addrs.map(|addr| addr.to_string()).join(",");
    let flags = [&["--algorithm", algorithm], form.patient].concat();
    let balancer = Balancer::start(form, space.address(), &list, &flags).await?;
    balancer.wait_for(&addrs).await?;
    let load = Load::start(balancer.addr, &Method::GET, form.rate);
    load.until(form.row).await;
    let samples = load.end().await?;
    println!(
        "| `{algorithm}` | {} ms | {} | {} | {:.1} % | {} | {} | {} | {} |",
        page.as_millis(),
        samples.len(),
        samples.iter().filter(|it| it.failed.is_some()).count(),
        share(&samples, addrs[2]),
        millis(percentile(&samples, 50)),
        millis(percentile(&samples, 95)),
        millis(percentile(&samples, 99)),
        millis(percentile(&samples, 100)),
    );
    Ok((samples, addrs[2]))
}

/// In percent.
fn share(samples: &[Sample], addr: SocketAddr) -> f64 {
    let own = samples.iter().filter(|it| it.backend == Some(addr)).count();
    own as f64 * 100.0 / samples.len().max(1) as f64
}
