//! Photos and attachments, as the API shows them.

use serde::Serialize;
use utoipa::ToSchema;

/// A photo of a user or an attachment of a quiz.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({
    "filename": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae.png",
    "mime": "image/png",
    "url": "/images/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae.png",
}))]
pub struct FileJson {
    /// Last part of `url`.
    pub filename: String,
    /// Media type of the bytes, as the site found it out.
    pub mime: String,
    /// Where the bytes are, relative to the site. Its content never changes.
    pub url: String,
}

impl FileJson {
    /// What is stored under that id, if there is one.
    pub fn new(image_id: Option<String>, mime: Option<String>) -> Option<Self> {
        let (filename, mime) = image_id.zip(mime)?;
        let url = format!("/images/{filename}");
        Some(Self {
            filename,
            mime,
            url,
        })
    }
}
