//! The simulation of `quiz-loadtest` beside the balancer itself: the same requests, at the same times, with the same work.
//!
//! Backends are stubs with one place and a line; their work is a sleep, so that a busy machine changes little. What
//! is asserted is who gets how much and which policy is better; times are printed, and stand in `docs/capacity.md`.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{SOON, artefacts, eventually, programs};
use futures::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quiz_lab::console::Console;
use quiz_lab::ports::Ports;
use quiz_lab::ready;
use quiz_lab::supervise::{Process, Spec};
use quiz_loadtest::simulate::{Backend, Outcome, Policy, Request, replay};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// Mean time that a usual backend works on a request. The time is exponential.
const WORK: Duration = Duration::from_millis(20);
const BACKENDS: usize = 3;
/// The backend that may be slow.
const LAST: usize = BACKENDS - 1;
/// Runs of the simulation over which chances of the policy are averaged; the real one has its own.
const SEEDS: u64 = 21;
/// Requests without work at the end.
const IDLE: usize = 201;

/// What is offered to whom.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    /// How many times as long the last backend takes.
    slowness: f64,
    /// Requests per second.
    rate: f64,
    secs: f64,
}

/// What came of it, simulated or measured.
#[derive(Debug)]
struct Figures {
    /// Of each backend.
    shares: Vec<f64>,
    mean: Duration,
    p50: Duration,
    p90: Duration,
    p99: Duration,
}

/// What became of a request.
struct Reply {
    backend: usize,
    /// From when it was due to the end of the reply.
    latency: Duration,
    /// How long the backend worked on it.
    worked: Duration,
}

/// Both beside each other.
#[derive(Debug)]
struct Compared {
    policy: Policy,
    simulated: Figures,
    measured: Figures,
    /// What a request without work takes on this machine now, of which the simulation knows nothing.
    idle: Duration,
}

impl Figures {
    fn of(replies: &[Reply]) -> Self {
        let mut latencies: Vec<Duration> = replies.iter().map(|reply| reply.latency).collect();
        latencies.sort_unstable();
        let quantile = |quantile: f64| latencies[(latencies.len() as f64 * quantile) as usize];
        let share = |backend: usize| {
            let its_own = replies.iter().filter(|reply| reply.backend == backend);
            its_own.count() as f64 / replies.len() as f64
        };
        Self {
            shares: (0..BACKENDS).map(share).collect(),
            mean: latencies.iter().sum::<Duration>() / latencies.len() as u32,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        }
    }
}

#[tokio::test]
async fn the_simulation_and_the_balancer_agree_on_who_gets_how_much_and_which_policy_is_better() {
    let equal = Scenario {
        name: "equal, 60 % busy",
        slowness: 1.0,
        rate: 90.0,
        secs: 10.0,
    };
    // 60 % of what the three can do, and 140 % of what the slow one can do of a third.
    let one_slow = Scenario {
        name: "one 3x slower, 60 % busy",
        slowness: 3.0,
        rate: 70.0,
        secs: 10.0,
    };
    let (equal, one_slow) = tokio::join!(compare(equal), compare(one_slow));

    for Compared {
        policy,
        simulated,
        measured,
        ..
    } in equal.iter().chain(&one_slow)
    {
        let shares = simulated.shares.iter().zip(&measured.shares);
        for (simulated, measured) in shares {
            // Of 600 or more requests, a share by chance alone has a standard error of 2 percentage points at most.
            assert!(
                (simulated - measured).abs() < 0.1,
                "{policy:?}: {simulated:.3} simulated, {measured:.3} measured"
            );
        }
        // A busy machine makes requests slower, so that there is no upper bound; nothing makes them much quicker.
        let ratio = measured.p50.as_secs_f64() / simulated.p50.as_secs_f64();
        assert!(ratio > 0.5, "{policy:?}: p50 x {ratio:.2}");
    }
    let [round_robin, least_load] = &one_slow[..] else {
        panic!("two policies were compared");
    };
    for (in_turn, by_load) in [
        (&round_robin.simulated, &least_load.simulated),
        (&round_robin.measured, &least_load.measured),
    ] {
        assert!(
            (in_turn.shares[LAST] - 1.0 / 3.0).abs() < 0.02,
            "{in_turn:?}"
        );
        assert!(by_load.shares[LAST] < 0.25, "{by_load:?}");
        assert!(by_load.p90 < in_turn.p90, "{by_load:?}, {in_turn:?}");
    }
}

/// `cargo test -p quiz-lab --test simulate -- --ignored --nocapture` prints the table of `docs/capacity.md`.
#[tokio::test]
#[ignore = "takes two minutes, and asserts nothing that the short one does not"]
async fn the_table_of_the_docs() {
    let scenario = |name, slowness, rate| Scenario {
        name,
        slowness,
        rate,
        secs: 120.0,
    };
    tokio::join!(
        compare(scenario("equal, 60 % busy", 1.0, 90.0)),
        compare(scenario("equal, 80 % busy", 1.0, 120.0)),
        // With round_robin, the slow one is 75 % busy.
        compare(scenario("one 3x slower, 32 % busy", 3.0, 37.5)),
    );
}

