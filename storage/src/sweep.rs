//! Deletes blob files that no row of this node names any more: those of versions that were overwritten or deleted, and
//! of uploads that came to nothing.
//!
//! A file goes when it was found unused twice, a grace period apart, so that who reads the old version may finish, and
//! when another node has the change that made it unused: until then that change may be one that never took effect, and
//! this the best copy there is. A row in the making keeps its blobs ([`crate::blobs::pins`]); the grace period is no
//! part of that. A restart begins it anew, and a full disk makes it short.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use tokio::time::sleep;
use tracing::info;

use crate::error::Failure;
use crate::node::Node;
use crate::version::BlobId;

/// Looks this often in each grace period.
const LOOKS: u32 = 4;
/// Shortest and longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15 * 60));

/// Longest grace period while the disk is full: who reads an old version then may be cut off, so that others can write.
const HURRY: Duration = Duration::from_secs(60);
/// How soon it is noticed that the disk is full.
const NOTICE: Duration = Duration::from_secs(5);

/// Deletes what nothing has named for `grace`, for ever.
pub(crate) async fn sweep(node: Arc<Node>, grace: Duration) {
    let mut sweep = Sweep {
        node,
        grace,
        noted: HashMap::new(),
        looked_at: None,
    };
    let mut looked = Instant::now();
    loop {
        let pause = pause(sweep.grace());
        sleep(pause.min(NOTICE)).await;
        if looked.elapsed() >= pause {
            sweep.step().await.ok(); // logged there
            looked = Instant::now();
        }
    }
}

/// Between two looks.
fn pause(grace: Duration) -> Duration {
    (grace / LOOKS).clamp(PAUSE.0, PAUSE.1)
}

/// The grace period, and what is left of it on a full disk.
fn hurried(grace: Duration, full: bool) -> Duration {
    if full { grace.min(HURRY) } else { grace }
}

/// When a file was first found unused, and the last change of this node by then.
struct Noted {
    at: Instant,
    seq: u64,
}

struct Sweep {
    node: Arc<Node>,
    grace: Duration,
    noted: HashMap<BlobId, Noted>,
    /// What there was at the last look, if that found nothing.
    looked_at: Option<(u64, (u64, u64))>,
}

impl Sweep {
    fn grace(&self) -> Duration {
        hurried(self.grace, self.node.space().full)
    }

    async fn step(&mut self) -> Result<(), Failure> {
        if !self.node.votes() {
            // It may be about to name again what it has: that is what rebuilding does.
            self.noted.clear();
            self.looked_at = None;
            return Ok(());
        }
        let state = self.node.state_of_files();
        if self.looked_at == Some(state) {
            return Ok(());
        }
        let (watch, unused) = self.node.unused().await?;
        self.looked_at = unused.is_empty().then_some(state);
        self.noted.retain(|id, _| unused.contains(id));
        for id in unused {
            self.noted.entry(id).or_insert_with(|| Noted {
                at: Instant::now(),
                seq: state.0,
            });
        }
        let grace = self.grace();
        let due = |noted: &Noted| noted.at.elapsed() >= grace && self.node.is_known(noted.seq);
        let due = self.noted.iter().filter(|(_, noted)| due(noted));
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        if due.is_empty() {
            return Ok(());
        }
        let (files, bytes) = self.node.delete_unused(watch, due).await?;
        info!(files, bytes, "deleted {files} blobs that nothing names");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_makes_the_grace_period_short_and_the_looks_frequent() {
        let hour = Duration::from_secs(60 * 60);
        assert_eq!(hurried(hour, false), hour);
        assert_eq!(hurried(hour, true), HURRY);
        assert_eq!(
            hurried(Duration::from_secs(1), true),
            Duration::from_secs(1)
        );
        assert_eq!(pause(hour), Duration::from_secs(15 * 60));
        assert_eq!(pause(HURRY), Duration::from_secs(15));
        assert_eq!(pause(Duration::from_millis(1)), PAUSE.0);
    }
}
