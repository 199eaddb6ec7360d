//! Clients that put, delete, create, update, get and list at the same time, few keys at a time so that they collide,
//! and write down what they did and saw. None of them sends anything twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use http::{Method, StatusCode, header};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{ClientOptions, ObjectStore as _, RetryConfig};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use crate::history::{History, Kind, Listing, Operation, Outcome, Value};
use crate::nodes::{ACCESS_KEY, SECRET_KEY};
use crate::reply::{Ask, Reply, answer, plain};

/// Keys in use at one time.
const SLOTS: usize = 3;
/// Operations on one key before another takes its place; the search through their orders grows fast.
const OPERATIONS: usize = 24;
/// Generations of keys below one prefix, which is what is listed.
const GENERATIONS: usize = 8;
/// How long a client waits that wants an answer. No node is in trouble for as long as this.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest pause of a client between two operations, in milliseconds.
const PAUSE_MS: u64 = 40;

/// What a client was told, beside what is in the history: whether it was served, and how fast.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) node: usize,
    pub(crate) write: bool,
    pub(crate) called: u64,
    pub(crate) returned: u64,
    /// `None`: it was served.
    pub(crate) failed: Option<String>,
    /// The client gave up early.
    pub(crate) impatient: bool,
}

impl Request {
    /// Whether the node said, in the only way there is, that it cannot tell what became of a write.
    pub(crate) fn is_unknown(&self) -> bool {
        let reset = |why: &String| why.contains("ConnectionReset");
        self.write && self.failed.as_ref().is_some_and(reset)
    }
}

/// Clients of three nodes.
pub(crate) struct Workload {
    start: Instant,
    stores: Vec<AmazonS3>,
    http: reqwest::Client,
    /// Generation and operations so far of each key in use.
    slots: Mutex<Vec<(usize, usize)>>,
    next_value: AtomicU64,
    stop: AtomicBool,
    history: Mutex<History>,
    requests: Mutex<Vec<Request>>,
    wrong: Mutex<Vec<String>>,
    /// Reads a key once, and then tells what it saw the first time.
    stale: Option<Mutex<HashMap<String, Option<Value>>>>,
}

/// What came of it.
pub(crate) struct Ended {
    pub(crate) history: History,
    pub(crate) requests: Vec<Request>,
    /// What was wrong at first sight.
    pub(crate) wrong: Vec<String>,
    /// What each key holds in the end.
    pub(crate) last: BTreeMap<String, Option<Value>>,
}

impl Workload {
    pub(crate) fn new(endpoints: [std::net::SocketAddr; 3], stale: bool) -> Self {
        let options = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(PATIENCE);
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let store = |address| {
            AmazonS3Builder::new()
                .with_endpoint(format!("http://{address}"))
                .with_bucket_name("quiz")
                .with_region("us-east-1")
                .with_access_key_id(ACCESS_KEY)
                .with_secret_access_key(SECRET_KEY)
                .with_client_options(options.clone())
                .with_retry(retry.clone())
                .build()
                .unwrap()
        };
        // A connection for each request: on an old one, a client might send a request again by itself.
        let http = reqwest::Client::builder().no_proxy();
        let http = http.pool_max_idle_per_host(0).build().unwrap();
        Self {
            start: Instant::now(),
            stores: endpoints.into_iter().map(store).collect(),
            http,
            slots: Mutex::new(vec![(0, 0); SLOTS]),
            next_value: AtomicU64::new(1),
            stop: AtomicBool::new(false),
            history: Mutex::default(),
            requests: Mutex::default(),
            wrong: Mutex::default(),
            stale: stale.then(Mutex::default),
        }
    }

    /// Microseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A client of one node, until it is stopped.
    pub(crate) async fn client(&self, node: usize, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.stopped() {
            self.operate(node, &mut random).await;
            sleep(Duration::from_millis(random.random_range(0..PAUSE_MS))).await;
        }
    }

