//! `quiz-storage replace`: makes the folder of a stopped node new.
//!
//! The superblock goes first, so that whatever interrupts this, the node refuses to start until it is done again.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};
use tracing::info;

use crate::index::{self, Index};
use crate::superblock::{self, Error};

/// Replaces all but the blobs.
pub(super) fn replace(dir: &Path, node: u8, force: bool) -> anyhow::Result<()> {
    let shown = dir.display();
    match superblock::load(dir, node) {
        Ok(superblock) => match Index::open(dir, superblock.store_id, true) {
            Err(index::Error::InUse) => bail!("node {node} is running in {shown}: stop it first"),
            Ok(_) if !force => bail!(
                "the index in {shown} is intact, so nothing has to be replaced; --force replaces it all the same"
            ),
            Ok(_) => info!("putting an intact index aside"),
            Err(error) => info!("putting the index aside: {error}"),
        },
        // A new disk, a damaged superblock, or a folder whose replacement was interrupted.
        Err(error @ (Error::Uninitialised(_) | Error::Unreadable(_))) => info!("{error}"),
        Err(error) => return Err(error.into()),
    }
    put_aside(dir, superblock::FILE)?;
    put_aside(dir, index::FILE)?;
    superblock::init(dir, node).context("preparing the folder anew")?;
    info!("{shown} is new: start the node, and it is rebuilt from both others");
    Ok(())
}

/// Keeps one older copy, for whoever wants to know what was wrong with it.
fn put_aside(dir: &Path, name: &str) -> anyhow::Result<()> {
    let aside = dir.join(format!("{name}.replaced"));
    match fs::rename(dir.join(name), aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot put {name} aside"))
        }
        _ if dir.is_dir() => Ok(fs::File::open(dir)?.sync_all()?),
        _ => Ok(()),
    }
}
