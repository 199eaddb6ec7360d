//! A stack of its own for each test, and a visitor with a cookie jar.

#![expect(unreachable_pub, reason = "shared by several test binaries")]
#![expect(dead_code, reason = "no test binary uses all of it")]

pub mod browser;
pub mod compose;
pub mod journey;
pub mod load;
pub mod scenario;

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quiz_lab::console::Console;
use quiz_lab::stack::{Options, Stack};
use quiz_lab::state::scratch_folder;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response, StatusCode};
use scraper::{Html, Selector};

/// How long anything may take that is bound to happen.
pub const SOON: Duration = Duration::from_secs(60);

/// A running stack in a folder that goes with it.
pub struct Site {
    pub stack: Stack,
    _folder: tempfile::TempDir,
}

impl Site {
    /// Starts a stack with `quiz` front-ends on an empty folder; its log becomes an artefact named for the test.
    pub async fn start(name: &str, quiz: usize) -> Self {
        Self::start_with(name, quiz, &[]).await
    }

    /// The same, with more settings of the front-ends.
    pub async fn start_with(name: &str, quiz: usize, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter();
        let folder = scratch_folder().unwrap();
        let log = std::fs::File::create(artefacts().join(format!("{name}.log"))).unwrap();
        let options = Options {
            quiz,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Some(0),
            state: folder.path().join("state"),
            programs: programs(),
            quiz_settings: settings
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let console = Console::new(Box::new(log), false);
        let stack = Stack::start(&options, &console, std::future::pending()).await;
        let stack = stack.expect("the stack starts").expect("nobody cancels");
        Self {
            stack,
            _folder: folder,
        }
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::new(self.stack.url().trim_end_matches('/').to_owned())
    }

    /// A visitor who is logged in as `admin`.
    pub async fn admin(&self) -> Visitor {
        let visitor = self.visitor();
        visitor.log_in("admin", self.stack.site_password()).await;
        visitor
    }

    /// Base URLs of the front-ends, past the balancer.
    pub fn front_ends(&self) -> Vec<String> {
        self.stack
            .quiz()
            .iter()
            .map(|process| format!("http://{}", process.spec().address))
            .collect()
    }

    /// How many storage nodes have these bytes in one of their blob files.
    pub fn copies(&self, bytes: &[u8]) -> usize {
        let nodes = 0..self.stack.storage().len();
        nodes
            .filter(|&node| holds(&self.stack.storage_folder(node).join("blobs"), bytes))
            .count()
    }

    pub async fn stop(self) {
        self.stack.stop().await;
    }
}

fn holds(folder: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                holds(&path, bytes)
            } else {
                std::fs::read(&path).is_ok_and(|content| content.starts_with(bytes))
            }
        })
}

