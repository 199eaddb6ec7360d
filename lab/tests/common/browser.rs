//! Headless Chromium under WebDriver, for one test.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use futures::FutureExt as _;
use serde_json::{Value, json};
use thirtyfour::common::log::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::{Site, artefacts, eventually, skip};

/// What a test asks of its browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    On,
    /// Blocked as a visitor blocks them, in the settings of the browser.
    Off,
}

/// Chromium in a profile of its own; gone when dropped.
pub struct Browser {
    pub driver: WebDriver,
    base: String,
    _chromedriver: Child,
    _profile: tempfile::TempDir,
}

/// Starts a stack and a browser, runs `tour` with them and ends both, however the tour ended. A machine without a
/// browser skips the test.
pub async fn tour(
    test: &str,
    scripts: Scripts,
    settings: &[(&str, &str)],
    tour: impl AsyncFnOnce(&Browser, &Site),
) {
    if programs().is_none() {
        return skip(test, MISSING);
    }
    let site = Site::start_with(test, 3, settings).await;
    let url = site.stack.url().to_owned();
    let outcome = AssertUnwindSafe(visit(test, scripts, &url, async |browser| {
        tour(browser, &site).await;
    }))
    .catch_unwind()
    .await;
    site.stop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// Starts a browser for the site at `url`, runs `visit` with it and ends it, however that ended. A machine without a browser
/// skips the test.
pub async fn visit(test: &str, scripts: Scripts, url: &str, visit: impl AsyncFnOnce(&Browser)) {
    let Some((chromium, chromedriver)) = programs() else {
        return skip(test, MISSING);
    };
    let browser = Browser::start(&chromium, &chromedriver, url, scripts).await;
    // A browser that nobody quits outlives the test.
    let outcome = AssertUnwindSafe(visit(&browser)).catch_unwind().await;
    if outcome.is_err() {
        browser.keep(&format!("failed-{test}")).await;
    }
    browser.driver.clone().quit().await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

const MISSING: &str = "chromium or chromium-driver is not installed";

/// The browser and its remote control.
fn programs() -> Option<(PathBuf, PathBuf)> {
    installed("chromium").zip(installed("chromedriver"))
}

impl Browser {
    async fn start(chromium: &Path, chromedriver: &Path, url: &str, scripts: Scripts) -> Self {
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
        let capabilities = capabilities(chromium, profile.path(), scripts);
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities)
            .await
            .unwrap();
        Self {
            driver,
            base: url.trim_end_matches('/').to_owned(),
            _chromedriver: child,
            _profile: profile,
        }
    }

    /// Sends one command of the Chrome `DevTools` Protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let reply = self.driver.cdp().send_raw(command, parameters).await;
        reply.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Keeps a screenshot of what is in the window.
    pub async fn keep(&self, page: &str) {
        self.driver
            .screenshot(&artefacts().join(format!("{page}.png")))
            .await
            .unwrap();
    }

    /// Opens a path of the site, as if typed into the address bar.
    pub async fn open(&self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.driver.goto(url).await.unwrap();
    }

    /// Path and query of the page that is shown.
    pub async fn path(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        let query = url.query().map(|query| format!("?{query}"));
        format!("{}{}", url.path(), query.unwrap_or_default())
    }

    /// Waits for the element: the page may still be loading.
    pub async fn find(&self, selector: &str) -> WebElement {
        let found = self.driver.query(By::Css(selector)).first().await;
        match found {
            Ok(element) => element,
            Err(_) => panic!(
                "no {selector} at {}: {}",
                self.path().await,
                self.text().await
            ),
        }
    }

    /// How many elements of the page that is shown now.
    pub async fn count(&self, selector: &str) -> usize {
        self.driver.find_all(By::Css(selector)).await.unwrap().len()
    }

    /// Waits until no such element is left: what a click or a key closes goes a moment later.
    pub async fn gone(&self, selector: &str) {
        eventually(&format!("no {selector} is left"), async || {
            self.count(selector).await == 0
        })
        .await;
    }

    pub async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    /// Clicks what leads to another page, and waits until that one is there.
    pub async fn follow(&self, selector: &str) {
        let root = async || {
            let root = self.driver.find(By::Css("html")).await;
            root.ok().map(|root| root.element_id())
        };
        let before = root().await;
        self.click(selector).await;
        eventually(&format!("{selector} leads to another page"), async || {
            let after = root().await;
            after.is_some() && after != before
        })
        .await;
    }

    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// What is typed into a field.
    pub async fn value(&self, selector: &str) -> String {
        let value = self.find(selector).await.value().await.unwrap();
        value.unwrap_or_default()
    }

    pub async fn choose_file(&self, selector: &str, file: &Path) {
        let field = self.find(selector).await;
        field.send_keys(file.to_str().unwrap()).await.unwrap();
    }

    /// Runs a script in the page, whatever its content security policy says.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        let reply = self.driver.execute(script.to_owned(), arguments).await;
        reply.unwrap().json().clone()
    }

    /// The text of the page; empty while the browser goes from one page to the next.
    pub async fn text(&self) -> String {
        let body = self.driver.find(By::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says `text`.
    pub async fn sees(&self, text: &str) {
        eventually(&format!("the page says {text:?}"), async || {
            self.text().await.contains(text)
        })
        .await;
    }

    /// Logs in by the form and waits for the welcome.
    pub async fn log_in(&self, username: &str, password: &str) {
        self.open("/login").await;
        self.fill("input[name=username]", username).await;
        self.fill("input[name=password]", password).await;
        self.follow("main form button[type=submit]").await;
        self.find("form[action='/login'] input[value=DELETE]").await;
    }

    /// Gives the page a window of this size, in CSS pixels.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// What went wrong in the page since the last call: scripts, requests, the content security policy.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.driver.browser_log().await.unwrap();
        entries.into_iter().map(|entry| entry.message).collect()
    }
}

fn capabilities(
    chromium: &Path,
    profile: &Path,
    scripts: Scripts,
) -> thirtyfour::ChromeCapabilities {
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
        "--hide-scrollbars",
        "--lang=en",
        "--no-first-run",
        "--window-size=1280,900",
        &format!("--user-data-dir={}", profile.display()),
    ] {
        capabilities.add_arg(argument).unwrap();
    }
    capabilities
        .set_browser_log_level(LoggingPrefsLogLevel::Warning)
        .unwrap();
    let blocked = if scripts == Scripts::Off { 2 } else { 1 };
    let preferences = json!({
        "intl.accept_languages": "en",
        "profile.managed_default_content_settings.javascript": blocked,
    });
    capabilities
        .add_experimental_option("prefs", preferences)
        .unwrap();
    capabilities
}

fn installed(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|file| file.exists())
}
