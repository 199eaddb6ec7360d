//! The API through its front door, and the client that its tests share.

use quiz_web::token::Token;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::test_app::{Page, TestApp};

mod auth;
mod errors;
mod log;
mod openapi;
mod quizzes;
mod random;
mod users;
mod xml;

/// A program that calls the API as a user. It keeps no cookies.
#[derive(Clone)]
pub(crate) struct Api {
    http: Client,
    root: String,
    pub(crate) token: String,
}

impl TestApp {
    /// Gives a user a fresh token and tells it.
    pub(crate) async fn api_token(&self, username: &str) -> String {
        let token = Token::generate();
        let sql = "UPDATE users SET token_hash = $1, token_created_at = now() WHERE username = $2";
        let done = sqlx::query(sql)
            .bind(token.hash().as_slice())
            .bind(username)
            .execute(&self.pool)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1, "{username}");
        token.text()
    }

    /// A program that calls the API as that user.
    pub(crate) async fn api(&self, username: &str) -> Api {
        self.api_with(&self.api_token(username).await)
    }

    /// A program that calls the API with that token.
    pub(crate) fn api_with(&self, token: &str) -> Api {
        Api {
            http: Client::builder().no_proxy().build().unwrap(),
            root: format!("{}/api", self.url),
            token: token.to_owned(),
        }
    }
}

impl Api {
    /// A request without the token.
    pub(crate) fn bare(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.root))
    }

    /// A request with the token in its header.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let bearer = format!("Bearer {}", self.token);
        self.bare(method, path).header(AUTHORIZATION, bearer)
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Page {
        Page::read(self.request(method, path)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        self.send(Method::GET, path).await
    }

    /// The JSON of a reply that must be 200.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let page = self.get(path).await;
        page.assert_status(200);
        page.json()
    }
}

impl Page {
    /// The body as JSON, which the content type must name.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.bytes).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, error: &str) {
        self.assert_status(status);
        assert_eq!(self.json(), json!({ "error": error }));
    }
}
