//! Rows by the million: copied instead of inserted, in one transaction, with what would be work for each row set aside.

use sqlx::postgres::PgCopyIn;
use sqlx::{AssertSqlSafe, PgConnection};

/// The tables that are filled; none has a partition or a name that would need quotes.
const TABLES: [&str; 3] = ["users", "quizzes", "favourites"];

/// The marker of a database that has been filled, in the table `seeds`.
const MARKER: &str = "fill";

/// The columns that are copied. `quizzes.likes` and `users.quizzes` are among them: triggers do not run.
pub enum Table {
    Users,
    Quizzes,
    Favourites,
}

impl Table {
    /// The statement that copies. Identities are given: COPY may do that where INSERT may not.
    fn copy(&self) -> &'static str {
        match self {
            Self::Users => {
                "COPY users (id, username, password_hash, best_score, quizzes, created_at, updated_at) FROM STDIN"
            }
            Self::Quizzes => {
                "COPY quizzes (id, question, answer, author_id, attachment_id, attachment_changed_at, likes, random_key,
                               created_at, updated_at) FROM STDIN"
            }
            Self::Favourites => "COPY favourites (user_id, quiz_id) FROM STDIN",
        }
    }
}

/// Is the database that of a site, however old?
pub async fn has_tables(db: &mut PgConnection) -> sqlx::Result<bool> {
    // Unchecked: at compile time there are tables.
    sqlx::query_scalar(
        "SELECT to_regclass('users') IS NOT NULL AND to_regclass('quizzes') IS NOT NULL AND to_regclass('seeds') IS NOT NULL",
    )
    .fetch_one(db)
    .await
}

/// Has the database been filled before?
pub async fn is_filled(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM seeds WHERE name = $1) AS "filled!""#,
        MARKER
    )
    .fetch_one(db)
    .await
}

/// Notes that it has.
pub async fn mark(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO seeds (name) VALUES ($1) ON CONFLICT DO NOTHING",
        MARKER
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Are there users other than those that are planted, or quizzes other than these?
pub async fn holds_others(db: &mut PgConnection, planted: &[String]) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT (EXISTS (SELECT FROM users WHERE username NOT IN ('admin', 'pepe'))
                OR EXISTS (SELECT FROM quizzes WHERE question <> ALL ($1))) AS "others!""#,
        planted
    )
    .fetch_one(db)
    .await
}

/// The ids that come next.
pub struct NextIds {
    pub user: i64,
    pub quiz: i64,
}

/// Keeps everybody else from the tables until the transaction ends, and tells the ids that come next in them.
pub async fn lock(db: &mut PgConnection) -> sqlx::Result<NextIds> {
    // Should this program end, the server goes on with a statement of minutes, and holds the locks, until it looks.
    sqlx::query("SET LOCAL client_connection_check_interval = '2s'")
        .execute(&mut *db)
        .await?;
    sqlx::query!("LOCK TABLE users, quizzes, favourites IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *db)
        .await?;
    sqlx::query_as!(
        NextIds,
        r#"SELECT users.last_value + users.is_called::integer AS "user!",
                  quizzes.last_value + quizzes.is_called::integer AS "quiz!"
           FROM users_id_seq AS users, quizzes_id_seq AS quizzes"#
    )
    .fetch_one(db)
    .await
}

/// Makes the identities go on after the rows that have been copied. Unlike `setval`, it is undone with the transaction.
pub async fn go_on_with(db: &mut PgConnection, next: &NextIds) -> sqlx::Result<()> {
    for (table, id) in [("users", next.user), ("quizzes", next.quiz)] {
        let sql = format!("ALTER TABLE {table} ALTER COLUMN id RESTART WITH {id}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *db).await?;
    }
    Ok(())
}

/// What makes the tables whole again: statements in their order, each with what it makes.
pub struct SetAside(Vec<(String, String)>);

/// Sets aside what costs more row by row than at once: triggers, references to other tables, and indexes that keep nothing
/// unique. The transaction must not be committed before [`SetAside::restore`]; without a commit nothing has changed.
pub async fn set_aside(db: &mut PgConnection) -> sqlx::Result<SetAside> {
    let tables: Vec<String> = TABLES.map(str::to_owned).to_vec();
    // Both give names with the quotes that they need.
    let references = sqlx::query!(
        r#"SELECT conrelid::regclass::text AS "table!", quote_ident(conname) AS "name!",
                  pg_get_constraintdef(oid) AS "definition!"
           FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY ($1::text[]::regclass[]) ORDER BY conname"#,
        &tables
    )
    .fetch_all(&mut *db)
    .await?;
    let indexes = sqlx::query!(
        r#"SELECT indexrelid::regclass::text AS "name!", pg_get_indexdef(indexrelid) AS "definition!"
           FROM pg_index WHERE indrelid = ANY ($1::text[]::regclass[]) AND NOT indisunique ORDER BY indexrelid"#,
        &tables
    )
    .fetch_all(&mut *db)
    .await?;
    let mut restore = Vec::new();
    for table in TABLES {
        run(db, format!("ALTER TABLE {table} DISABLE TRIGGER USER")).await?;
    }
    for index in indexes {
        run(db, format!("DROP INDEX {}", index.name)).await?;
        restore.push((index.name, index.definition));
    }
    for reference in references {
        let (table, name) = (reference.table, reference.name);
        run(db, format!("ALTER TABLE {table} DROP CONSTRAINT {name}")).await?;
        let definition = reference.definition;
        let add = format!("ALTER TABLE {table} ADD CONSTRAINT {name} {definition}");
        restore.push((name, add));
    }
    for table in TABLES {
        let enable = format!("ALTER TABLE {table} ENABLE TRIGGER USER");
        restore.push((format!("the triggers of {table}"), enable));
    }
    Ok(SetAside(restore))
}

impl SetAside {
    /// Puts everything back, in the same transaction; `begins` hears of each thing before. References are checked.
    pub async fn restore(
        self,
        db: &mut PgConnection,
        mut begins: impl FnMut(&str),
    ) -> sqlx::Result<()> {
        // For this transaction only, and each of up to three processes: sorting in memory is most of the work.
        run(db, "SET LOCAL maintenance_work_mem = '256MB'".to_owned()).await?;
        for (name, sql) in self.0 {
            begins(&name);
            run(db, sql).await?;
        }
        Ok(())
    }
}

/// Begins to copy rows in the text format of COPY: columns between tabs, rows between newlines.
pub async fn copy(
    db: &mut PgConnection,
    table: Table,
) -> sqlx::Result<PgCopyIn<&mut PgConnection>> {
    db.copy_in_raw(table.copy()).await
}

/// Tells the planner what is in the tables now, and which of their pages everybody may see: without that an index alone
/// answers nothing. Not in a transaction.
pub async fn vacuum(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("VACUUM (ANALYZE) users, quizzes, favourites, attachments")
        .execute(db)
        .await?;
    Ok(())
}

async fn run(db: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(db).await?;
    Ok(())
}
