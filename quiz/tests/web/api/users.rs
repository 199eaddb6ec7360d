//! The rows of the contract about users.

use serde_json::json;
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
               VALUES ('google', '115203871904562200441', 2, 'PepePérez')";
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
