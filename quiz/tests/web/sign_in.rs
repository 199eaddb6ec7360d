//! Sign-in with other sites, against an issuer and a GitHub that the tests run themselves.

use futures::future::join_all;
use quiz_web::db;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, StatusCode, redirect};
use serde_json::json;
use sqlx::PgPool;

mod github;
mod issuer;
mod keys;
mod refusals;

use crate::test_app::{Browser, PASSWORD, Page, TestApp, wait_for};
use github::GitHub;
use issuer::{CLIENT_ID, CLIENT_SECRET, Issuer};
use keys::Key;

/// Where visitors find the site. No test reaches it by that name: what leads there is taken to the site under test.
const PUBLIC_URL: &str = "https://quiz.example";

const FAILED: &str = "Errors: Authentication has failed. Retry it again.";
const AWAY: &str = "Errors: The site you wanted to sign in with does not answer at the moment. Try again in a few seconds.";

/// A site with one issuer, under the name `oidc`.
async fn site(pool: PgPool, issuer: &str, more: &[&str]) -> TestApp {
    let settings = [
        "--public-url",
        PUBLIC_URL,
        "--oidc-issuer",
        issuer,
        "--oidc-client-id",
        CLIENT_ID,
        "--oidc-client-secret",
        CLIENT_SECRET,
        "--oidc-name",
        "Example",
    ];
    TestApp::start_with(pool, &[&settings[..], more].concat()).await
}

/// The way to the provider and back: the path of the callback, with what the provider says.
async fn consent(start: &Page) -> String {
    assert_eq!(start.status, StatusCode::SEE_OTHER, "{}", start.body());
    let provider = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let page = Page::read(provider.get(start.header("location"))).await;
    let back = page.header("location").strip_prefix(PUBLIC_URL);
    back.unwrap_or_else(|| panic!("{}: {}", page.status, page.body()))
        .to_owned()
}

async fn sign_in(browser: &Browser, provider: &str) -> Page {
    let start = browser.get(&format!("/auth/{provider}")).await;
    browser.get(&consent(&start).await).await
}

/// The cookies that a reply sets, as a request sends them.
fn cookies(page: &Page) -> String {
    let set = page.headers.get_all(SET_COOKIE).iter();
    let pairs = set.map(|cookie| {
        cookie
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    });
    pairs.collect::<Vec<_>>().join("; ")
}

/// Username, profile name and subject of everybody who came from another site.
async fn identities(app: &TestApp) -> Vec<(String, String, String)> {
    let sql = "SELECT username, profile_name, subject FROM identities JOIN users ON id = user_id ORDER BY id";
    sqlx::query_as(sql).fetch_all(&app.pool).await.unwrap()
}

async fn assert_refused(app: &TestApp, browser: &Browser, page: &Page, message: &str) {
    page.assert_redirect("/login");
    let login = browser.get("/login").await;
    assert_eq!(login.text(".flash"), message);
    assert!(login.texts(".who").is_empty());
    assert_eq!(app.rows("sessions").await, 0);
    assert_eq!(app.rows("identities").await, 0);
}

