//! A new quiz.

use axum::extract::{Request, State};
use axum::response::Response;

use super::form::{self, Fault, Typed};
use crate::app::App;
use crate::attachments::{self, Accept, Saved};
use crate::db;
use crate::domain::quiz::Texts;
use crate::error::Error;
use crate::flash::Flash;
use crate::upload::{self, Form};
use crate::visitor::{LoggedIn, Visitor};

/// `GET /quizzes/new`.
pub async fn new(
    State(app): State<App>,
    LoggedIn { visitor, user }: LoggedIn,
) -> Result<Response, Error> {
    if db::daily_quizzes::is_used_up(&app.db, user.id, app.config.daily_quizzes).await? {
        return Ok(visitor.redirect("/goback", &[Flash::TooManyQuizzes]));
    }
    form::page(visitor, Typed::default(), None, &[])
}

/// `POST /quizzes`. The log-in is asked for first, but the body is read to its end in any case.
pub async fn submit(
    State(app): State<App>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    let Some(user) = visitor.user().cloned() else {
        upload::discard(request).await;
        return Ok(visitor.to_log_in());
    };
    let form = Form::read(request, &app, &visitor, "image").await?;
    let typed = Typed::new(&form);
    match create(&app, user.id, form).await? {
        Ok((id, about_file)) => {
            let messages = [Flash::QuizCreated, about_file];
            Ok(visitor.redirect(&format!("/quizzes/{id}"), &messages))
        }
        Err(faults) => form::page(visitor, typed, None, &faults),
    }
}

/// The id of the new quiz and what to tell of its file, or what is wrong with the form.
///
/// The file first, then the rows in one transaction: a quiz never refers to a file that is not in the store. What a
/// failure leaves behind is at most a file that nothing refers to, which the sweep removes.
async fn create(
    app: &App,
    author: i64,
    mut form: Form,
) -> Result<Result<(i64, Flash), Vec<Fault>>, Error> {
    let max = app.config.daily_quizzes;
    // Decides nothing, and spares the work on a file that would be for nothing.
    if db::daily_quizzes::is_used_up(&app.db, author, max).await? {
        return Ok(Err(vec![Fault::TooMany(max)]));
    }
    let (texts, saved) = match check(app, &mut form).await? {
        Ok(checked) => checked,
        Err(faults) => return Ok(Err(faults)),
    };
    let attachment_id = saved.as_ref().map(|saved| saved.id);
    let mut transaction = app.db.begin().await?;
    if !db::users::change::lock_author(&mut transaction, author).await? {
        // Deleted while the form was on its way, and the session with the user.
        return Err(Error::SessionExpired);
    }
    if !db::daily_quizzes::take(&mut transaction, author, max).await? {
        return Ok(Err(vec![Fault::TooMany(max)]));
    }
    let id = db::quizzes::create(&mut transaction, &texts, Some(author), attachment_id).await?;
    transaction.commit().await?;
    let about_file = match saved {
        None => Flash::QuizWithoutAttachment,
        Some(_) => Flash::AttachmentSaved,
    };
    Ok(Ok((id, about_file)))
}

/// The texts and the file, which is stored when both are good.
async fn check(
    app: &App,
    form: &mut Form,
) -> Result<Result<(Texts, Option<Saved>), Vec<Fault>>, Error> {
    let mut faults = Vec::new();
    let prepared = match form.take_file() {
        None => None,
        Some(file) => match attachments::prepare(app, file, Accept::Any).await? {
            Ok(prepared) => Some(prepared),
            Err(refusal) => {
                faults.push(Fault::File(refusal));
                None
            }
        },
    };
    let texts = match Texts::parse(form.text("question"), form.text("answer")) {
        Ok(texts) if faults.is_empty() => texts,
        Ok(_) => return Ok(Err(faults)),
        Err(errors) => {
            faults.push(Fault::Texts(errors));
            return Ok(Err(faults));
        }
    };
    let Some(prepared) = prepared else {
        return Ok(Ok((texts, None)));
    };
    match prepared.save(app).await? {
        Ok(saved) => Ok(Ok((texts, Some(saved)))),
        Err(refusal) => Ok(Err(vec![Fault::File(refusal)])),
    }
}
