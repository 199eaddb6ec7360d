//! Verifies every blob of this node against its checksums, from the disk, and replaces what is missing or damaged by a
//! peer's copy. One blob after the other, in the order of their objects' keys, at a limited rate.
//!
//! Where a run is, is in a small file beside the index, so that a node that is often restarted still gets through. That
//! file is a convenience: without it, the next run begins anew.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::error::Failure;
use crate::node::Node;
use crate::peer::now_millis;
use crate::sys::fs;
use crate::version::BlobRef;

const FILE: &str = "scrub.json";
/// Raised when the file's form changes; another one is not read.
const FORMAT: u32 = 1;
/// Rows read at one time.
const PAGE: usize = 256;
/// What opening a file costs, in bytes read: so that many small ones are not read faster than the disk likes.
const OPENING_BYTES: u64 = 4096;
/// How far reading may be ahead of the rate: sleeping for less takes longer than asked for.
const SLACK: Duration = Duration::from_millis(20);
/// Pause between two looks whether it is time.
const PAUSE: Duration = Duration::from_secs(60);
/// A run that could not repair all is repeated after this.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// How often the position is saved.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// One walk over all blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// Milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// 0 while it is under way.
    pub(crate) ended_ms: u64,
    /// Blobs and their bytes verified so far.
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    /// Blobs that were missing or damaged, and those of them that are intact now.
    pub(crate) found: u64,
    pub(crate) repaired: u64,
}

/// What there is to say about scrubbing on one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) running: Option<Run>,
    /// The last one that got to its end.
    pub(crate) last: Option<Run>,
    /// When the next is due, in milliseconds since 1970.
    pub(crate) next_ms: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    format: u32,
    /// The key of the last object that was verified.
    position: String,
    state: State,
}

/// The state that others ask for, and the button that starts a run.
#[derive(Debug)]
pub(crate) struct Scrub {
    path: PathBuf,
    state: Mutex<State>,
    asked: Mutex<bool>,
    wake: Notify,
}

impl Scrub {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE),
            state: Mutex::default(),
            asked: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state.lock().expect("no panic while locked").clone()
    }

    /// Has a run begin now, from the beginning, also when one is under way.
    pub(crate) fn start(&self) {
        *self.asked.lock().expect("no panic while locked") = true;
        let mut state = self.state.lock().expect("no panic while locked");
        // At once, so that whoever looks next sees a run.
        state.running = Some(Run {
            started_ms: now_millis(),
            ..Run::default()
        });
        drop(state);
        self.wake.notify_one();
    }

    fn asked(&self) -> bool {
        *self.asked.lock().expect("no panic while locked")
    }

    fn take_asked(&self) -> bool {
        std::mem::take(&mut *self.asked.lock().expect("no panic while locked"))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no panic while locked"))
    }

    fn count(&self, count: impl FnOnce(&mut Run)) {
        if !self.asked() {
            self.change(|state| state.running.as_mut().map(count));
        }
    }

    /// Where the last process was.
    fn load(&self) -> Option<Saved> {
        let text = fs::read(&self.path).ok()?;
        let saved: Saved = serde_json::from_slice(&text).ok()?;
        (saved.format == FORMAT).then_some(saved)
    }

    fn save(&self, position: &str) {
        let saved = Saved {
            format: FORMAT,
            position: position.to_owned(),
            state: self.state(),
        };
        let text = serde_json::to_vec(&saved).expect("a key is text, the rest numbers");
        let temporary = self.path.with_extension("json.tmp");
        let written = fs::write(&temporary, text);
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &self.path)) {
            warn!(%error, "cannot save where scrubbing is");
        }
    }
}

/// Scrubs this node every `every`, and whenever it is asked to, for ever.
pub(crate) async fn scrub(node: Arc<Node>, every: Duration, bytes_per_sec: u64) {
    let mut scrubber = Scrubber {
        position: String::new(),
        every: every.as_millis() as u64,
        pace: Pace::new(bytes_per_sec),
        saved: Instant::now(),
        node,
    };
    scrubber.resume();
    loop {
        let node = &scrubber.node;
        if !node.votes() {
            sleep(Duration::from_millis(100)).await; // what is missing is being fetched anyhow
            continue;
        }
        let state = node.scrub().state();
        if state.running.is_none() && now_millis() < state.next_ms {
            timeout(PAUSE, node.scrub().wake.notified()).await.ok();
            continue;
        }
        if let Err(failure) = scrubber.run().await {
            debug!("scrubbing goes on later: {}", failure.chain());
            sleep(Duration::from_secs(1)).await;
        }
    }
}

struct Scrubber {
    node: Arc<Node>,
    position: String,
    every: u64,
    pace: Pace,
    saved: Instant,
}

impl Scrubber {
    /// Goes on where the last process was. The first runs of the nodes are a third of the interval apart, and so are
    /// all others.
    fn resume(&mut self) {
        let scrub = self.node.scrub();
        match scrub.load() {
            Some(saved) => {
                self.position = saved.position;
                scrub.change(|state| *state = saved.state);
            }
            None => {
                let first = self.every / 3 * u64::from(self.node.id());
                scrub.change(|state| state.next_ms = now_millis().saturating_add(first));
                scrub.save("");
            }
        }
    }

