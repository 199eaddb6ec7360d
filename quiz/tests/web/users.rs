//! The list of users, their pages, roles and tokens, and what is left when one goes.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp, png, wait_for};

impl TestApp {
    /// A new user with the password of the seeded ones.
    pub(crate) async fn add_user(&self, username: &str, is_admin: bool) -> i64 {
        let sql = "INSERT INTO users (username, password_hash, is_admin)
                   SELECT $1, password_hash, $2 FROM users WHERE username = 'pepe' RETURNING id";
        sqlx::query_scalar(sql)
            .bind(username)
            .bind(is_admin)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.pool).await.unwrap();
    }
}

impl Browser {
    /// Sends a form of a page of users; the token is that of the header, which every page has.
    pub(crate) async fn post_users(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.header_csrf().await;
        let mut all = vec![("_csrf", csrf.as_str())];
        all.extend(fields);
        self.post_form(path, &all).await
    }

    pub(crate) async fn header_csrf(&self) -> String {
        self.get("/login")
            .await
            .attribute("header input[name=_csrf]", "value")
    }

    async fn delete_user(&self, id: i64) -> Page {
        self.post_users(&format!("/users/{id}"), &[("_method", "DELETE")])
            .await
    }

    async fn set_role(&self, id: i64, role: &str) -> Page {
        self.post_users(&format!("/users/{id}/role"), &[("role", role)])
            .await
    }
}

