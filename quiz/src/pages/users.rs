//! The users: list, page, role, API token, and farewell. The forms with a password are in [`form`].

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use time::OffsetDateTime;

use crate::accounts::{self, LastAdmin};
use crate::app::App;
use crate::csrf::UserForm;
use crate::db;
use crate::db::users::{Profile, User};
use crate::error::Error;
use crate::flash::{Flash, Kind};
use crate::pages::Id;
use crate::token::Token;
use crate::visitor::{Layout, LoggedIn, Visitor};

pub mod form;
pub mod list;

#[derive(Template)]
#[template(path = "users/show.html")]
struct Show {
    page: Layout,
    user: Profile,
    access: Access,
    /// Shown this once.
    new_token: Option<String>,
    /// The last moment of the token there is.
    token_until: Option<OffsetDateTime>,
}

#[derive(Template)]
#[template(path = "users/delete.html")]
struct Delete {
    page: Layout,
    user: Profile,
    is_own: bool,
}

/// What the visitor may do with a user.
struct Access {
    is_own: bool,
    is_admin: bool,
    may_edit: bool,
    may_delete: bool,
}

impl Access {
    fn of(visitor: &User, user: &Profile) -> Self {
        let allowed = visitor.is_admin_or(Some(user.id));
        Self {
            is_own: visitor.id == user.id,
            is_admin: visitor.is_admin,
            may_edit: allowed && user.is_local(),
            may_delete: allowed,
        }
    }
}

impl Show {
    fn token_expired(&self) -> bool {
        self.token_until
            .is_some_and(|until| until <= OffsetDateTime::now_utc())
    }
}

/// `GET /users/{id}`. The log-in comes first, so that strangers cannot probe for ids.
pub async fn show(
    State(app): State<App>,
    Id(id): Id,
    logged_in: Result<LoggedIn, Response>,
) -> Result<Response, Response> {
    let LoggedIn { visitor, .. } = logged_in?;
    show_page(&app, visitor, id, None)
        .await
        .map_err(IntoResponse::into_response)
}

/// `GET /users/{id}/delete`: asks whether it is meant. Nothing on a page does that without a script.
pub async fn ask_delete(
    State(app): State<App>,
    Id(id): Id,
    logged_in: Result<LoggedIn, Response>,
) -> Result<Response, Response> {
    let LoggedIn { visitor, user } = logged_in?;
    let page = async {
        let profile = find(&app, id).await?;
        let access = Access::of(&user, &profile);
        if !access.may_delete {
            return Err(Error::Forbidden);
        }
        let template = Delete {
            page: visitor.layout("users"),
            user: profile,
            is_own: access.is_own,
        };
        visitor.page(StatusCode::OK, &template)
    };
    page.await.map_err(IntoResponse::into_response)
}

/// `DELETE /users/{id}`, by POST.
async fn delete(app: &App, mut visitor: Visitor, actor: &User, id: i64) -> Result<Response, Error> {
    if !actor.is_admin_or(Some(id)) {
        find(app, id).await?;
        return Err(Error::Forbidden);
    }
    match accounts::delete(app, actor, id).await? {
        Err(LastAdmin) => show_page(app, visitor, id, Some(LastAdmin)).await,
        Ok(()) => {
            if actor.id == id {
                visitor.log_out().await?;
            }
            Ok(visitor.redirect("/goback", &[Flash::UserDeleted]))
        }
    }
}

/// `POST /users/{id}/role`: an admin makes a user an admin, or no longer one.
pub async fn set_role(
    State(app): State<App>,
    Id(id): Id,
    form: UserForm,
) -> Result<Response, Error> {
    let UserForm {
        visitor,
        user: actor,
        params,
    } = form;
    if !actor.is_admin {
        return Err(Error::Forbidden);
    }
    let (is_admin, done) = match params.get("role") {
        Some("admin") => (true, Flash::RoleGranted),
        Some("user") => (false, Flash::RoleWithdrawn),
        _ => return Err(Error::BadRequest(|t| t.users.no_such_role)),
    };
    match accounts::set_admin(&app, &actor, id, is_admin).await? {
        Err(LastAdmin) => show_page(&app, visitor, id, Some(LastAdmin)).await,
        Ok(()) => Ok(visitor.redirect(&address(id), &[done])),
    }
}

/// `PUT /users/{id}/token` and `DELETE /users/{id}/token`, by POST. A token is made by its owner alone, who is the only
/// one to see it; an admin may take it away.
pub async fn set_token(
    State(app): State<App>,
    Id(id): Id,
    form: UserForm,
) -> Result<Response, Error> {
    let UserForm {
        visitor,
        user: actor,
        params,
    } = form;
    find(&app, id).await?;
    match params.method().as_deref() {
        Some("PUT") if actor.id == id => {
            let token = Token::generate();
            db::users::change::set_token(&app.db, id, Some(&token.hash())).await?;
            let messages = [Flash::TokenCreated, Flash::Token(token.text())];
            Ok(visitor.redirect(&address(id), &messages))
        }
        Some("DELETE") if actor.is_admin_or(Some(id)) => {
            accounts::revoke_token(&app, &actor, id).await?;
            Ok(visitor.redirect(&address(id), &[Flash::TokenRevoked]))
        }
        Some("PUT" | "DELETE") => Err(Error::Forbidden),
        _ => Err(Error::MethodNotAllowed),
    }
}

/// The page of a user, with a refusal on it when there is one.
async fn show_page(
    app: &App,
    visitor: Visitor,
    id: i64,
    refusal: Option<LastAdmin>,
) -> Result<Response, Error> {
    let user = find(app, id).await?;
    let viewer = visitor.user().ok_or(Error::Forbidden)?;
    let access = Access::of(viewer, &user);
    let new_token = visitor.messages().iter().find_map(|message| match message {
        Flash::Token(token) if access.is_own => Some(token.clone()),
        _ => None,
    });
    let created = match access.is_own {
        true => db::users::token_created_at(&app.db, id).await?,
        false => None,
    };
    let mut page = visitor.layout("users");
    let mut status = StatusCode::OK;
    if refusal.is_some() {
        let text = page.t.users.last_admin.to_owned();
        page.messages.insert(0, (Kind::Error, vec![text]));
        status = StatusCode::CONFLICT;
    }
    let template = Show {
        page,
        token_until: created.map(|created| created + app.config.accounts.token_ttl),
        user,
        access,
        new_token,
    };
    visitor.page(status, &template)
}

async fn find(app: &App, id: i64) -> Result<Profile, Error> {
    db::users::find(&app.db, id).await?.ok_or(Error::NotFound)
}

fn address(id: i64) -> String {
    format!("/users/{id}")
}
