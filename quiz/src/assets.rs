//! Stylesheet, drawings and scripts, embedded in the program and served under a URL that changes with their content.

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
    /// Scripts that enhance pages which work without them.
    pub modules: Vec<String>,
    files: Vec<File>,
}

struct File {
    stem: &'static str,
    hash: String,
    extension: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// The assets of this build.
pub fn get() -> &'static Assets {
    static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);
    &ASSETS
}

/// `GET /static/{name}`. During a roll-out a page of one release may ask a front-end of another for its files: a name
/// with the hash of another release gets today's file, which may be shown but not kept under that name.
pub async fn serve(Name(name): Name) -> Result<Response, Error> {
    let named = |file: &'static File| file.hash_in(&name).map(|hash| (file, hash));
    let (file, hash) = get().files.iter().find_map(named).ok_or(Error::NotFound)?;
    let caching = if hash == file.hash {
        IMMUTABLE
    } else {
        "no-cache"
    };
    let headers = [(CONTENT_TYPE, file.content_type), (CACHE_CONTROL, caching)];
    Ok((headers, file.bytes).into_response())
}

impl File {
    /// The hash in `name`, when it is a name of this file in any release.
    fn hash_in<'a>(&self, name: &'a str) -> Option<&'a str> {
        let hash = name
            .strip_prefix(self.stem)?
            .strip_prefix('-')?
            .strip_suffix(self.extension)?
            .strip_suffix('.')?;
        let is_hash =
            hash.len() == self.hash.len() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then_some(hash)
    }
}

impl Assets {
    fn new() -> Self {
        let mut files = Vec::new();
        let mut add = |stem, extension, content_type, bytes: &'static [u8]| {
            let hash = hex::encode(&Sha256::digest(bytes)[..8]);
            let url = format!("/static/{stem}-{hash}.{extension}");
            files.push(File {
                stem,
                hash,
                extension,
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
        let script = "text/javascript; charset=utf-8";
        let modules: [(_, &[u8]); 3] = [
            ("favourite", include_bytes!("../static/favourite.js")),
            ("preview", include_bytes!("../static/preview.js")),
            ("confirm", include_bytes!("../static/confirm.js")),
        ];
        let modules = modules.map(|(stem, bytes)| add(stem, "js", script, bytes));
        Self {
            modules: modules.into(),
            stylesheet,
            logo,
            favicon,
            hero,
            files,
        }
    }
}
