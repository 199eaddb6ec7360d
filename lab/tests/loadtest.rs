//! The load tester on the whole site: every journey, beside a front-end that is killed, and the page that it makes.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::browser::{Scripts, visit};
use common::{Site, artefacts, programs, select};
use quiz_loadtest::report::Report;
use serde_json::json;
use tokio::process::Command;

/// The site lets this address do as much as a test of every journey takes.
const SETTINGS: [(&str, &str); 2] = [("QUIZ_LIMIT_UPLOAD", "0"), ("QUIZ_LIMIT_REGISTRATION", "0")];

/// What all journeys together do.
const STEPS: [&str; 24] = [
    "api answer",
    "api check",
    "api new game",
    "api random",
    "check",
    "create quiz",
    "delete form",
    "delete quiz",
    "edit quiz",
    "home",
    "list",
    "log in",
    "log out",
    "login form",
    "new quiz",
    "picture",
    "play",
    "random",
    "random answer",
    "random question",
    "random start",
    "save quiz",
    "search",
    "show quiz",
];

struct LoadTest<'a> {
    site: &'a Site,
    folder: tempfile::TempDir,
}

impl<'a> LoadTest<'a> {
    fn of(site: &'a Site) -> Self {
        Self {
            site,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command of the load tester at the site with an admin's account.
    async fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let url = self.site.stack.url().to_owned();
        Command::new(programs().join("quiz-loadtest"))
            .args([
                command,
                url.as_str(),
                "--threads",
                "1",
                "--warm-up",
                "500ms",
            ])
            .args(arguments)
            .args(["--account", "admin"])
            .env("LOADTEST_PASSWORD", self.site.stack.site_password())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }

    /// The same, and its report. A busy machine makes a run invalid, which is no fault of the site.
    async fn report(&self, command: &str, arguments: &[&str]) -> Report {
        let file = self.file("report.json");
        let file = file.to_str().unwrap();
        let output = self
            .run(command, &[arguments, &["--json", file]].concat())
            .await;
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 4)), "{words}");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }
}

/// Names of all users and the number of quizzes, as an admin sees them.
async fn census(site: &Site) -> (Vec<String>, String) {
    let admin = site.admin().await;
    let users = select(&admin.page("/users").await, "main a[href^='/users/']");
    let quizzes = admin.page("/quizzes").await;
    let count = quizzes.split("<p class=\"meta\" role=\"status\">").nth(1);
    (
        users.into_iter().map(|user| user["href"].clone()).collect(),
        count
            .and_then(|text| text.split('<').next())
            .unwrap()
            .to_owned(),
    )
}

#[tokio::test]
async fn every_journey_goes_through_and_leaves_nothing_behind() {
    let site = Site::start_with("loadtest", 2, &SETTINGS).await;
    let before = census(&site).await;
    let test = LoadTest::of(&site);
    let weights = "visitor:2,player:2,author:2,api:2,login:1";
    let report = test
        .report(
            "run",
            &[
                "--scenario",
                weights,
                "--rate",
                "50",
                "--duration",
                "6s",
                "--users",
                "8",
                "--accounts",
                "3",
            ],
        )
        .await;
    assert_eq!(
        (report.requests.failed, report.requests.dropped),
        (0, 0),
        "{:#?}",
        report.steps
    );
    assert_eq!(report.requests.planned, 300);
    let steps: Vec<&str> = report.steps.keys().map(String::as_str).collect();
    assert_eq!(steps, STEPS);
    assert_eq!(report.served_by.len(), 2);
    assert_eq!(census(&site).await, before);
    site.stop().await;
}

#[tokio::test]
async fn what_cannot_be_prepared_is_told_with_what_to_do() {
    let site = Site::start_with("loadtest-wrong", 1, &[]).await;
    let output = Command::new(programs().join("quiz-loadtest"))
        .args([
            "run",
            site.stack.url().as_str(),
            "--scenario",
            "player",
            "--account",
            "pepe",
        ])
        .env("LOADTEST_PASSWORD", "wrong")
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("the site refused the password"), "{words}");
    assert_eq!(output.status.code(), Some(1));
    // Nobody may make an account here.
    let output = Command::new(programs().join("quiz-loadtest"))
        .args(["run", site.stack.url().as_str(), "--scenario", "visitor"])
        .output()
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("QUIZ_OPEN_REGISTRATION"), "{words}");
    site.stop().await;
}

#[tokio::test]
async fn a_killed_front_end_is_told_with_how_long_it_was_felt_and_the_page_shows_it() {
    let site = Site::start_with("loadtest-chaos", 2, &SETTINGS).await;
    let test = LoadTest::of(&site);
    let via = format!("lab:{}", site.stack.folder().display());
    let page = test.file("report.html");
    let report = test
        .report(
            "chaos",
            &[
                "--via",
                &via,
                "--at",
                "2s kill quiz-1; 4s freeze nas2; 5s thaw nas2",
                "--scenario",
                "visitor",
                "--rate",
                "30",
                "--duration",
                "10s",
                "--users",
                "8",
                "--html",
                page.to_str().unwrap(),
            ],
        )
        .await;
    let [killed, frozen, thawed] = &report.events[..] else {
        panic!("{:?}", report.events);
    };
    for event in [killed, frozen, thawed] {
        assert_eq!(event.error, None, "{event:?}");
    }
    // The balancer tries another one, and a storage node that is frozen is left out: it goes on, and ends well.
    let well = [killed, frozen, thawed].map(|event| event.recovery_secs.is_some());
    assert_eq!(well, [true; 3], "{:?}", report.events);
    look_at(&page).await;
    site.stop().await;
}

/// Opens the page in a browser, in both colour schemes and on a phone, and keeps what it looks like.
async fn look_at(page: &Path) {
    let url = format!("file://{}", page.display());
    visit("loadtest-page", Scripts::Off, &url, async |browser| {
        browser.open("").await;
        assert!(browser.count("svg").await >= 4, "there are charts");
        browser.sees("kill quiz-1").await;
        for scheme in ["light", "dark"] {
            let features =
                json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser
                .devtools("Emulation.setEmulatedMedia", features)
                .await;
            for (name, width, height) in [("desktop", 1280, 3200), ("phone", 390, 3200)] {
                browser.resize(width, height).await;
                browser.keep(&format!("loadtest-{name}-{scheme}")).await;
            }
        }
        assert_eq!(browser.complaints().await, [""; 0]);
        assert!(artefacts().join("loadtest-phone-dark.png").exists());
    })
    .await;
}
