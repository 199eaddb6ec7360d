//! A client for four operations of S3, signed with version 4. It takes any key as it is, and streams.

use std::io;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::events::Event;
use s3s::dto::{Timestamp, TimestampFormat};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::config::S3Access;

/// What a signature leaves as it is, beside letters and digits.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &NAME.remove(b'/');
const REGION: &str = "us-east-1";
/// The body is proved by its MD5, or by its length alone.
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Attempts at what can be repeated, and the pause before the second one.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of one piece of a body, and pieces on their way.
const PIECE: usize = 256 * 1024;
const QUEUE: usize = 4;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An object in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) last_modified: String,
}

pub(super) struct S3 {
    access: S3Access,
    client: Client<HttpConnector, Body>,
}

impl S3 {
    pub(super) fn new(access: S3Access) -> anyhow::Result<Self> {
        if access.endpoint.scheme_str() != Some("http") || access.endpoint.host().is_none() {
            bail!(
                "{} is not http://HOST:PORT (STORAGE_ENDPOINT)",
                access.endpoint
            );
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            access,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// A page of the bucket, and whether there is more after its last key.
    pub(super) async fn list(&self, after: &str) -> anyhow::Result<(Vec<Listed>, bool)> {
        let mut query = vec![("list-type", "2")];
        if !after.is_empty() {
            query.push(("start-after", after));
        }
        let reply = self.repeat(&Method::GET, "", &query).await?;
        let reply = success(reply).await.context("listing the bucket")?;
        let body = reply.into_body().collect().await?.to_bytes();
        parse_listing(std::str::from_utf8(&body)?)
    }

    /// An object; `None` when there is none.
    pub(super) async fn get(&self, key: &str) -> anyhow::Result<Option<Response<Incoming>>> {
        self.one(Method::GET, key).await
    }

    /// The headers of an object; `None` when there is none.
    pub(super) async fn head(&self, key: &str) -> anyhow::Result<Option<HeaderMap>> {
        let reply = self.one(Method::HEAD, key).await?;
        Ok(reply.map(|reply| reply.headers().clone()))
    }

    /// Writes an object of `len` bytes and returns its headers. Is not repeated.
    pub(super) async fn put(
        &self,
        key: &str,
        headers: HeaderMap,
        len: u64,
        mut data: impl AsyncRead + Unpin,
    ) -> anyhow::Result<HeaderMap> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let frames = futures::stream::unfold(receiver, async |mut receiver| {
            let piece: io::Result<Bytes> = receiver.recv().await?;
            Some((piece.map(Frame::data), receiver))
        });
        let mut request = self.request(&Method::PUT, key, &[], headers)?;
        request
            .headers_mut()
            .insert(http::header::CONTENT_LENGTH, len.into());
        *request.body_mut() = StreamBody::new(Box::pin(frames)).boxed_unsync();
        // The reply may come before all is sent, and then nobody wants the rest.
        let feed = async {
            let mut left = len;
            while left > 0 {
                let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
                let got = data.read(&mut piece).await?;
                if got == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                piece.truncate(got);
                left -= got as u64;
                if sender.send(Ok(piece.into())).await.is_err() {
                    break;
                }
            }
            drop(sender);
            Ok(())
        };
        let (fed, reply) = tokio::join!(feed, self.client.request(request));
        fed.context("reading what is to be written")?;
        let reply = success(reply?).await?;
        Ok(reply.headers().clone())
    }

    async fn one(&self, method: Method, key: &str) -> anyhow::Result<Option<Response<Incoming>>> {
        let reply = self.repeat(&method, key, &[]).await?;
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(success(reply).await?))
    }

