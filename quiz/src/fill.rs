//! `quiz-web fill`: a database with users, quizzes and favourites by the million that nobody has written, to measure the site
//! with. Never for a site that others reach: all its users have one password.
//!
//! 1. The database is prepared as for a front-end, and six of the drawings of the demo questions are stored like uploads.
//! 2. In one transaction: everybody else waits, the tables are seen to hold nothing but seeds, and what is work for each row
//!    is [set aside](db::fill::set_aside).
//! 3. Users, quizzes and favourites are made up (`fill/content.rs`) and copied. The counts that triggers keep are copied with them,
//!    because `fill/favourites.rs` makes them up twice: once to count.
//! 4. Indexes and references are made again, and the transaction is committed: before that, nothing has happened.
//!
//! Takes four bytes of memory for each quiz and each user twice, and 90 MiB.

use std::fmt::Write;

use anyhow::{Context, bail};
use clap::Args;
use sqlx::postgres::PgCopyIn;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::app::App;
use crate::config::Secret;
use crate::db;
use crate::db::fill::{self as rows, NextIds, Table};
use crate::demo;
use crate::domain::password::NewPassword;
use crate::locale::Language;

mod chance;
mod content;
mod favourites;
mod progress;

pub use content::{COMMON_WORD, RARE, RARE_WORD, username};

use content::Content;
use favourites::Favourites;
use progress::Progress;

/// Drawings that the quizzes share.
const DRAWINGS: usize = 6;

/// What is sent to the database at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// What to fill a database with.
#[derive(Clone, Debug, Args)]
pub struct FillConfig {
    /// Quizzes to add
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub quizzes: u64,

    /// Users to add. Their names are a first name and their id: the first one of a new site is "diego3"
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub users: u64,

    /// Favourites to add: at most a quarter of users × quizzes
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u64).range(0..=4_000_000_000))]
    pub favourites: u64,

    /// The same seed makes the same content
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Password of all the users that are added, by the rules of all passwords. They share one hash, too: such a site must
    /// never be reached by others
    #[arg(
        long = "fill-password",
        env = "QUIZ_FILL_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub password: Secret,

    /// Add to what users have written or an earlier call has added. Without it only a database with nothing but seeds is filled
    #[arg(long)]
    pub add: bool,
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    quizzes: u64,
    users: u64,
    favourites: u64,
    seed: u64,
}

impl FillConfig {
    /// What cannot work whatever the database holds.
    pub fn check(&self) -> Result<(), String> {
        let most = Favourites::most(self.sizes());
        if self.favourites > most {
            return Err(format!(
                "--favourites is too large: {} users and {} quizzes have {most} at most",
                self.users, self.quizzes
            ));
        }
        self.new_password().map(|_| ())
    }

    fn new_password(&self) -> Result<NewPassword, String> {
        NewPassword::parse(Some(self.password.expose()), None, "").map_err(|error| {
            format!(
                "QUIZ_FILL_PASSWORD: {}",
                error.text(Language::English.texts())
            )
        })
    }

    fn sizes(&self) -> Sizes {
        Sizes {
            quizzes: self.quizzes,
            users: self.users,
            favourites: self.favourites,
            seed: self.seed,
        }
    }
}

/// Fills a database that has been prepared for front-ends. Given up, it leaves pictures that the sweep removes and nothing else.
pub async fn run(app: &App, config: &FillConfig) -> anyhow::Result<()> {
    config.check().map_err(anyhow::Error::msg)?;
    let password = config.new_password().map_err(anyhow::Error::msg)?;
    // What is slow here is meant to be.
    let options = app.db_options.clone().disable_statement_logging();
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("connecting to the database")?;
    refuse_others(&mut connection, config).await?;
    let pictures = demo::save_drawings(app, DRAWINGS)
        .await
        .context("storing the pictures")?;
    let password_hash = app.passwords.hash(password.expose().to_owned()).await?;

    let mut transaction = connection.begin().await?;
    let first = rows::lock(&mut transaction).await?;
    // Again: now nobody adds anything.
    refuse_others(&mut transaction, config).await?;
    let aside = rows::set_aside(&mut transaction).await?;
    let sizes = config.sizes();
    let made = Made {
        sizes,
        content: Content::new(sizes, pictures.len()),
        favourites: Favourites::new(sizes),
        first: &first,
        pictures: &pictures,
        password_hash: &password_hash,
    };
    made.copy(&mut transaction).await?;
    aside
        .restore(&mut transaction, |name| tracing::info!("making {name}"))
        .await
        .context("making indexes and references again")?;
    for picture in pictures {
        db::attachments::claim(&mut transaction, picture).await?;
    }
    let next = NextIds {
        user: first.user + sizes.users as i64,
        quiz: first.quiz + sizes.quizzes as i64,
    };
    rows::go_on_with(&mut transaction, &next).await?;
    rows::mark(&mut transaction).await?;
    transaction.commit().await.context("committing")?;
    tracing::info!("everything is committed; vacuuming");
    rows::vacuum(&mut connection).await.context("vacuuming")?;
    connection.close().await?;
    tracing::info!(
        quizzes = sizes.quizzes,
        users = sizes.users,
        favourites = sizes.favourites,
        "filled the database: the users from {} to {} have the password that was given",
        username(first.user),
        username(next.user - 1)
    );
    Ok(())
}

