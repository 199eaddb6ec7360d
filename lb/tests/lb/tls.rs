//! TLS in front. Only in a build with the feature; `openssl` makes the certificates.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    time,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

use crate::{
    common::{Backend, Balancer, PATIENCE, config, eventually},
    hostile::connect,
    http2::Visitor,
};

/// Where a certificate and its key lie.
struct Site(TempDir);

impl Site {
    async fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a folder can be made"));
        site.renew().await;
        site
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str().expect("paths are text").to_owned()
    }

    /// Another certificate of another key in the same place.
    async fn renew(&self) {
        let fixed =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=quiz";
        let status = Command::new("openssl")
            .args(fixed.split(' '))
            .args(["-addext", "subjectAltName=DNS:quiz.test"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &self.path("key"), "-out", &self.path("pem")])
            .stderr(Stdio::null())
            .status();
        assert!(status.await.expect("openssl is there").success());
    }

    /// A client that trusts the certificate that lies there now, and no other.
    fn client(&self, addr: SocketAddr) -> reqwest::Client {
        let pem = std::fs::read(Path::new(&self.path("pem"))).expect("it was made");
        let certificate = reqwest::Certificate::from_pem(&pem).expect("it is one");
        reqwest::Client::builder()
            .tls_certs_only([certificate])
            .resolve("quiz.test", addr)
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .no_proxy()
            .build()
            .expect("it can be built")
    }

    fn flags(&self) -> [String; 4] {
        let flag = |name: &str| format!("--tls-{name}");
        [
            flag("certificate"),
            self.path("pem"),
            flag("key"),
            self.path("key"),
        ]
    }
}

async fn get(client: &reqwest::Client, addr: SocketAddr) -> reqwest::Result<reqwest::Response> {
    let url = format!("https://quiz.test:{}/", addr.port());
    client.get(url).send().await
}

#[tokio::test]
async fn a_request_over_tls_is_told_apart_and_a_new_certificate_holds_after_a_reload() {
    let (backend, site) = (Backend::start().await, Site::new().await);
    let flags = site.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let balancer = Balancer::before(&[&backend], &flags).await;
    let old = site.client(balancer.addr);
    assert_eq!(get(&old, balancer.addr).await.unwrap().status(), 200);
    let seen = backend.seen().remove(0).headers;
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");

    site.renew().await;
    let new = site.client(balancer.addr);
    assert!(get(&new, balancer.addr).await.is_err());
    let backends = backend.addr.to_string();
    balancer.reload(config(&backends, &flags)).await;
    eventually("the new certificate is shown", async || {
        get(&new, balancer.addr).await.is_ok()
    })
    .await;
    assert!(get(&old, balancer.addr).await.is_err());
}

#[tokio::test]
async fn a_client_that_knows_http2_gets_it_if_that_is_wanted() {
    let (backend, site) = (Backend::start().await, Site::new().await);
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(site.path("pem")).unwrap();
    roots.add(certificate).unwrap();
    let mut knows = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    knows.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let knows = TlsConnector::from(Arc::new(knows));
    for (wanted, agreed) in [("true", &b"h2"[..]), ("false", b"http/1.1")] {
        let flags = site.flags();
        let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
        flags.extend(["--http2", wanted]);
        let balancer = Balancer::before(&[&backend], &flags).await;
        let tcp = connect(balancer.addr).await;
        let name = "quiz.test".try_into().unwrap();
        let tls = knows.connect(name, tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(agreed));
        if wanted == "true" {
            assert_eq!(Visitor::over(tls).await.get("/").await.status, 200);
            let seen = backend.seen().remove(0).headers;
            assert_eq!(seen["x-forwarded-proto"], "https");
        }
        // Whoever knows only HTTP/1 is served as ever.
        let old = site.client(balancer.addr);
        assert_eq!(get(&old, balancer.addr).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_hung_up_on() {
    let (backend, site) = (Backend::start().await, Site::new().await);
    let flags = site.flags();
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    flags.extend(["--head-timeout", "1"]);
    let balancer = Balancer::before(&[&backend], &flags).await;
    let plain = "GET / HTTP/1.1\r\nHost: quiz\r\n\r\n";
    for start in [plain, "\x16\x03\x01", ""] {
        let mut tcp = connect(balancer.addr).await;
        tcp.write_all(start.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        let ended = time::timeout(PATIENCE, tcp.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "{start:?}");
        assert!(!said.starts_with(b"HTTP"), "{said:?}");
    }
    assert_eq!(backend.arrived(), 0);
}
