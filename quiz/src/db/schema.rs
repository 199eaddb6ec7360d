//! Which migrations the database has, compared with those of this program.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use sqlx::migrate::{Migrate as _, MigrateError};

use super::MIGRATIONS;

/// What PostgreSQL says of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// Where database and program differ, by version.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Migrations of this program that have not been applied.
    pub missing: Vec<i64>,
    /// Applied ones that this program does not know: those of a later release.
    pub unknown: Vec<i64>,
}

/// Asks the database; changes nothing.
pub async fn compare(connection: &mut PgConnection) -> Result<Difference, MigrateError> {
    let applied = match connection
        .list_applied_migrations(&MIGRATIONS.table_name)
        .await
    {
        Ok(applied) => applied,
        Err(error) if is_undefined_table(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let known = MIGRATIONS
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration());
    Ok(difference(
        &known.map(|migration| migration.version).collect(),
        &applied.iter().map(|migration| migration.version).collect(),
    ))
}

fn is_undefined_table(error: &MigrateError) -> bool {
    let MigrateError::Execute(sqlx::Error::Database(error)) = error else {
        return false;
    };
    error.code().as_deref() == Some(UNDEFINED_TABLE)
}

fn difference(known: &BTreeSet<i64>, applied: &BTreeSet<i64>) -> Difference {
    Difference {
        missing: known.difference(applied).copied().collect(),
        unknown: applied.difference(known).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_side_has_is_told_by_version() {
        let (known, applied) = ([1, 2, 5].into(), [1, 2, 9].into());
        let expected = Difference {
            missing: vec![5],
            unknown: vec![9],
        };
        assert_eq!(difference(&known, &applied), expected);
    }
}
