//! A database that is filled with what nobody has written.

use quiz_web::app::App;
use quiz_web::fill::{self, COMMON_WORD, FillConfig, RARE, RARE_WORD};
use quiz_web::startup;
use sqlx::PgPool;
use tempfile::TempDir;

use crate::test_app::{PASSWORD, TestApp};

/// Fills in the tests, each with the store that its front-end will have.
struct Filling {
    pool: PgPool,
    _pictures: TempDir,
    store: String,
}

impl Filling {
    fn of(pool: &PgPool) -> Self {
        let pictures = TempDir::new().unwrap();
        Self {
            pool: pool.clone(),
            store: format!("file://{}", pictures.path().display()),
            _pictures: pictures,
        }
    }

    /// 300 quizzes, 50 users and 900 favourites, in a database that is prepared as by `quiz-web migrate`.
    async fn run(&self, change: impl FnOnce(&mut FillConfig)) -> anyhow::Result<()> {
        let app = self.migrate(&[]).await;
        fill::run(&app, &config(change)).await
    }

    async fn migrate(&self, settings: &[&str]) -> App {
        let settings = [&["--store-url", &self.store][..], settings].concat();
        let app = App::new(TestApp::config(&self.pool, &settings)).unwrap();
        startup::migrate(&app).await.unwrap();
        app
    }

    async fn site(&self) -> TestApp {
        TestApp::start_with(self.pool.clone(), &["--store-url", &self.store]).await
    }

    async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    async fn texts(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// What there is besides rows: triggers with their state, references, indexes.
    async fn schema(&self) -> Vec<String> {
        self.texts(
            "SELECT tgname || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
             UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        )
        .await
    }
}

fn config(change: impl FnOnce(&mut FillConfig)) -> FillConfig {
    let mut config = FillConfig {
        quizzes: 300,
        users: 50,
        favourites: 900,
        seed: 1,
        password: PASSWORD.parse().unwrap(),
        add: false,
    };
    change(&mut config);
    config
}

const CONTENT: &str = "SELECT concat_ws(' ', quizzes.id, question, answer, username, likes, random_key, quizzes.created_at,
                              attachment_id, users.created_at, users.quizzes, users.best_score,
                              (SELECT string_agg(user_id::text, ',' ORDER BY user_id) FROM favourites WHERE quiz_id = quizzes.id))
                       FROM quizzes JOIN users ON users.id = author_id WHERE username NOT IN ('admin', 'pepe') ORDER BY quizzes.id";

/// Counts that do not agree with what they count.
const WRONG_COUNTS: &str = "SELECT (SELECT count(*) FROM quizzes
                WHERE likes <> (SELECT count(*) FROM favourites WHERE quiz_id = quizzes.id))
         + (SELECT count(*) FROM users
                WHERE quizzes <> (SELECT count(*) FROM quizzes AS written WHERE author_id = users.id))";

