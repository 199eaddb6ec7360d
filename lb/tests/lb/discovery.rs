//! Backends that come and go by name and by file.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use hickory_proto::op::ResponseCode;

use crate::{
    common::{Backend, Balancer, eventually},
    dns::{Dns, Says},
};

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn addresses(ips: impl IntoIterator<Item = IpAddr>) -> Says {
    Says::Addresses(ips.into_iter().collect::<BTreeSet<_>>())
}

async fn start(dns: &Dns, name: &str, flags: &[&str]) -> Balancer {
    let server = dns.addr.to_string();
    let flags = [&["--dns-server", &server], flags].concat();
    Balancer::start(name, &flags).await
}

/// How many backends are listed.
async fn listed(balancer: &Balancer) -> usize {
    let (_, text) = balancer.admin_get("/metrics").await;
    let of_one = |line: &&str| line.starts_with("lb_backend_requests_in_flight{");
    text.lines().filter(of_one).count()
}

#[tokio::test]
async fn a_name_is_a_source_of_backends_and_its_ttl_is_ignored() {
    let (backend, dns) = (
        Backend::start().await,
        Dns::start(addresses([loopback(1)])).await,
    );
    let port = backend.addr.port();
    let balancer = start(&dns, &format!("dns:quiz:{port}"), &[]).await;
    balancer.wait_for_state(backend.addr, "healthy").await;
    assert_eq!(balancer.get("/").await.status(), 200);

    dns.set(addresses([loopback(1), loopback(2)]));
    let second = SocketAddr::new(loopback(2), port);
    balancer.wait_for_state(second, "warming").await;
    dns.set(addresses([loopback(2)]));
    eventually("the first has left", async || listed(&balancer).await == 1).await;
}

#[tokio::test]
async fn both_kinds_of_addresses_are_asked_for_unless_told_otherwise() {
    let both = [loopback(1), "::1".parse().unwrap()];
    let dns = Dns::start(addresses(both)).await;
    let balancer = start(&dns, "dns:quiz:1", &[]).await;
    eventually("both are listed", async || listed(&balancer).await == 2).await;
    let balancer = start(&dns, "dns:quiz:1", &["--dns-ipv6", "false"]).await;
    eventually("one is listed", async || listed(&balancer).await == 1).await;
}

#[tokio::test]
async fn two_hundred_addresses_fit_a_datagram_and_a_thousand_come_over_tcp() {
    let many = |count: u32| addresses((0..count).map(|n| Ipv4Addr::from(0x7f01_0000 + n).into()));
    let dns = Dns::start(many(200)).await;
    let flags = ["--dns-ipv6", "false", "--probe-interval", "3600000"];
    let balancer = start(&dns, "dns:quiz:1", &flags).await;
    eventually("all are listed", async || listed(&balancer).await == 200).await;
    assert_eq!(dns.asked().1, 0);
    dns.set(many(1000));
    eventually("all are listed", async || listed(&balancer).await == 1000).await;
    assert!(dns.asked().1 > 0);
}

#[tokio::test]
async fn whatever_a_dns_server_does_wrong_the_last_good_set_stays() {
    let (backend, dns) = (
        Backend::start().await,
        Dns::start(addresses([loopback(1)])).await,
    );
    let name = format!("dns:quiz:{}", backend.addr.port());
    let balancer = start(&dns, &name, &["--dns-timeout", "100"]).await;
    balancer.wait_for_state(backend.addr, "healthy").await;
    for wrong in [
        Says::Nothing,
        Says::Garbage,
        Says::Code(ResponseCode::ServFail),
        Says::Code(ResponseCode::NXDomain),
        addresses([]),
    ] {
        dns.set(wrong.clone());
        let before = dns.asked().0;
        eventually("it was asked again and again", async || {
            dns.asked().0 >= before + 6
        })
        .await;
        assert_eq!(balancer.get("/").await.status(), 200, "{wrong:?}");
        assert_eq!(listed(&balancer).await, 1, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_dns_server_that_hangs_delays_no_health_check() {
    let (backend, dns) = (Backend::start().await, Dns::start(Says::Nothing).await);
    let list = format!("dns:quiz:1,{}", backend.addr);
    let balancer = start(&dns, &list, &["--dns-timeout", "3600000"]).await;
    balancer.wait_for_state(backend.addr, "healthy").await;
    backend.set_ready(503);
    balancer.wait_for_state(backend.addr, "draining").await;
}

#[tokio::test]
async fn an_address_that_leaves_and_returns_must_be_ready_again() {
    let (backend, dns) = (
        Backend::start().await,
        Dns::start(addresses([loopback(1)])).await,
    );
    let name = format!("dns:quiz:{}", backend.addr.port());
    let balancer = start(&dns, &name, &[]).await;
    balancer.wait_for_state(backend.addr, "healthy").await;
    backend.set_ready(500);
    balancer.wait_for_state(backend.addr, "unhealthy").await;
    dns.set(addresses([loopback(2)]));
    let other = SocketAddr::new(loopback(2), backend.addr.port());
    balancer.wait_for_state(other, "warming").await;
    dns.set(addresses([loopback(1)]));
    balancer.wait_for_state(backend.addr, "warming").await;
}

#[tokio::test]
async fn a_file_is_a_source_of_backends_and_is_read_again() {
    let (first, second) = (Backend::start().await, Backend::start().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backends");
    fs::write(&file, format!("{} # the old one\n", first.addr)).unwrap();
    let balancer = Balancer::start(&format!("file:{}", file.display()), &[]).await;
    balancer.wait_for_state(first.addr, "healthy").await;
    fs::write(&file, format!("{}\n", second.addr)).unwrap();
    balancer.wait_for_state(second.addr, "healthy").await;
    assert_eq!(listed(&balancer).await, 1);
    fs::remove_file(&file).unwrap();
    for _ in 0..5 {
        assert_eq!(balancer.get("/").await.status(), 200);
    }
    assert_eq!(listed(&balancer).await, 1);
}
