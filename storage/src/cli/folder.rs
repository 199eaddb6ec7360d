//! A folder of exported objects: `objects/` with their bytes, and `manifest.jsonl` with a line for each.
//!
//! A key is the path of its file where that is possible. Where it is not (`..`, an empty part, a part too long, a key
//! that is also the beginning of another), the file is named after the key's hash; the manifest says where it is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use s3s::crypto::{Checksum as _, Md5};
use tokio::fs::{self, File};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

use super::entry::Entry;

const MANIFEST: &str = "manifest.jsonl";
const NEW: &str = "manifest.jsonl.new";
/// What an export that is under way or was interrupted has brought here.
const PARTIAL: &str = "manifest.jsonl.part";
const OBJECTS: &str = "objects";
/// Folder of files whose keys cannot be paths. No path of a key begins like this.
const ODD: &str = ".odd";
/// Longest name that every file system takes.
const MAX_NAME: usize = 200;

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// What earlier exports have brought here, the interrupted one included.
    pub(super) async fn known(&self) -> anyhow::Result<BTreeMap<String, Entry>> {
        let mut known = BTreeMap::new();
        for name in [MANIFEST, PARTIAL] {
            for entry in self.read(name, true).await? {
                known.insert(entry.key.clone(), entry);
            }
        }
        Ok(known)
    }

    /// Every object of a complete export.
    pub(super) async fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let path = self.0.join(MANIFEST);
        if !fs::try_exists(&path).await? {
            anyhow::bail!(
                "{} is missing: was the export interrupted? run it again",
                path.display()
            );
        }
        self.read(MANIFEST, false).await
    }

    async fn read(&self, name: &str, torn: bool) -> anyhow::Result<Vec<Entry>> {
        let path = self.0.join(name);
        let file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut lines = BufReader::new(file).lines();
        let mut entries = Vec::new();
        while let Some(line) = lines.next_line().await? {
            match serde_json::from_str(&line) {
                Ok(entry) => entries.push(entry),
                Err(_) if torn => {} // the last line of an interrupted export
                Err(error) => {
                    return Err(error).with_context(|| format!("{} is damaged", path.display()));
                }
            }
        }
        Ok(entries)
    }

    /// Whether the file of `entry` is here, as far as its length tells.
    pub(super) async fn has(&self, entry: &Entry) -> bool {
        let about = fs::metadata(self.0.join(&entry.file)).await;
        !entry.file.is_empty()
            && about.is_ok_and(|about| about.is_file() && about.len() == entry.size)
    }

    /// Writes an object, and fills in where it is and its MD5.
    pub(super) async fn write(
        &self,
        entry: &mut Entry,
        mut data: impl Stream<Item = anyhow::Result<Bytes>> + Unpin,
    ) -> anyhow::Result<()> {
        fs::create_dir_all(self.0.join(OBJECTS)).await?;
        let hash = blake3::hash(entry.key.as_bytes()).to_hex();
        let temporary = self.0.join(format!(".{hash}.part"));
        let mut file = File::create(&temporary).await?;
        let (mut md5, mut len) = (Md5::new(), 0);
        while let Some(piece) = data.next().await {
            let piece = piece?;
            md5.update(&piece);
            len += piece.len() as u64;
            file.write_all(&piece).await?;
        }
        let md5 = hex::encode(md5.finalize());
        if len != entry.size || entry.md5.as_ref().is_some_and(|expected| *expected != md5) {
            anyhow::bail!("the bytes of {:?} are not what its headers say", entry.key);
        }
        entry.md5 = Some(md5);
        file.sync_all().await?;
        drop(file);
        entry.file = match plain(&entry.key) {
            Some(place) if place_at(&temporary, &self.0.join(&place)).await.is_ok() => place,
            _ => {
                let place = format!("{OBJECTS}/{ODD}/{hash}");
                place_at(&temporary, &self.0.join(&place)).await?;
                place
            }
        };
        Ok(())
    }

    /// Where an export notes what it has brought here.
    pub(super) async fn journal(&self) -> anyhow::Result<File> {
        fs::create_dir_all(&self.0).await?;
        let mut options = fs::OpenOptions::new();
        let journal = options.create(true).append(true);
        Ok(journal.open(self.0.join(PARTIAL)).await?)
    }

    /// Makes these entries the ones that count.
    pub(super) async fn end(&self, entries: &[Entry]) -> anyhow::Result<()> {
        let mut manifest = BufWriter::new(File::create(self.0.join(NEW)).await?);
        for entry in entries {
            manifest.write_all(line(entry)?.as_bytes()).await?;
        }
        manifest.flush().await?;
        manifest.get_ref().sync_all().await?;
        fs::rename(self.0.join(NEW), self.0.join(MANIFEST)).await?;
        fs::remove_file(self.0.join(PARTIAL)).await?;
        Ok(File::open(&self.0).await?.sync_all().await?)
    }

    pub(super) async fn remove(&self, entry: &Entry) -> anyhow::Result<()> {
        match fs::remove_file(self.0.join(&entry.file)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn open(&self, entry: &Entry) -> anyhow::Result<File> {
        let inside = Path::new(&entry.file)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            anyhow::bail!("{:?} is not below the folder", entry.file);
        }
        let file = File::open(self.0.join(&entry.file)).await;
        file.with_context(|| format!("cannot read {}", entry.file))
    }
}

/// A line of a manifest.
pub(super) fn line(entry: &Entry) -> anyhow::Result<String> {
    Ok(serde_json::to_string(entry)? + "\n")
}

/// The path of a key, if it can be one.
fn plain(key: &str) -> Option<String> {
    let name = |part: &str| {
        let safe = !matches!(part, "" | "." | ".." | ODD) && part.len() <= MAX_NAME;
        safe && !part.contains(['\\', '\0'])
    };
    key.split('/').all(name).then(|| format!("{OBJECTS}/{key}"))
}

async fn place_at(temporary: &Path, path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).await?;
    }
    fs::rename(temporary, path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn write(folder: &Folder, key: &str) -> Entry {
        let mut entry = Entry {
            key: key.to_owned(),
            size: 3,
            ..Entry::default()
        };
        let data = futures::stream::iter([Ok(Bytes::from("abc"))]);
        folder.write(&mut entry, data).await.unwrap();
        entry
    }

    #[tokio::test]
    async fn any_key_has_a_place_inside_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let long = format!("a/{}", "x".repeat(1_000));
        let mut places = std::collections::BTreeSet::new();
        for key in [
            "a/b", "a", "a/b/c", "../x", "/x", "x/", "x//y", ".odd/1", &long, "ü \\",
        ] {
            let entry = write(&folder, key).await;
            assert!(folder.has(&entry).await, "{key}");
            folder.open(&entry).await.unwrap();
            assert!(places.insert(entry.file), "{key}");
        }
        assert!(places.contains("objects/a/b"));
        let outside = Entry {
            file: "../secret".to_owned(),
            ..Entry::default()
        };
        assert!(folder.open(&outside).await.is_err());
    }

    #[tokio::test]
    async fn bytes_that_are_not_those_of_the_tag_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut entry = Entry {
            key: "a".to_owned(),
            size: 3,
            md5: Some("0".repeat(32)),
            ..Entry::default()
        };
        let data = futures::stream::iter([Ok(Bytes::from("abc"))]);
        let written = Folder::new(dir.path()).write(&mut entry, data).await;
        assert!(written.is_err());
        assert!(!dir.path().join("objects/a").exists());
    }
}
