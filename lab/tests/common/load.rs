//! A load of visitors, beside which a test breaks something.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Visitor, eventually};

/// Visitors who load pages one after the other until told to stop.
pub struct Load<'a> {
    visitor: &'a Visitor,
    paths: Vec<String>,
    // Each request has a URL that nobody has asked for, and so is answered from no cache.
    anew: bool,
    // Of each visitor, from the begin of one request to that of the next.
    interval: Duration,
    stop: AtomicBool,
    asked: AtomicUsize,
    done: AtomicUsize,
    slowest: Mutex<Duration>,
    served: Mutex<BTreeMap<String, usize>>,
}

impl<'a> Load<'a> {
    const VISITORS: usize = 8;

    pub fn new(visitor: &'a Visitor, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Self {
            visitor,
            paths,
            anew: false,
            interval: Duration::ZERO,
            stop: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            slowest: Mutex::default(),
            served: Mutex::default(),
        }
    }

    /// No more than so many requests a second.
    pub fn at_most(mut self, per_second: u32) -> Self {
        self.interval = Duration::from_secs(Self::VISITORS as u64) / per_second;
        self
    }

    /// Never from a cache.
    pub fn asking_anew(mut self) -> Self {
        self.anew = true;
        self
    }

    /// The longest that a request took.
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    /// Who served how many requests since this was asked last.
    pub fn served(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut *self.served.lock().unwrap())
    }

    /// Runs the load beside `faults`; returns what failed.
    pub async fn during(&self, faults: impl Future<Output = ()>) -> Vec<String> {
        let visitors = join_all((0..Self::VISITORS).map(|_| self.one()));
        let faults = async {
            faults.await;
            self.stop.store(true, Ordering::Relaxed);
        };
        let (failures, ()) = tokio::join!(visitors, faults);
        assert!(self.done.load(Ordering::Relaxed) > 0, "the load ran");
        failures.into_iter().flatten().collect()
    }

    async fn one(&self) -> Vec<String> {
        let mut failures = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            for path in &self.paths {
                let begun = Instant::now();
                if let Err(failure) = self.load(path).await {
                    failures.push(format!("{path}: {failure}"));
                }
                let took = begun.elapsed();
                self.done.fetch_add(1, Ordering::Relaxed);
                let slowest = *self.slowest.lock().unwrap();
                *self.slowest.lock().unwrap() = slowest.max(took);
                tokio::time::sleep(self.interval.saturating_sub(took)).await;
            }
        }
        failures
    }

    /// One page, to its last byte.
    async fn load(&self, path: &str) -> Result<(), String> {
        let mut url = format!("{}{path}", self.visitor.base);
        if self.anew {
            url.push_str(&format!(
                "?n={}",
                self.asked.fetch_add(1, Ordering::Relaxed)
            ));
        }
        let request = self.visitor.http.get(url);
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        if let Some(backend) = response.headers().get("x-served-by") {
            let backend = String::from_utf8_lossy(backend.as_bytes()).into_owned();
            *self.served.lock().unwrap().entry(backend).or_default() += 1;
        }
        response
            .bytes()
            .await
            .map_err(|error| format!("{error:?}"))?;
        if status == 200 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    }

    /// Waits until so many more requests have been answered.
    pub async fn more(&self, requests: usize) {
        let target = self.done.load(Ordering::Relaxed) + requests;
        eventually("the load goes on", async || {
            self.done.load(Ordering::Relaxed) >= target
        })
        .await;
    }
}
