//! What a client may take on one HTTP/2 connection.

use serde::Deserialize;

use super::{Problem, file, problem};

/// What every client may have in flight before it has read a setting of ours (RFC 9113, 6.9.2); less cannot be asked for.
const WINDOW_LEAST: u32 = 65_535;
const WINDOW_MOST: u32 = (1 << 31) - 1;

/// What a client may take on one HTTP/2 connection.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Requests at a time.
    #[serde(deserialize_with = "file::count")]
    pub max_streams: usize,
    /// Requests that it calls off, or that are not well formed, before it is hung up on.
    #[serde(deserialize_with = "file::count")]
    pub max_resets: usize,
    /// So much of one upload may wait for its backend.
    pub stream_window_bytes: u32,
    /// So much of all uploads of a connection may.
    pub connection_window_bytes: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_streams: 100,
            max_resets: 100,
            stream_window_bytes: 65_535,
            connection_window_bytes: 262_144,
        }
    }
}

impl Http2 {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        for (key, variable, window) in [
            (
                "stream_window_bytes",
                "LB_HTTP2_STREAM_WINDOW_BYTES",
                self.stream_window_bytes,
            ),
            (
                "connection_window_bytes",
                "LB_HTTP2_CONNECTION_WINDOW_BYTES",
                self.connection_window_bytes,
            ),
        ] {
            if !(WINDOW_LEAST..=WINDOW_MOST).contains(&window) {
                let message =
                    format!("({variable}) is {window}: set {WINDOW_LEAST} to {WINDOW_MOST}");
                return problem(&["clients", "http2", key], &message);
            }
        }
        // Streams have numbers of 31 bits, of which a client uses the odd ones.
        let most = WINDOW_MOST as usize / 2;
        if self.max_streams > most {
            let message = format!(
                "(LB_HTTP2_MAX_STREAMS) is {}: set {most} or less",
                self.max_streams
            );
            return problem(&["clients", "http2", "max_streams"], &message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_streams_are_within_what_the_protocol_knows() {
        let small = Http2 {
            stream_window_bytes: 1000,
            ..Http2::default()
        };
        let large = Http2 {
            connection_window_bytes: 1 << 31,
            ..Http2::default()
        };
        let many = Http2 {
            max_streams: 1 << 31,
            ..Http2::default()
        };
        for (wrong, remedy) in [
            (small, "set 65535 to"),
            (large, "LB_HTTP2_CONNECTION_WINDOW_BYTES"),
            (many, "or less"),
        ] {
            let problem = wrong.validate().unwrap_err();
            assert!(problem.message.contains(remedy), "{}", problem.message);
        }
        assert_eq!(Http2::default().validate(), Ok(()));
    }
}
