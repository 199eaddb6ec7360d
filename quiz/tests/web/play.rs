//! Reading and playing, without an account.

use sqlx::PgPool;

use crate::test_app::TestApp;

#[sqlx::test(migrations = false)]
async fn the_home_page_invites_to_play(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let home = app.browser().get("/").await;
    home.assert_status(200);
    assert_eq!(home.attribute("html", "lang"), "en");
    assert!(
        home.attributes("main a", "href")
            .contains(&"/quizzes".to_owned())
    );
    assert_eq!(
        home.texts("nav[aria-label=Main] a"),
        ["Home", "Quizzes", "Random play"]
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_list_shows_the_seeds_newest_first_and_no_answer(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let list = app.browser().get("/quizzes").await;
    let countries = ["France", "Spain", "Portugal", "Italy"];
    assert_eq!(
        list.texts("h2"),
        countries.map(|country| format!("What is the capital of {country}?"))
    );
    assert!(!list.body().contains("Lisbon"));
    assert!(list.texts("nav.pages").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn pages_of_ten_hold_every_quiz_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(21).await;
    // An edit moves a row in the table; the contract's fault 6 was that it then moved between pages.
    sqlx::query("UPDATE quizzes SET answer = 'y' WHERE id = 1")
        .execute(&app.pool)
        .await
        .unwrap();
    let browser = app.browser();
    let mut links = Vec::new();
    for (pageno, rows) in [(1, 10), (2, 10), (3, 5), (4, 0)] {
        let page = browser.get(&format!("/quizzes?pageno={pageno}")).await;
        page.assert_status(200);
        let found = page.attributes(".quiz-card a", "href");
        assert_eq!(found.len(), rows, "page {pageno}");
        links.extend(found);
    }
    let expected: Vec<String> = (1..=25)
        .rev()
        .map(|id| format!("/quizzes/{id}/play"))
        .collect();
    assert_eq!(links, expected);
    let second = browser.get("/quizzes?pageno=2").await;
    assert_eq!(second.text("nav.pages [aria-current=page]"), "Page 2");
    assert_eq!(
        second.attribute("nav.pages [rel=prev]", "href"),
        "/quizzes?pageno=1"
    );
    assert_eq!(
        second.attribute("nav.pages [rel=next]", "href"),
        "/quizzes?pageno=3&after=6"
    );
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_right_answer_is_right_in_any_case_and_with_spaces(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let question = browser.get("/quizzes/1/play").await;
    assert_eq!(question.text("h1"), "What is the capital of Italy?");
    assert_eq!(
        question.attribute("form.fields", "action"),
        "/quizzes/1/check"
    );
    assert_eq!(
        question.attribute("label[for=answer] ~ input", "name"),
        "answer"
    );
    for answer in ["Rome", "%20rOmE%09", "+ROME"] {
        let check = browser
            .get(&format!("/quizzes/1/check?answer={answer}"))
            .await;
        check.assert_status(200);
        assert!(
            check.text("h1").ends_with("is Right."),
            "{}",
            check.text("h1")
        );
        assert!(!check.texts("main a").contains(&"Try it again".to_owned()));
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_answer_offers_another_try_and_does_not_give_the_answer_away(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let check = app.browser().get("/quizzes/1/check?answer=Milan").await;
    assert_eq!(check.text("h1"), "The answer Milan is Wrong.");
    assert_eq!(check.text("h1 strong"), "Milan");
    assert_eq!(check.texts("main a")[0], "Try it again");
    assert!(!check.body().contains("Rome"));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_absent_answer_is_wrong_and_no_error(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let check = app.browser().get("/quizzes/1/check").await;
    check.assert_status(200);
    assert_eq!(check.text("h1"), "The answer is Wrong.");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_12_another_try_keeps_an_answer_of_special_characters(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let check = browser
        .get("/quizzes/1/check?answer=a%26b%23c+%2B%25%22%3C%C3%B1")
        .await;
    let again = check.attributes("main a", "href").remove(0);
    let question = browser.get(&again).await;
    assert_eq!(question.attribute("input#answer", "value"), "a&b#c +%\"<ñ");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn what_a_visitor_types_is_never_markup(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let attack = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in ["check", "play"] {
        let page = browser
            .get(&format!("/quizzes/1/{path}?answer={attack}"))
            .await;
        page.assert_status(200);
        assert!(page.texts("script:not([src])").is_empty(), "{path}");
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_18_visitors_and_probes_without_a_log_in_leave_no_row(pool: PgPool) {
    let app = TestApp::start(pool).await;
    for path in [
        "/quizzes/1/play",
        "/quizzes/1/check?answer=x",
        "/live",
        "/ready",
        "/nope",
    ] {
        let page = app.browser().get(path).await;
        assert!(page.headers.get("set-cookie").is_none(), "{path}");
    }
    // These have something to remember, but in the cookie.
    app.browser().get("/").await.assert_status(200);
    app.browser().get("/quizzes").await.assert_status(200);
    app.browser().get("/login").await.assert_status(200);
    app.browser()
        .get("/quizzes/new")
        .await
        .assert_redirect("/login");
    assert_eq!(app.rows("sessions").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn beyond_the_last_page_the_way_back_leads_to_the_last_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(21).await;
    let beyond = app.browser().get("/quizzes?pageno=4294967295").await;
    beyond.assert_status(200);
    assert_eq!(beyond.text("title"), "Quizzes · Quizstack");
    assert_eq!(
        beyond.attribute("nav.pages [rel=prev]", "href"),
        "/quizzes?pageno=3"
    );
    assert!(beyond.texts("nav.pages [rel=next]").is_empty());
    assert!(!beyond.text("main").contains("4294967295"));
    assert!(beyond.text(".empty").contains("no quizzes on this page"));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_site_without_quizzes_says_so(pool: PgPool) {
    let app = TestApp::start(pool).await;
    sqlx::query("DELETE FROM quizzes")
        .execute(&app.pool)
        .await
        .unwrap();
    for path in ["/quizzes", "/quizzes?pageno=2"] {
        let list = app.browser().get(path).await;
        assert!(list.text(".empty").contains("no quizzes yet"), "{path}");
        assert_eq!(list.text("title"), "Quizzes · Quizstack");
        assert!(list.texts("nav.pages").is_empty(), "{path}");
    }
    app.stop().await;
}
