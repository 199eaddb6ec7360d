//! The description of the API: OpenAPI 3.1, made from the code, committed as `docs/openapi.json`.

use std::sync::LazyLock;

use axum::Json;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi};

use super::error::ErrorJson;

/// Where it is served, below [`ROOT`](super::ROOT). It holds no secret: no token is needed.
pub(super) const PATH: &str = "/openapi.json";

/// Groups of routes.
pub(super) const QUIZZES: &str = "quizzes";
pub(super) const RANDOM_PLAY: &str = "random play";
pub(super) const USERS: &str = "users";

const SCHEME: &str = "token";

/// Status, name and description of what any operation may reply.
const COMMON_REPLIES: [(&str, &str, &str); 4] = [
    (
        "400",
        "Unreadable",
        "A parameter cannot be read, or there are several tokens",
    ),
    (
        "401",
        "Unauthorized",
        "There is no token, or it is not valid (any more)",
    ),
    (
        "429",
        "TooMany",
        "Too often in a short time: `Retry-After` says when to come back",
    ),
    (
        "503",
        "Unavailable",
        "A part of the site does not answer: come back in a moment",
    ),
];

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
    /// Words of the question, in this order. Case and accents do not matter. Without three letters or digits in a row,
    /// or among favourites, it looks at the newest of the list only: at 10,000, unless the site is set up otherwise.
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
    static DOCUMENT: LazyLock<Document> = LazyLock::new(|| {
        let mut document = super::described().into_openapi();
        add_common_replies(&mut document);
        document
    });
    &DOCUMENT
}

/// Describes once, for all operations, what the layers around them may reply.
fn add_common_replies(document: &mut Document) {
    let components = document.components.get_or_insert_default();
    for (status, name, description) in COMMON_REPLIES {
        let json = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorJson")));
        let reply = ResponseBuilder::new()
            .description(description)
            .content("application/json", json.build());
        components.responses.insert(name.to_owned(), reply.into());
        let operations = document.paths.paths.values_mut().flat_map(|path| {
            let methods = [
                &mut path.get,
                &mut path.put,
                &mut path.post,
                &mut path.delete,
            ];
            methods.into_iter().flatten()
        });
        for operation in operations {
            let reply = Ref::from_response_name(name).into();
            let replies = &mut operation.responses.responses;
            replies.entry(status.to_owned()).or_insert(reply);
        }
    }
}

/// `GET /api/openapi.json`.
pub(super) async fn show() -> Json<&'static Document> {
    Json(document())
}
