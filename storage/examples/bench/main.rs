//! Compares three storage nodes with `GlusterFS` replica 3 on the same disk, with the same client library, in one run.
//!
//! Run by `make bench-storage` (`lab/scripts/bench-storage.sh`), which makes the volume and mounts it. Starts three nodes of its
//! own below `--dir`. The two take turns, and so does a raw loop of write, fsync and rename, which is what the disk can do at
//! best with one copy. Prints a Markdown table of medians with the spread of the rounds, and the ratios that count.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

mod bars;
mod faults;
mod healing;
mod measure;
mod nodes;
mod store;
mod throughput;

use bars::Bars;
use nodes::Nodes;
use store::Store;

/// Measures the store beside `GlusterFS` and the raw disk.
#[derive(Debug, Parser)]
struct Args {
    /// The program `quiz-storage`.
    #[arg(long)]
    program: PathBuf,
    /// An empty folder on the disk to measure.
    #[arg(long)]
    dir: PathBuf,
    /// The mounted volume; without it the table has no peer.
    #[arg(long)]
    gluster: Option<PathBuf>,
    /// Another mount of the volume, for reading.
    #[arg(long, requires = "gluster")]
    gluster_read: Option<PathBuf>,
    /// The folder of the volume's third brick, and the commands that stop and start it.
    #[arg(long, requires_all = ["brick_stop", "brick_start", "brick_freeze", "brick_thaw"])]
    brick: Option<PathBuf>,
    #[arg(long)]
    brick_stop: Option<String>,
    #[arg(long)]
    brick_start: Option<String>,
    #[arg(long)]
    brick_freeze: Option<String>,
    #[arg(long)]
    brick_thaw: Option<String>,
    /// Times that each measurement is made.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement. Needs some 2 GiB of free disk for each.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// Only the measurements whose names contain this, such as "PUT 100 KiB, 8 at once"; no faults and no healing.
    #[arg(long)]
    only: Option<String>,
    /// New objects of the healing run; a tenth as many are deleted.
    #[arg(long, default_value_t = 10_000)]
    heal: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let raw = args.dir.join("raw");
    std::fs::create_dir_all(&raw)?;
    let mut nodes = Nodes::start(&args.program, &args.dir)?;
    nodes.wait_ready().await?;
    let ours = Store::of(
        (0..3)
            .map(|node| nodes.store(node))
            .collect::<Result<_, _>>()?,
    );
    let gluster = match &args.gluster {
        Some(mount) => {
            let open = |mount: &PathBuf| -> anyhow::Result<Vec<Arc<dyn ObjectStore>>> {
                let store = LocalFileSystem::new_with_prefix(mount)?.with_fsync(true);
                Ok(vec![Arc::new(store)])
            };
            Some(Store::Objects {
                write: open(mount)?,
                read: open(args.gluster_read.as_ref().unwrap_or(mount))?,
            })
        }
        None => None,
    };
    let mut stores = vec![("quiz-storage", ours)];
    stores.extend(gluster.clone().map(|store| ("GlusterFS", store)));
    stores.push(("raw disk, one copy", Store::Raw(raw)));
    let mut bars = Bars::default();
    throughput::throughput(&args, &stores, &mut bars).await?;
    if args.only.is_some() {
        return bars.end();
    }
    faults::faults(&args, &mut nodes, gluster.as_ref(), &mut bars).await?;
    nodes.wait_ready().await?;
    healing::healing(&args, &mut nodes, gluster.as_ref(), &mut bars).await?;
    bars.end()
}
