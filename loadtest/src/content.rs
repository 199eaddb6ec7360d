//! What a run needs on the site: accounts and quizzes of its own, made through the same forms that people use, and
//! removed in the same way. All have a word in their names that nobody else uses.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::drive::Brake;
use crate::form::Body;
use crate::journey::{delete_quiz, log_in, quiz_address, quiz_form};
use crate::page::{Page, redirect};
use crate::picture;
use crate::sample::Failure;
use crate::scenario::Scenario;
use crate::user::{Setting, Stop, Turn, User, expect_status};

/// The longest wait that a site may ask for while content is made: it counts new accounts by the hour.
const LONGEST_WAIT_SECS: u64 = 60;
/// More rounds of ten quizzes than a run leaves behind.
const MOST_LISTS: usize = 1_000;

/// Before each attempt to remove an account: after a run the site may need a moment.
const REMOVAL_PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// How much to make.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Accounts to make, unless there is one to use.
    pub accounts: usize,
    pub quizzes: usize,
    /// An account that exists. That of an admin makes the others; any other is used itself, instead of making any. It is
    /// not removed.
    pub existing: Option<Account>,
}

/// An account of the site.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub password: String,
    /// For the API.
    pub token: Option<String>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A quiz of which the answer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub id: u64,
    pub question: String,
    pub answer: String,
}

/// What is on the site for this run.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// In every question, and nowhere else on the site.
    pub word: String,
    pub accounts: Vec<Account>,
    pub quizzes: Vec<Known>,
    answers: HashMap<String, String>,
    is_borrowed: bool,
}

/// Content that could not be made or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing}: {words}")]
    Failed { doing: String, words: String },
    #[error("stopped before there was anything to measure")]
    Stopped,
    #[error(
        "the journey `api` would replace the token of {0}, which may be in use: name an admin's account with --account, so \
         that others are made"
    )]
    BorrowedToken(String),
    #[error(
        "the site lets nobody make an account: name an admin's with --account and LOADTEST_PASSWORD, or any other to be used \
         itself, or set QUIZ_OPEN_REGISTRATION=true at its front-ends for the test"
    )]
    Closed,
    #[error(
        "cannot {doing}: the site asks to wait {secs} s. It limits how often one address may do this: wait, ask for less \
         (--accounts, --quizzes), name an account that exists (--account), or raise QUIZ_LIMIT_REGISTRATION or \
         QUIZ_LIMIT_UPLOAD of its front-ends for the test"
    )]
    TooOften { doing: String, secs: u64 },
}

impl Content {
    /// One account and one quiz, wherever they come from.
    #[cfg(test)]
    pub(crate) fn of(word: &str, account: Account, quiz: Known) -> Self {
        Self {
            word: word.to_owned(),
            answers: HashMap::from([(quiz.question.clone(), quiz.answer.clone())]),
            accounts: vec![account],
            quizzes: vec![quiz],
            is_borrowed: false,
        }
    }

    /// The answer to a question, if it is one of ours.
    #[must_use]
    pub fn answer(&self, question: &str) -> Option<&str> {
        self.answers.get(question).map(String::as_str)
    }

    /// Makes what the scenario needs, unless told to stop.
    ///
    /// # Errors
    /// What could not be made. What was made before has been removed, as far as that is possible.
    pub async fn prepare(
        scenario: &Scenario,
        wanted: &Wanted,
        setting: &Setting,
        brake: &Brake,
    ) -> Result<Self, Error> {
        let mut rng: StdRng = rand::make_rng();
        let mut content = Self {
            word: format!("lt{:08x}", rng.random::<u32>()),
            ..Self::default()
        };
        let made = tokio::select! {
            made = content.make(scenario, wanted, setting, &mut rng) => made,
            () = brake.pulled() => Err(Error::Stopped),
        };
        if let Err(error) = made {
            // The first error is the one to tell.
            let _ = content.remove(setting).await;
            return Err(error);
        }
        Ok(content)
    }

