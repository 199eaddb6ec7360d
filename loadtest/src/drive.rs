//! One run: threads with virtual users, watched until the last of them has finished.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::chaos::{self, Deed, Planned};
use crate::content::{self, Content};
use crate::generator::{self, ThreadTime};
use crate::journey::Traveller;
use crate::live::{self, Live};
use crate::pacer::Pacer;
use crate::report::{Event, Report};
use crate::stats::Stats;
use crate::user::{Setting, Turn, User, lock};
use crate::{Load, Plan};

/// How often the terminal is drawn.
const REFRESH: Duration = Duration::from_millis(500);
/// Preparations may take at least so long for each request, however impatient the run is: they write pictures.
const PREPARING: Duration = Duration::from_secs(10);

/// What is done to the server during a run.
#[derive(Debug, Clone, Default)]
pub struct Disturbance {
    pub deeds: Vec<(Planned, Deed)>,
    /// Where commands are run.
    pub folder: Option<std::path::PathBuf>,
}

/// Tells a run to end before its time. It reports what it has, and says so.
#[derive(Debug, Clone)]
pub struct Brake(watch::Sender<bool>);

impl Default for Brake {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Brake {
    pub fn pull(&self) {
        self.0.send_replace(true);
    }

    #[must_use]
    pub fn is_pulled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is pulled.
    pub async fn pulled(&self) {
        // This is a sender itself, so there always is one.
        let _ = self.0.subscribe().wait_for(|pulled| *pulled).await;
    }
}

/// Puts content on the site, carries out the plan, and removes the content again. Each request is accounted for,
/// however it ended.
///
/// # Errors
/// Content could not be made, so that nothing was measured. What cannot be removed is told in `complaints`.
///
/// # Panics
/// When the system has no thread left.
pub async fn run(
    plan: &Plan,
    disturbance: Disturbance,
    brake: &Brake,
    complaints: &mut Vec<String>,
) -> Result<Report, content::Error> {
    let setting = preparing(plan);
    let content = Content::prepare(&plan.scenario, &plan.wanted, &setting, brake).await?;
    let content = Arc::new(content);
    let report = measure(plan, &content, disturbance, brake).await;
    if let Err(error) = content.remove(&setting).await {
        complaints.push(error.to_string());
    }
    Ok(report)
}

/// How content is made and removed: at once, and nobody counts.
#[must_use]
pub fn preparing(plan: &Plan) -> Setting {
    Setting {
        target: Arc::clone(&plan.target),
        timeout: plan.timeout.max(PREPARING),
        origin: Instant::now(),
        stats: Arc::new(Mutex::new(Stats::new(Duration::ZERO, Duration::ZERO))),
    }
}

/// Carries out the plan with content that is there.
///
/// # Panics
/// When the system has no thread left.
pub async fn measure(
    plan: &Plan,
    content: &Arc<Content>,
    disturbance: Disturbance,
    brake: &Brake,
) -> Report {
    let began = SystemTime::now();
    let origin = Instant::now();
    let pacer = match &plan.load {
        Load::Open(schedule) => Some(Pacer::start(schedule, origin, plan.users)),
        Load::Closed { .. } => None,
    };
    let threads: Vec<Thread> = (0..plan.threads.min(plan.users))
        .map(|number| Thread::start(number, plan, content, pacer.as_ref(), origin, brake))
        .collect();
    let (end, over) = oneshot::channel();
    let chaos = tokio::spawn(chaos::carry_out(
        disturbance.deeds,
        disturbance.folder,
        origin,
        plan.load.warm_up(),
        over,
    ));
    let (stats, times) = follow(plan, threads, pacer, origin, brake).await;
    let elapsed = origin.elapsed();
    // It may have done all that there was to do.
    let _ = end.send(());
    let events = chaos.await.unwrap_or_default();
    let stopped = brake.is_pulled() && elapsed < plan.load.whole();
    let generator = generator::judge(&stats, &times, &plan.load, elapsed, stopped);
    build(plan, &stats, began, elapsed, events, generator)
}

/// Users that share a thread.
struct Thread {
    stats: Arc<Mutex<Stats>>,
    /// Processor time, when all users have finished.
    done: oneshot::Receiver<ThreadTime>,
}

impl Thread {
    fn start(
        number: usize,
        plan: &Plan,
        content: &Arc<Content>,
        pacer: Option<&Pacer>,
        origin: Instant,
        brake: &Brake,
    ) -> Self {
        let stats = Arc::new(Mutex::new(Stats::new(
            plan.load.warm_up(),
            plan.load.whole(),
        )));
        let setting = Setting {
            target: Arc::clone(&plan.target),
            timeout: plan.timeout,
            origin,
            stats: Arc::clone(&stats),
        };
        let turn = match (&plan.load, pacer) {
            (Load::Open(_), Some(pacer)) => Turn::Open(pacer.tickets()),
            (Load::Closed { think, .. }, _) => Turn::Closed {
                think: *think,
                until: plan.load.whole(),
                brake: brake.clone(),
            },
            (Load::Open(_), None) => unreachable!("an open loop has a pacer"),
        };
        let travellers: Vec<Traveller> = (number..plan.users)
            .step_by(plan.threads)
            .map(|user| Traveller {
                user: User::new(
                    setting.clone(),
                    turn.clone(),
                    StdRng::seed_from_u64(plan.seed.wrapping_add(user as u64)),
                ),
                scenario: Arc::clone(&plan.scenario),
                content: Arc::clone(content),
                call: Arc::clone(&plan.call),
                number: user,
                jars: BTreeMap::new(),
            })
            .collect();
        let (tell, done) = oneshot::channel();
        thread::Builder::new()
            .name(format!("users-{number}"))
            .spawn(move || {
                travel(travellers);
                // Nobody may be waiting any more.
                let _ = tell.send(ThreadTime::so_far());
            })
            .expect("the system has a thread left");
        Self { stats, done }
    }
}

fn travel(travellers: Vec<Traveller>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has another epoll");
    let users = LocalSet::new();
    for traveller in travellers {
        users.spawn_local(traveller.run());
    }
    runtime.block_on(users);
}

/// Shows how the run stands until its threads have ended, and adds them up.
async fn follow(
    plan: &Plan,
    threads: Vec<Thread>,
    pacer: Option<Pacer>,
    origin: Instant,
    brake: &Brake,
) -> (Stats, Vec<ThreadTime>) {
    let (all, dones): (Vec<_>, Vec<_>) = threads
        .into_iter()
        .map(|thread| (thread.stats, thread.done))
        .unzip();
    let mut live = Live::is_seen().then(Live::default);
    let finished = async {
        let mut times = Vec::new();
        for done in dones {
            // A thread that panicked has told so itself.
            times.push(done.await.unwrap_or_default());
        }
        times
    };
    tokio::pin!(finished);
    let mut tick = interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let times = loop {
        tokio::select! {
            times = &mut finished => break times,
            _ = tick.tick() => {
                if brake.is_pulled() && let Some(pacer) = &pacer {
                    pacer.stop();
                }
                if let Some(live) = &mut live {
                    let (warm_up, whole) = (plan.load.warm_up(), plan.load.whole());
                    live.draw(&live::lines(&sum(plan, &all), origin.elapsed(), warm_up, whole));
                }
            }
        }
    };
    if let Some(live) = &mut live {
        live.clear();
    }
    (sum(plan, &all), times)
}

fn sum(plan: &Plan, all: &[Arc<Mutex<Stats>>]) -> Stats {
    let mut sum = Stats::new(plan.load.warm_up(), plan.load.whole());
    for stats in all {
        sum.add(&lock(stats));
    }
    sum
}

fn build(
    plan: &Plan,
    stats: &Stats,
    began: SystemTime,
    elapsed: Duration,
    mut events: Vec<Event>,
    generator: crate::report::Generator,
) -> Report {
    let mut report = Report::of(plan, stats, elapsed, generator);
    report.started_at_ms = began
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or_default();
    chaos::judge(
        &mut events,
        &report.series,
        plan.load.warm_up().as_secs_f64(),
    );
    report.events = events;
    report
}
