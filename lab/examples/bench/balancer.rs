//! The balancer beside `HAProxy`, nginx and a bare Pingora: `bench-lb.sh`, whose table is quoted.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use crate::Form;
use crate::report::{Bar, Section};

/// Nine contenders or so, at four points, and what it takes to start them.
const PATIENCE: Duration = Duration::from_secs(3600);

pub(crate) async fn measure(form: &Form) -> anyhow::Result<Section> {
    let about = "Four kinds of requests through one worker of each proxy, to the same backends: what `make bench-lb` prints.";
    let mut section = Section::new("balancer", "The balancer", about.to_owned());
    let bare = form.programs.join("examples/bare");
    let why_not = if form.smoke {
        Some("Not measured: it takes HAProxy, wrk and a minute.")
    } else if !rustix::process::geteuid().is_root() {
        Some("Not measured: its namespaces need root.")
    } else if !bare.exists() {
        Some("Not measured: the example `bare` of quiz-lb is not built.")
    } else {
        None
    };
    if let Some(why_not) = why_not {
        section.notes.push(why_not.to_owned());
        return Ok(section);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bench-lb.sh");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--", "bash"])
        .arg(script)
        .arg(form.programs.join("quiz-lb"))
        .arg(bare)
        .args([
            form.rounds.to_string(),
            form.time.as_secs().max(1).to_string(),
        ])
        .stderr(std::process::Stdio::inherit())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output
        .context("bench-lb.sh does not end")?
        .context("cannot run bench-lb.sh")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in text.lines() {
        let met = line.strip_prefix("met   ").map(|what| (what, true));
        let judged = met.or(line.strip_prefix("MISSED").map(|what| (what, false)));
        if let Some((what, met)) = judged {
            section.bars.push(Bar::judged(what.trim(), met));
        }
    }
    anyhow::ensure!(
        !section.bars.is_empty(),
        "bench-lb.sh ended with {}",
        output.status
    );
    section.quoted = Some(text);
    Ok(section)
}
