//! Clients that put, delete, create, update, get and list, few keys at a time so that they collide, and write down what
//! they did and saw. None of them sends anything twice.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer as _;
use quiz_storage::sys::simulated::random_range;
use tokio::time::{sleep, timeout};
use turmoil::net::TcpStream;

use crate::cluster::{ACCESS_KEY, S3, SECRET_KEY, name};
use crate::history::{History, Kind, Listing, Operation, Outcome, Value};

/// Keys in use at one time.
const SLOTS: usize = 3;
/// Operations on one key before another takes its place; the search through their orders grows fast.
const OPERATIONS: usize = 24;
/// Generations of keys below one prefix, which is what is listed.
const GENERATIONS: usize = 8;
/// How long a client waits that wants an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Longest pause of a client between two operations, in milliseconds.
const PAUSE_MS: u64 = 200;

/// What all clients did and saw.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) history: RefCell<History>,
    /// What was wrong at first sight.
    pub(crate) wrong: RefCell<Vec<String>>,
    /// Generation and operations so far of each key in use.
    slots: RefCell<[(usize, usize); SLOTS]>,
    values: Cell<Value>,
}

impl Records {
    fn value(&self) -> Value {
        self.values.set(self.values.get() + 1);
        self.values.get()
    }

    /// The key in use in a slot.
    fn draw(&self, slot: usize, operations: usize) -> String {
        let (generation, count) = &mut self.slots.borrow_mut()[slot];
        if *count + operations > OPERATIONS {
            *generation += 1;
            *count = 0;
        }
        *count += operations;
        format!("{}{generation}", prefix(slot, *generation))
    }

    fn tell(&self, tag: String, value: Value) {
        self.history.borrow_mut().tags.insert(tag, value);
    }

    fn tag_of(&self, value: Value) -> String {
        let history = self.history.borrow();
        let known = history.tags.iter().find(|(_, known)| **known == value);
        format!("\"{}\"", known.unwrap().0)
    }
}

/// The prefix of a key, without its generation.
fn prefix(slot: usize, generation: usize) -> String {
    format!("{slot}/{}/", generation / GENERATIONS)
}

/// The bytes of a value: mostly few, some take more than one block.
pub(crate) fn body(value: Value) -> Vec<u8> {
    let blocks = if value.is_multiple_of(16) { 4_000 } else { 1 };
    format!("{value:020}").repeat(blocks).into_bytes()
}

/// Microseconds since the beginning.
fn now() -> u64 {
    turmoil::sim_elapsed().unwrap().as_micros() as u64
}

/// What a client was told.
enum Reply {
    Answer {
        status: StatusCode,
        tag: String,
        body: Bytes,
    },
    /// Certainly not applied.
    Nothing,
    Unknown,
}

/// A client of one node.
pub(crate) struct Client {
    node: usize,
    /// Lists now and then.
    lists: bool,
    signer: AmazonS3,
    records: std::rc::Rc<Records>,
}

