//! The first rows of an empty site: four capitals, an admin and a player. Planted once, however many front-ends start together.

use sqlx::{Connection, PgConnection};

use super::{quizzes, users};
use crate::domain::quiz::Texts;

/// Key of the advisory lock under which seeds are planted: "quizseed" in ASCII, so that it cannot be met by chance.
const LOCK: i64 = i64::from_be_bytes(*b"quizseed");

/// Marker of this set of seeds in the table `seeds`.
const NAME: &str = "capitals";

const CAPITALS: [(&str, &str); 4] = [
    ("Italy", "Rome"),
    ("Portugal", "Lisbon"),
    ("Spain", "Madrid"),
    ("France", "Paris"),
];

/// Have the seeds been planted? Asked before the work of hashing a password for them.
pub async fn planted(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM seeds WHERE name = $1) AS "planted!""#,
        NAME
    )
    .fetch_one(db)
    .await
}

/// Plants the seeds; `false` when another front-end was faster.
pub async fn plant(db: &mut PgConnection, password_hash: &str) -> sqlx::Result<bool> {
    let mut transaction = db.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK)
        .execute(&mut *transaction)
        .await?;
    if planted(&mut transaction).await? {
        return Ok(false);
    }
    users::change::create_if_absent(&mut *transaction, "admin", password_hash, true).await?;
    users::change::create_if_absent(&mut *transaction, "pepe", password_hash, false).await?;
    for (country, capital) in CAPITALS {
        let texts = Texts {
            question: format!("What is the capital of {country}?"),
            answer: capital.to_owned(),
        };
        quizzes::create(&mut transaction, &texts, None, None).await?;
    }
    sqlx::query!("INSERT INTO seeds (name) VALUES ($1)", NAME)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}
