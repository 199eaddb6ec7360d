//! Stylesheet and drawings, embedded in the program and served under a URL that changes with their content.

use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::pages::Name;

/// A file whose URL holds the hash of its content never changes.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// The URLs that the templates print.
pub struct Assets {
    pub stylesheet: String,
    pub logo: String,
    pub favicon: String,
    pub hero: String,
    files: Vec<File>,
}

struct File {
    name: String,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// The assets of this build.
pub fn get() -> &'static Assets {
    static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);
    &ASSETS
}

/// `GET /static/{name}`.
pub async fn serve(Name(name): Name) -> Result<Response, Error> {
    let file = get()
        .files
        .iter()
        .find(|file| file.name == name)
        .ok_or(Error::NotFound)?;
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CACHE_CONTROL, IMMUTABLE),
    ];
    Ok((headers, file.bytes).into_response())
}

impl Assets {
    fn new() -> Self {
        let mut files = Vec::new();
        let mut add = |stem: &str, extension: &str, content_type, bytes: &'static [u8]| {
            let hash = hex::encode(&Sha256::digest(bytes)[..8]);
            let name = format!("{stem}-{hash}.{extension}");
            let url = format!("/static/{name}");
            files.push(File {
                name,
                content_type,
                bytes,
            });
            url
        };
        let css = "text/css; charset=utf-8";
        let svg = "image/svg+xml";
        let stylesheet = add("site", "css", css, include_bytes!("../static/site.css"));
        let logo = add("logo", "svg", svg, include_bytes!("../static/logo.svg"));
        let favicon = add(
            "favicon",
            "svg",
            svg,
            include_bytes!("../static/favicon.svg"),
        );
        let hero = add("hero", "svg", svg, include_bytes!("../static/hero.svg"));
        Self {
            stylesheet,
            logo,
            favicon,
            hero,
            files,
        }
    }
}
