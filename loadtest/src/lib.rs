//! The load tester of Quizstack: an open loop with honest percentiles, journeys over the whole site, and a report that
//! people can look at.
//!
//! The life of one request:
//! 1. [`schedule`] says when it is meant to start. This depends on nothing that the server does: an open loop.
//! 2. [`pacer`] hands out its ticket at that time.
//! 3. A virtual [`user`] that is free claims the ticket for the next step of its [`journey`] and sends the request over
//!    its [`connection`]. When all users are busy the ticket waits, which makes it a late start, or a drop once it has
//!    waited for the whole timeout. In a closed loop there are no tickets: users go on when they have thought.
//! 4. The journey checks the reply, with the eyes of [`page`], and what came of it is a [`sample`], with the time it was
//!    meant to start beside the time it did.
//! 5. [`stats`] counts it, on the thread of the user. Latency runs from the *intended* start, so a server that stalls is
//!    charged for the requests that could not be sent meanwhile: no coordinated omission.
//! 6. [`drive`] adds up the threads, [`generator`] judges whether they kept up, and [`report`] puts the figures into
//!    words, JSON or a page.
//!
//! [`cli`] makes a [`Plan`] of the command line, [`target`] refuses to aim it at strangers and [`limits`] to ask for more
//! than the machine has. [`content`] puts on the site what journeys need, and removes it. [`capacity`] runs many plans to
//! find the highest rate; [`chaos`] does things to the server meanwhile; [`slo`] judges. [`simulate`] sends nothing: it is
//! a model of queues behind a balancer.
//!
//! What it does not do: it follows no redirects by itself, speaks no TLS and no HTTP/2, runs no JavaScript, and loads
//! stylesheets never: a browser keeps them.

use std::sync::Arc;
use std::time::Duration;

pub mod capacity;
pub mod chaos;
pub mod cli;
pub mod connection;
pub mod content;
pub mod drive;
pub mod duration;
pub mod form;
pub mod generator;
pub mod jar;
pub mod journey;
pub mod limits;
pub mod live;
pub mod pacer;
pub mod page;
pub mod picture;
pub mod report;
pub mod sample;
pub mod scenario;
pub mod schedule;
pub mod simulate;
pub mod slo;
pub mod stats;
pub mod target;
pub mod user;

use connection::Call;
use content::Wanted;
use scenario::Scenario;
use schedule::Schedule;
use target::Target;

/// Everything a run needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Arc<Target>,
    pub scenario: Arc<Scenario>,
    /// What the scenario `url` asks for.
    pub call: Arc<Call>,
    pub load: Load,
    /// Virtual users, each with one keep-alive connection: as many requests are under way at once, and no more.
    pub users: usize,
    /// Each with a runtime of its own, among which the users are shared out.
    pub threads: usize,
    /// From the actual start of a request until the end of its reply.
    pub timeout: Duration,
    pub wanted: Wanted,
    /// Of all that is drawn by lot.
    pub seed: u64,
}

/// When requests are sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// By a schedule, whatever becomes of those sent before.
    Open(Schedule),
    /// By each user after a pause when the one before was answered. This measures what users get who wait patiently; a
    /// server that stalls is asked less.
    Closed {
        think: Duration,
        warm_up: Duration,
        duration: Duration,
    },
}

impl Load {
    #[must_use]
    pub fn warm_up(&self) -> Duration {
        match self {
            Self::Open(schedule) => schedule.warm_up,
            Self::Closed { warm_up, .. } => *warm_up,
        }
    }

    /// Of the measured part.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::Open(schedule) => schedule.duration,
            Self::Closed { duration, .. } => *duration,
        }
    }

    /// With the warm-up.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.warm_up() + self.duration()
    }
}
