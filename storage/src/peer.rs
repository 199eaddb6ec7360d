//! The client side of node to node: one [`Peer`] per other node, over HTTP/1.1 with proofs both ways.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;
use tracing::info;

use crate::ballot::Ballot;
use crate::config::Deadlines;
use crate::error::Failure;
use crate::index::members::Members;
use crate::node::Accepting;
use crate::register::Nack;
use crate::status::NodeStatus;
use crate::sys::{self, net};
use crate::version::{BlobId, BlobRef, Version, decode, encode};
use crate::wire::{
    self, Accept, DigestPage, DigestQuery, Envelope, FeedEnd, FeedPage, FeedQuery, Fence, Folder,
    GetBlob, ListPage, Listing, Pong, Prepare, Promise, Read, Sealer, Tombstones,
};

/// Shorter than the server keeps an idle connection, so that this side closes first.
const IDLE: Duration = Duration::from_secs(30);

/// Pause between two looks whether a peer that is late is still believed up.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for what a peer says of itself: people wait for it, and a frozen node never answers.
const STATUS: Duration = Duration::from_millis(250);

/// Calls at one time to a peer that is believed down. Each costs a connection, and waits in vain until its deadline if
/// the peer is frozen; and yet some have to be made, as who is believed up decides nothing.
const SUSPECTED: usize = 64;

/// The heartbeat, by which a suspected peer is found well again.
const PING: &str = "/v1/ping";

/// The other half of a round. A node that has to fetch a blob first may be late and is well: who is not, the prepare
/// before it and the heartbeat tell.
const ACCEPT: &str = "/v1/accept";

/// One other node.
pub(crate) struct Peer {
    node: u8,
    authority: String,
    from: u8,
    sealer: Sealer,
    client: Client<net::Connector, Full<Bytes>>,
    deadlines: Deadlines,
    /// A hint from the heartbeat and from failed calls: for whom to ask first, and for readiness.
    up: AtomicBool,
    /// Places for calls while it is not.
    suspected: Semaphore,
    pong: watch::Sender<Option<Pong>>,
    /// A hint: bytes of blobs that it has room for.
    room: AtomicU64,
    /// What this node remembers of folders; known once its own is open.
    members: OnceLock<Arc<Members>>,
}

