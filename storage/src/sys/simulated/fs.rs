//! Files of the machine that asks, by their paths.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::Machine;
use super::disk::Disk;
pub(crate) use super::disk::{File, Metadata};

fn disk() -> io::Result<Disk> {
    let machine = Machine::current();
    let machine = machine.ok_or_else(|| io::Error::other("this machine is off"))?;
    Ok(machine.disk().clone())
}

impl File {
    pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        disk()?.open(path.as_ref())
    }

    pub(crate) fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        if exists(path)? {
            let file = Self::open(path)?;
            file.set_len(0)?;
            return Ok(file);
        }
        Self::create_new(path)
    }

    pub(crate) fn create_new(path: impl AsRef<Path>) -> io::Result<Self> {
        disk()?.create(path.as_ref())
    }
}

pub(crate) fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    Ok(disk()?.kind(path.as_ref()).is_some())
}

pub(crate) fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    disk()?.metadata(path.as_ref())
}

pub(crate) fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
    disk()?.create_folder(path.as_ref())
}

pub(crate) fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    if exists(path)? {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_dir_all(above)?;
    }
    create_dir(path)
}

pub(crate) fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    disk()?.remove(path.as_ref())
}

pub(crate) fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
    disk()?.remove_folder(path.as_ref())
}

pub(crate) fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    disk()?.rename(from.as_ref(), to.as_ref())
}

pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(path)?;
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

pub(crate) fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

pub(crate) fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    io::Write::write_all(&mut File::create(path)?, bytes.as_ref())
}

/// What is in a folder.
pub(crate) struct DirEntry(Disk, PathBuf);

impl DirEntry {
    pub(crate) fn path(&self) -> PathBuf {
        self.1.clone()
    }

    pub(crate) fn file_name(&self) -> OsString {
        self.1.file_name().unwrap_or_default().to_owned()
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata(&self.1)
    }
}

pub(crate) fn read_dir(
    path: impl AsRef<Path>,
) -> io::Result<impl Iterator<Item = io::Result<DirEntry>>> {
    let disk = disk()?;
    let entries = disk.entries(path.as_ref())?;
    Ok(entries
        .into_iter()
        .map(move |path| Ok(DirEntry(disk.clone(), path))))
}

pub(crate) fn space(_dir: &Path) -> io::Result<(u64, u64)> {
    Ok(disk()?.space())
}

pub(crate) fn uncache(file: &File) {
    file.uncache().ok();
}

pub(crate) fn create_database(path: &Path) -> Result<Database, DatabaseError> {
    if exists(path)? {
        return open_database(path, true);
    }
    Builder::new().create_with_backend(DatabaseFile {
        file: File::create_new(path)?,
        fsync: true,
    })
}

pub(crate) fn open_database(path: &Path, fsync: bool) -> Result<Database, DatabaseError> {
    let file = File::open(path)?;
    if fsync {
        file.sync_all()?;
        uncache(&file);
    }
    Builder::new().create_with_backend(DatabaseFile { file, fsync })
}

/// The file of a database.
#[derive(Debug)]
struct DatabaseFile {
    file: File,
    fsync: bool,
}

impl StorageBackend for DatabaseFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.fsync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        self.file.write_all_at(data, offset)
    }
}
