//! Processes die under load; visitors do not notice.

mod common;

use std::time::{Duration, Instant};

use common::load::Load;
use common::{Site, Visitor, eventually, png_part};
use futures::future::join_all;
use quiz_lab::stack::healthy_backends;
use quiz_lab::supervise::Process;
use rustix::process::Signal;

async fn back_again(process: &Process, starts: u32) {
    eventually("the process runs again", async || {
        let life = process.life();
        life.starts > starts && life.pid.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_killed_front_end_costs_no_get_and_comes_back_by_itself() {
    let site = Site::start("front-end-killed", 3).await;
    let visitor = site.visitor();
    let load = Load::new(&visitor, &["/", "/quizzes", "/quizzes/1/play"]);
    let failures = load
        .during(async {
            load.more(200).await;
            let victim = &site.stack.quiz()[1];
            let starts = victim.life().starts;
            victim.signal(Signal::KILL);
            back_again(victim, starts).await;
            let admin = site.stack.lb().spec().admin.unwrap();
            eventually("the balancer uses all three again", async || {
                healthy_backends(admin).await == Some(3)
            })
            .await;
            load.more(200).await;
        })
        .await;
    assert_eq!(failures, Vec::<String>::new());
    site.stop().await;
}

#[tokio::test]
async fn a_storage_node_that_is_down_stops_neither_reads_nor_writes_and_returns_to_service() {
    let site = Site::start("storage-down", 2).await;
    let author = site.admin().await;
    let (_, picture) = author.create_quiz("Before the storm?", 1).await;
    let load = Load::new(&author, &[&picture]);
    let failures = load
        .during(async {
            load.more(50).await;
            let victim = &site.stack.storage()[0];
            let starts = victim.life().starts;
            victim.kill();
            for seed in 10..15 {
                let (_, picture) = author.create_quiz("In the storm?", seed).await;
                assert_eq!(author.get(&picture).await.status(), 200);
            }
            assert_eq!(victim.life().pid, None, "it was down all the time");
            victim.revive();
            back_again(victim, starts).await;
            let admin = victim.spec().admin.unwrap();
            eventually("the node is ready", async || {
                quiz_lab::ready::http_ok(admin, "/ready").await
            })
            .await;
            load.more(50).await;
        })
        .await;
    assert_eq!(failures, Vec::<String>::new());
    site.stop().await;
}

#[tokio::test]
async fn a_killed_storage_node_comes_back_by_itself() {
    let site = Site::start("storage-killed", 1).await;
    let victim = &site.stack.storage()[1];
    let starts = victim.life().starts;
    victim.signal(Signal::KILL);
    back_again(victim, starts).await;
    let admin = victim.spec().admin.unwrap();
    eventually("the node is ready", async || {
        quiz_lab::ready::http_ok(admin, "/ready").await
    })
    .await;
    site.stop().await;
}

/// What a dead or frozen node may cost a request.
const SECOND: Duration = Duration::from_secs(1);
/// Requests at one time: so many that each front-end has some that begin with each node.
const BURST: u8 = 12;

/// Uploads pictures, all at one time; how long the slowest took, and where the pictures are.
async fn upload(author: &Visitor) -> (Duration, Vec<String>) {
    let one = async |seed| {
        let picture = Some(png_part(seed));
        let form = author.quiz_form("And now?", "42", picture).await;
        let asked = Instant::now();
        let response = author.post("/quizzes", form).await;
        (asked.elapsed(), author.created(response).await.1)
    };
    let (took, pictures): (Vec<_>, _) = join_all((0..BURST).map(one)).await.into_iter().unzip();
    (took.into_iter().max().unwrap(), pictures)
}

/// Looks at pictures, all at one time; how long the slowest took.
async fn view(visitor: &Visitor, pictures: &[String]) -> Duration {
    let one = async |path: &String| {
        let asked = Instant::now();
        let response = visitor.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert!(!response.bytes().await.unwrap().is_empty(), "{path}");
        asked.elapsed()
    };
    let took = join_all(pictures.iter().map(one)).await;
    took.into_iter().max().unwrap()
}

#[tokio::test]
async fn a_dead_or_frozen_storage_node_costs_an_upload_or_a_view_less_than_a_second() {
    let settings = [
        ("QUIZ_LIMIT_UPLOAD", "1000/60"),
        ("QUIZ_DAILY_QUIZZES", "1000"),
        ("QUIZ_UPLOADS", "100"),
    ];
    let site = Site::start_with("storage-slow", 2, &settings).await;
    let author = site.admin().await;
    let (uploading, pictures) = upload(&author).await;
    let viewing = view(&author, &pictures).await;
    // Each time another node: front-ends do not begin with one that was in trouble a moment ago.
    let nodes = site.stack.storage();
    let cases = [
        (&nodes[0], "frozen", "upload"),
        (&nodes[1], "frozen", "view"),
        (&nodes[2], "dead", "upload"),
        (&nodes[0], "dead", "view"),
    ];
    for (victim, fault, what) in cases {
        let starts = victim.life().starts;
        match fault {
            "frozen" => victim.signal(Signal::STOP),
            _ => victim.kill(),
        }
        let (quiet, took) = match what {
            "upload" => (uploading, upload(&author).await.0),
            _ => (viewing, view(&author, &pictures).await),
        };
        println!("{what}: {quiet:?} when all is well, {took:?} with one node {fault}");
        assert!(took < quiet + SECOND, "{what} with one node {fault}");
        match fault {
            "frozen" => victim.signal(Signal::CONT),
            _ => {
                victim.revive();
                back_again(victim, starts).await;
            }
        }
        let admin = victim.spec().admin.unwrap();
        eventually("the node is ready", async || {
            quiz_lab::ready::http_ok(admin, "/ready").await
        })
        .await;
    }
    site.stop().await;
}
