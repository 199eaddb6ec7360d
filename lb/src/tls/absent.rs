//! What stands for TLS in a build without it.

use std::io;

use anyhow::{Result, bail};
use tokio::net::TcpStream;

use crate::{config::Certificate, wire::Wire};

/// There is none.
#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn load(_files: &Certificate, _http2: bool) -> Result<Self> {
        bail!(
            "this quiz-lb was built without TLS: build it with --features tls, or leave the certificate out"
        )
    }

    pub(crate) fn reload(&self) -> Result<()> {
        match *self {}
    }

    pub(crate) async fn accept(&self, _tcp: TcpStream) -> io::Result<Wire> {
        match *self {}
    }
}
