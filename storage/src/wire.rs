//! What nodes say to each other, and the proof that it was a node that said it.
//!
//! Bodies are [`crate::version::encode`]d. Every request carries a keyed BLAKE3 over method, path, sender, receiver,
//! time and the hash of its body; every reply one over the request's proof, the status and the hash of its body, so a
//! stranger can neither ask nor answer. A message repeated does no harm, as registers and blobs are built for it;
//! nothing is encrypted.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::ballot::Ballot;
use crate::version::{BlobRef, Live, Version};

/// Largest blob that travels as one message, and the largest piece of a larger one.
pub(crate) const PIECE_BYTES: u64 = 1024 * 1024;
/// Largest message: a piece, a page of a listing, a version made of ten thousand parts.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Headers of a request and its reply.
pub(crate) const FROM: &str = "x-storage-from";
pub(crate) const TIME: &str = "x-storage-time";
pub(crate) const BODY: &str = "x-storage-body-blake3";
/// The messages of rounds and collections: what a node does not get and does not answer when it is known to have
/// forgotten something.
pub(crate) const ROUNDS: [&str; 5] = [
    "/v1/read",
    "/v1/prepare",
    "/v1/accept",
    "/v1/confirm",
    "/v1/collect",
];
/// The sender's [`Folder`].
pub(crate) const FOLDER: &str = "x-storage-folder";
pub(crate) const PROOF: &str = "x-storage-proof";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) key: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepare {
    pub(crate) key: String,
    pub(crate) ballot: Ballot,
}

/// A promise and what it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) accepted: Ballot,
    pub(crate) version: Option<Version>,
    /// Rows up to this ballot may have been dropped here, so that nothing shown is not nothing written.
    pub(crate) forgotten: Ballot,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Accept {
    pub(crate) key: String,
    pub(crate) ballot: Ballot,
    pub(crate) version: Version,
    /// The node to ask first for blobs that the receiver lacks.
    pub(crate) source: u8,
}

/// Asks for part of a blob, at most [`PIECE_BYTES`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GetBlob {
    pub(crate) blob: BlobRef,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A page of keys from `from` on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub(crate) prefix: String,
    pub(crate) from: String,
    /// Leave out `from` itself.
    pub(crate) after: bool,
    pub(crate) limit: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListPage {
    pub(crate) rows: Vec<ListRow>,
    /// There are keys after the last row.
    pub(crate) more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListRow {
    pub(crate) key: String,
    pub(crate) accepted: Ballot,
    /// `None` for a tombstone, which hides an older version on another node.
    pub(crate) object: Option<Summary>,
}

/// What a listing shows of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) size: u64,
    pub(crate) etag: [u8; 16],
    pub(crate) parts: u32,
    pub(crate) last_modified_ms: u64,
}

impl Summary {
    pub(crate) fn of(live: &Live) -> Self {
        Self {
            size: live.size,
            etag: live.etag,
            parts: live.parts,
            last_modified_ms: live.last_modified_ms,
        }
    }
}

/// The folder of a node as that node shows it: with every message to another, and with every reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    pub(crate) node: u8,
    /// Its change feed.
    pub(crate) feed_id: [u8; 16],
    /// How many commits it holds.
    pub(crate) commits: u64,
    /// Names the process that runs on it.
    pub(crate) run: u64,
}

impl Folder {
    /// As a header.
    pub(crate) fn text(&self) -> String {
        let feed = hex::encode(self.feed_id);
        format!("{feed}.{}.{}", self.commits, self.run)
    }

    pub(crate) fn parse(node: u8, text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut feed_id = [0; 16];
        hex::decode_to_slice(parts.next()?, &mut feed_id).ok()?;
        let commits = parts.next()?.parse().ok()?;
        let run = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self {
            node,
            feed_id,
            commits,
            run,
        })
    }
}

/// What a node knows of the folder of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It holds all that is known of it.
    Welcome,
    /// It is not the one that was known, which may have made promises.
    Replaced,
    /// It has lost commits that were seen: an older copy, or a disk that lied.
    RolledBack,
    /// The node that answers is being rebuilt and knows nothing yet, or nobody has recognised its own folder yet.
    Undecided,
    /// The node that answers has never seen this one vote.
    Unknown,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// The change feed of the node that answers, and its end.
    pub(crate) feed: FeedEnd,
    /// Whether that node takes part in rounds.
    pub(crate) votes: bool,
    /// Entries of that feed which the node that asks has yet to look at.
    pub(crate) behind: u64,
    /// Bytes of blobs that it has room for.
    pub(crate) room: u64,
    /// Of the folder of the node that asks.
    pub(crate) verdict: Verdict,
    /// What was seen of that folder.
    pub(crate) seen: Option<Folder>,
}

