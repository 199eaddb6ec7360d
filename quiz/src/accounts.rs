//! Accounts: their settings, and the changes that are more than one statement. Each is a transaction that asks again
//! whether it may happen: the page that led to it may be old.

use std::time::Duration;

use anyhow::Context;
use clap::builder::BoolishValueParser;
use sqlx::PgConnection;

use crate::app::App;
use crate::attachments::Saved;
use crate::config::positive_secs;
use crate::db;
use crate::db::users::{User, change};
use crate::domain::password::{NewPassword, PasswordError};
use crate::domain::username::Username;
use crate::error::Error;

/// Time between two changes of a photo.
const PHOTO_PAUSE_SECS: f64 = 60.0;

/// Settings of the accounts.
#[derive(Clone, Debug, clap::Args)]
pub struct AccountsConfig {
    /// May anybody register? Otherwise only admins make accounts
    #[arg(long = "open-registration", env = "QUIZ_OPEN_REGISTRATION", value_name = "BOOL", default_value = "false",
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub open_registration: bool,

    /// Life of an API token, in seconds
    #[arg(id = "token_ttl", long = "token-ttl-secs", env = "QUIZ_TOKEN_TTL_SECS", value_name = "SECS",
        default_value = "31536000", value_parser = positive_secs)]
    pub token_ttl: Duration,
}

/// The password of a user.
pub enum PasswordChange {
    Keep,
    Set {
        new: NewPassword,
        /// The hash that the visitor has shown to know the password of; none when an admin sets it for somebody else.
        old_hash: Option<String>,
        /// The session that goes on. All others of the user end.
        keep_session: Option<[u8; 32]>,
    },
}

/// The photo of a user.
pub enum PhotoChange {
    Keep,
    Remove,
    Set(Saved),
}

/// What has become of the photo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhotoOutcome {
    Kept,
    /// There is none any more, or there was none.
    None,
    Saved,
    TooSoon,
}

/// The password is no longer the one that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordMoved;

/// The change would leave the site without an admin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAdmin;

/// Checks a new password off the async threads: to estimate how soon it is guessed takes a while.
pub async fn check_password(
    typed: Option<&str>,
    repeated: Option<&str>,
    username: &str,
) -> Result<Result<NewPassword, PasswordError>, Error> {
    let (typed, repeated) = (typed.map(str::to_owned), repeated.map(str::to_owned));
    let username = username.to_owned();
    tokio::task::spawn_blocking(move || {
        NewPassword::parse(typed.as_deref(), repeated.as_deref(), &username)
    })
    .await
    .context("waiting for the check of a new password")
    .map_err(Error::Internal)
}

/// Makes a local account and tells its id; none when the name is taken.
pub async fn create(
    app: &App,
    username: &Username,
    password: &NewPassword,
    photo: Option<Saved>,
) -> Result<Option<i64>, Error> {
    let password_hash = hash(app, password).await?;
    let new = change::New {
        username: username.as_str(),
        password_hash: &password_hash,
        photo_id: photo.as_ref().map(|photo| photo.id),
    };
    let mut transaction = app.db.begin().await?;
    let Some(id) = change::create(&mut transaction, &new).await? else {
        return Ok(None);
    };
    if let Some(photo) = &photo {
        db::attachments::claim(&mut transaction, photo.id).await?;
    }
    transaction.commit().await?;
    Ok(Some(id))
}

/// Changes the password and the photo of a user, both or none of them; a photo for which it is too soon stays.
/// [`Error::Forbidden`] when `actor` is neither the user nor an admin any more.
pub async fn update(
    app: &App,
    actor: &User,
    user_id: i64,
    password: PasswordChange,
    photo: PhotoChange,
) -> Result<Result<PhotoOutcome, PasswordMoved>, Error> {
    let new_hash = match &password {
        PasswordChange::Keep => None,
        PasswordChange::Set { new, .. } => Some(hash(app, new).await?),
    };
    let mut transaction = app.db.begin().await?;
    check_may_change(&mut transaction, actor, user_id).await?;
    let outcome = change_photo(&mut transaction, user_id, &photo).await?;
    if let (
        PasswordChange::Set {
            old_hash,
            keep_session,
            ..
        },
        Some(new_hash),
    ) = (&password, new_hash)
    {
        let old_hash = old_hash.as_deref();
        if !change::set_password(&mut transaction, user_id, &new_hash, old_hash).await? {
            return Ok(Err(PasswordMoved));
        }
        db::sessions::delete_others(&mut *transaction, user_id, keep_session.as_ref()).await?;
    }
    transaction.commit().await?;
    Ok(Ok(outcome))
}

