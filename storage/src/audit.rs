//! Looks through the folder of a stopped node: is every version it vouches for really there?

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use crate::blobs::Blobs;
use crate::index::Index;
use crate::superblock;

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// BLAKE3 of every live object, by key.
    pub objects: BTreeMap<String, [u8; 32]>,
    /// Keys with a tombstone.
    pub tombstones: Vec<String>,
    /// Live keys whose bytes are missing or damaged here.
    pub broken: Vec<String>,
}

/// Reads all of `dir`, the folder of node `node`, which must not be running. Leftovers of crashed writes are deleted,
/// as at a start.
pub fn audit(dir: &Path, node: u8) -> anyhow::Result<Audit> {
    let superblock = superblock::load(dir, node)?;
    let index = Index::open(dir, superblock.store_id, true).context("opening the index")?;
    let blobs = Blobs::open(dir, true).context("opening the blobs")?;
    let mut audit = Audit::default();
    for (key, version) in index.versions().context("reading the index")? {
        let Some(live) = version.live() else {
            audit.tombstones.push(key);
            continue;
        };
        let mut content = blake3::Hasher::new();
        for blob in &live.blobs {
            let checked = blobs.verify(blob, |piece| {
                content.update(piece);
            });
            if checked.is_err() {
                audit.broken.push(key.clone());
            }
        }
        audit.objects.insert(key, *content.finalize().as_bytes());
    }
    Ok(audit)
}
