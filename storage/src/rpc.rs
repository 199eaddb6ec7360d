//! The server side of node to node: every URL, and the gate that lets only nodes of this cluster through.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::body::Body as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use crate::config::Deadlines;
use crate::error::Failure;
use crate::node::Node;
use crate::status;
use crate::version::{BlobId, BlobRef, decode, encode};
use crate::wire::{
    self, Accept, DigestQuery, Envelope, FeedQuery, Fence, Folder, GetBlob, Listing, Prepare, Read,
    Sealer, Tombstones,
};

/// What the gate needs.
#[derive(Clone)]
struct Gate {
    sealer: Sealer,
    node: Arc<Node>,
    deadlines: Deadlines,
}

/// Every URL of the node-to-node listener.
pub(crate) fn router(node: Arc<Node>, sealer: Sealer, deadlines: Deadlines) -> Router {
    let gate = Gate {
        sealer,
        node: Arc::clone(&node),
        deadlines,
    };
    Router::new()
        .route("/v1/ping", post(ping))
        .route("/v1/status", post(status))
        .route("/v1/digests", post(digests))
        .route("/v1/read", post(read))
        .route("/v1/prepare", post(prepare))
        .route("/v1/accept", post(accept))
        .route("/v1/list", post(list))
        .route("/v1/feed", post(feed))
        .route("/v1/highest", post(highest))
        .route("/v1/fence", post(fence))
        .route("/v1/confirm", post(confirm))
        .route("/v1/collect", post(collect))
        .route("/v1/blob/{id}", put(put_blob))
        .route("/v1/stage/{id}/{offset}", post(stage))
        .route("/v1/finish", post(finish))
        .route("/v1/abort", post(abort))
        .route("/v1/get-blob", post(get_blob))
        .layer(DefaultBodyLimit::disable()) // the gate has its own limit
        .layer(from_fn_with_state(gate, authenticate))
        .with_state(node)
}

/// Checks the proof before it reads the body, the body against the proof, and proves the reply.
async fn authenticate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Some((proof, hash, sender)) = proven(&gate, &request) else {
        warn!(
            path = request.uri().path(),
            "refused a message that no node of this cluster sent"
        );
        return StatusCode::FORBIDDEN.into_response();
    };
    let (parts, body) = request.into_parts();
    let body = match receive(body, wire::MAX_MESSAGE_BYTES, &gate.deadlines).await {
        Ok(body) if blake3::hash(&body) == hash => body,
        Ok(_) => return StatusCode::FORBIDDEN.into_response(),
        Err(status) => return status.into_response(),
    };
    let reply = if gate.recognises(parts.uri.path(), sender) {
        next.run(Request::from_parts(parts, Body::from(body))).await
    } else {
        StatusCode::CONFLICT.into_response()
    };
    let (mut parts, body) = reply.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let folder = gate.node.folder().text();
    let status = parts.status.as_u16();
    let seal = gate
        .sealer
        .reply(proof, status, &folder, blake3::hash(&body));
    for (name, text) in [
        (wire::FOLDER, folder.as_str()),
        (wire::PROOF, &seal.to_hex()),
    ] {
        let text = HeaderValue::from_str(text).expect("hex and digits are a valid header");
        parts.headers.insert(name, text);
    }
    Response::from_parts(parts, Body::from(body))
}

