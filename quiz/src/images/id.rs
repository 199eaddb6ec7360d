//! Names of stored files.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use sha2::{Digest, Sha256};

/// Between the hash and the extension of a thumbnail's name.
const THUMBNAIL: &str = "-thumb";

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

/// Name of a stored file: `<sha256 hex>.<extension>`, or `<sha256 hex>-thumb.<png|jpg>` for the thumbnail of the picture
/// with that hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageId {
    sha256: [u8; 32],
    format: Format,
    thumbnail: bool,
}

impl ImageId {
    /// The id that these bytes have, stored or not.
    pub fn of(bytes: &[u8], format: Format) -> Self {
        Self {
            sha256: Sha256::digest(bytes).into(),
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
        let infix = if self.thumbnail { THUMBNAIL } else { "" };
        let extension = self.format.extension();
        write!(f, "{}{infix}.{extension}", hex::encode(self.sha256))
    }
}

/// Not the name of a stored file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an image id: 64 lower-case hexadecimal digits, perhaps -thumb, and a known extension")]
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
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseImageIdError);
        }
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digits, &mut sha256).map_err(|_| ParseImageIdError)?;
        Ok(Self {
            sha256,
            format,
            thumbnail,
        })
    }
}
