use std::{collections::BTreeMap, time::Instant};

use super::*;
use crate::{config, pool::Probe};

#[test]
fn the_text_shows_requests_retries_and_the_pool_as_it_is_now() {
    let pool = Arc::new(Pool::new("quiz", config::Pool::default()));
    let metrics = Metrics::new(vec![Arc::clone(&pool)]).unwrap();
    let now = Instant::now();
    pool.set_members(&BTreeMap::from([("10.0.0.1:1".parse().unwrap(), 1)]), now);
    let backend = pool.backends().remove(0);
    pool.record(&backend, Probe::Ready, now);
    let _guards = (backend.begin(1), metrics.begin());
    metrics.ended(
        "quiz",
        Some("10.0.0.1:1"),
        Some(204),
        Duration::from_millis(3),
    );
    metrics.ended("quiz", None, None, Duration::ZERO);
    metrics.retried("quiz", "connect");
    let text = metrics.render().unwrap();
    for line in [
        r#"lb_requests_total{backend="10.0.0.1:1",class="2xx",pool="quiz"} 1"#,
        r#"lb_requests_total{backend="none",class="aborted",pool="quiz"} 1"#,
        r#"lb_request_duration_seconds_bucket{backend="10.0.0.1:1",class="2xx",pool="quiz",le="0.005"} 1"#,
        r#"lb_retries_total{phase="connect",pool="quiz"} 1"#,
        r#"lb_backend_state{backend="10.0.0.1:1",pool="quiz",state="healthy"} 1"#,
        r#"lb_backend_state{backend="10.0.0.1:1",pool="quiz",state="warming"} 0"#,
        r#"lb_backend_requests_in_flight{backend="10.0.0.1:1",pool="quiz"} 1"#,
        "lb_requests_in_flight 1",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line} is missing in\n{text}"
        );
    }
    pool.set_members(&BTreeMap::new(), now);
    assert!(!metrics.render().unwrap().contains("lb_backend_state{"));
}

#[test]
fn what_was_counted_of_a_backend_is_forgotten_ten_minutes_after_it_has_gone() {
    let pool = Arc::new(Pool::new("quiz", config::Pool::default()));
    let metrics = Metrics::new(vec![Arc::clone(&pool)]).unwrap();
    let (stays, goes) = ("10.0.0.1:1", "10.0.0.2:1");
    let members = |addrs: &[&str]| {
        addrs
            .iter()
            .map(|addr| (addr.parse().unwrap(), 1))
            .collect()
    };
    let now = Instant::now();
    pool.set_members(&members(&[stays, goes]), now);
    for backend in [Some(stays), Some(goes), None, Some(CACHE)] {
        for status in [None, Some(101), Some(200), Some(304), Some(404), Some(503)] {
            metrics.ended("quiz", backend, status, Duration::ZERO);
        }
    }
    for backend in [stays, goes] {
        metrics.ejected("quiz", backend.parse().unwrap());
        metrics.connected("quiz", backend, false);
        metrics.connected("quiz", backend, true);
    }
    let shown = |after: Duration| metrics.render_at(now + after).unwrap();
    shown(Duration::ZERO);
    let counted = shown(gone::KEPT).lines().count();
    pool.set_members(&members(&[stays]), now);
    let (left, minute) = (gone::KEPT, Duration::from_mins(1));
    assert!(
        shown(left + minute).contains(goes),
        "it has gone this moment"
    );
    assert!(shown(left + gone::KEPT).contains(goes), "nine minutes ago");
    // Whoever comes back has not gone.
    pool.set_members(&members(&[stays, goes]), now);
    shown(left + 2 * gone::KEPT);
    assert_eq!(shown(left + 3 * gone::KEPT).lines().count(), counted);
    pool.set_members(&members(&[stays]), now);
    shown(left + 4 * gone::KEPT);
    assert!(shown(left + 5 * gone::KEPT).contains(goes), "the last time");
    let text = shown(left + 5 * gone::KEPT);
    assert!(!text.contains(goes), "{text}");
    assert!(text.contains(r#"backend="none""#) && text.contains(r#"backend="cache""#));
    assert!(text.contains(stays));
}

#[test]
fn scrapes_at_the_same_time_do_not_disturb_each_other() {
    let pool = Arc::new(Pool::new("quiz", config::Pool::default()));
    let members = (1..=50).map(|port| (([10, 0, 0, 1], port).into(), 1));
    pool.set_members(&members.collect(), Instant::now());
    let metrics = Metrics::new(vec![pool]).unwrap();
    let scrape = || {
        let text = metrics.render().unwrap();
        text.lines()
            .filter(|l| l.starts_with("lb_backend_"))
            .count()
    };
    std::thread::scope(|scope| {
        let scrape_often = || (0..100).map(|_| scrape()).collect::<Vec<_>>();
        let scrapers: Vec<_> = (0..4).map(|_| scope.spawn(scrape_often)).collect();
        for scraper in scrapers {
            // Of each backend six states and the requests in flight.
            assert_eq!(scraper.join().unwrap(), [50 * 7; 100]);
        }
    });
}
