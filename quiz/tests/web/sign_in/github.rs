//! A GitHub that consents to everything: OAuth 2 with its habits, and the one call of its API that matters.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use url::Url;

use super::keys::encode;

type Params = HashMap<String, String>;

#[derive(Clone)]
pub(super) struct GitHub(Arc<Shared>);

struct Shared {
    url: String,
    user: Mutex<(u64, String)>,
    codes: Mutex<HashMap<String, Params>>,
}

impl GitHub {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let github = Self(Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            user: Mutex::new((583_231, "octocat".to_owned())),
            codes: Mutex::default(),
        }));
        let router = Router::new()
            .route("/login/oauth/authorize", get(authorize))
            .route("/login/oauth/access_token", post(access_token))
            .route("/api/v3/user", get(user))
            .with_state(github.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        github
    }

    pub(super) fn url(&self) -> &str {
        &self.0.url
    }

    /// Who consents from now on.
    pub(super) fn user(&self, id: u64, login: &str) {
        *self.0.user.lock().unwrap() = (id, login.to_owned());
    }
}

async fn authorize(State(github): State<GitHub>, Query(params): Query<Params>) -> Redirect {
    assert_eq!(params["client_id"], "id");
    // Nothing of the account is asked for but who it is.
    assert!(!params.contains_key("scope"), "{params:?}");
    let mut back = Url::parse(&params["redirect_uri"]).unwrap();
    let code = format!("{:016x}", rand::random::<u64>());
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &params["state"]);
    github.0.codes.lock().unwrap().insert(code, params);
    Redirect::to(back.as_str())
}

async fn access_token(
    State(github): State<GitHub>,
    headers: HeaderMap,
    Form(form): Form<Params>,
) -> Response {
    assert_eq!(headers[ACCEPT], "application/json");
    let request = github.0.codes.lock().unwrap().remove(&form["code"]);
    let proven = request.is_some_and(|request| {
        request["code_challenge"] == encode(&Sha256::digest(&form["code_verifier"]))
            && request["redirect_uri"] == form["redirect_uri"]
    });
    if !proven || form["client_id"] != "id" || form["client_secret"] != "secret" {
        // GitHub says 200 to that.
        return Json(json!({ "error": "bad_verification_code", "error_description": "…" }))
            .into_response();
    }
    Json(json!({ "access_token": "gho_x", "scope": "", "token_type": "bearer" })).into_response()
}

async fn user(State(github): State<GitHub>, headers: HeaderMap) -> Response {
    if headers[AUTHORIZATION] != "Bearer gho_x" || !headers.contains_key(USER_AGENT) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (id, login) = github.0.user.lock().unwrap().clone();
    Json(json!({ "id": id, "login": login, "name": "The Octocat", "site_admin": false }))
        .into_response()
}
