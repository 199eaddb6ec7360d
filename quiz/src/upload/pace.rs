//! Hands a body over no faster than it is understood. The parser of forms takes all that has arrived before it looks at any
//! of it, and waits without end for a boundary or the end of a header: a body of neither would be kept in memory whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};

use axum::body::Body;
use futures::{StreamExt, stream};

/// What the parser may be given without making anything of it, in bytes. Headers of a part have some hundred.
const MAX_BEHIND_BYTES: usize = 1024 * 1024;

/// What the parser has been given since it last made something of it, in bytes.
#[derive(Clone, Default)]
pub(super) struct Behind(Arc<AtomicUsize>);

impl Behind {
    /// To be called whenever the parser has come up with something.
    pub(super) fn caught_up(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_BEHIND_BYTES} bytes that are no part of a form")]
struct NoForm;

/// The same body, a piece at a time, which breaks when its reader falls too far behind.
pub(super) fn pace(body: Body, behind: Behind) -> Body {
    let mut pieces = body.into_data_stream();
    let mut given = false;
    Body::from_stream(stream::poll_fn(move |context| {
        if std::mem::take(&mut given) {
            // Time to look at it.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match ready!(pieces.poll_next_unpin(context)) {
            Some(Ok(piece)) => {
                given = true;
                let before = behind.0.fetch_add(piece.len(), Ordering::Relaxed);
                if before > MAX_BEHIND_BYTES {
                    Some(Err(axum::Error::new(NoForm)))
                } else {
                    Some(Ok(piece))
                }
            }
            other => other,
        })
    }))
}
