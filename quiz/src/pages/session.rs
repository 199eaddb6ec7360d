//! Log in and log out.

use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;

use crate::app::App;
use crate::auth;
use crate::csrf;
use crate::error::{self, Error};
use crate::flash::Flash;
use crate::params::Params;
use crate::sign_in::Provider;
use crate::visitor::{Layout, Visitor};

#[derive(Template)]
#[template(path = "session/new.html")]
struct New<'a> {
    page: Layout,
    providers: &'a [Provider],
    /// What was typed, except the password.
    username: String,
    problem: Option<String>,
    open_registration: bool,
}

/// `GET /login`.
pub async fn form(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    visitor.prepare_form();
    let template = New {
        page: visitor.layout("login"),
        providers: app.sign_in.providers(),
        username: String::new(),
        problem: None,
        open_registration: app.config.accounts.open_registration,
    };
    visitor.page(StatusCode::OK, &template)
}

/// `POST /login`, which stands for `DELETE /login` when the form says `_method=DELETE`: browsers cannot send one.
pub async fn submit(
    State(app): State<App>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    let params = csrf::read_urlencoded(request, &app).await?;
    let method = params.method();
    if method.as_deref() == Some("DELETE") && visitor.user().is_none() {
        // Logged out already, perhaps by the time that went by. A token would protect nothing.
        return Ok(visitor.redirect("/goback", &[]));
    }
    visitor.check_csrf(params.get(csrf::FIELD))?;
    match method.as_deref() {
        None => create(&app, visitor, &params).await,
        Some("DELETE") => destroy(visitor).await,
        Some(_) => Err(Error::MethodNotAllowed),
    }
}

async fn create(app: &App, mut visitor: Visitor, params: &Params) -> Result<Response, Error> {
    let username = params.get("username").unwrap_or_default();
    let password = params.get("password").unwrap_or_default();
    match auth::log_in(app, visitor.client(), username, password).await {
        Ok(Some(user)) if visitor.log_in(&user).await? => {
            Ok(visitor.redirect("/goback", &[Flash::Welcome]))
        }
        Ok(_) => Ok(visitor.redirect("/login", &[Flash::LoginFailed])),
        Err(Error::TooMany(wait)) => too_often(app, visitor, username, wait),
        Err(error) => Err(error),
    }
}

/// The form again, with what was typed and when to come back.
fn too_often(
    app: &App,
    visitor: Visitor,
    username: &str,
    wait: Duration,
) -> Result<Response, Error> {
    let secs = error::whole_secs(wait);
    let template = New {
        providers: app.sign_in.providers(),
        username: username.to_owned(),
        open_registration: app.config.accounts.open_registration,
        problem: Some((visitor.texts().login.too_often)(secs)),
        page: visitor.layout("login"),
    };
    let mut page = visitor.page(StatusCode::TOO_MANY_REQUESTS, &template)?;
    page.headers_mut().insert(RETRY_AFTER, secs.into());
    Ok(page)
}

async fn destroy(mut visitor: Visitor) -> Result<Response, Error> {
    visitor.log_out().await?;
    Ok(visitor.redirect("/goback", &[]))
}
