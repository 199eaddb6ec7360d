//! The balancer spreads requests, not connections.

mod common;

use std::collections::HashMap;

use common::{Connection, Site};
use futures::future::join_all;

/// Sends `total` requests over `connections` connections; returns how many each front-end served.
async fn shares(site: &Site, connections: usize, total: usize) -> HashMap<String, usize> {
    let address = site.stack.lb().spec().address;
    let one = async |requests: usize| {
        let mut connection = Connection::open(address).await;
        let mut served = Vec::with_capacity(requests);
        for _ in 0..requests {
            served.push(connection.get("/quizzes").await);
        }
        served
    };
    let served = join_all((0..connections).map(|_| one(total / connections))).await;
    let mut shares = HashMap::new();
    for backend in served.into_iter().flatten() {
        *shares.entry(backend).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn three_hundred_requests_land_a_hundred_on_each_of_three_front_ends() {
    let site = Site::start("balancing", 3).await;
    for connections in [1, 20] {
        let shares = shares(&site, connections, 300).await;
        let counts: Vec<usize> = shares.values().copied().collect();
        assert_eq!(
            counts.len(),
            3,
            "over {connections} connections: {shares:?}"
        );
        assert!(
            counts.iter().all(|count| count.abs_diff(100) <= 1),
            "over {connections} connections: {shares:?}"
        );
    }
    site.stop().await;
}

#[tokio::test]
async fn three_front_ends_that_start_together_make_one_schema_and_one_set_of_seeds() {
    let site = Site::start("seeds", 3).await;
    let sql = async |statement| site.stack.postgres().sql("quiz", statement).await.unwrap();
    assert_eq!(
        sql("SELECT count(*), count(DISTINCT question) FROM quizzes").await,
        "4|4"
    );
    assert_eq!(
        sql("SELECT string_agg(username, ' ' ORDER BY username) FROM users").await,
        "admin pepe"
    );
    assert_eq!(
        sql(
            "SELECT count(*) = count(DISTINCT version) AND bool_and(success) FROM _sqlx_migrations"
        )
        .await,
        "t"
    );
    site.stop().await;
}
