//! What is done to the stack while visitors are there, and whether they notice.

use std::collections::BTreeSet;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::compose::{Compose, TAG, docker, image, inspect, silence};
use crate::common::eventually;
use crate::common::load::Load;

/// Requests a second: the stack, its browser and its visitors share two processors.
const RATE: u32 = 60;
/// A front-end has its share when it serves at least half of it.
const FAIR: f64 = 0.5;

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn scaling_and_deploys_lose_no_request() {
    let stack = Compose::prepare("compose-scaling", 6);
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=4"])
        .await;
    stack.wait_for_page().await;
    derive("quiz", "next", "LABEL next=yes").await;
    // It listens where the balancer does not look.
    derive("quiz", "broken", "ENV QUIZ_LISTEN=127.0.0.1:3000").await;

    // A secret that is given twice.
    derive("quiz", "unprepared", "ENV DATABASE_URL=postgres://db/quiz").await;

    let visitor = stack.visitor();
    let load = Load::new(&visitor, &["/quizzes", "/"])
        .asking_anew()
        .at_most(RATE);
    let failures = load
        .during(async {
            load.more(100).await;
            for count in ["8", "2", "4"] {
                let begun = Instant::now();
                stack.works("scale", &[count]).await;
                let count = count.parse().unwrap();
                shares(&stack, &load, count).await;
                println!(
                    "scale {count}: fair shares after {:.1} s",
                    begun.elapsed().as_secs_f64()
                );
            }

            let before: BTreeSet<_> = stack.containers("quiz").await.into_iter().collect();
            let broken = stack.tool_within(20, "deploy", &["broken"]).await;
            let words = String::from_utf8(broken.stderr).unwrap();
            assert!(!broken.status.success(), "{words}");
            assert!(words.contains("are those of before"), "{words}");
            stays(&stack, &before).await;
            let unprepared = stack.tool_within(20, "deploy", &["unprepared"]).await;
            let words = String::from_utf8(unprepared.stderr).unwrap();
            assert!(!unprepared.status.success(), "{words}");
            assert!(words.contains("could not be prepared"), "{words}");
            stays(&stack, &before).await;

            stack.works("deploy", &["next"]).await;
            let after: BTreeSet<_> = stack.containers("quiz").await.into_iter().collect();
            assert_eq!(after.len(), 4);
            assert!(after.is_disjoint(&before));
            for container in &after {
                assert_eq!(inspect(container).await["Config"]["Labels"]["next"], "yes");
            }
            stays(&stack, &after).await;
            load.more(100).await;
        })
        .await;
    assert_eq!(failures, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn restarts_and_deaths_are_outlived() {
    let stack = Compose::prepare("compose-deaths", 7);
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=3"])
        .await;
    stack.wait_for_page().await;
    let admin = stack.visitor();
    admin.log_in("admin", &stack.secret("site_password")).await;
    let (quiz, picture) = admin.create_quiz("Who is dead?", 9).await;

    let visitor = stack.visitor();
    let play = format!("{quiz}/play");
    let pages = ["/quizzes", play.as_str(), picture.as_str()];
    let load = Load::new(&visitor, &pages).asking_anew().at_most(RATE);
    let failures = load
        .during(async {
            for service in ["quiz", "nas1", "nas2", "nas3"] {
                for container in stack.containers(service).await {
                    docker(&["restart", &container]).await;
                    whole(&stack, 3).await;
                    load.more(30).await;
                    dies(&stack, &container).await;
                    whole(&stack, 3).await;
                    load.more(30).await;
                }
            }
            derive("storage", "next", "LABEL next=yes").await;
            derive("storage", "broken", "ENV STORAGE_GRACE_SECS=soon").await;
            let broken = stack.tool_within(20, "upgrade", &["broken"]).await;
            let words = String::from_utf8(broken.stderr).unwrap();
            assert!(!broken.status.success(), "{words}");
            assert!(words.contains("run what they ran before"), "{words}");
            whole(&stack, 3).await;
            stack.works("upgrade", &["next"]).await;
            load.more(30).await;
        })
        .await;
    assert_eq!(failures, Vec::<String>::new(), "front-ends and storage");

    // There is one of each of these: how long visitors wait is printed.
    for service in ["lb", "firewall", "db"] {
        let container = stack.containers(service).await.remove(0);
        let outage = silence(&visitor, async {
            docker(&["restart", &container]).await;
        });
        println!(
            "{service} restarted: no page for {:.1} s",
            outage.await.as_secs_f64()
        );
        whole(&stack, 3).await;
        let outage = silence(&visitor, dies(&stack, &container));
        println!(
            "{service} killed: no page for {:.1} s",
            outage.await.as_secs_f64()
        );
        whole(&stack, 3).await;
    }
    assert!(admin.page(&quiz).await.contains("Who is dead?"));
    assert_eq!(admin.get(&picture).await.status(), 200);
}

/// The front-ends are these, and Compose agrees: the next `up` replaces none.
async fn stays(stack: &Compose, front_ends: &BTreeSet<String>) {
    let now: BTreeSet<_> = stack.containers("quiz").await.into_iter().collect();
    assert_eq!(&now, front_ends);
    stack.compose(&["up", "--detach"]).await;
    let now: BTreeSet<_> = stack.containers("quiz").await.into_iter().collect();
    assert_eq!(&now, front_ends);
}

/// An image like that of this tree, but for one line.
async fn derive(program: &str, tag: &str, line: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Dockerfile");
    let base = image(program, TAG);
    std::fs::write(&file, format!("FROM {base}\n{line}\n")).unwrap();
    let folder = folder.path().to_str().unwrap();
    docker(&["build", "--quiet", "--tag", &image(program, tag), folder]).await;
}

/// Kills the first process of a container, as the kernel would, and waits until the engine has started another.
async fn dies(stack: &Compose, container: &str) {
    let pid = stack.pid(container).await;
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("the engine starts it again", async || {
        let now = stack.pid(container).await;
        now != 0 && now != pid
    })
    .await;
}

/// Waits until so many front-ends are at work and all else is well.
async fn whole(stack: &Compose, front_ends: usize) {
    eventually("all is well", async || {
        let status = stack.tool("status", &[]).await;
        let words = String::from_utf8_lossy(&status.stdout).into_owned();
        status.status.success() && words.matches(" healthy ").count() >= front_ends
    })
    .await;
}

/// Waits until so many front-ends, and no others, serve with none far below its share.
async fn shares(stack: &Compose, load: &Load<'_>, count: usize) {
    eventually("each front-end has its share", async || {
        load.served();
        load.more(20 * count).await;
        let served = load.served();
        let all: usize = served.values().sum();
        let least = served.values().min().copied().unwrap_or(0);
        served.len() == count && least as f64 >= FAIR * all as f64 / count as f64
    })
    .await;
    assert_eq!(stack.containers("quiz").await.len(), count);
}