    /// Begins a run or goes on with one, to its end.
    async fn run(&mut self) -> Result<(), Failure> {
        let fresh = self.node.scrub().change(|state| {
            let fresh = state.running.is_none();
            state.running.get_or_insert_with(|| Run {
                started_ms: now_millis(),
                ..Run::default()
            });
            fresh
        });
        if self.node.scrub().take_asked() || fresh {
            self.position.clear();
            self.node.scrub().save("");
            info!("scrubbing every blob");
        }
        loop {
            let page = self
                .node
                .versions_after(self.position.clone(), PAGE)
                .await?;
            if page.is_empty() {
                break;
            }
            for (key, version) in page {
                for blob in version.blobs() {
                    if self.node.scrub().asked() {
                        return Ok(()); // begins anew
                    }
                    self.look_at(&key, *blob).await?;
                }
                self.position = key;
                if self.saved.elapsed() > SAVE_EVERY {
                    self.save();
                }
            }
        }
        self.end();
        Ok(())
    }

    fn save(&mut self) {
        self.node.scrub().save(&self.position);
        self.saved = Instant::now();
    }

    fn end(&mut self) {
        let every = self.every;
        let run = self.node.scrub().change(|state| {
            let mut run = state.running.take().unwrap_or_default();
            run.ended_ms = now_millis();
            state.next_ms = run.started_ms.saturating_add(every);
            if run.repaired < run.found {
                let again = run.ended_ms + AGAIN.as_millis() as u64;
                state.next_ms = state.next_ms.min(again);
            }
            state.last = Some(run.clone());
            run
        });
        self.position.clear();
        self.save();
        let Run {
            blobs,
            found,
            repaired,
            ..
        } = run;
        info!(
            blobs,
            found,
            repaired,
            "scrubbed {blobs} blobs: {found} missing or damaged, {repaired} of them repaired"
        );
    }

    /// Verifies one blob, and repairs it if need be.
    async fn look_at(&mut self, key: &str, blob: BlobRef) -> Result<(), Failure> {
        let verified = self.verify(blob).await;
        let error = match verified {
            Ok(()) => {
                self.node.scrub().count(|run| run.blobs += 1);
                return Ok(());
            }
            Err(Failure::Read(error)) => error,
            Err(failure) => return Err(failure),
        };
        if !self.node.names(key, blob.id).await? {
            return Ok(()); // overwritten meanwhile, and its file may be deleted
        }
        warn!(key, blob = %blob.id, %error, "found a blob that is not intact");
        let repaired = self.node.repair(blob).await;
        if !repaired {
            warn!(key, blob = %blob.id, "no other node gives the blob now");
        }
        self.node.scrub().count(|run| {
            run.blobs += 1;
            run.found += 1;
            run.repaired += u64::from(repaired);
        });
        Ok(())
    }

    async fn verify(&mut self, blob: BlobRef) -> Result<(), Failure> {
        let mut check = self.node.check(blob).await?;
        self.pace.wait(OPENING_BYTES).await;
        loop {
            let (rest, bytes) = self.node.check_piece(check).await?;
            self.node.scrub().count(|run| run.bytes += bytes);
            match rest {
                Some(rest) => check = rest,
                None => return Ok(()),
            }
            self.pace.wait(bytes).await;
        }
    }
}

/// Keeps the mean below a rate; what was not used in the past is no credit.
struct Pace {
    bytes_per_sec: u64,
    next: Instant,
}

impl Pace {
    fn new(bytes_per_sec: u64) -> Self {
        Self {
            bytes_per_sec,
            next: Instant::now(),
        }
    }

    async fn wait(&mut self, bytes: u64) {
        let (now, next) = (Instant::now(), self.after(bytes, Instant::now()));
        if next > now + SLACK {
            sleep_until(next).await;
        }
    }

    /// When to go on after reading `bytes`.
    fn after(&mut self, bytes: u64, now: Instant) -> Instant {
        let took = Duration::from_secs_f64(bytes as f64 / self.bytes_per_sec as f64);
        self.next = self.next.max(now) + took;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_takes_the_time_that_the_rate_allows_and_a_rest_is_no_credit() {
        let start = Instant::now();
        let mut pace = Pace {
            bytes_per_sec: 1_000_000,
            next: start,
        };
        let mut now = start;
        for _ in 0..10 {
            now = pace.after(500_000, now);
        }
        assert_eq!(now - start, Duration::from_secs(5));
        let later = now + Duration::from_secs(60);
        let next = pace.after(1_000_000, later);
        assert_eq!(next - later, Duration::from_secs(1));
    }

    #[test]
    fn a_run_goes_on_where_the_last_process_was_and_a_damaged_file_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let scrub = Scrub::new(dir.path());
        assert!(scrub.load().is_none());
        scrub.start();
        scrub.count(|run| run.found = 3);
        scrub.save("images/7");
        let found = Scrub::new(dir.path()).load().unwrap();
        assert_eq!(found.position, "images/7");
        assert_eq!(found.state, scrub.state());
        std::fs::write(dir.path().join(FILE), "{\"format\":1").unwrap();
        assert!(scrub.load().is_none());
    }
}
