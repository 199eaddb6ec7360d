//! A quiz that its author, or an admin, changes.

use axum::extract::{Request, State};
use axum::response::Response;

use super::form::{self, Edited, Fault, Typed};
use super::{delete, find_own};
use crate::app::App;
use crate::attachments::{self, Accept, Saved};
use crate::db;
use crate::db::quizzes::Answered;
use crate::domain::quiz::Texts;
use crate::error::Error;
use crate::flash::Flash;
use crate::pages::Id;
use crate::upload::{self, Form};
use crate::visitor::{LoggedIn, Visitor};

/// What becomes of the attachment.
enum Change {
    Keep,
    Remove,
    Replace(Saved),
    /// It was changed less than a minute ago, so nothing becomes of it.
    TooSoon,
}

/// `GET /quizzes/{id}/edit`.
pub async fn edit(
    State(app): State<App>,
    Id(id): Id,
    LoggedIn { visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    let found = find_own(&app, id, &user).await?;
    form::page(visitor, Typed::of(&found), Some(edited(&found)), &[])
}

/// `POST /quizzes/{id}`, which stands for the method that the form names: browsers send neither PUT nor DELETE.
pub async fn submit(
    State(app): State<App>,
    Id(id): Id,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    let Some(user) = visitor.user().cloned() else {
        upload::discard(request).await;
        return Ok(visitor.to_log_in());
    };
    let found = match find_own(&app, id, &user).await {
        Ok(found) => found,
        Err(error) => {
            upload::discard(request).await;
            return Err(error);
        }
    };
    let form = Form::read_any(request, &app, &visitor, "image").await?;
    match form.method().as_deref() {
        Some("PUT") => update(&app, visitor, &found, form).await,
        Some("DELETE") => delete::delete(&app, visitor, id).await,
        _ => Err(Error::MethodNotAllowed),
    }
}

async fn update(
    app: &App,
    visitor: Visitor,
    found: &Answered,
    mut form: Form,
) -> Result<Response, Error> {
    let id = found.quiz.id;
    let typed = Typed::new(&form);
    let refused = match Texts::parse(form.text("question"), form.text("answer")) {
        Err(errors) => Fault::Texts(errors),
        Ok(texts) => match prepare(app, id, typed.keep, &mut form).await? {
            Err(fault) => fault,
            Ok(change) => {
                let about_file = save(app, id, &texts, change).await?;
                let mut messages = vec![Flash::QuizEdited];
                messages.extend(about_file);
                return Ok(visitor.redirect(&format!("/quizzes/{id}"), &messages));
            }
        },
    };
    form::page(visitor, typed, Some(edited(found)), &[refused])
}

/// Stores the new file, if one is to be attached.
async fn prepare(
    app: &App,
    id: i64,
    keep: bool,
    form: &mut Form,
) -> Result<Result<Change, Fault>, Error> {
    // Who chooses a file wants it, also where the box to keep the old one is still ticked.
    let file = match form.take_file() {
        Some(file) => file,
        None if keep => return Ok(Ok(Change::Keep)),
        None => return Ok(Ok(Change::Remove)),
    };
    // Decides nothing, and spares the work on a file that would be for nothing.
    if db::quizzes::attachment_is_fresh(&app.db, id).await? {
        return Ok(Ok(Change::TooSoon));
    }
    let saved = attachments::save(app, file, Accept::Any).await?;
    Ok(saved.map(Change::Replace).map_err(Fault::File))
}

/// The texts and the reference to the attachment, in one transaction. Tells what to say of the attachment.
async fn save(app: &App, id: i64, texts: &Texts, change: Change) -> Result<Option<Flash>, Error> {
    let mut transaction = app.db.begin().await?;
    let attachment = db::quizzes::update(&mut transaction, id, texts)
        .await?
        .ok_or(Error::NotFound)?;
    let new = match &change {
        Change::Replace(saved) => Some(saved.id),
        Change::Keep | Change::Remove | Change::TooSoon => None,
    };
    let about_file = match change {
        Change::Keep => None,
        Change::TooSoon => Some(Flash::AttachmentTooSoon),
        Change::Remove | Change::Replace(_) if attachment.is_fresh => {
            Some(Flash::AttachmentTooSoon)
        }
        Change::Remove | Change::Replace(_) => {
            db::quizzes::set_attachment(&mut transaction, id, attachment.id, new).await?;
            Some(match new {
                Some(_) => Flash::AttachmentSaved,
                None => Flash::QuizWithoutAttachment,
            })
        }
    };
    transaction.commit().await?;
    Ok(about_file)
}

fn edited(found: &Answered) -> Edited {
    Edited {
        id: found.quiz.id,
        question: found.quiz.question.clone(),
        attachment: found.quiz.attachment(),
    }
}
