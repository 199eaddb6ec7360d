//! Blobs that come in pieces, between their first piece and their last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

use crate::blobs::Staged;
use crate::version::BlobId;

/// Silence after which nobody is taken to send the rest: far beyond every deadline of a sender.
const SILENCE: Duration = Duration::from_secs(60);

/// What has been begun and not ended.
#[derive(Default)]
pub(super) struct Staging(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Only what nobody is writing at the moment is in here.
    begun: HashMap<BlobId, (Staged, Instant)>,
    /// A piece that was under way when its blob was given up, or comes only now, does not begin it again.
    given_up: HashMap<BlobId, Instant>,
}

impl Staging {
    /// Takes a blob out, to write to it.
    pub(super) fn take(&self, id: BlobId) -> Option<Staged> {
        let begun = &mut self.lock().begun;
        begun.remove(&id).map(|(staged, _)| staged)
    }

    /// Puts a blob back after a write to it. Gives back what is not to be kept: what is in its place, if there is such
    /// a thing, or the blob itself, if it was given up meanwhile.
    pub(super) fn put(&self, staged: Staged) -> Option<Staged> {
        let mut known = self.lock();
        if known.given_up.contains_key(&staged.id()) {
            return Some(staged);
        }
        let old = known.begun.insert(staged.id(), (staged, Instant::now()));
        old.map(|(staged, _)| staged)
    }

    /// Takes a blob out for good.
    pub(super) fn give_up(&self, id: BlobId) -> Option<Staged> {
        let mut known = self.lock();
        known.given_up.insert(id, Instant::now());
        known.begun.remove(&id).map(|(staged, _)| staged)
    }

    /// Takes out what nobody has written to for long.
    pub(super) fn abandoned(&self) -> Vec<Staged> {
        self.silent_for(SILENCE)
    }

    fn silent_for(&self, silence: Duration) -> Vec<Staged> {
        let mut known = self.lock();
        known.given_up.retain(|_, at| at.elapsed() < silence);
        let gone = known
            .begun
            .extract_if(|_, (_, touched)| touched.elapsed() >= silence);
        gone.map(|(_, (staged, _))| staged).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no panic while locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Blobs;

    #[test]
    fn what_is_written_to_is_kept_and_what_is_silent_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), false).unwrap();
        let staging = Staging::default();
        let id = BlobId::random();
        assert!(staging.put(blobs.stage(id, 4).unwrap()).is_none());
        assert!(staging.silent_for(SILENCE).is_empty());
        let mut staged = staging.take(id).unwrap();
        assert!(staging.take(id).is_none(), "one writer at a time");
        staged.append(b"more").unwrap();
        staging.put(staged);
        drop(staging.silent_for(Duration::ZERO));
        assert!(staging.take(id).is_none());
        let left = std::fs::read_dir(dir.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn what_was_given_up_while_it_was_written_to_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path(), false).unwrap();
        let staging = Staging::default();
        let id = BlobId::random();
        let staged = blobs.stage(id, 4).unwrap();
        assert!(staging.give_up(id).is_none());
        assert!(staging.put(staged).is_some());
        assert!(staging.take(id).is_none());
        staging.silent_for(Duration::ZERO);
        assert!(staging.put(blobs.stage(id, 4).unwrap()).is_none());
    }
}
