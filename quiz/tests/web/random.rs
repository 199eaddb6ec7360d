//! Random play in the browser: no account, no script, any front-end.

use std::collections::BTreeSet;

use futures::future::join_all;
use sqlx::PgPool;

use crate::test_app::{Browser, Page, TestApp, wait_for};

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
async fn a_game_goes_on_at_any_front_end(pool: PgPool) {
    let one = TestApp::start(pool.clone()).await;
    let other = TestApp::start(pool).await;
    let browser = one.browser();
    let mut page = start(&browser).await;
    for (score, app) in [(1, &other), (2, &one), (3, &other)] {
        let browser = browser.at(app);
        assert_eq!(asked(&browser.get("/random").await), asked(&page));
        let right = right_answer(app, &page).await;
        page = answer(&browser, &page, &right).await;
        assert!(page.text("main").contains(&format!("Score: {score}")));
    }
    assert_eq!(one.rows("games").await, 1);
    one.stop().await;
    other.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_user_has_one_game_in_all_browsers_and_a_stranger_another(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let (desk, phone) = (app.logged_in("pepe").await, app.logged_in("pepe").await);
    let question = start(&desk).await;
    let same = phone.get("/random").await;
    assert_eq!(asked(&same), asked(&question));
    let right = right_answer(&app, &same).await;
    let next = answer(&phone, &same, &right).await;
    assert_eq!(asked(&desk.get("/random").await), asked(&next));
    let stranger = app.browser().get("/random").await;
    assert_eq!(stranger.text("h1"), "Random play");
    let admin = app.logged_in("admin").await.get("/random").await;
    assert_eq!(admin.text("h1"), "Random play");
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
async fn fifty_right_answers_at_once_are_one_point(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    let other = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let page = start(&browser).await;
    let right = right_answer(&app, &page).await;
    let at_other = browser.at(&other);
    let answers = (0..50).map(|n| {
        let browser = if n % 2 == 0 { &browser } else { &at_other };
        send(browser, &page, &right)
    });
    for answered in join_all(answers).await {
        answered.assert_redirect("/random");
    }
    let next = browser.get("/random").await;
    assert!(next.text("main").contains("Score: 1"), "{}", next.body());
    assert_ne!(asked(&next), asked(&page));
    assert_eq!(best_score(&app, "pepe").await, 1);
    assert_eq!(app.rows("game_quizzes").await, 1);
    app.stop().await;
    other.stop().await;
}

#[sqlx::test(migrations = false)]
async fn players_and_those_who_remove_their_questions_do_not_block_each_other(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(40).await;
    let players = (0..6).map(async |_| {
        let browser = app.browser();
        let mut page = start(&browser).await;
        for _ in 0..12 {
            page.assert_status(200);
            page = if page.texts("input[name=quiz]").is_empty() {
                start(&browser).await
            } else {
                // Right for all but the seeds; either way a move.
                answer(&browser, &page, "x").await
            };
        }
    });
    let removal = async {
        for id in 5..=40_i64 {
            sqlx::query("DELETE FROM quizzes WHERE id = $1")
                .bind(id)
                .execute(&app.pool)
                .await
                .unwrap();
        }
    };
    tokio::join!(join_all(players), removal);
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

#[sqlx::test(migrations = false)]
async fn a_game_that_was_left_is_removed_and_a_running_one_is_not(pool: PgPool) {
    let settings = ["--session-purge-secs", "1", "--game-ttl-secs", "3600"];
    let app = TestApp::start_with(pool, &settings).await;
    let (left, running) = (app.browser(), app.browser());
    let page = start(&left).await;
    let right = right_answer(&app, &page).await;
    answer(&left, &page, &right).await;
    let sql = "UPDATE games SET updated_at = updated_at - interval '3601 seconds'";
    execute(&app, sql).await;
    let question = start(&running).await;
    wait_for(async || app.rows("games").await == 1).await;
    assert_eq!(app.rows("game_quizzes").await, 0);
    assert_eq!(asked(&running.get("/random").await), asked(&question));
    assert_eq!(left.get("/random").await.text("h1"), "Random play");
    app.stop().await;
}

/// Scans of the whole table and steps in the index of random keys, as PostgreSQL counts them. A connection tells what
/// it did when it ends at the latest, so `app` is stopped first.
async fn work_until_end(app: TestApp) -> (i64, i64) {
    let pool = app.pool.clone();
    app.stop().await;
    let connections = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name = 'quiz-web'";
    wait_for(async || {
        let open: i64 = sqlx::query_scalar(connections)
            .fetch_one(&pool)
            .await
            .unwrap();
        open == 0
    })
    .await;
    sqlx::query_as(
        "SELECT (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'quizzes'), idx_tup_read
         FROM pg_stat_user_indexes WHERE indexrelname = 'quizzes_random_key_idx'",
    )
    .fetch_one(&pool)
    .await
    .unwrap()
}

#[sqlx::test(migrations = false)]
async fn fault_20_a_random_choice_neither_counts_nor_scans(pool: PgPool) {
    let app = TestApp::start(pool.clone()).await;
    app.add_quizzes(20_000).await;
    let browser = app.browser();
    start(&browser).await;
    // A long game: three of four have been resolved. The last statement makes this connection tell what it did.
    let long_game = "INSERT INTO game_quizzes SELECT games.id, quizzes.id FROM games, quizzes
                     WHERE quizzes.id % 4 > 0 AND quizzes.id <> games.current_quiz_id;
                     ANALYZE quizzes, game_quizzes, games;
                     SELECT pg_stat_force_next_flush()";
    sqlx::raw_sql(long_game).execute(&pool).await.unwrap();
    let before = work_until_end(app).await;
    let app = TestApp::start(pool).await;
    let browser = browser.at(&app);
    let mut page = browser.get("/random").await;
    for _ in 0..20 {
        let right = right_answer(&app, &page).await;
        page = answer(&browser, &page, &right).await;
    }
    assert!(page.text("main").contains("Score: 20"));
    let after = work_until_end(app).await;
    assert_eq!(after.0, before.0, "the table was scanned");
    // Ten quizzes from each side of the point, and three resolved ones for each of them.
    let steps = (after.1 - before.1) / 20;
    assert!((10..200).contains(&steps), "{steps} steps for one choice");
}
