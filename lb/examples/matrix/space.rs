//! A network of its own, without a way out, in which cables can be cut.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// Network, process and mount namespaces, which end with the first process in them, and that with `unshare`.
const OWN: &str = "--user --map-root-user --net --mount --pid --fork --kill-child --mount-proc";
/// Set aside for measurements (RFC 2544).
const NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
/// Here is memory, in the mount namespace, so that no file is left behind either.
const MEMORY: &str = "/mnt";

/// Where all of it happens.
pub(crate) struct Space {
    network: Ipv4Addr,
    given: AtomicU32,
    files: PathBuf,
    cuts: bool,
}

/// Runs this program again in namespaces, and returns how it ended; nothing where none may be made.
pub(crate) fn enter() -> Result<Option<ExitCode>> {
    let own = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(OWN.split(' ')).arg(program);
        command
    };
    let tried = own("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("No namespaces may be made here: on the loopback addresses.");
        return Ok(None);
    }
    let this = std::env::current_exe()?;
    let mut inside = own(this.to_str().context("the path is no text")?)
        .arg("--inside")
        .args(std::env::args_os().skip(1))
        // Held until the end; whoever is inside ends when nobody holds it.
        .stdin(Stdio::piped())
        .spawn()?;
    let held = inside.stdin.take();
    let status = inside.wait()?;
    drop(held);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(Some(code.unwrap_or(1).into()))
}

impl Space {
    /// `inside` says that the namespaces are there.
    pub(crate) fn new(inside: bool) -> Result<Self> {
        let mut space = Self {
            network: if inside { NETWORK } else { LOOPBACK },
            given: AtomicU32::new(0),
            files: std::env::temp_dir(),
            cuts: false,
        };
        if inside {
            std::thread::spawn(|| {
                let _ = std::io::stdin().read(&mut [0]);
                std::process::exit(1);
            });
            run("mount", &["-t", "tmpfs", "none", MEMORY])?;
            space.files = PathBuf::from(MEMORY);
            run("ip", &["link", "set", "lo", "up"])?;
            let all = format!("{}/15", Ipv4Addr::from_bits(NETWORK.to_bits() + 1));
            run("ip", &["address", "add", &all, "dev", "lo"])?;
            let routes = Command::new("ip")
                .args(["route", "show", "default"])
                .output()?;
            ensure!(routes.stdout.is_empty(), "this network has a way out");
            space.cuts = nft("table inet matrix").is_ok() && space.mend().is_ok();
        }
        Ok(space)
    }

    /// An address that nobody else has here.
    pub(crate) fn address(&self) -> IpAddr {
        let last = 2 + self.given.fetch_add(1, Ordering::Relaxed);
        Ipv4Addr::from_bits(self.network.to_bits() + last).into()
    }

    /// An empty folder, until dropped.
    pub(crate) fn folder(&self) -> Result<TempDir> {
        Ok(tempfile::tempdir_in(&self.files)?)
    }

    /// Whether cables can be cut.
    pub(crate) fn cuts(&self) -> bool {
        self.cuts
    }

    /// From now on nothing comes from or gets to this address, and nobody is told.
    pub(crate) fn cut(&self, address: IpAddr) -> Result<()> {
        let rules = [
            "table inet matrix {",
            "chain cut {",
            "type filter hook input priority 0",
            &format!("ip saddr {address} drop"),
            &format!("ip daddr {address} drop"),
            "}",
            "}",
        ];
        nft(&rules.join("\n"))
    }

    /// From now on all addresses can be reached.
    pub(crate) fn mend(&self) -> Result<()> {
        nft("delete table inet matrix")
    }
}

fn nft(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = nft.stdin.take().context("stdin is piped")?;
    writeln!(stdin, "{rules}")?;
    drop(stdin);
    ensure!(nft.wait()?.success(), "nft refuses {rules:?}");
    Ok(())
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let ended = Command::new(program).args(args).status();
    if !ended.is_ok_and(|status| status.success()) {
        bail!("{program} {} failed", args.join(" "));
    }
    Ok(())
}