#[sqlx::test(migrations = false)]
async fn users_are_listed_by_name_ten_on_a_page(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--list-max-jump", "2"]).await;
    app.execute("INSERT INTO users (username, password_hash) SELECT 'U' || n, '' FROM generate_series(10, 37) n")
        .await;
    app.execute("UPDATE users SET username = lower(username) WHERE id % 2 = 0")
        .await;
    let admin = app.logged_in("admin").await;
    let first = admin.get("/users").await;
    assert_eq!(first.text(".page-head .meta"), "more than 20 users");
    let names = first.texts(".person .name");
    assert_eq!(names.len(), 10);
    assert_eq!(names[..2], ["admin", "pepe"]);
    let second = admin.get("/users?pageno=2").await.texts(".person .name");
    // Beyond the numbered pages the list is walked, forth and back.
    let (mut page, mut walked) = (first, names.clone());
    for _ in 0..2 {
        let next = page.attribute("a[rel=next]", "href");
        page = admin.get(&next).await;
        walked.extend(page.texts(".person .name"));
    }
    assert_eq!(walked.len(), 30);
    assert_eq!(walked[10..20], second);
    assert!(page.texts("a[rel=next]").is_empty());
    let mut sorted = walked.clone();
    sorted.sort_by_key(|name| name.to_lowercase());
    assert_eq!(walked, sorted);
    let back = admin.get(&page.attribute("a[rel=prev]", "href")).await;
    assert_eq!(back.texts(".person .name"), second);
    let start = admin.get(&back.attribute("a[rel=prev]", "href")).await;
    assert_eq!(start.texts(".person .name"), names);
    // A number that leads too far leads nowhere, at no cost.
    let far = admin.get("/users?pageno=4000000000").await;
    far.assert_status(200);
    assert!(far.texts(".person").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_30_a_user_finds_only_those_who_have_published(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_user("ana", false).await;
    let pepe = app.logged_in("pepe").await;
    assert_eq!(pepe.get("/users").await.texts(".name"), ["pepe"]);
    let ana = app.logged_in("ana").await;
    ana.create_quiz(NewQuiz::texts("Who?", "Me")).await;
    assert_eq!(pepe.get("/users").await.texts(".name"), ["ana", "pepe"]);
    let admin = app.logged_in("admin").await;
    let all = admin.get("/users").await;
    assert_eq!(all.texts(".name"), ["admin", "ana", "pepe"]);
    assert_eq!(all.text(".page-head .meta"), "3 users");
    assert_eq!(
        all.texts(".tag"),
        ["local", "Administrator", "local", "local"]
    );
    // Whether somebody exists is not told before the log-in.
    for path in [
        "/users",
        "/users/1",
        "/users/99",
        "/users/99/edit",
        "/users/1/delete",
    ] {
        app.browser().get(path).await.assert_redirect("/login");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_count_of_published_quizzes_is_always_true(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let ana = app.add_user("ana", false).await;
    for change in [
        "INSERT INTO quizzes (question, answer, author_id) SELECT 'q', 'a', nullif(n % 4, 0) FROM generate_series(0, 22) n",
        "UPDATE quizzes SET likes = 1, author_id = author_id",
        "UPDATE quizzes SET author_id = 1 WHERE id % 5 = 0",
        "UPDATE quizzes SET author_id = NULL WHERE id % 7 = 0",
        "DELETE FROM quizzes WHERE id % 3 = 0",
        "DELETE FROM users WHERE id = 2",
        "DELETE FROM quizzes WHERE author_id = 1",
    ] {
        app.execute(change).await;
        let wrong = "SELECT count(*) FROM users
                     WHERE quizzes <> (SELECT count(*) FROM quizzes WHERE author_id = users.id)";
        let wrong: i64 = sqlx::query_scalar(wrong)
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(wrong, 0, "{change}");
    }
    let admin = app.logged_in("admin").await;
    let page = admin.get(&format!("/users/{ana}")).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM quizzes WHERE author_id = $1")
        .bind(ana)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(left > 0);
    assert_eq!(page.texts(".facts dd")[0], left.to_string());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_8_a_missing_user_is_not_found_and_a_bad_page_is_a_bad_request(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    for id in ["99", "0", "99999999999999999999", "-1", "x"] {
        for path in ["", "/edit", "/delete"] {
            let page = admin.get(&format!("/users/{id}{path}")).await;
            page.assert_status(404);
        }
    }
    admin.delete_user(99).await.assert_status(404);
    admin.set_role(99, "admin").await.assert_status(404);
    admin
        .post_users("/users/99/token", &[("_method", "DELETE")])
        .await
        .assert_status(404);
    for pageno in ["-1", "0", "x", ""] {
        let page = admin.get(&format!("/users?pageno={pageno}")).await;
        page.assert_status(400);
    }
    admin.set_role(2, "king").await.assert_status(400);
    for path in ["/users/2", "/users/2/token"] {
        let page = admin.post_users(path, &[("_method", "PATCH")]).await;
        page.assert_status(405);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_page_of_a_user_shows_more_to_the_user_and_to_admins(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.execute(
        "UPDATE users SET best_score = 7, created_at = '2020-05-04 12:00Z' WHERE username = 'pepe'",
    )
    .await;
    let pepe = app.logged_in("pepe").await;
    pepe.create_quiz(NewQuiz::texts("Who?", "Me")).await;
    app.add_user("ana", false).await;
    let ana = app.logged_in("ana").await;
    let admin = app.logged_in("admin").await;
    assert_eq!(
        pepe.get("/").await.texts(".account a[href='/users/2']"),
        ["Your profile"]
    );
    let own = pepe.get("/users/2").await;
    assert_eq!(own.text("h1"), "pepe");
    let facts = [
        "1",
        "7",
        "4 May 2020",
        "Local account: logs in here with a password",
        "User",
    ];
    assert_eq!(own.texts(".facts dd"), facts);
    assert_eq!(own.texts("h2"), ["API token"]);
    let by_admin = admin.get("/users/2").await;
    assert_eq!(by_admin.texts(".facts dd"), facts);
    assert_eq!(by_admin.texts("h2"), ["Role"]);
    let by_other = ana.get("/users/2").await;
    assert_eq!(by_other.texts(".facts dd"), facts[..3]);
    assert!(by_other.texts("h2").is_empty());
    assert_eq!(by_other.attributes("main a", "href"), ["/users/2/quizzes"]);
    app.stop().await;
}

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

#[sqlx::test(migrations = false)]
async fn fault_14_an_admin_grants_and_withdraws_the_role_of_admin(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    pepe.set_role(2, "admin").await.assert_status(403);
    admin.set_role(2, "admin").await.assert_redirect("/users/2");
    assert_eq!(
        admin.get("/users/2").await.text(".flash.success li"),
        "This user is an administrator now."
    );
    // At once, without a new log-in.
    assert_eq!(pepe.get("/users").await.texts(".name"), ["admin", "pepe"]);
    pepe.set_role(1, "user").await.assert_redirect("/users/1");
    admin.set_role(2, "user").await.assert_status(403);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_14_the_last_admin_stays(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    for refused in [admin.set_role(1, "user").await, admin.delete_user(1).await] {
        refused.assert_status(409);
        assert_eq!(
            refused.text(".flash.error li"),
            "This is the only administrator. Make somebody else an administrator first."
        );
        assert_eq!(refused.text("h1"), "admin");
    }
    assert_eq!(app.rows("users").await, 2);
    admin.set_role(2, "admin").await.assert_redirect("/users/2");
    admin.delete_user(1).await.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_14_admins_who_remove_each_other_at_once_leave_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for round in 0..4 {
        let mut admins = Vec::new();
        for n in 0..4 {
            let name = format!("admin-{round}-{n}");
            let id = app.add_user(&name, true).await;
            admins.push((id, app.logged_in(&name).await));
        }
        let ids: Vec<i64> = admins.iter().map(|(id, _)| *id).collect();
        sqlx::query("UPDATE users SET is_admin = id = ANY($1)")
            .bind(&ids)
            .execute(&app.pool)
            .await
            .unwrap();
        let mut tokens = Vec::new();
        for (_, admin) in &admins {
            tokens.push(admin.header_csrf().await);
        }
        // Everybody removes everybody, themselves included: half of them by taking the role, half by deleting.
        let changes = admins.iter().zip(&tokens).flat_map(|((_, admin), csrf)| {
            ids.iter().map(move |&id| async move {
                let (path, field) = match id % 2 {
                    0 => (format!("/users/{id}/role"), ("role", "user")),
                    _ => (format!("/users/{id}"), ("_method", "DELETE")),
                };
                let page = admin.post_form(&path, &[("_csrf", csrf), field]).await;
                assert!(!page.status.is_server_error(), "{}", page.body());
            })
        });
        futures::future::join_all(changes).await;
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM users WHERE is_admin")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(left, 1, "round {round}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_goes_leaves_the_quizzes_and_nothing_else(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    let quiz = NewQuiz::texts("Who?", "Me").image("photo.png", png(8, 8));
    pepe.create_quiz(quiz).await.assert_redirect("/quizzes/5");
    app.execute("INSERT INTO favourites (user_id, quiz_id) VALUES (1, 1), (2, 1), (2, 5)")
        .await;
    app.execute("INSERT INTO attachments (image_id, mime, width, height, released_at) VALUES ('face.png', 'image/png', 1, 1, NULL)")
        .await;
    app.execute("UPDATE users SET photo_id = (SELECT id FROM attachments WHERE image_id = 'face.png') WHERE id = 2")
        .await;
    admin.get("/users?pageno=1").await;
    let asked = admin.get("/users/2/delete").await;
    assert_eq!(asked.text("h1"), "Delete pepe?");
    assert_eq!(asked.attribute("main form", "action"), "/users/2");
    admin.delete_user(2).await.assert_redirect("/goback");
    admin
        .get("/goback")
        .await
        .assert_redirect("/users?pageno=1");
    let list = admin.get("/users?pageno=1").await;
    assert_eq!(list.text(".flash.success li"), "User deleted successfully.");
    assert_eq!(list.texts(".name"), ["admin"]);
    // The session of who has gone is none any more, at any page.
    assert!(pepe.get("/author").await.texts(".who").is_empty());
    let show = admin.get("/quizzes/5").await;
    assert!(show.text("main").contains("Anonymous"), "{}", show.body());
    let likes: Vec<i32> =
        sqlx::query_scalar("SELECT likes FROM quizzes WHERE id IN (1, 5) ORDER BY id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(likes, [1, 0]);
    // The photo is for the sweep, the picture of the quiz is not.
    let released: Vec<String> =
        sqlx::query_scalar("SELECT image_id FROM attachments WHERE released_at IS NOT NULL")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(released, ["face.png"]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_deletes_the_own_account_is_logged_out(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    assert!(
        pepe.get("/users/2/delete")
            .await
            .text("main")
            .contains("logged out")
    );
    pepe.delete_user(1).await.assert_status(403);
    pepe.get("/users/1/delete").await.assert_status(403);
    pepe.delete_user(2).await.assert_redirect("/goback");
    let home = pepe.get("/").await;
    assert!(home.texts(".who").is_empty());
    assert_eq!(home.text(".flash.success li"), "User deleted successfully.");
    assert_eq!(
        (app.rows("users").await, app.rows("sessions").await),
        (1, 0)
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_way_back_leads_past_the_list_of_who_has_gone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    for browser in [&pepe, &admin] {
        let list = browser.get("/users/2/quizzes?sort=oldest").await;
        list.assert_status(200);
        browser
            .get("/goback")
            .await
            .assert_redirect("/users/2/quizzes?sort=oldest");
        browser.get("/users/2/quizzes?sort=oldest").await;
    }
    pepe.delete_user(2).await.assert_redirect("/goback");
    for browser in [&pepe, &admin] {
        browser.get("/goback").await.assert_redirect("/");
    }
    let home = pepe.get("/").await;
    assert_eq!(home.text(".flash.success li"), "User deleted successfully.");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn two_who_like_the_same_quizzes_go_at_the_same_time(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(200).await;
    let admin = app.logged_in("admin").await;
    let csrf = admin.header_csrf().await;
    let mut ids = Vec::new();
    for name in ["ana", "eva", "luz", "mar"] {
        ids.push(app.add_user(name, false).await);
    }
    // In opposite orders, so that the cascades would meet half-way.
    for (n, id) in ids.iter().enumerate() {
        let order = if n % 2 == 0 { "id" } else { "-id" };
        let sql = format!(
            "INSERT INTO favourites (user_id, quiz_id) SELECT {id}, id FROM quizzes ORDER BY {order}"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&app.pool)
            .await
            .unwrap();
    }
    let (admin, csrf) = (&admin, csrf.as_str());
    let gone = ids.iter().map(|id| async move {
        let fields = [("_csrf", csrf), ("_method", "DELETE")];
        let page = admin.post_form(&format!("/users/{id}"), &fields).await;
        page.assert_redirect("/goback");
    });
    futures::future::join_all(gone).await;
    assert_eq!(app.rows("users").await, 2);
    assert_eq!(app.rows("favourites").await, 0);
    let liked: i64 = sqlx::query_scalar("SELECT count(*) FROM quizzes WHERE likes <> 0")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(liked, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_21_users_and_tokens_do_not_change_by_get_or_without_a_token(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    admin
        .get("/users/2?_method=DELETE")
        .await
        .assert_status(200);
    admin
        .get("/users/1/token?_method=PUT")
        .await
        .assert_status(405);
    for (path, field) in [
        ("/users/2", ("_method", "DELETE")),
        ("/users/2/token", ("_method", "DELETE")),
        ("/users/2/role", ("role", "admin")),
    ] {
        admin.post_form(path, &[field]).await.assert_status(403);
        let in_query = format!("{path}?{}={}", field.0, field.1);
        let page = admin.post_users(&in_query, &[]).await;
        assert!(page.status.is_client_error(), "{path}");
    }
    assert_eq!(app.rows("users").await, 2);
    let changed: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM users WHERE token_hash IS NOT NULL OR is_admin AND id = 2",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(changed, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_23_a_name_is_text_and_never_a_script(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let name = "');alert(1);//<script>&#39;";
    let id = app.add_user(name, false).await;
    let admin = app.logged_in("admin").await;
    for path in [
        "/users".to_owned(),
        format!("/users/{id}"),
        format!("/users/{id}/delete"),
        format!("/users/{id}/edit"),
    ] {
        let page = admin.get(&path).await;
        page.assert_status(200);
        assert!(page.text("main").contains(name), "{path}");
        assert!(!page.body().to_lowercase().contains("onclick"), "{path}");
        assert!(
            page.attributes("script", "src")
                .iter()
                .all(|src| src.starts_with("/static/"))
        );
        assert!(page.texts("script").iter().all(String::is_empty));
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_pages_of_users_speak_spanish(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.execute("UPDATE users SET created_at = '2020-05-04 12:00Z'")
        .await;
    let admin = app.logged_in("admin").await;
    let get = async |path: &str| {
        let request = admin.request(Method::GET, path);
        Page::read(request.header("accept-language", "es")).await
    };
    assert_eq!(get("/users").await.text("h1"), "Usuarios");
    let show = get("/users/2").await;
    assert_eq!(show.texts(".facts dd")[2], "4 de mayo de 2020");
    assert_eq!(get("/users/2/delete").await.text("h1"), "¿Borrar a pepe?");
    assert_eq!(get("/users/new").await.text("h1"), "Nuevo usuario");
    assert_eq!(get("/users/2/edit").await.text("h1"), "Editar pepe");
    app.stop().await;
}
