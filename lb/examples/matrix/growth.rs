//! Backends that come and go by a watched file, while visitors are there.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use hyper::Method;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Form,
    backend::Backend,
    balancer::Balancer,
    faults::run_twice,
    load::{Load, Sample, millis, percentile, reasons},
    space::Space,
};

const PAGE: Duration = Duration::from_millis(5);
/// How long a new backend may take to be found and ready, before its slow start.
const FOUND: Duration = Duration::from_secs(5);
/// A backend has its share when it has so many hundredths of it.
const NEARLY: f64 = 0.9;
/// Shares are looked at in pieces of this length.
const PIECE: Duration = Duration::from_secs(1);

/// A pool that changes under load.
struct Pool<'a> {
    form: &'a Form,
    space: &'a Space,
    folder: TempDir,
    backends: Vec<Backend>,
    /// Those that have left: their journals count.
    gone: Vec<Backend>,
    /// Who joined, when, and how many there were then.
    joined: Vec<(SocketAddr, Duration, usize)>,
}

impl<'a> Pool<'a> {
    async fn start(form: &'a Form, space: &'a Space) -> Result<Self> {
        let folder = space.folder()?;
        let mut pool = Self {
            form,
            space,
            folder,
            backends: Vec::new(),
            gone: Vec::new(),
            joined: Vec::new(),
        };
        for _ in 0..3 {
            pool.add().await?;
        }
        pool.list()?;
        Ok(pool)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("backends")
    }

    fn addrs(&self) -> Vec<SocketAddr> {
        self.backends.iter().map(|backend| backend.addr).collect()
    }

    async fn add(&mut self) -> Result<SocketAddr> {
        let (address, folder) = (self.space.address(), self.folder.path());
        let backend = Backend::start(address, folder, PAGE, self.form.linger).await?;
        self.backends.push(backend);
        Ok(self.backends[self.backends.len() - 1].addr)
    }

    /// Lists who is there now. Renamed, so that no half of the list is read.
    fn list(&self) -> Result<()> {
        let lines = self
            .addrs()
            .iter()
            .map(|addr| format!("{addr}\n"))
            .collect::<String>();
        let next: &Path = &self.folder.path().join("next");
        fs::write(next, lines)?;
        Ok(fs::rename(next, self.file())?)
    }

    async fn grow(&mut self, by: usize, load: &Load) -> Result<()> {
        let mut new = Vec::new();
        for _ in 0..by {
            new.push(self.add().await?);
        }
        self.list()?;
        let (now, all) = (load.began.elapsed(), self.backends.len());
        self.joined
            .extend(new.into_iter().map(|addr| (addr, now, all)));
        Ok(())
    }

    /// Ends the oldest, as an engine does: it is told to, and leaves the list when it has ended.
    async fn shrink(&mut self, by: usize) -> Result<()> {
        for backend in &self.backends[..by] {
            backend.signal(Signal::TERM)?;
        }
        let mut leaving: Vec<_> = self.backends.drain(..by).collect();
        for backend in &mut leaving {
            backend.ended().await?;
        }
        self.gone.extend(leaving);
        self.list()
    }

    /// How long it took until the last of the new ones had its share; nothing if one never had.
    fn slowest_share(&self, samples: &[Sample]) -> Option<Duration> {
        let shares = self
            .joined
            .iter()
            .map(|(addr, since, all)| has_share(samples, *addr, *since, *all));
        shares
            .max_by_key(|share| share.unwrap_or(Duration::MAX))
            .flatten()
    }
}

/// Prints the table; how many bars were missed.
pub(crate) async fn measure(form: &Form, space: &Space) -> Result<usize> {
    let wanted = ["scale 3, 6, 3", "rolling replacement"];
    if !wanted.iter().any(|name| form.wants("growth", name)) {
        return Ok(0);
    }
    println!(
        "\n{} requests/s while backends come and go by a watched file; slow start {} s.\n",
        form.rate,
        form.slow_start.as_secs(),
    );
    println!(
        "| change | method | requests | failed | run twice | p99 | longest | new ones have their share after |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut missed = 0;
    for name in wanted.into_iter().filter(|name| form.wants("growth", name)) {
        for method in [Method::GET, Method::POST] {
            missed += usize::from(!row(form, space, name, &method).await?);
        }
    }
    Ok(missed)
}

async fn row(form: &Form, space: &Space, name: &str, method: &Method) -> Result<bool> {
    let mut pool = Pool::start(form, space).await?;
    let list = format!("file:{}", pool.file().display());
    let balancer = Balancer::start(form, space.address(), &list, form.patient).await?;
    balancer.wait_for(&pool.addrs()).await?;
    let load = Load::start(balancer.addr, method, form.rate);
    load.until(PIECE).await;
    if name.starts_with("scale") {
        pool.grow(3, &load).await?;
        balancer.wait_for(&pool.addrs()).await?;
        settle(form, &load).await;
        pool.shrink(3).await?;
        balancer.wait_for(&pool.addrs()).await?;
    } else {
        for _ in 0..3 {
            pool.grow(1, &load).await?;
            balancer.wait_for(&pool.addrs()).await?;
            pool.shrink(1).await?;
            balancer.wait_for(&pool.addrs()).await?;
        }
        settle(form, &load).await;
    }
    load.until(load.began.elapsed() + PIECE).await;
    let samples = load.end().await?;
    pool.gone.append(&mut pool.backends);
    let twice = run_twice(&pool.gone)?;
    let failed = samples.iter().filter(|it| it.failed.is_some()).count();
    let slowest = pool.slowest_share(&samples);
    println!(
        "| {name} | {method} | {} | {failed} | {twice} | {} | {} | {} |",
        samples.len(),
        millis(percentile(&samples, 99)),
        millis(percentile(&samples, 100)),
        slowest.map_or("never".to_owned(), |time| format!(
            "{:.1} s",
            time.as_secs_f64()
        )),
    );
    if failed > 0 {
        eprintln!("  failed: {}", reasons(&samples));
    }
    let in_time = slowest.is_some_and(|time| time <= FOUND + form.slow_start);
    Ok(twice == 0 && failed == 0 && (in_time || !form.strict))
}

/// Lets the newest grow into its share, and be seen with it.
async fn settle(form: &Form, load: &Load) {
    load.until(load.began.elapsed() + form.slow_start + 2 * PIECE)
        .await;
}

/// How long after it was listed a backend answered nearly its share of what was asked within a piece of time.
fn has_share(
    samples: &[Sample],
    addr: SocketAddr,
    since: Duration,
    all: usize,
) -> Option<Duration> {
    let last = samples.iter().map(|it| it.due).max()?;
    let step = PIECE / 10;
    let ends = (0..).map(|n| since + PIECE + step * n);
    let mut ends = ends.take_while(|end| *end <= last);
    let enough = |end: &Duration| {
        let mut total = 0;
        let mut own = 0;
        for sample in samples {
            if sample.due < *end && sample.due >= *end - PIECE {
                total += 1;
                own += usize::from(sample.backend == Some(addr));
            }
        }
        own as f64 * all as f64 >= NEARLY * f64::from(total)
    };
    ends.find(enough).map(|end| end - since)
}
