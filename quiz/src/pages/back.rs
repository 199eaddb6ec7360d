//! Back to the list one came from.

use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::db;
use crate::error::Error;
use crate::pages::parse_id;
use crate::visitor::Visitor;

/// `GET /goback`: the last visited of `/`, `/author`, `/random` and the lists, which is forgotten thereby. The list of a
/// user goes with the user: then it is `/`.
pub async fn go(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    let mut to = visitor.take_remembered_page();
    if let Some(id) = whose_list(&to)
        && db::users::find(&app.db, id).await?.is_none()
    {
        to = "/".to_owned();
    }
    Ok(visitor.redirect(&to, &[]))
}

/// The user whose quizzes a page lists.
fn whose_list(url: &str) -> Option<i64> {
    let path = url.split('?').next().unwrap_or_default();
    let id = path.strip_prefix("/users/")?.strip_suffix("/quizzes")?;
    parse_id(id)
}