/// Would a change of the photo come too soon? Asked before the work of decoding a new one.
pub async fn photo_is_recent(app: &App, user_id: i64) -> Result<bool, Error> {
    let is_recent = db::users::photo_is_recent(&app.db, user_id, PHOTO_PAUSE_SECS).await?;
    is_recent.ok_or(Error::NotFound)
}

async fn change_photo(
    transaction: &mut PgConnection,
    user_id: i64,
    photo: &PhotoChange,
) -> Result<PhotoOutcome, Error> {
    let old = change::lock_photo(&mut *transaction, user_id, PHOTO_PAUSE_SECS).await?;
    let old = old.ok_or(Error::NotFound)?;
    let (new_id, outcome) = match photo {
        PhotoChange::Keep => return Ok(PhotoOutcome::Kept),
        PhotoChange::Remove if old.id.is_none() => return Ok(PhotoOutcome::None),
        _ if old.is_recent => return Ok(PhotoOutcome::TooSoon),
        PhotoChange::Remove => (None, PhotoOutcome::None),
        PhotoChange::Set(saved) => (Some(saved.id), PhotoOutcome::Saved),
    };
    change::set_photo(&mut *transaction, user_id, new_id).await?;
    db::attachments::replace(transaction, old.id, new_id).await?;
    Ok(outcome)
}

/// Takes the API token of a user away. [`Error::Forbidden`] when `actor` is neither the user nor an admin any more.
pub async fn revoke_token(app: &App, actor: &User, user_id: i64) -> Result<(), Error> {
    let mut transaction = app.db.begin().await?;
    check_may_change(&mut transaction, actor, user_id).await?;
    change::set_token(&mut *transaction, user_id, None).await?;
    Ok(transaction.commit().await?)
}

/// Is `actor` the user, or still an admin? An admin stays one until the transaction ends.
async fn check_may_change(
    transaction: &mut PgConnection,
    actor: &User,
    user_id: i64,
) -> Result<(), Error> {
    if actor.id == user_id {
        return Ok(());
    }
    change::lock_admins(&mut *transaction).await?;
    if change::is_admin(transaction, actor.id).await? {
        Ok(())
    } else {
        Err(Error::Forbidden)
    }
}

/// Makes a user an admin, or no longer one.
pub async fn set_admin(
    app: &App,
    actor: &User,
    user_id: i64,
    is_admin: bool,
) -> Result<Result<(), LastAdmin>, Error> {
    let mut transaction = app.db.begin().await?;
    change::lock_admins(&mut transaction).await?;
    if !change::is_admin(&mut transaction, actor.id).await? {
        return Err(Error::Forbidden);
    }
    if let Err(refusal) = lock(&mut transaction, user_id, is_admin).await? {
        return Ok(Err(refusal));
    }
    change::set_admin(&mut transaction, user_id, is_admin).await?;
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Deletes a user: the quizzes stay without author, the sessions end, the photo is let go.
pub async fn delete(app: &App, actor: &User, user_id: i64) -> Result<Result<(), LastAdmin>, Error> {
    let mut transaction = app.db.begin().await?;
    change::lock_admins(&mut transaction).await?;
    if actor.id != user_id && !change::is_admin(&mut transaction, actor.id).await? {
        return Err(Error::Forbidden);
    }
    let user = match lock(&mut transaction, user_id, false).await? {
        Ok(user) => user,
        Err(refusal) => return Ok(Err(refusal)),
    };
    change::delete(&mut transaction, user_id).await?;
    if let Some(photo_id) = user.photo_id {
        db::attachments::release(&mut transaction, photo_id).await?;
    }
    transaction.commit().await?;
    Ok(Ok(()))
}

/// Locks the row of a user who exists, and sees that there is an admin left when this one is none any more.
async fn lock(
    transaction: &mut PgConnection,
    user_id: i64,
    stays_admin: bool,
) -> Result<Result<change::Locked, LastAdmin>, Error> {
    let user = change::lock(&mut *transaction, user_id).await?;
    let user = user.ok_or(Error::NotFound)?;
    if user.is_admin && !stays_admin && !change::has_other_admin(transaction, user_id).await? {
        return Ok(Err(LastAdmin));
    }
    Ok(Ok(user))
}

async fn hash(app: &App, password: &NewPassword) -> Result<String, Error> {
    app.passwords.hash(password.expose().to_owned()).await
}
