//! The bytes of objects: immutable files `blobs/ab/<id>`, written once and checked whenever they are read.
//!
//! A file is data ‖ one CRC-64 per 64 KiB of data ‖ trailer (length, BLAKE3, magic). It is written under `tmp/`, synced,
//! renamed to its name, and the folder is synced: a name in `blobs/` is a whole blob. It is written and read in pieces
//! ([`staged`]), so that no blob need fit in memory. Everything here blocks.
//! There are 256 folders, made at the start: to make one for a blob takes two more syncs. Ten million blobs are 40,000 in
//! each.
//!
//! Blobs that no version names any more are deleted after a while ([`mod@crate::sweep`]).

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use tracing::{error, info};

use crate::failpoint;
use crate::sys;
use crate::sys::fs::{self, File};
use crate::version::{BlobId, BlobRef};

pub(crate) mod check;
pub(crate) mod pins;
pub(crate) mod space;
mod staged;
#[cfg(test)]
mod tests;

use pins::{Pin, Pins};
use space::{Reserve, Space};
pub(crate) use staged::Staged;

/// Bytes covered by one checksum: what has to be read to check the smallest range.
const BLOCK: u64 = 64 * 1024;
const CRC_LEN: u64 = 8;
/// Blocks in memory while a whole blob is checked: 1 MiB.
const PIECE_BLOCKS: u64 = 16;
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
    space: Arc<Space>,
    recent: Mutex<HashSet<BlobId>>,
    pins: Arc<Pins>,
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Blobs {
    /// Opens the folder below `dir`, deletes what crashed writes left behind and counts the rest.
    pub(crate) fn open(dir: &Path, fsync: bool) -> io::Result<Self> {
        Self::open_with(dir, fsync, Reserve::default())
    }

    /// The same, and refuses blobs that would take from the `reserve` of the disk.
    pub(crate) fn open_with(dir: &Path, fsync: bool, reserve: Reserve) -> io::Result<Self> {
        let root = dir.join("blobs");
        fs::create_dir_all(&root)?;
        let blobs = Self {
            space: Arc::new(Space::open(&root, reserve)?),
            root,
            temporary: dir.join("tmp"),
            fsync,
            recent: Mutex::default(),
            pins: Arc::default(),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        fs::create_dir_all(&blobs.temporary)?;
        blobs.sync_folder(dir)?;
        for entry in fs::read_dir(&blobs.temporary)? {
            fs::remove_file(entry?.path())?;
        }
        let mut moved = 0;
        for first in 0..=u8::MAX {
            moved += blobs.open_folder(&blobs.root.join(hex::encode([first])))?;
            if moved > 0 && first % 32 == 31 {
                info!("moved {moved} blobs up, {first} of 255 folders done");
            }
        }
        blobs.sync_folder(&blobs.root)?;
        Ok(blobs)
    }

    /// Creates a folder of blobs, or counts those in it. Until format 4 there was one more level below it: moves what is
    /// there up, and returns how many that were.
    fn open_folder(&self, folder: &Path) -> io::Result<u64> {
        fs::create_dir_all(folder)?;
        let mut below = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                below.push(entry.path());
            } else {
                self.tally(about.len());
            }
        }
        if below.is_empty() {
            return Ok(0);
        }
        let mut moved = 0;
        for below in &below {
            for entry in fs::read_dir(below)? {
                let entry = entry?;
                self.tally(entry.metadata()?.len());
                fs::rename(entry.path(), folder.join(entry.file_name()))?;
                moved += 1;
            }
        }
        self.sync_folder(folder)?;
        below.iter().try_for_each(fs::remove_dir)?;
        Ok(moved)
    }

    fn tally(&self, len: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(len, Ordering::Relaxed);
    }

    /// Files and their bytes on disk, superseded ones included.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (
            self.count.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }

    /// Room on the disk that the files are on.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Writes a blob. When this returns it survives a power cut. Writing it again is harmless: the same name always
    /// has the same bytes.
    ///
    /// An error means that it was not written (a full disk, for one). A failed sync aborts the process: after it the
    /// kernel may report success for bytes that are lost.
    pub(crate) fn put(&self, id: BlobId, data: &[u8]) -> io::Result<()> {
        let mut staged = self.stage(id, data.len() as u64)?;
        staged.append(data)?;
        self.name(staged)
    }

    /// Begins a blob that comes in pieces, if there is room for `expected` bytes.
    pub(crate) fn stage(&self, id: BlobId, expected: u64) -> io::Result<Staged> {
        self.space.expect(expected)?;
        let name = format!("{id}.{:016x}", sys::random::<u64>());
        let space = Arc::clone(&self.space);
        let staged = Staged::create(id, self.temporary.join(name), space);
        self.space.noting(staged)
    }

    /// Ends a blob that came in pieces, as [`Blobs::put`] does. An error means that it was not written: its bytes are
    /// not those of `blob`, for one.
    pub(crate) fn finish(&self, staged: Staged, blob: &BlobRef) -> io::Result<()> {
        if !staged.is(blob) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the bytes are not those that were announced",
            ));
        }
        self.name(staged)
    }

    fn name(&self, staged: Staged) -> io::Result<()> {
        self.space.noting(self.name_now(staged))
    }

    fn name_now(&self, mut staged: Staged) -> io::Result<()> {
        let id = staged.id();
        let _pin = self.pin(vec![id]); // it is here, or it is not, when it is remembered
        let path = self.path(id);
        let folder = folder_of(&path);
        let len = staged.end(self.fsync)?;
        failpoint::pass("blob-synced");
        let new = !fs::exists(&path)?;
        staged.rename(&path)?;
        failpoint::pass("blob-named");
        self.sync_folder(folder)?;
        failpoint::pass("blob-durable");
        if new {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(len, Ordering::Relaxed);
        }
        self.remember(id);
        Ok(())
    }

    fn remember(&self, id: BlobId) {
        let mut recent = self.recent.lock().expect("no panic while locked");
        if recent.len() >= RECENT {
            recent.clear();
        }
        recent.insert(id);
    }

    fn forget(&self, id: BlobId) {
        self.recent
            .lock()
            .expect("no panic while locked")
            .remove(&id);
    }

    fn uncount(&self, len: u64) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(len, Ordering::Relaxed);
    }

    /// Keeps blobs from being deleted, whether they are here or not, until the pin is dropped.
    pub(crate) fn pin(&self, ids: Vec<BlobId>) -> Pin {
        self.pins.pin(ids)
    }

    /// The 256 folders that the files are in.
    pub(crate) fn folders(&self) -> io::Result<Vec<PathBuf>> {
        let folders = fs::read_dir(&self.root)?;
        folders.map(|entry| Ok(entry?.path())).collect()
    }

    /// The blobs whose files are in one of these folders.
    pub(crate) fn inside(&self, folder: &Path) -> io::Result<Vec<BlobId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            ids.extend(name.to_str().and_then(BlobId::parse));
        }
        Ok(ids)
    }

    /// Whether the blob is known to be there for good. Does not block.
    pub(crate) fn is_durable(&self, id: BlobId) -> bool {
        // Kept, as a blob of an upload in parts is accepted twice: with its part and with the object.
        let recent = self.recent.lock().expect("no panic while locked");
        recent.contains(&id)
    }

    /// Whether the blob is there for good. Accepting a version relies on it, so a name that may not be durable yet,
    /// from before a crash or from a write in progress, is made so.
    pub(crate) fn ensure_durable(&self, id: BlobId) -> io::Result<bool> {
        if self.is_durable(id) {
            return Ok(true);
        }
        let path = self.path(id);
        if !fs::exists(&path)? {
            return Ok(false);
        }
        self.sync_folder(folder_of(&path))?;
        self.remember(id);
        Ok(true)
    }

    /// Reads `range` of a blob's data, checking every block it touches, and the whole when all is read.
    pub(crate) fn read(&self, blob: &BlobRef, range: Range<u64>) -> Result<Bytes, ReadError> {
        let file = self.open_blob(blob)?;
        let first = range.start / BLOCK;
        let start = first * BLOCK;
        let data = read_blocks(&file, blob, first..range.end.div_ceil(BLOCK))?;
        let whole = data.len() as u64 == blob.len;
        if whole && *blake3::hash(&data).as_bytes() != blob.blake3 {
            return Err(ReadError::Damaged("content is not the expected one"));
        }
        let slice = (range.start - start) as usize..(range.end - start) as usize;
        Ok(Bytes::from(data).slice(slice))
    }

    /// Reads and checks all of a blob, giving it to `each` piece by piece as it goes.
    pub(crate) fn verify(
        &self,
        blob: &BlobRef,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), ReadError> {
        let mut check = self.check(blob)?;
        while let Some(piece) = check.piece()? {
            each(&piece);
        }
        Ok(())
    }

    /// Opens a blob's file, which has the right length and trailer.
    fn open_blob(&self, blob: &BlobRef) -> Result<File, ReadError> {
        let file = match File::open(self.path(blob.id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Missing);
            }
            Err(error) => return Err(ReadError::Io(error)),
        };
        let sums_end = blob.len + blob.len.div_ceil(BLOCK) * CRC_LEN;
        if file.metadata().map_err(ReadError::Io)?.len() != sums_end + TRAILER_LEN {
            return Err(ReadError::Damaged("wrong length"));
        }
        let mut trailer = [0; TRAILER_LEN as usize];
        file.read_exact_at(&mut trailer, sums_end)
            .map_err(ReadError::Io)?;
        if trailer[..] != staged::trailer(blob.len, &blob.blake3) {
            return Err(ReadError::Damaged("trailer is not the expected one"));
        }
        Ok(file)
    }

    fn path(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.root.join(&name[..2]).join(&name)
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

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a blob's path has a folder above it")
}

