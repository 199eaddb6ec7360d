//! Rows of `identities`: who the users are at other sites.

use sqlx::PgConnection;

use crate::domain::username::Username;
use crate::sign_in::name;

/// The user who is `subject` at `provider`, made if need be and allowed; `None` if there is none. Two callbacks at once
/// make one user. `name` is what the provider calls them now, if it tells.
///
/// Run it in a transaction.
pub async fn find_or_create(
    db: &mut PgConnection,
    provider: &str,
    subject: &str,
    name: &str,
    may_create: bool,
) -> sqlx::Result<Option<i64>> {
    let profile_name = name::profile_name(name);
    let found = sign_in(db, provider, subject, &profile_name).await?;
    if found.is_some() || !may_create {
        return Ok(found);
    }
    lock(db, provider, subject).await?;
    // Another callback may have been faster.
    if let Some(found) = sign_in(db, provider, subject, &profile_name).await? {
        return Ok(Some(found));
    }
    for username in name::candidates(name, provider) {
        let created = create(db, (provider, subject), &profile_name, &username).await?;
        if created.is_some() {
            return Ok(created);
        }
    }
    Ok(None)
}

/// The user of an identity, whose profile name is brought up to date.
async fn sign_in(
    db: &mut PgConnection,
    provider: &str,
    subject: &str,
    profile_name: &str,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "UPDATE identities SET profile_name = COALESCE(NULLIF($3, ''), profile_name)
         WHERE provider = $1 AND subject = $2
         RETURNING user_id",
        provider,
        subject,
        profile_name
    )
    .fetch_optional(db)
    .await
}

/// Until the end of the transaction nobody else makes a user of this identity.
async fn lock(db: &mut PgConnection, provider: &str, subject: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
        format!("identity {provider} {subject}")
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Makes a user without a password and their identity, unless the username is taken, in whatever case.
async fn create(
    db: &mut PgConnection,
    (provider, subject): (&str, &str),
    profile_name: &str,
    username: &Username,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "WITH added AS (INSERT INTO users (username) VALUES ($4) ON CONFLICT DO NOTHING RETURNING id)
         INSERT INTO identities (provider, subject, profile_name, user_id)
         SELECT $1, $2, COALESCE(NULLIF($3, ''), $4), id FROM added
         RETURNING user_id",
        provider,
        subject,
        profile_name,
        username.as_str()
    )
    .fetch_optional(db)
    .await
}
