//! What a register holds: one version of an object, live or deleted, and its form on disk and on the wire.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::ballot::Ballot;
use crate::sys;

/// First byte of everything encoded here. Raised when the form changes, so that an older node refuses instead of
/// misreading.
const FORMAT: u8 = 1;

/// How many earlier writes a version remembers. Only writes that overlap in time need it, so eight is ample; a write
/// that cannot find itself is reported as of unknown outcome, never wrongly.
pub(crate) const REMEMBERED: usize = 8;

/// Random name of one uploaded blob. Never reused, never derived from the content: there are no reference counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct BlobId(pub(crate) [u8; 16]);

impl BlobId {
    pub(crate) fn random() -> Self {
        Self(sys::random())
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok()?;
        Some(Self(id))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One immutable blob and what its bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlobRef {
    /// Its name in every node's `blobs/`.
    pub(crate) id: BlobId,
    /// Length of its data.
    pub(crate) len: u64,
    /// BLAKE3 of its data.
    pub(crate) blake3: [u8; 32],
}

/// The headers a client may store with an object and gets back as they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Headers {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    /// `x-amz-meta-*`, sorted by name.
    pub(crate) user: Vec<(String, String)>,
}

/// An object that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// Its data, in order: one blob, or one for each part it was uploaded in.
    ///
    /// While an upload in parts is being completed, both the part's register and the object's name its blob, so what
    /// a register of a part no longer names may belong to an object ([`crate::keys::is_reserved`]).
    pub(crate) blobs: Vec<BlobRef>,
    pub(crate) size: u64,
    /// MD5 of the content, or of the MD5s of its parts, so that every node answers with the same `ETag`.
    pub(crate) etag: [u8; 16],
    pub(crate) headers: Headers,
    /// Milliseconds since 1970; grows with every version of a key whatever the clocks do.
    pub(crate) last_modified_ms: u64,
    /// Parts it was uploaded in; 0 when it came whole. Not part of this struct's encoded form, see [`Stored`].
    #[serde(skip)]
    pub(crate) parts: u32,
}

impl Live {
    /// The text of the `ETag`.
    pub(crate) fn tag(&self) -> String {
        tag(self.etag, self.parts)
    }
}

/// The text of an `ETag`, as everyone's: that of an object uploaded in parts ends with their number.
pub(crate) fn tag(etag: [u8; 16], parts: u32) -> String {
    let etag = hex::encode(etag);
    if parts == 0 {
        etag
    } else {
        format!("{etag}-{parts}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
#[expect(
    clippy::large_enum_variant,
    reason = "most states are live, and few exist at a time"
)]
pub(crate) enum State {
    Live(Live),
    /// The tombstone of a deleted object.
    Tomb,
}

/// The encoded form of a [`State`]. Forms are added at the end and never change: what an older program wrote is read,
/// and an older program reads what it knows and refuses the rest.
#[derive(Serialize, Deserialize)]
enum Stored {
    Live(Live),
    Tomb,
    /// An object uploaded in parts.
    Composed {
        object: Live,
        parts: u32,
    },
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Live(live) => Self::Live(live),
            Stored::Tomb => Self::Tomb,
            Stored::Composed { object, parts } => Self::Live(Live { parts, ..object }),
        }
    }
}

impl From<State> for Stored {
    fn from(state: State) -> Self {
        match state {
            State::Live(object) if object.parts > 0 => {
                let parts = object.parts;
                Self::Composed { object, parts }
            }
            State::Live(live) => Self::Live(live),
            State::Tomb => Self::Tomb,
        }
    }
}

/// The value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// The round that first wrote this version. A later round that only carries it on does not change it.
    pub(crate) written: Ballot,
    /// `written` of the versions before, newest last: tells a writer whether its own round took effect before
    /// somebody else's. If the first is of node 0, which runs no rounds, then what was before it was forgotten when a
    /// tombstone was collected.
    pub(crate) before: Vec<Ballot>,
    pub(crate) state: State,
}

impl Version {
    /// The version that follows `current`, or that follows nothing where rounds up to `forgotten` may have left no
    /// trace.
    pub(crate) fn after(
        current: Option<&Self>,
        forgotten: Ballot,
        written: Ballot,
        state: State,
    ) -> Self {
        let mut before = match current {
            Some(version) => version.before.clone(),
            None if forgotten == Ballot::ZERO => Vec::new(),
            None => vec![Ballot {
                micros: forgotten.micros + 1,
                node: 0,
            }],
        };
        before.extend(current.map(|version| version.written));
        before.drain(..before.len().saturating_sub(REMEMBERED));
        Self {
            written,
            before,
            state,
        }
    }

    /// Whether every version of the key that was written at or after `ballot` is in this one's history.
    pub(crate) fn history_reaches_below(&self, ballot: Ballot) -> bool {
        let oldest = self.before.first().unwrap_or(&self.written);
        *oldest < ballot || (self.before.len() < REMEMBERED && oldest.node != 0)
    }

    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Live(live) => Some(live),
            State::Tomb => None,
        }
    }

    /// The blobs a node must hold before it may accept this version.
    pub(crate) fn blobs(&self) -> &[BlobRef] {
        self.live().map_or(&[], |live| &live.blobs)
    }
}

/// The format byte and the postcard form.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![FORMAT])
        .expect("a Vec grows, and no type here fails to serialise")
}

/// Undoes [`encode`].
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(DecodeError::Malformed),
        Some((&other, _)) => Err(DecodeError::Format(other)),
        None => Err(DecodeError::Empty),
    }
}

/// Why bytes are no value of ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("empty value")]
    Empty,
    #[error("value of format {0}, this program knows format {FORMAT}")]
    Format(u8),
    #[error("malformed value")]
    Malformed(#[source] postcard::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_encoding_and_an_unknown_format_is_refused() {
        let version = Version::after(
            None,
            Ballot::ZERO,
            Ballot { micros: 7, node: 1 },
            State::Tomb,
        );
        let mut bytes = encode(&version);
        assert_eq!(decode::<Version>(&bytes).unwrap(), version);
        bytes[0] = 2;
        assert!(matches!(
            decode::<Version>(&bytes),
            Err(DecodeError::Format(2))
        ));
        assert!(decode::<Version>(&[]).is_err());
    }

    /// The bytes that the first release wrote.
    #[test]
    fn the_encoded_form_of_whole_objects_and_tombstones_does_not_change() {
        let live = Live {
            size: 3,
            etag: [0xab; 16],
            last_modified_ms: 5,
            ..Live::default()
        };
        let bytes = encode(&State::Live(live.clone()));
        let expected = [&[1, 0, 0, 3][..], &[0xab; 16], &[0; 6], &[5]].concat();
        assert_eq!(bytes, expected);
        assert_eq!(decode::<State>(&bytes).unwrap(), State::Live(live.clone()));
        assert_eq!(encode(&State::Tomb), [1, 1]);
        let composed = State::Live(Live { parts: 7, ..live });
        let bytes = encode(&composed);
        assert_eq!(bytes[..2], [1, 2]);
        assert_eq!(decode::<State>(&bytes).unwrap(), composed);
    }

    #[test]
    fn a_version_remembers_the_last_writes_before_it() {
        let at = |micros| Ballot { micros, node: 1 };
        let mut version = Version::after(None, Ballot::ZERO, at(1), State::Tomb);
        for micros in 2..=20 {
            version = Version::after(Some(&version), Ballot::ZERO, at(micros), State::Tomb);
        }
        assert_eq!(version.written, at(20));
        assert_eq!(version.before, (12..=19).map(at).collect::<Vec<_>>());
    }
}
