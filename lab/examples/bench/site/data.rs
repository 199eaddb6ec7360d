//! What the sites have: quizzes, users and favourites by `quiz-web fill`.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Site, run};
use crate::Size;

/// How long the data of the large site may take to be written.
const FILL: Duration = Duration::from_secs(1800);

/// Pictures for the newest thousand quizzes that have none and photos for the first users, as far as the database knows: a page
/// names them, and nobody asks for them.
const PICTURES: &str = "
    INSERT INTO attachments (image_id, mime, width, height, thumbnail, released_at)
        SELECT encode(sha256(convert_to(number::text, 'UTF8')), 'hex') || '.png', 'image/png', 640, 480, true, NULL
        FROM generate_series(1, 1000) AS number
        ON CONFLICT DO NOTHING;
    UPDATE quizzes SET attachment_id = pictured.id
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM attachments WHERE mime = 'image/png' LIMIT 1000) AS pictured
        WHERE quizzes.id > (SELECT max(id) - 1000 FROM quizzes) AND pictured.number = quizzes.id % 1000 + 1
              AND quizzes.attachment_id IS NULL;
    UPDATE users SET photo_id = pictured.id
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS number FROM attachments WHERE mime = 'image/png' LIMIT 1000) AS pictured
        WHERE users.id <= 2000 AND pictured.number = users.id % 1000 + 1 AND users.photo_id IS NULL";

impl Site {
    /// URL of the database of the small site, each of whose newest thousand quizzes has a picture; it is filled at the first
    /// call.
    pub(crate) async fn small(&self) -> anyhow::Result<String> {
        let make = async || {
            let url = self.filled("small", self.form.small).await?;
            self.postgres.sql("small", PICTURES).await?;
            self.postgres
                .sql("small", "VACUUM (FREEZE, ANALYZE)")
                .await?;
            Ok(url)
        };
        self.small.get_or_try_init(make).await.cloned()
    }

    /// A small site like the large one: a tenth of its quizzes have a picture.
    pub(crate) async fn plain(&self) -> anyhow::Result<String> {
        self.filled("plain", self.form.small).await
    }

    /// The same for the large one.
    pub(crate) async fn large(&self) -> anyhow::Result<String> {
        let make = || self.filled("large", self.form.large);
        self.large.get_or_try_init(make).await.cloned()
    }

    async fn filled(&self, name: &str, size: Size) -> anyhow::Result<String> {
        eprintln!("filling a site with {} quizzes", size.quizzes);
        let secrets = self.state.secrets()?;
        let url = self
            .postgres
            .ensure_database(name, &secrets.database)
            .await?;
        let numbers = [size.quizzes, size.users, size.favourites].map(|number| number.to_string());
        let [quizzes, users, favourites] = &numbers;
        let arguments = [
            ["--quizzes", quizzes],
            ["--users", users],
            ["--favourites", favourites],
        ];
        let arguments = [["fill"].as_slice(), arguments.as_flattened()].concat();
        self.quiz_web(&url, &arguments).await?;
        // Nothing of this shall happen later, beside a measurement.
        self.postgres.sql(name, "VACUUM (FREEZE, ANALYZE)").await?;
        self.postgres.sql(name, "CHECKPOINT").await?;
        Ok(url)
    }

    /// Runs a command of the front-end.
    async fn quiz_web(&self, database: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let spec = self.front_end_spec("command", database, &[])?;
        let program = self.form.programs.join("quiz-web");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).arg(program);
        command.args(arguments).envs(spec.env);
        command.env("QUIZ_FILL_PASSWORD", self.site_password()?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let words = arguments.first().copied().unwrap_or_default();
        run(command, &format!("quiz-web {words}"), FILL)
            .await
            .map(drop)
    }
}
