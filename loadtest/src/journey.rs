//! The steps of each journey, in order. A virtual user takes one journey after the other until the run is over; a step
//! that fails ends the journey, and the next one begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::RngExt as _;

use crate::connection::Call;
use crate::content::{Account, Content, Known};
use crate::form::{Body, encode};
use crate::jar::Jar;
use crate::page::{Page, redirect, unescape};
use crate::picture;
use crate::sample::Failure;
use crate::scenario::{Journey, Scenario};
use crate::user::{Stop, User};

/// Pictures of a list that a visitor looks at.
const PICTURES: usize = 3;
/// Right answers after which a player has had enough.
const ROUNDS: usize = 10;

/// A virtual user and what it knows.
#[derive(Debug)]
pub struct Traveller {
    pub user: User,
    pub scenario: Arc<Scenario>,
    pub content: Arc<Content>,
    /// What [`Journey::Url`] asks for.
    pub call: Arc<Call>,
    /// Which account is used; the first user of each also owns its game.
    pub number: usize,
    /// Cookies of each journey: who looks around is not logged in because the same virtual user plays at other times.
    pub jars: BTreeMap<Journey, Jar>,
}

impl Traveller {
    /// Travels until the run is over.
    pub async fn run(mut self) {
        loop {
            let journey = self.scenario.choose(&mut self.user.rng);
            self.user.jar = self.jars.remove(&journey).unwrap_or_default();
            let travelled = match journey {
                Journey::Url => self.url().await,
                Journey::Visitor => self.visitor().await,
                Journey::Player => self.player().await,
                Journey::Author => self.author().await,
                Journey::Api => self.api().await,
                Journey::Login => self.login_and_out().await,
            };
            match travelled {
                Ok(()) => {}
                Err(Stop::Over) => return,
                Err(stop) => {
                    if matches!(stop, Stop::Failed(Failure::Check(_))) {
                        // What the server thinks of these cookies is not what we do.
                        self.user.jar = Jar::default();
                    }
                    self.user.recover().await;
                }
            }
            self.jars
                .insert(journey, std::mem::take(&mut self.user.jar));
        }
    }

    async fn url(&mut self) -> Result<(), Stop> {
        let call = Arc::clone(&self.call);
        self.user
            .send("url", &call, false, |reply| match reply.status {
                400.. => Err(format!("status {}", reply.status)),
                _ => Ok(()),
            })
            .await
    }

    async fn visitor(&mut self) -> Result<(), Stop> {
        let quiz = self.any_quiz()?;
        self.user
            .get("home", "/", |reply| {
                Page::of(reply)?.expect("href=\"/random\"").map(drop)
            })
            .await?;
        let pictures = self
            .user
            .get("list", "/quizzes", |reply| {
                let page = Page::of(reply)?.expect("<ul class=\"cards")?;
                Ok(page
                    .pictures()
                    .take(PICTURES)
                    .map(unescape)
                    .collect::<Vec<_>>())
            })
            .await?;
        for picture in pictures {
            self.user.picture(&format!("/images/{picture}")).await?;
        }
        let search = format!("/quizzes?search={}", encode(&self.content.word));
        self.user
            .get("search", &search, |reply| {
                Page::of(reply)?.expect(" id=\"quiz-").map(drop)
            })
            .await?;
        self.play(&quiz).await
    }

    async fn player(&mut self) -> Result<(), Stop> {
        let account = self.account()?;
        self.log_in_once(&account).await?;
        if self.owns_account() {
            self.random_play(&account).await?;
        }
        let quiz = self.any_quiz()?;
        self.play(&quiz).await
    }

    async fn author(&mut self) -> Result<(), Stop> {
        let account = self.account()?;
        self.log_in_once(&account).await?;
        let csrf = self
            .user
            .get("new quiz", "/quizzes/new", |reply| {
                Page::of(reply)?.field("_csrf")
            })
            .await?;
        let question = format!(
            "{} draft {:08x}",
            self.content.word,
            self.user.rng.random::<u32>()
        );
        let picture = picture::noise(&mut self.user.rng);
        let form = quiz_form(&csrf, &question, "a draft", None, Some(picture));
        let address = self
            .user
            .post("create quiz", "/quizzes", form, quiz_address)
            .await?;
        self.user
            .get("show quiz", &address, |reply| {
                Page::of(reply)?
                    .expect(&question)?
                    .expect("<img class=\"picture\"")
                    .map(drop)
            })
            .await?;
        let csrf = self
            .user
            .get("edit quiz", &format!("{address}/edit"), |reply| {
                Page::of(reply)?.expect(&question)?.field("_csrf")
            })
            .await?;
        let form = quiz_form(&csrf, &question, "a final answer", Some("PUT"), None);
        self.user
            .post("save quiz", &address, form, quiz_address)
            .await?;
        delete_quiz(&mut self.user, &address).await
    }

