//! Names of stored files.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use sha2::{Digest, Sha256};

/// Between the hash and the extension of a thumbnail's name.
const THUMBNAIL: &str = "-thumb";

/// Enough for two of the same content never to meet.
const EDITION_BYTES: usize = 6;

/// How a stored file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    Png,
    Jpeg,
    /// An animation; a still picture is a PNG or a JPEG.
    Gif,
    Mp4,
    Pdf,
}

impl Format {
    const ALL: [Self; 5] = [Self::Png, Self::Jpeg, Self::Gif, Self::Mp4, Self::Pdf];

    /// The file extension, without its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Gif => "gif",
            Self::Mp4 => "mp4",
            Self::Pdf => "pdf",
        }
    }

    /// The media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Mp4 => "video/mp4",
            Self::Pdf => "application/pdf",
        }
    }

    /// How the thumbnail of such a file is encoded, if it can have one.
    fn of_thumbnail(self) -> Option<Self> {
        match self {
            Self::Jpeg => Some(Self::Jpeg),
            Self::Png | Self::Gif => Some(Self::Png),
            Self::Mp4 | Self::Pdf => None,
        }
    }
}

/// Name of a stored file: `<sha256 hex>-<edition>.<extension>`, or `<sha256 hex>-<edition>-thumb.<png|jpg>` for the
/// thumbnail of that picture. The edition is missing in names that are older than editions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageId {
    sha256: [u8; 32],
    /// Tells apart the times that the same content was stored, so that no name is used again after it was deleted.
    edition: Option<[u8; EDITION_BYTES]>,
    format: Format,
    thumbnail: bool,
}

impl ImageId {
    /// The id that these bytes have in an edition, stored or not.
    pub fn of(bytes: &[u8], format: Format, edition: [u8; EDITION_BYTES]) -> Self {
        Self {
            sha256: Sha256::digest(bytes).into(),
            edition: Some(edition),
            format,
            thumbnail: false,
        }
    }

    /// The id of the thumbnail of this picture, stored or not. Videos, documents and thumbnails have none.
    pub fn thumbnail(&self) -> Option<Self> {
        let format = self.format.of_thumbnail().filter(|_| !self.thumbnail)?;
        Some(Self {
            format,
            thumbnail: true,
            ..*self
        })
    }

    pub fn is_thumbnail(&self) -> bool {
        self.thumbnail
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn content_type(&self) -> &'static str {
        self.format.content_type()
    }

    /// `images/<2 hex>/<id>`: 256 folders, so that none of a file store grows huge.
    pub fn key(&self) -> Path {
        let id = self.to_string();
        Path::from_iter(["images", &id[..2], &id])
    }

    /// May these be the bytes of that name? A thumbnail is named by the picture it was made from, so any may.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        self.thumbnail || Sha256::digest(bytes)[..] == self.sha256
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.sha256))?;
        if let Some(edition) = self.edition {
            write!(f, "-{}", hex::encode(edition))?;
        }
        let infix = if self.thumbnail { THUMBNAIL } else { "" };
        write!(f, "{infix}.{}", self.format.extension())
    }
}

/// Not the name of a stored file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an image id: 64 lower-case hexadecimal digits, an edition, perhaps -thumb, and a known extension"
)]
pub struct ParseImageIdError;

impl FromStr for ImageId {
    type Err = ParseImageIdError;

    /// Strict: one file has one name, which caches and the database compare as text.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (stem, extension) = text.split_once('.').ok_or(ParseImageIdError)?;
        let format = Format::ALL
            .into_iter()
            .find(|format| format.extension() == extension)
            .ok_or(ParseImageIdError)?;
        let digits = stem.strip_suffix(THUMBNAIL);
        let thumbnail = digits.is_some();
        if thumbnail && !matches!(format, Format::Png | Format::Jpeg) {
            return Err(ParseImageIdError);
        }
        let digits = digits.unwrap_or(stem);
        let (digits, edition) = match digits.split_once('-') {
            Some((digits, edition)) => (digits, Some(bytes(edition)?)),
            None => (digits, None),
        };
        Ok(Self {
            sha256: bytes(digits)?,
            edition,
            format,
            thumbnail,
        })
    }
}

/// So many bytes, of lower-case digits.
fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], ParseImageIdError> {
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return Err(ParseImageIdError);
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseImageIdError)?;
    Ok(bytes)
}
