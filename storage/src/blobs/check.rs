//! A blob being checked, piece by piece.

use std::ops::Range;

use super::{BLOCK, Blobs, PIECE_BLOCKS, ReadError, read_blocks};
use crate::sys::fs::{self, File};
use crate::version::BlobRef;

/// A blob's file and what is known of it so far. Blocks.
#[derive(Debug)]
pub(crate) struct Check {
    file: File,
    blob: BlobRef,
    /// Blocks that are still to be read.
    blocks: Range<u64>,
    hash: blake3::Hasher,
}

impl Blobs {
    /// Begins to check all of a blob. The length and the trailer are right when this returns.
    pub(crate) fn check(&self, blob: &BlobRef) -> Result<Check, ReadError> {
        Ok(Check {
            file: self.open_blob(blob)?,
            blob: *blob,
            blocks: 0..blob.len.div_ceil(BLOCK),
            hash: blake3::Hasher::new(),
        })
    }
}

impl Check {
    /// Has the file read from the disk, not from memory, and leaves memory to those who need it. Best effort.
    pub(crate) fn uncached(&self) {
        fs::uncache(&self.file);
    }

    /// Reads and checks the next piece. `None` when all is read and the whole is right.
    pub(crate) fn piece(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        if self.blocks.is_empty() {
            if *self.hash.finalize().as_bytes() != self.blob.blake3 {
                return Err(ReadError::Damaged("content is not the expected one"));
            }
            return Ok(None);
        }
        let next = self.blocks.end.min(self.blocks.start + PIECE_BLOCKS);
        let piece = read_blocks(&self.file, &self.blob, self.blocks.start..next)?;
        self.blocks.start = next;
        self.hash.update(&piece);
        Ok(Some(piece))
    }
}
