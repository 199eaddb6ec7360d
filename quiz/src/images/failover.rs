//! Endpoints that stand in for each other: the next one is asked when one refuses, fails or keeps silent.
//!
//! Endpoints take turns. One that failed rests for a while: it is asked last, so that a frozen node costs its time-out
//! once and not on every request. Operations may run twice on the way, so only idempotent ones belong here.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::StoreError;

/// How long a failed endpoint is asked last. A probe that succeeds ends it earlier.
const REST: Duration = Duration::from_secs(5);

/// How long and how often we try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For one answer of one endpoint.
    pub(super) request: Duration,
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

    /// The first success of `call`, tried on one endpoint after the other.
    pub(super) async fn first_success<T, F>(
        &self,
        operation: &'static str,
        call: impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let total = self.patience.total;
        timeout(total, self.rounds(operation, call))
            .await
            .unwrap_or_else(|_| Err(StoreError::timed_out(total)))
    }

    async fn rounds<T, F>(
        &self,
        operation: &'static str,
        call: impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut round = 1;
        loop {
            let error = match self.round(operation, &call).await {
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

    /// Asks every endpoint once. Of several failures the one that no waiting cures is reported: it needs a human.
    async fn round<T, F>(
        &self,
        operation: &'static str,
        call: &impl Fn(S) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut worst = None;
        for endpoint in self.in_turn() {
            let limit = self.patience.request;
            let error = match endpoint.attempt(operation, limit, &call).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if worst.is_none() || !matches!(error, StoreError::Unavailable(_)) {
                worst = Some(error);
            }
        }
        Err(worst.expect("there is at least one endpoint"))
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
        let mut last = None;
        while let Some(probe) = probes.join_next().await {
            let outcome =
                probe.unwrap_or_else(|error| Err(object_store::Error::from(error).into()));
            match outcome {
                Ok(()) => {
                    probes.detach_all();
                    return Ok(());
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there is at least one endpoint"))
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
            Err(error @ StoreError::Unavailable(cause)) => self.rest(operation, error, cause),
            // Any other answer proves that it is there.
            _ => self.wake(),
        }
        outcome
    }

    fn rests(&self, now: Instant) -> bool {
        self.rests_until().is_some_and(|until| now < until)
    }

    /// Warns when the rest begins, not at each failure during it.
    fn rest(&self, operation: &str, error: &StoreError, cause: &object_store::Error) {
        let now = Instant::now();
        let begins = self.rests_until().replace(now + REST).is_none();
        if begins {
            tracing::warn!(endpoint = %self.name, operation, %error, %cause, "image store endpoint failed");
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One endpoint's manner, as a test orders it.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Manner {
        Answers,
        Fails,
        Refuses,
        Freezes,
    }

    /// Endpoints 0, 1, 2… whose manner can change, and the order in which they were asked.
    #[derive(Clone)]
    struct Scene {
        manners: Arc<Mutex<Vec<Manner>>>,
        asked: Arc<Mutex<Vec<usize>>>,
    }

    impl Scene {
        fn new(manners: &[Manner]) -> (Self, Failover<usize>) {
            let endpoints = (0..manners.len()).map(|i| (i.to_string(), i)).collect();
            let patience = Patience {
                request: 5 * SECOND,
                total: 12 * SECOND,
                rounds: 2,
                pause: SECOND,
            };
            let scene = Self {
                manners: Arc::new(Mutex::new(manners.to_vec())),
                asked: Arc::default(),
            };
            (scene, Failover::new(endpoints, patience))
        }

        async fn call(self, endpoint: usize) -> Result<(), StoreError> {
            self.asked.lock().unwrap().push(endpoint);
            let manner = self.manners.lock().unwrap()[endpoint];
            let generic = object_store::Error::Generic {
                store: "test",
                source: "503".into(),
            };
            match manner {
                Manner::Answers => Ok(()),
                Manner::Fails => Err(generic.into()),
                Manner::Refuses => Err(object_store::Error::PermissionDenied {
                    path: "x".into(),
                    source: "403".into(),
                }
                .into()),
                Manner::Freezes => std::future::pending().await,
            }
        }

        fn asked(&self) -> Vec<usize> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }

        fn set(&self, endpoint: usize, manner: Manner) {
            self.manners.lock().unwrap()[endpoint] = manner;
        }

        async fn get(&self, failover: &Failover<usize>) -> Result<(), StoreError> {
            failover
                .first_success("get", |endpoint| self.clone().call(endpoint))
                .await
        }

        async fn probe(&self, failover: &Failover<usize>) -> Result<(), StoreError> {
            let scene = self.clone();
            failover
                .any(SECOND, move |endpoint| scene.clone().call(endpoint))
                .await
        }
    }

    use Manner::*;

    #[tokio::test(start_paused = true)]
    async fn healthy_endpoints_take_turns() {
        let (scene, failover) = Scene::new(&[Answers, Answers, Answers]);
        for _ in 0..4 {
            scene.get(&failover).await.unwrap();
        }
        assert_eq!(scene.asked(), [0, 1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_endpoint_is_asked_last_until_its_rest_is_over() {
        let (scene, failover) = Scene::new(&[Fails, Answers, Answers]);
        scene.get(&failover).await.unwrap();
        assert_eq!(scene.asked(), [0, 1]);
        for _ in 0..6 {
            scene.get(&failover).await.unwrap();
        }
        assert!(!scene.asked().contains(&0));
        tokio::time::advance(REST).await;
        for _ in 0..3 {
            scene.get(&failover).await.unwrap();
        }
        assert!(scene.asked().contains(&0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_endpoint_costs_its_time_out_once() {
        let (scene, failover) = Scene::new(&[Freezes, Answers, Answers]);
        let start = Instant::now();
        for _ in 0..6 {
            scene.get(&failover).await.unwrap();
        }
        assert_eq!(start.elapsed(), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn two_frozen_endpoints_leave_time_for_the_third() {
        let (scene, failover) = Scene::new(&[Freezes, Freezes, Answers]);
        scene.get(&failover).await.unwrap();
        assert_eq!(scene.asked(), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_each_is_asked_once_a_round() {
        let (scene, failover) = Scene::new(&[Fails, Fails, Fails]);
        let error = scene.get(&failover).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)));
        let mut asked = scene.asked();
        asked.sort_unstable();
        assert_eq!(asked, [0, 0, 1, 1, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_frozen_the_whole_operation_is_bounded() {
        let (scene, failover) = Scene::new(&[Freezes, Freezes, Freezes]);
        let start = Instant::now();
        let error = scene.get(&failover).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert_eq!(start.elapsed(), 12 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_reported_over_an_outage_and_not_retried() {
        let (scene, failover) = Scene::new(&[Refuses, Fails]);
        let error = scene.get(&failover).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)));
        assert_eq!(scene.asked(), [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_is_enough_to_be_ready_and_none_is_not() {
        let (scene, failover) = Scene::new(&[Fails, Freezes, Answers]);
        scene.probe(&failover).await.unwrap();
        scene.set(2, Freezes);
        let error = scene.probe(&failover).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_finds_the_frozen_endpoint_before_a_request_does() {
        let (scene, failover) = Scene::new(&[Answers, Freezes]);
        scene.probe(&failover).await.unwrap();
        sleep(2 * SECOND).await;
        scene.asked();
        for _ in 0..4 {
            scene.get(&failover).await.unwrap();
        }
        assert_eq!(scene.asked(), [0, 0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_the_rest_of_a_recovered_endpoint() {
        let (scene, failover) = Scene::new(&[Fails, Answers]);
        scene.get(&failover).await.unwrap();
        scene.set(0, Answers);
        scene.probe(&failover).await.unwrap();
        sleep(SECOND).await;
        scene.asked();
        for _ in 0..2 {
            scene.get(&failover).await.unwrap();
        }
        let mut asked = scene.asked();
        asked.sort_unstable();
        assert_eq!(asked, [0, 1]);
    }
}
