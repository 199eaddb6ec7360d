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
        r#"lb_request_duration_seconds_bucket{backend="10.0.0.1:1",pool="quiz",le="0.005"} 1"#,
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
