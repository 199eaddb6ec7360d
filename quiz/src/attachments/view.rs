//! How a file is shown on a page. The template is `templates/attachment.html`.

use crate::images::{Format, ImageId};
use crate::picture;

/// A file as a page shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    id: ImageId,
    /// Width and height in pixels.
    size: Option<(u32, u32)>,
    thumbnail: bool,
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Picture,
    Video,
    Document,
}

impl View {
    /// From the columns of `attachments`; none when there is no row. A name that a later release made is not shown.
    pub fn new(
        image_id: Option<&str>,
        width: Option<i32>,
        height: Option<i32>,
        thumbnail: bool,
    ) -> Option<Self> {
        let side = |side: Option<i32>| side.and_then(|side| u32::try_from(side).ok());
        Some(Self {
            id: image_id?.parse().ok()?,
            size: side(width).zip(side(height)),
            thumbnail,
        })
    }

    pub fn kind(&self) -> Kind {
        match self.id.format() {
            Format::Png | Format::Jpeg | Format::Gif => Kind::Picture,
            Format::Mp4 => Kind::Video,
            Format::Pdf => Kind::Document,
        }
    }

    /// Where the file is.
    pub fn url(&self) -> String {
        url(&self.id)
    }

    /// Its size in pixels, for `width` and `height` of an `img`: the page does not jump when it arrives.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Where the thumbnail is, or the picture itself when it has none.
    pub fn small_url(&self) -> String {
        let thumbnail = self.id.thumbnail().filter(|_| self.thumbnail);
        url(&thumbnail.unwrap_or(self.id))
    }

    /// The size in pixels at which a list shows it.
    pub fn small_size(&self) -> Option<(u32, u32)> {
        self.size
            .map(|(width, height)| picture::thumbnail_size(width, height))
    }
}

/// Relative, so that no page remembers under which name or scheme the site was visited.
fn url(id: &ImageId) -> String {
    format!("/images/{id}")
}
