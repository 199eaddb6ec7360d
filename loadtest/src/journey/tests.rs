//! Whether checks find what a site should not say: a stub answers as the site does, but for one page.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::drive::Brake;
use crate::report::Errors;
use crate::stats::Stats;
use crate::target::Target;
use crate::user::{Setting, Turn, lock};

const LONG: Duration = Duration::from_secs(60);

/// What it says to a path: status and body.
type Site = fn(&str) -> (u16, &'static str);

/// What the site says to a visitor and to a program.
fn sound(path: &str) -> (u16, &'static str) {
    let body = match path {
        "/" => r#"<a href="/random">"#,
        "/quizzes" => r#"<ul class="cards"> <img src="/images/1.png">"#,
        "/quizzes?search=ltword" => r#"<li id="quiz-7">"#,
        "/quizzes/7/play" => r#"<h1>ltword asks</h1><img src="/images/1.png">"#,
        "/quizzes/7/check?answer=8" => r#"<div class="verdict right">"#,
        "/images/1.png" => "PNG",
        "/api/quizzes/random" => r#"{"id":7,"question":"ltword asks"}"#,
        "/api/quizzes/7/check?answer=8" => r#"{"result":true}"#,
        "/api/quizzes/randomPlay/new" => r#"{"quiz":{"question":"ltword asks"},"score":0}"#,
        "/api/quizzes/randomPlay/check?answer=8" => r#"{"result":true,"score":1}"#,
        _ => return (404, ""),
    };
    (200, body)
}

async fn answer(mut stream: TcpStream, site: Site) {
    loop {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let request = String::from_utf8(request).expect("text");
        let path = request.split(' ').nth(1).expect("a path");
        let (status, body) = match site(path) {
            (200, _) if request.contains("if-none-match: \"1\"") => (304, ""),
            other => other,
        };
        let length = body.len();
        let reply = format!(
            "HTTP/1.1 {status} Told\r\nETag: \"1\"\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Lets one virtual user travel over a site until it has sent a hundred requests or more.
async fn travel(journey: &str, site: Site) -> Stats {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, site));
        }
    });
    let target = Target::resolve(&url, false).await.expect("loopback");
    let setting = Setting {
        target: Arc::new(target),
        timeout: LONG,
        origin: Instant::now(),
        stats: Arc::new(Mutex::new(Stats::new(Duration::ZERO, LONG))),
    };
    let brake = Brake::default();
    let turn = Turn::Closed {
        think: Duration::ZERO,
        until: LONG,
        brake: brake.clone(),
    };
    let account = Account {
        name: "somebody".to_owned(),
        password: String::new(),
        token: Some("token".to_owned()),
    };
    let quiz = Known {
        id: 7,
        question: "ltword asks".to_owned(),
        answer: "8".to_owned(),
    };
    let traveller = Traveller {
        user: User::new(setting.clone(), turn, StdRng::seed_from_u64(1)),
        scenario: Arc::new(journey.parse().expect("a scenario")),
        content: Arc::new(Content::of("ltword", account, quiz)),
        call: Arc::new(Call::get("/".parse().expect("a path"))),
        number: 0,
        jars: BTreeMap::new(),
    };
    let enough = async {
        while lock(&setting.stats).ended() < 100 {
            tokio::task::yield_now().await;
        }
        brake.pull();
    };
    tokio::join!(traveller.run(), enough);
    lock(&setting.stats).clone()
}

#[tokio::test]
async fn a_site_that_says_what_it_should_has_no_errors() {
    for (journey, steps) in [
        (
            "visitor",
            &["check", "home", "list", "picture", "play", "search"][..],
        ),
        (
            "api",
            &["api answer", "api check", "api new game", "api random"],
        ),
    ] {
        let stats = travel(journey, sound).await;
        assert_eq!(stats.errors, Errors::default(), "{:?}", stats.steps);
        assert_eq!(stats.steps.keys().copied().collect::<Vec<_>>(), steps);
    }
}

#[tokio::test]
async fn a_page_without_its_marker_and_a_right_answer_that_is_refused_are_errors() {
    let cases: [(&str, &str, Site); 4] = [
        ("visitor", "search", |path| match path {
            "/quizzes?search=ltword" => (200, "nothing found"),
            other => sound(other),
        }),
        ("visitor", "check", |path| match path {
            "/quizzes/7/check?answer=8" => (200, r#"<div class="verdict wrong">"#),
            other => sound(other),
        }),
        ("visitor", "home", |path| match path {
            "/" => (303, ""),
            other => sound(other),
        }),
        ("api", "api answer", |path| match path {
            "/api/quizzes/randomPlay/check?answer=8" => (200, r#"{"result":false}"#),
            other => sound(other),
        }),
    ];
    for (journey, step, site) in cases {
        let stats = travel(journey, site).await;
        let failed = &stats.steps[step];
        assert!(
            failed.failed > 0 && failed.succeeded == 0,
            "{step}: {failed:?}"
        );
        assert!(failed.first_failure.is_some());
        assert_eq!(stats.errors.check, failed.failed, "{step}");
        assert_eq!(stats.errors.total(), failed.failed, "nothing else is wrong");
    }
}

#[tokio::test]
async fn a_page_that_is_not_there_is_an_error_of_its_status() {
    let stats = travel("visitor", |path| match path {
        "/quizzes/7/play" => (404, ""),
        "/images/1.png" => (503, ""),
        other => sound(other),
    })
    .await;
    assert!(stats.errors.status_5xx > 0 && stats.errors.check == 0);
    let words = stats.steps["picture"].first_failure.as_deref();
    assert_eq!(words, Some("expected 200, got 503"));
}
