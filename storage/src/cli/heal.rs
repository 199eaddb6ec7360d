//! `quiz-storage heal`: how far healing is.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use http::Method;
use tokio::time::sleep;

use super::ask::{SOON, ask, write};
use crate::config::AdminUrl;
use crate::human;
use crate::status::Status;

/// Pause between two looks, and between two lines when nobody watches.
const LOOK: Duration = Duration::from_millis(250);
const LINE: Duration = Duration::from_secs(5);
/// How long a node may stay down before there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of the bar.
const BAR: usize = 30;

/// Shows healing until all that had changed at the start is everywhere. Returns false when a node stays down.
pub(super) async fn watch(out: &mut impl Write, admin: &AdminUrl) -> anyhow::Result<bool> {
    let live = std::io::stdout().is_terminal();
    let begun = Instant::now();
    let (mut progress, mut shown, mut complete) = (Progress::default(), None::<Instant>, begun);
    loop {
        let status: Status = ask(admin, Method::GET, "/status", SOON).await?;
        progress.look(&status);
        let absent: Vec<_> = status.nodes.iter().filter(|it| !it.votes()).collect();
        if absent.is_empty() {
            complete = Instant::now();
        }
        let done = absent.is_empty() && progress.left() == 0;
        let stuck = complete.elapsed() > PATIENCE && absent.iter().any(|it| !it.up);
        let line = progress.line(begun.elapsed());
        if live {
            write(out, &format!("\r{line}\x1b[K"))?;
        } else if done || stuck || shown.is_none_or(|shown| shown.elapsed() > LINE) {
            write(out, &format!("{line}\n"))?;
            shown = Some(Instant::now());
        }
        if !done && !stuck {
            sleep(LOOK).await;
            continue;
        }
        if live {
            write(out, "\n")?;
        }
        if stuck {
            let down: Vec<_> = absent.iter().map(|it| it.node.to_string()).collect();
            let text = format!("node {} is down: the rest waits for it\n", down.join(", "));
            write(out, &text)?;
        }
        return Ok(done);
    }
}

/// What each node had changed when it was first seen, and how far each other is with that.
#[derive(Default)]
struct Progress {
    /// By source: the end of its changes.
    goals: BTreeMap<u8, u64>,
    /// By source and node: entries below the goal that are left, and the most that ever were.
    left: BTreeMap<(u8, u8), (u64, u64)>,
}

impl Progress {
    fn look(&mut self, status: &Status) {
        for about in status.nodes.iter().filter_map(|it| it.about.as_ref()) {
            let goal = *self.goals.entry(about.node).or_insert(about.feed_end);
            for (node, behind) in &about.behind {
                let pulled = about.pulled.get(node).copied().unwrap_or(0);
                // What is newer than the goal is above it, as far as there is so much.
                let newer = about.feed_end.saturating_sub(goal.max(pulled));
                let now = if pulled >= goal {
                    0
                } else {
                    behind.saturating_sub(newer).max(1)
                };
                let (left, most) = self.left.entry((about.node, *node)).or_default();
                *left = now;
                *most = now.max(*most);
            }
        }
    }

    fn left(&self) -> u64 {
        self.left.values().map(|(left, _)| left).sum()
    }

    fn line(&self, since: Duration) -> String {
        let (left, all) = (self.left(), self.left.values().map(|(_, most)| most).sum());
        let healed: u64 = u64::saturating_sub(all, left);
        if left == 0 {
            return format!(
                "nothing is left to heal ({} entries healed)",
                human::count(healed)
            );
        }
        let filled = (healed as usize * BAR) / (all as usize).max(1);
        let bar = format!("{}{}", "#".repeat(filled), "-".repeat(BAR - filled));
        let percent = healed * 100 / all.max(1);
        let rate = healed as f64 / since.as_secs_f64().max(0.001);
        let rest = if rate >= 1.0 {
            let rest = Duration::from_secs_f64((left as f64 / rate).max(1.0));
            format!("{rate:.0}/s, about {}", human::duration(rest))
        } else {
            "waiting".to_owned()
        };
        let left = human::count(left);
        format!("[{bar}] {percent:>3} %  {left} entries left  {rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::node;

    fn status(behind: u64, end: u64) -> Status {
        let mut first = node(1, [0, behind]);
        first.feed_end = end;
        first.pulled = BTreeMap::from([(2, end), (3, end - behind)]);
        Status::assemble(1, 3, vec![first, node(2, [0, 0]), node(3, [0, 0])])
    }

    #[test]
    fn what_is_written_while_healing_goes_on_is_not_waited_for() {
        let mut progress = Progress::default();
        progress.look(&status(1_000, 5_000));
        assert_eq!(progress.left(), 1_000);
        progress.look(&status(600, 5_100));
        assert_eq!(progress.left(), 500);
        let line = progress.line(Duration::from_secs(2));
        let bar = format!("[{}{}]", "#".repeat(15), "-".repeat(15));
        assert_eq!(
            line,
            format!("{bar}  50 %  500 entries left  250/s, about 2 s")
        );
        progress.look(&status(70, 5_100));
        assert_eq!(progress.left(), 0);
        let line = progress.line(Duration::from_secs(3));
        assert_eq!(line, "nothing is left to heal (1,000 entries healed)");
    }
}
