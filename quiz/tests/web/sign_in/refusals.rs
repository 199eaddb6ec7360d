//! Who is not signed in, and what happens instead.

use reqwest::Method;
use reqwest::header::{COOKIE, SET_COOKIE};
use sqlx::PgPool;

use super::issuer::{self, Fault, Issuer};
use super::{AWAY, FAILED, assert_refused, consent, cookies, sign_in, site};
use crate::test_app::{PASSWORD, Page, refusing, wait_for};

#[sqlx::test(migrations = false)]
async fn fault_32_nobody_is_signed_in_by_the_attempt_of_another_browser(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    // The link that an attacker sends: an own attempt, stopped before the last step.
    let callback = consent(&app.browser().get("/auth/oidc").await).await;
    let victim = app.browser();
    assert_refused(&app, &victim, &victim.get(&callback).await, FAILED).await;
    // The victim has an attempt under way, but it is not this one.
    victim.get("/auth/oidc").await;
    assert_refused(&app, &victim, &victim.get(&callback).await, FAILED).await;
    for nonsense in ["", "?state=", "?code=x", "?state=x&code=x"] {
        victim.get("/auth/oidc").await;
        let page = victim.get(&format!("/auth/oidc/callback{nonsense}")).await;
        assert_refused(&app, &victim, &page, FAILED).await;
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_attempt_is_encrypted_short_lived_and_good_once(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    let browser = app.browser();
    let start = browser.get("/auth/oidc").await;
    let cookie = start.header("set-cookie");
    for property in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"] {
        assert!(cookie.contains(property), "{cookie}");
    }
    let url = url::Url::parse(start.header("location")).unwrap();
    for (name, value) in url.query_pairs() {
        assert!(
            !(matches!(&*name, "state" | "nonce") && cookie.contains(&*value)),
            "{name}"
        );
    }
    let callback = consent(&start).await;
    let back = browser.get(&callback).await;
    back.assert_redirect("/goback");
    let mut set = back.headers.get_all(SET_COOKIE).iter();
    let forgets =
        |cookie: &str| cookie.starts_with("quiz_sign_in=;") && cookie.contains("Max-Age=0");
    assert!(set.any(|cookie| forgets(cookie.to_str().unwrap())));
    browser.log_out().await;
    browser.get(&callback).await.assert_redirect("/login");
    // Who kept a copy of it has a code that the issuer does not take twice.
    let thief = app.browser();
    let replay = thief
        .request(Method::GET, &callback)
        .header(COOKIE, cookies(&start));
    Page::read(replay).await.assert_redirect("/login");
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_stolen_code_is_worth_nothing_in_another_attempt(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    let stolen = consent(&app.browser().get("/auth/oidc").await).await;
    let code = stolen
        .split(['?', '&'])
        .find(|pair| pair.starts_with("code="))
        .unwrap();
    let thief = app.browser();
    let own = consent(&thief.get("/auth/oidc").await).await;
    let state = own
        .split(['?', '&'])
        .find(|pair| pair.starts_with("state="))
        .unwrap();
    let page = thief
        .get(&format!("/auth/oidc/callback?{state}&{code}"))
        .await;
    assert_refused(&app, &thief, &page, FAILED).await;
    assert_eq!(issuer.wrong_verifiers(), 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_answer_that_proves_nothing_signs_nobody_in(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    for (fault, message) in [
        (Fault::WrongNonce, FAILED),
        (Fault::NoNonce, FAILED),
        (Fault::WrongAudience, FAILED),
        (Fault::WrongIssuer, FAILED),
        (Fault::Expired, FAILED),
        (Fault::WrongSignature, FAILED),
        (Fault::NoSignature, FAILED),
        (Fault::SharedSecret, FAILED),
        (Fault::WrongAccessTokenHash, FAILED),
        (Fault::NoIdToken, FAILED),
        (Fault::EndlessSubject, FAILED),
        (Fault::Redirects, FAILED),
        (Fault::Huge, AWAY),
    ] {
        issuer.fault(Some(fault));
        let browser = app.browser();
        let page = sign_in(&browser, "oidc").await;
        assert_eq!(page.header("location"), "/login", "{fault:?}");
        assert_refused(&app, &browser, &page, message).await;
    }
    // Nothing else was wrong.
    issuer.fault(None);
    sign_in(&app.browser(), "oidc")
        .await
        .assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn who_refuses_is_back_at_the_log_in_and_not_asked_again(pool: PgPool) {
    let issuer = Issuer::start().await;
    let app = site(pool, issuer.url(), &[]).await;
    issuer.fault(Some(Fault::Refuses));
    let browser = app.browser();
    let page = sign_in(&browser, "oidc").await;
    assert_refused(&app, &browser, &page, FAILED).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_issuer_that_is_away_keeps_nobody_else_from_the_site(pool: PgPool) {
    let (socket, address) = refusing();
    let app = site(pool, &format!("http://{address}"), &[]).await;
    let browser = app.browser();
    let login = browser.get("/login").await;
    assert_eq!(login.attribute(".providers a", "href"), "/auth/oidc");
    assert_refused(&app, &browser, &browser.get("/auth/oidc").await, AWAY).await;
    browser
        .log_in("pepe", PASSWORD)
        .await
        .assert_redirect("/goback");
    // It comes back, and nothing has to be restarted.
    Issuer::on(socket.listen(16).unwrap());
    let visitor = app.browser();
    wait_for(async || visitor.get("/auth/oidc").await.header("location") != "/login").await;
    sign_in(&visitor, "oidc").await.assert_redirect("/goback");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_issuer_that_never_answers_is_not_waited_for(pool: PgPool) {
    let app = site(
        pool,
        &issuer::silent().await,
        &["--sign-in-timeout-ms", "50"],
    )
    .await;
    let browser = app.browser();
    assert_refused(&app, &browser, &browser.get("/auth/oidc").await, AWAY).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_address_cannot_make_the_site_ask_the_provider_without_end(pool: PgPool) {
    let issuer = Issuer::start().await;
    // Each sign-in has two steps.
    let app = site(pool, issuer.url(), &["--limit-sign-in", "4/3600"]).await;
    for _ in 0..2 {
        let page = sign_in(&app.browser(), "oidc").await;
        page.assert_redirect("/goback");
    }
    for path in ["/auth/oidc", "/auth/oidc/callback?code=x&state=x"] {
        app.browser().get(path).await.assert_status(429);
    }
    assert_eq!(app.rows("sessions").await, 2);
    app.stop().await;
}
