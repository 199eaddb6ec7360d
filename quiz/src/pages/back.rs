//! Back to the list one came from.

use axum::response::Response;

use crate::visitor::Visitor;

/// `GET /goback`: the last visited of `/`, `/author` and the lists, which is forgotten thereby.
pub async fn go(mut visitor: Visitor) -> Response {
    let to = visitor.take_remembered_page();
    visitor.redirect(&to, &[])
}
