//! A running site for one test, and a browser to visit it.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use quiz_web::config::Config;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, StatusCode, redirect};
use scraper::{Html, Selector};
use sqlx::{ConnectOptions, PgPool};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const PASSWORD: &str = "Correct-horse-7";

/// Nothing in a test takes this long; what does is stuck.
const DEADLINE: Duration = Duration::from_secs(60);

/// One front-end. End it with [`TestApp::stop`], which also shows that it ends well.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) admin_url: String,
    pub(crate) pool: PgPool,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<()>>,
    _pictures: Option<TempDir>,
}

impl TestApp {
    /// A front-end with default settings, ready to serve.
    pub(crate) async fn start(pool: PgPool) -> Self {
        Self::start_with(pool, &[]).await
    }

    /// A front-end with some settings of its own, ready to serve.
    pub(crate) async fn start_with(pool: PgPool, settings: &[&str]) -> Self {
        let app = Self::launch(pool, settings).await;
        app.wait_until_ready().await;
        app
    }

    /// A front-end that may not be ready yet.
    pub(crate) async fn launch(pool: PgPool, settings: &[&str]) -> Self {
        let own_store = !settings.contains(&"--store-url");
        let pictures = own_store.then(|| TempDir::new().unwrap());
        let store = pictures
            .as_ref()
            .map(|dir| format!("file://{}", dir.path().display()));
        let mut settings = settings.to_vec();
        if let Some(store) = &store {
            settings.extend(["--store-url", store]);
        }
        let config = Self::config(&pool, &settings);
        let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let urls = (site.local_addr().unwrap(), admin.local_addr().unwrap());
        let running = tokio::spawn(quiz_web::run(site, admin, config, async {
            stopped.await.ok();
        }));
        Self {
            url: format!("http://{}", urls.0),
            admin_url: format!("http://{}", urls.1),
            pool,
            stop,
            running,
            _pictures: pictures,
        }
    }

    /// Settings for tests, unless `settings` says otherwise.
    pub(crate) fn config(pool: &PgPool, settings: &[&str]) -> Config {
        let url = pool.connect_options().to_url_lossy().to_string();
        let mut args = vec!["quiz-web"];
        for (name, value) in [
            ("--database-url", url.as_str()),
            ("--secret", "0123456789abcdef0123456789abcdef"),
            ("--seed-password", PASSWORD),
            ("--seed-pepe-password", PASSWORD),
            ("--drain-secs", "0"),
            // A busy machine is no outage.
            ("--db-acquire-timeout-ms", "30000"),
            ("--db-check-timeout-ms", "30000"),
            ("--db-statement-timeout-ms", "30000"),
            // The cost of a real hash would only slow the tests down.
            ("--argon2-memory-kib", "64"),
            ("--argon2-iterations", "1"),
        ] {
            if !settings.contains(&name) {
                args.extend([name, value]);
            }
        }
        args.extend(settings);
        Config::try_parse_from(args).unwrap()
    }

    pub(crate) async fn wait_until_ready(&self) {
        let browser = self.browser();
        wait_for(async || browser.get("/ready").await.status == StatusCode::OK).await;
    }

    /// Asks it to stop, as SIGTERM does, and leaves it draining.
    pub(crate) fn ask_to_stop(self) -> (JoinHandle<anyhow::Result<()>>, Browser) {
        let browser = self.browser();
        self.stop.send(()).unwrap();
        (self.running, browser)
    }

    /// Stops it and sees that it ends without an error.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// The error of a front-end that does not come up.
    pub(crate) async fn failure(self) -> String {
        let ended = tokio::time::timeout(DEADLINE, self.running)
            .await
            .unwrap()
            .unwrap();
        format!("{:#}", ended.unwrap_err())
    }

