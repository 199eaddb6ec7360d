//! Keeps a machine under a policy file: puts it in force when it changes and when somebody else changed the rules, and
//! tells Prometheus how it goes.
//!
//! A file that is not sound, or that nft refuses, changes nothing: the last sound policy stays. A change counts when two
//! looks in a row have found it. While another `quiz-firewall` has its turn, as one that waits for a confirmation,
//! nothing is done either.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
};
use tokio::net::TcpListener;
use tracing::{error, info, warn};

use crate::apply::{self, Ready, Turn};
use crate::namespace::NamespaceFile;
use crate::nft;
use crate::site;

/// What to watch.
#[derive(Debug, Clone)]
pub struct Settings {
    pub file: PathBuf,
    /// Where Prometheus asks.
    pub listen: SocketAddr,
    /// Between two looks at the file and at the rules.
    pub interval: Duration,
    /// Where to say in which network namespace the rules are in force.
    pub namespace_file: Option<PathBuf>,
}

/// Watches until `stop` resolves. The rules stay in force then, but the file that names their namespace does not.
///
/// # Errors
/// It cannot listen, or the policy cannot be put in force at the start.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    // A watcher that nobody can ask should not begin.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let file = settings.namespace_file.as_deref();
    // A balancer relies on it: what an earlier watcher said must not stand while no rules are in force yet.
    let namespace = file.map(NamespaceFile::begin).transpose()?;
    let mut watched = Watched::begin(&settings, Arc::clone(&metrics))?;
    namespace.as_ref().map_or(Ok(()), NamespaceFile::write)?;
    info!(
        "watching {}; metrics at http://{}/metrics",
        settings.file.display(),
        listener.local_addr()?
    );
    let routes = Router::new()
        .route("/live", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(show))
        .with_state(metrics);
    let look = async {
        loop {
            tokio::time::sleep(settings.interval).await;
            // nft is waited for; nothing else is to be done meanwhile but to answer Prometheus.
            watched = tokio::task::spawn_blocking(move || {
                watched.look();
                watched
            })
            .await?;
        }
    };
    tokio::select! {
        served = axum::serve(listener, routes) => served.context("serving metrics"),
        watched = look => watched,
        () = stop => Ok(()),
    }
}

/// The policy that is kept in force.
struct Watched {
    file: PathBuf,
    /// The text that was judged last, sound or not.
    seen: String,
    /// What was judged.
    sound: bool,
    /// The text of the last look, which may have been half written.
    written: Option<String>,
    ready: Ready,
    metrics: Arc<Metrics>,
}

impl Watched {
    fn begin(settings: &Settings, metrics: Arc<Metrics>) -> anyhow::Result<Self> {
        let file = settings.file.clone();
        let seen = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let _turn = Turn::take()?;
        let policy = site::parse(&seen).with_context(|| file.display().to_string())?;
        let mut ready = apply::prepare(&policy, None)?;
        ready.load()?;
        ready.take_as_expected()?;
        metrics.loaded.inc();
        metrics.sound.set(1);
        metrics.ready.set(1);
        Ok(Self {
            file,
            seen,
            sound: true,
            written: None,
            ready,
            metrics,
        })
    }

    /// One look at the file and at the rules. What fails is tried again at the next one.
    fn look(&mut self) {
        let followed = self.follow_the_file();
        let mended = self.mend();
        self.metrics
            .ready
            .set(mended.as_ref().is_ok_and(|held| *held).into());
        for failed in [followed.err(), mended.err()].into_iter().flatten() {
            self.metrics.failures.inc();
            error!(
                error = format!("{failed:#}"),
                "the rules could not be looked after"
            );
        }
    }