impl Peer {
    pub(crate) fn new(
        node: u8,
        authority: String,
        from: u8,
        sealer: Sealer,
        deadlines: Deadlines,
    ) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(net::connector(deadlines.rpc));
        Self {
            node,
            authority,
            from,
            sealer,
            client,
            deadlines,
            up: AtomicBool::new(false),
            suspected: Semaphore::new(SUSPECTED),
            pong: watch::Sender::new(None),
            room: AtomicU64::new(u64::MAX),
            members: OnceLock::new(),
        }
    }

    /// Has it judge the peer's folder by what is remembered, and remember more.
    pub(crate) fn remember(&self, members: Arc<Members>) {
        self.members.set(members).ok();
    }

    /// Whether what the peer says counts: in a round, only if it has forgotten nothing that was seen of it.
    fn recognises(&self, path: &str, folder: &str) -> bool {
        let (Some(members), Some(folder)) = (self.members.get(), Folder::parse(self.node, folder))
        else {
            return true; // this node is starting
        };
        members.saw(&folder) == wire::Verdict::Welcome || !wire::ROUNDS.contains(&path)
    }

    pub(crate) fn node(&self) -> u8 {
        self.node
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Whether it had room for `bytes` of blobs the last time that it answered a heartbeat.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.room.load(Ordering::Relaxed) >= bytes.max(1)
    }

    fn suspect(&self, call: &str, failure: &Failure) {
        if self.up.swap(false, Ordering::Relaxed) {
            let (node, address, why) = (self.node, &self.authority, failure.chain());
            info!(peer = node, %address, call, "node {node} is unreachable: {why}");
        }
    }

    /// Asks for a sign of life and remembers the result.
    pub(crate) async fn ping(&self, ping: &Folder) -> Option<Pong> {
        let pong: Result<Pong, Failure> = self.call(PING, ping).await;
        if let Err(failure) = &pong {
            self.suspect(PING, failure);
        }
        let pong = pong.ok();
        if let Some(pong) = pong {
            if !self.up.swap(true, Ordering::Relaxed) {
                let (node, address) = (self.node, &self.authority);
                info!(peer = node, %address, "node {node} is reachable");
            }
            self.room.store(pong.room, Ordering::Relaxed);
            self.pong.send_if_modified(|known| {
                // These change all the time, and nobody waits for that.
                let (room, seen) = (pong.room, pong.seen);
                let but_those = |known| Pong {
                    room,
                    seen,
                    ..known
                };
                let news = known.map(but_those) != Some(pong);
                *known = Some(pong);
                news
            });
        }
        pong
    }

    /// What the peer said the last time that it answered a heartbeat; `None` if it never did.
    pub(crate) fn pong(&self) -> watch::Receiver<Option<Pong>> {
        self.pong.subscribe()
    }

    /// For each tombstone, whether the peer knows of nothing else under its key.
    pub(crate) async fn confirm(&self, tombstones: &Tombstones) -> Result<Vec<bool>, Failure> {
        self.call("/v1/confirm", tombstones).await
    }

    /// Has the peer drop tombstones that all nodes have confirmed.
    pub(crate) async fn collect(&self, tombstones: &Tombstones) -> Result<u64, Failure> {
        self.call("/v1/collect", tombstones).await
    }

    /// A ballot that no promise of the peer is above.
    pub(crate) async fn highest(&self) -> Result<Ballot, Failure> {
        self.call("/v1/highest", &()).await
    }

    /// Has the peer refuse old ballots. Returns the end of its change feed from then on.
    pub(crate) async fn fence(&self, fence: &Fence) -> Result<FeedEnd, Failure> {
        self.call("/v1/fence", fence).await
    }

    /// What the peer says of itself. It has little time for that, and is not suspected when it takes longer.
    pub(crate) async fn status(&self) -> Option<NodeStatus> {
        let body = Bytes::from(encode(&()));
        let asked = self.send(Method::POST, "/v1/status", body);
        let reply = tokio::time::timeout(STATUS, asked).await.ok()?.ok()?;
        decode(&reply).ok()
    }

    /// The digests of a page of the peer's versions.
    pub(crate) async fn digests(&self, query: &DigestQuery) -> Result<DigestPage, Failure> {
        self.call("/v1/digests", query).await
    }

    /// A page of the peer's change feed.
    pub(crate) async fn feed(&self, query: &FeedQuery) -> Result<FeedPage, Failure> {
        self.call("/v1/feed", query).await
    }

    pub(crate) async fn read(&self, key: String) -> Result<(Ballot, Option<Version>), Failure> {
        self.call("/v1/read", &Read { key }).await
    }

    pub(crate) async fn prepare(&self, prepare: Prepare) -> Result<Result<Promise, Nack>, Failure> {
        self.call("/v1/prepare", &prepare).await
    }

    pub(crate) async fn accept(&self, accept: Accept) -> Result<Accepting, Failure> {
        self.call(ACCEPT, &accept).await
    }

    pub(crate) async fn list(&self, listing: Listing) -> Result<ListPage, Failure> {
        self.call("/v1/list", &listing).await
    }

    /// Stores a blob; it is durable over there when this returns.
    pub(crate) async fn put_blob(&self, id: BlobId, data: Bytes) -> Result<(), Failure> {
        let deadline = self.deadlines.blob(data.len() as u64);
        let path = format!("/v1/blob/{id}");
        self.exchange(Method::PUT, &path, data, deadline).await?;
        Ok(())
    }

    /// Sends the next piece of a blob.
    pub(crate) async fn stage(&self, id: BlobId, offset: u64, data: Bytes) -> Result<(), Failure> {
        let deadline = self.deadlines.piece;
        let path = format!("/v1/stage/{id}/{offset}");
        self.exchange(Method::POST, &path, data, deadline).await?;
        Ok(())
    }

    /// Ends a blob sent in pieces; it is durable over there when this returns.
    pub(crate) async fn finish(&self, blob: BlobRef) -> Result<(), Failure> {
        let deadline = self.deadlines.piece; // most of it is on disk by then
        let body = Bytes::from(encode(&blob));
        self.exchange(Method::POST, "/v1/finish", body, deadline)
            .await?;
        Ok(())
    }

    /// Gives up a blob sent in pieces.
    pub(crate) async fn abort(&self, id: BlobId) -> Result<(), Failure> {
        self.call("/v1/abort", &id).await
    }

    /// Fetches part of a blob, at most [`wire::PIECE_BYTES`]; its checksums held over there. An answer that is late is waited
    /// for as long as the peer is believed up, as it may be the only one: who asks several does not wait for the first.
    pub(crate) async fn get_blob(
        &self,
        blob: &BlobRef,
        range: Range<u64>,
    ) -> Result<Bytes, Failure> {
        let (start, end) = (range.start, range.end);
        let body = Bytes::from(encode(&GetBlob {
            blob: *blob,
            start,
            end,
        }));
        let exchange = self.exchange(Method::POST, "/v1/get-blob", body, self.deadlines.piece);
        let lost = async {
            sleep(self.deadlines.blob(end - start)).await;
            while self.is_up() {
                sleep(LOOK).await;
            }
        };
        let data = tokio::select! {
            biased; // a simulation decides all chance
            data = exchange => data?,
            () = lost => return Err(Failure::Timeout),
        };
        if data.len() as u64 != end - start {
            return Err(Failure::WrongBytes);
        }
        Ok(data)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        message: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = Bytes::from(encode(message));
        let reply = self
            .exchange(Method::POST, path, body, self.deadlines.rpc)
            .await?;
        Ok(decode(&reply)?)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, Failure> {
        let _place = if self.is_up() || path == PING {
            None
        } else {
            let place = self.suspected.try_acquire();
            Some(place.map_err(|_| Failure::Suspected)?)
        };
        let exchange = tokio::time::timeout(deadline, self.send(method, path, body)).await;
        let result = exchange.unwrap_or(Err(Failure::Timeout));
        match &result {
            Err(Failure::Timeout) if path == ACCEPT => {}
            Err(failure @ (Failure::Timeout | Failure::Unreachable(_))) => {
                self.suspect(path, failure)
            }
            _ => {}
        }
        result
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let hash = blake3::hash(&body);
        let time = now_millis();
        let folder = self
            .members
            .get()
            .map_or_else(String::new, |own| own.folder(self.from).text());
        let proof = self.sealer.request(&Envelope {
            method: &method,
            path,
            from: self.from,
            to: self.node,
            time,
            folder: &folder,
            body: hash,
        });
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.authority))
            .header(wire::FROM, u16::from(self.from))
            .header(wire::TIME, time)
            .header(wire::FOLDER, &folder)
            .header(wire::BODY, hash.to_hex().as_str())
            .header(wire::PROOF, proof.to_hex().as_str())
            .body(Full::new(body))
            .map_err(|error| Failure::Unreachable(error.into()))?;
        let reply = self.client.request(request).await;
        let reply = reply.map_err(|error| Failure::Unreachable(error.into()))?;
        let status = reply.status();
        let header = |name| {
            let header = reply.headers().get(name);
            header
                .and_then(|text| text.to_str().ok())
                .map(str::to_owned)
        };
        let (given, folder) = (
            header(wire::PROOF),
            header(wire::FOLDER).unwrap_or_default(),
        );
        let body = Limited::new(reply.into_body(), wire::MAX_MESSAGE_BYTES)
            .collect()
            .await;
        let body = body.map_err(Failure::Unreachable)?.to_bytes();
        let expected = self
            .sealer
            .reply(proof, status.as_u16(), &folder, blake3::hash(&body));
        let given = given.and_then(|given| blake3::Hash::from_hex(given).ok());
        // Comparing hashes takes the same time wherever they differ.
        if given != Some(expected) {
            return Err(Failure::Unproven);
        }
        if !self.recognises(path, &folder) {
            return Err(Failure::Forgetful);
        }
        if !status.is_success() {
            return Err(Failure::Status(status.as_u16()));
        }
        Ok(body)
    }
}

/// The wall clock in milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    now_micros() / 1_000
}

/// The wall clock in microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    let since = sys::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    #[tokio::test]
    async fn a_suspected_node_is_asked_few_things_at_once_and_always_for_a_sign_of_life() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let deadlines = Deadlines::all(Duration::from_millis(500));
        let peer = Peer::new(2, address, 1, Sealer::new("secret"), deadlines);
        let asked = (0..SUSPECTED + 36).map(|i| peer.read(i.to_string()));
        let folder = Folder {
            node: 1,
            feed_id: [0; 16],
            commits: 0,
            run: 0,
        };
        let (answers, pinged) = tokio::join!(join_all(asked), peer.call::<Pong>(PING, &folder));
        let refused = answers
            .iter()
            .filter(|a| matches!(a, Err(Failure::Suspected)));
        assert_eq!(refused.count(), 36);
        let waited = answers
            .iter()
            .filter(|a| matches!(a, Err(Failure::Timeout)));
        assert_eq!(waited.count(), SUSPECTED);
        assert!(matches!(pinged, Err(Failure::Timeout)), "{pinged:?}");
        let again = peer.read("later".to_owned()).await;
        assert!(matches!(again, Err(Failure::Timeout)), "{again:?}");
    }
}
