//! Flags and variables for `[clients]`.

use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::{count, secs, set};
use crate::config::clients::{Clients, network};

/// Patience with clients, and what they may send.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Client connections at a time; further clients wait until one is closed. Lowered at start, with a warning, to what the limit of file descriptors (ulimit -n) allows [default: 10000].
    #[arg(long, env = "LB_MAX_CONNECTIONS", value_name = "LB_MAX_CONNECTIONS", value_parser = count)]
    pub max_connections: Option<usize>,

    /// Seconds an idle client connection is kept for its next request [default: 60].
    #[arg(long, env = "LB_CLIENT_KEEPALIVE_SECS", value_name = "LB_CLIENT_KEEPALIVE_SECS", value_parser = secs)]
    pub client_keepalive: Option<Duration>,

    /// Seconds a client may be silent in the middle of a request body [default: 60].
    #[arg(long, env = "LB_CLIENT_READ_TIMEOUT_SECS", value_name = "LB_CLIENT_READ_TIMEOUT_SECS", value_parser = secs)]
    pub client_read_timeout: Option<Duration>,

    /// Seconds a client may refuse to take more of the reply [default: 60].
    #[arg(long, env = "LB_CLIENT_WRITE_TIMEOUT_SECS", value_name = "LB_CLIENT_WRITE_TIMEOUT_SECS", value_parser = secs)]
    pub client_write_timeout: Option<Duration>,

    /// Largest request head in bytes, 1048576 at most; more is answered 431, and beyond 1048576 a bare 400 [default: 32768].
    #[arg(long, env = "LB_MAX_HEAD_BYTES", value_name = "LB_MAX_HEAD_BYTES", value_parser = count)]
    pub max_head_bytes: Option<usize>,

    /// Most header lines in a request, 256 at most; more are answered 431, and beyond 256 a bare 400 [default: 100].
    #[arg(long, env = "LB_MAX_HEADERS", value_name = "LB_MAX_HEADERS", value_parser = count)]
    pub max_headers: Option<usize>,

    /// Largest request body in bytes; more is answered 413 [default: 33554432].
    #[arg(long, env = "LB_MAX_BODY_BYTES", value_name = "LB_MAX_BODY_BYTES", value_parser = count)]
    pub max_body_bytes: Option<usize>,

    /// Seconds a client may take for a request head, from its first byte on; then it is answered 408 [default: 10].
    #[arg(long, env = "LB_HEAD_TIMEOUT_SECS", value_name = "LB_HEAD_TIMEOUT_SECS", value_parser = secs)]
    pub head_timeout: Option<Duration>,

    /// Bytes of a request body that must arrive each second we wait for it, on average, after `LB_BODY_GRACE_SECS`; 0 for no minimum [default: 1024].
    #[arg(
        long,
        env = "LB_MIN_BODY_BYTES_PER_SEC",
        value_name = "LB_MIN_BODY_BYTES_PER_SEC"
    )]
    pub min_body_bytes_per_sec: Option<usize>,

    /// Seconds a slow body has before its rate counts [default: 20].
    #[arg(long, env = "LB_BODY_GRACE_SECS", value_name = "LB_BODY_GRACE_SECS", value_parser = secs)]
    pub body_grace: Option<Duration>,

    /// Requests on one connection; the last one is answered with `Connection: close` [default: 1000].
    #[arg(long, env = "LB_MAX_REQUESTS_PER_CONNECTION", value_name = "LB_MAX_REQUESTS_PER_CONNECTION", value_parser = count)]
    pub max_requests_per_connection: Option<usize>,

    /// Connections of one address at a time; 0 for no limit. Further ones are answered 429 [default: 2000].
    #[arg(
        long,
        env = "LB_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "LB_MAX_CONNECTIONS_PER_ADDRESS"
    )]
    pub max_connections_per_address: Option<usize>,

    /// Requests of one address that are worked on at a time; 0 for no limit. Further ones are answered 429 [default: 2000].
    #[arg(
        long,
        env = "LB_MAX_IN_FLIGHT_PER_ADDRESS",
        value_name = "LB_MAX_IN_FLIGHT_PER_ADDRESS"
    )]
    pub max_in_flight_per_address: Option<usize>,

    /// Requests of one address each second; 0 for no limit. Further ones are answered 429 [default: 0].
    #[arg(
        long,
        env = "LB_MAX_REQUESTS_PER_SEC_PER_ADDRESS",
        value_name = "LB_MAX_REQUESTS_PER_SEC_PER_ADDRESS"
    )]
    pub max_requests_per_sec_per_address: Option<usize>,

    /// How many requests an address that was quiet may send at once, whatever its rate [default: 100].
    #[arg(long, env = "LB_REQUEST_BURST_PER_ADDRESS", value_name = "LB_REQUEST_BURST_PER_ADDRESS", value_parser = count)]
    pub request_burst_per_address: Option<usize>,

    /// Comma list of networks whose word counts: what their `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Request-Id` say [default: none].
    #[arg(long, env = "LB_TRUSTED_PROXIES", value_name = "LB_TRUSTED_PROXIES", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Option<Vec<IpNet>>,

    /// Requests at a time on one HTTP/2 connection [default: 100].
    #[arg(long, env = "LB_HTTP2_MAX_STREAMS", value_name = "LB_HTTP2_MAX_STREAMS", value_parser = count)]
    pub http2_max_streams: Option<usize>,

    /// Requests that a client may call off, or send malformed, on one HTTP/2 connection before it is hung up on [default: 100].
    #[arg(long, env = "LB_HTTP2_MAX_RESETS", value_name = "LB_HTTP2_MAX_RESETS", value_parser = count)]
    pub http2_max_resets: Option<usize>,

    /// Bytes of one HTTP/2 upload that may wait for its backend, 65535 at least [default: 65535].
    #[arg(
        long,
        env = "LB_HTTP2_STREAM_WINDOW_BYTES",
        value_name = "LB_HTTP2_STREAM_WINDOW_BYTES"
    )]
    pub http2_stream_window_bytes: Option<u32>,

    /// The same for all uploads of one HTTP/2 connection together [default: 262144].
    #[arg(
        long,
        env = "LB_HTTP2_CONNECTION_WINDOW_BYTES",
        value_name = "LB_HTTP2_CONNECTION_WINDOW_BYTES"
    )]
    pub http2_connection_window_bytes: Option<u32>,

    /// How hard replies are compressed with Zstandard for clients that want it, 22 at most; 0 for not at all [default: 3].
    #[arg(long, env = "LB_ZSTD_LEVEL", value_name = "LB_ZSTD_LEVEL")]
    pub zstd_level: Option<u32>,

    /// The same with Brotli, 11 at most [default: 4].
    #[arg(long, env = "LB_BROTLI_LEVEL", value_name = "LB_BROTLI_LEVEL")]
    pub brotli_level: Option<u32>,

    /// The same with gzip, 9 at most [default: 5].
    #[arg(long, env = "LB_GZIP_LEVEL", value_name = "LB_GZIP_LEVEL")]
    pub gzip_level: Option<u32>,

    /// Replies of fewer bytes are not compressed [default: 1024].
    #[arg(long, env = "LB_COMPRESSION_MIN_BYTES", value_name = "LB_COMPRESSION_MIN_BYTES", value_parser = count)]
    pub compression_min_bytes: Option<usize>,
}

