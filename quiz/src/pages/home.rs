//! The home page: an invitation to play.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::db;
use crate::db::quizzes::Listed;
use crate::error::Error;
use crate::visitor::{Layout, Visitor};

/// Quizzes shown on the home page.
const NEWEST: i64 = 3;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Layout,
    quizzes: Vec<Listed>,
}

/// `GET /`.
pub async fn show(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    visitor.remember_shared_page();
    let viewer = visitor.user().map(|user| user.id);
    let quizzes = db::quizzes::newest(&app.db, viewer, NEWEST).await?;
    let template = Home {
        page: visitor.layout("home"),
        quizzes,
    };
    visitor.page(StatusCode::OK, &template)
}
