//! Walks over all versions, in the order of their keys.

use std::ops::Bound;

use redb::{ReadableDatabase as _, ReadableTable as _};

use super::row::{Row, unseal};
use super::{Error, Index, REG, redb};
use crate::version::{BlobId, Version};

impl Index {
    /// At most `limit` versions after `after`, in the order of their keys. Blocks.
    pub(crate) fn versions_after(
        &self,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Version)>, Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let above = (Bound::Excluded(after), Bound::Unbounded);
        let mut found = Vec::new();
        for entry in reg.range::<&str>(above).map_err(redb)? {
            if found.len() == limit {
                break;
            }
            let (key, bytes) = entry.map_err(redb)?;
            let row: Row = unseal(key.value(), bytes.value())?;
            found.extend(row.register.value.map(|v| (key.value().to_owned(), v)));
        }
        Ok(found)
    }

    /// Shows `each` the blobs of every version, as of one moment. Blocks.
    pub(crate) fn each_blob(&self, mut each: impl FnMut(BlobId)) -> Result<(), Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        for entry in reg.iter().map_err(redb)? {
            let (key, bytes) = entry.map_err(redb)?;
            let row: Row = unseal(key.value(), bytes.value())?;
            let version = row.register.value.iter();
            version
                .flat_map(Version::blobs)
                .for_each(|blob| each(blob.id));
        }
        Ok(())
    }

    /// Every register with an accepted version. Blocks; for checks of a whole folder.
    pub(crate) fn versions(&self) -> Result<Vec<(String, Version)>, Error> {
        let read = self.db.begin_read().map_err(redb)?;
        let reg = read.open_table(REG).map_err(redb)?;
        let mut all = Vec::new();
        for entry in reg.iter().map_err(redb)? {
            let (key, bytes) = entry.map_err(redb)?;
            let row: Row = unseal(key.value(), bytes.value())?;
            all.extend(row.register.value.map(|v| (key.value().to_owned(), v)));
        }
        Ok(all)
    }
}
