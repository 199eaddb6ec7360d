//! Every URL of the site.
//!
//! The largest bodies: [`csrf::MAX_BYTES`] everywhere, [`upload::MAX_BODY_BYTES`] where a form has a file (of which
//! `QUIZ_MAX_UPLOAD_BYTES` is kept). The API reads no body at all.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::api;
use crate::app::{self, App};
use crate::assets;
use crate::csrf;
use crate::error::Error;
use crate::lifecycle;
use crate::limits;
use crate::pages::{
    author, back, favourites, health, home, images, language, play, quizzes, random, session,
    sessions, sign_in, users,
};
use crate::upload;

/// The listener that visitors reach through the balancer.
pub fn site(app: &App) -> Router {
    let sign_ins = middleware::from_fn_with_state(app.clone(), limits::sign_ins);
    let checks = middleware::from_fn_with_state(app.clone(), limits::checks);
    let pages = Router::new()
        .route("/", get(home::show))
        .route("/author", get(author::show))
        .route(
            "/auth/{provider}",
            get(sign_in::start).route_layer(sign_ins.clone()),
        )
        .route(
            "/auth/{provider}/callback",
            get(sign_in::callback).route_layer(sign_ins),
        )
        .route("/goback", get(back::go))
        .route("/language", post(language::choose))
        .route("/login", get(session::form).post(session::submit))
        .route("/sessions", get(sessions::list).post(sessions::end_all))
        .route("/sessions/{id}", post(sessions::end))
        .route("/quizzes", get(quizzes::list::all))
        .route(
            "/quizzes",
            post(quizzes::create::submit).layer(DefaultBodyLimit::max(upload::MAX_BODY_BYTES)),
        )
        .route("/users/{id}/quizzes", get(quizzes::list::of_user))
        .route("/users/{id}/favourites/{quiz}", post(favourites::change))
        .route("/quizzes/new", get(quizzes::create::new))
        .route("/quizzes/{id}", get(quizzes::show))
        .route(
            "/quizzes/{id}",
            post(quizzes::edit::submit).layer(DefaultBodyLimit::max(upload::MAX_BODY_BYTES)),
        )
        .route("/quizzes/{id}/edit", get(quizzes::edit::edit))
        .route("/quizzes/{id}/delete", get(quizzes::delete::confirm))
        .route("/quizzes/{id}/play", get(play::question))
        .route(
            "/quizzes/{id}/check",
            get(play::check).route_layer(checks.clone()),
        )
        .route(
            "/random",
            get(random::show).merge(post(random::start).route_layer(checks.clone())),
        )
        .route(
            "/random/next",
            post(random::next).route_layer(checks.clone()),
        )
        .route("/random/answer", post(random::answer).route_layer(checks))
        .merge(accounts())
        .route("/images/{id}", get(images::show))
        .route_layer(middleware::from_fn_with_state(
            app.clone(),
            lifecycle::wait_while_starting,
        ));
    let router = pages
        .route("/static/{name}", get(assets::serve))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .layer(DefaultBodyLimit::max(csrf::MAX_BYTES))
        .fallback(async || Error::NotFound)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    let router = api::mount(app::contain(router, app), app);
    app::layers(router, app).with_state(app.clone())
}

/// The users and what is theirs.
fn accounts() -> Router<App> {
    let uploads = DefaultBodyLimit::max(upload::MAX_BODY_BYTES);
    Router::new()
        .route("/users", get(users::list::show))
        .route("/users", post(users::form::create).layer(uploads))
        .route("/users/new", get(users::form::new))
        .route("/users/{id}", get(users::show))
        .route("/users/{id}", post(users::form::change).layer(uploads))
        .route("/users/{id}/edit", get(users::form::edit))
        .route("/users/{id}/delete", get(users::ask_delete))
        .route("/users/{id}/token", post(users::set_token))
        .route("/users/{id}/role", post(users::set_role))
}

/// The listener for operators, never reachable by visitors.
pub fn admin(app: &App) -> Router {
    Router::new()
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(app.clone())
}
