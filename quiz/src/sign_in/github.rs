//! GitHub, which speaks OAuth 2 only: the access token is used once, to ask GitHub whose it is, and forgotten.

use anyhow::{Context, ensure};
use oauth2::basic::BasicClient;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    TokenResponse, TokenUrl,
};
use openidconnect::http::header::{ACCEPT, AUTHORIZATION};
use openidconnect::http::{Request, StatusCode};
use serde::Deserialize;
use url::Url;

use super::http::Http;
use super::{Failure, Profile, subject};

type Client = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// One application registered at one GitHub.
pub(super) struct GitHub {
    url: String,
    user_url: String,
    client: Client,
    http: Http,
}

/// What `GET /user` tells, as far as it matters. The login can be changed and then taken by another; the id cannot.
#[derive(Deserialize)]
struct User {
    id: u64,
    login: String,
}

impl GitHub {
    /// `url` and `api_url` have no slash at their end.
    pub(super) fn new(
        url: &str,
        api_url: &str,
        (id, secret): (ClientId, ClientSecret),
        redirect: RedirectUrl,
        http: Http,
    ) -> anyhow::Result<Self> {
        let client = BasicClient::new(id)
            .set_client_secret(secret)
            .set_auth_type(AuthType::RequestBody)
            .set_auth_uri(AuthUrl::new(format!("{url}/login/oauth/authorize"))?)
            .set_token_uri(TokenUrl::new(format!("{url}/login/oauth/access_token"))?)
            .set_redirect_uri(redirect);
        Ok(Self {
            url: url.to_owned(),
            user_url: format!("{api_url}/user"),
            client,
            http,
        })
    }

    /// No scope is asked for: who somebody is is public.
    pub(super) fn authorize_url(&self, state: CsrfToken, challenge: PkceCodeChallenge) -> Url {
        let request = self
            .client
            .authorize_url(|| state)
            .set_pkce_challenge(challenge);
        request.url().0
    }

    pub(super) async fn profile(
        &self,
        code: &str,
        verifier: PkceCodeVerifier,
    ) -> Result<Profile, Failure> {
        let answer = self
            .client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(verifier)
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::Request(_) => Failure::Unavailable(error.into()),
                _ => Failure::Refused(error.into()),
            })?;
        let user = self.user(answer.access_token().secret()).await;
        let user = user.map_err(Failure::Unavailable)?;
        Ok(Profile {
            subject: subject(&self.url, &user.id.to_string())?,
            name: user.login,
        })
    }

    async fn user(&self, access_token: &str) -> anyhow::Result<User> {
        let request = Request::get(&self.user_url)
            .header(ACCEPT, "application/vnd.github+json")
            .header(AUTHORIZATION, format!("Bearer {access_token}"))
            .body(Vec::new())
            .context("making the request for the user")?;
        let answer = self.http.send(request).await?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "the API answered {status}");
        serde_json::from_slice(answer.body()).context("reading the user")
    }
}