/// Reads a body within the time that its sender waits for it.
async fn receive(body: Body, max_bytes: usize, deadlines: &Deadlines) -> Result<Bytes, StatusCode> {
    let len = body.size_hint().upper().unwrap_or(max_bytes as u64);
    let deadline = deadlines.blob(len.min(max_bytes as u64));
    let deadline = deadline.max(deadlines.piece);
    match tokio::time::timeout(deadline, to_bytes(body, max_bytes)).await {
        Ok(body) => body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

impl Gate {
    /// Whether what the sender says counts: in a round, only if it has forgotten nothing that was seen of it.
    fn recognises(&self, path: &str, sender: Option<Folder>) -> bool {
        let Some(sender) = sender else {
            return true; // it is starting, and begins no round
        };
        self.node.saw(&sender) == wire::Verdict::Welcome || !wire::ROUNDS.contains(&path)
    }
}

/// The request's proof, the hash its body must have, and its sender's folder, if the proof is right.
fn proven(gate: &Gate, request: &Request) -> Option<(blake3::Hash, blake3::Hash, Option<Folder>)> {
    let headers = request.headers();
    let text = |name| -> Option<&str> { HeaderMap::get(headers, name)?.to_str().ok() };
    let body = blake3::Hash::from_hex(text(wire::BODY)?).ok()?;
    let given = blake3::Hash::from_hex(text(wire::PROOF)?).ok()?;
    let from = text(wire::FROM)?.parse().ok()?;
    let folder = text(wire::FOLDER)?;
    let expected = gate.sealer.request(&Envelope {
        method: request.method(),
        path: request.uri().path_and_query()?.as_str(),
        from,
        to: gate.node.id(),
        time: text(wire::TIME)?.parse().ok()?,
        folder,
        body,
    });
    // Comparing hashes takes the same time wherever they differ.
    (given == expected).then(|| (expected, body, Folder::parse(from, folder)))
}

/// A refusal; the reason is logged here and never sent.
struct Refusal(StatusCode);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        debug!("cannot serve another node: {}", failure.chain()); // the node has said so louder
        Self(if failure.is_full() {
            StatusCode::INSUFFICIENT_STORAGE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

type Reply = Result<Vec<u8>, Refusal>;

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    decode(body).map_err(|error| {
        warn!(%error, "cannot read a message from another node");
        Refusal(StatusCode::BAD_REQUEST)
    })
}

fn reply(value: &impl Serialize) -> Reply {
    Ok(encode(value))
}

async fn ping(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let ping: Folder = parse(&body)?;
    reply(&node.pong(&ping))
}

async fn status(State(node): State<Arc<Node>>) -> Reply {
    reply(&status::of(&node))
}

async fn digests(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let query: DigestQuery = parse(&body)?;
    reply(&node.digests(query).await?)
}

async fn highest(State(node): State<Arc<Node>>) -> Reply {
    reply(&node.highest()?)
}

async fn fence(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let order: Fence = parse(&body)?;
    reply(&node.fence(&order).await?)
}

async fn feed(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let query: FeedQuery = parse(&body)?;
    reply(&node.feed(query).await?)
}

async fn confirm(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let Tombstones { tombstones } = parse(&body)?;
    reply(&node.confirm(tombstones).await?)
}

async fn collect(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let Tombstones { tombstones } = parse(&body)?;
    reply(&node.collect(tombstones).await?)
}

async fn read(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let Read { key } = parse(&body)?;
    reply(&node.read(key).await?)
}

async fn prepare(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let prepare: Prepare = parse(&body)?;
    reply(&node.prepare(prepare).await?)
}

async fn accept(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let accept: Accept = parse(&body)?;
    // Goes on when the sender stops waiting: it may have to fetch a blob first, and a late accept is as good.
    let accepting = Arc::clone(&node);
    let task = node
        .tasks()
        .spawn(async move { accepting.accept(accept).await });
    let accepted = task.await.ok().flatten().ok_or(Failure::Cancelled)??;
    reply(&accepted)
}

async fn list(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let listing: Listing = parse(&body)?;
    reply(&node.list(listing).await?)
}

async fn put_blob(State(node): State<Arc<Node>>, Path(id): Path<String>, body: Bytes) -> Reply {
    let id = BlobId::parse(&id).ok_or(Refusal(StatusCode::BAD_REQUEST))?;
    node.put_blob(id, body).await?;
    reply(&())
}

async fn stage(
    State(node): State<Arc<Node>>,
    Path((id, offset)): Path<(String, u64)>,
    body: Bytes,
) -> Reply {
    let id = BlobId::parse(&id).ok_or(Refusal(StatusCode::BAD_REQUEST))?;
    node.stage(id, offset, body).await?;
    reply(&())
}

async fn finish(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let blob: BlobRef = parse(&body)?;
    node.finish(blob).await?;
    reply(&())
}

async fn abort(State(node): State<Arc<Node>>, body: Bytes) -> Reply {
    let id: BlobId = parse(&body)?;
    node.abort(id).await?;
    reply(&())
}

async fn get_blob(State(node): State<Arc<Node>>, body: Bytes) -> Result<Bytes, Refusal> {
    let GetBlob { blob, start, end } = parse(&body)?;
    if start > end || end > blob.len || end - start > wire::PIECE_BYTES {
        return Err(Refusal(StatusCode::BAD_REQUEST));
    }
    let data = node.get_blob(blob, start..end).await;
    data.map_err(|error| {
        debug!(blob = %blob.id, %error, "cannot hand a blob to another node");
        Refusal(StatusCode::NOT_FOUND)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_never_comes_is_not_waited_for() {
        let deadlines = Deadlines::all(std::time::Duration::from_millis(10));
        let silent = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        let received = receive(Body::from_stream(silent), 1_000, &deadlines).await;
        assert_eq!(received, Err(StatusCode::REQUEST_TIMEOUT));
        let received = receive(Body::from("x"), 1_000, &deadlines).await;
        assert_eq!(received, Ok(Bytes::from("x")));
    }
}
