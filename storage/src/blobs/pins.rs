//! Which blob files must stay although no row names them: those that a row is about to name.
//!
//! Whoever is going to name a blob pins it before looking whether it is here, until its row is durable. Whoever deletes
//! files opens a [`Watch`] before reading the rows, and deletes nothing that was pinned at any time since: a row that
//! names it may have been written after the rows were read.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};

use super::Blobs;
use crate::sys::fs;
use crate::version::BlobId;

#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pinned: HashMap<BlobId, usize>,
    /// Everything pinned since the watch began; `None` without one.
    touched: Option<HashSet<BlobId>>,
}

/// Keeps blobs from being deleted until it is dropped.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    ids: Vec<BlobId>,
}

impl Pins {
    pub(super) fn pin(self: &Arc<Self>, ids: Vec<BlobId>) -> Pin {
        let mut state = self.0.lock().expect("no panic while locked");
        for id in &ids {
            *state.pinned.entry(*id).or_default() += 1;
        }
        if let Some(touched) = &mut state.touched {
            touched.extend(&ids);
        }
        Pin {
            pins: Arc::clone(self),
            ids,
        }
    }

    fn watch(&self) {
        let mut state = self.0.lock().expect("no panic while locked");
        state.touched = Some(state.pinned.keys().copied().collect());
    }

    /// Runs `work` unless the blob was pinned since the watch began; nobody can pin it meanwhile.
    fn unless_pinned<T>(&self, id: BlobId, work: impl FnOnce() -> T) -> Option<T> {
        let state = self.0.lock().expect("no panic while locked");
        let touched = state.touched.as_ref()?;
        (!touched.contains(&id)).then(work)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.pins.0.lock().expect("no panic while locked");
        for id in &self.ids {
            if let Some(count) = state.pinned.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    state.pinned.remove(id);
                }
            }
        }
    }
}

/// Deletes blobs that were not pinned since it was made. There is one at a time.
#[derive(Debug)]
pub(crate) struct Watch(Arc<Blobs>);

impl Watch {
    pub(crate) fn new(blobs: Arc<Blobs>) -> Self {
        blobs.pins.watch();
        Self(blobs)
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0
    }

    /// Deletes a blob that no row names, unless one may by now. Returns its bytes on disk. Blocks.
    pub(crate) fn delete(&self, id: BlobId) -> io::Result<Option<u64>> {
        let blobs = &self.0;
        // To rename is quick, also for a large file, and whoever wants the blob from now on sees that it is gone.
        let aside = blobs.temporary.join(format!("{id}.unused"));
        let renamed = blobs.pins.unless_pinned(id, || {
            blobs.forget(id);
            fs::rename(blobs.path(id), &aside)
        });
        match renamed {
            None => return Ok(None),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Some(renamed) => renamed?,
        }
        let len = fs::metadata(&aside)?.len();
        fs::remove_file(&aside)?;
        blobs.uncount(len);
        Ok(Some(len))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.0.pins.0.lock().expect("no panic while locked");
        state.touched = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (tempfile::TempDir, Arc<Blobs>, BlobId) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Arc::new(Blobs::open(dir.path(), false).unwrap());
        let id = BlobId::random();
        blobs.put(id, b"bytes").unwrap();
        (dir, blobs, id)
    }

    #[test]
    fn what_was_pinned_since_the_watch_began_is_not_deleted() {
        let (_dir, blobs, id) = blobs();
        let before = blobs.pin(vec![id]);
        let watch = Watch::new(Arc::clone(&blobs));
        drop(before); // its row may be younger than what the watcher has read
        assert_eq!(watch.delete(id).unwrap(), None);
        drop(watch);
        let watch = Watch::new(Arc::clone(&blobs));
        drop(blobs.pin(vec![id]));
        assert_eq!(watch.delete(id).unwrap(), None);
        assert!(blobs.ensure_durable(id).unwrap());
    }

    #[test]
    fn a_deleted_blob_is_gone_for_whoever_pins_it_next() {
        let (dir, blobs, id) = blobs();
        let usage = blobs.usage();
        let watch = Watch::new(Arc::clone(&blobs));
        assert_eq!(watch.delete(id).unwrap(), Some(usage.1));
        assert_eq!(watch.delete(id).unwrap(), None);
        let _pin = blobs.pin(vec![id]);
        assert!(!blobs.ensure_durable(id).unwrap());
        assert_eq!(blobs.usage(), (0, 0));
        let left = std::fs::read_dir(dir.path().join("tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }
}
