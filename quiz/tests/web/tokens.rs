//! Tokens of the API: who makes, sees and revokes them.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{TestApp, wait_for};

#[sqlx::test(migrations = false)]
async fn fault_13_an_account_of_another_site_has_a_name_and_may_have_a_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.execute("INSERT INTO identities (provider, subject, user_id, profile_name) VALUES ('google', '123456789012345678901', 2, 'José Pérez')")
        .await;
    let pepe = app.logged_in("pepe").await;
    let own = pepe.get("/users/2").await;
    assert_eq!(own.texts(".facts dd")[3], "José Pérez (google)");
    assert_eq!(own.text("title"), "pepe · Quizstack");
    // There is no password to change here, neither for the user nor for an admin.
    assert!(
        !own.attributes("main a", "href")
            .contains(&"/users/2/edit".to_owned())
    );
    for browser in [&pepe, &app.logged_in("admin").await] {
        browser.get("/users/2/edit").await.assert_status(403);
        let put = [("_method", "PUT"), ("password", "Zebra-lamp-7")];
        browser
            .post_users("/users/2", &put)
            .await
            .assert_status(403);
    }
    pepe.post_users("/users/2/token", &[("_method", "PUT")])
        .await
        .assert_redirect("/users/2");
    assert_eq!(pepe.get("/users/2").await.text("code.secret").len(), 64);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_26_a_token_is_shown_once_stored_as_a_hash_and_expires(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--token-ttl-secs", "3600"]).await;
    let pepe = app.logged_in("pepe").await;
    let section = "section[aria-labelledby=token]";
    let before = pepe.get("/users/2").await;
    assert!(before.text(section).contains("You have no token."));
    let put = [("_method", "PUT")];
    pepe.post_users("/users/2/token", &put)
        .await
        .assert_redirect("/users/2");
    let page = pepe.get("/users/2").await;
    assert_eq!(
        page.text(".flash.success li"),
        "User Access Token created successfully."
    );
    let token = page.text("code.secret");
    assert_eq!((token.len(), hex::decode(&token).unwrap().len()), (64, 32));
    assert_eq!(page.header("cache-control"), "no-store");
    let again = pepe.get("/users/2").await;
    assert!(again.texts("code.secret").is_empty());
    assert!(!again.body().contains(&token));
    let stored: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM users WHERE id = 2")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_ne!(hex::encode(stored), token);
    let bearer = async |token: &str| {
        let request = app.browser().request(Method::GET, "/api/nothing");
        let reply = request.bearer_auth(token).send().await.unwrap();
        reply.status().as_u16()
    };
    assert_eq!(bearer(&token).await, 404);
    assert_eq!(bearer(&token.replace(&token[..1], "x")).await, 401);
    // A new one takes the place of the old one.
    pepe.post_users("/users/2/token", &put).await;
    let second = pepe.get("/users/2").await.text("code.secret");
    assert_eq!((bearer(&token).await, bearer(&second).await), (401, 404));
    app.execute("UPDATE users SET token_created_at = now() - interval '1 hour'")
        .await;
    assert_eq!(bearer(&second).await, 401);
    assert!(pepe.get("/users/2").await.text(section).contains("expired"));
    pepe.post_users("/users/2/token", &[("_method", "DELETE")])
        .await
        .assert_redirect("/users/2");
    let after = pepe.get("/users/2").await;
    assert_eq!(
        after.text(".flash.success li"),
        "User Access Token revoked."
    );
    assert!(after.text(section).contains("You have no token."));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn nobody_makes_or_sees_the_token_of_another_but_an_admin_may_revoke_it(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    let (put, delete) = ([("_method", "PUT")], [("_method", "DELETE")]);
    for (browser, other) in [(&pepe, 1), (&admin, 2)] {
        let path = format!("/users/{other}/token");
        browser.post_users(&path, &put).await.assert_status(403);
    }
    pepe.post_users("/users/2/token", &put).await;
    pepe.post_users("/users/1/token", &delete)
        .await
        .assert_status(403);
    let seen = admin.get("/users/2").await;
    assert!(seen.texts("section[aria-labelledby=token]").is_empty());
    admin
        .post_users("/users/2/token", &delete)
        .await
        .assert_redirect("/users/2");
    let tokens =
        "SELECT count(*) FROM users WHERE token_hash IS NOT NULL OR token_created_at IS NOT NULL";
    let left: i64 = sqlx::query_scalar(tokens)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
    app.browser()
        .post_form("/users/2/token", &put)
        .await
        .assert_redirect("/login");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_is_no_admin_any_more_revokes_no_token_of_another(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    pepe.post_users("/users/2/token", &[("_method", "PUT")])
        .await
        .assert_redirect("/users/2");
    // The role goes, under the lock of the roles, while the request is on its way.
    let mut change = app.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(i64::from_be_bytes(*b"\0\0admins"))
        .execute(&mut *change)
        .await
        .unwrap();
    sqlx::query("UPDATE users SET is_admin = false WHERE username = 'admin'")
        .execute(&mut *change)
        .await
        .unwrap();
    let fields = [("_method", "DELETE")];
    let revoke = admin.post_users("/users/2/token", &fields);
    let finish = async {
        let waits =
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
             AND wait_event = 'advisory')";
        wait_for(async || {
            let waiting: bool = sqlx::query_scalar(waits)
                .fetch_one(&app.pool)
                .await
                .unwrap();
            waiting
        })
        .await;
        change.commit().await.unwrap();
    };
    let (page, ()) = tokio::join!(revoke, finish);
    page.assert_status(403);
    let tokens: i64 = sqlx::query_scalar("SELECT count(token_hash) FROM users")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(tokens, 1);
    app.stop().await;
}
