//! The quizzes: list, create, and the page for those who may see the answer.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::db;
use crate::db::quizzes::{Attachment, Quiz, Summary};
use crate::db::users::User;
use crate::domain::paging::{self, Link, PageNo};
use crate::domain::quiz::{MAX_CHARS, TextErrors, Texts};
use crate::error::Error;
use crate::flash::Flash;
use crate::images::StoreError;
use crate::locale;
use crate::pages::Id;
use crate::params::Params;
use crate::picture::Picture;
use crate::upload::{self, QuizForm, Upload};
use crate::visitor::{Layout, LoggedIn, Visitor};

#[derive(Template)]
#[template(path = "quizzes/list.html")]
struct List {
    page: Layout,
    quizzes: Vec<Summary>,
    total: i64,
    current: u32,
    previous: Option<u32>,
    pages: u32,
    links: Vec<Link>,
}

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
    quiz: Quiz,
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

/// `GET /quizzes?pageno=N`.
pub async fn list(
    State(app): State<App>,
    params: Params,
    mut visitor: Visitor,
) -> Result<Response, Error> {
    visitor.remember_page();
    let pageno =
        PageNo::parse(params.get("pageno")).ok_or(Error::BadRequest(|t| t.errors.page_number))?;
    let limit = i64::from(paging::PER_PAGE);
    let quizzes = db::quizzes::page(&app.db, pageno.offset(), limit).await?;
    let total = db::quizzes::count(&app.db).await?;
    let pages = paging::page_count(total);
    let template = List {
        page: visitor.layout("quizzes"),
        quizzes,
        total,
        current: pageno.get(),
        previous: paging::previous(pageno, pages),
        pages,
        links: paging::links(pageno, pages),
    };
    visitor.page(StatusCode::OK, &template)
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
        return Ok(visitor.redirect("/login", &[Flash::LoginRequired]));
    };
    let mut form = QuizForm::read(request, &app, &visitor).await?;
    let image = form.image.take();
    let texts = Texts::parse(form.question.as_deref(), form.answer.as_deref());
    let mut typed = Typed::new(form, texts.as_ref().err(), visitor.texts());
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
    let quiz = db::quizzes::find(&app.db, id)
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

/// Picture first, then the rows in one transaction: a quiz never points at a picture that is not in the store. What a
/// failure leaves behind is at most a picture without a row, which nobody can see.
async fn try_create(
    app: &App,
    author: &User,
    texts: Option<Texts>,
    image: Option<Upload>,
    t: &locale::Texts,
) -> Result<Outcome, Error> {
    let refused = |status, image_error| {
        Ok(Outcome::Refused {
            status,
            image_error,
        })
    };
    let picture = match image {
        None => None,
        Some(image) => match upload::decode(app, image).await? {
            Ok(picture) => Some(picture),
            Err(refusal) => return refused(refusal.status(), Some(refusal.to_string())),
        },
    };
    let Some(texts) = texts else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, None);
    };
    let (attachment, about_picture) = match picture {
        None => (None, Flash::QuizWithoutAttachment),
        Some((picture, _place)) => match store(app, &picture).await {
            Ok(attachment) => (Some(attachment), Flash::AttachmentSaved),
            Err(StoreError::Unavailable(cause)) => {
                tracing::warn!(error = %cause, "the image store does not answer, a quiz was not created");
                return refused(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(t.quizzes.picture_not_saved.to_owned()),
                );
            }
            Err(error) => return Err(error.into()),
        },
    };
    let id = insert(app, author, &texts, attachment.as_ref()).await?;
    Ok(Outcome::Created { id, about_picture })
}

async fn store(app: &App, picture: &Picture) -> Result<Attachment, StoreError> {
    let id = app.images.put(picture).await?;
    // A picture that was decoded is within its pixel limit; the columns hold what PostgreSQL calls an integer.
    let side = |pixels: u32| i32::try_from(pixels).unwrap_or(i32::MAX);
    Ok(Attachment {
        image_id: id.to_string(),
        mime: id.content_type(),
        width: side(picture.width),
        height: side(picture.height),
    })
}

async fn insert(
    app: &App,
    author: &User,
    texts: &Texts,
    attachment: Option<&Attachment>,
) -> sqlx::Result<i64> {
    let mut transaction = app.db.begin().await?;
    let id = db::quizzes::create(&mut transaction, texts, Some(author.id), attachment).await?;
    transaction.commit().await?;
    Ok(id)
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
    fn new(form: QuizForm, errors: Option<&TextErrors>, t: &locale::Texts) -> Self {
        Self {
            question: form.question.unwrap_or_default(),
            answer: form.answer.unwrap_or_default(),
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
