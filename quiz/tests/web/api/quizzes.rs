//! The rows of the contract about quizzes, their lists and favourites, as JSON.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::Api;
use crate::test_app::{Page, TestApp};

/// Follows `nextUrl` to the end and tells the ids page by page.
async fn pages(api: &Api, app: &TestApp, first: &str) -> Vec<Vec<i64>> {
    let mut pages = Vec::new();
    let mut next = first.to_owned();
    while !next.is_empty() {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request
            .get(format!("{}{next}", app.url))
            .bearer_auth(&api.token);
        let page = Page::read(request).await;
        page.assert_status(200);
        let list = page.json();
        assert_eq!(list["pageno"], pages.len() + 1);
        next = list["nextUrl"].as_str().unwrap().to_owned();
        let link = format!("<{next}>; rel=\"next\"");
        assert_eq!(
            page.header("link"),
            if next.is_empty() { "" } else { &link }
        );
        pages.push(ids(&list));
        assert!(pages.len() < 100, "{next} goes round in circles");
    }
    pages
}

fn ids(list: &Value) -> Vec<i64> {
    let quizzes = list["quizzes"].as_array().unwrap();
    quizzes
        .iter()
        .map(|quiz| quiz["id"].as_i64().unwrap())
        .collect()
}

/// Gives quiz 1 an author with a photo, and an attachment; pepe likes it.
pub(super) async fn dress_first_quiz(app: &TestApp) {
    for sql in [
        "INSERT INTO attachments (image_id, mime, width, height)
         VALUES ('face.png', 'image/png', 1, 1), ('rome.mp4', 'video/mp4', NULL, NULL)",
        "UPDATE users SET photo_id = (SELECT id FROM attachments WHERE image_id = 'face.png') WHERE id = 1",
        "UPDATE quizzes SET author_id = 1,
                attachment_id = (SELECT id FROM attachments WHERE image_id = 'rome.mp4') WHERE id = 1",
        "INSERT INTO favourites (user_id, quiz_id) VALUES (2, 1)",
    ] {
        sqlx::query(sql).execute(&app.pool).await.unwrap();
    }
}

fn first_quiz() -> Value {
    json!({
        "id": 1,
        "question": "What is the capital of Italy?",
        "author": {
            "id": 1, "isAdmin": true, "username": "admin",
            "accountTypeId": 0, "profileId": null, "profileName": null,
            "photo": {"filename": "face.png", "mime": "image/png", "url": "/images/face.png"},
        },
        "attachment": {"filename": "rome.mp4", "mime": "video/mp4", "url": "/images/rome.mp4"},
        "favourite": true,
    })
}

