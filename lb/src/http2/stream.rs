//! One request on an HTTP/2 connection.
//!
//! Pingora's own session for it has no end for a slow upload and cannot be called back from a backend. This one lends it
//! both, and makes the head look as it would have come over HTTP/1, so that every rule reads the same.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use h2::Reason;
use http::{
    HeaderMap, HeaderValue, Uri,
    header::{COOKIE, HOST},
};
use pingora::{
    Error,
    ErrorType::{H2Error, InternalError, ReadError, ReadTimedout},
    Result,
    http::{RequestHeader, ResponseHeader},
    protocols::{
        Digest,
        http::{
            HttpTask, ServerSession,
            custom::{CustomMessageWrite, server::Session},
            v2::server::HttpSession,
        },
        l4::socket::SocketAddr,
    },
};
use tokio::{sync::OwnedSemaphorePermit, time};

use crate::{
    config::Clients,
    metrics::{Metrics, Refusal},
    pace::{Pace, Stage},
    recall::Recall,
};

/// Messages beside the body, which HTTP/2 does not have.
type Messages = Box<dyn futures::Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

/// What the balancer knows of the client of one request: how fast it sends, and how the request is called back. It travels
/// with the head.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    recall: Arc<Recall>,
    pace: Mutex<Pace>,
    has_place: bool,
}

/// One request on an HTTP/2 connection.
pub(super) struct Stream {
    session: HttpSession,
    visit: Arc<Visit>,
    metrics: Arc<Metrics>,
    read_timeout: Option<Duration>,
    /// Requests of this connection that were called off.
    faults: Arc<AtomicUsize>,
    given_up: bool,
    _place: Option<OwnedSemaphorePermit>,
}

impl Visit {
    /// That of this request.
    pub(crate) fn of(session: &ServerSession) -> Option<&Self> {
        let head = session.as_custom()?.req_header();
        head.extensions.get::<Arc<Self>>().map(Arc::as_ref)
    }

    /// Whether there is a descriptor for a connection to a backend.
    pub(crate) fn has_place(&self) -> bool {
        self.has_place
    }

    pub(crate) fn recall(&self) -> &Arc<Recall> {
        &self.recall
    }

    pub(crate) fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    pub(super) fn new(
        mut session: HttpSession,
        rules: &Clients,
        metrics: Arc<Metrics>,
        faults: Arc<AtomicUsize>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let visit = Arc::new(Visit {
            has_place: place.is_some(),
            ..Visit::default()
        });
        visit.pace().restart(rules);
        // Its head is there.
        visit.pace().expect(Stage::Anything);
        session.set_write_timeout(Some(rules.write_timeout));
        let head = session.req_header_mut();
        as_http1(head);
        head.extensions_mut().insert(Arc::clone(&visit));
        Self {
            session,
            visit,
            metrics,
            read_timeout: Some(rules.read_timeout),
            faults,
            given_up: false,
            _place: place,
        }
    }

    /// The next part of the body, unless it comes too slowly or the request is called back.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        let now = Instant::now();
        let due = self.visit.pace().deadline(now);
        let silence = self.read_timeout.map(|silence| now + silence);
        let read = tokio::select! {
            biased;
            () = called_back(&self.visit) => return Err(lost()),
            read = self.session.read_body_bytes() => read,
            () = until(due) => {
                self.visit.pace().give_up();
                self.metrics.refused(Refusal::SlowBody);
                return Error::e_explain(ReadTimedout, "a body that comes too slowly").map_err(Error::into_down);
            }
            () = until(silence) => {
                return Error::e_explain(ReadTimedout, "silence in a body").map_err(Error::into_down);
            }
        };
        if let Ok(Some(bytes)) = &read {
            self.visit.pace().received(bytes.len(), Instant::now());
        }
        read
    }

    fn give_up(&mut self) {
        self.given_up = true;
        self.session.shutdown_with_reason(Reason::INTERNAL_ERROR);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let reset = pin!(self.session.idle()).poll(&mut cx);
        if !self.given_up && matches!(reset, Poll::Ready(Ok(_))) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Host and path where HTTP/1 has them, and one Cookie of the pieces in which HTTP/2 may send it (RFC 9113, 8.2.3).
fn as_http1(head: &mut RequestHeader) {
    if !head.headers.contains_key(HOST)
        && let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        // It fits: a head that is full was refused before.
        let _ = head.insert_header(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().cloned()
        && head.uri.authority().is_some()
    {
        head.set_uri(Uri::from(path));
    }
    let pieces: Vec<_> = head.headers.get_all(COOKIE).iter().collect();
    if pieces.len() > 1 {
        let pieces: Vec<_> = pieces.into_iter().map(HeaderValue::as_bytes).collect();
        if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
            let _ = head.insert_header(COOKIE, whole);
        }
    }
}

async fn called_back(visit: &Visit) {
    poll_fn(|cx| match visit.recall.poll(cx) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn lost() -> Box<Error> {
    Error::explain(ReadError, "called back from its backend").into_down()
}

#[async_trait]
impl Session for Stream {
    fn req_header(&self) -> &RequestHeader {
        self.session.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.session.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.session.drain_request_body().await
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.session.write_response_header(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.session.write_response_header_ref(head, end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.session.write_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.session.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.session.response_duplex_vec(tasks).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.session.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.session.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.session.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.session.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.session.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _why: &str) {
        self.give_up();
    }

    fn is_body_done(&mut self) -> bool {
        self.session.is_body_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.session.finish()
    }

    fn is_body_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    /// Without a body to read it waits for the end of the request, which is a failure.
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.session.is_body_done() {
            return self.read().await;
        }
        let reason = tokio::select! {
            biased;
            () = called_back(&self.visit) => return Err(lost()),
            reason = self.session.idle() => reason?,
        };
        Error::e_explain(H2Error, format!("the client called it off: {reason}"))
            .map_err(Error::into_down)
    }

    fn body_bytes_sent(&self) -> usize {
        self.session.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.session.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.session.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.session.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.session.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.session.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.session.pseudo_raw_h1_request_header()
    }

    fn enable_retry_buffering(&mut self) {
        self.session.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.session.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.session.get_retry_buffer()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<Messages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _reader: Messages) -> Result<()> {
        Error::e_explain(InternalError, "HTTP/2 has no messages beside the body")
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Error::e_explain(InternalError, "HTTP/2 has no messages beside the body")
    }
}
