//! Room on the disk for blobs: what is free beyond a reserve, which is for the index, for tombstones and for what a full
//! node has to remember.
//!
//! How much is free is asked for once a second ([`Space::look`]); what is written in between is subtracted, so that
//! asking for room costs nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

use crate::sys::fs;

/// With less room than this a disk counts as full, also when nobody asked for it: coordinators that know do not ask.
const SCANT: u64 = 1024 * 1024;

/// What blobs leave free of the disk: the larger of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) bytes: u64,
    pub(crate) percent: u64,
}

impl Reserve {
    fn of(self, total: u64) -> u64 {
        self.bytes.max(total / 100 * self.percent)
    }
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free: u64,
    pub(crate) total: u64,
    pub(crate) reserve: u64,
    /// Blobs are refused.
    pub(crate) full: bool,
}

/// The disk that blobs are on.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    reserve: Reserve,
    free: AtomicU64,
    total: AtomicU64,
    /// Bytes written since `free` was asked for.
    written: AtomicU64,
    /// The least that was refused and has found no room since; 0 when nothing was.
    short: AtomicU64,
}

impl Space {
    pub(super) fn open(dir: &Path, reserve: Reserve) -> io::Result<Self> {
        let space = Self {
            dir: dir.to_owned(),
            reserve,
            free: AtomicU64::new(0),
            total: AtomicU64::new(0),
            written: AtomicU64::new(0),
            short: AtomicU64::new(0),
        };
        space.look()?;
        Ok(space)
    }

    /// Asks the disk how much is free.
    pub(crate) fn look(&self) -> io::Result<()> {
        // First: what is written meanwhile may count twice, until the next look.
        self.written.store(0, Ordering::Relaxed);
        let (free, total) = fs::space(&self.dir)?;
        self.free.store(free, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        let short = self.short.load(Ordering::Relaxed);
        if short > 0 && self.room() >= short {
            self.short.store(0, Ordering::Relaxed);
            info!("there is room on the disk again: taking blobs");
        }
        Ok(())
    }

    /// Bytes of blobs that can be taken.
    pub(crate) fn room(&self) -> u64 {
        let free = self.free.load(Ordering::Relaxed);
        let taken = self.written.load(Ordering::Relaxed) + self.reserved();
        free.saturating_sub(taken)
    }

    fn reserved(&self) -> u64 {
        self.reserve.of(self.total.load(Ordering::Relaxed))
    }

    /// Whether a blob was refused and still would be.
    pub(crate) fn is_full(&self) -> bool {
        self.short.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn about(&self) -> Room {
        Room {
            free: self.free.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            reserve: self.reserved(),
            full: self.is_full() || self.room() < SCANT,
        }
    }

    /// Fails unless there is room for so many bytes.
    pub(super) fn expect(&self, bytes: u64) -> io::Result<()> {
        let room = self.room();
        if bytes <= room && room > 0 {
            return Ok(());
        }
        self.refuse(bytes);
        Err(io::Error::new(
            io::ErrorKind::StorageFull,
            "the disk has no room for it beyond the reserve",
        ))
    }

    /// Takes room for bytes that are about to be written.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        self.expect(bytes)?;
        self.written.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes note when the disk itself says that it is full.
    pub(super) fn noting<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.as_ref().is_err_and(is_full) {
            self.free.store(0, Ordering::Relaxed);
            self.refuse(1);
        }
        done
    }

    fn refuse(&self, bytes: u64) {
        let bytes = bytes.max(1);
        let less = |short| (short == 0 || bytes < short).then_some(bytes);
        let changed = self
            .short
            .try_update(Ordering::Relaxed, Ordering::Relaxed, less);
        if changed == Ok(0) {
            let (free, reserve) = (self.free.load(Ordering::Relaxed), self.reserved());
            warn!(
                free,
                reserve, "the disk is full: taking no blobs until there is room"
            );
        }
    }
}

/// Whether this says that a disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with 1000 bytes free beyond its reserve.
    fn space() -> (tempfile::TempDir, Space) {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::open(dir.path(), Reserve::default()).unwrap();
        let reserve = Reserve {
            bytes: 5_000,
            percent: 0,
        };
        let space = Space { reserve, ..space };
        space.free.store(6_000, Ordering::Relaxed);
        (dir, space)
    }

    #[test]
    fn what_is_written_is_subtracted_until_the_next_look() {
        let (_dir, space) = space();
        space.take(400).unwrap();
        assert_eq!(space.room(), 600);
        assert!(is_full(&space.take(601).unwrap_err()));
        space.take(600).unwrap();
        assert_eq!(space.room(), 0);
        assert!(space.expect(0).is_err(), "an empty blob is a file too");
        space.look().unwrap();
        assert!(space.room() > 0);
    }

    #[test]
    fn it_is_full_from_a_refusal_until_what_was_refused_fits() {
        let (_dir, space) = space();
        assert!(!space.is_full());
        space.expect(2_000).unwrap_err();
        assert!(space.is_full());
        space.take(1_000).unwrap();
        assert!(space.is_full(), "what still fits is taken");
        space.look().unwrap();
        assert!(!space.is_full());
    }

    #[test]
    fn a_disk_with_next_to_no_room_shows_as_full_though_nothing_was_refused() {
        let (_dir, space) = space();
        assert!(space.about().full && !space.is_full());
        space.free.store(5_000 + SCANT, Ordering::Relaxed);
        assert!(!space.about().full);
    }

    #[test]
    fn what_the_disk_itself_refuses_counts_as_full() {
        let (_dir, space) = space();
        let refused = space.noting::<()>(Err(io::Error::from_raw_os_error(28)));
        assert!(refused.is_err() && space.is_full() && space.room() == 0);
        space.look().unwrap();
        let other = space.noting::<()>(Err(io::ErrorKind::NotFound.into()));
        assert!(other.is_err() && !space.is_full());
    }

    #[test]
    fn the_reserve_is_the_larger_of_bytes_and_percent() {
        let reserve = Reserve {
            bytes: 500,
            percent: 2,
        };
        assert_eq!(
            [1_000, 100_000].map(|total| reserve.of(total)),
            [500, 2_000]
        );
    }
}