    /// A request without body, repeated while the store says that it is busy or says nothing.
    async fn repeat(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<Response<Incoming>> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            let request = self.request(method, key, query, HeaderMap::new())?;
            match self.client.request(request).await {
                Ok(reply) if !reply.status().is_server_error() => return Ok(reply),
                Ok(_) | Err(_) => sleep(pause).await,
            }
            pause *= 2;
        }
        let request = self.request(method, key, query, HeaderMap::new())?;
        let endpoint = &self.access.endpoint;
        let reply = self.client.request(request).await;
        reply.with_context(|| format!("cannot reach {endpoint}"))
    }

    /// A signed request. Headers are those that go with an object.
    fn request(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
        mut headers: HeaderMap,
    ) -> anyhow::Result<Request<Body>> {
        let host = self
            .access
            .endpoint
            .authority()
            .context("no host")?
            .as_str();
        let path = utf8_percent_encode(key, PATH);
        let path = format!("/{}/{path}", self.access.bucket);
        let mut query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NAME)))
            .collect();
        query.sort();
        let query = query.join("&");
        let now = now();
        headers.insert(HOST, HeaderValue::from_str(host)?);
        headers.insert("x-amz-content-sha256", HeaderValue::from_static(PAYLOAD));
        headers.insert("x-amz-date", HeaderValue::from_str(&now)?);
        let proof = self.proof(method, &path, &query, &headers, &now);
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&proof)?);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{host}{path}?{query}"))
            .body(empty())?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn proof(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        now: &str,
    ) -> String {
        let signed = |name: &HeaderName| *name == HOST || name.as_str().starts_with("x-amz-");
        let mut lines: Vec<(&str, String)> = headers
            .iter()
            .filter(|(name, _)| signed(name))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str(), value.trim().to_owned())
            })
            .collect();
        lines.sort();
        let canonical: String = lines
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let request = format!("{method}\n{path}\n{query}\n{canonical}\n{names}\n{PAYLOAD}");
        let day = &now[..8];
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let digest = hex::encode(Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}");
        let first = format!("AWS4{}", self.access.secret_access_key.expose()).into_bytes();
        let parts = [day, REGION, "s3", "aws4_request", &text];
        let signature = parts.iter().fold(first, |key, part| mac(&key, part));
        let (id, signature) = (&self.access.access_key_id, hex::encode(signature));
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key has any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn now() -> String {
    let mut text = Vec::new();
    let now = Timestamp::from(SystemTime::now());
    now.format(TimestampFormat::DateTime, &mut text)
        .expect("a Vec grows");
    // 2026-11-20T12:00:00.123Z as 20261120T120000Z
    let text = String::from_utf8_lossy(&text[..19]).replace(['-', ':'], "");
    format!("{text}Z")
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The reply, if it is a success; what it says, if it is not.
async fn success(reply: Response<Incoming>) -> anyhow::Result<Response<Incoming>> {
    let status = reply.status();
    if status.is_success() {
        return Ok(reply);
    }
    let body = reply.into_body().collect().await?.to_bytes();
    bail!("{status} {}", String::from_utf8_lossy(&body));
}

/// Keys, tags and sizes, and whether there is more.
fn parse_listing(xml: &str) -> anyhow::Result<(Vec<Listed>, bool)> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut found, mut more) = (Vec::new(), false);
    let (mut object, mut text) = (Listed::default(), String::new());
    loop {
        match reader.read_event()? {
            Event::Start(tag) => {
                text.clear();
                if tag.local_name().as_ref() == b"Contents" {
                    object = Listed::default();
                }
            }
            Event::Text(part) => text.push_str(&part.decode()?),
            Event::GeneralRef(part) => {
                let name = part.decode()?;
                match part.resolve_char_ref()? {
                    Some(char) => text.push(char),
                    None => text.push_str(
                        quick_xml::escape::resolve_xml_entity(&name).context("unknown entity")?,
                    ),
                }
            }
            Event::End(tag) => match tag.local_name().as_ref() {
                b"Key" => object.key = std::mem::take(&mut text),
                b"ETag" => object.etag = std::mem::take(&mut text),
                b"LastModified" => object.last_modified = std::mem::take(&mut text),
                b"Size" => object.size = text.parse()?,
                b"IsTruncated" => more = text == "true",
                b"Contents" => found.push(std::mem::take(&mut object)),
                _ => {}
            },
            Event::Eof => return Ok((found, more)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_keys_as_they_are() {
        let xml = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>true</IsTruncated>\
            <Contents><Key>a &amp; b/&#xFC; ü</Key><Size>7</Size><LastModified>t</LastModified><ETag>&quot;ab&quot;</ETag></Contents>\
            <Contents><ETag>\"cd\"</ETag><Key> x</Key><Size>0</Size></Contents></ListBucketResult>";
        let (found, more) = parse_listing(xml).unwrap();
        assert!(more);
        let listed = |key: &str, etag: &str, size| Listed {
            key: key.to_owned(),
            etag: etag.to_owned(),
            size,
            last_modified: "t".repeat(size as usize / 7),
        };
        let expected = [listed("a & b/ü ü", "\"ab\"", 7), listed(" x", "\"cd\"", 0)];
        assert_eq!(found, expected);
    }
}