/// The same requests for both policies, simulated and sent.
async fn compare(scenario: Scenario) -> Vec<Compared> {
    let requests = requests(scenario);
    let one = async |policy, algorithm| {
        let (replies, idle) = measured(scenario, algorithm, &requests).await;
        let worked = worked(scenario, &requests, &replies);
        Compared {
            policy,
            simulated: simulated(scenario, policy, &worked),
            measured: Figures::of(&replies[warm_up(&requests)..]),
            idle,
        }
    };
    let (round_robin, least_load) = tokio::join!(
        one(Policy::RoundRobin, "round_robin"),
        one(Policy::LeastLoad, "least_load"),
    );
    let compared = vec![round_robin, least_load];
    print(scenario, requests.len(), &compared);
    compared
}

/// Arrivals of a Poisson process, with exponential work.
fn requests(scenario: Scenario) -> Vec<Request> {
    let mut random = StdRng::seed_from_u64(20);
    let mut exponential = |mean: f64| -mean * (1.0 - random.random::<f64>()).ln();
    let mut arrives = 0.0;
    let mut requests = Vec::new();
    loop {
        arrives += exponential(1.0 / scenario.rate);
        if arrives > scenario.secs {
            return requests;
        }
        // Whole microseconds, because the stubs are told so.
        let demand = exponential(WORK.as_micros() as f64).round() as u64;
        requests.push(Request {
            arrives: Duration::from_secs_f64(arrives),
            demand: Duration::from_micros(demand),
        });
    }
}

/// The first tenth of the requests is not measured.
fn warm_up(requests: &[Request]) -> usize {
    requests.len() / 10
}

fn simulated(scenario: Scenario, policy: Policy, requests: &[Request]) -> Figures {
    let backends = slownesses(scenario).map(|slowness| Backend {
        workers: 1,
        slowness,
    });
    let outcomes: Vec<Outcome> = (0..SEEDS)
        .map(|seed| {
            // Whose turn it is at the beginning is chance as well: two requests that overtake each other move it, and then
            // the slow one gets another third of them.
            let turn = seed as usize % BACKENDS;
            let warm_up = (warm_up(requests) - turn) as u64;
            let requests = requests.iter().copied().skip(turn);
            replay(&backends, policy, requests, warm_up, seed)
        })
        .collect();
    let mean = |figure: &dyn Fn(&Outcome) -> Duration| {
        outcomes.iter().map(figure).sum::<Duration>() / SEEDS as u32
    };
    let share = |backend: usize| {
        let shares = outcomes
            .iter()
            .map(|outcome| outcome.backends[backend].share);
        shares.sum::<f64>() / SEEDS as f64
    };
    Figures {
        shares: (0..BACKENDS).map(share).collect(),
        mean: mean(&|outcome| outcome.mean_latency),
        p50: mean(&|outcome| outcome.quantile(0.5)),
        p90: mean(&|outcome| outcome.quantile(0.9)),
        p99: mean(&|outcome| outcome.quantile(0.99)),
    }
}

fn slownesses(scenario: Scenario) -> [f64; BACKENDS] {
    let mut slownesses = [1.0; BACKENDS];
    slownesses[LAST] = scenario.slowness;
    slownesses
}

/// Sends the requests through a balancer of their own, and then some that are no work, one after the other: the median of
/// those tells what all take that is no work and no waiting.
async fn measured(
    scenario: Scenario,
    algorithm: &str,
    requests: &[Request],
) -> (Vec<Reply>, Duration) {
    let backends = join_all(slownesses(scenario).map(stub)).await;
    let (balancer, _ports) = balancer(algorithm, &backends).await;
    let base = format!("http://{}", balancer.spec().address);
    let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
    let replies = send(&client, &base, requests, &backends).await;
    let mut idle = Vec::with_capacity(IDLE);
    for _ in 0..IDLE {
        let begun = Instant::now();
        let reply = client.get(format!("{base}/busy/0")).send().await.unwrap();
        reply.bytes().await.unwrap();
        idle.push(begun.elapsed());
    }
    idle.sort_unstable();
    balancer.stop().await;
    (replies, idle[IDLE / 2])
}

/// The requests with the work that they were: who sleeps on a busy machine wakes up late, and that is not for the simulation
/// to know.
fn worked(scenario: Scenario, requests: &[Request], replies: &[Reply]) -> Vec<Request> {
    let slownesses = slownesses(scenario);
    let requests = requests.iter().zip(replies);
    let requests = requests.map(|(request, reply)| Request {
        arrives: request.arrives,
        demand: reply.worked.div_f64(slownesses[reply.backend]),
    });
    requests.collect()
}

