//! What one front-end learns, all know; what one stores, all serve.

mod common;

use common::{Site, eventually};

#[tokio::test]
async fn a_user_who_logs_in_through_one_front_end_is_logged_in_on_all() {
    let site = Site::start("session", 3).await;
    let fronts = site.front_ends();
    let visitor = site.visitor().at(&fronts[0]);
    visitor.log_in("pepe", site.stack.site_password()).await;
    for front in &fronts {
        assert!(
            visitor.at(front).page("/").await.contains("pepe"),
            "{front} knows the session"
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn a_picture_is_on_two_nodes_when_the_reply_arrives_on_three_soon_after_and_served_by_all() {
    let site = Site::start("picture", 3).await;
    let fronts = site.front_ends();
    let author = site.admin().await.at(&fronts[0]);

    let response = author
        .post_quiz("Which colours are these?", "42", Some(common::png_part(7)))
        .await;
    let stored: Vec<_> = (0..3).map(|node| blobs(&site, node)).collect();
    assert!(response.status().is_redirection(), "{response:?}");
    assert!(
        stored.iter().filter(|&&count| count > 0).count() >= 2,
        "blobs on the nodes at the reply: {stored:?}"
    );

    let path = response.headers()["location"].to_str().unwrap().to_owned();
    let picture = common::select(&author.page(&path).await, "main img")[0]["src"].clone();
    let mut served = Vec::new();
    for front in &fronts {
        let response = author.at(front).get(&picture).await;
        assert_eq!(response.headers()["content-type"], "image/png");
        served.push(response.bytes().await.unwrap());
    }
    assert!(
        served
            .iter()
            .all(|bytes| *bytes == served[0] && !bytes.is_empty())
    );
    eventually("the picture is on three nodes", async || {
        site.copies(&served[0]) == 3
    })
    .await;
    site.stop().await;
}

/// How many whole blob files a storage node has.
fn blobs(site: &Site, node: usize) -> usize {
    fn files(folder: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                if entry.path().is_dir() {
                    files(&entry.path())
                } else {
                    1
                }
            })
            .sum()
    }
    files(&site.stack.storage_folder(node).join("blobs"))
}
