//! The rules of membership and turn, without a socket.

use super::*;

const UNHEALTHY: Option<News> = Some(News::Became(State::Unhealthy));

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn addrs(ports: &[u16]) -> BTreeMap<SocketAddr, u32> {
    ports.iter().map(|port| (addr(*port), 1)).collect()
}

fn pool(ports: &[u16]) -> Pool {
    let pool = Pool::new("quiz", config::Pool::default());
    pool.set_members(&addrs(ports), Instant::now());
    pool
}

fn healthy_pool(ports: &[u16]) -> Pool {
    let pool = pool(ports);
    probe_all(&pool, Probe::Ready);
    pool
}

fn probe_all(pool: &Pool, probe: Probe) {
    for backend in pool.backends() {
        pool.record(&backend, probe, Instant::now());
    }
}

#[test]
fn a_newborn_backend_gets_nothing_until_it_was_ready() {
    let pool = pool(&[1]);
    assert!(pool.select(&[], 0, Instant::now()).is_none());
    assert_eq!(pool.backends()[0].state(), State::Warming);
    probe_all(&pool, Probe::Failed);
    assert!(pool.select(&[], 0, Instant::now()).is_none());
    probe_all(&pool, Probe::Ready);
    assert_eq!(
        pool.select(&[], 0, Instant::now()).unwrap().addr().port(),
        1
    );
}

#[test]
fn a_refused_connection_takes_a_backend_out_at_once() {
    let pool = healthy_pool(&[1, 2]);
    let refusing = &pool.backends()[0];
    assert_eq!(
        pool.record(refusing, Probe::Refused, Instant::now()),
        UNHEALTHY
    );
    assert_eq!(pool.record(refusing, Probe::Refused, Instant::now()), None);
    assert!((0..4).all(|_| pool.select(&[], 0, Instant::now()).unwrap().addr().port() == 2));
}

#[test]
fn a_request_never_meets_a_backend_twice() {
    let pool = healthy_pool(&[1, 2, 3]);
    for _ in 0..10 {
        let mut tried = Vec::new();
        while let Some(backend) = pool.select(&tried, 0, Instant::now()) {
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
    let dead = addr(2);
    let mut first_choices = Vec::new();
    for _ in 0..4 {
        let backend = pool.select(&[], 0, Instant::now()).unwrap();
        first_choices.push(backend.addr().port());
        if backend.addr() == dead {
            assert_eq!(
                pool.select(&[dead], 0, Instant::now())
                    .unwrap()
                    .addr()
                    .port(),
                1
            );
        }
    }
    assert_eq!(first_choices, [1, 2, 1, 2]);
}

#[test]
fn an_address_that_leaves_and_returns_is_warming_again() {
    let pool = healthy_pool(&[1, 2]);
    let before = pool.backends()[0].generation();
    assert_eq!(
        pool.set_members(&addrs(&[2]), Instant::now()).left,
        [addr(1)]
    );
    assert_eq!(
        pool.set_members(&addrs(&[1, 2]), Instant::now()).joined,
        [addr(1)]
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
    assert_eq!(
        pool.set_members(&addrs(&[1, 2]), Instant::now()),
        Change::default()
    );
    assert!(pool.has_untried(&[]));
}

#[test]
fn a_late_probe_of_a_gone_backend_brings_nobody_back() {
    let pool = pool(&[1]);
    let gone = pool.backends().remove(0);
    pool.set_members(&addrs(&[]), Instant::now());
    pool.record(&gone, Probe::Ready, Instant::now());
    assert!(pool.select(&[], 0, Instant::now()).is_none());
}

#[test]
fn requests_in_flight_are_counted_until_they_end() {
    let pool = healthy_pool(&[1]);
    let backend = pool.select(&[], 0, Instant::now()).unwrap();
    let guards = [backend.begin(2), backend.begin(2)];
    assert!(backend.begin(2).is_none());
    assert_eq!(backend.in_flight(), 2);
    drop(guards);
    assert_eq!(backend.in_flight(), 0);
}

#[test]
fn weights_are_shares() {
    let pool = healthy_pool(&[1, 2]);
    let weighed = BTreeMap::from([(addr(1), 1), (addr(2), 3)]);
    assert_eq!(
        pool.set_members(&weighed, Instant::now()),
        Change::default()
    );
    let heavy = |_: &usize| pool.select(&[], 0, Instant::now()).unwrap().addr() == addr(2);
    assert_eq!((0..400).filter(heavy).count(), 300);
}

#[test]
fn at_most_half_of_a_pool_is_ejected() {
    for (ports, most) in [
        (vec![1], 0),
        (vec![1, 2], 1),
        (vec![1, 2, 3], 1),
        (vec![1, 2, 3, 4], 2),
    ] {
        let pool = healthy_pool(&ports);
        let now = Instant::now();
        for backend in pool.backends().iter().cycle().take(50) {
            pool.failed(backend, now, Duration::ZERO);
        }
        let ejected = |pool: &Pool| {
            let all = pool.backends();
            all.iter().filter(|b| b.state() == State::Ejected).count()
        };
        assert_eq!(ejected(&pool), most, "{ports:?}");
        let later = now + pool.settings().ejection.base;
        assert_eq!(pool.tick(later).len(), most);
        assert_eq!(ejected(&pool), 0);
    }
}

#[test]
fn when_nothing_is_left_those_are_tried_that_accepted_connections() {
    let pool = healthy_pool(&[1, 2, 3]);
    let all = pool.backends();
    pool.record(&all[0], Probe::Refused, Instant::now());
    pool.record(&all[1], Probe::Draining, Instant::now());
    assert!(!pool.panics());
    for _ in 0..2 {
        pool.record(&all[2], Probe::Failed, Instant::now());
    }
    assert!(pool.panics());
    assert_eq!(all[2].state(), State::Unhealthy);
    assert!((0..5).all(|_| pool.select(&[], 0, Instant::now()).unwrap().addr() == addr(3)));
    pool.record(&all[0], Probe::Ready, Instant::now());
    assert!(!pool.panics());
    assert_eq!(pool.select(&[], 0, Instant::now()).unwrap().addr(), addr(1));
}

#[test]
fn who_joins_later_starts_slowly() {
    let pool = healthy_pool(&[1]);
    pool.set_members(&addrs(&[1, 2]), Instant::now());
    let start = Instant::now();
    pool.record(&pool.backends()[1], Probe::Ready, start);
    let share = |secs| {
        let now = start + Duration::from_secs(secs);
        let new = |_: &usize| pool.select(&[], 0, now).unwrap().addr() == addr(2);
        (0..1100).filter(new).count()
    };
    assert_eq!([share(0), share(10)], [100, 550]);
    let half = share(5);
    assert!(half.abs_diff(390) <= 2, "{half}");
}

#[test]
fn an_operator_takes_a_backend_out_and_lets_it_in_again() {
    let pool = healthy_pool(&[1, 2]);
    let with = |disabled| config::Pool {
        disabled,
        ..config::Pool::default()
    };
    pool.adopt(with(vec![addr(1)]));
    let change = pool.set_members(&addrs(&[1, 2]), Instant::now());
    assert_eq!(change.switched, [(addr(1), State::Disabled)]);
    assert!((0..5).all(|_| pool.select(&[], 0, Instant::now()).unwrap().addr() == addr(2)));
    pool.adopt(with(Vec::new()));
    let change = pool.set_members(&addrs(&[1, 2]), Instant::now());
    assert_eq!(change.switched, [(addr(1), State::Healthy)]);
}
