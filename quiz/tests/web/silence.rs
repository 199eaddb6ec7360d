//! A database whose machine lost its power: connections from before say nothing any more, and new ones work.

use std::sync::Arc;

use quiz_web::db;
use sqlx::PgPool;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::test_app::TestApp;

/// A way to the database on which silence can fall.
struct Way {
    port: u16,
    silence: watch::Sender<u32>,
}

impl Way {
    async fn to(host: String, port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let silence = watch::Sender::new(0);
        let fell = Arc::new(silence.subscribe());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut server = TcpStream::connect((host.as_str(), port)).await.unwrap();
                let mut fell = (*fell).clone();
                fell.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = fell.changed() => std::future::pending().await, // both stay open
                    }
                });
            }
        });
        Self { port: own, silence }
    }

    /// On all connections that are open now.
    fn fall_silent(&self) {
        self.silence.send_modify(|times| *times += 1);
    }
}

#[sqlx::test]
async fn a_connection_that_fell_silent_is_replaced_and_costs_no_visitor_the_page(pool: PgPool) {
    let options = pool.connect_options();
    let way = Way::to(options.get_host().to_owned(), options.get_port()).await;
    let settings = [
        "--store-url",
        "memory:///",
        "--db-max-connections",
        "3",
        "--db-check-timeout-ms",
        "100",
        "--db-statement-timeout-ms",
        "100",
        // Longer than a test may take: who waits this long for a dead connection fails it.
        "--db-acquire-timeout-ms",
        "600000",
    ];
    let config = TestApp::config(&pool, &settings);
    let options = (*options).clone().host("127.0.0.1").port(way.port);
    let ours = db::pool(options, &config);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(ours.acquire().await.unwrap());
    }
    // One is in use when silence falls, and two are not.
    let in_use = held.pop();
    drop(held);
    db::ping(&ours).await.unwrap();
    way.fall_silent();
    drop(in_use);
    for _ in 0..4 {
        let mut all = Vec::new();
        for _ in 0..3 {
            all.push(ours.acquire().await.unwrap());
        }
        db::ping(&mut *all[0]).await.unwrap();
    }
}
