//! TLS in front: the certificate of a listener, and the handshake. In a build without it, `tls/absent.rs` is here.

use std::{io, sync::Arc};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

use crate::{config::Certificate, wire::Wire};

/// What clients call HTTP/2 in their handshake.
pub(crate) const HTTP2: &[u8] = b"h2";

/// The certificate of a listener.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Certificate,
    http2: bool,
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    /// Reads the files. Clients may choose HTTP/2, or not.
    pub(crate) fn load(files: &Certificate, http2: bool) -> Result<Self> {
        Ok(Self {
            files: files.clone(),
            http2,
            current: ArcSwap::new(read(files, http2)?),
        })
    }

    /// Reads them again, for connections to come.
    pub(crate) fn reload(&self) -> Result<()> {
        self.current.store(read(&self.files, self.http2)?);
        Ok(())
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Wire> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        Ok(Wire::Tls(Box::new(acceptor.accept(tcp).await?)))
    }
}

fn read(files: &Certificate, http2: bool) -> Result<Arc<ServerConfig>> {
    let (chain, key) = (files.certificate.display(), files.key.display());
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read certificates from {chain}: write them as PEM"))?;
    let private = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read a private key from {key}: write it as PEM"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version is left")?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .with_context(|| format!("{key} is not the key of the certificate in {chain}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, HTTP2.to_vec());
    }
    Ok(Arc::new(config))
}
