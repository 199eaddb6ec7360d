//! The description of the API says what the API does.

use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;

use crate::test_app::{Page, TestApp};

const COMMITTED: &str = include_str!("../../../../docs/openapi.json");

/// The methods that an operation may have.
const METHODS: [Method; 5] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::PATCH,
];

#[test]
fn the_committed_description_is_the_one_of_the_code() {
    let committed: Value = serde_json::from_str(COMMITTED).unwrap();
    let current = serde_json::to_value(quiz_web::api::openapi::document()).unwrap();
    assert_eq!(
        committed, current,
        "docs/openapi.json is out of date: run `make openapi`"
    );
}

#[test]
fn every_operation_has_a_name_of_its_own() {
    let document: Value = serde_json::from_str(COMMITTED).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    let mut names: Vec<&str> = operations
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
}

#[sqlx::test(migrations = false)]
async fn the_description_is_served_without_a_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let page = app.browser().get("/api/openapi.json").await;
    page.assert_status(200);
    let served = page.json();
    assert_eq!(served, serde_json::from_str::<Value>(COMMITTED).unwrap());
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(
        served["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn every_operation_of_the_contract_is_described(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let served = app.browser().get("/api/openapi.json").await.json();
    for (method, path) in [
        ("get", "/users"),
        ("get", "/users/tokenOwner"),
        ("get", "/users/{userId}"),
        ("get", "/users/{userId}/quizzes"),
        ("get", "/users/tokenOwner/quizzes"),
        ("put", "/users/tokenOwner/favourites/{quizId}"),
        ("delete", "/users/tokenOwner/favourites/{quizId}"),
        ("get", "/quizzes"),
        ("get", "/quizzes/{quizId}"),
        ("get", "/quizzes/{quizId}/check"),
        ("get", "/quizzes/random"),
        ("get", "/quizzes/random10wa"),
        ("get", "/quizzes/randomPlay/new"),
        ("get", "/quizzes/randomPlay/next"),
        ("get", "/quizzes/randomPlay/check"),
    ] {
        assert!(served["paths"][path][method].is_object(), "{method} {path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn exactly_the_described_operations_exist(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let served = app.browser().get("/api/openapi.json").await.json();
    for (template, operations) in served["paths"].as_object().unwrap() {
        let path = template.replace("{userId}", "1").replace("{quizId}", "1");
        for method in METHODS {
            let described = operations.get(method.as_str().to_lowercase()).is_some();
            let page = api.send(method.clone(), &path).await;
            let unknown = page.body().contains("Ruta API no encontrada");
            let exists = page.status != 405 && !unknown;
            assert_eq!(exists, described, "{method} {path}: {}", page.status);
            if described {
                let status = page.status.as_u16().to_string();
                let replies = &operations[method.as_str().to_lowercase()]["responses"];
                for status in [status.as_str(), "400", "401", "429", "503"] {
                    let reply = &replies[status];
                    assert!(reply.is_object(), "{method} {path} replies {status}");
                }
            }
        }
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn every_reply_has_the_shape_that_is_described(pool: PgPool) {
    let app = TestApp::start(pool).await;
    super::quizzes::dress_first_quiz(&app).await;
    let api = app.api("pepe").await;
    api.json("/quizzes/randomPlay/new").await;
    let document = app.browser().get("/api/openapi.json").await.json();
    for (path, schema) in [
        ("/quizzes", "QuizzesJson"),
        ("/quizzes/1", "QuizJson"),
        ("/quizzes/1/check?answer=x", "CheckJson"),
        ("/quizzes/randomPlay/check", "VerdictJson"),
        ("/users/1", "UserJson"),
    ] {
        let reply = api.json(path).await;
        let described = &document["components"]["schemas"][schema];
        let properties = described["properties"].as_object().unwrap();
        let keys: Vec<&String> = reply.as_object().unwrap().keys().collect();
        let mut expected: Vec<&String> = properties.keys().collect();
        expected.sort_unstable();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, expected, "{path}");
        // What is null is there, in JSON.
        assert_eq!(
            described["required"].as_array().unwrap().len(),
            keys.len(),
            "{path}"
        );
    }
    let error = Page::read(api.bare(Method::GET, "/quizzes")).await.json();
    assert!(document["components"]["schemas"]["ErrorJson"]["properties"]["error"].is_object());
    assert!(error["error"].is_string());
    app.stop().await;
}