    async fn api(&mut self) -> Result<(), Stop> {
        let account = self.account()?;
        let token = account.token.clone().ok_or_else(nothing_to_play)?;
        let quiz = self.any_quiz()?;
        let expect = |reply: &crate::connection::Reply, marker: &str| {
            Page::of(reply)?.expect(marker).map(drop)
        };
        self.user
            .api("api random", "/api/quizzes/random", &token, |reply| {
                expect(reply, "\"question\":")
            })
            .await?;
        let check = format!(
            "/api/quizzes/{}/check?answer={}",
            quiz.id,
            encode(&quiz.answer)
        );
        self.user
            .api("api check", &check, &token, |reply| {
                expect(reply, "\"result\":true")
            })
            .await?;
        if !self.owns_account() {
            return Ok(());
        }
        let question = self
            .user
            .api(
                "api new game",
                "/api/quizzes/randomPlay/new",
                &token,
                |reply| {
                    let page = Page::of(reply)?.expect("\"score\":0")?;
                    Ok(page.between("\"question\":\"", "\"").map(str::to_owned))
                },
            )
            .await?;
        let answer = question.and_then(|question| self.content.answer(&question));
        let path = format!(
            "/api/quizzes/randomPlay/check?answer={}",
            encode(answer.unwrap_or("I do not know"))
        );
        let expected = if answer.is_some() {
            "\"result\":true"
        } else {
            "\"result\":"
        };
        self.user
            .api("api answer", &path, &token, |reply| expect(reply, expected))
            .await
    }

    async fn login_and_out(&mut self) -> Result<(), Stop> {
        let account = self.account()?;
        self.user.jar = Jar::default();
        log_in(&mut self.user, &account).await?;
        let csrf = self
            .user
            .get("home", "/", |reply| {
                Page::of(reply)?.expect(&account.name)?.field("_csrf")
            })
            .await?;
        let form = Body::Fields(vec![("_csrf", csrf), ("_method", "DELETE".to_owned())]);
        self.user
            .post("log out", "/login", form, |reply| redirect(reply).map(drop))
            .await
    }

    /// A new game until an answer is not known, or for a while.
    async fn random_play(&mut self, account: &Account) -> Result<(), Stop> {
        let csrf = self
            .user
            .get("random", "/random", |reply| {
                Page::of(reply)?.expect(&account.name)?.field("_csrf")
            })
            .await?;
        let form = Body::Fields(vec![("_csrf", csrf)]);
        self.user
            .post("random start", "/random", form, |reply| {
                redirect(reply).map(drop)
            })
            .await?;
        let mut asked = self
            .user
            .get("random question", "/random", |reply| {
                open_question(Page::of(reply)?)
            })
            .await?;
        for _ in 0..ROUNDS {
            let Some(open) = asked else {
                return Ok(());
            };
            let answer = self.content.answer(&open.question);
            let form = Body::Fields(vec![
                ("_csrf", open.csrf),
                ("quiz", open.quiz),
                ("answer", answer.unwrap_or("I do not know").to_owned()),
            ]);
            self.user
                .post("random answer", "/random/answer", form, |reply| {
                    redirect(reply).map(drop)
                })
                .await?;
            let right = answer.is_some();
            asked = self
                .user
                .get("random question", "/random", |reply| {
                    let page = Page::of(reply)?;
                    if right {
                        return open_question(page.expect("verdict right")?);
                    }
                    // An answer that is not known may be right by chance.
                    if page.has("verdict wrong") {
                        Ok(None)
                    } else {
                        open_question(page)
                    }
                })
                .await?;
        }
        Ok(())
    }

