//! The home page: an invitation to play.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::app::App;
use crate::db;
use crate::db::quizzes::Summary;
use crate::error::Error;
use crate::visitor::{Layout, Visitor};

/// Quizzes shown on the home page.
const NEWEST: i64 = 3;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Layout,
    quizzes: Vec<Summary>,
}

/// `GET /`.
pub async fn show(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    visitor.remember_page();
    let quizzes = db::quizzes::newest(&app.db, NEWEST).await?;
    let template = Home {
        page: visitor.layout("home"),
        quizzes,
    };
    visitor.page(StatusCode::OK, &template)
}
