use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use futures::future::join_all;

use super::*;

/// Two at a time, three waiting.
fn passwords() -> Passwords {
    let config = Config::try_parse_from([
        "quiz-web",
        "--database-url=postgres://localhost/none",
        "--secret=0123456789abcdef0123456789abcdef",
        "--store-url=memory:///",
        "--argon2-memory-kib=64",
        "--argon2-iterations=1",
        "--password-workers=2",
        "--password-queue=3",
    ]);
    Passwords::new(&config.unwrap()).unwrap()
}

#[tokio::test]
async fn no_more_passwords_are_hashed_at_once_than_there_are_workers() {
    let passwords = Passwords {
        places: Arc::new(Semaphore::new(200)),
        ..passwords()
    };
    let running = Arc::new(AtomicUsize::new(0));
    let peak = Arc::new(AtomicUsize::new(0));
    let work = |_: usize| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        passwords.work(move |argon2| {
            peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            hash(argon2, "x")?;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    };
    for done in join_all((0..200).map(work)).await {
        done.unwrap();
    }
    assert!(peak.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_at_once() {
    let passwords = passwords();
    let busy = Arc::clone(&passwords.turns).acquire_many_owned(2).await;
    // Five places: the two of the workers and three to wait at. Nobody has a turn, so all five are taken by waiting.
    let mut waiting: Vec<_> = (0..5)
        .map(|_| Box::pin(passwords.verify("x", None)))
        .collect();
    for attempt in &mut waiting {
        assert!(futures::poll!(attempt).is_pending());
    }
    let refused = passwords.verify("x", None).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))));
    drop(busy);
    for attempt in waiting {
        assert!(!attempt.await.unwrap());
    }
    assert!(!passwords.verify("x", None).await.unwrap());
}

#[tokio::test]
async fn a_password_is_right_or_wrong_and_nobody_has_the_decoys() {
    let passwords = passwords();
    let stored = passwords.hash("right".to_owned()).await.unwrap();
    assert!(passwords.verify("right", Some(&stored)).await.unwrap());
    assert!(!passwords.verify("wrong", Some(&stored)).await.unwrap());
    assert!(!passwords.verify("right", None).await.unwrap());
}
