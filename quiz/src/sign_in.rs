//! Sign-in with another site: GitHub (OAuth 2), Google and any issuer of OpenID Connect.
//!
//! The visitor leaves with an [`Attempt`] in an encrypted cookie and comes back with a code. The code is worth something
//! only together with that cookie: `state` ties it to this browser, the PKCE verifier to this attempt, and the nonce ties
//! the ID token to both. A provider that is away keeps nobody from starting the site or from logging in with a password.

use openidconnect::{CsrfToken, Nonce, PkceCodeChallenge, PkceCodeVerifier};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use url::Url;

mod config;
mod github;
mod http;
pub mod name;
mod oidc;

pub use config::SignInConfig;

/// How long a visitor may take at the provider's page.
pub const ATTEMPT_TTL: time::Duration = time::Duration::minutes(10);

/// The providers that the settings name.
pub struct SignIn {
    providers: Vec<Provider>,
    /// May a first sign-in make an account?
    pub creates_accounts: bool,
}

/// Another site that says who a visitor is.
pub struct Provider {
    /// Its name in URLs and in the database.
    pub id: &'static str,
    /// Its name on the button.
    pub label: String,
    protocol: Protocol,
}

enum Protocol {
    GitHub(Box<github::GitHub>),
    Oidc(Box<oidc::Oidc>),
}

/// What the browser keeps, encrypted, while its user is at the provider's page.
#[derive(Deserialize, Serialize)]
pub struct Attempt {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    /// Seconds since 1970: the browser's word for the age of a cookie does not count.
    expires_at: i64,
}

/// Who somebody is at a provider.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// Never changes and is never given to another: the issuer and what it calls this user. The issuer is part of it,
    /// because another one may be configured under the same name later.
    pub subject: String,
    /// What this user is called there at the moment; may be empty.
    pub name: String,
}

/// Why somebody could not be signed in. The text is for the log; it holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the provider does not answer as it should")]
    Unavailable(#[source] anyhow::Error),
    #[error("the sign-in proves nothing")]
    Refused(#[source] anyhow::Error),
}

impl SignIn {
    /// The providers that the settings name, or every fault of these settings. Talks to nobody.
    pub fn from_config(config: &SignInConfig) -> Result<Self, Vec<String>> {
        config.open()
    }

    /// In the order of the buttons.
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// The provider of that name.
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == id)
    }
}

impl Provider {
    /// Where to send the visitor, and what their browser has to keep until they come back.
    pub async fn start(&self) -> Result<(Url, Attempt), Failure> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (state, nonce) = (CsrfToken::new_random(), Nonce::new_random());
        let attempt = Attempt {
            provider: self.id.to_owned(),
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
            expires_at: (OffsetDateTime::now_utc() + ATTEMPT_TTL).unix_timestamp(),
        };
        let url = match &self.protocol {
            Protocol::GitHub(github) => github.authorize_url(state, challenge),
            Protocol::Oidc(oidc) => oidc.authorize_url(state, nonce, challenge).await?,
        };
        Ok((url, attempt))
    }

    /// Turns the code that the visitor brought into who they are. The attempt must have been [checked](Attempt::check).
    pub async fn finish(&self, attempt: Attempt, code: &str) -> Result<Profile, Failure> {
        let verifier = PkceCodeVerifier::new(attempt.verifier);
        match &self.protocol {
            Protocol::GitHub(github) => github.profile(code, verifier).await,
            Protocol::Oidc(oidc) => {
                oidc.profile(code, verifier, &Nonce::new(attempt.nonce))
                    .await
            }
        }
    }
}

impl Attempt {
    /// Reads what the browser kept.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What the browser keeps.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and a number have a JSON form")
    }

    /// Is this the attempt that `provider` answers with `state`? Hashes are compared, so that the time tells nothing.
    pub fn check(&self, provider: &Provider, state: &str) -> Result<(), Failure> {
        let fault = if self.provider != provider.id {
            "the attempt was made with another provider"
        } else if OffsetDateTime::now_utc().unix_timestamp() >= self.expires_at {
            "the attempt is too old"
        } else if Sha256::digest(&self.state) != Sha256::digest(state) {
            "the state is not that of the attempt"
        } else {
            return Ok(());
        };
        Err(Failure::Refused(anyhow::Error::msg(fault)))
    }
}

/// The subject as the database has it. A subject is at most 255 ASCII characters (OpenID Connect Core, 2).
fn subject(issuer: &str, subject: &str) -> Result<String, Failure> {
    let usable =
        (1..=255).contains(&subject.len()) && subject.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !usable {
        return Err(Failure::Refused(anyhow::anyhow!(
            "the subject is not usable"
        )));
    }
    Ok(format!("{issuer} {subject}"))
}

#[cfg(test)]
mod tests;