/// Sends each request when it is due, whatever became of those before.
async fn send(
    client: &reqwest::Client,
    base: &str,
    requests: &[Request],
    backends: &[SocketAddr],
) -> Vec<Reply> {
    let addresses: Vec<String> = backends.iter().map(SocketAddr::to_string).collect();
    let (due, mut starts) = tokio::sync::mpsc::unbounded_channel();
    let arrivals: Vec<Duration> = requests.iter().map(|request| request.arrives).collect();
    // A thread keeps time to a tenth of a millisecond, the timers of the runtime to one.
    let clock = std::thread::spawn(move || {
        let begun = Instant::now();
        for arrives in arrivals {
            let at = begun + arrives;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            due.send(at).unwrap();
        }
    });
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        let at = starts.recv().await.unwrap();
        let reply = client.get(format!("{base}/busy/{}", request.demand.as_micros()));
        replies.push(tokio::spawn(async move {
            let reply = reply.send().await.unwrap();
            assert_eq!(reply.status(), 200);
            let header = |name| reply.headers()[name].to_str().unwrap().to_owned();
            let (served_by, worked) = (header("x-served-by"), header("x-worked-us"));
            reply.bytes().await.unwrap();
            (served_by, worked, at.elapsed())
        }));
    }
    clock.join().unwrap();
    let replies = join_all(replies).await.into_iter().map(|reply| {
        let (served_by, worked, latency) = reply.unwrap();
        let backend = addresses.iter().position(|address| *address == served_by);
        Reply {
            backend: backend.expect("a backend served it"),
            latency,
            worked: Duration::from_micros(worked.parse().unwrap()),
        }
    });
    replies.collect()
}

/// A balancer that knows these backends as healthy, with the ports that are its own.
async fn balancer(algorithm: &str, backends: &[SocketAddr]) -> (Process, Ports) {
    let mut ports = Ports::reserve(2).unwrap();
    let mut address = || SocketAddr::from((Ipv4Addr::LOCALHOST, ports.take()));
    let (listen, admin) = (address(), address());
    let list: Vec<String> = backends.iter().map(SocketAddr::to_string).collect();
    let env = [
        ("LB_LISTEN", listen.to_string()),
        ("LB_ADMIN_LISTEN", admin.to_string()),
        ("LB_BACKENDS", list.join(",")),
        ("LB_ALGORITHM", algorithm.to_owned()),
    ];
    let spec = Spec {
        name: "lb".to_owned(),
        program: programs().join("quiz-lb"),
        args: Vec::new(),
        env: env.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        user: None,
        stop: Signal::TERM,
        grace: Duration::from_secs(20),
        address: listen,
        admin: Some(admin),
    };
    let log = artefacts().join(format!("simulate-{}.log", listen.port()));
    let log = std::fs::File::create(log).unwrap();
    let process = Process::start(spec, Console::new(Box::new(log), false));
    let ready = ready::wait(&process, async || ready::http_ok(admin, "/ready").await);
    ready.await.unwrap();
    eventually("every backend is healthy", async || {
        let (_, state) = ready::get(admin, "/state.json").await.unwrap();
        String::from_utf8_lossy(&state)
            .matches("\"healthy\"")
            .count()
            == backends.len()
    })
    .await;
    (process, ports)
}

/// A piece of work, and who wants to know how long it took.
type Work = (Duration, oneshot::Sender<Duration>);

/// A backend with one place: a thread that sleeps for as long as each request says, one after the other.
async fn stub(slowness: f64) -> SocketAddr {
    let (line, works) = mpsc::channel::<Work>();
    std::thread::spawn(move || {
        for (work, done) in works {
            let begun = Instant::now();
            std::thread::sleep(work.mul_f64(slowness));
            // Who has gone does not want to know.
            let _ = done.send(begun.elapsed());
        }
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let line = line.clone();
            let service = service_fn(move |request| answer(request, line.clone()));
            let server = hyper::server::conn::http1::Builder::new();
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// `/busy/20000` is 20 ms of work; all else, as the checks of the balancer, is none.
async fn answer(
    request: http::Request<Incoming>,
    line: mpsc::Sender<Work>,
) -> Result<http::Response<Full<Bytes>>, oneshot::error::RecvError> {
    let mut reply = http::Response::builder().header("cache-control", "no-store");
    if let Some(micros) = request.uri().path().strip_prefix("/busy/") {
        let work = Duration::from_micros(micros.parse().unwrap());
        let (done, ended) = oneshot::channel();
        line.send((work, done)).unwrap();
        reply = reply.header("x-worked-us", ended.await?.as_micros().to_string());
    }
    Ok(reply.body(Full::from("done")).unwrap())
}

/// Rows of a Markdown table.
fn print(scenario: Scenario, requests: usize, compared: &[Compared]) {
    for compared in compared {
        let Compared {
            simulated,
            measured,
            ..
        } = compared;
        let ms = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e3);
        let both = |figure: fn(&Figures) -> Duration| {
            format!("{} / {}", ms(figure(simulated)), ms(figure(measured)))
        };
        eprintln!(
            "| {} | `{}` | {requests} | {:.1} / {:.1} % | {} | {} | {} | {} | {} |",
            scenario.name,
            compared.policy.name(),
            simulated.shares[LAST] * 100.0,
            measured.shares[LAST] * 100.0,
            both(|figures| figures.mean),
            both(|figures| figures.p50),
            both(|figures| figures.p90),
            both(|figures| figures.p99),
            ms(compared.idle),
        );
    }
}
