//! Random play in the browser: no account, no script, any front-end.

use std::collections::BTreeSet;

use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp, png};

mod shared;

/// Begins a game and reads its first page.
async fn start(browser: &Browser) -> Page {
    let csrf = browser.csrf("/random").await;
    let started = browser.post_form("/random", &[("_csrf", &csrf)]).await;
    started.assert_redirect("/random");
    browser.get("/random").await
}

/// The question on a page, by its id.
fn asked(page: &Page) -> i64 {
    page.attribute("form input[name=quiz]", "value")
        .parse()
        .unwrap()
}

/// Sends the form of `page` with an answer.
async fn send(browser: &Browser, page: &Page, answer: &str) -> Page {
    let csrf = page.attribute("main input[name=_csrf]", "value");
    let quiz = asked(page).to_string();
    let fields = [
        ("_csrf", csrf.as_str()),
        ("quiz", &quiz),
        ("answer", answer),
    ];
    browser.post_form("/random/answer", &fields).await
}

/// Answers the question of `page` and follows the redirect.
async fn answer(browser: &Browser, page: &Page, answer: &str) -> Page {
    send(browser, page, answer).await.assert_redirect("/random");
    browser.get("/random").await
}

async fn right_answer(app: &TestApp, page: &Page) -> String {
    sqlx::query_scalar("SELECT answer FROM quizzes WHERE id = $1")
        .bind(asked(page))
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

async fn best_score(app: &TestApp, username: &str) -> i32 {
    sqlx::query_scalar("SELECT best_score FROM users WHERE username = $1")
        .bind(username)
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

async fn execute(app: &TestApp, sql: &'static str) {
    sqlx::query(sql).execute(&app.pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn the_invitation_leaves_no_row_and_the_start_leaves_one(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let invitation = browser.get("/random").await;
    invitation.assert_status(200);
    assert_eq!(invitation.text("h1"), "Random play");
    assert_eq!(app.rows("games").await, 0);
    let question = start(&browser).await;
    assert!(question.text("h1").starts_with("What is the capital of"));
    assert_eq!(app.rows("games").await, 1);
    // Reading it again changes nothing.
    assert_eq!(asked(&browser.get("/random").await), asked(&question));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_question_comes_with_its_author_and_its_picture(pool: PgPool) {
    let app = TestApp::start(pool).await;
    execute(&app, "DELETE FROM quizzes").await;
    let quiz = NewQuiz::texts("Which <b>colour</b> is this?", "Blue");
    let author = app.logged_in("pepe").await;
    author.create_quiz(quiz.image("a.png", png(40, 30))).await;
    let page = start(&app.browser()).await;
    assert_eq!(page.text("h1"), "Which <b>colour</b> is this?");
    assert_eq!(page.text(".kicker"), "Question by pepe");
    let picture = page.attribute("img.picture", "src");
    app.browser().get(&picture).await.assert_status(200);
    assert!(!page.attribute("img.picture", "alt").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_game_speaks_spanish(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let fields = [("to", "/random"), ("language", "es")];
    browser
        .post_form("/language", &fields)
        .await
        .assert_redirect("/random");
    let page = start(&browser).await;
    assert!(page.text("main").contains("Puntuación: 0"));
    let right = right_answer(&app, &page).await;
    let page = answer(&browser, &page, &right).await;
    assert_eq!(page.text(".verdict"), "✓ ¡Correcto! El primer punto.");
    let over = answer(&browser, &page, "Atlantis").await;
    assert_eq!(over.text("h1"), "Incorrecto. Fin de la partida.");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn every_question_comes_exactly_once_and_then_no_more(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(26).await;
    let browser = app.browser();
    let mut page = start(&browser).await;
    let mut seen = BTreeSet::new();
    for score in 1..=30 {
        assert!(seen.insert(asked(&page)), "a question came twice");
        let right = right_answer(&app, &page).await;
        page = answer(&browser, &page, &right).await;
        assert!(page.text("main").contains(&format!("Score: {score}")));
    }
    assert_eq!(page.text("h1"), "You have answered all questions");
    assert!(page.texts("input[name=answer]").is_empty());
    // What was resolved is of no use any more.
    assert_eq!(app.rows("game_quizzes").await, 0);
    start(&browser).await.attribute("input#answer", "name");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_answer_ends_the_game_and_gives_no_answer_away(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let first = start(&browser).await;
    let right = right_answer(&app, &first).await;
    let second = answer(&browser, &first, &format!("  {} ", right.to_uppercase())).await;
    assert_eq!(second.text(".verdict"), "✓ Right! The first point.");
    assert!(second.text("title").starts_with("Right!"));
    let (question, right) = (second.text("h1"), right_answer(&app, &second).await);
    let over = answer(&browser, &second, "Atlantis").await;
    assert_eq!(over.text("h1"), "Wrong. Game over.");
    assert_eq!(over.text(".kicker"), question);
    assert_eq!(over.text(".score"), "Score: 1");
    assert!(!over.body().contains(&right));
    // A reload tells the same.
    assert_eq!(browser.get("/random").await.text("h1"), over.text("h1"));
    let again = start(&browser).await;
    assert!(again.text("main").contains("Score: 0"));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn an_old_form_changes_nothing_and_leads_to_the_open_question(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let first = start(&browser).await;
    let right = right_answer(&app, &first).await;
    let second = answer(&browser, &first, &right).await;
    for repeated in [right.as_str(), "Atlantis"] {
        let page = answer(&browser, &first, repeated).await;
        assert_eq!(asked(&page), asked(&second));
        assert!(page.text("main").contains("Score: 1"));
    }
    let right = right_answer(&app, &second).await;
    let over = answer(&browser, &second, "Atlantis").await;
    assert_eq!(over.text("h1"), "Wrong. Game over.");
    let late = answer(&browser, &second, &right).await;
    assert_eq!(late.text("h1"), "Wrong. Game over.");
    assert_eq!(late.text(".score"), "Score: 1");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_blank_answer_is_asked_for_again(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let question = start(&browser).await;
    let page = send(&browser, &question, " \t").await;
    page.assert_status(422);
    assert_eq!(asked(&page), asked(&question));
    assert_eq!(page.text("#answer-error"), "Write an answer first.");
    assert_eq!(
        page.attribute("input[aria-invalid=true]", "aria-describedby"),
        "answer-error"
    );
    let right = right_answer(&app, &question).await;
    let next = answer(&browser, &page, &right).await;
    assert!(next.text("main").contains("Score: 1"));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn moves_need_the_token_of_the_form(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let question = start(&browser).await;
    let quiz = asked(&question).to_string();
    for path in ["/random", "/random/next", "/random/answer"] {
        let fields = [("quiz", quiz.as_str()), ("answer", "Atlantis")];
        browser.post_form(path, &fields).await.assert_status(403);
    }
    assert_eq!(asked(&browser.get("/random").await), asked(&question));
    // A form of nothing that was asked is no move either.
    let csrf = question.attribute("main input[name=_csrf]", "value");
    for quiz in ["", "x", "-1", "99999999999999999999"] {
        let fields = [("_csrf", csrf.as_str()), ("quiz", quiz), ("answer", "x")];
        let page = browser.post_form("/random/answer", &fields).await;
        page.assert_redirect("/random");
    }
    assert_eq!(asked(&browser.get("/random").await), asked(&question));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_best_score_of_a_user_only_grows(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    for (rights, best) in [(2, 2), (1, 2), (3, 3)] {
        let mut page = start(&browser).await;
        for _ in 0..rights {
            let right = right_answer(&app, &page).await;
            page = answer(&browser, &page, &right).await;
        }
        assert_eq!(best_score(&app, "pepe").await, best);
        let over = answer(&browser, &page, "Atlantis").await;
        let expected = if rights == best {
            "This is your best score!".to_owned()
        } else {
            format!("Best score: {best}")
        };
        assert_eq!(over.text(".meta"), expected);
    }
    assert_eq!(best_score(&app, "admin").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_question_that_is_removed_in_mid_game_costs_nothing(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.browser();
    let first = start(&browser).await;
    let right = right_answer(&app, &first).await;
    let second = answer(&browser, &first, &right).await;
    let remove = async |page: &Page| {
        sqlx::query("DELETE FROM quizzes WHERE id = $1")
            .bind(asked(page))
            .execute(&app.pool)
            .await
            .unwrap();
    };
    // Removed while the player looks away: the page offers the next one.
    remove(&second).await;
    let waiting = browser.get("/random").await;
    assert_eq!(waiting.text("h1"), "Ready for the next question?");
    let csrf = waiting.attribute("main input[name=_csrf]", "value");
    let next = browser.post_form("/random/next", &[("_csrf", &csrf)]).await;
    next.assert_redirect("/random");
    let third = browser.get("/random").await;
    assert!(third.text("main").contains("Score: 1"));
    // Removed while the player writes: the answer counts for nothing, and the last question comes.
    remove(&third).await;
    let fourth = answer(&browser, &third, "Atlantis").await;
    assert!(fourth.text("main").contains("Score: 1"));
    // The end is still told when the question that was missed has gone.
    let over = answer(&browser, &fourth, "Atlantis").await;
    assert_eq!(over.text("h1"), "Wrong. Game over.");
    remove(&fourth).await;
    let over = browser.get("/random").await;
    assert_eq!(over.text("h1"), "Wrong. Game over.");
    assert!(over.texts(".kicker").is_empty());
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_site_without_questions_ends_the_game_at_once(pool: PgPool) {
    let app = TestApp::start(pool).await;
    execute(&app, "DELETE FROM quizzes").await;
    let over = start(&app.browser()).await;
    assert_eq!(over.text("h1"), "You have answered all questions");
    assert_eq!(over.text(".score"), "Score: 0");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_first_question_is_not_always_the_same(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(96).await;
    let browser = app.browser();
    let mut first = BTreeSet::new();
    for _ in 0..30 {
        first.insert(asked(&start(&browser).await));
    }
    // With equal chances 25 are to be expected.
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(app.rows("games").await, 1);
    app.stop().await;
}
