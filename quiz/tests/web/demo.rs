//! The demo questions.

use sqlx::PgPool;

use crate::test_app::{TestApp, refusing, wait_for};

#[sqlx::test(migrations = false)]
async fn two_front_ends_plant_the_demo_questions_once_with_their_pictures(pool: PgPool) {
    let pictures = tempfile::tempdir().unwrap();
    let store = format!("file://{}", pictures.path().display());
    let settings = ["--seed-demo", "true", "--store-url", store.as_str()];
    let start = || TestApp::start_with(pool.clone(), &settings);
    let (one, two) = tokio::join!(start(), start());
    let quizzes = one.rows("quizzes").await;
    assert!(quizzes >= 64, "{quizzes}");
    let images: Vec<String> = sqlx::query_scalar(
        "SELECT image_id FROM quizzes JOIN attachments ON attachments.id = attachment_id",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(images.len() as i64, one.rows("attachments").await);
    for image in &images {
        let picture = two.browser().get(&format!("/images/{image}")).await;
        picture.assert_status(200);
        assert_eq!(picture.header("content-type"), "image/png");
    }
    one.stop().await;
    two.stop().await;

    // What an admin has deleted does not come back.
    sqlx::query("DELETE FROM quizzes")
        .execute(&pool)
        .await
        .unwrap();
    let again = start().await;
    assert_eq!(again.rows("quizzes").await, 0);
    again.stop().await;
}

#[sqlx::test(migrations = false)]
async fn without_a_store_the_site_starts_and_the_demo_questions_wait(pool: PgPool) {
    let (_held, nobody) = refusing();
    let endpoint = format!("http://{nobody}");
    let settings = [
        "--seed-demo",
        "true",
        "--store-url",
        "s3://quiz",
        "--store-endpoints",
        &endpoint,
        "--aws-access-key-id",
        "key",
        "--aws-secret-access-key",
        "secret",
    ];
    let app = TestApp::launch(pool, &settings).await;
    wait_for(async || app.browser().get("/").await.status == 200).await;
    assert_eq!(app.rows("quizzes").await, 4);
    app.stop().await;
}
