//! The side of the process that is replaced.

use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, UnixListener, UnixStream},
};
use tracing::{info, warn};

use super::{GO, Letter, Ordered, PATIENCE, PROTOCOL, bind, send};
use crate::{
    Listeners,
    pool::{Pool, State},
};

/// What a successor is handed. While it exists, the kernel keeps the sockets open.
pub(crate) struct Handover {
    door: UnixListener,
    names: Vec<String>,
    sockets: Vec<OwnedFd>,
    pools: Vec<Arc<Pool>>,
}

impl Handover {
    /// Offers these sockets at this path.
    pub(crate) fn offer(path: &Path, listeners: &Listeners, pools: Vec<Arc<Pool>>) -> Result<Self> {
        let offered = || {
            let path = path.display();
            format!(
                "cannot offer an upgrade at {path}: change process.upgrade_socket (LB_UPGRADE_SOCKET)"
            )
        };
        let public = listeners.public.values();
        let sockets = public
            .chain([&listeners.admin])
            .map(|listener: &TcpListener| listener.as_fd().try_clone_to_owned())
            .collect::<Result<_, _>>()
            .with_context(offered)?;
        Ok(Self {
            door: UnixListener::from_std(bind(path).with_context(offered)?)
                .with_context(offered)?,
            names: listeners.public.keys().cloned().collect(),
            sockets,
            pools,
        })
    }

    fn letter(&self) -> Letter {
        let orders = self.pools.iter().flat_map(|pool| {
            let backends = pool.backends().into_iter();
            backends.flat_map(move |backend| {
                let orders = backend.orders().into_iter();
                orders.map(move |order| Ordered {
                    pool: pool.name().to_owned(),
                    addr: backend.addr(),
                    order,
                })
            })
        });
        let healthy = self.pools.iter().flat_map(|pool| {
            let backends = pool.backends().into_iter();
            let healthy = backends.filter(|backend| backend.state() == State::Healthy);
            healthy.map(move |backend| (pool.name().to_owned(), backend.addr()))
        });
        Letter {
            protocol: PROTOCOL,
            pid: std::process::id(),
            listeners: self.names.clone(),
            ready: self.pools.iter().all(|pool| pool.has_untried(&[])),
            healthy: healthy.collect(),
            orders: orders.collect(),
        }
    }

    /// Whether the process on this line has taken over.
    async fn serve(&self, line: StdStream) -> std::io::Result<bool> {
        line.set_nonblocking(false)?;
        line.set_write_timeout(Some(PATIENCE))?;
        let (letter, mut writing) = (self.letter(), line.try_clone()?);
        let fds: Vec<_> = self.sockets.iter().map(AsFd::as_fd).collect();
        send(&mut writing, &letter, &fds)?;
        line.set_nonblocking(true)?;
        let mut said = [0];
        let read = UnixStream::from_std(line)?.read(&mut said).await?;
        Ok(read == 1 && said[0] == GO)
    }
}

/// Completes when another process has taken over.
pub(crate) async fn hand_over(handover: Handover) {
    loop {
        let line = match handover.door.accept().await {
            Ok((line, _)) => line.into_std(),
            Err(error) => Err(error),
        };
        let served = match line {
            Ok(line) => handover.serve(line).await,
            Err(error) => Err(error),
        };
        match served {
            Ok(true) => {
                info!("another process has taken over");
                return;
            }
            Ok(false) => warn!("a process that wanted to take over has given up, going on"),
            Err(error) => {
                warn!(%error, "a process could not take over, going on: {error}");
                // Without descriptors it would fail again at once, in a busy loop.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