impl Client {
    pub(crate) fn new(node: usize, lists: bool, records: std::rc::Rc<Records>) -> Self {
        let signer = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}:{S3}", name(node)))
            .with_allow_http(true)
            .with_bucket_name("quiz")
            .with_region("us-east-1")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY);
        Self {
            node,
            lists,
            signer: signer.build().unwrap(),
            records,
        }
    }

    /// Works until it is stopped.
    pub(crate) async fn run(&self, stop: &Cell<bool>) {
        while !stop.get() {
            self.operate().await;
            sleep(Duration::from_millis(random_range(0..PAUSE_MS))).await;
        }
    }

    async fn operate(&self) {
        let slot = random_range(0..SLOTS);
        let patience = match random_range(0..6) {
            0 => Duration::from_millis(random_range(1..500)),
            _ => PATIENCE,
        };
        let draw = |operations| self.records.draw(slot, operations);
        match random_range(0..if self.lists { 24 } else { 20 }) {
            0..7 => {
                self.get(&draw(1), patience).await;
            }
            7..10 => {
                let put = Kind::Put(self.records.value());
                self.write(&draw(1), put, patience).await;
            }
            10..13 => {
                let create = Kind::Create(self.records.value());
                self.write(&draw(1), create, patience).await;
            }
            13..16 => self.delete(&draw(1), patience).await,
            16..20 => {
                let key = draw(2);
                if let Some(Some(seen)) = self.get(&key, patience).await {
                    let to = self.records.value();
                    self.write(&key, Kind::Update { seen, to }, patience).await;
                }
            }
            _ => self.list(slot).await,
        }
    }

    /// Reads a key; `None` when nothing was told.
    pub(crate) async fn read(&self, key: &str) -> Option<Option<Value>> {
        self.get(key, PATIENCE).await
    }

    async fn get(&self, key: &str, patience: Duration) -> Option<Option<Value>> {
        let called = now();
        let saw = match self
            .send(Method::GET, key, None, Vec::new(), patience)
            .await
        {
            Reply::Answer { status, tag, body } if status == StatusCode::OK => {
                let value = self.check(key, &body)?;
                self.records.tell(tag, value);
                Some(value)
            }
            Reply::Answer { status, .. } if status == StatusCode::NOT_FOUND => None,
            Reply::Answer { .. } | Reply::Nothing | Reply::Unknown => return None,
        };
        self.note(key, Kind::Get, Outcome::Saw(saw), called);
        Some(saw)
    }

    /// The value of a body, of which every byte has to be right.
    fn check(&self, key: &str, bytes: &[u8]) -> Option<Value> {
        let digits = bytes.get(..20).and_then(|b| std::str::from_utf8(b).ok());
        let value = digits.and_then(|digits| digits.parse().ok());
        if value.is_none_or(|value| body(value) != bytes) {
            let wrong = format!("node {} gave bytes of {key} that nobody wrote", self.node);
            self.records.wrong.borrow_mut().push(wrong);
            return None;
        }
        value
    }

    async fn write(&self, key: &str, kind: Kind, patience: Duration) {
        let (value, condition) = match kind {
            Kind::Put(value) => (value, None),
            Kind::Create(value) => (value, Some((header::IF_NONE_MATCH, "*".to_owned()))),
            Kind::Update { seen, to } => {
                let tag = self.records.tag_of(seen);
                (to, Some((header::IF_MATCH, tag)))
            }
            Kind::Delete | Kind::Get => unreachable!("not a write"),
        };
        let called = now();
        let reply = self.send(Method::PUT, key, condition, body(value), patience);
        let outcome = match reply.await {
            Reply::Answer { status, tag, .. } if status == StatusCode::OK => {
                self.records.tell(tag, value);
                Outcome::Done
            }
            Reply::Answer { .. } => Outcome::Failed,
            Reply::Nothing => return,
            Reply::Unknown => Outcome::Unknown,
        };
        self.note(key, kind, outcome, called);
    }

    async fn delete(&self, key: &str, patience: Duration) {
        let called = now();
        let reply = self.send(Method::DELETE, key, None, Vec::new(), patience);
        let outcome = match reply.await {
            Reply::Answer { .. } => Outcome::Done,
            Reply::Nothing => return,
            Reply::Unknown => Outcome::Unknown,
        };
        self.note(key, Kind::Delete, outcome, called);
    }

    async fn list(&self, slot: usize) {
        let generation = self.records.slots.borrow()[slot].0;
        let prefix = prefix(slot, generation);
        let called = now();
        let url = self.url(Method::GET, "").await;
        // What is signed covers the query, so the prefix is looked for here; a page has a thousand keys.
        let Reply::Answer { status, body, .. } =
            self.ask(Method::GET, url, None, Vec::new(), PATIENCE).await
        else {
            return;
        };
        assert_eq!(status, StatusCode::OK);
        let text = String::from_utf8(body.to_vec()).unwrap();
        let inner = |text: &str, tag: &str| {
            let after = text.split_once(&format!("<{tag}>"))?.1;
            Some(after.split_once(&format!("</{tag}>"))?.0.to_owned())
        };
        assert_eq!(inner(&text, "IsTruncated").unwrap(), "false");
        let seen = text.split("<Contents>").skip(1).filter_map(|object| {
            let key = inner(object, "Key").unwrap();
            let tag = inner(object, "ETag").unwrap().replace("&quot;", "");
            key.starts_with(&prefix)
                .then(|| (key, tag.replace('"', "")))
        });
        let listing = Listing {
            node: self.node,
            seen: seen.collect(),
            prefix,
            called,
            returned: now(),
        };
        self.records.history.borrow_mut().listings.push(listing);
    }

    fn note(&self, key: &str, kind: Kind, outcome: Outcome, called: u64) {
        let mut history = self.records.history.borrow_mut();
        let operations = history.keys.entry(key.to_owned()).or_default();
        operations.push(Operation {
            node: self.node,
            kind,
            outcome,
            called,
            returned: now(),
        });
    }

    async fn url(&self, method: Method, key: &str) -> String {
        let hour = Duration::from_secs(3_600);
        let path = Path::from(key);
        let signed = self.signer.signed_url(method, &path, hour);
        signed.await.unwrap().to_string()
    }

    async fn send(
        &self,
        method: Method,
        key: &str,
        condition: Option<(HeaderName, String)>,
        body: Vec<u8>,
        patience: Duration,
    ) -> Reply {
        let url = self.url(method.clone(), key).await;
        self.ask(method, url, condition, body, patience).await
    }

    /// Sends a request once, over a connection of its own.
    async fn ask(
        &self,
        method: Method,
        url: String,
        condition: Option<(HeaderName, String)>,
        body: Vec<u8>,
        patience: Duration,
    ) -> Reply {
        let connecting = TcpStream::connect((name(self.node), S3));
        let Ok(Ok(stream)) = timeout(patience, connecting).await else {
            sleep(Duration::from_millis(20)).await; // the node may be dead
            return Reply::Nothing;
        };
        let uri = url.split_once(":9000").unwrap().1;
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::HOST, format!("{}:{S3}", name(self.node)));
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let asked = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            let connection = tokio::spawn(connection);
            let reply = sender.send_request(request).await;
            let reply = match reply {
                Ok(reply) => {
                    let (head, body) = reply.into_parts();
                    body.collect()
                        .await
                        .ok()
                        .map(|body| (head, body.to_bytes()))
                }
                Err(_) => None,
            };
            connection.abort();
            reply
        };
        let Ok(Some((head, body))) = timeout(patience, asked).await else {
            return Reply::Unknown;
        };
        match head.status.as_u16() {
            200 | 204 | 404 | 412 => {
                let tag = head.headers.get(header::ETAG);
                let tag = tag.map_or("", |tag| tag.to_str().unwrap());
                let tag = tag.trim_matches('"').to_owned();
                let status = head.status;
                Reply::Answer { status, tag, body }
            }
            400..500 => Reply::Nothing,
            503 | 507 if head.headers.contains_key("x-not-applied") => Reply::Nothing,
            _ => Reply::Unknown,
        }
    }
}