/// The folder of the workspace's programs: the one above the test's own `deps`.
pub fn programs() -> PathBuf {
    std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// Where screenshots and logs are kept.
pub fn artefacts() -> PathBuf {
    let folder = programs().parent().unwrap().join("e2e");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Someone at a browser without JavaScript: keeps cookies, does not follow redirects by itself.
#[derive(Clone)]
pub struct Visitor {
    pub base: String,
    pub http: Client,
}

impl Visitor {
    pub fn new(base: String) -> Self {
        let http = Client::builder()
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(SOON)
            .build()
            .unwrap();
        Self { base, http }
    }

    /// The same person at another address of the same host; cookies do not tell ports apart.
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            http: self.http.clone(),
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap()
    }

    pub async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "GET {path}");
        response.text().await.unwrap()
    }

    /// The hidden fields of the form at `path` that posts to `action`.
    pub async fn hidden_fields(&self, path: &str, action: &str) -> Vec<(String, String)> {
        let page = self.page(path).await;
        let selector = format!("form[action='{action}'] input[type=hidden]");
        let fields: Vec<_> = select(&page, &selector)
            .into_iter()
            .map(|field| (field["name"].clone(), field["value"].clone()))
            .collect();
        assert!(
            !fields.is_empty(),
            "no hidden field in a form to {action} at {path}: {page}"
        );
        fields
    }

    pub async fn log_in(&self, username: &str, password: &str) {
        let mut form = self.hidden_fields("/login", "/login").await;
        form.push(("username".to_owned(), username.to_owned()));
        form.push(("password".to_owned(), password.to_owned()));
        let response = self
            .http
            .post(format!("{}/login", self.base))
            .form(&form)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert!(
            self.page("/").await.contains(username),
            "the page names the user who is logged in"
        );
    }

    /// Sends the form for a new quiz with these extra parts.
    pub async fn post_quiz(&self, question: &str, answer: &str, image: Option<Part>) -> Response {
        let form = self.quiz_form(question, answer, image).await;
        self.post("/quizzes", form).await
    }

    /// The form for a new quiz, filled in.
    pub async fn quiz_form(&self, question: &str, answer: &str, image: Option<Part>) -> Form {
        let mut form = Form::new();
        for (name, value) in self.hidden_fields("/quizzes/new", "/quizzes").await {
            form = form.text(name, value);
        }
        form = form
            .text("question", question.to_owned())
            .text("answer", answer.to_owned());
        if let Some(image) = image {
            form = form.part("image", image);
        }
        form
    }

    /// Sends a form with files.
    pub async fn post(&self, path: &str, form: Form) -> Response {
        let url = format!("{}{path}", self.base);
        self.http.post(url).multipart(form).send().await.unwrap()
    }

    /// Makes a quiz with a picture; returns the paths of the quiz and of its picture.
    pub async fn create_quiz(&self, question: &str, seed: u8) -> (String, String) {
        let response = self.post_quiz(question, "42", Some(png_part(seed))).await;
        self.created(response).await
    }

    /// The paths of the quiz that was made, and of its picture.
    pub async fn created(&self, response: Response) -> (String, String) {
        assert_eq!(
            response.status(),
            StatusCode::SEE_OTHER,
            "{:?}",
            response.text().await
        );
        let path = response.headers()["location"].to_str().unwrap().to_owned();
        let page = self.page(&path).await;
        let picture = select(&page, "main img")[0]["src"].clone();
        (path, picture)
    }
}

/// The attributes of each element that `selector` finds.
pub fn select(html: &str, selector: &str) -> Vec<std::collections::HashMap<String, String>> {
    let page = Html::parse_document(html);
    let selector = Selector::parse(selector).unwrap();
    let attributes = |element: scraper::ElementRef<'_>| {
        element
            .value()
            .attrs()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    page.select(&selector).map(attributes).collect()
}

/// A PNG whose pixels depend on `seed`.
pub fn png(seed: u8) -> Vec<u8> {
    let picture =
        image::RgbImage::from_fn(320, 200, |x, y| image::Rgb([x as u8 ^ seed, y as u8, seed]));
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

pub fn png_part(seed: u8) -> Part {
    Part::bytes(png(seed))
        .file_name("picture.png")
        .mime_str("image/png")
        .unwrap()
}

/// Polls until `probe` says yes.
pub async fn eventually(what: &str, probe: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !probe().await {
        assert!(Instant::now() < deadline, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One HTTP/1.1 connection that stays open.
pub struct Connection(hyper::client::conn::http1::SendRequest<http_body_util::Empty<bytes::Bytes>>);

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// GETs `path`; returns the backend that served it. The connection must still be open afterwards.
    pub async fn get(&mut self, path: &str) -> String {
        let request = http::Request::get(path)
            .header("host", "quiz.test")
            .body(http_body_util::Empty::new())
            .unwrap();
        let response = self.0.send_request(request).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::OK);
        let served_by = response.headers()["x-served-by"]
            .to_str()
            .unwrap()
            .to_owned();
        http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
        self.0
            .ready()
            .await
            .expect("the balancer keeps the connection open");
        served_by
    }
}

/// Records that `test` could not run here; `make test` counts and names it.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(file) = std::env::var_os("QUIZSTACK_SKIP_FILE") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        writeln!(file, "{test}: {reason}").unwrap();
    }
}
