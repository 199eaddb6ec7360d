//! What can go wrong between nodes, and what a request is told about it.

use std::io;

use http::StatusCode;

use crate::blobs::space::is_full;

/// Why one node gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("the answer does not prove that it comes from a node of this cluster")]
    Unproven,
    #[error("its folder is not the one that was known, or has lost what was seen of it")]
    Forgetful,
    #[error("the answer cannot be read")]
    Malformed(#[from] crate::version::DecodeError),
    #[error("the bytes received are not the blob's")]
    WrongBytes,
    #[error("index failed")]
    Index(#[from] crate::index::Error),
    #[error("blob not written")]
    Write(#[source] io::Error),
    #[error("there is no room on its disk")]
    Full,
    #[error("blob not read")]
    Read(#[from] crate::blobs::ReadError),
    #[error("it is not the next piece of a blob that is being written")]
    NotStaged,
    #[error("it does not keep up with the other two")]
    TooSlow,
    #[error("the node is suspected to be down")]
    Suspected,
    #[error("the node does not take part in rounds yet")]
    NotVoting,
    #[error("a task ended early")]
    Cancelled,
}

impl Failure {
    /// The node could be asked and could not do it, so its disk is the reason and not the network.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Status(_) | Self::Index(_) | Self::Write(_) | Self::Read(_) | Self::Cancelled
        )
    }

    /// The node has no room for blobs.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Status(status) => *status == StatusCode::INSUFFICIENT_STORAGE.as_u16(),
            Self::Write(error) => is_full(error),
            _ => false,
        }
    }

    /// What went wrong and why, for the log.
    pub(crate) fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let causes = std::iter::successors(Some(first), |error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        causes.join(": ")
    }
}

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Certainly not applied.
    #[error("fewer than two nodes can be reached")]
    Unavailable,
    /// Certainly not applied.
    #[error("fewer than two nodes could store it, though they can be reached")]
    NotStored,
    /// Certainly not applied.
    #[error("fewer than two nodes have room for it")]
    Full,
    /// Certainly not applied.
    #[error("too many writers of one key")]
    Contended,
    /// It may take effect, once, now or later.
    #[error("the write may or may not take effect")]
    Unknown,
    /// No node has intact bytes of an object that exists.
    #[error("no node has the object's bytes intact")]
    Unreadable,
}