/// Refuses a database that is somebody's before anything is changed in it. One that has no tables yet is nobody's.
pub async fn refuse_somebodys(app: &App, config: &FillConfig) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect_with(&app.db_options)
        .await
        .context("connecting to the database")?;
    if rows::has_tables(&mut connection).await? {
        refuse_others(&mut connection, config).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Nobody fills a site by mistake that is somebody's.
async fn refuse_others(connection: &mut PgConnection, config: &FillConfig) -> anyhow::Result<()> {
    if config.add {
        return Ok(());
    }
    if rows::is_filled(connection).await? {
        bail!("the database has been filled before: with --add this would be added");
    }
    let mut planted = db::seeds::questions();
    planted.extend(
        demo::questions()?
            .into_iter()
            .map(|demo| demo.texts.question),
    );
    if rows::holds_others(connection, &planted).await? {
        bail!(
            "the database holds users or quizzes that are no seeds: this is for a database of its own; \
             with --add they stay, and strangers to them are added whose password many know"
        );
    }
    Ok(())
}

/// Everything that is copied.
struct Made<'a> {
    sizes: Sizes,
    content: Content,
    favourites: Favourites,
    first: &'a NextIds,
    /// Ids of attachments.
    pictures: &'a [i64],
    password_hash: &'a str,
}

impl Made<'_> {
    async fn copy(&self, db: &mut PgConnection) -> anyhow::Result<()> {
        let Sizes {
            quizzes,
            users,
            favourites,
            ..
        } = self.sizes;
        let mut progress = Progress::new(quizzes + users + favourites);
        self.copy_users(db, &mut progress)
            .await
            .context("copying users")?;
        self.copy_quizzes(db, &mut progress)
            .await
            .context("copying quizzes")?;
        self.copy_favourites(db, &mut progress)
            .await
            .context("copying favourites")
    }

    async fn copy_users(&self, db: &mut PgConnection, progress: &mut Progress) -> sqlx::Result<()> {
        let mut written = vec![0_u32; self.sizes.users as usize];
        for quiz in 0..self.sizes.quizzes {
            written[self.content.author_of(quiz) as usize] += 1;
        }
        let mut sink = Sink::begin(db, Table::Users, progress).await?;
        for (index, quizzes) in (0_u64..).zip(written) {
            let id = self.first.user + index as i64;
            let user = self.content.user(index, id);
            sink.row(format_args!(
                "{id}\t{}\t{}\t{}\t{quizzes}\t{}\t{}",
                user.name, self.password_hash, user.best_score, user.created_at, user.created_at
            ))
            .await?;
        }
        sink.finish().await
    }

    async fn copy_quizzes(
        &self,
        db: &mut PgConnection,
        progress: &mut Progress,
    ) -> sqlx::Result<()> {
        let likes = self.favourites.likes();
        let mut sink = Sink::begin(db, Table::Quizzes, progress).await?;
        for (index, likes) in (0_u64..).zip(likes) {
            let quiz = self.content.quiz(index);
            let (picture, attached_at) = match quiz.picture {
                Some(picture) => (self.pictures[picture].to_string(), quiz.created_at.as_str()),
                None => ("\\N".to_owned(), "\\N"),
            };
            sink.row(format_args!(
                "{}\t{}\t{}\t{}\t{picture}\t{attached_at}\t{likes}\t{}\t{}\t{}",
                self.first.quiz + index as i64,
                quiz.question,
                quiz.answer,
                self.first.user + quiz.author as i64,
                quiz.random_key,
                quiz.created_at,
                quiz.created_at
            ))
            .await?;
        }
        sink.finish().await
    }

    async fn copy_favourites(
        &self,
        db: &mut PgConnection,
        progress: &mut Progress,
    ) -> sqlx::Result<()> {
        let mut sink = Sink::begin(db, Table::Favourites, progress).await?;
        for index in 0..self.sizes.users {
            let user = self.first.user + index as i64;
            for quiz in self.favourites.of(index) {
                let quiz = self.first.quiz + quiz as i64;
                sink.row(format_args!("{user}\t{quiz}")).await?;
            }
        }
        sink.finish().await
    }
}

/// Where the rows of one table go, a chunk at a time.
struct Sink<'a> {
    copy: PgCopyIn<&'a mut PgConnection>,
    chunk: String,
    rows: u64,
    progress: &'a mut Progress,
}

impl<'a> Sink<'a> {
    async fn begin(
        db: &'a mut PgConnection,
        table: Table,
        progress: &'a mut Progress,
    ) -> sqlx::Result<Self> {
        Ok(Self {
            copy: rows::copy(db, table).await?,
            chunk: String::with_capacity(CHUNK + 1024),
            rows: 0,
            progress,
        })
    }

    /// A row in the format of COPY: nothing in it may need an escape.
    async fn row(&mut self, columns: std::fmt::Arguments<'_>) -> sqlx::Result<()> {
        writeln!(self.chunk, "{columns}").expect("a string takes everything");
        self.rows += 1;
        if self.chunk.len() >= CHUNK {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> sqlx::Result<()> {
        self.copy.send(self.chunk.as_bytes()).await?;
        self.chunk.clear();
        self.progress.advance(self.rows);
        self.rows = 0;
        Ok(())
    }

    async fn finish(mut self) -> sqlx::Result<()> {
        self.send().await?;
        self.copy.finish().await?;
        Ok(())
    }
}
