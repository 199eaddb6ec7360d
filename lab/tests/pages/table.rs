//! The table of all pages: who sees each, and how to get there.

use reqwest::multipart::{Form, Part};

use crate::common::{Site, Visitor, eventually, png_part};

/// Settings that make every page reachable.
pub(crate) const SETTINGS: [(&str, &str); 7] = [
    ("QUIZ_SEED_DEMO", "true"),
    ("QUIZ_LIMIT_LOGIN", "5/86400"),
    ("QUIZ_OPEN_REGISTRATION", "true"),
    ("QUIZ_GITHUB_CLIENT_ID", "never-asked"),
    ("QUIZ_GITHUB_CLIENT_SECRET", "never-told"),
    ("QUIZ_PUBLIC_URL", "http://localhost"),
    ("QUIZ_LIMIT_CHECK", "40/86400"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Stranger,
    /// `pepe`, who has written the quiz with a picture.
    Player,
    Admin,
}

/// What to do once the address has been opened.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Types into the field that the selector finds.
    Fill(&'static str, String),
    /// Presses a button; the browser does not look at the fields of its form first.
    Press(&'static str),
    /// Opens a menu on a phone.
    Unfold(&'static str),
}

pub(crate) struct Page {
    /// Name of its screenshots.
    pub(crate) name: &'static str,
    pub(crate) who: Who,
    pub(crate) path: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) status: u16,
}

impl Page {
    fn of(who: Who, name: &'static str, path: impl Into<String>) -> Self {
        Self {
            name,
            who,
            path: path.into(),
            steps: Vec::new(),
            status: 200,
        }
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn fill(mut self, selector: &'static str, text: impl Into<String>) -> Self {
        self.steps.push(Step::Fill(selector, text.into()));
        self
    }

    fn unfold(mut self, selector: &'static str) -> Self {
        self.steps.push(Step::Unfold(selector));
        self
    }

    fn press(mut self, selector: &'static str) -> Self {
        self.steps.push(Step::Press(selector));
        self
    }
}

/// Fills the site with what the pages show, then lists them.
pub(crate) async fn pages(site: &Site) -> Vec<Page> {
    let sql = async |statement: &str| site.stack.postgres().sql("quiz", statement).await.unwrap();
    let pepe = sql("SELECT id FROM users WHERE username = 'pepe'").await;
    let boss = sql("SELECT id FROM users WHERE username = 'admin'").await;
    exhaust_log_ins(site).await;
    let Made {
        own,
        video,
        document,
    } = fill(site, &format!("/users/{pepe}")).await;
    let stranger = |name, path: &str| Page::of(Who::Stranger, name, path);
    let player = |name, path: &str| Page::of(Who::Player, name, path);
    let admin = |name, path: &str| Page::of(Who::Admin, name, path);
    vec![
        stranger("home", "/"),
        stranger("author", "/author"),
        stranger("login", "/login"),
        stranger("login-failed", "/login")
            .fill("[name=username]", "pepe")
            .fill("[name=password]", "wrong")
            .press("main form button"),
        stranger("login-required", "/quizzes/new"),
        stranger("login-throttled", "/login")
            .fill("[name=username]", UNLUCKY)
            .fill("[name=password]", "wrong")
            .press("main form button")
            .status(429),
        stranger("user-new", "/users/new"),
        stranger("user-new-errors", "/users/new")
            .fill("[name=username]", "PEPE")
            .fill("[name=password]", "short")
            .fill("[name=password2]", "Shorter")
            .press("main form button")
            .status(422),
        stranger("quizzes", "/quizzes"),
        stranger("quizzes-page", "/quizzes?pageno=4"),
        stranger("quizzes-search", "/quizzes?search=CAPITÁL+of&sort=liked"),
        stranger("quizzes-nothing", "/quizzes?search=no+such+question"),
        stranger("quizzes-no-such-page", "/quizzes?pageno=99"),
        stranger("quizzes-too-far", "/quizzes?pageno=9999"),
        stranger("play", "/quizzes/3/play"),
        stranger("play-picture", &format!("{own}/play")),
        stranger("play-video", &format!("{video}/play")),
        stranger("play-document", &format!("{document}/play")),
        stranger("play-right", "/quizzes/3/check?answer=madrid"),
        stranger(
            "play-wrong",
            "/quizzes/3/check?answer=Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft",
        ),
        stranger("random-start", "/random"),
        stranger("random-question", "/random").press("main form button"),
        stranger("random-over", "/random")
            .fill("[name=answer]", "no idea")
            .press("main form button"),
        stranger("error-400", "/quizzes?pageno=0").status(400),
        stranger("error-404", "/nothing/here").status(404),
        player("home-player", "/"),
        player("menu", "/author").unfold(".menu-button"),
        player("account-menu", "/author").unfold(".account-button"),
        player("sessions", "/sessions"),
        player("users", "/users"),
        player("user-own", &format!("/users/{pepe}")),
        player("user-token", &format!("/users/{pepe}")).press("form[action$='/token'] button"),
        player("user-other", &format!("/users/{boss}")),
        player("user-edit", &format!("/users/{pepe}/edit")),
        player("user-edit-errors", &format!("/users/{pepe}/edit"))
            .fill("[name=password]", "quizstack1")
            .press("main form button")
            .status(422),
        player("user-delete", &format!("/users/{pepe}/delete")),
        player("quizzes-of-other", &format!("/users/{boss}/quizzes")),
        player("quizzes-mine", &format!("/users/{pepe}/quizzes")),
        player("quizzes-favourites", "/quizzes?searchfavourites=1"),
        player("quizzes-player", "/quizzes"),
        player("quiz", &own),
        player("quiz-edit", &format!("{own}/edit")),
        player("quiz-edit-errors", &format!("{own}/edit"))
            .fill("[name=answer]", " ")
            .press("main form button")
            .status(422),
        player("quiz-delete", &format!("{own}/delete")),
        player("quiz-forbidden", "/quizzes/1").status(403),
        player("quiz-new", "/quizzes/new"),
        player("quiz-new-errors", "/quizzes/new")
            .fill("[name=answer]", "  ")
            .press("main form button")
            .status(422),
        admin("quiz-admin", "/quizzes/1"),
        admin("quizzes-admin", "/quizzes"),
        admin("users-admin", "/users"),
        admin("users-admin-page", "/users?pageno=2"),
        admin("user-admin", &format!("/users/{pepe}")),
    ]
}

/// An account that somebody tries to get into.
const UNLUCKY: &str = "nobody";

const ROWS: [&str; 3] = [
    "INSERT INTO users (username) SELECT 'player ' || n FROM generate_series(1, 14) AS n
     UNION SELECT 'Bartholomäus-Maximilian-Donaudampfschifffahrtskapitänsanwärter'",
    "UPDATE quizzes SET author_id = 1 + id % 15 WHERE id > 4",
    "INSERT INTO favourites (user_id, quiz_id)
     SELECT users.id, quizzes.id FROM users, quizzes WHERE quizzes.id % 3 <> 0 AND users.id < 9",
];

/// Paths of quizzes by `pepe` with a picture, a video, a document.
struct Made {
    own: String,
    video: String,
    document: String,
}

/// Fills several pages of the lists, gives `pepe`, whose page is `profile`, a photo and quizzes with attachments.
async fn fill(site: &Site, profile: &str) -> Made {
    for rows in ROWS {
        site.stack.postgres().sql("quiz", rows).await.unwrap();
    }
    let player = site.visitor();
    player.log_in("pepe", site.stack.site_password()).await;
    let mut form = Form::new();
    for (name, value) in player
        .hidden_fields(&format!("{profile}/edit"), profile)
        .await
    {
        form = form.text(name, value);
    }
    let saved = player.post(profile, form.part("photo", png_part(9))).await;
    assert_eq!(saved.status(), 303, "{:?}", saved.text().await);
    let question = "Which of these two colours is nearer to the sky over Madrid in July?";
    Made {
        own: player.create_quiz(question, 3).await.0,
        video: with_file(
            &player,
            "What happens next?",
            b"\0\0\0\x18ftypisom\0\0\x02\0isommp42",
        )
        .await,
        document: with_file(&player, "Who wrote this?", b"%PDF-1.4\n%%EOF\n").await,
    }
}

async fn with_file(player: &Visitor, question: &str, bytes: &'static [u8]) -> String {
    let file = Part::bytes(bytes).file_name("file");
    let saved = player.post_quiz(question, "Nobody knows", Some(file)).await;
    assert_eq!(saved.status(), 303, "{:?}", saved.text().await);
    saved.headers()["location"].to_str().unwrap().to_owned()
}

/// Wrong passwords until no more are taken.
async fn exhaust_log_ins(site: &Site) {
    let stranger = site.visitor();
    let mut form = stranger.hidden_fields("/login", "/login").await;
    form.push(("username".to_owned(), UNLUCKY.to_owned()));
    form.push(("password".to_owned(), "wrong".to_owned()));
    eventually("no more log-ins are taken", async || {
        let url = format!("{}/login", stranger.base);
        let reply = stranger.http.post(url).form(&form).send().await.unwrap();
        reply.status() == 429
    })
    .await;
}

/// Answers until no front-end checks another one. From then on the page for it is one that says so.
pub(crate) async fn exhaust_checks(site: &Site) -> Page {
    let path = "/quizzes/1/check?answer=x";
    for front_end in site.front_ends() {
        let stranger = Visitor::new(front_end);
        eventually("no more answers are checked", async || {
            stranger.get(path).await.status() == 429
        })
        .await;
    }
    Page::of(Who::Stranger, "error-429", path).status(429)
}

/// Takes the database away.
pub(crate) async fn lose_the_database(site: &Site) -> Page {
    for statement in [
        "ALTER DATABASE quiz ALLOW_CONNECTIONS false",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'quiz'",
    ] {
        site.stack
            .postgres()
            .sql("postgres", statement)
            .await
            .unwrap();
    }
    Page::of(Who::Stranger, "error-503", "/quizzes").status(503)
}
