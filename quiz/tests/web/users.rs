//! The list of users and their pages.

use reqwest::Method;
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp};

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

    pub(crate) async fn delete_user(&self, id: i64) -> Page {
        self.post_users(&format!("/users/{id}"), &[("_method", "DELETE")])
            .await
    }

    pub(crate) async fn set_role(&self, id: i64, role: &str) -> Page {
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
