//! Any issuer of OpenID Connect. What the issuer publishes about itself is fetched when the first visitor asks for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreIdTokenClaims,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreTokenResponse,
    CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, SignatureVerificationError, TokenResponse,
};
use tokio::sync::Mutex;
use url::Url;

use super::http::Http;
use super::{Failure, Profile, subject};

/// How long the issuer's word about itself is believed. A key that is not in it makes us ask at once.
const METADATA_TTL: Duration = Duration::from_secs(60 * 60);

/// After a failure nobody asks the issuer for this time: visitors who try again must not pile up.
const FAILURE_PAUSE: Duration = Duration::from_secs(2);

/// Asymmetric ones only. With a shared secret, who knows the secret of the client could make tokens of anybody.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// One client of one issuer.
pub(super) struct Oidc {
    issuer: IssuerUrl,
    credentials: (ClientId, ClientSecret),
    redirect: RedirectUrl,
    http: Http,
    /// Locked while the issuer is asked: the visitors who wait get the same answer.
    known: Mutex<Known>,
}

#[derive(Clone)]
enum Known {
    Nothing,
    Client(Arc<Client>, Instant),
    Failure(String, Instant),
}

impl Oidc {
    pub(super) fn new(
        issuer: IssuerUrl,
        credentials: (ClientId, ClientSecret),
        redirect: RedirectUrl,
        http: Http,
    ) -> Self {
        Self {
            issuer,
            credentials,
            redirect,
            http,
            known: Mutex::new(Known::Nothing),
        }
    }

    pub(super) async fn authorize_url(
        &self,
        state: CsrfToken,
        nonce: Nonce,
        challenge: PkceCodeChallenge,
    ) -> Result<Url, Failure> {
        let client = self.client().await?;
        let request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                || state,
                || nonce,
            )
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge);
        Ok(request.url().0)
    }

    pub(super) async fn profile(
        &self,
        code: &str,
        verifier: PkceCodeVerifier,
        nonce: &Nonce,
    ) -> Result<Profile, Failure> {
        let client = self.client().await?;
        let answer = self.exchange(&client, code, verifier).await?;
        let token = answer
            .id_token()
            .ok_or_else(|| Failure::Refused(anyhow!("there is no ID token in the answer")))?;
        let claims = match verify(&client, token, nonce, answer.access_token()) {
            Err(error) if is_unknown_key(&error) => {
                let client = self.client_unlike(&client).await?;
                verify(&client, token, nonce, answer.access_token())
            }
            other => other,
        };
        let claims = claims.map_err(Failure::Refused)?;
        let name = match name_in(claims) {
            Some(name) => name,
            None => self
                .ask_name(&client, &answer, claims)
                .await
                .unwrap_or_default(),
        };
        Ok(Profile {
            subject: subject(&self.issuer, claims.subject())?,
            name,
        })
    }

    async fn exchange(
        &self,
        client: &Client,
        code: &str,
        verifier: PkceCodeVerifier,
    ) -> Result<CoreTokenResponse, Failure> {
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| Failure::Unavailable(error.into()))?;
        let answer = request
            .set_pkce_verifier(verifier)
            .request_async(&self.http)
            .await;
        answer.map_err(|error| match error {
            RequestTokenError::Request(_) => Failure::Unavailable(error.into()),
            _ => Failure::Refused(error.into()),
        })
    }

    /// Many issuers keep the name out of the ID token. Without a name the sign-in is as good.
    async fn ask_name(
        &self,
        client: &Client,
        answer: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> Option<String> {
        let token = answer.access_token();
        // The crate panics over a token that does not fit into a header.
        if !token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let request = client
            .user_info(token.clone(), Some(claims.subject().clone()))
            .ok()?;
        let info: Result<CoreUserInfoClaims, _> = request.request_async(&self.http).await;
        match info {
            Ok(info) => info
                .preferred_username()
                .map(|name| name.as_str())
                .or_else(|| Some(info.name()?.get(None)?.as_str()))
                .map(str::to_owned),
            Err(error) => {
                tracing::warn!(
                    error = format!("{:#}", anyhow::Error::new(error)),
                    "the issuer does not tell a name"
                );
                None
            }
        }
    }

    /// The client, made from what the issuer says about itself.
    async fn client(&self) -> Result<Arc<Client>, Failure> {
        let mut known = self.known.lock().await;
        match &*known {
            Known::Client(client, since) if since.elapsed() < METADATA_TTL => Ok(client.clone()),
            Known::Failure(error, since) if since.elapsed() < FAILURE_PAUSE => {
                Err(Failure::Unavailable(anyhow!("{error} (a moment ago)")))
            }
            _ => self.discover(&mut known).await,
        }
    }

    /// A client with other keys than `old`: the issuer has changed them.
    async fn client_unlike(&self, old: &Arc<Client>) -> Result<Arc<Client>, Failure> {
        let mut known = self.known.lock().await;
        match &*known {
            Known::Client(client, _) if !Arc::ptr_eq(client, old) => Ok(client.clone()),
            _ => self.discover(&mut known).await,
        }
    }

    async fn discover(&self, known: &mut Known) -> Result<Arc<Client>, Failure> {
        match self.make_client().await {
            Ok(client) => {
                let client = Arc::new(client);
                *known = Known::Client(client.clone(), Instant::now());
                Ok(client)
            }
            Err(error) => {
                *known = Known::Failure(format!("{error:#}"), Instant::now());
                Err(Failure::Unavailable(error))
            }
        }
    }

    async fn make_client(&self) -> anyhow::Result<Client> {
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http)
            .await
            .with_context(|| format!("asking {} about itself", self.issuer.as_str()))?;
        ensure!(
            metadata.token_endpoint().is_some(),
            "the issuer has no token endpoint"
        );
        // Basic is what an issuer that says nothing understands (OpenID Connect Discovery, 3).
        let methods = metadata.token_endpoint_auth_methods_supported();
        let in_body = methods
            .is_some_and(|methods| !methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let (id, secret) = self.credentials.clone();
        let client = CoreClient::from_provider_metadata(metadata, id, Some(secret));
        Ok(client
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(if in_body {
                AuthType::RequestBody
            } else {
                AuthType::BasicAuth
            }))
    }
}

/// Checks signature, issuer, audience, expiry and nonce, and that the access token came with this ID token.
fn verify<'t>(
    client: &Client,
    token: &'t CoreIdToken,
    nonce: &Nonce,
    access_token: &AccessToken,
) -> anyhow::Result<&'t CoreIdTokenClaims> {
    let verifier: CoreIdTokenVerifier<'_> = client.id_token_verifier().set_allowed_algs(SIGNATURES);
    let claims = token.claims(&verifier, nonce)?;
    if let Some(expected) = claims.access_token_hash() {
        let (algorithm, key) = (token.signing_alg()?, token.signing_key(&verifier)?);
        let hash = AccessTokenHash::from_token(access_token, algorithm, key)?;
        ensure!(
            hash == *expected,
            "the access token came with another ID token"
        );
    }
    Ok(claims)
}

fn is_unknown_key(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ClaimsVerificationError::SignatureVerification(
            SignatureVerificationError::NoMatchingKey
        ))
    )
}

fn name_in(claims: &CoreIdTokenClaims) -> Option<String> {
    let username = claims.preferred_username().map(|name| name.as_str());
    let name = || Some(claims.name()?.get(None)?.as_str());
    username.or_else(name).map(str::to_owned)
}
