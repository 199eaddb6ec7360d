//! Memory for visitors who keep their connection and ask for nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use quiz_lab::supervise::Process;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::list;
use crate::load::Ask;
use crate::processes::Watched;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::Series;
use crate::site::{self, BALANCER, FRONT_END, Site};

/// What the bar is for.
const CONNECTIONS: usize = 10_000;
/// Descriptors of the balancer that no visitor gets.
const RESERVED: u64 = 200;
/// Connections from one address, which has some 28,000 ports.
const PER_ADDRESS: usize = 4000;
/// Requests at a time while the connections are made.
const AT_A_TIME: usize = 64;
/// How long one connection may take to be made and used once.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after the last request memory is looked at.
const REST: Duration = Duration::from_secs(2);
/// Of the connections, so many are used again at the end.
const TRIED: usize = 50;
const MB: f64 = 1e6;

/// Megabytes of one component.
#[derive(Default)]
struct Growth {
    rest: Series,
    held: Series,
}

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    // A visitor's connection and the one to a backend that the balancer keeps room for.
    let fit = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| {
            usize::try_from(files.saturating_sub(RESERVED) / 2).unwrap_or(usize::MAX)
        });
    let wanted = form.idle.min(fit);
    let mut growth = [Growth::default(), Growth::default()];
    let mut sums = Series::default();
    for round in 0..form.rounds.min(3) {
        let grown = one_round(site, wanted, &mut growth).await?;
        sums.push(grown * CONNECTIONS as f64 / wanted as f64);
        form.told("memory", round);
    }
    let mut section = Section::new(
        "memory",
        "Idle connections",
        format!(
            "Resident memory of the balancer and one front-end after a load of {} visitors, and again with {wanted} more connections that \
             have asked for the list page once and stay open. At the end {TRIED} of them are used again.",
            form.users
        ),
    );
    let mut table = Table::new(&["MB", "at rest", "with connections", "KB each"]);
    for (name, growth) in [BALANCER, FRONT_END].into_iter().zip(&growth) {
        let each = (growth.held.median() - growth.rest.median()) * 1000.0 / wanted as f64;
        let each = crate::rounds::number(each, 1);
        table.push([
            name.to_owned(),
            growth.rest.range(1),
            growth.held.range(1),
            each,
        ]);
    }
    section.tables.push(table);
    if wanted < form.idle {
        section.notes.push(format!(
            "{wanted} connections instead of {CONNECTIONS}, which take two descriptors each in the balancer; the bar is for the growth that \
             {CONNECTIONS} would have."
        ));
    }
    section.bars.push(Bar {
        what: format!("growth with {CONNECTIONS} idle connections"),
        measured: sums.median(),
        bound: Bound::AtMost(150.0),
        unit: " MB",
    });
    Ok(section)
}

/// By how many megabytes both have grown, each started anew.
async fn one_round(site: &Site, wanted: usize, growth: &mut [Growth; 2]) -> anyhow::Result<f64> {
    let form = &site.form;
    let database = site.small().await?;
    let front_end = site.front_end("memory", &database, &[]).await?;
    let settings = [
        ("LB_CACHE", "false"),
        ("LB_MAX_CONNECTIONS", "20000"),
        // What is left of the descriptors is for visitors.
        ("LB_UPSTREAM_POOL_SIZE", "64"),
        ("LB_CLIENT_KEEPALIVE_SECS", "3600"),
    ];
    let lb = site.balancer("lb-memory", [&front_end], &settings).await?;
    let watched = [
        Watched::of(BALANCER, [&lb]),
        Watched::of(FRONT_END, [&front_end]),
    ];
    Ask::for_page(site::url(&lb, list::PATH))
        .measure(form, &[])
        .await?;
    tokio::time::sleep(REST).await;
    let before = watched.each_ref().map(Watched::resident);
    let mut held = hold(&lb, wanted).await?;
    tokio::time::sleep(REST).await;
    let after = watched.each_ref().map(Watched::resident);
    let step = (held.len() / TRIED).max(1);
    for connection in held.iter_mut().step_by(step) {
        ask(connection)
            .await
            .context("a connection that was kept is of no use")?;
    }
    drop(held);
    site::end([lb]).await;
    site::end([front_end]).await;
    let mut grown = 0.0;
    for ((growth, before), after) in growth.iter_mut().zip(before).zip(after) {
        growth.rest.push(before as f64 / MB);
        growth.held.push(after as f64 / MB);
        grown += (after as f64 - before as f64) / MB;
    }
    Ok(grown)
}

async fn hold(lb: &Process, wanted: usize) -> anyhow::Result<Vec<TcpStream>> {
    let to = lb.spec().address;
    let opening = stream::iter(0..wanted).map(async |number| {
        let opened = async {
            let mut connection = open(number, to).await?;
            ask(&mut connection).await?;
            anyhow::Ok(connection)
        };
        let opened = tokio::time::timeout(PATIENCE, opened)
            .await
            .context("no answer in time")?;
        opened.with_context(|| format!("connection {number} of {wanted}"))
    });
    opening.buffer_unordered(AT_A_TIME).try_collect().await
}

/// From one of several addresses of this machine: one has not enough ports.
async fn open(number: usize, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let last =
        u8::try_from(2 + number / PER_ADDRESS).context("fewer connections than addresses allow")?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(Ipv4Addr::new(127, 0, 0, last)), 0).into())?;
    Ok(socket.connect(to).await?)
}

async fn ask(connection: &mut TcpStream) -> anyhow::Result<()> {
    let request = format!("GET {} HTTP/1.1\r\nHost: bench\r\n\r\n", list::PATH);
    connection.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    loop {
        ensure!(
            connection.read_buf(&mut reply).await? > 0,
            "the connection was closed"
        );
        if is_whole(&reply)? {
            return Ok(());
        }
    }
}

fn is_whole(reply: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(&reply[..end])?.to_ascii_lowercase();
    ensure!(
        head.starts_with("http/1.1 200 "),
        "the answer is {}",
        head.lines().next().unwrap_or_default()
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("a page has a length")?.trim().parse()?;
    Ok(reply.len() >= end + 4 + length)
}