    fn follow_the_file(&mut self) -> anyhow::Result<()> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) => {
                if self.metrics.sound.get() == 1 {
                    let file = self.file.display();
                    warn!(%error, "cannot read {file}: the last policy stays");
                }
                self.metrics.sound.set(0);
                self.seen.clear();
                self.written = None;
                return Ok(());
            }
        };
        if text == self.seen {
            self.written = None;
            // Also when it was another one meanwhile, and came back.
            self.metrics.sound.set(self.sound.into());
            return Ok(());
        }
        // The beginning of a file that is being written can be a sound policy, and a wider one.
        if self.written.as_ref() != Some(&text) {
            self.written = Some(text);
            return Ok(());
        }
        self.metrics.sound.set(0);
        let Some(_turn) = self.turn() else {
            return Ok(());
        };
        let file = self.file.display();
        let policy = match site::parse(&text) {
            Ok(policy) => policy,
            Err(faults) => {
                warn!(error = %faults, "{file} is not usable: the last policy stays");
                (self.seen, self.sound) = (text, false);
                return Ok(());
            }
        };
        let mut ready = apply::prepare(&policy, None)?;
        ready.load()?;
        ready.take_as_expected()?;
        info!("{file} has changed: its rules are in force");
        (self.ready, self.seen, self.sound) = (ready, text, true);
        self.metrics.sound.set(1);
        self.metrics.loaded.inc();
        Ok(())
    }

    /// Leave to change the rules, unless another change waits for its confirmation.
    fn turn(&self) -> Option<Turn> {
        match Turn::take() {
            Ok(turn) => Some(turn),
            Err(error) => {
                warn!(
                    error = format!("{error:#}"),
                    "the rules are left alone for now"
                );
                None
            }
        }
    }

    /// Brings the rules back that somebody else has changed. Returns whether they are in force now.
    fn mend(&mut self) -> anyhow::Result<bool> {
        let drift = self.ready.drift()?;
        self.metrics
            .drift
            .set(i64::try_from(drift.len()).unwrap_or(i64::MAX));
        if drift.is_empty() {
            return Ok(true);
        }
        let Some(_turn) = self.turn() else {
            return Ok(false);
        };
        let lines: Vec<String> = drift
            .iter()
            .map(|change| format!("{} {}", change.sign, change.line))
            .collect();
        warn!(
            lines = lines.join("; "),
            "the rules in force are not those of the policy: bringing them back"
        );
        self.ready.renew()?;
        self.ready.load()?;
        self.metrics.mended.inc();
        Ok(true)
    }
}

/// What Prometheus is told.
struct Metrics {
    registry: Registry,
    /// Set anew at each question; one at a time, so that nobody sees them half set.
    counted: Mutex<(IntCounterVec, IntCounterVec)>,
    in_force: IntGauge,
    drift: IntGauge,
    sound: IntGauge,
    ready: IntGauge,
    loaded: IntCounter,
    mended: IntCounter,
    failures: IntCounter,
}

impl Metrics {
    fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let labels = ["verdict", "reason"];
        let counted = |name, help| IntCounterVec::new(Opts::new(name, help), &labels);
        let packets = counted(
            "firewall_packets_total",
            "Packets that were accepted or dropped, by reason",
        )?;
        let bytes = counted("firewall_bytes_total", "Their bytes")?;
        let in_force = IntGauge::new(
            "firewall_in_force",
            "1 when this machine has rules of quiz-firewall",
        )?;
        let drift = IntGauge::new(
            "firewall_drift_lines",
            "Lines in which the rules in force differed from the policy at the last look",
        )?;
        let sound = IntGauge::new(
            "firewall_policy_sound",
            "1 when the policy file can be read and is usable, so that the rules are those of the file",
        )?;
        let ready = IntGauge::new(
            "firewall_ready",
            "1 when the last look found the rules of the policy in force, or put them back",
        )?;
        let loaded = IntCounter::new("firewall_loads_total", "Policies put in force")?;
        let mended = IntCounter::new(
            "firewall_mends_total",
            "Times that rules were brought back which somebody else had changed",
        )?;
        let failures = IntCounter::new(
            "firewall_look_failures_total",
            "Looks at the rules that failed",
        )?;
        let all: [Box<dyn Collector>; 9] = [
            Box::new(packets.clone()),
            Box::new(bytes.clone()),
            Box::new(in_force.clone()),
            Box::new(drift.clone()),
            Box::new(sound.clone()),
            Box::new(ready.clone()),
            Box::new(loaded.clone()),
            Box::new(mended.clone()),
            Box::new(failures.clone()),
        ];
        for one in all {
            registry.register(one)?;
        }
        Ok(Self {
            registry,
            counted: Mutex::new((packets, bytes)),
            in_force,
            drift,
            sound,
            ready,
            loaded,
            mended,
            failures,
        })
    }

    /// With what the rules have counted until now.
    fn text(&self) -> anyhow::Result<Vec<u8>> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (packets, bytes) = &*counted;
        packets.reset();
        bytes.reset();
        let in_force = nft::in_force(false)?.is_some();
        self.in_force.set(in_force.into());
        for one in if in_force {
            nft::counted()?
        } else {
            Vec::new()
        } {
            // As in `dropped_spoofed`; the names are ours.
            if let Some((verdict, reason)) = one.name.split_once('_') {
                packets
                    .with_label_values(&[verdict, reason])
                    .inc_by(one.packets);
                bytes
                    .with_label_values(&[verdict, reason])
                    .inc_by(one.bytes);
            }
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Whether packets meet the rules of the policy, as the last look found it.
async fn ready(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    if metrics.ready.get() == 1 {
        (StatusCode::OK, "ready\n")
    } else {
        let text = "the rules in force are not those of the policy\n";
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn show(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(move || metrics.text()).await;
    match text.map_err(anyhow::Error::from).flatten() {
        Ok(text) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)],
            text,
        ),
        Err(error) => {
            error!(error = format!("{error:#}"), "cannot tell what was counted");
            let text = b"the rules cannot be asked; the log says why\n".to_vec();
            (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::CONTENT_TYPE, "text/plain")],
                text,
            )
        }
    }
}
