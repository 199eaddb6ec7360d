//! Files that nothing refers to go, all others stay, and an upload is never in the way of either.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::test_app::{Browser, NewQuiz, TestApp, png, wait_for};

/// A site that sweeps every second, with its pictures in a folder of ours.
async fn start(pool: PgPool) -> (TestApp, TempDir) {
    let folder = TempDir::new().unwrap();
    let store = format!("file://{}", folder.path().display());
    let settings = ["--store-url", store.as_str(), "--sweep-secs", "1"];
    (TestApp::start_with(pool, &settings).await, folder)
}

/// Creates a quiz with that picture; the URL of the picture.
async fn create(browser: &Browser, picture: Vec<u8>) -> String {
    let quiz = NewQuiz::texts("What is this?", "A picture").image("photo.png", picture);
    let created = browser.create_quiz(quiz).await;
    created.assert_status(303);
    let show = browser.get(created.header("location")).await;
    show.attribute("img.picture", "src")
}

/// Lets two hours pass for what has been released.
async fn age(app: &TestApp) {
    sqlx::query("UPDATE attachments SET released_at = released_at - interval '2 hours'")
        .execute(&app.pool)
        .await
        .unwrap();
}

/// As the page that deletes a quiz does it.
async fn delete_quiz(app: &TestApp, id: i64) {
    let mut transaction = app.pool.begin().await.unwrap();
    let attachment: Option<i64> =
        sqlx::query_scalar("DELETE FROM quizzes WHERE id = $1 RETURNING attachment_id")
            .bind(id)
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
    quiz_web::db::attachments::release(&mut transaction, attachment.unwrap())
        .await
        .unwrap();
    transaction.commit().await.unwrap();
}

/// Puts a row for a file that nothing refers to, old enough to go; when it has gone, a sweep has passed.
async fn wait_for_a_sweep(app: &TestApp) {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO attachments (image_id, mime, released_at)
         VALUES (encode(sha256(random()::text::bytea), 'hex') || '.pdf', 'application/pdf', now() - interval '1 day')
         RETURNING id",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    wait_for(async || {
        let found = sqlx::query("SELECT 1 FROM attachments WHERE id = $1").bind(id);
        found.fetch_optional(&app.pool).await.unwrap().is_none()
    })
    .await;
}

fn files(folder: &TempDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let list = if path.is_dir() {
                &mut folders
            } else {
                &mut found
            };
            list.push(path);
        }
    }
    found
}

