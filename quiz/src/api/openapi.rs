//! The description of the API: OpenAPI 3.1, made from the code, committed as `docs/openapi.json`.

use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoParams, Modify, OpenApi};

use super::error::ErrorJson;

/// Where it is served, below [`ROOT`](super::ROOT). It holds no secret: no token is needed.
pub(super) const PATH: &str = "/openapi.json";

/// Groups of routes.
pub(super) const QUIZZES: &str = "quizzes";
pub(super) const RANDOM_PLAY: &str = "random play";
pub(super) const USERS: &str = "users";

const SCHEME: &str = "token";

const ABOUT: &str = "\
Read quizzes and users, play, keep favourites. Every call carries the API token of a user, which the user makes on the \
own page: `Authorization: Bearer <token>`. The parameter `?token=` of older clients still works, but is deprecated: \
addresses end up in logs and histories. Only this document needs no token.

Errors are `{\"error\": \"…\"}` with the status that fits: 400 what cannot be read, 401 no valid token, 404 nothing there, \
405 wrong method, 406 neither JSON nor XML, 409 no game, 429 too often (see `Retry-After`), 503 come back in a moment.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Quizstack", description = ABOUT),
    servers((url = "/api")),
    security(("token" = [])),
    components(schemas(ErrorJson)),
    tags(
        (name = QUIZZES, description = "Quizzes and their lists, as JSON or as XML"),
        (name = RANDOM_PLAY, description = "One game per user, known to all front-ends; no cookie is needed"),
        (name = USERS, description = "Users and their favourites"),
    ),
    modifiers(&TokenScheme),
)]
struct Base;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut Document) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(SCHEME, bearer);
    }
}

/// Parameters of every list of quizzes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Words of the question, in this order. Case and accents do not matter.
    #[param(max_length = 255)]
    pub search: Option<String>,
    /// Not empty: only favourites of the user whose token it is.
    pub searchfavourites: Option<String>,
    /// `newest` (unless told otherwise), `oldest` or `liked`.
    pub sort: Option<String>,
    /// Number of the page, from 1; of a page at a cursor, what is told as its number.
    #[param(minimum = 1)]
    pub pageno: Option<u32>,
    /// A cursor, as `nextUrl` has it.
    pub after: Option<String>,
}

/// Everything but the routes.
pub(super) fn base() -> Document {
    Base::openapi()
}

/// The whole document.
pub fn document() -> &'static Document {
    static DOCUMENT: LazyLock<Document> = LazyLock::new(|| super::described().into_openapi());
    &DOCUMENT
}

/// `GET /api/openapi.json`.
pub(super) async fn show() -> Json<&'static Document> {
    Json(document())
}
