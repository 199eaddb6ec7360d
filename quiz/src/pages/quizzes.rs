//! The quizzes: lists, create, and the page for those who may see the answer.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::attachments::{self, Accept, Refusal};
use crate::db;
use crate::db::quizzes::{Answered, Listed};
use crate::db::users::User;
use crate::domain::quiz::{MAX_CHARS, TextErrors, Texts};
use crate::error::Error;
use crate::flash::Flash;
use crate::locale;
use crate::pages::Id;
use crate::upload::{self, Form, Upload};
use crate::visitor::{Layout, LoggedIn, Visitor};

pub mod list;

#[derive(Template)]
#[template(path = "quizzes/new.html")]
struct New {
    page: Layout,
    form: Typed,
}

#[derive(Template)]
#[template(path = "quizzes/show.html")]
struct Show {
    page: Layout,
    quiz: Listed,
    answer: String,
}

/// What was typed, and what is wrong with it.
#[derive(Default)]
struct Typed {
    question: String,
    answer: String,
    question_error: Option<String>,
    answer_error: Option<String>,
    image_error: Option<String>,
    max_chars: usize,
}

/// `GET /quizzes/new`.
pub async fn new(LoggedIn { visitor, .. }: LoggedIn) -> Result<Response, Error> {
    form_page(visitor, StatusCode::OK, Typed::default())
}

/// `POST /quizzes`. The log-in is asked for first, but the body is read to its end in any case.
pub async fn create(
    State(app): State<App>,
    visitor: Visitor,
    request: Request,
) -> Result<Response, Error> {
    let Some(user) = visitor.user().cloned() else {
        upload::discard(request).await;
        return Ok(visitor.to_log_in());
    };
    let mut form = Form::read(request, &app, &visitor, "image").await?;
    let image = form.take_file();
    let texts = Texts::parse(form.text("question"), form.text("answer"));
    let mut typed = Typed::new(&form, texts.as_ref().err(), visitor.texts());
    match try_create(&app, &user, texts.ok(), image, visitor.texts()).await? {
        Outcome::Created { id, about_picture } => {
            let messages = [Flash::QuizCreated, about_picture];
            Ok(visitor.redirect(&format!("/quizzes/{id}"), &messages))
        }
        Outcome::Refused {
            status,
            image_error,
        } => {
            typed.image_error = image_error;
            form_page(visitor, status, typed)
        }
    }
}

/// `GET /quizzes/{id}`: for the author and for admins. The log-in comes first, so that strangers cannot probe for ids.
pub async fn show(
    State(app): State<App>,
    Id(id): Id,
    logged_in: Result<LoggedIn, Response>,
) -> Result<Response, Response> {
    let LoggedIn { visitor, user } = logged_in?;
    let Answered { quiz, answer } = db::quizzes::find(&app.db, id, Some(user.id))
        .await
        .map_err(Error::from)
        .and_then(|quiz| quiz.ok_or(Error::NotFound))
        .map_err(IntoResponse::into_response)?;
    if !user.may_see_answer(quiz.author_id) {
        return Err(Error::Forbidden.into_response());
    }
    let template = Show {
        page: visitor.layout("quizzes"),
        quiz,
        answer,
    };
    visitor
        .page(StatusCode::OK, &template)
        .map_err(IntoResponse::into_response)
}

/// What came of a form.
enum Outcome {
    Created {
        id: i64,
        about_picture: Flash,
    },
    Refused {
        status: StatusCode,
        image_error: Option<String>,
    },
}

/// The file first, then the rows in one transaction: a quiz never refers to a file that is not in the store. What a
/// failure leaves behind is at most a file that nothing refers to, which the sweep removes.
async fn try_create(
    app: &App,
    author: &User,
    texts: Option<Texts>,
    image: Option<Upload>,
    t: &locale::Texts,
) -> Result<Outcome, Error> {
    let refused = |refusal: &Refusal| {
        Ok(Outcome::Refused {
            status: refusal.status(),
            image_error: Some(refusal.text(t)),
        })
    };
    let prepared = match image {
        None => None,
        Some(image) => match attachments::prepare(app, image, Accept::Any).await? {
            Ok(prepared) => Some(prepared),
            Err(refusal) => return refused(&refusal),
        },
    };
    let Some(texts) = texts else {
        return Ok(Outcome::Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            image_error: None,
        });
    };
    let saved = match prepared {
        None => None,
        Some(prepared) => match prepared.save(app).await? {
            Ok(saved) => Some(saved),
            Err(refusal) => return refused(&refusal),
        },
    };
    let about_picture = match saved {
        None => Flash::QuizWithoutAttachment,
        Some(_) => Flash::AttachmentSaved,
    };
    let attachment_id = saved.as_ref().map(|saved| saved.id);
    let mut transaction = app.db.begin().await?;
    let id = db::quizzes::create(&mut transaction, &texts, Some(author.id), attachment_id).await?;
    transaction.commit().await?;
    Ok(Outcome::Created { id, about_picture })
}

fn form_page(visitor: Visitor, status: StatusCode, mut form: Typed) -> Result<Response, Error> {
    form.max_chars = MAX_CHARS;
    let template = New {
        page: visitor.layout("new"),
        form,
    };
    visitor.page(status, &template)
}

impl Typed {
    fn new(form: &Form, errors: Option<&TextErrors>, t: &locale::Texts) -> Self {
        Self {
            question: form.text("question").unwrap_or_default().to_owned(),
            answer: form.text("answer").unwrap_or_default().to_owned(),
            question_error: errors
                .and_then(|errors| errors.question)
                .map(|error| error.about_question(t)),
            answer_error: errors
                .and_then(|errors| errors.answer)
                .map(|error| error.about_answer(t)),
            ..Self::default()
        }
    }

    fn has_errors(&self) -> bool {
        self.question_error.is_some() || self.answer_error.is_some() || self.image_error.is_some()
    }
}