    async fn operate(&self, node: usize, random: &mut StdRng) {
        let slot = random.random_range(0..SLOTS);
        let patience = match random.random_bool(0.15) {
            true => Duration::from_millis(random.random_range(1..500)),
            false => PATIENCE,
        };
        match random.random_range(0..20) {
            0..7 => {
                let key = self.draw(slot, 1);
                self.get(node, &key, patience).await;
            }
            7..10 => {
                self.write(node, &self.draw(slot, 1), Kind::Put(self.value()), patience)
                    .await
            }
            10..13 => {
                let create = Kind::Create(self.value());
                self.write(node, &self.draw(slot, 1), create, patience)
                    .await;
            }
            13..16 => self.delete(node, &self.draw(slot, 1), patience).await,
            _ => {
                let key = self.draw(slot, 2);
                if let Some(Some(seen)) = self.get(node, &key, patience).await {
                    let to = self.value();
                    let update = Kind::Update { seen, to };
                    self.write(node, &key, update, patience).await;
                }
            }
        }
    }

    fn value(&self) -> Value {
        self.next_value.fetch_add(1, Ordering::Relaxed)
    }

    /// The key in use in a slot.
    fn draw(&self, slot: usize, operations: usize) -> String {
        let mut slots = self.slots.lock().unwrap();
        let (generation, count) = &mut slots[slot];
        if *count + operations > OPERATIONS {
            *generation += 1;
            *count = 0;
        }
        *count += operations;
        format!("{}{generation}", prefix(slot, *generation))
    }

    async fn get(&self, node: usize, key: &str, patience: Duration) -> Option<Option<Value>> {
        let called = self.now();
        let cached = self.stale.as_ref();
        let cached = cached.and_then(|seen| seen.lock().unwrap().get(key).copied());
        let saw = match cached {
            Some(saw) => saw,
            None => match self.send(node, Ask::new(Method::GET, key), patience).await {
                Reply::Answer { status, tag, body } if status == StatusCode::OK => {
                    let value = self.read(node, key, &body)?;
                    self.tell(tag, value);
                    Some(value)
                }
                Reply::Answer { status, .. } if status == StatusCode::NOT_FOUND => None,
                Reply::Answer { .. } | Reply::Nothing | Reply::Unknown => return None,
            },
        };
        if let Some(stale) = &self.stale {
            stale.lock().unwrap().insert(key.to_owned(), saw);
        }
        self.note(node, key, Kind::Get, Outcome::Saw(saw), called);
        Some(saw)
    }

    /// The value of a body, of which every byte has to be right.
    fn read(&self, node: usize, key: &str, body: &[u8]) -> Option<Value> {
        let text = body
            .get(..20)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let value = text.and_then(|text| text.parse().ok());
        if value.is_none_or(|value| self::body(value) != body) {
            let wrong = format!("node {node} gave bytes of {key} that nobody wrote");
            self.wrong.lock().unwrap().push(wrong);
            return None;
        }
        value
    }

    async fn write(&self, node: usize, key: &str, kind: Kind, patience: Duration) {
        let (value, condition) = match kind {
            Kind::Put(value) => (value, None),
            Kind::Create(value) => (value, Some((header::IF_NONE_MATCH, "*".to_owned()))),
            Kind::Update { seen, to } => (to, Some((header::IF_MATCH, self.tag_of(seen)))),
            Kind::Delete | Kind::Get => unreachable!("not a write"),
        };
        let called = self.now();
        let ask = Ask {
            condition,
            body: body(value),
            ..Ask::new(Method::PUT, key)
        };
        let reply = self.send(node, ask, patience).await;
        let outcome = match reply {
            Reply::Answer { status, tag, .. } if status == StatusCode::OK => {
                self.tell(tag, value);
                Outcome::Done
            }
            Reply::Answer { .. } => Outcome::Failed,
            Reply::Nothing => return,
            Reply::Unknown => Outcome::Unknown,
        };
        self.note(node, key, kind, outcome, called);
    }

    async fn delete(&self, node: usize, key: &str, patience: Duration) {
        let called = self.now();
        let reply = self
            .send(node, Ask::new(Method::DELETE, key), patience)
            .await;
        let outcome = match reply {
            Reply::Answer { .. } => Outcome::Done,
            Reply::Nothing => return,
            Reply::Unknown => Outcome::Unknown,
        };
        self.note(node, key, Kind::Delete, outcome, called);
    }

