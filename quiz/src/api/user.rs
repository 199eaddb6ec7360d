//! Users, as the API shows them.

use axum::Json;
use axum::extract::State;
use axum::http::header::{HeaderValue, LINK};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorJson};
use super::file::FileJson;
use super::{ApiUser, openapi};
use crate::app::App;
use crate::db;
use crate::db::users::{Profile, Span};
use crate::pages::{Name, parse_id};
use crate::params::Params;

/// The original lists all users at once; so does this, within reason.
const MAX_USERS: usize = 1000;

/// A user: who somebody is to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserJson {
    #[schema(example = 2)]
    pub id: i64,
    pub is_admin: bool,
    #[schema(example = "pepe")]
    pub username: String,
    /// Where the user signs in: 0 here, 1 GitHub, 3 Google, 6 another issuer. 2, 4 and 5 are retired.
    #[schema(example = 0)]
    pub account_type_id: u8,
    /// Who the user is there; null for who signs in here. A text: these ids are longer than numbers can be.
    #[schema(required, example = json!(null))]
    pub profile_id: Option<String>,
    /// What the user is called there; null for who signs in here.
    #[schema(required, example = json!(null))]
    pub profile_name: Option<String>,
    #[schema(required)]
    pub photo: Option<FileJson>,
}

impl From<Profile> for UserJson {
    fn from(profile: Profile) -> Self {
        Self {
            id: profile.id,
            is_admin: profile.is_admin,
            username: profile.username,
            account_type_id: account_type(profile.provider.as_deref()),
            profile_id: profile.subject.map(profile_id),
            profile_name: profile.profile_name,
            photo: FileJson::new(profile.photo, profile.photo_mime),
        }
    }
}

/// The id at the provider. In our rows it follows its issuer, which has no space in it.
pub fn profile_id(subject: String) -> String {
    match subject.split_once(' ') {
        Some((_, id)) => id.to_owned(),
        None => subject,
    }
}

/// The numbers of the original site, and one for the issuers that it did not know.
pub fn account_type(provider: Option<&str>) -> u8 {
    match provider {
        None => 0,
        Some("github") => 1,
        Some("google") => 3,
        Some(_) => 6,
    }
}

/// Users
///
/// Up to a thousand, in the order of their names; the header `Link` leads to the others. Admins see all users; others
/// see themselves and who has published a quiz.
#[utoipa::path(
    get,
    path = "/users",
    operation_id = "listUsers",
    tag = openapi::USERS,
    params(("after" = Option<String>, Query, description = "User name after which to begin, as `Link` has it")),
    responses((status = 200, body = Vec<UserJson>))
)]
pub async fn list(
    State(app): State<App>,
    ApiUser(user): ApiUser,
    params: Params,
) -> Result<Response, ApiError> {
    let span = Span {
        after: params.get("after").unwrap_or_default(),
        offset: 0,
        limit: MAX_USERS as i64 + 1,
    };
    let mut users = db::users::list(&app.db, &user, span).await?;
    let more = users.len() > MAX_USERS;
    users.truncate(MAX_USERS);
    let link = users.last().filter(|_| more).map(|last| {
        let after = utf8_percent_encode(&last.username, NON_ALPHANUMERIC);
        format!("</api/users?after={after}>; rel=\"next\"")
    });
    let users: Vec<UserJson> = users.into_iter().map(UserJson::from).collect();
    let mut response = Json(users).into_response();
    if let Some(link) = link {
        let link = HeaderValue::try_from(link).expect("an address is made of visible characters");
        response.headers_mut().append(LINK, link);
    }
    Ok(response)
}

/// The user whose token it is
#[utoipa::path(
    get,
    path = "/users/tokenOwner",
    operation_id = "getTokenOwner",
    tag = openapi::USERS,
    responses((status = 200, body = UserJson))
)]
pub async fn token_owner(
    State(app): State<App>,
    ApiUser(user): ApiUser,
) -> Result<Json<UserJson>, ApiError> {
    one(&app, user.id).await
}

/// A user
#[utoipa::path(
    get,
    path = "/users/{userId}",
    operation_id = "getUser",
    tag = openapi::USERS,
    params(("userId" = i64, Path, description = "Id of a user")),
    responses(
        (status = 200, body = UserJson),
        (status = 404, body = ErrorJson, description = "There is no such user"),
    )
)]
pub async fn show(State(app): State<App>, Name(id): Name) -> Result<Json<UserJson>, ApiError> {
    one(&app, parse_id(&id).ok_or(ApiError::NoSuchUser(id))?).await
}

async fn one(app: &App, id: i64) -> Result<Json<UserJson>, ApiError> {
    let profile = db::users::find(&app.db, id).await?;
    let profile = profile.ok_or_else(|| ApiError::NoSuchUser(id.to_string()))?;
    Ok(Json(profile.into()))
}
