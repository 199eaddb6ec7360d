//! The balancer as operators run it, and what it says about its backends.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use http_body_util::BodyExt;
use hyper::Uri;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time,
};

use crate::{
    Form,
    load::{Client, client},
};

/// Longer than anything takes that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// All visitors come from one address here.
const CROWD: [&str; 4] = [
    "--max-connections-per-address",
    "0",
    "--max-in-flight-per-address",
    "0",
];

/// Killed when dropped.
pub(crate) struct Balancer {
    pub(crate) addr: SocketAddr,
    admin: SocketAddr,
    client: Client,
    _child: Child,
}

impl Balancer {
    /// In front of these backends, with flags on top of those of the form.
    pub(crate) async fn start(
        form: &Form,
        address: IpAddr,
        backends: &str,
        flags: &[&str],
    ) -> Result<Self> {
        let any_port = SocketAddr::new(address, 0).to_string();
        let mut child = Command::new(&form.program)
            .args(["--listen", &any_port, "--admin-listen", &any_port])
            .args(["--backends", backends])
            .args(["--slow-start", &form.slow_start.as_secs().to_string()])
            .args(CROWD)
            .args(form.flags)
            .args(flags)
            .env_clear()
            .env("RUST_LOG", "quiz_lb=info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", form.program.display()))?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let mut log = BufReader::new(stderr).lines();
        let (addr, admin) = loop {
            let line = log.next_line().await?;
            let line = line.context("the balancer has not started")?;
            if let Some((_, addrs)) = line.split_once("balancing on ") {
                let (addr, admin) = addrs.split_once(", admin on ").context("two ports")?;
                break (addr.trim().parse()?, admin.trim().parse()?);
            }
        };
        // Read to the end, or the balancer would one day block on a full pipe.
        tokio::spawn(async move {
            let shown = std::env::var_os("MATRIX_LOG").is_some();
            while let Ok(Some(line)) = log.next_line().await {
                if shown {
                    eprintln!("{line}");
                }
            }
        });
        Ok(Self {
            addr,
            admin,
            client: client(),
            _child: child,
        })
    }

    /// Waits until these are healthy, and no others are listed.
    pub(crate) async fn wait_for(&self, healthy: &[SocketAddr]) -> Result<()> {
        self.wait_until(|states| {
            let all = healthy
                .iter()
                .all(|addr| states.get(addr).is_some_and(|state| state == "healthy"));
            all && states.len() == healthy.len()
        })
        .await
    }

    async fn wait_until(
        &self,
        holds: impl Fn(&BTreeMap<SocketAddr, String>) -> bool,
    ) -> Result<()> {
        let polled = time::timeout(PATIENCE, async {
            while !holds(&self.states().await?) {
                time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        });
        match polled.await {
            Ok(polled) => polled,
            Err(_) => bail!("the backends never got so far: {:?}", self.states().await?),
        }
    }

    async fn states(&self) -> Result<BTreeMap<SocketAddr, String>> {
        let uri: Uri = format!("http://{}/state.json", self.admin).parse()?;
        let reply = self.client.get(uri).await?;
        let text = reply.into_body().collect().await?.to_bytes();
        let state: Value = serde_json::from_slice(&text)?;
        let backends = state["pools"][0]["backends"].as_array();
        let backends = backends.context("there is a list of backends")?.iter();
        let one = |it: &Value| -> Result<(SocketAddr, String)> {
            let text = |field: &str| it[field].as_str().context("it is text");
            Ok((text("address")?.parse()?, text("state")?.to_owned()))
        };
        backends.map(one).collect()
    }
}
