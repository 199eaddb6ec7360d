//! How many statements a page or a call costs: a few, however long its lists are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::PgPool;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::test_app::{Browser, TestApp};

/// Session, rows and a bounded count.
const MAX_STATEMENTS: usize = 3;

/// Counts what sqlx logs of the statements that requests make; what works in the background is not counted.
struct Counter(Arc<AtomicUsize>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Counter {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let in_request = context
            .event_scope(event)
            .is_some_and(|mut spans| spans.any(|span| span.name() == "request"));
        if event.metadata().target() == "sqlx::query" && in_request {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts until the guard is dropped. The test and its front-end share one thread.
fn watch() -> (Arc<AtomicUsize>, DefaultGuard) {
    let count = Arc::new(AtomicUsize::new(0));
    let levels = Targets::new()
        .with_target("sqlx::query", Level::DEBUG)
        .with_target("quiz_web", Level::INFO)
        .with_default(LevelFilter::OFF);
    let subscriber =
        tracing_subscriber::registry().with(Counter(Arc::clone(&count)).with_filter(levels));
    (count, tracing::subscriber::set_default(subscriber))
}

/// A site where everything is by pepe, and liked by everybody; the id of pepe.
async fn start(pool: PgPool) -> (TestApp, i64) {
    let app = TestApp::start(pool).await;
    app.add_quizzes(60).await;
    sqlx::query("UPDATE quizzes SET author_id = (SELECT id FROM users WHERE username = 'pepe')")
        .execute(&app.pool)
        .await
        .unwrap();
    sqlx::query(
        "INSERT INTO favourites (user_id, quiz_id) SELECT users.id, quizzes.id FROM users, quizzes",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let id: i64 = sqlx::query_scalar("SELECT id FROM users WHERE username = 'pepe'")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    (app, id)
}

#[sqlx::test(migrations = false)]
async fn no_page_costs_more_than_three_statements(pool: PgPool) {
    let (count, _watching) = watch();
    let (app, id) = start(pool).await;
    let of_user = ["", "/edit", "/delete", "/quizzes"].map(|page| format!("/users/{id}{page}"));
    let pages = [
        "/",
        "/author",
        "/goback",
        "/login",
        "/quizzes",
        "/quizzes?search=question&pageno=2&sort=liked",
        "/quizzes?searchfavourites=1&after=40&pageno=3",
        "/quizzes/new",
        "/quizzes/5",
        "/quizzes/5/edit",
        "/quizzes/5/delete",
        "/quizzes/5/play",
        "/quizzes/5/check?answer=x",
        "/random",
        "/users",
        "/users/new",
        "/sessions",
    ];
    let pages = || pages.into_iter().chain(of_user.iter().map(String::as_str));
    let (stranger, pepe) = (app.browser(), app.logged_in("pepe").await);
    let admin = app.logged_in("admin").await;
    start_a_game(&pepe).await;

    let mut most = 0;
    for (who, browser) in [("stranger", &stranger), ("pepe", &pepe), ("admin", &admin)] {
        for path in pages() {
            let before = count.load(Ordering::Relaxed);
            let page = browser.get(path).await;
            assert!(page.status.as_u16() < 500, "{path}");
            let statements = count.load(Ordering::Relaxed) - before;
            assert!(
                statements <= MAX_STATEMENTS,
                "{path} costs {who} {statements} statements"
            );
            most = most.max(statements);
        }
    }
    assert!(most >= 2, "nothing was counted");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn no_list_and_no_single_thing_of_the_api_costs_more_than_three_statements(pool: PgPool) {
    let (count, _watching) = watch();
    let (app, id) = start(pool).await;
    let of_user = ["", "/quizzes", "/quizzes.xml"].map(|path| format!("/users/{id}{path}"));
    let paths = [
        "/users",
        "/users/tokenOwner",
        "/users/tokenOwner/quizzes",
        "/users/tokenOwner/quizzes.xml",
        "/quizzes",
        "/quizzes.json",
        "/quizzes.xml",
        "/quizzes?search=question&pageno=2&sort=liked",
        "/quizzes?search=on&searchfavourites=1",
        "/quizzes?after=40&pageno=3",
        "/quizzes/5",
        "/quizzes/5.xml",
        "/quizzes/5/check?answer=x",
        "/quizzes/random",
        "/quizzes/random10wa",
    ];
    let paths = || paths.into_iter().chain(of_user.iter().map(String::as_str));
    let mut most = 0;
    for who in ["pepe", "admin"] {
        let program = app.api(who).await;
        for path in paths() {
            let before = count.load(Ordering::Relaxed);
            program.get(path).await.assert_status(200);
            let statements = count.load(Ordering::Relaxed) - before;
            assert!(
                statements <= MAX_STATEMENTS,
                "{path} costs {who} {statements} statements"
            );
            most = most.max(statements);
        }
    }
    assert!(most >= 2, "nothing was counted");
    app.stop().await;
}

async fn start_a_game(browser: &Browser) {
    let csrf = browser.csrf("/random").await;
    let started = browser.post_form("/random", &[("_csrf", &csrf)]).await;
    started.assert_redirect("/random");
}
