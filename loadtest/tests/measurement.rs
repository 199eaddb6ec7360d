//! Whether the figures are true, against servers of which the truth is known.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{reply, serve, serve_bytes};
use quiz_loadtest::connection::Call;
use quiz_loadtest::content::{Content, Wanted};
use quiz_loadtest::drive::{self, Brake, Disturbance};
use quiz_loadtest::report::Report;
use quiz_loadtest::scenario::Scenario;
use quiz_loadtest::schedule::Schedule;
use quiz_loadtest::target::Target;
use quiz_loadtest::{Load, Plan};
use tokio::net::TcpStream;

/// A plan without warm-up, with a timeout that nothing reaches unless it hangs.
async fn plan(address: SocketAddr, rate: u32, duration_ms: u64) -> Plan {
    let target = Target::resolve(&format!("http://{address}/"), false)
        .await
        .expect("loopback is harmless");
    Plan {
        call: Arc::new(Call::get(target.path.clone())),
        target: Arc::new(target),
        scenario: Arc::new(Scenario::url()),
        load: Load::Open(Schedule::constant(
            f64::from(rate),
            Duration::ZERO,
            Duration::from_millis(duration_ms),
        )),
        users: 8,
        threads: 2,
        timeout: Duration::from_secs(20),
        wanted: Wanted {
            accounts: 0,
            quizzes: 0,
            existing: None,
        },
        seed: 1,
    }
}

/// The same in a closed loop of `users`.
async fn closed(address: SocketAddr, users: usize, think_ms: u64, duration_ms: u64) -> Plan {
    Plan {
        load: Load::Closed {
            think: Duration::from_millis(think_ms),
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(duration_ms),
        },
        users,
        ..plan(address, 1, 1).await
    }
}

async fn run(plan: Plan) -> Report {
    let content = Arc::new(Content::default());
    drive::measure(&plan, &content, Disturbance::default(), &Brake::default()).await
}

fn assert_all_accounted_for(report: &Report) {
    let requests = &report.requests;
    assert_eq!(
        requests.planned,
        requests.succeeded + requests.failed + requests.dropped,
        "{report:?}"
    );
}

#[tokio::test]
async fn a_stall_is_charged_to_all_requests_that_had_to_wait_for_it() {
    const STALL_MS: u64 = 600;
    let (address, _) = serve(|number| async move {
        if number == 20 {
            tokio::time::sleep(Duration::from_millis(STALL_MS)).await;
        }
        reply(200, "stalling")
    })
    .await;
    let mut plan = plan(address, 100, 2_000).await;
    plan.users = 1;
    let report = run(plan).await;

    assert_eq!(report.requests.succeeded, 200);
    let latency = report.latency_us.expect("there were answers");
    let service = report.service_us.expect("there were answers");
    // One request met the stall, sixty were meant to start during it. Forty of these waited 200 ms or more, a fifth of
    // all, so the 90th percentile must be as high. A loaded machine only makes it higher.
    assert!(latency.p90 >= 199_000, "{latency:?}");
    assert!(report.requests.late_starts >= 50, "{:?}", report.requests);
    // A tester that waits for each reply before it plans the next request sees what `service` sees: one slow reply.
    assert!(service.max >= STALL_MS * 999, "{service:?}");
    assert!(service.p90 < latency.p90, "{service:?} {latency:?}");
}

#[tokio::test]
async fn errors_are_counted_exactly_by_status_class() {
    let (address, seen) = serve(|number| async move {
        match number % 10 {
            0 => reply(500, "a"),
            1 | 2 => reply(404, "a"),
            3 => reply(302, "a"),
            _ => reply(200, "a"),
        }
    })
    .await;
    let report = run(plan(address, 500, 400).await).await;
    assert_eq!(seen.requests.load(Ordering::Relaxed), 200);
    assert_eq!(
        (report.errors.status_5xx, report.errors.status_4xx),
        (20, 40)
    );
    assert_eq!(
        (report.requests.succeeded, report.requests.failed),
        (140, 60)
    );
    assert_eq!(report.achieved.body_bytes, 200 * 5);
    assert_all_accounted_for(&report);
}

#[tokio::test]
async fn replies_are_shared_out_among_the_backends_that_gave_them() {
    let (address, _) = serve(|number| async move {
        reply(
            200,
            if number % 4 == 0 {
                "10.0.0.1:3000"
            } else {
                "10.0.0.2:3000"
            },
        )
    })
    .await;
    let report = run(plan(address, 500, 400).await).await;
    let shares: Vec<(&str, u64, f64)> = report
        .served_by
        .iter()
        .map(|(name, share)| (name.as_str(), share.replies, share.share))
        .collect();
    assert_eq!(
        shares,
        [("10.0.0.1:3000", 50, 0.25), ("10.0.0.2:3000", 150, 0.75)]
    );
}

