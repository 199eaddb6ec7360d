//! An issuer of OpenID Connect that consents to everything and can be told to misbehave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::extract::{Form, Query, State};
use axum::http::header::{AUTHORIZATION, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use url::Url;

use super::keys::{self, Key, encode};

pub(super) const CLIENT_ID: &str = "quiz client";
const ACCESS_TOKEN: &str = "for-the-profile";
pub(super) const CLIENT_SECRET: &str = "s3cret+/=%";

type Params = HashMap<String, String>;

/// What is wrong with an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Refuses,
    WrongNonce,
    NoNonce,
    WrongAudience,
    WrongIssuer,
    Expired,
    WrongSignature,
    NoSignature,
    SharedSecret,
    WrongAccessTokenHash,
    NoIdToken,
    EndlessSubject,
    Redirects,
    Huge,
}

/// An issuer at work.
#[derive(Clone)]
pub(super) struct Issuer(Arc<Shared>);

struct Shared {
    url: String,
    other_key: Key,
    now: Mutex<Now>,
}

struct Now {
    key: Key,
    person: Value,
    only_in_userinfo: bool,
    fault: Option<Fault>,
    /// What a code stands for: it is good once.
    codes: HashMap<String, Params>,
    /// Codes that came with the verifier of another attempt.
    wrong_verifiers: u32,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn on(listener: TcpListener) -> Self {
        let issuer = Self(Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            other_key: Key::rsa("first"),
            now: Mutex::new(Now {
                key: Key::rsa("first"),
                person: json!({ "sub": "1", "name": "Ann Onymous" }),
                only_in_userinfo: false,
                fault: None,
                codes: HashMap::new(),
                wrong_verifiers: 0,
            }),
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .with_state(issuer.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        issuer
    }

    pub(super) fn url(&self) -> &str {
        &self.0.url
    }

    /// Who consents from now on.
    pub(super) fn person(&self, claims: Value) {
        self.now().person = claims;
    }

    /// What is wrong from now on.
    pub(super) fn fault(&self, fault: Option<Fault>) {
        self.now().fault = fault;
    }

    pub(super) fn tell_names_in_userinfo_only(&self) {
        self.now().only_in_userinfo = true;
    }

    pub(super) fn change_key(&self, key: Key) {
        self.now().key = key;
    }

    pub(super) fn wrong_verifiers(&self) -> u32 {
        self.now().wrong_verifiers
    }

    fn now(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.now.lock().unwrap()
    }

    fn id_token(&self, nonce: &str, access_token: &str) -> String {
        let now = self.now();
        let fault = |fault| now.fault == Some(fault);
        let time = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let hash = Sha256::digest(if fault(Fault::WrongAccessTokenHash) {
            "another"
        } else {
            access_token
        });
        let mut claims = json!({
            "iss": if fault(Fault::WrongIssuer) { "https://other.example" } else { self.url() },
            "aud": if fault(Fault::WrongAudience) { "another client" } else { CLIENT_ID },
            "iat": time.as_secs(),
            "exp": if fault(Fault::Expired) { time.as_secs() - 1 } else { time.as_secs() + 300 },
            "nonce": if fault(Fault::WrongNonce) { "another nonce" } else { nonce },
            "at_hash": encode(&hash[..16]),
            "sub": if fault(Fault::EndlessSubject) { "x".repeat(256).into() } else { now.person["sub"].clone() },
        });
        let claims_map = claims.as_object_mut().unwrap();
        match now.fault {
            Some(Fault::NoNonce) => claims_map.remove("nonce"),
            // A claim that may be absent, and that would be refused on its own.
            Some(Fault::NoSignature | Fault::SharedSecret) => claims_map.remove("at_hash"),
            _ => None,
        };
        if !now.only_in_userinfo {
            for (name, value) in now.person.as_object().unwrap() {
                claims_map.entry(name).or_insert(value.clone());
            }
        }
        match now.fault {
            Some(Fault::WrongSignature) => self.0.other_key.sign(&claims),
            Some(Fault::NoSignature) => keys::unsigned(&claims),
            Some(Fault::SharedSecret) => keys::signed_with_secret(CLIENT_SECRET, &claims),
            _ => now.key.sign(&claims),
        }
    }
}

async fn describe(State(issuer): State<Issuer>) -> Json<Value> {
    let url = issuer.url();
    Json(json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "jwks_uri": format!("{url}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
    }))
}

async fn keys(State(issuer): State<Issuer>) -> Json<Value> {
    Json(json!({ "keys": [issuer.now().key.public()] }))
}

async fn authorize(State(issuer): State<Issuer>, Query(params): Query<Params>) -> Response {
    let expected = [
        ("client_id", CLIENT_ID),
        ("response_type", "code"),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in expected {
        assert_eq!(params.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(
        params["scope"].split(' ').any(|scope| scope == "openid"),
        "{params:?}"
    );
    assert_eq!(params["code_challenge"].len(), 43);
    let mut back = Url::parse(&params["redirect_uri"]).unwrap();
    let mut now = issuer.now();
    let mut query = back.query_pairs_mut();
    query.append_pair("state", &params["state"]);
    if now.fault == Some(Fault::Refuses) {
        query.append_pair("error", "access_denied");
    } else {
        let code = format!("code-{}", rand::random::<u64>());
        query.append_pair("code", &code);
        now.codes.insert(code, params.clone());
    }
    drop(query);
    Redirect::to(back.as_str()).into_response()
}

async fn token(
    State(issuer): State<Issuer>,
    uri: Uri,
    headers: HeaderMap,
    Form(form): Form<Params>,
) -> Response {
    let refuse =
        |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let form_encoded = |text| url::form_urlencoded::byte_serialize(text).collect::<String>();
    let credentials = [CLIENT_ID, CLIENT_SECRET]
        .map(|text| form_encoded(text.as_bytes()))
        .join(":");
    if headers[AUTHORIZATION] != format!("Basic {}", BASE64_STANDARD.encode(credentials)) {
        return refuse("invalid_client");
    }
    let fault = issuer.now().fault;
    if fault == Some(Fault::Redirects) && uri.query().is_none() {
        // Who follows gets what they want.
        return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/token?moved")]).into_response();
    }
    let Some(request) = issuer.now().codes.remove(&form["code"]) else {
        return refuse("invalid_grant");
    };
    if encode(&Sha256::digest(&form["code_verifier"])) != request["code_challenge"] {
        issuer.now().wrong_verifiers += 1;
        return refuse("invalid_grant");
    }
    if form["redirect_uri"] != request["redirect_uri"] || form["grant_type"] != "authorization_code"
    {
        return refuse("invalid_request");
    }
    let mut answer =
        json!({ "access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 60 });
    if fault == Some(Fault::Huge) {
        answer["padding"] = "x".repeat(1024 * 1024).into();
    }
    if fault != Some(Fault::NoIdToken) {
        answer["id_token"] = issuer.id_token(&request["nonce"], ACCESS_TOKEN).into();
    }
    Json(answer).into_response()
}

async fn userinfo(State(issuer): State<Issuer>, headers: HeaderMap) -> Response {
    if headers[AUTHORIZATION] != format!("Bearer {ACCESS_TOKEN}") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Json(issuer.now().person.clone()).into_response()
}

/// An issuer that never answers; connections are taken and held.
pub(super) async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let slow = Router::new().fallback(async || tokio::time::sleep(Duration::from_secs(3600)).await);
    tokio::spawn(axum::serve(listener, slow).into_future());
    url
}
