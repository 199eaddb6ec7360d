//! `quiz-storage scrub`.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::Method;
use tokio::time::sleep;

use super::ask::{SOON, ask, write};
use crate::config::AdminUrl;
use crate::human;
use crate::scrub;
use crate::status::{NodeStatus, Status};

/// Pause between two looks, and between two lines when nobody watches.
const LOOK: Duration = Duration::from_millis(250);
const LINE: Duration = Duration::from_secs(60);

/// Starts a scrub of the node that is asked. Returns whether all that was found is repaired.
pub(super) async fn start(
    out: &mut impl Write,
    admin: &AdminUrl,
    wait: bool,
) -> anyhow::Result<bool> {
    let begun: scrub::State = ask(admin, Method::POST, "/scrub", SOON).await?;
    let started = begun.running.map_or(0, |run| run.started_ms);
    if !wait {
        write(
            out,
            "scrubbing; `quiz-storage status` shows how far it is\n",
        )?;
        return Ok(true);
    }
    let live = std::io::stdout().is_terminal();
    let mut shown = Instant::now();
    loop {
        let about = own(admin).await?;
        if let Some(run) = about.scrub.last.filter(|run| run.started_ms >= started) {
            let end = if live { "\r\x1b[K" } else { "" };
            write(out, &format!("{end}{}\n", result(&run)))?;
            return Ok(run.found == run.repaired);
        }
        if let Some(run) = about.scrub.running {
            let (read, all) = (human::bytes(run.bytes), human::bytes(about.object_bytes));
            let line = format!("{read} of about {all}, {} not intact", run.found);
            if live {
                write(out, &format!("\r{line}\x1b[K"))?;
            } else if shown.elapsed() > LINE {
                write(out, &format!("{line}\n"))?;
                shown = Instant::now();
            }
        }
        sleep(LOOK).await;
    }
}

/// What the asked node says of itself.
async fn own(admin: &AdminUrl) -> anyhow::Result<NodeStatus> {
    let status: Status = ask(admin, Method::GET, "/status", SOON).await?;
    let asked = status.asked;
    let members = status.nodes.into_iter();
    let mut own = members
        .filter(|it| it.node == asked)
        .filter_map(|it| it.about);
    own.next().context("the node says nothing of itself")
}

fn result(run: &scrub::Run) -> String {
    let took = Duration::from_millis(run.ended_ms.saturating_sub(run.started_ms));
    format!(
        "{} blobs verified ({}) in {}: {} not intact, {} of them repaired",
        human::count(run.blobs),
        human::bytes(run.bytes),
        human::duration(took),
        run.found,
        run.repaired
    )
}
