//! A person at a real browser, through the balancer. Keeps a screenshot of each page in `target/e2e`.

mod common;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Site, artefacts, eventually, png};
use futures::FutureExt as _;
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Headless Chromium under WebDriver; gone when dropped.
struct Browser {
    driver: WebDriver,
    _chromedriver: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    async fn start(chromium: &Path, chromedriver: &Path) -> Self {
        // setpriv ends the driver, and the driver its browser, should this test die.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(chromedriver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("chromedriver says on which port it listens");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let profile = tempfile::tempdir().unwrap();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(chromium.to_str().unwrap()).unwrap();
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ] {
            capabilities.add_arg(argument).unwrap();
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .unwrap();
        Self {
            driver,
            _chromedriver: child,
            _profile: profile,
        }
    }

    async fn keep(&self, page: &str) {
        self.driver
            .screenshot(&artefacts().join(format!("{page}.png")))
            .await
            .unwrap();
    }

    /// Waits for the element: the page may still be loading.
    async fn find(&self, selector: &str) -> WebElement {
        self.driver.query(By::Css(selector)).first().await.unwrap()
    }

    async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    async fn choose_file(&self, selector: &str, file: &Path) {
        let field = self.find(selector).await;
        field.send_keys(file.to_str().unwrap()).await.unwrap();
    }

    /// The text of the page; empty while the browser goes from one page to the next.
    async fn text(&self) -> String {
        let body = self.driver.find(By::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says `text`.
    async fn sees(&self, text: &str) {
        eventually(&format!("the page says {text:?}"), async || {
            self.text().await.contains(text)
        })
        .await;
    }
}

fn installed(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
}

/// Records that `test` could not run here; `make test` counts and names it.
fn skip(test: &str, reason: &str) {
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

#[tokio::test]
async fn a_person_plays_logs_in_makes_a_quiz_with_a_picture_and_logs_out() {
    let Some((chromium, chromedriver)) = installed("chromium").zip(installed("chromedriver"))
    else {
        return skip(
            "a_person_plays",
            "chromium or chromium-driver is not installed",
        );
    };
    let site = Site::start("browser", 3).await;
    let browser = Browser::start(&chromium, &chromedriver).await;
    let tour = async {
        plays_wrong_then_right(&browser, &site).await;
        logs_in(&browser, &site).await;
        makes_a_quiz_with_a_picture(&browser, &site).await;
        logs_out(&browser).await;
    };
    // A browser that nobody quits outlives the test.
    let outcome = AssertUnwindSafe(tour).catch_unwind().await;
    if outcome.is_err() {
        browser.keep("failed").await;
    }
    browser.driver.clone().quit().await.unwrap();
    site.stop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

async fn plays_wrong_then_right(browser: &Browser, site: &Site) {
    browser.driver.goto(site.stack.url()).await.unwrap();
    browser.keep("1-home").await;
    browser.click("nav a[href='/quizzes']").await;
    browser.sees("Italy").await;
    browser.keep("2-quizzes").await;
    browser.click("a[href='/quizzes/1/play']").await;
    browser.sees("What is the capital of Italy?").await;
    browser.keep("3-play").await;
    browser.fill("input[name=answer]", "Milan").await;
    browser.click("main form button").await;
    browser.sees("Wrong").await;
    browser.keep("4-wrong").await;
    browser.click("main a[href^='/quizzes/1/play']").await;
    browser.fill("input[name=answer]", "  rome ").await;
    browser.click("main form button").await;
    browser.sees("Right").await;
    browser.keep("5-right").await;
}

async fn logs_in(browser: &Browser, site: &Site) {
    browser.click("a[href='/login']").await;
    browser.keep("6-login").await;
    browser.fill("input[name=username]", "pepe").await;
    browser
        .fill("input[name=password]", "not the password")
        .await;
    browser.click("main form button").await;
    browser
        .sees("Authentication has failed. Retry it again.")
        .await;
    browser.keep("7-login-failed").await;
    browser.fill("input[name=username]", "pepe").await;
    browser
        .fill("input[name=password]", site.stack.site_password())
        .await;
    browser.click("main form button").await;
    browser.sees("Welcome!").await;
}

async fn makes_a_quiz_with_a_picture(browser: &Browser, site: &Site) {
    let picture = site.stack.folder().join("picture.png");
    std::fs::write(&picture, png(3)).unwrap();
    browser.click("a[href='/quizzes/new']").await;
    browser
        .fill("[name=question]", "Which animal is <b>this</b>?")
        .await;
    browser.fill("[name=answer]", "A gradient").await;
    browser.choose_file("input[name=image]", &picture).await;
    browser.keep("8-new-quiz").await;
    browser.click("main form button").await;
    browser.sees("Quiz created successfully.").await;
    browser.sees("Which animal is <b>this</b>?").await;
    let image = browser.find("main img").await;
    let width = browser
        .driver
        .execute(
            "return arguments[0].naturalWidth",
            vec![image.to_json().unwrap()],
        )
        .await
        .unwrap();
    assert_eq!(
        width.json().as_u64(),
        Some(320),
        "the browser has decoded the picture"
    );
    browser.keep("9-quiz").await;
}

async fn logs_out(browser: &Browser) {
    browser.click("header form button").await;
    browser.find("a[href='/login']").await;
    let header = browser.find("header").await.text().await.unwrap();
    assert!(!header.contains("pepe"), "still named: {header}");
    browser.keep("10-logged-out").await;
}
