//! So many quizzes per user and day.

use std::collections::BTreeMap;

use futures::StreamExt;
use sqlx::PgPool;

use crate::test_app::{NewQuiz, TestApp, png};

/// Requests that are on their way at the same time.
const SOCKETS: usize = 128;

#[sqlx::test(migrations = false)]
async fn fault_5_over_the_limit_the_form_comes_back_as_it_was_typed(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--daily-quizzes", "2"]).await;
    let pepe = app.logged_in("pepe").await;
    let csrf = pepe.csrf("/quizzes/new").await;
    for id in [5, 6] {
        pepe.create_quiz(NewQuiz::texts("q", "a"))
            .await
            .assert_redirect(&format!("/quizzes/{id}"));
    }
    pepe.get("/quizzes/new").await.assert_redirect("/goback");
    let home = pepe.get("/").await;
    assert_eq!(
        home.text(".flash.error li"),
        "Maximun 2 new quizzes per day."
    );
    // The file would be refused if anybody looked at it.
    let quiz = NewQuiz::texts("Kept", "too").image("photo.png", b"just text".to_vec());
    let page = pepe.send_quiz(Some(&csrf), quiz).await;
    page.assert_status(429);
    let wait: u64 = page.header("retry-after").parse().unwrap();
    assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
    assert_eq!(
        page.text(".flash.error li"),
        "Maximun 2 new quizzes per day."
    );
    assert_eq!(page.text("textarea"), "Kept");
    assert_eq!(page.attribute("input#answer", "value"), "too");
    assert_eq!(
        (app.rows("quizzes").await, app.rows("attachments").await),
        (6, 0)
    );

    // Others have their own limit, and tomorrow is another day.
    let admin = app.logged_in("admin").await;
    admin
        .create_quiz(NewQuiz::texts("q", "a"))
        .await
        .assert_redirect("/quizzes/7");
    sqlx::query("UPDATE daily_quizzes SET day = day - 1")
        .execute(&app.pool)
        .await
        .unwrap();
    let quiz = NewQuiz::texts("q", "a").image("photo.png", png(8, 8));
    pepe.create_quiz(quiz).await.assert_redirect("/quizzes/8");
    assert_eq!(app.rows("daily_quizzes").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_form_with_errors_is_not_counted(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--daily-quizzes", "1"]).await;
    let pepe = app.logged_in("pepe").await;
    pepe.create_quiz(NewQuiz::texts("", "a"))
        .await
        .assert_status(422);
    pepe.create_quiz(NewQuiz::texts("q", "a"))
        .await
        .assert_redirect("/quizzes/5");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn ten_thousand_posts_at_three_front_ends_create_exactly_fifty_quizzes(pool: PgPool) {
    // The limit on forms with a file would spare the one on quizzes most of the work.
    let settings = ["--limit-upload", "0"];
    let apps = [
        TestApp::start_with(pool.clone(), &settings).await,
        TestApp::start_with(pool.clone(), &settings).await,
        TestApp::start_with(pool, &settings).await,
    ];
    let pepe = apps[0].logged_in("pepe").await;
    let csrf = pepe.csrf("/quizzes/new").await;
    let post = async |n: usize| {
        let browser = pepe.at(&apps[n % apps.len()]);
        let quiz = NewQuiz::texts(&format!("Question {n}?"), "a");
        browser.send_quiz(Some(&csrf), quiz).await.status.as_u16()
    };
    let mut replies = BTreeMap::new();
    let mut posts = futures::stream::iter((0..10_000).map(post)).buffer_unordered(SOCKETS);
    while let Some(status) = posts.next().await {
        *replies.entry(status).or_insert(0) += 1;
    }
    drop(posts);
    assert_eq!(replies.get(&303), Some(&50), "{replies:?}");
    // The others are told so; 503 is for the patience of the pool, when the machine is slow.
    let told = replies.get(&429).unwrap_or(&0) + replies.get(&503).unwrap_or(&0);
    assert_eq!(told, 9_950, "{replies:?}");
    assert_eq!(apps[0].rows("quizzes").await, 54);
    for app in apps {
        app.stop().await;
    }
}
