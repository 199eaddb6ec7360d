//! Requests that `object_store` never sends, signed by hand.

use std::net::SocketAddr;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use s3s::dto::{Timestamp, TimestampFormat};
use sha2::{Digest as _, Sha256};

use crate::common::{ACCESS_KEY, SECRET_KEY};

/// One request. `query` is in canonical form.
pub(crate) struct Signed<'a> {
    pub(crate) method: http::Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// What `x-amz-content-sha256` says.
    pub(crate) payload: &'a str,
    pub(crate) body: Vec<u8>,
}

/// A request without body.
pub(crate) async fn ask(
    to: SocketAddr,
    method: http::Method,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let request = Signed {
        method,
        path,
        query,
        headers,
        payload: "UNSIGNED-PAYLOAD",
        body: Vec::new(),
    };
    request.send(to).await
}

/// What stands between the first pair of tags of this name.
pub(crate) fn tagged<'a>(xml: &'a str, tag: &str) -> &'a str {
    let (_, rest) = xml.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

impl Signed<'_> {
    /// Sends it; status and body of the reply.
    pub(crate) async fn send(self, to: SocketAddr) -> (u16, String) {
        self.try_send(to).await.unwrap()
    }

    /// The same, for one that may not be answered.
    pub(crate) async fn try_send(self, to: SocketAddr) -> reqwest::Result<(u16, String)> {
        let now = now();
        let host = to.to_string();
        let mut headers = vec![
            ("host", host.as_str()),
            ("x-amz-content-sha256", self.payload),
            ("x-amz-date", now.as_str()),
        ];
        headers.extend(self.headers);
        headers.sort();
        let canonical: String = headers.iter().map(|(k, v)| format!("{k}:{v}\n")).collect();
        let names: Vec<_> = headers.iter().map(|(k, _)| *k).collect();
        let names = names.join(";");
        let (method, path, query, payload) = (&self.method, self.path, self.query, self.payload);
        let request = format!("{method}\n{path}\n{query}\n{canonical}\n{names}\n{payload}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &now[..8]);
        let digest = hex::encode(Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}");
        let first = format!("AWS4{SECRET_KEY}").into_bytes();
        let parts = [&now[..8], "us-east-1", "s3", "aws4_request", &text];
        let signature = parts.iter().fold(first, |key, part| mac(&key, part));
        let signature = hex::encode(signature);
        let proof = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
        );
        let url = format!("http://{to}{path}?{query}");
        let mut request = reqwest::Client::new().request(self.method, url);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        let reply = request.header("authorization", proof).body(self.body);
        let reply = reply.send().await?;
        Ok((reply.status().as_u16(), reply.text().await?))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Now, as `20261120T120000Z`.
fn now() -> String {
    let mut text = Vec::new();
    Timestamp::from(SystemTime::now())
        .format(TimestampFormat::DateTime, &mut text)
        .unwrap();
    let text = String::from_utf8(text).unwrap();
    format!("{}Z", text[..19].replace(['-', ':'], ""))
}