#[tokio::test]
async fn the_warm_up_is_sent_and_not_measured() {
    let (address, seen) =
        serve(|number| async move { reply(if number < 20 { 500 } else { 200 }, "a") }).await;
    let mut plan = plan(address, 100, 300).await;
    plan.load = Load::Open(Schedule::constant(
        100.0,
        Duration::from_millis(200),
        Duration::from_millis(300),
    ));
    // One connection keeps the order of arrival that of the schedule.
    plan.users = 1;
    let report = run(plan).await;
    assert_eq!(seen.requests.load(Ordering::Relaxed), 50);
    assert_eq!(
        (
            report.requests.warm_up,
            report.requests.planned,
            report.requests.succeeded
        ),
        (20, 30, 30)
    );
    assert_eq!(report.errors.total(), 0);
}

#[tokio::test]
async fn connections_are_kept_and_never_more_than_asked_for() {
    let (address, seen) = serve(|_| async { reply(200, "a") }).await;
    let mut plan = plan(address, 500, 400).await;
    plan.users = 3;
    let report = run(plan).await;
    assert_eq!(report.requests.succeeded, 200);
    assert!(
        (1..=3).contains(&seen.connections.load(Ordering::Relaxed)),
        "{seen:?}"
    );
}

#[tokio::test]
async fn a_server_that_closes_after_each_reply_causes_no_errors() {
    let address =
        serve_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            .await;
    let report = run(plan(address, 200, 500).await).await;
    assert_eq!(
        (report.requests.succeeded, report.requests.failed),
        (100, 0),
        "{:?}",
        report.errors
    );
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_meanwhile_is_opened_again_without_an_error() {
    // The head promises to keep the connection, then it is closed: the next request, 200 ms later, finds it gone.
    let address = serve_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let mut plan = plan(address, 10, 1_000).await;
    plan.users = 2;
    let report = run(plan).await;
    assert_eq!(
        (report.requests.succeeded, report.requests.failed),
        (10, 0),
        "{:?}",
        report.errors
    );
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_a_body_error() {
    let address = serve_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello").await;
    let report = run(plan(address, 100, 200).await).await;
    assert_eq!(
        (report.errors.body, report.errors.total()),
        (20, 20),
        "{:?}",
        report.errors
    );
    assert_eq!(report.latency_us.expect("all ended").count, 20);
    assert_eq!(report.service_us, None);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_head_is_no_reply() {
    for reply in [&b""[..], b"220 smtp.example ESMTP\r\n"] {
        let address = serve_bytes(reply).await;
        let report = run(plan(address, 100, 200).await).await;
        assert_eq!(
            (report.errors.no_reply, report.errors.total()),
            (20, 20),
            "{:?}",
            report.errors
        );
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_gives_connect_errors_for_every_request() {
    // Bound and never listening: refused for certain, and nobody else can take the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let report = run(plan(socket.local_addr().expect("it is bound"), 100, 300).await).await;
    assert_eq!((report.errors.connect, report.errors.total()), (30, 30));
    assert_eq!(
        (report.requests.succeeded, report.achieved.rate_per_second),
        (0, 0.0)
    );
    assert_eq!(report.latency_us.expect("all ended").count, 30);
    assert_eq!(report.service_us, None);
}

#[tokio::test]
async fn a_server_with_a_full_accept_queue_gives_timeouts_and_no_connect_errors() {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a free port");
    let listener = socket.listen(1).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    // Nothing is ever accepted. The queue is full once a connection is no longer made, not refused.
    let mut queue = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await
    {
        queue.push(connected.expect("the port is open"));
    }
    let mut plan = plan(address, 20, 200).await;
    plan.timeout = Duration::from_millis(300);
    let report = run(plan).await;
    assert_all_accounted_for(&report);
    assert_eq!(report.errors.timeout, report.errors.total());
    assert!(report.errors.timeout >= 1, "{report:?}");
    let latency = report.latency_us.expect("all ended");
    assert_eq!(latency.count, report.requests.planned);
    assert!(latency.p50 >= 299_000, "{latency:?}");
}

#[tokio::test]
async fn a_server_that_never_answers_gives_timeouts_and_then_drops() {
    let (address, seen) = serve(|_| std::future::pending()).await;
    let mut plan = plan(address, 100, 900).await;
    plan.users = 2;
    plan.timeout = Duration::from_millis(300);
    let report = run(plan).await;
    assert_all_accounted_for(&report);
    assert_eq!(
        (report.requests.planned, report.requests.succeeded),
        (90, 0)
    );
    assert_eq!(report.errors.timeout, report.errors.total());
    // Two connections that hang for 300 ms each take up a ticket every 150 ms, while one comes due every 10 ms.
    assert!(
        report.errors.timeout >= 2 && report.requests.dropped >= 20,
        "{report:?}"
    );
    assert!(seen.requests.load(Ordering::Relaxed) <= report.errors.timeout);
    // Those that were given up are the only latency there is, and it is no shorter than the timeout.
    let latency = report.latency_us.expect("all ended");
    assert_eq!(latency.count, 90);
    assert!(latency.p50 >= 299_000, "{latency:?}");
}

#[tokio::test]
async fn a_stall_of_a_second_is_charged_to_all_who_came_in_an_open_loop_and_to_each_user_once_in_a_closed_one()
 {
    const STALL: Duration = Duration::from_secs(1);
    // The whole server stands still, whoever asks: 50 users at 200 requests/s.
    let stalling = async || {
        let gate = Arc::new(tokio::sync::RwLock::new(()));
        serve(move |number| {
            let gate = Arc::clone(&gate);
            async move {
                if number == 300 {
                    let _closed = gate.write().await;
                    tokio::time::sleep(STALL).await;
                } else {
                    let _open = gate.read().await;
                }
                reply(200, "a")
            }
        })
        .await
        .0
    };
    let mut open = plan(stalling().await, 200, 5_000).await;
    open.users = 50;
    let open = run(open).await;
    // A fifth of all requests were meant to start while it stood: latency says so, 1 % of them with nearly all of it.
    let latency = open.latency_us.expect("there were answers");
    assert!(latency.p99 >= 940_000, "{latency:?}");
    let worst = open
        .series
        .points
        .iter()
        .filter_map(|point| point.p99_us)
        .max();
    assert!(
        worst >= Some(900_000),
        "the series shows when: {:?}",
        open.series
    );

    // A closed loop of the same 50 users, who think so as to ask 200 times a second, has one slow reply for each user.
    let closed = run(closed(stalling().await, 50, 250, 5_000).await).await;
    // Each of its users met the stall once: one in seventeen requests, so it is in the 99th percentile as well. What it
    // does not have are those who would have come meanwhile.
    let closed_latency = closed.latency_us.expect("there were answers");
    assert!(closed_latency.p99 >= 700_000, "{closed_latency:?}");
    assert!(
        closed_latency.p90 < latency.p90,
        "{closed_latency:?} {latency:?}"
    );
    assert!(
        closed.offered.load.starts_with("closed"),
        "{:?}",
        closed.offered
    );
}

#[tokio::test]
async fn a_closed_loop_asks_as_often_as_it_is_answered_and_thought() {
    let (address, seen) = serve(|_| async { reply(200, "a") }).await;
    let report = run(closed(address, 3, 100, 1_000).await).await;
    let requests = seen.requests.load(Ordering::Relaxed);
    assert_eq!(report.requests.succeeded, requests);
    // Each user at once and then every 100 ms at best; a busy machine only makes it slower.
    assert!((3..=33).contains(&requests), "{requests}");
    assert_eq!(report.offered.rate_per_second, None);
    assert_eq!(report.requests.late_starts, 0);
}

#[tokio::test]
async fn poisson_arrivals_and_shapes_send_what_their_schedule_says() {
    let (address, seen) = serve(|_| async { reply(200, "a") }).await;
    let mut plan = plan(address, 1, 1).await;
    let schedule = Schedule {
        shape: "ramp:50..350".parse().expect("a shape"),
        arrivals: quiz_loadtest::schedule::Arrivals::Poisson,
        ..Schedule::constant(1.0, Duration::ZERO, Duration::from_secs(1))
    };
    let planned = schedule.starts().count() as u64;
    plan.load = Load::Open(schedule);
    let report = run(plan).await;
    assert_eq!(report.requests.succeeded, planned);
    assert_eq!(seen.requests.load(Ordering::Relaxed), planned);
    assert_eq!(report.offered.load, "ramp 50/s to 350/s, poisson");
}

#[tokio::test]
async fn a_run_that_is_stopped_reports_what_it_has_and_is_not_valid() {
    let (address, seen) = serve(|_| async { reply(200, "a") }).await;
    let plan = plan(address, 100, 3_600_000).await;
    let brake = Brake::default();
    let content = Arc::new(Content::default());
    let (report, ()) = tokio::join!(
        drive::measure(&plan, &content, Disturbance::default(), &brake),
        async {
            while seen.requests.load(Ordering::Relaxed) < 20 {
                tokio::task::yield_now().await;
            }
            brake.pull();
        }
    );
    assert!(report.requests.succeeded >= 20);
    assert_all_accounted_for(&report);
    assert!(!report.generator.valid);
    assert!(
        report
            .generator
            .reasons
            .iter()
            .any(|reason| reason.contains("stopped"))
    );
}
