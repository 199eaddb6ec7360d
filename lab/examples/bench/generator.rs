//! The load tester beside wrk: what a request costs the one who asks. Everything else here is only as good as that.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::Form;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::Series;
use crate::site::{self, Site};

/// How much longer than the load itself a run may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// As in the measurements of the balancer.
const BYTES: usize = 5 * 1024;
/// Has the shell tell what a command used: user and system time in seconds, on the last line.
const TIMED: &str = "TIMEFORMAT='%U %S'; time \"$@\"";

/// One contender in all rounds.
struct Contender {
    name: &'static str,
    arguments: Vec<String>,
    requests: fn(&str) -> Option<u64>,
    rate: Series,
    cpu_us: Series,
    per_core: Series,
}

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let mut section = Section::new(
        "generator",
        "The load tester",
        format!(
            "{} connections to one nginx that serves {BYTES} bytes from memory, each asking again as soon as it is answered, from \
             one thread. Requests per core are those of a second of the asking program's own processor time, so that it does not \
             matter who of the two waits for the other.",
            form.users
        ),
    );
    let folder = site.files("generator")?;
    std::fs::write(folder.join("page"), vec![b'x'; BYTES])?;
    let Some(nginx) = site.nginx("nginx-generator", &folder).await? else {
        section
            .notes
            .push("nginx is not installed: nothing to ask.".to_owned());
        return Ok(section);
    };
    let mut contenders = contenders(form, &site::url(&nginx, "/page"));
    let has_wrk = Command::new("wrk").arg("-v").output().await.is_ok();
    if !has_wrk {
        contenders.retain(|contender| contender.name != "wrk");
        section
            .notes
            .push("wrk is not installed: no peer.".to_owned());
    }
    for round in 0..form.rounds {
        for contender in &mut contenders {
            contender.ask(form).await?;
        }
        form.told("generator", round);
    }
    site::end([nginx]).await;

    let mut table = Table::new(&[
        "",
        "requests/s",
        "CPU µs",
        "requests per core-second",
        "ratio",
    ]);
    for contender in &contenders {
        table.push([
            contender.name.to_owned(),
            contender.rate.range(0),
            contender.cpu_us.range(2),
            contender.per_core.range(0),
            contender.per_core.over(&contenders[0].per_core).range(2),
        ]);
    }
    section.tables.push(table);
    if let [wrk, ours] = contenders.as_slice() {
        section.bars.push(Bar::ratio(
            "requests per core of the load tester to those of wrk",
            &ours.per_core.over(&wrk.per_core),
            Bound::AtLeast(0.9),
        ));
    }
    Ok(section)
}

fn contenders(form: &Form, url: &str) -> Vec<Contender> {
    let users = form.users.to_string();
    // wrk knows whole seconds only.
    let secs = format!("{}s", form.time.as_secs().max(1));
    let ours = form.programs.join("quiz-loadtest").display().to_string();
    vec![
        Contender::new(
            "wrk",
            &["wrk", "-t", "1", "-c", &users, "-d", &secs, url],
            |text| {
                let line = text.lines().find(|line| line.contains(" requests in "))?;
                line.split_whitespace().next()?.parse().ok()
            },
        ),
        Contender::new(
            "quiz-loadtest",
            &[
                &ours,
                "run",
                url,
                "--closed",
                "--threads",
                "1",
                "--users",
                &users,
                "--duration",
                &secs,
                "--warm-up",
                "0s",
                "--format",
                "json",
            ],
            |text| {
                let report: Value = serde_json::from_str(text).ok()?;
                report["requests"]["succeeded"].as_u64()
            },
        ),
    ]
}

impl Contender {
    fn new(name: &'static str, arguments: &[&str], requests: fn(&str) -> Option<u64>) -> Self {
        Self {
            name,
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            requests,
            rate: Series::default(),
            cpu_us: Series::default(),
            per_core: Series::default(),
        }
    }

    async fn ask(&mut self, form: &Form) -> anyhow::Result<()> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "bash", "-c", TIMED, "bash"])
            .args(&self.arguments)
            // In other places the point is a comma.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(form.time + PATIENCE, command.output());
        let output = output
            .await
            .with_context(|| format!("{} does not end", self.name))?
            .with_context(|| format!("cannot run {}", self.name))?;
        let (said, told) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let used = told.trim().lines().last().and_then(|line| {
            let (user, system) = line.split_once(' ')?;
            Some(user.parse::<f64>().ok()? + system.parse::<f64>().ok()?)
        });
        let (Some(requests), Some(used)) = ((self.requests)(&said), used) else {
            bail!("{} tells no figures: {said}{told}", self.name);
        };
        // As whole as wrk knows them.
        let secs = form.time.as_secs().max(1) as f64;
        self.rate.push(requests as f64 / secs);
        self.cpu_us.push(used * 1e6 / requests.max(1) as f64);
        self.per_core
            .push(requests as f64 / used.max(f64::MIN_POSITIVE));
        Ok(())
    }
}
