//! The forms that create and edit a local account.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{address, find};
use crate::accounts::{self, PasswordChange, PasswordMoved, PhotoChange, PhotoOutcome};
use crate::app::App;
use crate::attachments::{self, Accept, Saved};
use crate::auth;
use crate::db;
use crate::db::users::{Profile, User};
use crate::domain::password;
use crate::domain::username::{self, Username};
use crate::error::Error;
use crate::flash::Flash;
use crate::limits;
use crate::locale::Texts;
use crate::pages::Id;
use crate::upload::{self, Form};
use crate::visitor::{Layout, LoggedIn, Visitor};

#[derive(Template)]
#[template(path = "users/new.html")]
struct New {
    page: Layout,
    form: Typed,
}

#[derive(Template)]
#[template(path = "users/edit.html")]
struct Edit {
    page: Layout,
    user: Profile,
    is_own: bool,
    form: Typed,
}

/// What was typed, and what is wrong with it. Passwords are not sent back.
#[derive(Default)]
struct Typed {
    username: String,
    keep_photo: bool,
    username_error: Option<String>,
    current_error: Option<String>,
    password_error: Option<String>,
    photo_error: Option<String>,
}

impl Typed {
    const MAX_USERNAME: usize = username::MAX_CHARS;
    const MIN_PASSWORD: usize = password::MIN_CHARS;

    /// The errors with the ids of their fields, in the order of the form.
    fn errors(&self) -> Vec<(&'static str, &str)> {
        [
            ("username", &self.username_error),
            ("current_password", &self.current_error),
            ("password", &self.password_error),
            ("photo", &self.photo_error),
        ]
        .into_iter()
        .filter_map(|(field, error)| error.as_deref().map(|error| (field, error)))
        .collect()
    }
}

/// `GET /users/new`: for admins, and for anybody where registration is open.
pub async fn new(State(app): State<App>, mut visitor: Visitor) -> Result<Response, Error> {
    check_may_create(&app, &visitor)?;
    visitor.prepare_form();
    new_page(visitor, StatusCode::OK, Typed::default())
}

/// `POST /users`.
pub async fn create(
    State(app): State<App>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    if let Err(error) = check_may_create(&app, &visitor) {
        upload::discard(request).await;
        return Err(error);
    }
    let mut form = Form::read(request, &app, &visitor, "photo").await?;
    let mut typed = Typed {
        username: form.text("username").unwrap_or_default().to_owned(),
        ..Typed::default()
    };
    match try_create(&app, &visitor, &mut form, &mut typed).await? {
        Err(status) => new_page(visitor, status, typed),
        Ok((id, about_photo)) => {
            let to = visitor.user().map_or("/login".to_owned(), |_| address(id));
            Ok(visitor.redirect(&to, &[Flash::UserCreated, about_photo]))
        }
    }
}

