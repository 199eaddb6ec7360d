//! From nothing to a site.

use std::time::Instant;

use crate::common::browser::{Scripts, visit};
use crate::common::compose::Compose;
use crate::common::journey::Person;

#[tokio::test]
#[ignore = "needs images and an engine: make test-compose"]
async fn a_stack_starts_from_nothing_with_four_front_ends_and_a_person_plays_on_it() {
    let stack = Compose::prepare("compose-tour", 1);
    let begun = Instant::now();
    stack
        .compose(&["up", "--detach", "--wait", "--scale", "quiz=4"])
        .await;
    stack.wait_for_page().await;
    println!(
        "up to the first page: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(stack.containers("quiz").await.len(), 4);
    assert!(stack.works("status", &[]).await.contains("All is well."));

    let password = stack.secret("site_password");
    visit("compose", Scripts::On, &stack.url(), async |browser| {
        let person = Person {
            password: &password,
            folder: stack.root(),
        };
        person.travels(browser).await;
    })
    .await;
}
