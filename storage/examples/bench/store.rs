//! What is measured: a store, or a folder of the disk.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _};

#[derive(Clone)]
pub(crate) enum Store {
    Objects {
        write: Vec<Arc<dyn ObjectStore>>,
        read: Vec<Arc<dyn ObjectStore>>,
    },
    Raw(PathBuf),
}

impl Store {
    pub(crate) fn of(stores: Vec<Arc<dyn ObjectStore>>) -> Self {
        Self::Objects {
            read: stores.clone(),
            write: stores,
        }
    }

    pub(crate) async fn put(
        &self,
        turn: usize,
        key: String,
        bytes: bytes::Bytes,
    ) -> anyhow::Result<()> {
        match self {
            Self::Objects { write, .. } => {
                let store = &write[turn % write.len()];
                store.put(&Key::from(key), bytes.into()).await?;
            }
            Self::Raw(dir) => {
                let (temporary, path) = (dir.join(format!("{key}.new")), dir.join(&key));
                let dir = dir.clone();
                tokio::task::spawn_blocking(move || {
                    use std::io::Write as _;
                    let mut file = std::fs::File::create(&temporary)?;
                    file.write_all(&bytes)?;
                    file.sync_all()?;
                    std::fs::rename(&temporary, path)?;
                    std::fs::File::open(dir)?.sync_all()
                })
                .await??;
            }
        }
        Ok(())
    }

    /// Removes what begins with `prefix`, which is not measured.
    pub(crate) async fn clear(&self, prefix: &str) -> anyhow::Result<()> {
        match self {
            Self::Objects { write, .. } => {
                let store = &write[0];
                let prefix = prefix.to_owned();
                let listed = store.list(None).map_ok(|object| object.location);
                let ours = listed
                    .try_filter(move |key| std::future::ready(key.as_ref().starts_with(&prefix)));
                let deleted = store.delete_stream(ours.boxed());
                deleted.try_for_each(|_| std::future::ready(Ok(()))).await?;
            }
            Self::Raw(dir) => {
                for entry in std::fs::read_dir(dir)? {
                    std::fs::remove_file(entry?.path())?;
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn get(&self, turn: usize, key: String) -> anyhow::Result<usize> {
        match self {
            Self::Objects { read, .. } => {
                let store = &read[turn % read.len()];
                Ok(store.get(&Key::from(key)).await?.bytes().await?.len())
            }
            Self::Raw(dir) => {
                let path = dir.join(key);
                Ok(tokio::task::spawn_blocking(move || std::fs::read(path))
                    .await??
                    .len())
            }
        }
    }
}

/// Bytes that differ from those of every other object, which nothing can compress or share.
pub(crate) fn bytes_of(size: usize) -> bytes::Bytes {
    let mut bytes = vec![0; size];
    rand::fill(&mut bytes[..]);
    bytes.into()
}

/// Writes so many objects, sixteen at a time.
pub(crate) async fn fill(
    store: &Store,
    prefix: &str,
    count: usize,
    size: usize,
) -> anyhow::Result<()> {
    let puts = futures::stream::iter(0..count)
        .map(|i| store.put(i, format!("{prefix}-{i}"), bytes_of(size)));
    let mut puts = puts.buffer_unordered(16);
    while let Some(put) = puts.next().await {
        put?;
    }
    Ok(())
}

pub(crate) async fn delete(
    store: &Store,
    names: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    let Store::Objects { write, .. } = store else {
        bail!("only objects are deleted");
    };
    for name in names {
        write[0].delete(&Key::from(name)).await?;
    }
    Ok(())
}