/// Has a node refuse all ballots up to `fence`, as a node that is being rebuilt may have promised any of them, and
/// takes note of that node's new feed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Fence {
    pub(crate) fence: Ballot,
    /// That node as it is now.
    pub(crate) from: Folder,
}

/// A change feed and the last sequence number in it. The feed of a folder that was replaced or rebuilt is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedEnd {
    pub(crate) feed_id: [u8; 16],
    pub(crate) last_seq: u64,
}

/// Asks for the changes after `after`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FeedQuery {
    /// The feed whose sequence numbers these are.
    pub(crate) feed_id: [u8; 16],
    pub(crate) after: u64,
    /// The puller needs nothing up to here any more.
    pub(crate) done: u64,
    /// The node that asks.
    pub(crate) puller: u8,
    pub(crate) limit: u32,
}

/// A page of the change feed: one row per key that changed, as it is now, oldest change first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FeedPage {
    /// The feed that these are of. If it is not the one asked for, there are no rows.
    pub(crate) feed_id: [u8; 16],
    pub(crate) rows: Vec<FeedRow>,
    /// The rows are all there is up to this sequence number.
    pub(crate) end: u64,
    /// There are rows above it.
    pub(crate) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FeedRow {
    pub(crate) seq: u64,
    pub(crate) key: String,
    pub(crate) accepted: Ballot,
    pub(crate) version: Version,
}

/// Asks for the digests of the versions after a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DigestQuery {
    pub(crate) after: String,
    pub(crate) limit: u32,
}

/// The digests of live versions, in the order of their keys.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DigestPage {
    pub(crate) rows: Vec<(String, [u8; 32])>,
    /// The rows are all up to this key; `None`: there are no more.
    pub(crate) upto: Option<String>,
}

/// Tombstones to confirm or to collect: key, and the ballot at which it was accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tombstones {
    pub(crate) tombstones: Vec<(String, Ballot)>,
}

/// The key of all proofs.
#[derive(Clone)]
pub(crate) struct Sealer([u8; 32]);

/// What the proof of a request covers.
pub(crate) struct Envelope<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) from: u8,
    pub(crate) to: u8,
    /// Milliseconds since 1970, for whoever reads a capture; nothing depends on it.
    pub(crate) time: u64,
    /// The sender's [`Folder`].
    pub(crate) folder: &'a str,
    pub(crate) body: blake3::Hash,
}

impl Sealer {
    pub(crate) fn new(secret: &str) -> Self {
        Self(blake3::derive_key(
            "quizstack storage node to node v1",
            secret.as_bytes(),
        ))
    }

    pub(crate) fn request(&self, envelope: &Envelope<'_>) -> blake3::Hash {
        let Envelope {
            method,
            path,
            from,
            to,
            time,
            folder,
            body,
        } = envelope;
        // Newlines cannot occur in any of the parts, so no two messages have the same text.
        let text = format!("request\n{method}\n{path}\n{from}\n{to}\n{time}\n{folder}\n{body}");
        blake3::keyed_hash(&self.0, text.as_bytes())
    }

    pub(crate) fn reply(
        &self,
        request: blake3::Hash,
        status: u16,
        folder: &str,
        body: blake3::Hash,
    ) -> blake3::Hash {
        let text = format!("reply\n{request}\n{status}\n{folder}\n{body}");
        blake3::keyed_hash(&self.0, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_covers_every_part_of_a_request() {
        let sealer = Sealer::new("one secret");
        let seal = |sealer: &Sealer, method, path, from, to, time, folder, body: &[u8]| {
            sealer.request(&Envelope {
                method,
                path,
                from,
                to,
                time,
                folder,
                body: blake3::hash(body),
            })
        };
        let base = seal(&sealer, &Method::PUT, "/a", 1, 2, 3, "f", b"x");
        assert_eq!(base, seal(&sealer, &Method::PUT, "/a", 1, 2, 3, "f", b"x"));
        for other in [
            seal(&sealer, &Method::GET, "/a", 1, 2, 3, "f", b"x"),
            seal(&sealer, &Method::PUT, "/b", 1, 2, 3, "f", b"x"),
            seal(&sealer, &Method::PUT, "/a", 3, 2, 3, "f", b"x"),
            seal(&sealer, &Method::PUT, "/a", 1, 3, 3, "f", b"x"),
            seal(&sealer, &Method::PUT, "/a", 1, 2, 4, "f", b"x"),
            seal(&sealer, &Method::PUT, "/a", 1, 2, 3, "g", b"x"),
            seal(&sealer, &Method::PUT, "/a", 1, 2, 3, "f", b"y"),
            seal(
                &Sealer::new("other"),
                &Method::PUT,
                "/a",
                1,
                2,
                3,
                "f",
                b"x",
            ),
        ] {
            assert_ne!(base, other);
        }
    }
}
