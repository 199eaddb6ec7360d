//! Which uploads are kept in memory, and how many.

use futures::StreamExt;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::test_app::{Browser, NewQuiz, Page, TestApp, png, wait_for};

#[sqlx::test(migrations = false)]
async fn fault_19_a_picture_that_comes_before_the_token_is_not_kept(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let browser = app.logged_in("pepe").await;
    let csrf = browser.csrf("/quizzes/new").await;
    for (token, status) in [(csrf.as_str(), 400), ("wrong", 403)] {
        let form = Form::new()
            .part("image", Part::bytes(png(8, 8)).file_name("photo.png"))
            .text("_csrf", token.to_owned())
            .text("question", "q")
            .text("answer", "a");
        Page::read(browser.request(Method::POST, "/quizzes").multipart(form))
            .await
            .assert_status(status);
    }
    assert_eq!(app.rows("quizzes").await, 4);
    app.stop().await;
}

/// A form whose picture never ends, in the style of a browser.
async fn endless_upload(browser: &Browser) -> JoinHandle<()> {
    let csrf = browser.csrf("/quizzes/new").await;
    let part = |head: &str, body: &str| {
        format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}")
    };
    let beginning = [
        part("name=\"_csrf\"", &csrf),
        "\r\n".to_owned(),
        part("name=\"image\"; filename=\"photo.png\"", "beginning"),
    ];
    let beginning = futures::stream::iter([Ok::<_, std::io::Error>(beginning.concat())]);
    let body = Body::wrap_stream(beginning.chain(futures::stream::pending()));
    let request = browser
        .request(Method::POST, "/quizzes")
        .header("content-type", "multipart/form-data; boundary=x")
        .body(body);
    tokio::spawn(async move { drop(request.send().await) })
}

#[sqlx::test(migrations = false)]
async fn with_too_many_uploads_in_memory_the_next_one_keeps_its_texts_and_may_try_again(
    pool: PgPool,
) {
    let app = TestApp::start_with(pool, &["--uploads", "1"]).await;
    let browser = app.logged_in("pepe").await;
    let endless = endless_upload(&app.logged_in("admin").await).await;
    let quiz = NewQuiz::texts("Kept", "too").image("photo.png", png(8, 8));
    // Until the endless one has arrived there is room.
    wait_for(async || {
        let page = browser.create_quiz(quiz.clone()).await;
        let busy = page.status == 503;
        if busy {
            assert_eq!(page.text("textarea"), "Kept");
            assert!(page.text("#image-error").contains("Too many files"));
        } else {
            page.assert_status(303);
        }
        busy
    })
    .await;
    // Without a picture there is nothing to wait for.
    let plain = browser.create_quiz(NewQuiz::texts("q", "a")).await;
    plain.assert_status(303);
    endless.abort();
    wait_for(async || browser.create_quiz(quiz.clone()).await.status == 303).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn slow_uploads_of_one_user_do_not_stop_those_of_another(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--uploads", "4"]).await;
    let (pepe, admin) = (app.logged_in("pepe").await, app.logged_in("admin").await);
    let mut endless = Vec::new();
    for _ in 0..6 {
        endless.push(endless_upload(&pepe).await);
    }
    let quiz = NewQuiz::texts("q", "a").image("photo.png", png(8, 8));
    // Until one of them has arrived there is room.
    wait_for(async || pepe.create_quiz(quiz.clone()).await.status == 503).await;
    admin.create_quiz(quiz).await.assert_status(303);
    for upload in endless {
        upload.abort();
    }
    app.stop().await;
}
