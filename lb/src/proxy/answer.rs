//! What the balancer answers by itself, and how it sees to it that the answer arrives.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use pingora::{
    Error, ErrorSource,
    ErrorType::{
        ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout, WriteError,
        WriteTimedout,
    },
    Result,
    proxy::Session,
};
use tokio::time;

use crate::error_page;

/// After an answer that came before the end of the upload, so much of the rest is read and thrown away. Closing
/// with unread bytes makes the kernel reset the connection, and the reset overtakes our answer.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// The same in time: in total, and for a client that sends nothing.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_SILENCE: Duration = Duration::from_secs(2);

pub(super) fn refuse(status: u16, why: &'static str) -> Result<()> {
    Err(Error::explain(HTTPStatus(status), why).into_down())
}

/// The status that tells a visitor whose fault it was; 0 when there is nobody left to tell.
pub(super) fn status_of(e: &Error) -> u16 {
    match (e.etype(), e.esource()) {
        (HTTPStatus(status), _) => *status,
        (ConnectTimedout | ReadTimedout | WriteTimedout, ErrorSource::Upstream) => 504,
        (_, ErrorSource::Upstream) => 502,
        (ReadTimedout, ErrorSource::Downstream) => 408,
        (ReadError | WriteError | WriteTimedout | ConnectionClosed, ErrorSource::Downstream) => 0,
        (_, ErrorSource::Downstream) => 400,
        (_, ErrorSource::Internal | ErrorSource::Unset) => 500,
    }
}

pub(super) async fn send(session: &mut Session, status: u16, id: &str) -> Result<()> {
    let request = session.req_header();
    let (head, mut body) = error_page::reply(status, id, &request.headers)?;
    if request.method == Method::HEAD {
        body = Bytes::new();
    }
    session
        .as_downstream_mut()
        .write_error_response(head, body)
        .await
}

/// Says "that was all", then reads on for a while so that the client finds the answer instead of a reset.
pub(super) async fn linger(session: &mut Session) {
    let session = session.as_downstream_mut();
    session.shutdown().await;
    session.set_read_timeout(Some(LINGER_SILENCE));
    let _ = time::timeout(LINGER, async {
        let mut left = LINGER_BYTES;
        while let Ok(Some(bytes)) = session.read_request_body().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                break;
            }
        }
    })
    .await;
}
