//! A virtual user: one connection, cookies of its own, one request at a time, and a turn to wait for before each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HeaderValue, IF_NONE_MATCH};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::connection::{Call, Connection, Reply};
use crate::drive::Brake;
use crate::form::Body;
use crate::jar::Jar;
use crate::pacer::Tickets;
use crate::sample::{Failure, Outcome, Sample};
use crate::stats::Stats;
use crate::target::Target;

/// After so long a pause the rate of those who fail at once stays bearable for both sides in a closed loop.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// When a user may send the next request.
#[derive(Debug, Clone)]
pub enum Turn {
    /// When the schedule says so.
    Open(Arc<Tickets>),
    /// After a pause, until the end of the run or until told to stop.
    Closed {
        think: Duration,
        until: Duration,
        brake: Brake,
    },
    /// At once, and nobody counts: preparations.
    Free,
}

/// Why a journey does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The run is over.
    Over,
    /// A request failed: the journey begins anew.
    Failed(Failure),
    /// The reply was complete, and asks to come back later: its `Retry-After`, in seconds.
    TooOften(u64),
}

/// What all users of a thread share.
#[derive(Debug, Clone)]
pub struct Setting {
    pub target: Arc<Target>,
    pub timeout: Duration,
    pub origin: Instant,
    pub stats: Arc<Mutex<Stats>>,
}

/// See the module.
#[derive(Debug)]
pub struct User {
    setting: Setting,
    turn: Turn,
    connection: Connection,
    pub jar: Jar,
    /// Validators of pictures that were seen.
    etags: HashMap<String, HeaderValue>,
    pub rng: StdRng,
    begun: bool,
}

impl User {
    #[must_use]
    pub fn new(setting: Setting, turn: Turn, rng: StdRng) -> Self {
        Self {
            setting,
            turn,
            connection: Connection::default(),
            jar: Jar::default(),
            etags: HashMap::new(),
            rng,
            begun: false,
        }
    }

    /// Asks for a page and checks it.
    ///
    /// # Errors
    /// The run is over, or the reply is not what `check` wants.
    pub async fn get<T>(
        &mut self,
        step: &'static str,
        path: &str,
        check: impl FnOnce(&Reply) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let call = self.call(Method::GET, path, None)?;
        self.send(step, &call, true, check).await
    }

    /// Sends a form and checks the reply.
    ///
    /// # Errors
    /// As [`User::get`].
    pub async fn post<T>(
        &mut self,
        step: &'static str,
        path: &str,
        body: Body,
        check: impl FnOnce(&Reply) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let call = self.call(Method::POST, path, Some(body))?;
        self.send(step, &call, true, check).await
    }