#[sqlx::test(migrations = false)]
async fn a_first_sign_in_makes_an_account_and_the_next_one_finds_it(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    let browser = app.browser();
    browser.get("/author").await;
    sign_in(&browser, "oidc").await.assert_redirect("/goback");
    browser.get("/goback").await.assert_redirect("/author");
    let page = browser.get("/author").await;
    assert_eq!(page.text(".flash.success li"), "Welcome!");
    assert!(
        page.text(".who").ends_with("AnnOnymous"),
        "{}",
        page.text(".who")
    );
    let subject = format!("{} 1", issuer.url());
    let ann = [
        "AnnOnymous".to_owned(),
        "AnnOnymous".to_owned(),
        subject.clone(),
    ];
    assert_eq!(identities(&app).await, [ann.clone().into()]);

    // The name has changed there; the account and its name here have not.
    issuer.person(json!({ "sub": "1", "name": "Ann Other", "preferred_username": "ann" }));
    let elsewhere = app.browser();
    sign_in(&elsewhere, "oidc").await.assert_redirect("/goback");
    assert_eq!(
        identities(&app).await,
        [("AnnOnymous".to_owned(), "ann".to_owned(), subject)]
    );
    assert_eq!(app.rows("users").await, 3);
    assert_eq!(app.rows("sessions").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn github_knows_its_users_by_number(pool: PgPool) {
    let github = GitHub::start().await;
    let api = format!("{}/api/v3/", github.url());
    let settings = [
        ["--public-url", PUBLIC_URL],
        ["--github-client-id", "id"],
        ["--github-client-secret", "secret"],
        ["--github-url", github.url()],
        ["--github-api-url", &api],
    ];
    let app = TestApp::start_with(pool, settings.as_flattened()).await;
    let browser = app.browser();
    sign_in(&browser, "github").await.assert_redirect("/goback");
    // Who takes a login that somebody has given up does not take the account with it.
    github.user(583_231, "octocat-of-old");
    sign_in(&app.browser(), "github")
        .await
        .assert_redirect("/goback");
    github.user(9_999_999, "octocat");
    sign_in(&app.browser(), "github")
        .await
        .assert_redirect("/goback");
    let subject = |id: u64| format!("{} {id}", github.url());
    let expected = [
        (
            "octocat".to_owned(),
            "octocat-of-old".to_owned(),
            subject(583_231),
        ),
        (
            "octocat-2".to_owned(),
            "octocat".to_owned(),
            subject(9_999_999),
        ),
    ];
    assert_eq!(identities(&app).await, expected);
    // A code that GitHub does not know is an error in a reply of status 200.
    let start = app.browser().get("/auth/github").await;
    let callback = consent(&start).await.replace("code=", "code=x");
    let browser = app.browser();
    let request = browser
        .request(Method::GET, &callback)
        .header(COOKIE, cookies(&start));
    Page::read(request).await.assert_redirect("/login");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_13_a_subject_of_21_digits_has_an_account(pool: PgPool) {
    let issuer = Issuer::start().await;
    let settings = [
        ["--public-url", PUBLIC_URL],
        ["--google-issuer", issuer.url()],
        ["--google-client-id", CLIENT_ID],
        ["--google-client-secret", CLIENT_SECRET],
    ];
    let app = TestApp::start_with(pool, settings.as_flattened()).await;
    issuer.person(json!({ "sub": "117000000000000000001", "name": "Ann" }));
    let browser = app.browser();
    sign_in(&browser, "google").await.assert_redirect("/goback");
    let found = identities(&app).await;
    assert!(found[0].2.ends_with(" 117000000000000000001"), "{found:?}");
    // One digit makes another user.
    issuer.person(json!({ "sub": "117000000000000000002", "name": "Bob" }));
    sign_in(&app.browser(), "google")
        .await
        .assert_redirect("/goback");
    assert_eq!(app.rows("identities").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_issuer_may_change_its_key(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    sign_in(&app.browser(), "oidc")
        .await
        .assert_redirect("/goback");
    issuer.change_key(Key::ec("second"));
    sign_in(&app.browser(), "oidc")
        .await
        .assert_redirect("/goback");
    assert_eq!(app.rows("identities").await, 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_name_that_is_not_in_the_token_is_asked_for(pool: PgPool) {
    let issuer = Issuer::start().await;
    issuer.tell_names_in_userinfo_only();
    let app = site(pool, issuer.url(), &[]).await;
    issuer.person(json!({ "sub": "1", "preferred_username": "ann" }));
    sign_in(&app.browser(), "oidc")
        .await
        .assert_redirect("/goback");
    // Nobody has to have a name.
    issuer.person(json!({ "sub": "2" }));
    sign_in(&app.browser(), "oidc")
        .await
        .assert_redirect("/goback");
    let names: Vec<_> = identities(&app)
        .await
        .into_iter()
        .map(|found| (found.0, found.1))
        .collect();
    assert_eq!(
        names,
        [
            ("ann".to_owned(), "ann".to_owned()),
            ("oidc".to_owned(), "oidc".to_owned())
        ]
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn many_first_sign_ins_at_once_make_one_user(pool: PgPool) {
    let issuer = Issuer::start().await;
    let first = site(pool.clone(), issuer.url(), &[]).await;
    let second = site(pool, issuer.url(), &[]).await;
    let mut ready = Vec::new();
    for n in 0..8 {
        let browser = first.browser();
        let callback = consent(&browser.get("/auth/oidc").await).await;
        // An attempt that one front-end began can be finished by another.
        ready.push((
            browser.at(if n % 2 == 0 { &first } else { &second }),
            callback,
        ));
    }
    let pages = join_all(
        ready
            .iter()
            .map(|(browser, callback)| browser.get(callback)),
    )
    .await;
    for page in &pages {
        page.assert_redirect("/goback");
    }
    assert_eq!(first.rows("users").await, 3);
    assert_eq!(first.rows("identities").await, 1);
    assert_eq!(first.rows("sessions").await, 8);
    first.stop().await;
    second.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_callback_that_makes_a_user_is_waited_for_by_the_next_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let make = async |transaction: &mut sqlx::PgConnection| {
        db::identities::find_or_create(transaction, "oidc", "ann", "ann", true).await
    };
    let mut first = app.pool.begin().await.unwrap();
    let mut second = app.pool.begin().await.unwrap();
    let ann = make(&mut first).await.unwrap();
    let (found, ()) = tokio::join!(make(&mut second), async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let waiting = async || {
            sqlx::query_scalar::<_, i64>(waiting)
                .fetch_one(&app.pool)
                .await
        };
        wait_for(async || waiting().await.unwrap() == 1).await;
        first.commit().await.unwrap();
    });
    assert_eq!(found.unwrap(), ann);
    second.commit().await.unwrap();
    assert_eq!(app.rows("users").await, 3);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_name_that_somebody_has_gets_a_number_in_whatever_case(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    for sub in ["1", "2"] {
        issuer.person(json!({ "sub": sub, "preferred_username": "Pepe" }));
        sign_in(&app.browser(), "oidc")
            .await
            .assert_redirect("/goback");
    }
    let names: Vec<_> = identities(&app)
        .await
        .into_iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(names, ["Pepe-2", "Pepe-3"]);
    // There is no password that opens such an account.
    for password in ["", PASSWORD] {
        let page = app.browser().log_in("Pepe-2", password).await;
        page.assert_redirect("/login");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn new_accounts_can_be_left_to_the_administrators(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &["--sign-in-creates-accounts", "false"]).await;
    let browser = app.browser();
    let page = sign_in(&browser, "oidc").await;
    let message = "Errors: You have no account here. Ask an administrator for one.";
    assert_refused(&app, &browser, &page, message).await;
    // Who has one gets in.
    let sql = "INSERT INTO identities (provider, subject, user_id, profile_name)
               SELECT 'oidc', $1, id, 'ann' FROM users WHERE username = 'pepe'";
    let subject = format!("{} 1", issuer.url());
    sqlx::query(sql)
        .bind(subject)
        .execute(&app.pool)
        .await
        .unwrap();
    sign_in(&browser, "oidc").await.assert_redirect("/goback");
    assert!(browser.get("/").await.text(".who").ends_with("pepe"));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn only_what_is_configured_is_offered(pool: PgPool) {
    let issuer = Issuer::start().await;
    let plain = TestApp::start(pool.clone()).await;
    assert!(
        plain
            .browser()
            .get("/login")
            .await
            .texts(".providers")
            .is_empty()
    );
    plain.browser().get("/auth/oidc").await.assert_status(404);
    plain
        .browser()
        .get("/auth/oidc/callback?code=x&state=x")
        .await
        .assert_status(404);
    plain.stop().await;

    let app = site(pool, issuer.url(), &[]).await;
    let browser = app.browser();
    assert_eq!(
        browser.get("/login").await.text(".providers a"),
        "Sign in with Example"
    );
    for other in ["github", "google", "twitter", "linkedin", "OIDC"] {
        browser
            .get(&format!("/auth/{other}"))
            .await
            .assert_status(404);
    }
    let spanish = browser
        .request(Method::GET, "/login")
        .header("accept-language", "es");
    assert_eq!(
        Page::read(spanish).await.text(".providers a"),
        "Entrar con Example"
    );
    app.stop().await;
}
