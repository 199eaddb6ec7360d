//! Random quizzes and random play for programs, row by row of the contract.

use std::collections::BTreeSet;

use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::Api;
use crate::test_app::TestApp;

const NEW: &str = "/quizzes/randomPlay/new";
const NEXT: &str = "/quizzes/randomPlay/next";

fn id_of(quiz: &Value) -> i64 {
    quiz["id"].as_i64().unwrap()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

async fn answer_of(app: &TestApp, quiz_id: i64) -> String {
    sqlx::query_scalar("SELECT answer FROM quizzes WHERE id = $1")
        .bind(quiz_id)
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

/// Sends an answer to the open question.
async fn check(api: &Api, answer: &str) -> Value {
    let answer = utf8_percent_encode(answer, NON_ALPHANUMERIC);
    let path = format!("/quizzes/randomPlay/check?answer={answer}");
    api.json(&path).await
}

async fn delete_quizzes(app: &TestApp, condition: &'static str) {
    let sql = sqlx::AssertSqlSafe(format!("DELETE FROM quizzes WHERE {condition}"));
    sqlx::query(sql).execute(&app.pool).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn random_is_any_quiz_as_quizzes_are_or_no_more(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        let quiz = api.json("/quizzes/random").await;
        let same = api.json(&format!("/quizzes/{}", id_of(&quiz))).await;
        assert_eq!(quiz, same);
        seen.insert(id_of(&quiz));
    }
    // With equal chances one of four is missing once in seven million runs.
    assert_eq!(seen.len(), 4);
    assert_eq!(app.rows("games").await, 0);
    delete_quizzes(&app, "true").await;
    let none = api.json("/quizzes/random").await;
    assert_eq!(none, json!({ "nomore": true }));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn random_play_asks_each_question_once_and_tells_the_end(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let mut round = api.json(NEW).await;
    let mut seen = BTreeSet::new();
    for score in 0..4 {
        let quiz = api
            .json(&format!("/quizzes/{}", id_of(&round["quiz"])))
            .await;
        assert_eq!(round, json!({ "quiz": quiz, "score": score }));
        // The same question until it is answered.
        assert_eq!(api.json(NEXT).await, round);
        assert!(seen.insert(id_of(&quiz)));
        let answer = format!("  {} ", answer_of(&app, id_of(&quiz)).await.to_uppercase());
        assert_eq!(
            check(&api, &answer).await,
            json!({ "answer": answer, "quizId": quiz["id"], "result": true, "score": score + 1 })
        );
        round = api.json(NEXT).await;
    }
    assert_eq!(round, json!({ "nomore": true, "score": 4 }));
    // The state is gone: an answer has no question, and the next game begins at nothing.
    let late = api.get("/quizzes/randomPlay/check?answer=x").await;
    late.assert_error(409, "Conflict");
    assert_eq!(api.json(NEXT).await["score"], 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_wrong_answer_ends_the_game_and_the_state_is_gone(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let first = api.json(NEXT).await;
    assert_eq!(first["score"], 0);
    let right = answer_of(&app, id_of(&first["quiz"])).await;
    check(&api, &right).await;
    let second = api.json(NEXT).await;
    // Without an answer it is wrong.
    assert_eq!(
        api.json("/quizzes/randomPlay/check").await,
        json!({ "answer": "", "quizId": second["quiz"]["id"], "result": false, "score": 1 })
    );
    let late = api.get("/quizzes/randomPlay/check?answer=x").await;
    late.assert_error(409, "Conflict");
    assert_eq!(api.json(NEXT).await["score"], 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn without_a_game_or_an_open_question_an_answer_is_a_conflict(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let check_path = "/quizzes/randomPlay/check?answer=x";
    api.get(check_path).await.assert_error(409, "Conflict");
    let round = api.json(NEW).await;
    let right = answer_of(&app, id_of(&round["quiz"])).await;
    check(&api, &right).await;
    // The next question has not been asked for yet.
    api.get(check_path).await.assert_error(409, "Conflict");
    assert_eq!(api.json(NEXT).await["score"], 1);
    delete_quizzes(&app, "id = (SELECT current_quiz_id FROM games)").await;
    api.get(check_path).await.assert_error(409, "Conflict");
    assert_eq!(api.json(NEXT).await["score"], 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn new_gives_up_the_game_that_runs(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let round = api.json(NEW).await;
    let right = answer_of(&app, id_of(&round["quiz"])).await;
    check(&api, &right).await;
    let round = api.json(NEW).await;
    assert_eq!(keys(&round), BTreeSet::from(["quiz", "score"]));
    assert_eq!(round["score"], 0);
    assert_eq!(app.rows("game_quizzes").await, 0);
    delete_quizzes(&app, "true").await;
    let none = api.json(NEW).await;
    assert_eq!(none, json!({ "nomore": true, "score": 0 }));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_game_is_the_users_without_cookies_and_on_any_front_end(pool: PgPool) {
    let one = TestApp::start(pool.clone()).await;
    let other = TestApp::start(pool).await;
    let api = one.api("pepe").await;
    let there = other.api_with(&api.token);
    let begun = api.get(NEW).await;
    assert_eq!(begun.header("set-cookie"), "");
    assert_eq!(begun.header("cache-control"), "no-store");
    let round: Value = begun.json();
    assert_eq!(there.json(NEXT).await, round);
    let right = answer_of(&one, id_of(&round["quiz"])).await;
    assert_eq!(check(&there, &right).await["score"], 1);
    assert_eq!(api.json(NEXT).await["score"], 1);
    // Somebody else's game is another one.
    let admin = other.api("admin").await;
    admin
        .get("/quizzes/randomPlay/check?answer=x")
        .await
        .assert_error(409, "Conflict");
    // In the browser it goes on.
    let page = one.logged_in("pepe").await.get("/random").await;
    assert!(page.text("main").contains("Score: 1"));
    assert!(page.text("main").contains("Best score: 1"));
    one.stop().await;
    other.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fifty_right_answers_of_a_program_at_once_are_one_point(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let round = api.json(NEW).await;
    let right = answer_of(&app, id_of(&round["quiz"])).await;
    let path = format!("/quizzes/randomPlay/check?answer={right}");
    let replies = join_all((0..50).map(|_| api.get(&path))).await;
    let count = |status: u16| {
        let with = replies.iter().filter(|page| page.status == status);
        with.count()
    };
    assert_eq!((count(200), count(409)), (1, 49));
    assert_eq!(api.json(NEXT).await["score"], 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn programs_that_begin_at_once_get_the_same_question(pool: PgPool) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(96).await;
    let api = app.api("pepe").await;
    let rounds = join_all((0..10).map(|_| api.json(NEXT))).await;
    assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn random10wa_is_ten_different_quizzes_with_their_answers(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let api = app.api("pepe").await;
    let ids = async || {
        let list = api.json("/quizzes/random10wa").await;
        let list = list.as_array().unwrap().clone();
        for mut quiz in list.clone() {
            let answer = quiz.as_object_mut().unwrap().remove("answer").unwrap();
            assert_eq!(answer, answer_of(&app, id_of(&quiz)).await);
            assert_eq!(quiz, api.json(&format!("/quizzes/{}", quiz["id"])).await);
        }
        list.iter().map(id_of).collect::<Vec<i64>>()
    };
    // All there are, when there are fewer than ten.
    assert_eq!(ids().await.into_iter().collect::<BTreeSet<_>>().len(), 4);
    app.add_quizzes(196).await;
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let ten: BTreeSet<i64> = ids().await.into_iter().collect();
        assert_eq!(ten.len(), 10);
        seen.extend(ten);
    }
    // With equal chances 45 are to be expected.
    assert!(seen.len() > 25, "{seen:?}");
    delete_quizzes(&app, "true").await;
    assert_eq!(api.json("/quizzes/random10wa").await, json!([]));
    app.stop().await;
}