    async fn make(
        &mut self,
        scenario: &Scenario,
        wanted: &Wanted,
        setting: &Setting,
        rng: &mut StdRng,
    ) -> Result<(), Error> {
        let needs_quizzes = scenario.journeys().any(|journey| journey.needs_quizzes());
        let needs_token = scenario.journeys().any(|journey| journey.name() == "api");
        if !needs_quizzes && !scenario.journeys().any(|journey| journey.needs_account()) {
            return Ok(());
        }
        let mut maker = user(setting);
        if let Some(account) = &wanted.existing {
            log_in(&mut maker, account)
                .await
                .map_err(|stop| failed(&format!("log in as {}", account.name), &stop))?;
        }
        if may_make_accounts(&mut maker).await? {
            self.make_accounts(wanted.accounts, &mut maker, rng).await?;
        } else {
            let account = wanted.existing.clone().ok_or(Error::Closed)?;
            if needs_token {
                return Err(Error::BorrowedToken(account.name));
            }
            self.is_borrowed = true;
            self.accounts.push(account);
        }
        for index in 0..self.accounts.len() {
            let share = if needs_quizzes {
                wanted.quizzes / self.accounts.len()
                    + usize::from(index < wanted.quizzes % self.accounts.len())
            } else {
                0
            };
            self.furnish(index, share, needs_token, setting, rng)
                .await?;
        }
        Ok(())
    }

    async fn make_accounts(
        &mut self,
        count: usize,
        maker: &mut User,
        rng: &mut StdRng,
    ) -> Result<(), Error> {
        for number in 1..=count {
            let account = Account {
                name: format!("{}-{number}", self.word),
                // Letters of both kinds and digits, as sites ask for.
                password: format!("Lt-1{:032x}", rng.random::<u128>()),
                token: None,
            };
            // Known before it is made: a reply that is lost leaves it on the site all the same.
            self.accounts.push(account.clone());
            patiently("make an account", async || register(maker, &account).await).await?;
        }
        Ok(())
    }

    /// Quizzes and a token for one account.
    async fn furnish(
        &mut self,
        index: usize,
        quizzes: usize,
        needs_token: bool,
        setting: &Setting,
        rng: &mut StdRng,
    ) -> Result<(), Error> {
        let account = self.accounts[index].clone();
        let mut user = user(setting);
        log_in(&mut user, &account)
            .await
            .map_err(|stop| failed(&format!("log in as {}", account.name), &stop))?;
        for _ in 0..quizzes {
            let number = self.quizzes.len() + 1;
            let mut quiz = Known {
                id: 0,
                question: format!("{} asks: what comes after {number}", self.word),
                answer: format!("{}", number + 1),
            };
            // Every other one has a picture.
            let picture = number.is_multiple_of(2).then(|| picture::noise(rng));
            let mut address = String::new();
            patiently("write a quiz", async || {
                let csrf = user
                    .get("", "/quizzes/new", |reply| Page::of(reply)?.field("_csrf"))
                    .await?;
                let form = quiz_form(&csrf, &quiz.question, &quiz.answer, None, picture.clone());
                address = user.post("", "/quizzes", form, quiz_address).await?;
                Ok(())
            })
            .await?;
            quiz.id = address
                .trim_start_matches("/quizzes/")
                .parse()
                .map_err(|_| Error::Failed {
                    doing: "write a quiz".to_owned(),
                    words: format!("it is at {address:?}, which has no number"),
                })?;
            self.answers
                .insert(quiz.question.clone(), quiz.answer.clone());
            self.quizzes.push(quiz);
        }
        if needs_token {
            let token = make_token(&mut user).await;
            self.accounts[index].token =
                Some(token.map_err(|stop| failed("make a token for the API", &stop))?);
        }
        Ok(())
    }

    /// Removes all that was made, also what journeys left half done.
    ///
    /// # Errors
    /// What was left behind.
    pub async fn remove(&self, setting: &Setting) -> Result<(), Error> {
        let mut result = Ok(());
        for account in &self.accounts {
            let mut removed = Ok(());
            for pause in REMOVAL_PAUSES {
                tokio::time::sleep(pause).await;
                let mut user = user(setting);
                removed = self.remove_account(&mut user, account).await;
                if removed.is_ok() {
                    break;
                }
            }
            if let (Err(stop), Ok(())) = (removed, &result) {
                let doing = format!(
                    "remove account {} and its quizzes, so they are still on the site",
                    account.name
                );
                result = Err(failed(&doing, &stop));
            }
        }
        result
    }

