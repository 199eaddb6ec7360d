//! The table of all pages: who sees each, and how to get there.

use crate::common::Site;

/// Settings that make every page reachable.
pub(crate) const SETTINGS: [(&str, &str); 0] = [];

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
    let player = site.visitor();
    player.log_in("pepe", site.stack.site_password()).await;
    let (own, _) = player
        .create_quiz(
            "Which of these two colours is nearer to the sky over Madrid in July?",
            3,
        )
        .await;
    fill(site).await;
    let pepe = "SELECT id FROM users WHERE username = 'pepe'";
    let pepe = site.stack.postgres().sql("quiz", pepe).await.unwrap();
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
        stranger("quizzes", "/quizzes"),
        stranger("quizzes-page", "/quizzes?pageno=4"),
        stranger("quizzes-search", "/quizzes?search=CAPITÁL+of&sort=liked"),
        stranger("quizzes-nothing", "/quizzes?search=no+such+question"),
        stranger("quizzes-no-such-page", "/quizzes?pageno=99"),
        stranger("quizzes-too-far", "/quizzes?pageno=9999"),
        stranger("play", "/quizzes/3/play"),
        stranger("play-picture", &format!("{own}/play")),
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
        player("quizzes-mine", &format!("/users/{pepe}/quizzes")),
        player("quizzes-favourites", "/quizzes?searchfavourites=1"),
        player("quizzes-player", "/quizzes"),
        player("quiz", &own),
        player("quiz-forbidden", "/quizzes/1").status(403),
        player("quiz-new", "/quizzes/new"),
        player("quiz-new-errors", "/quizzes/new")
            .fill("[name=answer]", "  ")
            .press("main form button")
            .status(422),
        admin("quiz-admin", "/quizzes/1"),
        admin("quizzes-admin", "/quizzes"),
    ]
}

/// Questions for several pages of the list.
async fn fill(site: &Site) {
    let insert = "INSERT INTO quizzes (question, answer, author_id) \
                  SELECT 'How many is ' || n || ' times ' || n + 1 || '?', n * (n + 1), 1 + n % 2 \
                  FROM generate_series(1, 75) AS n";
    site.stack.postgres().sql("quiz", insert).await.unwrap();
}