#[sqlx::test(migrations = false)]
async fn fault_10_a_picture_goes_after_its_quiz_and_its_grace_and_not_before(pool: PgPool) {
    let (app, folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    let src = create(&browser, png(700, 500)).await;
    assert_eq!(files(&folder).len(), 2, "a picture and its thumbnail");
    delete_quiz(&app, 5).await;
    wait_for_a_sweep(&app).await;
    // Who has the page open still sees it.
    browser.get(&src).await.assert_status(200);
    age(&app).await;
    wait_for(async || app.rows("attachments").await == 0).await;
    browser.get(&src).await.assert_status(404);
    assert_eq!(files(&folder), [] as [PathBuf; 0]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn fault_11_a_file_that_has_gone_already_is_no_error(pool: PgPool) {
    let (app, folder) = start(pool).await;
    create(&app.logged_in("pepe").await, png(8, 8)).await;
    delete_quiz(&app, 5).await;
    for file in files(&folder) {
        std::fs::remove_file(file).unwrap();
    }
    age(&app).await;
    wait_for(async || app.rows("attachments").await == 0).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_picture_that_a_quiz_or_a_user_refers_to_stays_whatever_its_row_says(pool: PgPool) {
    let (app, folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    let of_quiz = create(&browser, png(8, 8)).await;
    let of_user = create(&browser, png(9, 9)).await;
    sqlx::query(
        "UPDATE users SET photo_id = (SELECT attachment_id FROM quizzes WHERE id = 6) WHERE username = 'pepe'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    delete_quiz(&app, 6).await;
    sqlx::query("UPDATE attachments SET released_at = now() - interval '1 day'")
        .execute(&app.pool)
        .await
        .unwrap();
    // The sweep finds the references and writes down that the rows are not free.
    wait_for(async || {
        let free: i64 =
            sqlx::query_scalar("SELECT count(*) FROM attachments WHERE released_at IS NOT NULL")
                .fetch_one(&app.pool)
                .await
                .unwrap();
        free == 0
    })
    .await;
    browser.get(&of_quiz).await.assert_status(200);
    browser.get(&of_user).await.assert_status(200);
    assert_eq!(files(&folder).len(), 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn of_two_quizzes_with_one_picture_either_may_go(pool: PgPool) {
    let (app, _folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    let src = create(&browser, png(8, 8)).await;
    assert_eq!(create(&browser, png(8, 8)).await, src);
    delete_quiz(&app, 5).await;
    age(&app).await;
    wait_for_a_sweep(&app).await;
    browser.get(&src).await.assert_status(200);
    delete_quiz(&app, 6).await;
    age(&app).await;
    wait_for(async || browser.get(&src).await.status == 404).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn two_quizzes_with_one_picture_that_go_at_the_same_time_take_it_with_them(pool: PgPool) {
    let (app, folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    create(&browser, png(8, 8)).await;
    create(&browser, png(8, 8)).await;
    tokio::join!(delete_quiz(&app, 5), delete_quiz(&app, 6));
    age(&app).await;
    wait_for(async || app.rows("attachments").await == 0).await;
    assert_eq!(files(&folder), [] as [PathBuf; 0]);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_reference_that_is_not_committed_yet_counts(pool: PgPool) {
    let (app, _folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    let src = create(&browser, png(8, 8)).await;
    delete_quiz(&app, 5).await;
    let mut transaction = app.pool.begin().await.unwrap();
    sqlx::query(
        "INSERT INTO quizzes (question, answer, attachment_id) SELECT 'q', 'a', id FROM attachments",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    age(&app).await;
    wait_for_a_sweep(&app).await;
    transaction.commit().await.unwrap();
    wait_for_a_sweep(&app).await;
    browser.get(&src).await.assert_status(200);
    app.stop().await;
}

/// What an S3 service does when it is told to delete something.
#[derive(Clone, Default)]
enum Deletion {
    #[default]
    Now,
    /// Says that it is too busy, and carries it out when nobody expects it any more: a node that was frozen.
    Late,
    /// Fails, whichever way, for names that end in this.
    FailsFor(StatusCode, String),
}

/// An S3 service.
#[derive(Clone, Default)]
struct Service {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    deletion: Arc<Mutex<Deletion>>,
    late: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// A site that sweeps every second, with its pictures in this service.
    async fn start_site(&self, pool: PgPool) -> TestApp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/{*key}", get(read).put(write).delete(remove))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let settings = [
            "--store-url",
            "s3://quiz",
            "--store-endpoints",
            &endpoint,
            "--aws-access-key-id",
            "key",
            "--aws-secret-access-key",
            "secret",
            "--store-rounds",
            "2",
            "--sweep-secs",
            "1",
        ];
        TestApp::start_with(pool, &settings).await
    }

    fn set(&self, deletion: Deletion) {
        *self.deletion.lock().unwrap() = deletion;
    }

    /// Deletes what was to be deleted long ago.
    fn thaw(&self) {
        for key in self.late.lock().unwrap().drain(..) {
            self.objects.lock().unwrap().remove(&key);
        }
    }

    fn holds(&self) -> usize {
        self.objects.lock().unwrap().len()
    }
}

async fn read(State(service): State<Service>, Path(key): Path<String>) -> Response {
    match service.objects.lock().unwrap().get(&key).cloned() {
        Some(bytes) => {
            let modified = "Fri, 20 Nov 2026 10:00:00 GMT";
            ([("etag", "\"1\""), ("last-modified", modified)], bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write(State(service): State<Service>, Path(key): Path<String>, body: Bytes) -> Response {
    service.objects.lock().unwrap().insert(key, body);
    [("etag", "\"1\"")].into_response()
}

async fn remove(State(service): State<Service>, Path(key): Path<String>) -> StatusCode {
    match service.deletion.lock().unwrap().clone() {
        Deletion::Late => {
            service.late.lock().unwrap().push(key);
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        Deletion::FailsFor(status, name) if key.ends_with(&name) => return status,
        Deletion::Now | Deletion::FailsFor(..) => {}
    }
    service.objects.lock().unwrap().remove(&key);
    StatusCode::NO_CONTENT
}

#[sqlx::test(migrations = false)]
async fn a_deletion_that_comes_late_takes_nothing_from_an_upload_of_the_same_file(pool: PgPool) {
    let service = Service::default();
    let app = service.start_site(pool).await;
    let browser = app.logged_in("pepe").await;
    let src = create(&browser, png(8, 8)).await;
    delete_quiz(&app, 5).await;
    service.set(Deletion::Late);
    age(&app).await;
    wait_for(async || !service.late.lock().unwrap().is_empty()).await;
    // The first one is not wanted any more, and has not been removed yet.
    let again = create(&browser, png(8, 8)).await;
    assert_ne!(again, src);
    service.thaw();
    browser.get(&src).await.assert_status(404);
    browser.get(&again).await.assert_status(200);
    service.set(Deletion::Now);
    wait_for(async || app.rows("attachments").await == 1).await;
    service.thaw();
    browser.get(&again).await.assert_status(200);
    assert_eq!(service.holds(), 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_file_that_the_store_does_not_delete_keeps_no_other_one(pool: PgPool) {
    let service = Service::default();
    let app = service.start_site(pool).await;
    let browser = app.logged_in("pepe").await;
    let stays = create(&browser, png(8, 8)).await;
    let name = stays.trim_start_matches("/images/").to_owned();
    create(&browser, png(9, 9)).await;
    for status in [StatusCode::FORBIDDEN, StatusCode::INTERNAL_SERVER_ERROR] {
        service.set(Deletion::FailsFor(status, name.clone()));
        sqlx::query("DELETE FROM quizzes WHERE attachment_id IS NOT NULL")
            .execute(&app.pool)
            .await
            .unwrap();
        sqlx::query("UPDATE attachments SET released_at = now() - interval '1 day'")
            .execute(&app.pool)
            .await
            .unwrap();
        wait_for(async || app.rows("attachments").await == 1).await;
        assert_eq!(service.holds(), 1, "{status}");
        browser.get(&stays).await.assert_status(200);
        create(&browser, png(9, 9)).await;
    }
    service.set(Deletion::Now);
    wait_for(async || browser.get(&stays).await.status == 404).await;
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn what_a_failed_upload_leaves_behind_is_swept(pool: PgPool) {
    let (app, folder) = start(pool).await;
    let browser = app.logged_in("pepe").await;
    // The file is stored, and then the database refuses the quiz.
    sqlx::raw_sql("ALTER TABLE quizzes ADD CONSTRAINT broken CHECK (question <> 'Broken?')")
        .execute(&app.pool)
        .await
        .unwrap();
    let quiz = NewQuiz::texts("Broken?", "Yes").image("photo.png", png(8, 8));
    browser.create_quiz(quiz).await.assert_status(500);
    assert_eq!(
        (app.rows("quizzes").await, app.rows("attachments").await),
        (4, 1)
    );
    assert_eq!(files(&folder).len(), 1);
    age(&app).await;
    wait_for(async || app.rows("attachments").await == 0).await;
    assert_eq!(files(&folder), [] as [PathBuf; 0]);
    app.stop().await;
}