    async fn remove_account(&self, user: &mut User, account: &Account) -> Result<(), Stop> {
        match log_in(user, account).await {
            // Nobody of that name: the account was never made, or is gone already.
            Err(Stop::Failed(Failure::Check(_))) if !self.is_borrowed => return Ok(()),
            other => other?,
        }
        let id = own_id(user).await?;
        let list = format!("/users/{id}/quizzes?search={}", self.word);
        for _ in 0..MOST_LISTS {
            let addresses = user
                .get("", &list, |reply| Ok(quiz_addresses(Page::of(reply)?)))
                .await?;
            if addresses.is_empty() {
                break;
            }
            for address in addresses {
                delete_quiz(user, &address).await?;
            }
        }
        if self.is_borrowed {
            return Ok(());
        }
        let csrf = user
            .get("", &format!("/users/{id}/delete"), |reply| {
                Page::of(reply)?.field("_csrf")
            })
            .await?;
        let form = Body::Fields(vec![("_csrf", csrf), ("_method", "DELETE".to_owned())]);
        user.post("", &format!("/users/{id}"), form, |reply| {
            redirect(reply).map(drop)
        })
        .await
    }
}

/// Whether there is a form for new accounts.
async fn may_make_accounts(user: &mut User) -> Result<bool, Error> {
    user.get("", "/users/new", |reply| match reply.status {
        403 | 303 => Ok(false),
        _ => expect_status(reply, 200).map(|()| true),
    })
    .await
    .map_err(|stop| failed("look for the form of new accounts", &stop))
}

async fn register(user: &mut User, account: &Account) -> Result<(), Stop> {
    let csrf = user
        .get("", "/users/new", |reply| Page::of(reply)?.field("_csrf"))
        .await?;
    let form = Body::Parts {
        fields: vec![
            ("_csrf", csrf),
            ("username", account.name.clone()),
            ("password", account.password.clone()),
            ("password2", account.password.clone()),
        ],
        picture: None,
    };
    user.post("", "/users", form, |reply| redirect(reply).map(drop))
        .await
}

async fn make_token(user: &mut User) -> Result<String, Stop> {
    let page = format!("/users/{}", own_id(user).await?);
    let csrf = user
        .get("", &page, |reply| Page::of(reply)?.field("_csrf"))
        .await?;
    let form = Body::Fields(vec![("_csrf", csrf), ("_method", "PUT".to_owned())]);
    user.post("", &format!("{page}/token"), form, |reply| {
        redirect(reply).map(drop)
    })
    .await?;
    user.get("", &page, |reply| {
        let token = Page::of(reply)?.between("<code class=\"secret\">", "</code>");
        token
            .map(str::to_owned)
            .ok_or_else(|| "the page has no token".to_owned())
    })
    .await
}

/// The number of who is logged in, which is in the navigation of every page.
async fn own_id(user: &mut User) -> Result<u64, Stop> {
    user.get("", "/", |reply| {
        let id = Page::of(reply)?.between("<a href=\"/users/", "/quizzes\"");
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| "the page is that of nobody who is logged in".to_owned())
    })
    .await
}

fn quiz_addresses(page: Page<'_>) -> Vec<String> {
    page.each(" id=\"quiz-", "\"")
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|id| format!("/quizzes/{id}"))
        .collect()
}

/// Does it again after as long a wait as the site asks for, within reason.
async fn patiently(
    doing: &str,
    mut attempt: impl AsyncFnMut() -> Result<(), Stop>,
) -> Result<(), Error> {
    let mut waited = 0;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(Stop::TooOften(secs)) if waited + secs <= LONGEST_WAIT_SECS => {
                waited += secs.max(1);
                tokio::time::sleep(Duration::from_secs(secs.max(1))).await;
            }
            Err(stop) => return Err(failed(doing, &stop)),
        }
    }
}

fn user(setting: &Setting) -> User {
    User::new(setting.clone(), Turn::Free, rand::make_rng())
}

fn failed(doing: &str, stop: &Stop) -> Error {
    let doing = doing.to_owned();
    match stop {
        Stop::TooOften(secs) => Error::TooOften { doing, secs: *secs },
        Stop::Failed(failure) => Error::Failed {
            doing,
            words: failure.words().to_owned(),
        },
        Stop::Over => Error::Failed {
            doing,
            words: "the run was over".to_owned(),
        },
    }
}
