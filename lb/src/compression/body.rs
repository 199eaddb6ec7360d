//! Compresses the body of a reply, as a module of Pingora's.
//!
//! Pingora has one of its own, but that flushes a Brotli stream where it should end it, so that strict clients find it
//! truncated; and it knows no qualities in `Accept-Encoding`.

use std::{any::Any, io::Write};

use async_trait::async_trait;
use brotli::CompressorWriter;
use bytes::Bytes;
use http::{
    HeaderValue,
    header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, TRANSFER_ENCODING},
};
use pingora::{
    Error, ErrorType, OrErr, Result,
    http::ResponseHeader,
    modules::http::{HttpModule, HttpModuleBuilder, Module},
    protocols::http::compression::{Algorithm, Encode},
};

/// Why a body could not be compressed.
const FAILED: ErrorType = ErrorType::new("CompressionError");

/// Brotli's window is 512 KiB (as a power of two): more than a page, and memory for every reply in flight.
const BROTLI_WINDOW: u32 = 19;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// The compressor of one reply; idle unless told otherwise.
#[derive(Default)]
pub struct Compressor {
    wanted: Option<(Algorithm, u32)>,
    running: Option<Encoder>,
}

/// Makes one for every request.
pub struct Builder;

enum Encoder {
    Pingora(Box<dyn Encode + Send + Sync>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl Compressor {
    /// The reply whose head comes next is to be compressed like this.
    pub fn compress(&mut self, algorithm: Algorithm, level: u32) {
        self.wanted = Some((algorithm, level));
    }
}

impl HttpModuleBuilder for Builder {
    fn init(&self) -> Module {
        Box::new(Compressor::default())
    }
}

#[async_trait]
impl HttpModule for Compressor {
    async fn response_header_filter(
        &mut self,
        reply: &mut ResponseHeader,
        end_of_stream: bool,
    ) -> Result<()> {
        if let Some((algorithm, level)) = self.wanted.take().filter(|_| !end_of_stream) {
            self.running = Encoder::new(algorithm, level);
            if self.running.is_some() {
                announce(reply, algorithm)?;
            }
        }
        Ok(())
    }

    fn response_body_filter(&mut self, body: &mut Option<Bytes>, end: bool) -> Result<()> {
        let Some(encoder) = &mut self.running else {
            return Ok(());
        };
        let data = body.take().unwrap_or_default();
        let mut packed = encoder.write(&data)?;
        if end && let Some(encoder) = self.running.take() {
            packed.extend(encoder.finish()?);
        }
        // Nothing is no chunk: an empty one would end the reply.
        *body = (!packed.is_empty()).then(|| packed.into());
        Ok(())
    }

    fn response_done_filter(&mut self) -> Result<Option<Bytes>> {
        let rest = self.running.take().map(Encoder::finish).transpose()?;
        Ok(rest.map(Bytes::from))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Encoder {
    fn new(algorithm: Algorithm, level: u32) -> Option<Self> {
        if algorithm == Algorithm::Brotli {
            let writer =
                CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, level, BROTLI_WINDOW);
            return Some(Self::Brotli(Box::new(writer)));
        }
        algorithm.compressor(level).map(Self::Pingora)
    }

    fn write(&mut self, data: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Pingora(encoder) => encoder.encode(data, false).map(Vec::from),
            Self::Brotli(writer) => {
                writer.write_all(data).or_err(FAILED, "with Brotli")?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Pingora(mut encoder) => encoder.encode(&[], true).map(Vec::from),
            Self::Brotli(writer) => Ok(writer.into_inner()),
        }
    }
}

/// The head of what is now another representation, of unknown length.
fn announce(reply: &mut ResponseHeader, algorithm: Algorithm) -> Result<()> {
    reply.insert_header(CONTENT_ENCODING, algorithm.as_str())?;
    reply.insert_header(TRANSFER_ENCODING, "chunked")?;
    reply.remove_header(&CONTENT_LENGTH);
    reply.remove_header(&ACCEPT_RANGES);
    let strong = reply.headers.get(ETAG).map(HeaderValue::as_bytes);
    if let Some(tag) = strong.filter(|tag| tag.starts_with(b"\"")) {
        let weak = HeaderValue::from_bytes(&[b"W/", tag].concat())
            .map_err(|cause| Error::because(FAILED, "with an ETag", cause))?;
        reply.insert_header(ETAG, weak)?;
    }
    Ok(())
}
