//! What the operators see of a request: its id, its span in the log, its counters.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tracing::Instrument;

use crate::app::App;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id that is taken over from the balancer.
const MAX_REQUEST_ID_CHARS: usize = 64;

/// Upper bounds of the duration histogram, in seconds: a page takes milliseconds, an upload may take seconds.
const DURATION_BUCKETS_SECS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
];

/// Names one request in all logs.
#[derive(Clone, Debug)]
pub struct RequestId(String);

impl RequestId {
    /// The balancer's id when it is one, else a fresh one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let fit = given.filter(|id| {
            (1..=MAX_REQUEST_ID_CHARS).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        Self(fit.map_or_else(|| hex::encode(rand::random::<[u8; 16]>()), str::to_owned))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The counters of `/metrics`, in a registry of their own.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    connections: IntGaugeVec,
    limited: IntCounterVec,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new(
                "quiz_http_requests_total",
                "Requests answered, by route pattern, method and status.",
            ),
            &["route", "method", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "quiz_http_request_duration_seconds",
                "Time until the reply began, by route pattern and method.",
            )
            .buckets(DURATION_BUCKETS_SECS.to_vec()),
            &["route", "method"],
        )?;
        let connections = IntGaugeVec::new(
            Opts::new(
                "quiz_db_connections",
                "Connections of the database pool, by state.",
            ),
            &["state"],
        )?;
        let limited = IntCounterVec::new(
            Opts::new(
                "quiz_limited_total",
                "Requests refused because they came too often, by limit.",
            ),
            &["limit"],
        )?;
        registry.register(Box::new(limited.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        Ok(Self {
            registry,
            requests,
            durations,
            connections,
            limited,
        })
    }

    /// The text of `/metrics`.
    pub fn render(&self, pool: &sqlx::PgPool) -> anyhow::Result<String> {
        let idle = i64::try_from(pool.num_idle())?;
        self.connections.with_label_values(&["idle"]).set(idle);
        self.connections
            .with_label_values(&["used"])
            .set((i64::from(pool.size()) - idle).max(0));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8(text)?)
    }

    /// Counts a request that one of the [`limits`](crate::limits) refused.
    pub fn count_limited(&self, limit: &str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    fn count(&self, route: &str, method: &str, status: u16, started: Instant) {
        self.requests
            .with_label_values(&[route, method, &status.to_string()])
            .inc();
        self.durations
            .with_label_values(&[route, method])
            .observe(started.elapsed().as_secs_f64());
    }
}

/// Outermost layer: names the request, opens its span, counts its reply. The query is left out of the log: it holds answers.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let method = method_label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        id = id.as_str(),
        method,
        path = request.uri().path()
    );
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    app.metrics.count(&route, method, status, started);
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status, duration_ms, "answered"));
    let id = HeaderValue::from_str(id.as_str()).expect("an id is made of letters, digits, - and _");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Strangers can invent methods; the labels of a metric must stay few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balancers_id_is_kept_and_nonsense_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-DEF_123"));
        assert_eq!(RequestId::of(&headers).as_str(), "abc-DEF_123");
        for nonsense in ["", "a b", "<script>", &"x".repeat(65)] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(nonsense).unwrap());
            assert_eq!(RequestId::of(&headers).as_str().len(), 32, "{nonsense}");
        }
    }
}
