//! A blob being written: its file below `tmp/`, and the checksums that are known so far.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest};

use super::space::Space;
use super::{BLOCK, MAGIC, abort};
use crate::failpoint;
use crate::sys::fs::{self, File};
use crate::version::{BlobId, BlobRef};

/// Bytes after which what is written so far is synced, while more is still coming: so that the last sync, which
/// everybody waits for, is short.
const FLUSH_EVERY: u64 = 16 * 1024 * 1024;

/// A blob being written. Dropped before it has its name, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Staged {
    id: BlobId,
    file: File,
    path: PathBuf,
    space: Arc<Space>,
    named: bool,
    len: u64,
    unsynced: u64,
    hash: blake3::Hasher,
    block: Digest,
    sums: Vec<u8>,
}

impl Staged {
    pub(super) fn create(id: BlobId, path: PathBuf, space: Arc<Space>) -> io::Result<Self> {
        Ok(Self {
            id,
            file: File::create_new(&path)?,
            path,
            space,
            named: false,
            len: 0,
            unsynced: 0,
            hash: blake3::Hasher::new(),
            block: Digest::new(CrcAlgorithm::Crc64Nvme),
            sums: Vec::new(),
        })
    }

    pub(crate) fn id(&self) -> BlobId {
        self.id
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds to the end, if there is room.
    pub(crate) fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.space.take(data.len() as u64)?;
        self.space.noting(self.file.write_all(data))?;
        self.hash.update(data);
        let mut rest = data;
        while !rest.is_empty() {
            let room = BLOCK - self.len % BLOCK;
            let (part, next) = rest.split_at(rest.len().min(room as usize));
            self.block.update(part);
            self.len += part.len() as u64;
            if self.len.is_multiple_of(BLOCK) {
                self.end_block();
            }
            rest = next;
        }
        self.unsynced += data.len() as u64;
        Ok(())
    }

    /// What to sync by now, if it is enough to be worth it.
    pub(crate) fn flush(&mut self) -> Option<Flush> {
        if self.unsynced < FLUSH_EVERY {
            return None;
        }
        self.unsynced = 0;
        // Without another handle the last sync only takes longer.
        let file = self.file.try_clone().ok()?;
        Some(Flush(file, self.path.clone()))
    }

    fn end_block(&mut self) {
        self.sums.extend(self.block.finalize().to_le_bytes());
        self.block = Digest::new(CrcAlgorithm::Crc64Nvme);
    }

    /// Whether the bytes so far are those of `blob`.
    pub(super) fn is(&self, blob: &BlobRef) -> bool {
        self.id == blob.id
            && self.len == blob.len
            && *self.hash.finalize().as_bytes() == blob.blake3
    }

    /// Writes the checksums and syncs. Returns the length of the file.
    pub(super) fn end(&mut self, fsync: bool) -> io::Result<u64> {
        if !self.len.is_multiple_of(BLOCK) {
            self.end_block();
        }
        let hash = self.hash.finalize();
        let mut tail = std::mem::take(&mut self.sums);
        tail.extend(trailer(self.len, hash.as_bytes()));
        self.file.write_all(&tail)?;
        failpoint::pass("blob-written");
        if fsync {
            let synced = self.file.sync_all();
            synced.unwrap_or_else(|error| abort(&self.path, &error));
        }
        Ok(self.len + tail.len() as u64)
    }

    pub(super) fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.named {
            // Best effort: what stays is deleted at the next start.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Bytes that are still to reach the disk.
#[derive(Debug)]
pub(crate) struct Flush(File, PathBuf);

impl Flush {
    pub(crate) fn run(&self) {
        let synced = self.0.sync_data();
        synced.unwrap_or_else(|error| abort(&self.1, &error));
    }
}

/// The last bytes of a blob's file.
pub(super) fn trailer(len: u64, hash: &[u8; 32]) -> Vec<u8> {
    [&len.to_le_bytes()[..], hash, &MAGIC].concat()
}

#[cfg(test)]
mod tests {
    use super::super::space::{Reserve, is_full};
    use super::*;

    #[test]
    fn a_disk_that_is_full_in_the_middle_of_a_write_refuses_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("half");
        let space = Arc::new(Space::open(dir.path(), Reserve::default()).unwrap());
        let mut staged =
            Staged::create(BlobId::random(), path.clone(), Arc::clone(&space)).unwrap();
        staged.append(b"fits").unwrap();
        staged.file = File::options().write(true).open("/dev/full").unwrap();
        assert!(is_full(&staged.append(b"does not").unwrap_err()));
        assert!(space.is_full() && path.exists());
        drop(staged);
        assert!(!path.exists());
    }
}