    /// Asks with the token of an API for what is JSON.
    ///
    /// # Errors
    /// As [`User::get`].
    pub async fn api<T>(
        &mut self,
        step: &'static str,
        path: &str,
        token: &str,
        check: impl FnOnce(&Reply) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let mut call = self.call(Method::GET, path, None)?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| unfit("the token of the API"))?;
        call.headers.push((hyper::header::AUTHORIZATION, bearer));
        self.send(step, &call, true, check).await
    }

    /// Asks for a picture as a browser does: only if it has changed, once it was seen.
    ///
    /// # Errors
    /// As [`User::get`].
    pub async fn picture(&mut self, path: &str) -> Result<(), Stop> {
        let mut call = self.call(Method::GET, path, None)?;
        let known = self.etags.get(path);
        if let Some(etag) = known {
            call.headers.push((IF_NONE_MATCH, etag.clone()));
        }
        let expected = if known.is_some() { 304 } else { 200 };
        let etag = self
            .send("picture", &call, false, |reply| {
                expect_status(reply, expected)?;
                Ok(reply.etag().cloned())
            })
            .await?;
        if let Some(etag) = etag {
            self.etags.insert(path.to_owned(), etag);
        }
        Ok(())
    }

    /// Sends a request when it is this user's turn, and records what became of it.
    ///
    /// # Errors
    /// As [`User::get`].
    pub async fn send<T>(
        &mut self,
        step: &'static str,
        call: &Call,
        keep: bool,
        check: impl FnOnce(&Reply) -> Result<T, String>,
    ) -> Result<T, Stop> {
        let Some(intended_start) = self.take_turn(step).await else {
            return Err(Stop::Over);
        };
        let started = self.setting.origin.elapsed();
        let sent = self
            .connection
            .send(&self.setting.target, call, keep, self.setting.timeout)
            .await;
        let (reply, checked) = match sent {
            Ok(reply) => {
                for cookie in reply.cookies() {
                    self.jar.keep(cookie);
                }
                let checked = check(&reply).map_err(|words| failure(&reply, words));
                (Some(reply), checked)
            }
            Err(failure) => (None, Err(failure)),
        };
        self.record(&Sample {
            step,
            intended_start,
            started,
            finished: self.setting.origin.elapsed(),
            outcome: match &checked {
                Ok(_) => Outcome::Succeeded,
                Err(failure) => Outcome::Failed(failure.clone()),
            },
            served_by: reply.as_ref().and_then(Reply::served_by).map(str::to_owned),
            body_bytes: reply.as_ref().map_or(0, |reply| reply.body_bytes),
        });
        match (checked, reply.as_ref().and_then(retry_after)) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(secs)) => Err(Stop::TooOften(secs)),
            (Err(failure), None) => Err(Stop::Failed(failure)),
        }
    }

    /// A short breath after a failure, so that a server that refuses at once is not asked without a pause.
    pub async fn recover(&self) {
        if matches!(self.turn, Turn::Closed { .. }) {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
    }

    /// The intended start of the next request; `None` when the run is over.
    async fn take_turn(&mut self, step: &'static str) -> Option<Duration> {
        match &self.turn {
            Turn::Free => Some(self.setting.origin.elapsed()),
            Turn::Closed {
                think,
                until,
                brake,
            } => {
                let left = until.saturating_sub(self.setting.origin.elapsed());
                let pause = if self.begun {
                    *think
                } else {
                    // Not all at once: a crowd that thinks in step would come in waves for ever.
                    think.mul_f64(self.rng.random())
                };
                self.begun = true;
                if !pause.is_zero() {
                    tokio::select! {
                        () = brake.pulled() => {}
                        () = tokio::time::sleep(pause.min(left)) => {}
                    }
                }
                let now = self.setting.origin.elapsed();
                (now < *until && !brake.is_pulled()).then_some(now)
            }
            Turn::Open(tickets) => loop {
                let ticket = tickets.claim().await?;
                let now = self.setting.origin.elapsed();
                // What nobody was free to take up in time is the server's. What was handed out late never is.
                let taken = if ticket.was_awaited {
                    now
                } else {
                    ticket.released
                };
                lock(&self.setting.stats).record_lag(ticket.intended_start, taken);
                if now <= ticket.intended_start + self.setting.timeout {
                    return Some(ticket.intended_start);
                }
                self.record(&Sample {
                    step,
                    intended_start: ticket.intended_start,
                    started: now,
                    finished: now,
                    outcome: Outcome::Dropped,
                    served_by: None,
                    body_bytes: 0,
                });
            },
        }
    }

    fn record(&self, sample: &Sample) {
        if !matches!(self.turn, Turn::Free) {
            lock(&self.setting.stats).record(sample);
        }
    }

    fn call(&self, method: Method, path: &str, body: Option<Body>) -> Result<Call, Stop> {
        // What is looked for in the pages are English words and names of classes.
        let mut headers = vec![(ACCEPT_LANGUAGE, HeaderValue::from_static("en"))];
        if let Some(cookies) = self.jar.header() {
            headers.push((COOKIE, cookies));
        }
        let (content_type, body) = match body {
            Some(body) => body.into_parts(),
            None => (None, Bytes::new()),
        };
        if let Some(content_type) = content_type {
            headers.push((CONTENT_TYPE, content_type));
        }
        Ok(Call {
            method,
            path: path.parse().map_err(|_| unfit(path))?,
            headers,
            body,
        })
    }
}

/// Fails unless the status is that one, in words.
///
/// # Errors
/// Which one came, and which was expected.
pub fn expect_status(reply: &Reply, expected: u16) -> Result<(), String> {
    if reply.status == expected {
        Ok(())
    } else {
        Err(format!("expected {expected}, got {}", reply.status))
    }
}

fn failure(reply: &Reply, words: String) -> Failure {
    match reply.status {
        500.. => Failure::Status5xx(words),
        400.. => Failure::Status4xx(words),
        _ => Failure::Check(words),
    }
}

fn retry_after(reply: &Reply) -> Option<u64> {
    if reply.status != 429 {
        return None;
    }
    reply
        .headers
        .get("retry-after")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn unfit(what: &str) -> Stop {
    Stop::Failed(Failure::Check(format!("{what} cannot be sent")))
}

/// A thread that panicked while it counted has left counts behind, not nonsense.
pub(crate) fn lock(stats: &Mutex<Stats>) -> std::sync::MutexGuard<'_, Stats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}