/// The id of the new user, or the status of the form with its errors. The photo is looked at last, so that a form that
/// is refused anyway costs no more than its bytes.
async fn try_create(
    app: &App,
    visitor: &Visitor,
    form: &mut Form,
    typed: &mut Typed,
) -> Result<Result<(i64, Flash), StatusCode>, Error> {
    let t = visitor.texts();
    let username = Username::parse(form.text("username"));
    let password = accounts::check_password(
        form.text("password"),
        form.text("password2"),
        form.text("username").unwrap_or_default(),
    )
    .await?;
    typed.username_error = username.as_ref().err().map(|error| error.text(t));
    typed.password_error = password.as_ref().err().map(|error| error.text(t));
    if let (Ok(username), Ok(_)) = (&username, &password) {
        limits::registration(app, visitor).await?;
        let taken = db::users::is_taken(&app.db, username.as_str()).await?;
        typed.username_error = taken.then(|| (t.users.username_taken)(username.as_str()));
    }
    let (Ok(username), Ok(password), None) = (username, password, &typed.username_error) else {
        return Ok(Err(StatusCode::UNPROCESSABLE_ENTITY));
    };
    let photo = match save_photo(app, form, typed, t).await? {
        Ok(photo) => photo,
        Err(status) => return Ok(Err(status)),
    };
    let about_photo = match photo {
        Some(_) => Flash::PhotoSaved,
        None => Flash::UserWithoutPhoto,
    };
    // Somebody may have been faster since the question above.
    match accounts::create(app, &username, &password, photo).await? {
        Some(id) => Ok(Ok((id, about_photo))),
        None => {
            typed.username_error = Some((t.users.username_taken)(username.as_str()));
            Ok(Err(StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

/// `GET /users/{id}/edit`: the user or an admin, local accounts only.
pub async fn edit(
    State(app): State<App>,
    Id(id): Id,
    logged_in: Result<LoggedIn, Response>,
) -> Result<Response, Response> {
    let LoggedIn { visitor, user } = logged_in?;
    let page = async {
        let profile = find_editable(&app, &user, id).await?;
        let form = Typed {
            keep_photo: true,
            ..Typed::default()
        };
        edit_page(visitor, StatusCode::OK, profile, form)
    };
    page.await.map_err(IntoResponse::into_response)
}

/// `PUT /users/{id}` and `DELETE /users/{id}`, both by POST.
pub async fn change(
    State(app): State<App>,
    Id(id): Id,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    let Some(actor) = visitor.user().cloned() else {
        upload::discard(request).await;
        return Ok(visitor.to_log_in());
    };
    let form = Form::read_any(request, &app, &visitor, "photo").await?;
    match form.method().as_deref() {
        Some("PUT") => update(&app, visitor, &actor, id, form).await,
        Some("DELETE") => super::delete(&app, visitor, &actor, id).await,
        _ => Err(Error::MethodNotAllowed),
    }
}

async fn update(
    app: &App,
    visitor: Visitor,
    actor: &User,
    id: i64,
    mut form: Form,
) -> Result<Response, Error> {
    let user = find_editable(app, actor, id).await?;
    let mut typed = Typed {
        keep_photo: form.text("keepPhoto").is_some_and(|keep| !keep.is_empty()),
        ..Typed::default()
    };
    match try_update(app, &visitor, &user, &mut form, &mut typed).await? {
        Err(status) => edit_page(visitor, status, user, typed),
        Ok(photo) => {
            let mut messages = vec![Flash::UserUpdated];
            messages.extend(match photo {
                PhotoOutcome::Kept => None,
                PhotoOutcome::None => Some(Flash::UserHasNoPhoto),
                PhotoOutcome::Saved => Some(Flash::PhotoSaved),
                PhotoOutcome::TooSoon => Some(Flash::PhotoTooSoon),
            });
            Ok(visitor.redirect(&address(id), &messages))
        }
    }
}

/// What became of the photo, or the status of the form with its errors.
async fn try_update(
    app: &App,
    visitor: &Visitor,
    user: &Profile,
    form: &mut Form,
    typed: &mut Typed,
) -> Result<Result<PhotoOutcome, StatusCode>, Error> {
    let t = visitor.texts();
    let actor = visitor.user().ok_or(Error::Forbidden)?;
    let Some(password) = read_password(app, visitor, user, form, typed).await? else {
        return Ok(Err(StatusCode::UNPROCESSABLE_ENTITY));
    };
    let mut too_soon = false;
    // Who chooses a file wants it, also where the box to keep the old one is still ticked.
    let photo = if typed.keep_photo && !form.has_file() {
        PhotoChange::Keep
    } else if accounts::photo_is_recent(app, user.id).await? {
        // Not worth decoding. Without a file it may still be that there is nothing to remove.
        too_soon = form.take_file().is_some();
        if too_soon {
            PhotoChange::Keep
        } else {
            PhotoChange::Remove
        }
    } else {
        match save_photo(app, form, typed, t).await? {
            Ok(Some(saved)) => PhotoChange::Set(saved),
            Ok(None) => PhotoChange::Remove,
            Err(status) => return Ok(Err(status)),
        }
    };
    match accounts::update(app, actor, user.id, password, photo).await? {
        Ok(_) if too_soon => Ok(Ok(PhotoOutcome::TooSoon)),
        Ok(outcome) => Ok(Ok(outcome)),
        Err(PasswordMoved) => {
            typed.current_error = Some(t.users.password_wrong.to_owned());
            Ok(Err(StatusCode::UNPROCESSABLE_ENTITY))
        }
    }
}

/// The change of the password that the form asks for, or none when it has errors. Who changes their own password shows
/// that they know the old one: a browser left alone is not enough. Admins set the passwords of others without.
async fn read_password(
    app: &App,
    visitor: &Visitor,
    user: &Profile,
    form: &Form,
    typed: &mut Typed,
) -> Result<Option<PasswordChange>, Error> {
    let t = visitor.texts();
    let blank = |name| form.text(name).unwrap_or_default().is_empty();
    if blank("password") && blank("password2") {
        return Ok(Some(PasswordChange::Keep));
    }
    let (new, again) = (form.text("password"), form.text("password2"));
    let new = accounts::check_password(new, again, &user.username).await?;
    typed.password_error = new.as_ref().err().map(|error| error.text(t));
    let is_own = visitor.user().is_some_and(|actor| actor.id == user.id);
    let mut old_hash = None;
    if is_own {
        // The hash first: if it changes while the password is looked at, the change below finds out.
        old_hash = db::users::password_hash(&app.db, user.id).await?;
        let current = form.text("current_password").unwrap_or_default();
        let found = auth::log_in(app, visitor.client(), &user.username, current).await?;
        if found.map(|found| found.user_id) != Some(user.id) {
            typed.current_error = Some(t.users.password_wrong.to_owned());
            return Ok(None);
        }
    }
    Ok(new.ok().map(|new| PasswordChange::Set {
        new,
        old_hash,
        keep_session: visitor.session_hash().filter(|_| is_own),
    }))
}

/// The photo of a form in the store, or the status of the form that tells why not.
async fn save_photo(
    app: &App,
    form: &mut Form,
    typed: &mut Typed,
    t: &Texts,
) -> Result<Result<Option<Saved>, StatusCode>, Error> {
    let Some(file) = form.take_file() else {
        return Ok(Ok(None));
    };
    match attachments::save(app, file, Accept::PictureOnly).await? {
        Ok(saved) => Ok(Ok(Some(saved))),
        Err(refusal) => {
            typed.photo_error = Some(refusal.text(t));
            Ok(Err(refusal.status()))
        }
    }
}

fn check_may_create(app: &App, visitor: &Visitor) -> Result<(), Error> {
    let is_admin = visitor.user().is_some_and(|user| user.is_admin);
    if is_admin || app.config.accounts.open_registration {
        Ok(())
    } else {
        Err(Error::Forbidden)
    }
}

async fn find_editable(app: &App, actor: &User, id: i64) -> Result<Profile, Error> {
    let user = find(app, id).await?;
    if actor.is_admin_or(Some(id)) && user.is_local() {
        Ok(user)
    } else {
        Err(Error::Forbidden)
    }
}

fn new_page(visitor: Visitor, status: StatusCode, form: Typed) -> Result<Response, Error> {
    let template = New {
        page: visitor.layout("users"),
        form,
    };
    visitor.page(status, &template)
}

fn edit_page(
    visitor: Visitor,
    status: StatusCode,
    user: Profile,
    form: Typed,
) -> Result<Response, Error> {
    let template = Edit {
        page: visitor.layout("users"),
        is_own: visitor.user().is_some_and(|actor| actor.id == user.id),
        user,
        form,
    };
    visitor.page(status, &template)
}
