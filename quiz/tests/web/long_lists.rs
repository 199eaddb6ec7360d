//! What a page costs when there are many quizzes: counted in rows that PostgreSQL reads.

use sqlx::PgPool;

use crate::test_app::{TestApp, wait_for};

/// Enough for a scan to stand out, however small the machine.
const QUIZZES: i32 = 20_000;

/// For each page: its rows, the ones that are skipped or counted up to the limit of numbered pages, and what joins read.
const ROWS_PER_PAGE: i64 = 400;

/// Rows and index entries of `quizzes` that have been read by front-ends, once they are all gone: PostgreSQL adds up what
/// a connection has done when it ends.
async fn rows_read(pool: &PgPool) -> i64 {
    wait_for(async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'quiz-web'";
        let connections: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
        connections == 0
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

#[sqlx::test(migrations = false)]
async fn a_page_of_a_long_list_reads_what_it_shows_and_never_the_table(pool: PgPool) {
    let settings = ["--list-max-jump", "5"];
    let app = TestApp::start_with(pool.clone(), &settings).await;
    fill(&pool).await;
    app.stop().await;
    let before = rows_read(&pool).await;

    let app = TestApp::start_with(pool.clone(), &settings).await;
    let pepe = app.logged_in("pepe").await;
    let mine: i64 = sqlx::query_scalar("SELECT id FROM users WHERE username = 'pepe'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let pages = [
        "/".to_owned(),
        "/quizzes".to_owned(),
        "/quizzes?pageno=5".to_owned(),
        "/quizzes?pageno=900&after=11000".to_owned(),
        "/quizzes?pageno=900&before=11000".to_owned(),
        "/quizzes?sort=oldest&pageno=900&after=9000".to_owned(),
        "/quizzes?sort=liked".to_owned(),
        "/quizzes?sort=liked&pageno=900&after=3-9000".to_owned(),
        "/quizzes?sort=liked&pageno=900&before=3-9000".to_owned(),
        "/quizzes?search=number".to_owned(),
        "/quizzes?search=nandu".to_owned(),
        "/quizzes?search=emu+bird".to_owned(),
        "/quizzes?searchfavourites=1".to_owned(),
        format!("/users/{mine}/quizzes"),
        format!("/users/{mine}/quizzes?pageno=9&after=9000"),
        "/quizzes/9000/play".to_owned(),
        "/quizzes/9000/check?answer=x".to_owned(),
    ];
    for path in &pages {
        pepe.get(path).await.assert_status(200);
    }
    app.stop().await;
    let read = rows_read(&pool).await - before;
    let most = ROWS_PER_PAGE * i64::try_from(pages.len()).unwrap();
    assert!(read <= most, "{read} rows for {} pages", pages.len());
    assert!(read > 100, "the reads have been counted: {read}");
}