    /// Plays one quiz of which the answer is known, and looks at its picture.
    async fn play(&mut self, quiz: &Known) -> Result<(), Stop> {
        let play = format!("/quizzes/{}/play", quiz.id);
        let picture = self
            .user
            .get("play", &play, |reply| {
                let page = Page::of(reply)?.expect(&quiz.question)?;
                Ok(page.pictures().next().map(unescape))
            })
            .await?;
        if let Some(picture) = picture {
            self.user.picture(&format!("/images/{picture}")).await?;
        }
        let check = format!("/quizzes/{}/check?answer={}", quiz.id, encode(&quiz.answer));
        self.user
            .get("check", &check, |reply| {
                Page::of(reply)?
                    .expect("<div class=\"verdict right\">")
                    .map(drop)
            })
            .await
    }

    async fn log_in_once(&mut self, account: &Account) -> Result<(), Stop> {
        if self.user.jar.has("quiz_session") {
            return Ok(());
        }
        log_in(&mut self.user, account).await
    }

    fn account(&self) -> Result<Account, Stop> {
        let accounts = &self.content.accounts;
        let account = accounts.get(self.number % accounts.len().max(1));
        account.cloned().ok_or_else(nothing_to_play)
    }

    /// Nobody else plays with the game of the account.
    fn owns_account(&self) -> bool {
        self.number < self.content.accounts.len()
    }

    fn any_quiz(&mut self) -> Result<Known, Stop> {
        let quizzes = &self.content.quizzes;
        if quizzes.is_empty() {
            return Err(nothing_to_play());
        }
        Ok(quizzes[self.user.rng.random_range(0..quizzes.len())].clone())
    }
}

/// Logs in by the form.
///
/// # Errors
/// As [`User::get`].
pub async fn log_in(user: &mut User, account: &Account) -> Result<(), Stop> {
    let csrf = user
        .get("login form", "/login", |reply| {
            Page::of(reply)?.field("_csrf")
        })
        .await?;
    let form = Body::Fields(vec![
        ("_csrf", csrf),
        ("username", account.name.clone()),
        ("password", account.password.clone()),
    ]);
    user.post("log in", "/login", form, |reply| {
        match redirect(reply)?.as_str() {
            "/login" => Err("the site refused the password".to_owned()),
            _ => Ok(()),
        }
    })
    .await
}

/// Deletes the quiz of that address by the form.
///
/// # Errors
/// As [`User::get`].
pub async fn delete_quiz(user: &mut User, address: &str) -> Result<(), Stop> {
    let csrf = user
        .get("delete form", &format!("{address}/delete"), |reply| {
            Page::of(reply)?.field("_csrf")
        })
        .await?;
    let form = Body::Fields(vec![("_csrf", csrf), ("_method", "DELETE".to_owned())]);
    user.post("delete quiz", address, form, |reply| {
        redirect(reply).map(drop)
    })
    .await
}

/// The form of a quiz, which keeps the picture that it has.
#[must_use]
pub fn quiz_form(
    csrf: &str,
    question: &str,
    answer: &str,
    method: Option<&str>,
    picture: Option<Bytes>,
) -> Body {
    let mut fields = vec![("_csrf", csrf.to_owned())];
    if let Some(method) = method {
        fields.push(("_method", method.to_owned()));
        fields.push(("keepAttachment", "1".to_owned()));
    }
    fields.push(("question", question.to_owned()));
    fields.push(("answer", answer.to_owned()));
    Body::Parts {
        fields,
        picture: picture.map(|bytes| ("image", bytes)),
    }
}

/// Where a quiz is that was saved.
///
/// # Errors
/// It was not.
pub fn quiz_address(reply: &crate::connection::Reply) -> Result<String, String> {
    let address = redirect(reply)?;
    if address.starts_with("/quizzes/") {
        Ok(address)
    } else {
        Err(
            "the quiz was not saved: an author may write only so many in a day (QUIZ_DAILY_QUIZZES of the front-ends)"
                .to_owned(),
        )
    }
}

/// The open question of a game.
struct Open {
    csrf: String,
    quiz: String,
    question: String,
}

/// `None` when the game is over.
fn open_question(page: Page<'_>) -> Result<Option<Open>, String> {
    let Ok(quiz) = page.field("quiz") else {
        return page.expect("class=\"verdict").map(|_| None);
    };
    let question = page.between("<h1 class=\"quiz-question\">", "</h1>");
    Ok(Some(Open {
        csrf: page.field("_csrf")?,
        quiz,
        question: unescape(question.ok_or("the page has no question")?),
    }))
}

/// There is nothing for this user to do; the command line always prepares something.
fn nothing_to_play() -> Stop {
    Stop::Over
}

#[cfg(test)]
mod tests;
