//! `STORAGE_DIR/superblock`: says that a folder belongs to a node, which one, and in which format.
//!
//! A server that finds none refuses to start. An empty folder is more often a disk that was not mounted than a new
//! node, and a node that has forgotten its promises must not vote.

use std::io::{self, Write as _};
use std::path::Path;

use crate::index::Index;
use crate::sys::{self, fs};

/// Format of the folder: this file, `blobs/`, `index.redb`. In format 1 the rows of the index had no checksum. Format 2 has
/// no cursors of healing, and formats 2 and 3 have another level of folders in `blobs/`; both are brought to this one when
/// a node starts on them. A program that knows only an older format refuses the folder from then on, instead of
/// misreading it.
const FORMAT: u32 = 4;
/// The oldest format that is brought to the current one.
const OLDEST: u32 = 2;
pub(crate) const FILE: &str = "superblock";

/// Who a folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Random name of this folder's data; a replaced folder has another.
    pub store_id: [u8; 16],
    /// Number of the node.
    pub node: u8,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{0} holds no storage node: if it is new, run `quiz-storage init` once; if it is not, check that its disk is mounted"
    )]
    Uninitialised(String),
    #[error(
        "{dir} belongs to node {found}, not to node {wanted}: check STORAGE_DIR and STORAGE_NODE"
    )]
    OtherNode { dir: String, found: u8, wanted: u8 },
    #[error(
        "{0} has data but no superblock: restore the file, or let `quiz-storage replace` make the folder new"
    )]
    DataWithoutSuperblock(String),
    #[error(
        "the superblock in {0} is damaged: restore the file, or let `quiz-storage replace` make the folder new"
    )]
    Unreadable(String),
    #[error(
        "{dir} is of format {found}, this program knows format {FORMAT}: use the program that wrote it, or a new folder"
    )]
    OtherFormat { dir: String, found: u32 },
    #[error("cannot prepare {dir}")]
    Index {
        dir: String,
        #[source]
        source: crate::index::Error,
    },
    #[error("cannot use {dir}")]
    Io {
        dir: String,
        #[source]
        source: io::Error,
    },
}

/// Prepares `dir` for `node`. Doing it again changes nothing.
pub fn init(dir: &Path, node: u8) -> Result<Superblock, Error> {
    match load(dir, node) {
        Err(Error::Uninitialised(_)) => {}
        found => return found,
    }
    let io = |source| Error::Io {
        dir: dir.display().to_string(),
        source,
    };
    let index = |source| Error::Index {
        dir: dir.display().to_string(),
        source,
    };
    make_folder(dir).map_err(io)?;
    let superblock = Superblock {
        store_id: sys::random(),
        node,
    };
    // The superblock comes last, and what comes before it is whole or can be done again: a crash leaves a folder that
    // is prepared, or one that can be prepared again.
    if !Index::create(dir, superblock.store_id).map_err(index)? {
        return Err(Error::DataWithoutSuperblock(dir.display().to_string()));
    }
    write(dir, &superblock).map_err(io)?;
    Ok(superblock)
}

/// Marks `dir` as being of the current format, if it is of one that can be brought to it. To be done before anything of
/// the current format is written, and by whoever holds the lock of the folder: another program may be at work on it.
pub(crate) fn upgrade(dir: &Path) -> io::Result<()> {
    let text = match fs::read_to_string(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()), // it is being made
        text => text?,
    };
    match parse(&text) {
        Some(superblock) if format(&text) != Some(FORMAT) => {
            tracing::info!("bringing {} to format {FORMAT}", dir.display());
            write(dir, &superblock)
        }
        Some(_) | None => Ok(()),
    }
}

