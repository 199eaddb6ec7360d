//! The rows of the contract about users.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::test_app::TestApp;

#[sqlx::test(migrations = false)]
async fn fault_1_a_user_has_the_keys_of_the_contract(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let pepe = json!({
        "id": 2, "isAdmin": false, "username": "pepe",
        "accountTypeId": 0, "profileId": null, "profileName": null, "photo": null,
    });
    assert_eq!(api.json("/users/2").await, pepe);
    assert_eq!(api.json("/users/tokenOwner").await, pepe);
    let admin = api.json("/users/1").await;
    assert_eq!(
        (&admin["username"], &admin["isAdmin"]),
        (&json!("admin"), &json!(true))
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_13_a_user_of_another_site_has_an_id_that_no_number_holds(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let sql = "INSERT INTO identities (provider, subject, user_id, profile_name)
               VALUES ('google', 'https://accounts.google.com 115203871904562200441', 2, 'PepePérez')";
    sqlx::query(sql).execute(&app.pool).await.unwrap();
    let sql = "WITH photo AS (INSERT INTO attachments (image_id, mime, width, height)
                              VALUES ('ab.png', 'image/png', 1, 1) RETURNING id)
               UPDATE users SET photo_id = photo.id FROM photo WHERE username = 'pepe'";
    sqlx::query(sql).execute(&app.pool).await.unwrap();
    let expected = json!({
        "id": 2, "isAdmin": false, "username": "pepe",
        "accountTypeId": 3, "profileId": "115203871904562200441", "profileName": "PepePérez",
        "photo": {"filename": "ab.png", "mime": "image/png", "url": "/images/ab.png"},
    });
    assert_eq!(api.json("/users/2").await, expected);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_8_a_missing_user_is_404(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    for id in [
        "99",
        "0",
        "-1",
        "abc",
        "2.json",
        "99999999999999999999",
        "%ff",
    ] {
        api.get(&format!("/users/{id}")).await.assert_status(404);
    }
    api.get("/users/99")
        .await
        .assert_error(404, "There is no user with id=99");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_30_users_see_authors_and_admins_see_everybody(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.api("pepe").await, app.api("admin").await);
    sqlx::query("INSERT INTO users (username, password_hash) VALUES ('zoe', 'x'), ('Bea', 'x')")
        .execute(&app.pool)
        .await
        .unwrap();
    sqlx::query(
        "UPDATE quizzes SET author_id = (SELECT id FROM users WHERE username = 'zoe') WHERE id = 1",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    assert_eq!(names(&pepe.json("/users").await), ["pepe", "zoe"]);
    let all = admin.json("/users").await;
    assert_eq!(names(&all), ["admin", "Bea", "pepe", "zoe"]);
    assert_eq!(all[2], pepe.json("/users/tokenOwner").await);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn more_users_than_one_reply_holds_follow_by_link(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.api("admin").await;
    let sql = "INSERT INTO users (username, password_hash) SELECT 'ñ &#' || n, 'x' FROM generate_series(1, 1500) n";
    sqlx::query(sql).execute(&app.pool).await.unwrap();
    let first = admin.get("/users").await;
    let link = first.header("link").to_owned();
    let next = link
        .strip_prefix("</api")
        .and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let second = admin.get(next.unwrap()).await;
    assert_eq!(second.header("link"), "");
    let mut found = names(&first.json());
    assert_eq!(found.len(), 1000);
    found.extend(names(&second.json()));
    assert_eq!(found.len(), 1502);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 1502);
    app.stop().await;
}

fn names(users: &Value) -> Vec<String> {
    let users = users.as_array().unwrap().iter();
    users
        .map(|user| user["username"].as_str().unwrap().to_owned())
        .collect()
}