#[sqlx::test(migrations = false)]
async fn fault_2_a_quiz_has_the_keys_of_the_contract_and_no_answer(pool: PgPool) {
    let app = TestApp::start(pool).await;
    dress_first_quiz(&app).await;
    let api = app.api("pepe").await;
    assert_eq!(api.json("/quizzes/1").await, first_quiz());
    assert_eq!(api.json("/quizzes/1.json").await, first_quiz());
    let bare = json!({
        "id": 2, "question": "What is the capital of Portugal?",
        "author": null, "attachment": null, "favourite": false,
    });
    assert_eq!(api.json("/quizzes/2").await, bare);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_1_a_list_has_the_keys_of_the_contract(pool: PgPool) {
    let app = TestApp::start(pool).await;
    dress_first_quiz(&app).await;
    let api = app.api("pepe").await;
    for path in ["/quizzes?sort=oldest", "/quizzes.json?sort=oldest"] {
        let list = api.json(path).await;
        assert_eq!(list["quizzes"][0], first_quiz());
        assert_eq!(
            (ids(&list), &list["pageno"], &list["nextUrl"]),
            (vec![1, 2, 3, 4], &json!(1), &json!(""))
        );
        assert_eq!(list.as_object().unwrap().len(), 3);
    }
    let none = json!({"quizzes": [], "pageno": 1, "nextUrl": ""});
    assert_eq!(api.json("/quizzes?search=nothing").await, none);
    assert_eq!(api.json("/users/tokenOwner/quizzes").await, none);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_quizzes_of_a_user_are_found_by_id_and_by_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    dress_first_quiz(&app).await;
    let (pepe, admin) = (app.api("pepe").await, app.api("admin").await);
    for path in ["/users/1/quizzes", "/users/1/quizzes.json"] {
        assert_eq!(ids(&pepe.json(path).await), [1], "{path}");
    }
    for path in [
        "/users/tokenOwner/quizzes",
        "/users/tokenOwner/quizzes.json",
    ] {
        assert_eq!(ids(&admin.json(path).await), [1], "{path}");
    }
    assert_eq!(ids(&pepe.json("/users/2/quizzes").await), [0i64; 0]);
    pepe.get("/users/99/quizzes")
        .await
        .assert_error(404, "There is no user with id=99");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_4_fans_make_no_empty_pages_and_no_duplicates(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(64).await;
    let sql = "INSERT INTO users (username, password_hash) SELECT 'fan ' || n, 'x' FROM generate_series(1, 4) n";
    sqlx::query(sql).execute(&app.pool).await.unwrap();
    let sql = "INSERT INTO favourites (user_id, quiz_id) SELECT users.id, quizzes.id FROM users, quizzes WHERE username LIKE 'fan %'";
    sqlx::query(sql).execute(&app.pool).await.unwrap();
    let api = app.api("fan 1").await;
    let newest: Vec<i64> = (1..=68).rev().collect();
    for query in ["", "?sort=liked", "?searchfavourites=1", "?search=+"] {
        let pages = pages(&api, &app, &format!("/api/quizzes{query}")).await;
        let sizes: Vec<usize> = pages.iter().map(Vec::len).collect();
        assert_eq!(sizes, [10, 10, 10, 10, 10, 10, 8], "{query}");
        assert_eq!(pages.concat(), newest, "{query}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_list_of_ten_has_one_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(6).await;
    let api = app.api("pepe").await;
    assert_eq!(pages(&api, &app, "/api/quizzes").await.len(), 1);
    app.add_quizzes(1).await;
    assert_eq!(pages(&api, &app, "/api/quizzes").await.len(), 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn next_url_keeps_the_filters_and_leaves_the_token_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(30).await;
    let api = app.api("pepe").await;
    sqlx::query("INSERT INTO favourites (user_id, quiz_id) SELECT 2, id FROM quizzes")
        .execute(&app.pool)
        .await
        .unwrap();
    let query = format!(
        "search=quEstión&searchfavourites=yes&sort=liked&pageno=2&token={}",
        api.token
    );
    let page = Page::read(api.bare(Method::GET, &format!("/quizzes.json?{query}"))).await;
    page.assert_status(200);
    let next = page.json()["nextUrl"].as_str().unwrap().to_owned();
    let parameters = "search=quEsti%C3%B3n&searchfavourites=1&sort=liked&pageno=3&after=1-15";
    assert_eq!(next, format!("/api/quizzes.json?{parameters}"));
    assert!(!String::from_utf8_lossy(&page.bytes).contains(&api.token));
    let headers = page
        .headers
        .values()
        .filter_map(|value| value.to_str().ok());
    assert!(!headers.collect::<String>().contains(&api.token));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_8_what_cannot_be_a_list_is_400(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--list-max-jump", "5"]).await;
    let api = app.api("pepe").await;
    for query in [
        "pageno=-1".to_owned(),
        "pageno=0".to_owned(),
        "pageno=x".to_owned(),
        "pageno=99999999999".to_owned(),
        "pageno=6".to_owned(),
        "sort=random".to_owned(),
        "after=x".to_owned(),
        "after=99999999999999999999".to_owned(),
        "sort=liked&after=3".to_owned(),
        "search=%ff".to_owned(),
        format!("search={}", "x".repeat(256)),
    ] {
        let page = api.get(&format!("/quizzes?{query}")).await;
        page.assert_status(400);
        assert!(page.json()["error"].is_string(), "{query}");
    }
    for query in [
        "pageno=5",
        "search[]=x",
        "search=",
        "before=x",
        "searchfavourites=",
    ] {
        api.get(&format!("/quizzes?{query}"))
            .await
            .assert_status(200);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_8_a_missing_quiz_is_404(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for id in ["99", "0", "-1", "+1", "abc", "99999999999999999999", "%00"] {
        for path in [
            format!("/quizzes/{id}"),
            format!("/quizzes/{id}.json"),
            format!("/quizzes/{id}/check?answer=x"),
        ] {
            api.get(&path).await.assert_status(404);
        }
        let favourite = format!("/users/tokenOwner/favourites/{id}");
        for method in [Method::PUT, Method::DELETE] {
            api.send(method, &favourite).await.assert_status(404);
        }
    }
    api.get("/quizzes/99")
        .await
        .assert_error(404, "There is no quiz with id=99");
    let put = api
        .send(Method::PUT, "/users/tokenOwner/favourites/99")
        .await;
    put.assert_error(404, "There is no quiz with id=99");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_answer_is_checked_as_on_the_page(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for (query, answer, result) in [
        ("?answer=Rome", "Rome", true),
        ("?answer=+rOME%09", " rOME\t", true),
        ("?answer=a%26b%23c", "a&b#c", false),
        ("?answer=", "", false),
        ("", "", false),
    ] {
        let expected = json!({"quizId": 1, "answer": answer, "result": result});
        assert_eq!(
            api.json(&format!("/quizzes/1/check{query}")).await,
            expected
        );
    }
    api.get("/quizzes/1/check?answer=%ff")
        .await
        .assert_status(400);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_favourite_is_put_and_deleted_as_often_as_one_likes(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.api("pepe").await, app.api("admin").await);
    for (method, favourite, likes) in [
        (Method::PUT, true, 1),
        (Method::PUT, true, 1),
        (Method::DELETE, false, 0),
        (Method::DELETE, false, 0),
    ] {
        let page = pepe.send(method, "/users/tokenOwner/favourites/1").await;
        page.assert_status(200);
        assert_eq!(page.body(), "OK");
        assert!(page.header("content-type").starts_with("text/plain"));
        assert_eq!(pepe.json("/quizzes/1").await["favourite"], favourite);
        assert_eq!(admin.json("/quizzes/1").await["favourite"], false);
        let counted: i32 = sqlx::query_scalar("SELECT likes FROM quizzes WHERE id = 1")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(counted, likes);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_29_a_favourite_changes_by_its_own_method_only(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let path = "/users/tokenOwner/favourites/1";
    api.get(&format!("{path}?_method=PUT"))
        .await
        .assert_status(405);
    let post = api.request(Method::POST, &format!("{path}?_method=PUT"));
    Page::read(post.form(&[("_method", "PUT")]))
        .await
        .assert_status(405);
    assert_eq!(app.rows("favourites").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn favourites_of_many_at_once_are_all_counted(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.api("pepe").await, app.api("admin").await);
    let mut calls = tokio::task::JoinSet::new();
    for turn in 0..40 {
        let api = if turn % 2 == 0 {
            pepe.clone()
        } else {
            admin.clone()
        };
        let method = if turn % 4 < 2 {
            Method::PUT
        } else {
            Method::DELETE
        };
        calls.spawn(async move {
            api.send(method, "/users/tokenOwner/favourites/1")
                .await
                .status
        });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    for api in [&pepe, &admin] {
        api.send(Method::PUT, "/users/tokenOwner/favourites/1")
            .await
            .assert_status(200);
    }
    let counted: i32 = sqlx::query_scalar("SELECT likes FROM quizzes WHERE id = 1")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!((counted, app.rows("favourites").await), (2, 2));
    app.stop().await;
}
