//! Pingora with nothing of ours on it but the write buffer and the allocator: what `make bench-lb` compares with, so that
//! its table tells what Pingora costs from what we add. Usage: bare LISTEN BACKEND...

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora::{
    Result,
    listeners::ListenerConfig,
    protocols::l4::stream::L4BufferSettings,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many as ours keeps.
const IDLE_UPSTREAMS: usize = 512;

struct Bare {
    backends: Vec<String>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.backends.len();
        let peer = HttpPeer::new(self.backends[next].as_str(), false, String::new());
        Ok(Box::new(peer))
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().expect("bare LISTEN BACKEND...");
    let bare = Bare {
        backends: arguments.collect(),
        next: AtomicUsize::new(0),
    };
    assert!(!bare.backends.is_empty(), "bare LISTEN BACKEND...");
    let conf = ServerConf {
        upstream_keepalive_pool_size: IDLE_UPSTREAMS,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, bare);
    let buffers = L4BufferSettings::default().write(16 * 1024);
    service.add_listener(ListenerConfig::tcp(&listen).l4_buffer(buffers));
    server.add_service(service);
    server.run_forever();
}
