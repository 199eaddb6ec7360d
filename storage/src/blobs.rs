//! The bytes of objects: immutable files `blobs/ab/cd/<id>`, written once and checked whenever they are read.
//!
//! A file is data ‖ one CRC-64 per 64 KiB of data ‖ trailer (length, BLAKE3, magic). It is written under `tmp/`, synced,
//! renamed to its name, and the folder is synced: a name in `blobs/` is a whole blob. Everything here blocks.
//! Blobs that no version names any more stay until collection is built.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use tracing::error;

use crate::version::{BlobId, BlobRef};

#[cfg(test)]
mod tests;

/// Bytes covered by one checksum: what has to be read to check the smallest range.
const BLOCK: u64 = 64 * 1024;
const CRC_LEN: u64 = 8;
const MAGIC: [u8; 8] = *b"QSBLOB01";
/// Length, BLAKE3, magic.
const TRAILER_LEN: u64 = 8 + 32 + 8;
/// Freshly written blobs remembered as durable, so that accepting them costs no further sync.
const RECENT: usize = 10_000;

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("no such blob")]
    Missing,
    #[error("blob is damaged: {0}")]
    Damaged(&'static str),
    #[error("blob cannot be read")]
    Io(#[source] io::Error),
}

/// The blob folder of one node.
#[derive(Debug)]
pub(crate) struct Blobs {
    root: PathBuf,
    temporary: PathBuf,
    fsync: bool,
    /// Folders whose own names are known to be durable.
    folders: Mutex<HashSet<PathBuf>>,
    recent: Mutex<HashSet<BlobId>>,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Blobs {
    /// Opens the folder below `dir`, deletes what crashed writes left behind and counts the rest.
    pub(crate) fn open(dir: &Path, fsync: bool) -> io::Result<Self> {
        let blobs = Self {
            root: dir.join("blobs"),
            temporary: dir.join("tmp"),
            fsync,
            folders: Mutex::default(),
            recent: Mutex::default(),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        fs::create_dir_all(&blobs.root)?;
        fs::create_dir_all(&blobs.temporary)?;
        blobs.sync_folder(dir)?;
        for entry in fs::read_dir(&blobs.temporary)? {
            fs::remove_file(entry?.path())?;
        }
        blobs.tally(&blobs.root)?;
        Ok(blobs)
    }

    fn tally(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                self.tally(&entry.path())?;
            } else {
                self.count.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(about.len(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Files and their bytes on disk, superseded ones included.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (
            self.count.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Writes a blob. When this returns it survives a power cut. Writing it again is harmless: the same name always
    /// has the same bytes.
    ///
    /// An error means that it was not written (a full disk, for one). A failed sync aborts the process: after it the
    /// kernel may report success for bytes that are lost.
    pub(crate) fn put(&self, id: BlobId, data: &[u8]) -> io::Result<()> {
        let path = self.path(id);
        let folder = path
            .parent()
            .expect("a blob's path has two folders above it");
        self.make_folder(folder)?;
        let temporary = self
            .temporary
            .join(format!("{id}.{:016x}", rand::random::<u64>()));
        let written = self.write_file(&temporary, data);
        if written.is_err() {
            // Best effort: what stays is deleted at the next start.
            fs::remove_file(&temporary).ok();
        }
        let len = written?;
        let new = !path.exists();
        fs::rename(&temporary, &path)?;
        self.sync_folder(folder)?;
        if new {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
        }
        let mut recent = self.recent.lock().expect("no panic while locked");
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(id);
        Ok(())
    }

    fn write_file(&self, path: &Path, data: &[u8]) -> io::Result<u64> {
        let mut tail = Vec::new();
        for block in data.chunks(BLOCK as usize) {
            tail.extend(checksum(CrcAlgorithm::Crc64Nvme, block).to_le_bytes());
        }
        tail.extend((data.len() as u64).to_le_bytes());
        tail.extend(blake3::hash(data).as_bytes());
        tail.extend(MAGIC);
        let mut file = File::create_new(path)?;
        file.write_all(data)?;
        file.write_all(&tail)?;
        if self.fsync {
            file.sync_all().unwrap_or_else(|error| abort(path, &error));
        }
        Ok((data.len() + tail.len()) as u64)
    }

    /// Whether the blob is there for good. Accepting a version relies on it, so a name that may not be durable yet,
    /// from before a crash or from a write in progress, is made so.
    pub(crate) fn ensure_durable(&self, id: BlobId) -> io::Result<bool> {
        if self
            .recent
            .lock()
            .expect("no panic while locked")
            .remove(&id)
        {
            return Ok(true);
        }
        let path = self.path(id);
        if !path.try_exists()? {
            return Ok(false);
        }
        let folder = path
            .parent()
            .expect("a blob's path has two folders above it");
        self.make_folder(folder)?;
        self.sync_folder(folder)?;
        Ok(true)
    }

    /// Reads `range` of a blob's data, checking every block it touches, and the whole when all is read.
    pub(crate) fn read(&self, blob: &BlobRef, range: Range<u64>) -> Result<Bytes, ReadError> {
        let file = match File::open(self.path(blob.id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Missing);
            }
            Err(error) => return Err(ReadError::Io(error)),
        };
        let blocks = blob.len.div_ceil(BLOCK);
        let tail_len = blocks * CRC_LEN + TRAILER_LEN;
        if file.metadata().map_err(ReadError::Io)?.len() != blob.len + tail_len {
            return Err(ReadError::Damaged("wrong length"));
        }
        let mut tail = vec![0; tail_len as usize];
        file.read_exact_at(&mut tail, blob.len)
            .map_err(ReadError::Io)?;
        let (sums, trailer) = tail.split_at((blocks * CRC_LEN) as usize);
        if trailer != [&blob.len.to_le_bytes()[..], &blob.blake3, &MAGIC].concat() {
            return Err(ReadError::Damaged("trailer is not the expected one"));
        }
        let first = range.start / BLOCK;
        let last = range.end.div_ceil(BLOCK);
        let start = first * BLOCK;
        let mut data = vec![0; ((last * BLOCK).min(blob.len) - start) as usize];
        file.read_exact_at(&mut data, start)
            .map_err(ReadError::Io)?;
        let sums = sums.chunks(CRC_LEN as usize).skip(first as usize);
        for (block, sum) in data.chunks(BLOCK as usize).zip(sums) {
            if checksum(CrcAlgorithm::Crc64Nvme, block).to_le_bytes() != sum {
                return Err(ReadError::Damaged("a block fails its checksum"));
            }
        }
        let whole = data.len() as u64 == blob.len;
        if whole && *blake3::hash(&data).as_bytes() != blob.blake3 {
            return Err(ReadError::Damaged("content is not the expected one"));
        }
        let slice = (range.start - start) as usize..(range.end - start) as usize;
        Ok(Bytes::from(data).slice(slice))
    }

    fn path(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.root.join(&name[..2]).join(&name[2..4]).join(&name)
    }

    /// Creates a blob's two folders and makes their names durable. A folder that merely exists may have been made a
    /// moment ago by another write that has not synced it yet, so only the ones synced here count.
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if self
            .folders
            .lock()
            .expect("no panic while locked")
            .contains(folder)
        {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let above = folder.parent().expect("blobs/ab is above blobs/ab/cd");
        self.sync_folder(above)?;
        self.sync_folder(&self.root)?;
        self.folders
            .lock()
            .expect("no panic while locked")
            .insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.fsync {
            File::open(folder)?
                .sync_all()
                .unwrap_or_else(|error| abort(folder, &error));
        }
        Ok(())
    }
}

/// A failed sync cannot be repeated: the kernel has dropped the pages and a second try would report success. The
/// other nodes have the data; this one starts again from what its disk really holds.
fn abort(path: &Path, error: &io::Error) -> ! {
    error!(path = %path.display(), %error, "cannot sync to disk, aborting");
    std::process::abort()
}
