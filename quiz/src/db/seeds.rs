//! The first rows of an empty site: four capitals, an admin and a player, and the demo questions where they are wanted.
//! Each set is planted once, however many front-ends start together.

use sqlx::{Connection, PgConnection};

use super::{quizzes, users};
use crate::domain::quiz::Texts;

/// Key of the advisory lock under which seeds are planted: "quizseed" in ASCII, so that it cannot be met by chance.
const LOCK: i64 = i64::from_be_bytes(*b"quizseed");

/// A set of seeds, by its marker in the table `seeds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    Capitals,
    Demo,
}

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::Capitals => "capitals",
            Self::Demo => "demo",
        }
    }
}

const CAPITALS: [(&str, &str); 4] = [
    ("Italy", "Rome"),
    ("Portugal", "Lisbon"),
    ("Spain", "Madrid"),
    ("France", "Paris"),
];

/// The questions about capitals.
pub fn questions() -> Vec<String> {
    CAPITALS.map(|(country, _)| question(country)).to_vec()
}

fn question(country: &str) -> String {
    format!("What is the capital of {country}?")
}

/// Has the set been planted? Asked before the work that comes first: hashing a password, drawing pictures.
pub async fn planted(db: &mut PgConnection, set: Set) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM seeds WHERE name = $1) AS "planted!""#,
        set.name()
    )
    .fetch_one(db)
    .await
}

/// Plants users and capitals; `false` when another front-end was faster.
pub async fn plant(
    db: &mut PgConnection,
    admin_password_hash: &str,
    pepe_password_hash: &str,
) -> sqlx::Result<bool> {
    let mut transaction = db.begin().await?;
    if !begin(&mut transaction, Set::Capitals).await? {
        return Ok(false);
    }
    users::change::create_if_absent(&mut *transaction, "admin", admin_password_hash, true).await?;
    users::change::create_if_absent(&mut *transaction, "pepe", pepe_password_hash, false).await?;
    for (country, capital) in CAPITALS {
        let texts = Texts {
            question: question(country),
            answer: capital.to_owned(),
        };
        quizzes::create(&mut transaction, &texts, None, None).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Plants the demo questions, each with the id of its attachment, as quizzes of the two seeded users; `false` when
/// another front-end was faster.
pub async fn plant_demo(
    db: &mut PgConnection,
    quizzes: &[(Texts, Option<i64>)],
) -> sqlx::Result<bool> {
    let mut transaction = db.begin().await?;
    if !begin(&mut transaction, Set::Demo).await? {
        return Ok(false);
    }
    // An admin may have deleted them: then the questions are anonymous.
    let authors = sqlx::query_scalar!(
        "SELECT id FROM users WHERE username IN ('admin', 'pepe') ORDER BY username FOR NO KEY UPDATE"
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut authors = authors.into_iter().map(Some).cycle();
    for (texts, attachment_id) in quizzes {
        let author = authors.next().flatten();
        quizzes::create(&mut transaction, texts, author, *attachment_id).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Takes the lock and sets the marker; `false` when it is set already. The marker holds if the transaction is committed.
async fn begin(db: &mut PgConnection, set: Set) -> sqlx::Result<bool> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK)
        .execute(&mut *db)
        .await?;
    if planted(&mut *db, set).await? {
        return Ok(false);
    }
    sqlx::query!("INSERT INTO seeds (name) VALUES ($1)", set.name())
        .execute(db)
        .await?;
    Ok(true)
}
