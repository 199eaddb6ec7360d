//! The API under `/api`: JSON, and XML for quizzes. Who calls it shows a token; it reads and sets no cookies.
//!
//! `described` is its table of contents: a route is mounted together with its description, so that the OpenAPI document
//! and the router cannot disagree.

use axum::Router;
use axum::middleware;
use axum::routing::{any, get};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{self, App};
use crate::error::Error;
use crate::lifecycle;
use crate::limits;

pub mod auth;
pub mod cors;
pub mod error;
pub mod favourite;
pub mod file;
pub mod format;
pub mod openapi;
pub mod quiz;
pub mod quizzes;
pub mod random;
pub mod user;
pub mod xml;

pub use auth::ApiUser;
pub use error::ApiError;

/// Where the API is mounted.
pub const ROOT: &str = "/api";

/// Every URL of the API.
fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(quizzes::list))
        .routes(routes!(quiz::show))
        .routes(routes!(quiz::check))
        .routes(routes!(random::one))
        .routes(routes!(random::ten))
        .routes(routes!(random::begin))
        .routes(routes!(random::next))
        .routes(routes!(random::check))
        .routes(routes!(user::list))
        .routes(routes!(user::token_owner))
        .routes(routes!(user::show))
        .routes(routes!(quizzes::list_own))
        .routes(routes!(quizzes::list_of_user))
        .routes(routes!(favourite::add, favourite::remove))
        // The same lists with their format in the address.
        .route("/{name}", get(quizzes::list_as))
        .route("/users/{userId}/{name}", get(quizzes::list_of_user_as))
}

/// The site with its API.
pub fn mount(site: Router<App>, app: &App) -> Router<App> {
    let routes = Router::from(described())
        .fallback(async || ApiError::NoSuchRoute)
        .method_not_allowed_fallback(async || Error::MethodNotAllowed);
    // What is nested begins behind the slash, so the bare slash would be a page that is not found.
    let slash = Router::new().route("/api/", any(async || ApiError::NoSuchRoute));
    let description = Router::new().route(openapi::PATH, get(openapi::show));
    let routes = guarded(routes, app).merge(description);
    site.nest(ROOT, wrapped(routes, app))
        .merge(wrapped(guarded(slash, app), app))
}

/// Asks for a token, at unknown addresses as well.
fn guarded(router: Router<App>, app: &App) -> Router<App> {
    router
        .layer(middleware::from_fn_with_state(
            app.clone(),
            auth::require_token,
        ))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            lifecycle::wait_while_starting,
        ))
        .layer(middleware::from_fn_with_state(
            app.clone(),
            limits::api_calls,
        ))
}

/// Makes errors JSON and lets other sites read every reply, errors included.
fn wrapped(router: Router<App>, app: &App) -> Router<App> {
    let router = app::contain(router, app).layer(middleware::from_fn(error::as_json));
    match cors::layer(&app.config.api.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}