#[sqlx::test(migrations = false)]
async fn a_fill_gives_exactly_what_was_asked_for_and_the_counts_agree(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.migrate(&[]).await;
    let (schema, quizzes, users) = (
        filling.schema().await,
        filling.number("SELECT count(*) FROM quizzes").await,
        filling.number("SELECT count(*) FROM users").await,
    );
    filling.run(|_| {}).await.unwrap();
    let site = filling.site().await;
    assert_eq!(site.rows("quizzes").await, quizzes + 300);
    assert_eq!(site.rows("users").await, users + 50);
    assert_eq!(site.rows("favourites").await, 900);
    assert_eq!(filling.number(WRONG_COUNTS).await, 0);
    assert_eq!(filling.schema().await, schema);
    let pictured = "SELECT count(*) FROM quizzes WHERE attachment_id IS NOT NULL AND created_at < '2026-01-01'";
    assert!((10..60).contains(&filling.number(pictured).await));
    let released = "SELECT count(*) FROM attachments WHERE released_at IS NOT NULL";
    assert_eq!(filling.number(released).await, 0);
    // Triggers count again, and identities go on.
    sqlx::raw_sql(
        "DELETE FROM favourites WHERE quiz_id % 3 = 0; DELETE FROM quizzes WHERE id % 5 = 0;
         INSERT INTO quizzes (question, answer, author_id) SELECT 'New?', 'x', max(id) FROM users;
         INSERT INTO users (username) VALUES ('new')",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert_eq!(filling.number(WRONG_COUNTS).await, 0);
    site.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_site_works_on_a_database_that_was_filled(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.run(|_| {}).await.unwrap();
    let site = filling.site().await;
    let browser = site.browser();
    let list = browser.get("/quizzes").await;
    list.assert_status(200);
    let pictures = "SELECT image_id FROM attachments JOIN quizzes ON attachment_id = attachments.id WHERE author_id > 2";
    for picture in filling.texts(pictures).await.iter().take(3) {
        let image = browser.get(&format!("/images/{picture}")).await;
        image.assert_status(200);
    }
    let rare = browser.get(&format!("/quizzes?search={RARE_WORD}")).await;
    assert_eq!(rare.texts(".quiz-card").len() as u64, RARE);
    let common = browser.get(&format!("/quizzes?search={COMMON_WORD}")).await;
    assert_eq!(common.texts(".quiz-card").len(), 10);

    let keen = "SELECT username FROM users JOIN favourites ON user_id = users.id GROUP BY username ORDER BY count(*) DESC";
    let username = filling.texts(keen).await.remove(0);
    let browser = site.logged_in(&username).await;
    let favourites = browser.get("/quizzes?searchfavourites=1").await;
    assert_eq!(favourites.texts(".quiz-card").len(), 10);
    site.stop().await;
}

#[sqlx::test(migrations = false)]
async fn the_same_seed_gives_the_same_content(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.run(|_| {}).await.unwrap();
    let first = filling.texts(CONTENT).await;
    assert_eq!(first.len(), 300);
    for (seed, same) in [(1, true), (2, false)] {
        sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .execute(&pool)
            .await
            .unwrap();
        filling.run(|config| config.seed = seed).await.unwrap();
        assert_eq!(filling.texts(CONTENT).await == first, same, "seed {seed}");
    }
}

#[sqlx::test(migrations = false)]
async fn a_second_fill_is_refused_unless_it_is_to_be_added(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.run(|_| {}).await.unwrap();
    let before = filling.number("SELECT count(*) FROM quizzes").await;
    let refused = filling.run(|_| {}).await.unwrap_err();
    assert!(
        format!("{refused:#}").contains("filled before"),
        "{refused:#}"
    );
    assert_eq!(filling.number("SELECT count(*) FROM quizzes").await, before);
    filling.run(|config| config.add = true).await.unwrap();
    assert_eq!(
        filling.number("SELECT count(*) FROM quizzes").await,
        before + 300
    );
    assert_eq!(
        filling.number("SELECT count(*) FROM favourites").await,
        1800
    );
    assert_eq!(filling.number(WRONG_COUNTS).await, 0);
}

#[sqlx::test(migrations = false)]
async fn a_site_that_is_somebodys_is_not_filled(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.migrate(&["--seed-demo", "true"]).await;
    for (add, remove) in [
        (
            "INSERT INTO quizzes (question, answer) VALUES ('Mine?', 'x')",
            "DELETE FROM quizzes WHERE question = 'Mine?'",
        ),
        (
            "INSERT INTO users (username) VALUES ('somebody')",
            "DELETE FROM users WHERE username = 'somebody'",
        ),
    ] {
        sqlx::query(add).execute(&pool).await.unwrap();
        let refused = filling.run(|_| {}).await.unwrap_err();
        assert!(format!("{refused:#}").contains("no seeds"), "{refused:#}");
        sqlx::query(remove).execute(&pool).await.unwrap();
    }
    assert_eq!(filling.number("SELECT count(*) FROM favourites").await, 0);
    filling.run(|_| {}).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_site_that_is_refused_is_not_even_brought_up_to_date(pool: PgPool) {
    let older = "CREATE TABLE users (username text); CREATE TABLE quizzes (question text); CREATE TABLE seeds (name text);
                 INSERT INTO users VALUES ('somebody')";
    sqlx::raw_sql(older).execute(&pool).await.unwrap();
    let filling = Filling::of(&pool);
    let settings = TestApp::config(&pool, &["--store-url", &filling.store]);
    let refused = quiz_web::fill(settings, &config(|_| {})).await.unwrap_err();
    assert!(format!("{refused:#}").contains("no seeds"), "{refused:#}");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public'";
    assert_eq!(filling.number(columns).await, 3);
}

#[sqlx::test(migrations = false)]
async fn a_fill_that_fails_leaves_nothing(pool: PgPool) {
    let filling = Filling::of(&pool);
    filling.migrate(&[]).await;
    // The last thing that is copied.
    sqlx::raw_sql("ALTER TABLE favourites ADD CONSTRAINT broken CHECK (quiz_id < 200)")
        .execute(&pool)
        .await
        .unwrap();
    let (schema, quizzes) = (
        filling.schema().await,
        filling.number("SELECT count(*) FROM quizzes").await,
    );
    let failed = filling.run(|_| {}).await.unwrap_err();
    assert!(
        format!("{failed:#}").contains("copying favourites"),
        "{failed:#}"
    );
    assert_eq!(
        filling.number("SELECT count(*) FROM quizzes").await,
        quizzes
    );
    assert_eq!(filling.number("SELECT count(*) FROM users").await, 2);
    assert_eq!(
        filling
            .number("SELECT count(*) FROM seeds WHERE name = 'fill'")
            .await,
        0
    );
    assert_eq!(filling.schema().await, schema);
    sqlx::raw_sql("ALTER TABLE favourites DROP CONSTRAINT broken")
        .execute(&pool)
        .await
        .unwrap();
    filling.run(|_| {}).await.unwrap();
}

#[test]
fn what_cannot_be_filled_is_said_before_the_database_is_asked() {
    let too_many = config(|config| config.favourites = 3751)
        .check()
        .unwrap_err();
    assert!(too_many.contains("3750 at most"), "{too_many}");
    let weak = config(|config| config.password = "password".parse().unwrap());
    assert!(weak.check().unwrap_err().contains("QUIZ_FILL_PASSWORD"));
}
