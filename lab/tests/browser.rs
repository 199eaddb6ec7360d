//! A person at a real browser, through the balancer.

mod common;

use common::browser::{Scripts, tour};
use common::journey::Person;

#[tokio::test]
async fn a_person_plays_logs_in_makes_a_quiz_with_a_picture_and_logs_out() {
    tour("browser", Scripts::On, &[], async |browser, site| {
        let person = Person {
            password: site.stack.site_password(),
            folder: site.stack.folder(),
        };
        person.travels(browser).await;
    })
    .await;
}
