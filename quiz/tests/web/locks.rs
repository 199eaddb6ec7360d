//! Changes that need the same rows come one after the other, whatever meets whatever: nobody is told to come back later
//! because two transactions waited for each other.

use futures::future::{LocalBoxFuture, join_all};
use sqlx::PgPool;

use crate::test_app::{Browser, NewQuiz, Page, TestApp, png};

/// So often do they meet: once may go well by chance.
const ROUNDS: usize = 12;

type Change<'a> = LocalBoxFuture<'a, Page>;

/// What was changed at once; each has an answer, if only that it came too late.
async fn at_once(changes: Vec<Change<'_>>) -> Vec<Page> {
    let pages = join_all(changes).await;
    for page in &pages {
        assert!(!page.status.is_server_error(), "{}", page.body());
    }
    pages
}

/// A form that is sent with the token of the header.
fn post<'a>(browser: &'a Browser, csrf: &'a str, path: String, method: &'static str) -> Change<'a> {
    Box::pin(async move {
        let fields = [("_csrf", csrf), ("_method", method)];
        browser.post_form(&path, &fields).await
    })
}

impl TestApp {
    /// Quizzes of an author, and their ids.
    async fn add_quizzes_of(&self, author: i64, count: i32) -> Vec<i64> {
        let sql = "INSERT INTO quizzes (question, answer, author_id)
                   SELECT 'q', 'a', $1 FROM generate_series(1, $2) RETURNING id";
        sqlx::query_scalar(sql)
            .bind(author)
            .bind(count)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

#[sqlx::test(migrations = false)]
async fn a_user_and_the_quizzes_of_the_user_go_at_the_same_time(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    let csrf = admin.header_csrf().await;
    let delete = |path: String| post(&admin, &csrf, path, "DELETE");
    for round in 0..ROUNDS {
        let user = app.add_user(&format!("user-{round}"), false).await;
        let quizzes = app.add_quizzes_of(user, 12).await;
        let mut changes: Vec<_> = quizzes
            .iter()
            .map(|quiz| delete(format!("/quizzes/{quiz}")))
            .collect();
        changes.insert(round, delete(format!("/users/{user}")));
        for page in at_once(changes).await {
            page.assert_redirect("/goback");
        }
    }
    assert_eq!((app.rows("users").await, app.rows("quizzes").await), (2, 4));
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_user_goes_while_the_user_writes_quizzes(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-upload", "0"]).await;
    let admin = app.logged_in("admin").await;
    let csrf = admin.header_csrf().await;
    for round in 0..ROUNDS {
        let name = format!("user-{round}");
        let user = app.add_user(&name, false).await;
        let author = app.logged_in(&name).await;
        let token = author.header_csrf().await;
        let create = || -> Change<'_> {
            Box::pin(author.send_quiz(Some(&token), NewQuiz::texts("Still here?", "Yes")))
        };
        let delete = post(&admin, &csrf, format!("/users/{user}"), "DELETE");
        let mut changes: Vec<_> = (0..8).map(|_| create()).collect();
        changes.insert(round % 8, delete);
        for page in at_once(changes).await {
            // Written, or sent to the log-in, or told that the session has ended meanwhile.
            assert!(
                [303, 403].contains(&page.status.as_u16()),
                "{}",
                page.status
            );
        }
    }
    assert_eq!(app.rows("users").await, 2);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn stars_are_pressed_while_their_quiz_and_its_author_go(pool: PgPool) {
    let app = TestApp::start(pool).await;
    let admin = app.logged_in("admin").await;
    let csrf = admin.header_csrf().await;
    let mut fans = Vec::new();
    for n in 0..40 {
        fans.push(app.add_user(&format!("fan-{n}"), false).await);
    }
    for round in 0..ROUNDS {
        let author = app.add_user(&format!("user-{round}"), false).await;
        let quiz = app.add_quizzes_of(author, 1).await[0];
        sqlx::query("INSERT INTO favourites (user_id, quiz_id) SELECT id, $1 FROM users")
            .bind(quiz)
            .execute(&app.pool)
            .await
            .unwrap();
        let star = |(n, fan): (usize, &i64)| {
            let method = if n % 8 == 7 { "PUT" } else { "DELETE" };
            let path = format!("/users/{fan}/favourites/{quiz}");
            post(&admin, &csrf, path, method)
        };
        let mut changes: Vec<_> = fans.iter().enumerate().map(star).collect();
        let gone = [format!("/quizzes/{quiz}"), format!("/users/{author}")];
        for (n, path) in gone.into_iter().enumerate() {
            changes.insert(round + n, post(&admin, &csrf, path, "DELETE"));
        }
        at_once(changes).await;
    }
    assert_eq!(app.rows("favourites").await, 0);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn one_picture_becomes_a_photo_and_that_of_quizzes_at_the_same_time(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-upload", "0", "--daily-quizzes", "1000"]).await;
    let pepe = app.logged_in("pepe").await;
    let csrf = pepe.header_csrf().await;
    let picture = png(8, 8);
    for _ in 0..ROUNDS {
        app.execute("UPDATE users SET photo_id = NULL, photo_changed_at = NULL")
            .await;
        let create = || -> Change<'_> {
            let quiz = NewQuiz::texts("Me?", "Yes").image("me.png", picture.clone());
            Box::pin(pepe.send_quiz(Some(&csrf), quiz))
        };
        let fields = [("_csrf", csrf.as_str()), ("_method", "PUT")];
        let photo = pepe.send("/users/2", &fields, Some(("me.png", picture.clone())));
        let mut changes: Vec<_> = (0..6).map(|_| create()).collect();
        changes.insert(3, Box::pin(photo));
        for page in at_once(changes).await {
            assert_eq!(page.status, 303, "{}", page.body());
        }
    }
    assert_eq!(app.rows("attachments").await, 1);
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn two_users_swap_their_photos(pool: PgPool) {
    let app = TestApp::start_with(pool, &["--limit-upload", "0"]).await;
    let users = [
        (1, app.logged_in("admin").await),
        (2, app.logged_in("pepe").await),
    ];
    let tokens = [
        users[0].1.header_csrf().await,
        users[1].1.header_csrf().await,
    ];
    let pictures = [png(8, 8), png(9, 9)];
    for round in 0..2 * ROUNDS {
        app.execute("UPDATE users SET photo_changed_at = NULL")
            .await;
        let change = |n: usize| -> Change<'_> {
            let ((id, browser), csrf) = (&users[n], tokens[n].as_str());
            let picture = pictures[(n + round) % 2].clone();
            Box::pin(async move {
                let fields = [("_csrf", csrf), ("_method", "PUT")];
                let path = format!("/users/{id}");
                browser
                    .send(&path, &fields, Some(("me.png", picture)))
                    .await
            })
        };
        for page in at_once(vec![change(0), change(1)]).await {
            assert_eq!(page.status, 303, "{}", page.body());
        }
    }
    let photos: i64 = sqlx::query_scalar("SELECT count(DISTINCT photo_id) FROM users")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!((photos, app.rows("attachments").await), (2, 2));
    app.stop().await;
}
