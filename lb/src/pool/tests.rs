//! The rules of membership, health and turn, without a socket.

use std::collections::BTreeMap;

use super::*;

const HEALTHY: Option<News> = Some(News::Became(State::Healthy));
const UNHEALTHY: Option<News> = Some(News::Became(State::Unhealthy));

fn checks(rise: usize, fall: usize) -> config::Checks {
    config::Checks {
        rise,
        fall,
        ..config::Checks::default()
    }
}

fn addrs(ports: &[u16]) -> BTreeSet<SocketAddr> {
    ports
        .iter()
        .map(|port| SocketAddr::from(([10, 0, 0, 1], *port)))
        .collect()
}

fn pool(ports: &[u16]) -> Pool {
    let pool = Pool::new("quiz", config::Pool::default());
    pool.set_members(&addrs(ports));
    pool
}

fn healthy_pool(ports: &[u16]) -> Pool {
    let pool = pool(ports);
    probe_all(&pool, Probe::Ready);
    pool
}

fn probe_all(pool: &Pool, probe: Probe) {
    for backend in pool.backends() {
        pool.record(&backend, probe);
    }
}

fn probes(checks: &config::Checks, probes: &[Probe]) -> Vec<Option<News>> {
    let mut record = Record::new();
    probes
        .iter()
        .map(|probe| record.observe(*probe, checks))
        .collect()
}

#[test]
fn a_newborn_backend_gets_nothing_until_it_was_ready() {
    let pool = pool(&[1]);
    assert!(pool.select(&[]).is_none());
    assert_eq!(pool.backends()[0].state(), State::Warming);
    probe_all(&pool, Probe::Failed);
    assert!(pool.select(&[]).is_none());
    probe_all(&pool, Probe::Ready);
    assert_eq!(pool.select(&[]).unwrap().addr().port(), 1);
}

#[test]
fn a_refused_connection_takes_a_backend_out_at_once() {
    let pool = healthy_pool(&[1, 2]);
    let refusing = &pool.backends()[0];
    assert_eq!(pool.record(refusing, Probe::Refused), UNHEALTHY);
    assert_eq!(pool.record(refusing, Probe::Refused), None);
    assert!((0..4).all(|_| pool.select(&[]).unwrap().addr().port() == 2));
}

#[test]
fn every_backend_gets_the_same_share() {
    let pool = healthy_pool(&[1, 2, 3]);
    let mut shares = BTreeMap::new();
    for _ in 0..300 {
        *shares
            .entry(pool.select(&[]).unwrap().addr().port())
            .or_insert(0) += 1;
    }
    assert_eq!(shares, BTreeMap::from([(1, 100), (2, 100), (3, 100)]));
}

#[test]
fn a_request_never_meets_a_backend_twice() {
    let pool = healthy_pool(&[1, 2, 3]);
    for _ in 0..10 {
        let mut tried = Vec::new();
        while let Some(backend) = pool.select(&tried) {
            assert!(!tried.contains(&backend.addr()));
            tried.push(backend.addr());
        }
        assert_eq!(tried.len(), 3);
        assert!(!pool.has_untried(&tried));
        assert!(pool.has_untried(&tried[1..]));
    }
}

#[test]
fn a_retry_takes_no_turn() {
    let pool = healthy_pool(&[1, 2]);
    let dead = addrs(&[2]).pop_first().unwrap();
    let mut first_choices = Vec::new();
    for _ in 0..4 {
        let backend = pool.select(&[]).unwrap();
        first_choices.push(backend.addr().port());
        if backend.addr() == dead {
            assert_eq!(pool.select(&[dead]).unwrap().addr().port(), 1);
        }
    }
    assert_eq!(first_choices, [1, 2, 1, 2]);
}

#[test]
fn one_failure_is_forgiven_and_two_are_not() {
    let run = [
        Probe::Ready,
        Probe::Failed,
        Probe::Ready,
        Probe::Failed,
        Probe::Failed,
        Probe::Failed,
    ];
    assert_eq!(
        probes(&checks(1, 2), &run),
        [HEALTHY, None, None, None, UNHEALTHY, None]
    );
}

#[test]
fn a_draining_backend_leaves_at_once() {
    let run = [Probe::Ready, Probe::Draining];
    assert_eq!(probes(&checks(1, 2), &run)[1], UNHEALTHY);
}

#[test]
fn rise_counts_successes_in_a_row() {
    let strict = &checks(2, 1);
    let run = [Probe::Ready, Probe::Failed, Probe::Ready, Probe::Ready];
    assert_eq!(
        probes(strict, &run),
        [None, Some(News::NeverReady), None, HEALTHY]
    );
}

#[test]
fn a_backend_that_never_becomes_ready_is_news_once() {
    let failures = [
        Probe::Failed,
        Probe::Draining,
        Probe::Refused,
        Probe::Failed,
    ];
    let never = Some(News::NeverReady);
    assert_eq!(probes(&checks(1, 2), &failures), [None, never, None, None]);
    let hopeful = &checks(2, 2);
    let run = [&failures[..2], &[Probe::Ready], &failures[..2]].concat();
    assert_eq!(probes(hopeful, &run), [None, never, None, None, None]);

    let pool = pool(&[1]);
    probe_all(&pool, Probe::Failed);
    let told = |pool: &Pool| pool.record(&pool.backends()[0], Probe::Failed);
    assert_eq!((told(&pool), told(&pool)), (never, None));
    pool.set_members(&addrs(&[]));
    pool.set_members(&addrs(&[1]));
    assert_eq!((told(&pool), told(&pool)), (None, never));
}

#[test]
fn an_unhealthy_backend_comes_back() {
    let run = [Probe::Ready, Probe::Draining, Probe::Ready];
    assert_eq!(probes(&checks(1, 2), &run)[2], HEALTHY);
}

#[test]
fn an_address_that_leaves_and_returns_is_warming_again() {
    let pool = healthy_pool(&[1, 2]);
    let before = pool.backends()[0].generation();
    assert_eq!(
        pool.set_members(&addrs(&[2])).left,
        [*addrs(&[1]).first().unwrap()]
    );
    assert_eq!(
        pool.set_members(&addrs(&[1, 2])).joined,
        [*addrs(&[1]).first().unwrap()]
    );
    let backends = pool.backends();
    assert_eq!(
        [backends[0].state(), backends[1].state()],
        [State::Warming, State::Healthy]
    );
    assert_ne!(backends[0].generation(), before);
}

#[test]
fn the_same_list_again_changes_nothing() {
    let pool = healthy_pool(&[1, 2]);
    assert_eq!(pool.set_members(&addrs(&[1, 2])), Change::default());
    assert!(pool.has_untried(&[]));
}

#[test]
fn a_late_probe_of_a_gone_backend_brings_nobody_back() {
    let pool = pool(&[1]);
    let gone = pool.backends().remove(0);
    pool.set_members(&addrs(&[]));
    pool.record(&gone, Probe::Ready);
    assert!(pool.select(&[]).is_none());
}

#[test]
fn requests_in_flight_are_counted_until_they_end() {
    let pool = healthy_pool(&[1]);
    let backend = pool.select(&[]).unwrap();
    let guards = [backend.begin(), backend.begin()];
    assert_eq!(backend.in_flight(), 2);
    drop(guards);
    assert_eq!(backend.in_flight(), 0);
}