/// Reads blocks of a blob and checks each.
fn read_blocks(file: &File, blob: &BlobRef, blocks: Range<u64>) -> Result<Vec<u8>, ReadError> {
    let start = blocks.start * BLOCK;
    let mut data = vec![0; (blocks.end * BLOCK).min(blob.len).saturating_sub(start) as usize];
    file.read_exact_at(&mut data, start)
        .map_err(ReadError::Io)?;
    let count = data.len().div_ceil(BLOCK as usize);
    let mut sums = vec![0; count * CRC_LEN as usize];
    file.read_exact_at(&mut sums, blob.len + blocks.start * CRC_LEN)
        .map_err(ReadError::Io)?;
    let sums = sums.chunks(CRC_LEN as usize);
    for (block, sum) in data.chunks(BLOCK as usize).zip(sums) {
        if checksum(CrcAlgorithm::Crc64Nvme, block).to_le_bytes() != sum {
            return Err(ReadError::Damaged("a block fails its checksum"));
        }
    }
    Ok(data)
}

/// A failed sync cannot be repeated: the kernel has dropped the pages and a second try would report success. The
/// other nodes have the data; this one starts again from what its disk really holds.
fn abort(path: &Path, error: &io::Error) -> ! {
    error!(path = %path.display(), %error, "cannot sync to disk, aborting");
    sys::abort()
}