impl Flags {
    pub(super) fn apply(&self, clients: &mut Clients) {
        set(&mut clients.max_connections, self.max_connections);
        set(&mut clients.keepalive, self.client_keepalive);
        set(&mut clients.read_timeout, self.client_read_timeout);
        set(&mut clients.write_timeout, self.client_write_timeout);
        set(&mut clients.max_head_bytes, self.max_head_bytes);
        set(&mut clients.max_headers, self.max_headers);
        set(&mut clients.max_body_bytes, self.max_body_bytes);
        set(&mut clients.head_timeout, self.head_timeout);
        set(
            &mut clients.min_body_bytes_per_sec,
            self.min_body_bytes_per_sec,
        );
        set(&mut clients.body_grace, self.body_grace);
        set(
            &mut clients.max_requests_per_connection,
            self.max_requests_per_connection,
        );
        set(
            &mut clients.max_connections_per_address,
            self.max_connections_per_address,
        );
        set(
            &mut clients.max_in_flight_per_address,
            self.max_in_flight_per_address,
        );
        set(
            &mut clients.max_requests_per_sec_per_address,
            self.max_requests_per_sec_per_address,
        );
        set(
            &mut clients.request_burst_per_address,
            self.request_burst_per_address,
        );
        let http2 = &mut clients.http2;
        set(&mut http2.max_streams, self.http2_max_streams);
        set(&mut http2.max_resets, self.http2_max_resets);
        set(
            &mut http2.stream_window_bytes,
            self.http2_stream_window_bytes,
        );
        set(
            &mut http2.connection_window_bytes,
            self.http2_connection_window_bytes,
        );
        let compression = &mut clients.compression;
        set(&mut compression.zstd_level, self.zstd_level);
        set(&mut compression.brotli_level, self.brotli_level);
        set(&mut compression.gzip_level, self.gzip_level);
        set(&mut compression.min_bytes, self.compression_min_bytes);
        if let Some(networks) = &self.trusted_proxies {
            clients.trusted_proxies.clone_from(networks);
        }
    }
}
