//! Open files, and what can be asked of them.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::MutexGuard;

use super::{Disk, Kind, SECTOR, State};

/// How long a file is, and whether it is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metadata(pub(super) Option<u64>);

impl Metadata {
    pub(crate) fn len(&self) -> u64 {
        self.0.unwrap_or(0)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.0.is_none()
    }
}

/// An open file or folder.
#[derive(Debug)]
pub(crate) struct File {
    pub(super) disk: Disk,
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) era: u64,
    pub(super) position: u64,
}

impl File {
    /// The disk, and the number of this file unless it is a folder.
    fn use_disk(&self) -> io::Result<(MutexGuard<'_, State>, Option<u64>)> {
        let state = self.disk.state();
        if state.era != self.era {
            return Err(io::Error::other(
                "this file was open in a process that ended",
            ));
        }
        let id = match self.kind {
            Kind::File(id) => Some(id),
            Kind::Folder => None,
        };
        Ok((state, id))
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        let (state, id) = self.use_disk()?;
        Ok(Metadata(id.map(|id| state.files[&id].now.len() as u64)))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            disk: self.disk.clone(),
            path: self.path.clone(),
            ..*self
        })
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        let (mut state, id) = self.use_disk()?;
        let id = id.ok_or(io::ErrorKind::IsADirectory)?;
        grow(&mut state, id, len)?;
        let file = state.files.get_mut(&id).expect("an open file is kept");
        let len = len as usize;
        let (shorter, longer) = (file.now.len().min(len), file.now.len().max(len));
        file.now.resize(len, 0);
        file.dirty.extend(shorter / SECTOR..longer.div_ceil(SECTOR));
        Ok(())
    }

    pub(crate) fn sync_all(&self) -> io::Result<()> {
        let (mut state, id) = self.use_disk()?;
        let fault = state.faults.sync;
        let failed = state.fails(fault);
        match id {
            None if failed.is_ok() => state.sync_folder(&self.path),
            None => {}
            Some(id) => {
                let file = state.files.get_mut(&id).expect("an open file is kept");
                if failed.is_ok() {
                    file.sync();
                } else {
                    file.dirty.clear(); // the next sync says that all is well
                }
            }
        }
        failed
    }

    /// Has what is not waiting to be written read from the disk.
    pub(crate) fn uncache(&self) -> io::Result<()> {
        let (mut state, id) = self.use_disk()?;
        let id = id.ok_or(io::ErrorKind::IsADirectory)?;
        let file = state.files.get_mut(&id).expect("an open file is kept");
        file.drop_clean();
        Ok(())
    }

    pub(crate) fn sync_data(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Fails when the disk has no room for a file of this length.
fn grow(state: &mut State, id: u64, len: u64) -> io::Result<()> {
    let more = len.saturating_sub(state.files[&id].now.len() as u64);
    if let Some(capacity) = state.capacity
        && more > 0
        && state.used() + more > capacity
    {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

impl FileExt for File {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (mut state, id) = self.use_disk()?;
        let fault = state.faults.read;
        state.fails(fault)?;
        let id = id.ok_or(io::ErrorKind::IsADirectory)?;
        let file = &state.files[&id].now;
        let start = file.len().min(offset as usize);
        let len = out.len().min(file.len() - start);
        out[..len].copy_from_slice(&file[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let (mut state, id) = self.use_disk()?;
        let fault = state.faults.write;
        state.fails(fault)?;
        let id = id.ok_or(io::ErrorKind::IsADirectory)?;
        let end = offset as usize + bytes.len();
        grow(&mut state, id, end as u64)?;
        let file = state.files.get_mut(&id).expect("an open file is kept");
        let start = offset as usize;
        let from = file.now.len().min(start);
        if file.now.len() < end {
            file.now.resize(end, 0);
        }
        file.now[start..end].copy_from_slice(bytes);
        file.dirty.extend(from / SECTOR..end.div_ceil(SECTOR));
        Ok(bytes.len())
    }
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write_at(bytes, self.position)?;
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
