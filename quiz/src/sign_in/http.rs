//! How the site talks to providers: bounded in time and size, and never redirected, because a provider that can send us
//! elsewhere can make us ask our own network.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse, http};
use reqwest::redirect;

/// Largest answer that is read. Discovery documents and key sets have a few KiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// GitHub refuses requests without one.
const USER_AGENT: &str = concat!("quizstack/", env!("CARGO_PKG_VERSION"));

/// A client for providers; cheap to clone.
#[derive(Clone)]
pub(super) struct Http(reqwest::Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("asking the provider")]
    Request(#[from] reqwest::Error),
    #[error("reading the head of the answer")]
    Head(#[from] http::Error),
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
}

impl Http {
    /// `timeout` bounds each request, from the connection to the last byte. `direct` is for providers on this machine:
    /// a proxy for the internet, as `HTTPS_PROXY` and its kin name it, is not on the way to them.
    pub(super) fn new(timeout: Duration, direct: bool) -> reqwest::Result<Self> {
        let mut client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .timeout(timeout);
        if direct {
            client = client.no_proxy();
        }
        Ok(Self(client.build()?))
    }

    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut answer = self.0.execute(request.try_into()?).await?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(HttpError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
