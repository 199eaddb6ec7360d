//! Who made this site.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use crate::error::Error;
use crate::visitor::{Layout, Visitor};

#[derive(Template)]
#[template(path = "author.html")]
struct Author {
    page: Layout,
}

/// `GET /author`.
pub async fn show(mut visitor: Visitor) -> Result<Response, Error> {
    visitor.remember_shared_page();
    let template = Author {
        page: visitor.layout("author"),
    };
    visitor.page(StatusCode::OK, &template)
}
