//! What a page costs when there are many quizzes: counted in rows that PostgreSQL reads.

use std::future::Future;

use sqlx::PgPool;

use crate::test_app::{Page, TestApp, wait_for};

/// Enough for a scan to stand out, however small the machine.
const QUIZZES: i32 = 20_000;

/// Of a page: its rows, the ones that are skipped or counted up to the limit of numbered pages, what joins read, what a
/// search looks at that no index helps, and what others wrote between the most liked quizzes of a user; most of them twice,
/// in the index and in the table. To read the table once makes 20,000.
const MOST_ROWS: i64 = 2500;

/// Pages with numbers, and quizzes that a short search looks at.
const SETTINGS: [&str; 4] = ["--list-max-jump", "5", "--list-short-search", "200"];

/// Rows and index entries of `quizzes` that have been read by front-ends. Their connections are ended: PostgreSQL adds up
/// what one has done when it ends.
async fn rows_read(pool: &PgPool) -> i64 {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'quiz-web'";
    wait_for(async || {
        let ended = sqlx::query(sql).fetch_all(pool).await.unwrap();
        ended.is_empty()
    })
    .await;
    let sql = "SELECT (SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'quizzes')
                    + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'quizzes')::bigint";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// Many quizzes, one in a thousand of them with a rare word, liked by nobody or by a few.
async fn fill(pool: &PgPool) {
    let mut connection = pool.acquire().await.unwrap();
    for sql in [
        "INSERT INTO quizzes (question, answer, author_id, likes)
         SELECT 'What is the number ' || n || CASE WHEN n % 1000 = 0 THEN ' of the Ñandú' ELSE '' END, 'x',
                (SELECT id FROM users WHERE username = CASE WHEN n % 100 = 0 THEN 'pepe' ELSE 'admin' END), n % 7
         FROM generate_series(1, $1) AS n",
        "INSERT INTO favourites (user_id, quiz_id)
         SELECT users.id, quizzes.id FROM users, quizzes WHERE username = 'pepe' AND quizzes.id % 500 = 0 AND $1 > 0",
    ] {
        sqlx::query(sql)
            .bind(QUIZZES)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
    // The planner knows how many rows there are, and index-only scans need not look at them.
    // What this connection has read is not to be counted later.
    for sql in ["VACUUM ANALYZE", "SELECT pg_stat_force_next_flush()"] {
        sqlx::raw_sql(sql).execute(&mut *connection).await.unwrap();
    }
}

/// A long list and its front-end.
async fn start(pool: &PgPool) -> TestApp {
    let app = TestApp::start_with(pool.clone(), &SETTINGS).await;
    fill(pool).await;
    app
}

/// What a page reads at most, and that it reads something at all.
async fn assert_bounded(pool: &PgPool, name: &str, page: impl Future<Output = Page>) -> Page {
    let before = rows_read(pool).await;
    let page = page.await;
    page.assert_status(200);
    let read = rows_read(pool).await - before;
    assert!(read <= MOST_ROWS, "{name} reads {read} rows");
    page
}

async fn id_of_pepe(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT id FROM users WHERE username = 'pepe'")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrations = false)]
async fn a_page_of_a_long_list_reads_what_it_shows_and_never_the_table(pool: PgPool) {
    let app = start(&pool).await;
    let pepe = app.logged_in("pepe").await;
    let mine = id_of_pepe(&pool).await;
    let before = rows_read(&pool).await;
    for path in [
        "/",
        "/quizzes",
        "/quizzes?pageno=5",
        "/quizzes?pageno=900&after=11000",
        "/quizzes?pageno=900&before=11000",
        "/quizzes?sort=oldest&pageno=900&after=9000",
        "/quizzes?sort=liked",
        "/quizzes?sort=liked&pageno=900&after=3-9000",
        "/quizzes?sort=liked&pageno=900&before=3-9000",
        "/quizzes?searchfavourites=1",
        &format!("/users/{mine}/quizzes"),
        &format!("/users/{mine}/quizzes?pageno=9&after=9000"),
        "/quizzes/9000/play",
        "/quizzes/9000/check?answer=x",
    ] {
        assert_bounded(&pool, path, pepe.get(path)).await;
    }
    let read = rows_read(&pool).await - before;
    assert!(read > 100, "the reads have been counted: {read}");
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn a_search_of_a_long_list_is_bounded_whatever_it_finds_in_whichever_order(pool: PgPool) {
    let app = start(&pool).await;
    let pepe = app.logged_in("pepe").await;
    let program = app.api("pepe").await;
    let mine = id_of_pepe(&pool).await;
    // All, some, none; and what no index helps: all, some and none of the newest.
    for search in [
        "number",
        "nandu",
        "emu+bird",
        "u",
        "99",
        "a%2Bb",
        "%3F%3F%3F",
        "%E2%82%AC",
        "%C2%B2%C2%B2%C2%B2",
        "%CA%BC%CA%BC%CA%BC",
    ] {
        for sort in ["newest", "oldest", "liked"] {
            for favourites in ["", "1"] {
                let list = format!("search={search}&sort={sort}&searchfavourites={favourites}");
                let cursor = if sort == "liked" { "3-9000" } else { "9000" };
                for path in [
                    format!("/quizzes?{list}"),
                    format!("/quizzes?{list}&pageno=9&after={cursor}"),
                    format!("/users/{mine}/quizzes?{list}"),
                ] {
                    assert_bounded(&pool, &path, pepe.get(&path)).await;
                    assert_bounded(&pool, &format!("/api{path}"), program.get(&path)).await;
                }
            }
        }
    }
    app.stop().await;
}

#[sqlx::test(migrations = false)]
async fn to_delete_a_user_reads_the_quizzes_of_that_user_only(pool: PgPool) {
    let app = start(&pool).await;
    let admin = app.logged_in("admin").await;
    let sql = "INSERT INTO users (username) VALUES ('nobody') RETURNING id";
    let id: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    let path = format!("/users/{id}");
    let token = admin.header_csrf().await;
    let before = rows_read(&pool).await;
    let fields = [("_csrf", token.as_str()), ("_method", "DELETE")];
    let reply = admin.post_form(&path, &fields).await;
    reply.assert_status(303);
    let read = rows_read(&pool).await - before;
    assert!(read <= MOST_ROWS, "deleting a user reads {read} rows");
    admin.get(&path).await.assert_status(404);
    app.stop().await;
}
