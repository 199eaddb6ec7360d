//! The star of a quiz.

use reqwest::{Method, StatusCode};
use sqlx::PgPool;

use crate::test_app::{Browser, Page, TestApp};

/// The form of the first star on a page: where it leads, and its fields.
async fn star(browser: &Browser, path: &str) -> (String, Vec<(String, String)>) {
    let page = browser.get(path).await;
    let action = page.attributes(".favourite", "action").remove(0);
    let field = |name: &str| {
        let selector = format!(".favourite input[name={name}]");
        (
            name.to_owned(),
            page.attributes(&selector, "value").remove(0),
        )
    };
    (action, ["_csrf", "_method", "to"].map(field).to_vec())
}

async fn press(browser: &Browser, path: &str) -> Page {
    let (action, fields) = star(browser, path).await;
    Page::read(browser.request(Method::POST, &action).form(&fields)).await
}

async fn user_id(app: &TestApp, username: &str) -> i64 {
    sqlx::query_scalar("SELECT id FROM users WHERE username = $1")
        .bind(username)
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn the_star_makes_a_favourite_and_takes_it_back(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let list = "/quizzes?sort=oldest";
    let reply = press(&pepe, list).await;
    reply.assert_redirect("/quizzes?sort=oldest#quiz-1");
    let page = pepe.get(list).await;
    let pressed = page.attributes(".star", "aria-pressed");
    assert_eq!(pressed, ["true", "false", "false", "false"]);
    assert_eq!(
        page.texts(".star")[0],
        "Favourite: What is the capital of Italy? 1"
    );
    assert_eq!(
        pepe.get("/quizzes?sort=liked").await.texts("h2")[0],
        "What is the capital of Italy?"
    );
    let found = pepe.get("/quizzes?searchfavourites=1").await;
    assert_eq!(found.texts("h2"), ["What is the capital of Italy?"]);
    // Others see that somebody likes it, and their own stars.
    let admin = app.logged_in("admin").await;
    let page = admin.get("/quizzes/1/play").await;
    assert_eq!(page.attribute(".star", "aria-pressed"), "false");
    assert_eq!(page.text(".star .likes"), "1");
    let stranger = app.browser().get(list).await;
    assert_eq!(stranger.text(".meta .visually-hidden"), "liked by one user");
    assert!(stranger.texts(".favourite").is_empty());

    press(&pepe, "/quizzes/1/play")
        .await
        .assert_redirect("/quizzes/1/play#quiz-1");
    assert_eq!(app.rows("favourites").await, 0);
    let page = pepe.get("/quizzes/1/play").await;
    assert_eq!(page.attribute(".star", "aria-pressed"), "false");
    assert_eq!(page.text(".star .likes"), "0");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_script_is_told_ok_and_doing_it_twice_is_doing_it_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let (action, fields) = star(&pepe, "/quizzes/3/play").await;
    for method in ["PUT", "put", "DELETE", "DELETE"] {
        let mut fields = fields.clone();
        fields[1].1 = method.to_owned();
        let request = pepe.request(Method::POST, &action).form(&fields);
        let reply = Page::read(request.header("x-requested-with", "XMLHttpRequest")).await;
        assert_eq!(
            (reply.status, reply.body()),
            (StatusCode::OK, "OK".to_owned())
        );
        let likes: i32 = sqlx::query_scalar("SELECT likes FROM quizzes WHERE id = 3")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(likes, i32::from(method.eq_ignore_ascii_case("PUT")));
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn favourites_are_changed_by_their_user_or_an_admin_and_before_that_nothing_is_written(
    pool: PgPool,
) {
    let app = TestApp::start(pool).await;
    let (pepe, admin) = (user_id(&app, "pepe").await, user_id(&app, "admin").await);
    let path = |user, quiz| format!("/users/{user}/favourites/{quiz}");
    let stranger = app.browser();
    let fields = [("_method", "PUT")];
    stranger
        .post_form(&path(pepe, 1), &fields)
        .await
        .assert_redirect("/login");
    stranger
        .post_form(&path(pepe, 99), &fields)
        .await
        .assert_redirect("/login");
    let browser = app.logged_in("pepe").await;
    browser
        .post_form(&path(pepe, 1), &fields)
        .await
        .assert_status(403);
    let csrf = star(&browser, "/quizzes").await.1.remove(0).1;
    let put = [
        ("_csrf", csrf.as_str()),
        ("_method", "PUT"),
        ("to", "//evil.example"),
    ];
    for (path, status) in [
        (path(admin, 1), 403),
        (path(77, 1), 403),
        (path(pepe, 99), 404),
        (format!("/users/{pepe}/favourites/x"), 404),
    ] {
        browser.post_form(&path, &put).await.assert_status(status);
    }
    let delete = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    browser
        .post_form(&path(pepe, 99), &delete)
        .await
        .assert_status(404);
    let post = [("_csrf", csrf.as_str())];
    browser
        .post_form(&path(pepe, 1), &post)
        .await
        .assert_status(405);
    assert_eq!(app.rows("favourites").await, 0);
    browser
        .post_form(&path(pepe, 1), &put)
        .await
        .assert_redirect("/");
    let admin = app.logged_in("admin").await;
    let csrf = star(&admin, "/quizzes").await.1.remove(0).1;
    let delete = [("_csrf", csrf.as_str()), ("_method", "DELETE")];
    admin
        .post_form(&path(pepe, 1), &delete)
        .await
        .assert_redirect("/");
    assert_eq!(app.rows("favourites").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_21_no_address_changes_a_favourite_by_get(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let pepe = app.logged_in("pepe").await;
    let (action, _) = star(&pepe, "/quizzes").await;
    for method in ["PUT", "DELETE"] {
        pepe.get(&format!("{action}?_method={method}"))
            .await
            .assert_status(405);
    }
    assert_eq!(app.rows("favourites").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_script_of_the_star_is_served_as_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let page = browser.get("/quizzes").await;
    let scripts = page.attributes("script[type=module]", "src");
    assert!(
        scripts
            .iter()
            .any(|script| script.starts_with("/static/favourite-"))
    );
    for script in scripts {
        let script = browser.get(&script).await;
        script.assert_status(200);
        assert!(script.header("content-type").starts_with("text/javascript"));
    }
    app.stop().await;
}