    /// A visitor without cookies.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.url.clone())
    }

    /// A visitor who is logged in.
    pub(crate) async fn logged_in(&self, username: &str) -> Browser {
        let browser = self.browser();
        browser
            .log_in(username, PASSWORD)
            .await
            .assert_redirect("/goback");
        browser
    }

    /// Adds `count` quizzes without author.
    pub(crate) async fn add_quizzes(&self, count: i32) {
        sqlx::query("INSERT INTO quizzes (question, answer) SELECT 'Question ' || n, 'x' FROM generate_series(1, $1) n")
            .bind(count)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Rows of a table.
    pub(crate) async fn rows(&self, table: &'static str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

/// Polls until it is true.
pub(crate) async fn wait_for(mut is_true: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, polling)
        .await
        .expect("it did not become true in time");
}

/// The form that creates a quiz.
#[derive(Clone, Default)]
pub(crate) struct NewQuiz {
    pub(crate) question: Option<Vec<u8>>,
    pub(crate) answer: Option<Vec<u8>>,
    pub(crate) image: Option<(&'static str, Vec<u8>)>,
    /// Fields that only the form of an existing quiz has.
    pub(crate) more: Vec<(&'static str, &'static str)>,
}

impl NewQuiz {
    pub(crate) fn texts(question: &str, answer: &str) -> Self {
        Self {
            question: Some(question.into()),
            answer: Some(answer.into()),
            image: None,
            more: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.more.push((name, value));
        self
    }

    pub(crate) fn image(self, name: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            image: Some((name, bytes)),
            ..self
        }
    }
}

/// A client with a cookie jar.
pub(crate) struct Browser {
    pub(crate) http: Client,
    pub(crate) url: String,
}

impl Browser {
    /// A visitor without cookies.
    pub(crate) fn new(url: String) -> Self {
        let http = Client::builder()
            .cookie_store(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(DEADLINE)
            .build()
            .unwrap();
        Self { http, url }
    }

    /// The same visitor at another front-end.
    pub(crate) fn at(&self, app: &TestApp) -> Self {
        Self {
            http: self.http.clone(),
            url: app.url.clone(),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        Page::read(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        Page::read(self.request(Method::POST, path).form(fields)).await
    }

    /// The CSRF token of the form on a page.
    pub(crate) async fn csrf(&self, path: &str) -> String {
        self.get(path)
            .await
            .attribute("main input[name=_csrf]", "value")
    }

    pub(crate) async fn log_in(&self, username: &str, password: &str) -> Page {
        let csrf = self.csrf("/login").await;
        let fields = [
            ("_csrf", csrf.as_str()),
            ("username", username),
            ("password", password),
        ];
        self.post_form("/login", &fields).await
    }

    pub(crate) async fn log_out(&self) -> Page {
        let csrf = self
            .get("/")
            .await
            .attribute("header input[name=_csrf]", "value");
        self.post_form("/login", &[("_csrf", &csrf), ("_method", "DELETE")])
            .await
    }

    /// Fills the form of `/quizzes/new` and sends it.
    pub(crate) async fn create_quiz(&self, quiz: NewQuiz) -> Page {
        let csrf = self.csrf("/quizzes/new").await;
        self.send_quiz(Some(&csrf), quiz).await
    }

    /// Fills the form of `/quizzes/{id}/edit` and sends it.
    pub(crate) async fn edit_quiz(&self, id: i64, quiz: NewQuiz) -> Page {
        let csrf = self.csrf(&format!("/quizzes/{id}/edit")).await;
        let path = format!("/quizzes/{id}");
        self.send_quiz_to(&path, Some(&csrf), quiz.with("_method", "PUT"))
            .await
    }

    /// Sends the form of a new quiz as it is given.
    pub(crate) async fn send_quiz(&self, csrf: Option<&str>, quiz: NewQuiz) -> Page {
        self.send_quiz_to("/quizzes", csrf, quiz).await
    }

    async fn send_quiz_to(&self, path: &str, csrf: Option<&str>, quiz: NewQuiz) -> Page {
        let mut form = Form::new().text("unknown", "ignored");
        if let Some(csrf) = csrf {
            form = form.text("_csrf", csrf.to_owned());
        }
        for (name, value) in [("question", quiz.question), ("answer", quiz.answer)] {
            if let Some(value) = value {
                form = form.part(name, Part::bytes(value));
            }
        }
        for (name, value) in quiz.more {
            form = form.text(name, value);
        }
        // A browser sends the field without a name or content when no file is chosen.
        let (name, bytes) = quiz.image.unwrap_or_default();
        form = form.part("image", Part::bytes(bytes).file_name(name));
        Page::read(self.request(Method::POST, path).multipart(form)).await
    }
}

/// A reply.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Page {
    pub(crate) async fn read(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            bytes: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub(crate) fn body(&self) -> String {
        String::from_utf8(self.bytes.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The texts of what a selector finds, their spaces made single.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let html = Html::parse_document(&self.body());
        let selector = Selector::parse(selector).unwrap();
        let text = |element: scraper::ElementRef<'_>| element.text().collect::<String>();
        let single = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        html.select(&selector).map(text).map(single).collect()
    }

    /// The text of the one thing a selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let mut texts = self.texts(selector);
        assert_eq!(texts.len(), 1, "{selector} in {}", self.body());
        texts.remove(0)
    }

    pub(crate) fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let html = Html::parse_document(&self.body());
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector)
            .filter_map(|found| found.attr(name))
            .map(str::to_owned)
            .collect()
    }

    /// An attribute of the one thing a selector finds.
    pub(crate) fn attribute(&self, selector: &str, name: &str) -> String {
        let mut values = self.attributes(selector, name);
        assert_eq!(values.len(), 1, "{selector} in {}", self.body());
        values.remove(0)
    }

    #[track_caller]
    pub(crate) fn assert_redirect(&self, to: &str) {
        assert_eq!(
            (self.status, self.header("location")),
            (StatusCode::SEE_OTHER, to),
            "{}",
            self.body()
        );
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body());
    }
}

/// A picture that a browser might send.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture =
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 200]));
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// An address where nobody listens, held so that nobody else starts to.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
