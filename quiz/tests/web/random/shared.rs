//! What front-ends, players and the database share in random play.

use futures::future::join_all;
use sqlx::PgPool;

use super::{answer, asked, best_score, execute, right_answer, send, start};
use crate::test_app::{TestApp, wait_for};

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
