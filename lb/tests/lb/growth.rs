//! More backends, fewer, and others, while visitors are there.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::Method;
use tokio::task::JoinSet;

use crate::common::{Backend, Balancer, client, eventually};

/// Long enough to be seen, short enough to be waited for.
const FLAGS: [&str; 2] = ["--slow-start", "1"];
/// Requests after which shares are looked at.
const MANY: usize = 120;

/// A pool that is listed in a file.
struct Site {
    file: PathBuf,
    backends: Vec<Backend>,
    balancer: Balancer,
}

impl Site {
    async fn start(folder: &Path) -> Self {
        let file = folder.join("backends");
        let backends = vec![
            Backend::start().await,
            Backend::start().await,
            Backend::start().await,
        ];
        list(&file, &backends);
        let balancer = Balancer::start(&format!("file:{}", file.display()), &FLAGS).await;
        for backend in &backends {
            balancer.wait_for_state(backend.addr, "healthy").await;
        }
        Self {
            file,
            backends,
            balancer,
        }
    }

    /// Adds so many, and waits until all have their share.
    async fn grow(&mut self, by: usize) {
        for _ in 0..by {
            self.backends.push(Backend::start().await);
        }
        list(&self.file, &self.backends);
        for backend in &self.backends {
            self.balancer.wait_for_state(backend.addr, "healthy").await;
        }
        let arrived = || -> Vec<_> { self.backends.iter().map(Backend::arrived).collect() };
        let mut before = arrived();
        eventually("all have their share", async || {
            let now = arrived();
            let since: Vec<_> = now
                .iter()
                .zip(&before)
                .map(|(now, then)| now - then)
                .collect();
            let all: usize = since.iter().sum();
            if all < MANY {
                return false;
            }
            before = now;
            since.iter().all(|own| own * since.len() * 10 >= all * 9)
        })
        .await;
    }

    /// Removes the oldest as a container engine does: it drains, and is listed until it has ended.
    async fn shrink(&mut self, by: usize) {
        let leaving: Vec<_> = self.backends.drain(..by).collect();
        for backend in &leaving {
            backend.set_ready(503);
            self.balancer.wait_for_state(backend.addr, "draining").await;
            let addr = backend.addr;
            let at_work =
                format!(r#"lb_backend_requests_in_flight{{backend="{addr}",pool="quiz"}}"#);
            eventually("it is idle", async || {
                self.balancer.metric(&at_work).await == 0
            })
            .await;
            backend.kill().await;
        }
        list(&self.file, &self.backends);
        eventually("they are listed no more", async || {
            let (_, state) = self.balancer.admin_get("/state.json").await;
            let mut gone = leaving.iter().map(|backend| backend.addr.to_string());
            gone.all(|addr| !state.contains(&addr))
        })
        .await;
    }
}

/// Renamed, so that no half of it is read.
fn list(file: &Path, backends: &[Backend]) {
    let lines = backends.iter().map(|backend| format!("{}\n", backend.addr));
    let next = file.with_extension("next");
    fs::write(&next, lines.collect::<String>()).unwrap();
    fs::rename(next, file).unwrap();
}

/// Visitors who ask again and again, and notice every failure.
struct Visitors {
    stop: Arc<AtomicBool>,
    visits: JoinSet<usize>,
}

impl Visitors {
    fn of(balancer: &Balancer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut visits = JoinSet::new();
        for method in [Method::GET, Method::POST].iter().cycle().take(6) {
            let (client, url) = (client(), balancer.url("/"));
            let (stop, method) = (Arc::clone(&stop), method.clone());
            visits.spawn(async move {
                let mut replies = 0;
                while !stop.load(Ordering::SeqCst) {
                    let request = client.request(method.clone(), &url).body("answer=42");
                    let reply = request.send().await.expect("the balancer answers");
                    assert_eq!(reply.status(), 200, "{method}");
                    reply.bytes().await.expect("the reply is whole");
                    replies += 1;
                }
                replies
            });
        }
        Self { stop, visits }
    }

    /// How often they were answered.
    async fn leave(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.visits.join_all().await.into_iter().sum()
    }
}

#[tokio::test]
async fn three_backends_become_six_and_three_again_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::start(folder.path()).await;
    let visitors = Visitors::of(&site.balancer);
    site.grow(3).await;
    site.shrink(3).await;
    assert!(visitors.leave().await > MANY);
}

#[tokio::test]
async fn all_backends_are_replaced_one_by_one_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::start(folder.path()).await;
    let visitors = Visitors::of(&site.balancer);
    for _ in 0..3 {
        site.grow(1).await;
        site.shrink(1).await;
    }
    assert!(visitors.leave().await > MANY);
}
