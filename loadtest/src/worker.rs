//! One loop: claim a ticket, send its request, hand in the sample.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::Plan;
use crate::connection::Connection;
use crate::pacer::Tickets;
use crate::sample::{Outcome, Sample};

/// Sends one request at a time over one connection.
#[derive(Debug)]
pub struct Worker {
    plan: Arc<Plan>,
    tickets: Arc<Tickets>,
    origin: Instant,
    connection: Connection,
}

impl Worker {
    #[must_use]
    pub fn new(plan: Arc<Plan>, tickets: Arc<Tickets>, origin: Instant) -> Self {
        Self {
            plan,
            tickets,
            origin,
            connection: Connection::default(),
        }
    }

    /// Works until the schedule is at its end.
    pub async fn run(mut self, samples: UnboundedSender<Sample>) {
        while let Some(request) = self.tickets.claim().await {
            let intended_start = self.plan.schedule.intended_start(request);
            let sample = self.attempt(intended_start).await;
            if samples.send(sample).is_err() {
                // Nobody waits for the figures any more.
                return;
            }
        }
    }

    async fn attempt(&mut self, intended_start: Duration) -> Sample {
        let started = self.origin.elapsed();
        let outcome = if started > intended_start + self.plan.timeout {
            Outcome::Dropped
        } else {
            match self
                .connection
                .get(&self.plan.target, self.plan.timeout)
                .await
            {
                Ok(reply) => Outcome::Reply(reply),
                Err(failure) => Outcome::Failed(failure),
            }
        };
        Sample {
            intended_start,
            started,
            finished: self.origin.elapsed(),
            outcome,
        }
    }
}
