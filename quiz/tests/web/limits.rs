//! What is refused because it comes too often, to whom, and who is not.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, PASSWORD, Page, TestApp};

/// A visitor at an address of their own, in front of the log-in form.
struct Visitor {
    browser: Browser,
    address: String,
    csrf: String,
}

impl Visitor {
    async fn at(app: &TestApp, address: impl Into<String>) -> Self {
        let browser = app.browser();
        let csrf = browser.csrf("/login").await;
        Self {
            browser,
            address: address.into(),
            csrf,
        }
    }

    async fn try_password(&self, username: &str, password: &str) -> Page {
        let fields = [
            ("_csrf", self.csrf.as_str()),
            ("username", username),
            ("password", password),
        ];
        let request = self.browser.request(Method::POST, "/login");
        let request = request.header("x-forwarded-for", &self.address);
        Page::read(request.form(&fields)).await
    }
}

#[track_caller]
fn assert_too_many(page: &Page) {
    page.assert_status(429);
    let secs: u64 = page.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&secs), "{secs}");
}

fn count(pages: &[Page], status: StatusCode) -> usize {
    pages.iter().filter(|page| page.status == status).count()
}

#[sqlx::test(migrations = false)]
async fn after_ten_wrong_passwords_an_account_is_closed_to_the_address_and_to_no_other(
    pool: PgPool,
) {
    let app = TestApp::start(pool).await;
    let attacker = Visitor::at(&app, "203.0.113.1").await;
    for _ in 0..10 {
        let page = attacker.try_password("pepe", "wrong").await;
        page.assert_redirect("/login");
    }
    // Not even the right one now, however the name is written.
    for username in ["pepe", "PEPE"] {
        let page = attacker.try_password(username, PASSWORD).await;
        assert_too_many(&page);
        assert_eq!(
            page.text("#problem"),
            format!(
                "Too many wrong passwords. Try again in {} seconds.",
                page.header("retry-after")
            )
        );
        assert_eq!(page.attribute("#username", "value"), username);
        assert_eq!(page.attribute("#password", "aria-describedby"), "problem");
    }
    let neighbour = Visitor::at(&app, "203.0.113.2").await;
    let page = neighbour.try_password("pepe", PASSWORD).await;
    page.assert_redirect("/goback");
    // Somebody else at the same address is not concerned.
    let page = attacker.try_password("admin", PASSWORD).await;
    page.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn another_spelling_of_a_name_brings_no_more_tries(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-login", "3/3600"]).await;
    app.add_user("iris", false).await;
    // The second name is to the database the first one in capitals, and to Rust something else.
    for (name, other) in [("iris", "\u{130}RIS"), ("pepe", " PePe\u{a0}")] {
        let visitor = Visitor::at(&app, "203.0.113.1").await;
        let page = visitor.try_password(other, PASSWORD).await;
        page.assert_redirect("/goback");
        let attacker = Visitor::at(&app, "203.0.113.1").await;
        for _ in 0..3 {
            let page = attacker.try_password(name, "wrong").await;
            page.assert_redirect("/login");
        }
        assert_too_many(&attacker.try_password(other, PASSWORD).await);
    }
    // Nor do those of a name that nobody has: the answers would tell which is which.
    let attacker = Visitor::at(&app, "203.0.113.1").await;
    for _ in 0..3 {
        let page = attacker.try_password("inge", "wrong").await;
        page.assert_redirect("/login");
    }
    assert_too_many(&attacker.try_password("\u{130}nge", "wrong").await);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn only_wrong_passwords_count_and_a_right_one_wipes_them_out(pool: PgPool) {
    let app = TestApp::start_with(
        pool,
        &["--limit-login", "3/3600", "--limit-login-address", "5/3600"],
    )
    .await;
    for _ in 0..10 {
        let pupil = Visitor::at(&app, "203.0.113.1").await;
        let page = pupil.try_password("pepe", PASSWORD).await;
        page.assert_redirect("/goback");
    }
    for _ in 0..2 {
        let pupil = Visitor::at(&app, "203.0.113.1").await;
        for _ in 0..2 {
            let page = pupil.try_password("pepe", "wrong").await;
            page.assert_redirect("/login");
        }
        let page = pupil.try_password("pepe", PASSWORD).await;
        page.assert_redirect("/goback");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn accounts_that_do_not_exist_are_closed_like_those_that_do(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-login", "2/3600"]).await;
    let visitor = Visitor::at(&app, "203.0.113.1").await;
    for username in ["pepe", "nobody"] {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let page = visitor.try_password(username, "wrong").await;
            statuses.push(page.status.as_u16());
        }
        assert_eq!(statuses, [303, 303, 429], "{username}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn all_front_ends_count_together(pool: PgPool) {
    let first = TestApp::start(pool.clone()).await;
    let second = TestApp::start(pool).await;
    let here = Visitor::at(&first, "203.0.113.1").await;
    let there = Visitor::at(&second, "203.0.113.1").await;
    for _ in 0..5 {
        for visitor in [&here, &there] {
            let page = visitor.try_password("pepe", "wrong").await;
            page.assert_redirect("/login");
        }
    }
    for visitor in [&here, &there] {
        assert_too_many(&visitor.try_password("pepe", "wrong").await);
    }
    first.stop().await;
    second.stop().await;
}

#[sqlx::test(migrations = false)]
async fn two_hundred_wrong_passwords_at_once_do_not_lock_the_right_user_out(pool: PgPool) {
    // A slow machine must not earn itself another guess.
    let app = TestApp::start_with(pool, &["--limit-login", "10/86400"]).await;
    let attacker = Visitor::at(&app, "203.0.113.1").await;
    let attempts = (0..200).map(|_| attacker.try_password("pepe", "wrong"));
    let pages = join_all(attempts).await;
    // So many passwords were looked at, and not one more: they are counted before.
    assert_eq!(count(&pages, StatusCode::SEE_OTHER), 10);
    assert_eq!(count(&pages, StatusCode::TOO_MANY_REQUESTS), 190);
    let right = Visitor::at(&app, "203.0.113.2").await;
    let page = right.try_password("pepe", PASSWORD).await;
    page.assert_redirect("/goback");

    // From as many addresses: each is one guess, and the account is still open.
    let attackers = join_all((0..200).map(|n| Visitor::at(&app, format!("198.51.100.{n}")))).await;
    let attempts = attackers
        .iter()
        .map(|attacker| attacker.try_password("pepe", "wrong"));
    let pages = join_all(attempts).await;
    assert_eq!(count(&pages, StatusCode::TOO_MANY_REQUESTS), 0);
    let page = right.try_password("pepe", PASSWORD).await;
    assert_ne!(page.status, StatusCode::TOO_MANY_REQUESTS);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_address_that_tries_many_accounts_is_stopped_and_fills_no_table(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-login-address", "20/3600"]).await;
    let attacker = Visitor::at(&app, "203.0.113.1").await;
    for n in 0..20 {
        let username = format!("user-{n}");
        let page = attacker.try_password(&username, "Password1").await;
        page.assert_redirect("/login");
    }
    let rows = app.rows("throttles").await;
    for n in 20..30 {
        let username = format!("user-{n}");
        assert_too_many(&attacker.try_password(&username, "Password1").await);
    }
    assert_eq!(app.rows("throttles").await, rows);
    let neighbour = Visitor::at(&app, "203.0.113.2").await;
    let page = neighbour.try_password("user-1", "Password1").await;
    page.assert_redirect("/login");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_account_that_is_tried_from_everywhere_is_closed_in_the_end(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-login-account", "4/3600"]).await;
    for n in 0..4 {
        let attacker = Visitor::at(&app, format!("203.0.113.{n}")).await;
        let page = attacker.try_password("pepe", "wrong").await;
        page.assert_redirect("/login");
    }
    let next = Visitor::at(&app, "203.0.113.99").await;
    assert_too_many(&next.try_password("pepe", "wrong").await);
    let page = next.try_password("admin", PASSWORD).await;
    page.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_customer_with_many_ipv6_addresses_is_one_address(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-login", "2/3600"]).await;
    let mut statuses = Vec::new();
    for address in [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:db8:1:2:ffff::3",
        "2001:db8:1:3::1",
    ] {
        let visitor = Visitor::at(&app, address).await;
        statuses.push(visitor.try_password("pepe", "wrong").await.status.as_u16());
    }
    assert_eq!(statuses, [303, 303, 429, 303]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_stranger_does_not_escape_by_a_forged_address(pool: PgPool) {
    let settings = [
        "--limit-login",
        "2/3600",
        "--trusted-proxies",
        "192.0.2.0/24",
    ];
    let app = TestApp::start_with(pool, &settings).await;
    let mut statuses = Vec::new();
    for n in 0..3 {
        let visitor = Visitor::at(&app, format!("203.0.113.{n}")).await;
        statuses.push(visitor.try_password("pepe", "wrong").await.status.as_u16());
    }
    assert_eq!(statuses, [303, 303, 429]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_19_answers_that_are_checked_too_fast_are_refused(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-check", "3/3600"]).await;
    let browser = app.browser();
    let path = "/quizzes/1/check?answer=Rome";
    for _ in 0..3 {
        browser.get(path).await.assert_status(200);
    }
    let page = browser.get(path).await;
    assert_too_many(&page);
    assert_eq!(page.text("h1"), "Not so fast");
    assert!(!page.header("content-security-policy").is_empty());
    // Reading goes on, and so does everybody else.
    browser.get("/quizzes/1/play").await.assert_status(200);
    let request = browser.request(Method::GET, path);
    let page = Page::read(request.header("x-forwarded-for", "203.0.113.1")).await;
    page.assert_status(200);
    let metrics = Browser::new(app.admin_url.clone()).get("/metrics").await;
    let counted = "quiz_limited_total{limit=\"check\"} 1";
    assert!(metrics.body().contains(counted), "{}", metrics.body());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_class_behind_one_address_plays_without_being_stopped(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let path = "/quizzes/1/check?answer=Rome";
    let pages = join_all((0..400).map(|_| browser.get(path))).await;
    assert_eq!(count(&pages, StatusCode::OK), 400);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_19_uploads_that_come_too_fast_are_refused_before_they_are_read(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-upload", "2/3600"]).await;
    let browser = app.logged_in("pepe").await;
    for n in 0..2 {
        let quiz = NewQuiz::texts(&format!("Question {n}"), "x");
        assert_eq!(browser.create_quiz(quiz).await.status, 303);
    }
    // Its token is wrong too, but nobody has come that far.
    let quiz = NewQuiz::texts("Question 3", "x").image("a.png", vec![0; 3_000_000]);
    let page = browser.send_quiz(Some("wrong"), quiz).await;
    assert_too_many(&page);
    assert_eq!(app.rows("quizzes").await, 4 + 2);
    // Per user, not per address.
    let other = app.logged_in("admin").await;
    let page = other.create_quiz(NewQuiz::texts("Question 4", "x")).await;
    assert_eq!(page.status, 303);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_19_an_address_registers_only_so_many_accounts(pool: PgPool) {
    let settings = [
        "--open-registration",
        "true",
        "--limit-registration",
        "2/3600",
    ];
    let app = TestApp::start_with(pool, &settings).await;
    for (username, status) in [("ana", 303), ("eva", 303), ("leo", 429)] {
        let page = app.browser().register(username, "Zebra-lamp-7", None).await;
        page.assert_status(status);
    }
    // A form with an error makes no account, so it does not count.
    let page = app.browser().register("leo", "short", None).await;
    page.assert_status(422);
    // A new account has no share of its own.
    let ana = app.browser();
    ana.log_in("ana", "Zebra-lamp-7").await;
    let page = ana.register("leo", "Zebra-lamp-7", None).await;
    page.assert_status(429);
    // An admin is not the address.
    let admin = app.logged_in("admin").await;
    let page = admin.register("leo", "Zebra-lamp-7", None).await;
    page.assert_status(303);
    assert_eq!(app.rows("users").await, 2 + 3);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn steps_of_a_sign_in_elsewhere_are_limited(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-sign-in", "2/3600"]).await;
    let browser = app.browser();
    for (path, status) in [
        ("/auth/nobody", 404),
        ("/auth/nobody/callback", 404),
        ("/auth/nobody", 429),
        ("/auth/nobody/callback", 429),
    ] {
        browser.get(path).await.assert_status(status);
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn calls_of_the_api_are_limited_per_user_and_per_address(pool: PgPool) {
    let settings = ["--limit-api", "2/3600", "--limit-api-address", "5/3600"];
    let app = TestApp::start_with(pool, &settings).await;
    let mut statuses = Vec::new();
    for username in ["pepe", "admin"] {
        let token = app.api_token(username).await;
        for _ in 0..3 {
            let request = app
                .browser()
                .request(Method::GET, "/api/users/tokenOwner")
                .bearer_auth(&token);
            statuses.push(Page::read(request).await);
        }
    }
    let codes: Vec<u16> = statuses.iter().map(|page| page.status.as_u16()).collect();
    // The second user's last call is the sixth of the address.
    assert_eq!(codes, [200, 200, 429, 200, 200, 429]);
    let refused = statuses.pop().unwrap();
    assert_too_many(&refused);
    assert_eq!(refused.header("content-type"), "application/json");
    assert!(
        refused
            .body()
            .starts_with("{\"error\":\"That was too often")
    );
    // Guessing tokens is a call as well, and so is asking for what is not there.
    assert_too_many(&app.browser().get("/api/nothing").await);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_limit_of_zero_is_none(pool: PgPool) {
    let settings = [
        "--limit-login",
        "0",
        "--limit-login-address",
        "0",
        "--limit-login-account",
        "0",
        "--limit-upload",
        "0",
        "--limit-check",
        "0",
        "--limit-api",
        "0",
    ];
    let app = TestApp::start_with(pool, &settings).await;
    let visitor = Visitor::at(&app, "203.0.113.1").await;
    for _ in 0..15 {
        let page = visitor.try_password("pepe", "wrong").await;
        page.assert_redirect("/login");
    }
    let page = visitor.try_password("pepe", PASSWORD).await;
    page.assert_redirect("/goback");
    assert_eq!(app.rows("throttles").await, 0);
    app.stop().await;
}