/// Creates `dir` and the folders above it that are missing, each durable before the next.
fn make_folder(dir: &Path) -> io::Result<()> {
    if fs::exists(dir)? {
        return Ok(());
    }
    // The parent of a bare name is "".
    let parent = dir.parent().filter(|parent| *parent != Path::new(""));
    let parent = parent.unwrap_or(Path::new("."));
    make_folder(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::File::open(parent)?.sync_all()
}

/// Reads the superblock of `dir`, which must be `node`'s.
pub fn load(dir: &Path, node: u8) -> Result<Superblock, Error> {
    let name = dir.display().to_string();
    let text = match fs::read_to_string(dir.join(FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::Uninitialised(name));
        }
        Err(source) => return Err(Error::Io { dir: name, source }),
    };
    if let Some(found) = format(&text).filter(|found| !(OLDEST..=FORMAT).contains(found)) {
        return Err(Error::OtherFormat { dir: name, found });
    }
    let Some(superblock) = parse(&text) else {
        return Err(Error::Unreadable(name));
    };
    if superblock.node != node {
        return Err(Error::OtherNode {
            dir: name,
            found: superblock.node,
            wanted: node,
        });
    }
    Ok(superblock)
}

fn format(text: &str) -> Option<u32> {
    let first = text.lines().next()?;
    first.strip_prefix("quizstack-storage ")?.parse().ok()
}

fn parse(text: &str) -> Option<Superblock> {
    let mut lines = text.lines().skip(1);
    let store_id = lines.next()?.strip_prefix("store_id ")?;
    let node = lines.next()?.strip_prefix("node ")?.parse().ok()?;
    let mut id = [0; 16];
    hex::decode_to_slice(store_id, &mut id).ok()?;
    format(text).map(|_| Superblock { store_id: id, node })
}

fn write(dir: &Path, superblock: &Superblock) -> io::Result<()> {
    let temporary = dir.join("superblock.tmp");
    let mut file = fs::File::create(&temporary)?;
    let id = hex::encode(superblock.store_id);
    write!(
        file,
        "quizstack-storage {FORMAT}\nstore_id {id}\nnode {}\n",
        superblock.node
    )?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(FILE))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_twice_keeps_the_store_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = init(dir.path(), 2).unwrap();
        assert_eq!(init(dir.path(), 2).unwrap(), first);
        assert_eq!(load(dir.path(), 2).unwrap(), first);
    }

    #[test]
    fn a_folder_is_prepared_again_after_a_crash_at_any_point() {
        let done = tempfile::tempdir().unwrap();
        init(done.path(), 1).unwrap();
        let index = fs::read(done.path().join("index.redb")).unwrap();
        let half = &index[..index.len() / 2];
        // What a crash leaves while the index is built, before its superblock, and while that is written.
        let leftovers: [&[(&str, &[u8])]; 3] = [
            &[("index.redb.new", half)],
            &[("index.redb", &index)],
            &[("index.redb", &index), ("superblock.tmp", b"quizst")],
        ];
        for leftover in leftovers {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in leftover {
                fs::write(dir.path().join(name), bytes).unwrap();
            }
            let superblock = init(dir.path(), 1).unwrap();
            assert_eq!(load(dir.path(), 1).unwrap(), superblock);
            Index::open(dir.path(), superblock.store_id, false).unwrap();
        }
    }

    #[test]
    fn init_creates_the_folders_above() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("a/b/c");
        let superblock = init(&dir, 1).unwrap();
        assert_eq!(load(&dir, 1).unwrap(), superblock);
    }

    #[test]
    fn a_folder_without_a_superblock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = load(dir.path(), 1).unwrap_err();
        assert!(matches!(error, Error::Uninitialised(_)));
        assert!(error.to_string().contains("quiz-storage init"));
    }

    #[test]
    fn the_folder_of_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path(), 1).unwrap();
        assert!(matches!(load(dir.path(), 2), Err(Error::OtherNode { .. })));
        assert!(matches!(init(dir.path(), 2), Err(Error::OtherNode { .. })));
    }

    #[test]
    fn another_format_and_a_damaged_superblock_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let id = hex::encode([7; 16]);
        for other in [OLDEST - 1, FORMAT + 1] {
            let text = format!("quizstack-storage {other}\nstore_id {id}\nnode 1\n");
            fs::write(dir.path().join(FILE), text).unwrap();
            let refused = load(dir.path(), 1);
            assert!(matches!(refused, Err(Error::OtherFormat { found, .. }) if found == other));
        }
        let text = format!("quizstack-storag\nstore_id {id}\nnode 1\n");
        fs::write(dir.path().join(FILE), text).unwrap();
        assert!(matches!(load(dir.path(), 1), Err(Error::Unreadable(_))));
    }
}
