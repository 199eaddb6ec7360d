//! Turns, rests and deadlines, with a paused clock and endpoints that behave as ordered.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HEDGE: Duration = Duration::from_millis(300);

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
            hedge: HEDGE,
            bytes_per_sec: 1_000,
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
            .first_success("get", 0, |endpoint| self.clone().call(endpoint))
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
async fn a_frozen_endpoint_costs_a_moment_once() {
    let (scene, failover) = Scene::new(&[Freezes, Answers, Answers]);
    let start = Instant::now();
    for _ in 0..6 {
        scene.get(&failover).await.unwrap();
    }
    assert_eq!(start.elapsed(), HEDGE);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_given_much_may_take_its_time() {
    let (scene, failover) = Scene::new(&[Freezes, Answers]);
    let start = Instant::now();
    let call = |endpoint| scene.clone().call(endpoint);
    failover.first_success("put", 2_000, call).await.unwrap();
    assert_eq!(start.elapsed(), HEDGE + 2 * SECOND);
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
    // The probe hears of the outage last.
    scene.set(1, Freezes);
    let error = scene.probe(&failover).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)));
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