    async fn send(&self, node: usize, ask: Ask<'_>, patience: Duration) -> Reply {
        let hour = Duration::from_secs(3_600);
        let path = Path::from(ask.key);
        let write = ask.method != Method::GET;
        let url = self.stores[node].signed_url(ask.method.clone(), &path, hour);
        let request = ask.request(&self.http, url.await.unwrap());
        let called = self.now();
        let (reply, failed) = answer(request.timeout(patience)).await;
        self.log(Request {
            node,
            write,
            called,
            returned: self.now(),
            failed,
            impatient: patience < PATIENCE,
        });
        if matches!(reply, Reply::Nothing) {
            sleep(Duration::from_millis(20)).await; // the node may be dead
        }
        reply
    }

    fn log(&self, request: Request) {
        self.requests.lock().unwrap().push(request);
    }

    fn note(&self, node: usize, key: &str, kind: Kind, outcome: Outcome, called: u64) {
        let returned = self.now();
        let mut history = self.history.lock().unwrap();
        let operations = history.keys.entry(key.to_owned()).or_default();
        operations.push(Operation {
            node,
            kind,
            outcome,
            called,
            returned,
        });
    }

    fn tell(&self, tag: String, value: Value) {
        self.history.lock().unwrap().tags.insert(tag, value);
    }

    fn tag_of(&self, value: Value) -> String {
        let history = self.history.lock().unwrap();
        let mut tags = history.tags.iter();
        let known = tags.find(|(_, known)| **known == value);
        format!("\"{}\"", known.unwrap().0)
    }

    /// Lists through one node after the other, until it is stopped.
    pub(crate) async fn lister(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        while !self.stopped() {
            let (node, slot) = (random.random_range(0..3), random.random_range(0..SLOTS));
            let generation = self.slots.lock().unwrap()[slot].0;
            let prefix = prefix(slot, generation);
            let called = self.now();
            let listed = self.stores[node].list(Some(&Path::from(prefix.as_str())));
            let listed = listed.try_collect::<Vec<_>>().await;
            let failed = listed.as_ref().err().map(|error| format!("list: {error}"));
            self.log(Request {
                node,
                write: false,
                called,
                returned: self.now(),
                failed,
                impatient: false,
            });
            if let Ok(listed) = listed {
                let seen = listed.into_iter().map(|object| {
                    let tag = object.e_tag.unwrap();
                    (object.location.to_string(), plain(&tag))
                });
                let listing = Listing {
                    node,
                    prefix,
                    called,
                    returned: self.now(),
                    seen: seen.collect(),
                };
                self.history.lock().unwrap().listings.push(listing);
            }
            sleep(Duration::from_millis(random.random_range(0..2 * PAUSE_MS))).await;
        }
    }

    /// Reads everything through every node and ends.
    pub(crate) async fn end(self) -> Ended {
        let keys: Vec<_> = self.history.lock().unwrap().keys.keys().cloned().collect();
        let mut last = BTreeMap::new();
        for key in keys {
            let reads = [0, 1, 2].map(|node| self.get(node, &key, PATIENCE));
            let reads = futures::future::join_all(reads).await;
            if reads.contains(&None) {
                let wrong = format!("{key} cannot be read in the end: {reads:?}");
                self.wrong.lock().unwrap().push(wrong);
            }
            last.insert(key, reads[0].flatten());
        }
        Ended {
            history: self.history.into_inner().unwrap(),
            requests: self.requests.into_inner().unwrap(),
            wrong: self.wrong.into_inner().unwrap(),
            last,
        }
    }
}

/// The prefix of a key, without its generation.
fn prefix(slot: usize, generation: usize) -> String {
    format!("{slot}/{}/", generation / GENERATIONS)
}

/// The bytes of a value: mostly few; some take more than one block, and some travel in pieces.
pub(crate) fn body(value: Value) -> Vec<u8> {
    let blocks = match value % 32 {
        0 => 70_000,
        7 | 23 => 4_000,
        _ => 1,
    };
    format!("{value:020}").repeat(blocks).into_bytes()
}
