//! Endpoints that stand in for each other: the next one is asked when one refuses, fails or keeps silent.
//!
//! Endpoints take turns. While one keeps silent the next is asked as well, and the first answer counts (a hedged request,
//! after Dean and Barroso, "The tail at scale", 2013). One that failed or was overtaken rests for a while: it is asked
//! last, so that a frozen node costs one request a fraction of a second. Operations may run twice on the way, also at
//! the same time, so only idempotent ones belong here.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;

#[cfg(test)]
mod tests;

/// How long a failed endpoint is asked last. A probe that succeeds ends it earlier.
const REST: Duration = Duration::from_secs(5);

/// How long and how often we try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For one answer of one endpoint.
    pub(super) request: Duration,
    /// How long an endpoint may keep silent before the next is asked as well, beside the time that `bytes` take.
    pub(super) hedge: Duration,
    /// What is sent to each endpoint in one second, at the slowest.
    pub(super) bytes_per_sec: u64,
    /// For the whole operation.
    pub(super) total: Duration,
    /// How many times all endpoints are asked; at least 1.
    pub(super) rounds: u32,
    /// Between two rounds.
    pub(super) pause: Duration,
}

#[derive(Debug)]
pub(super) struct Failover<S> {
    endpoints: Vec<Arc<Endpoint<S>>>,
    /// Counts operations; gives each the next endpoint to begin with.
    turn: AtomicUsize,
    patience: Patience,
}

#[derive(Debug)]
struct Endpoint<S> {
    name: String,
    store: S,
    rests_until: Mutex<Option<Instant>>,
}

impl<S: Clone + Send + Sync + 'static> Failover<S> {
    /// `endpoints` are pairs of a name for the log and a client; there must be at least one.
    pub(super) fn new(endpoints: Vec<(String, S)>, patience: Patience) -> Self {
        let endpoints = endpoints
            .into_iter()
            .map(|(name, store)| {
                Arc::new(Endpoint {
                    name,
                    store,
                    rests_until: Mutex::new(None),
                })
            })
            .collect();
        Self {
            endpoints,
            turn: AtomicUsize::new(0),
            patience,
        }
    }

    /// The first success of `call`, which sends or fetches `bytes`.
    pub(super) async fn first_success<T, F>(
        &self,
        operation: &'static str,
        bytes: u64,
        call: impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let total = self.patience.total;
        let moving = bytes.saturating_mul(1_000) / self.patience.bytes_per_sec;
        let hedge = self.patience.hedge + Duration::from_millis(moving);
        timeout(total, self.rounds(operation, hedge, call))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out(total)))
    }

    async fn rounds<T, F>(
        &self,
        operation: &'static str,
        hedge: Duration,
        call: impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut round = 1;
        loop {
            let error = match self.round(operation, hedge, &call).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // Asking again changes no refusal and mends no bytes.
            if round >= self.patience.rounds || !matches!(error, StoreError::Unavailable(_)) {
                return Err(error);
            }
            round += 1;
            sleep(self.patience.pause).await;
        }
    }

    /// Asks every endpoint once, the next one when the ones before have failed or keep silent.
    async fn round<T, F>(
        &self,
        operation: &'static str,
        hedge: Duration,
        call: &impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let limit = self.patience.request;
        let mut waiting = self.in_turn().into_iter();
        let mut silent: Vec<Arc<Endpoint<S>>> = Vec::new();
        let mut attempts = FuturesUnordered::new();
        let mut worst = None;
        loop {
            match waiting.next() {
                Some(endpoint) => {
                    silent.push(Arc::clone(&endpoint));
                    attempts.push(async move {
                        let outcome = endpoint.attempt(operation, limit, call).await;
                        (endpoint, outcome)
                    });
                }
                None if attempts.is_empty() => {
                    return Err(worst.expect("there is at least one endpoint"));
                }
                None => {}
            }
            tokio::select! {
                Some((endpoint, outcome)) = attempts.next() => {
                    silent.retain(|other| !Arc::ptr_eq(other, &endpoint));
                    match outcome {
                        Ok(value) => {
                            let overtaken = StoreError::timed_out(hedge);
                            for endpoint in silent {
                                endpoint.rest(operation, &overtaken);
                            }
                            return Ok(value);
                        }
                        Err(error) => worst = Some(worse(worst, error)),
                    }
                }
                () = sleep(hedge), if waiting.len() > 0 => {}
            }
        }
    }

    /// Asks all endpoints at the same time; one success is enough.
    ///
    /// The others still finish in the background, and what they find out decides who rests: a frozen endpoint is
    /// found by a probe that nobody waits for, and a recovered one is back in turn.
    pub(super) async fn any<F>(
        &self,
        limit: Duration,
        call: impl Fn(S) -> F + Clone + Send + Sync + 'static,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let mut probes = JoinSet::new();
        for endpoint in self.in_turn() {
            let call = call.clone();
            probes.spawn(async move { endpoint.attempt("probe", limit, &call).await });
        }
        let mut worst = None;
        while let Some(probe) = probes.join_next().await {
            let outcome =
                probe.unwrap_or_else(|error| Err(object_store::Error::from(error).into()));
            match outcome {
                Ok(()) => {
                    probes.detach_all();
                    return Ok(());
                }
                Err(error) => worst = Some(worse(worst, error)),
            }
        }
        Err(worst.expect("there is at least one endpoint"))
    }

    /// All endpoints, beginning with another one each time, the resting ones last.
    fn in_turn(&self) -> Vec<Arc<Endpoint<S>>> {
        let mut order = self.endpoints.clone();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
        order.rotate_left(first);
        let now = Instant::now();
        order.sort_by_key(|endpoint| endpoint.rests(now));
        order
    }
}

impl<S: Clone> Endpoint<S> {
    async fn attempt<T, F>(
        &self,
        operation: &'static str,
        limit: Duration,
        call: &impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let outcome = timeout(limit, call(self.store.clone()))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out(limit)));
        match &outcome {
            Err(error @ StoreError::Unavailable(_)) => self.rest(operation, error),
            // Any other answer proves that it is there.
            _ => self.wake(),
        }
        outcome
    }

    fn rests(&self, now: Instant) -> bool {
        self.rests_until().is_some_and(|until| now < until)
    }

    /// Warns when the rest begins, not at each failure during it.
    fn rest(&self, operation: &str, error: &StoreError) {
        let now = Instant::now();
        let begins = self.rests_until().replace(now + REST).is_none();
        if begins {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(endpoint = %self.name, operation, %error, cause, "image store endpoint failed");
        }
    }

    fn wake(&self) {
        if self.rests_until().take().is_some() {
            tracing::info!(endpoint = %self.name, "image store endpoint answers again");
        }
    }

    fn rests_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // The value is one word and never half written.
        self.rests_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of two failures the one to report: what no waiting cures needs a human.
fn worse(so_far: Option<StoreError>, error: StoreError) -> StoreError {
    match so_far {
        Some(worst) if matches!(error, StoreError::Unavailable(_)) => worst,
        _ => error,
    }
}
