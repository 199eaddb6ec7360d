//! What the site can do, beside what could be done: each row of `docs/performance.md` is one kind of work, measured in turns
//! with its peer in the same run. Prints tables and ends with 1 if a bar is missed.
//!
//! Run by `make bench`, and in a tiny form by the tests. What serves has one core, what asks has another; everything listens on
//! loopback alone, on ports of its own, from a folder that goes when this ends, and all processes end with it.
//!
//! `site.rs` starts what the rows need (`processes.rs` pins it, and reads what it uses), `load.rs` asks for pages and `pgbench.rs`
//! for rows, `rounds.rs` turns rounds into min-median-max, `report.rs` writes it down. The other files are the rows.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use quiz_lab::state::scratch_folder;

mod balancer;
mod cached;
mod front_ends;
mod generator;
mod images;
mod list;
mod load;
mod memory;
mod million;
mod pages;
mod pgbench;
mod play;
mod processes;
mod report;
mod rounds;
mod share;
mod site;

use report::{Section, document};
use site::Site;

/// How long what was killed may still write.
const LEAVE: Duration = Duration::from_secs(10);

/// Measures the site beside its peers.
#[derive(Debug, Parser)]
struct Args {
    /// Folder of the programs of the workspace; the one above this program's, unless given
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Only these rows
    #[arg(long, value_delimiter = ',', value_name = "ROW,…")]
    only: Vec<Row>,
    /// How often each is measured
    #[arg(long, default_value = "5")]
    rounds: NonZeroUsize,
    /// How long one measurement takes
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Quizzes of the large site; it has a tenth as many users, and five favourites for each quiz
    #[arg(long, default_value = "1000000", value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    quizzes: u64,
    /// One round of a fraction of a second on tiny data, and no bar: shows that all of it runs
    #[arg(long)]
    smoke: bool,
    /// Write the tables into this file, between its marks; what else it says stays
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// What can be measured, in the order of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Row {
    Balancer,
    List,
    Play,
    Cached,
    Million,
    Memory,
    Images,
    FrontEnds,
    Generator,
}

/// How it is measured.
#[derive(Debug, Clone)]
struct Form {
    programs: PathBuf,
    rounds: usize,
    /// Of one measurement, and of the load before it that is not measured.
    time: Duration,
    warm_up: Duration,
    /// Visitors who ask for the next page as soon as they have one.
    users: usize,
    /// Sizes of the two sites.
    small: Size,
    large: Size,
    /// Connections that do nothing.
    idle: usize,
    smoke: bool,
}

/// What a site has.
#[derive(Debug, Clone, Copy)]
struct Size {
    quizzes: u64,
    users: u64,
    favourites: u64,
}

impl Form {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let programs = args.programs.clone().map_or_else(above, Ok)?;
        let programs = programs
            .canonicalize()
            .with_context(|| format!("there is no folder {}", programs.display()))?;
        for name in ["quiz-lb", "quiz-web", "quiz-storage", "quiz-loadtest"] {
            if !programs.join(name).exists() {
                bail!(
                    "{} does not exist: `make bench` builds it",
                    programs.join(name).display()
                );
            }
        }
        let small = if args.smoke {
            Size::of(100)
        } else {
            Size::of(1000)
        };
        Ok(Self {
            programs,
            rounds: if args.smoke { 1 } else { args.rounds.get() },
            time: match args.smoke {
                true => Duration::from_millis(300),
                false => Duration::from_secs(args.seconds),
            },
            warm_up: Duration::from_millis(if args.smoke { 100 } else { 500 }),
            users: if args.smoke { 4 } else { 32 },
            small,
            large: if args.smoke {
                Size::of(300)
            } else {
                Size::of(args.quizzes)
            },
            idle: if args.smoke { 200 } else { 10_000 },
            smoke: args.smoke,
        })
    }

    fn told(&self, row: &str, round: usize) {
        eprintln!("{row}: round {} of {} is over", round + 1, self.rounds);
    }
}

impl Size {
    fn of(quizzes: u64) -> Self {
        let users = quizzes / 10;
        Self {
            quizzes,
            users,
            // Nobody likes more than a quarter of all.
            favourites: (quizzes * 5).min(users * (quizzes / 4)),
        }
    }
}

/// Cargo puts examples into a folder beside the programs.
fn above() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(|examples| examples.parent());
    Ok(folder
        .context("name the folder with --programs")?
        .to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("site-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let form = Form::new(args)?;
    let folder = scratch_folder().context("cannot make a folder")?;
    // One thread: a child dies with the thread that started it, and this one lives to the end.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let sections = runtime.block_on(measure(args, &form, folder.path()));
    // Whatever still runs is killed here.
    drop(runtime);
    remove(folder)?;
    finish(args, &sections?)
}

/// Who has been killed may take a moment to leave its files alone.
fn remove(folder: tempfile::TempDir) -> anyhow::Result<()> {
    let path = folder.keep();
    let deadline = Instant::now() + LEAVE;
    loop {
        match std::fs::remove_dir_all(&path) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
        }
    }
}

async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "Ctrl-C",
        _ = term.recv() => "SIGTERM",
    }
}

async fn measure(args: &Args, form: &Form, folder: &Path) -> anyhow::Result<Vec<Section>> {
    let wants = |row: &Row| args.only.is_empty() || args.only.contains(row);
    let rows: Vec<Row> = Row::value_variants()
        .iter()
        .copied()
        .filter(wants)
        .collect();
    let mut sections = Vec::new();
    tokio::select! {
        measured = measure_all(form, folder, &rows, &mut sections) => measured?,
        signal = interrupted() => bail!("ended by {signal}"),
    }
    Ok(sections)
}

async fn measure_all(
    form: &Form,
    folder: &Path,
    rows: &[Row],
    sections: &mut Vec<Section>,
) -> anyhow::Result<()> {
    // It pins what it starts by itself, and has the machine to itself.
    if rows.contains(&Row::Balancer) {
        let section = balancer::measure(form).await.context("balancer")?;
        println!("{}", section.text());
        sections.push(section);
    }
    if rows == [Row::Balancer] {
        return Ok(());
    }
    let site = Site::start(form, folder).await?;
    for row in rows {
        let mut section = match row {
            Row::Balancer => continue,
            Row::List => list::measure(&site).await.context("list")?,
            Row::Play => play::measure(&site).await.context("play")?,
            Row::Cached => cached::measure(&site).await.context("cached")?,
            Row::Million => million::measure(&site).await.context("million")?,
            Row::Memory => memory::measure(&site).await.context("memory")?,
            Row::Images => images::measure(&site).await.context("images")?,
            Row::FrontEnds => front_ends::measure(&site).await.context("front-ends")?,
            Row::Generator => generator::measure(&site).await.context("generator")?,
        };
        if form.smoke {
            // So little is no measurement.
            section.bars.clear();
        }
        println!("{}", section.text());
        sections.push(section);
    }
    site.stop().await;
    Ok(())
}

/// Writes the document and tells whether all bars are met.
fn finish(args: &Args, sections: &[Section]) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.markdown {
        document::update(file, sections)?;
        println!("Written: {}", file.display());
    }
    let missed: Vec<_> = sections.iter().flat_map(Section::missed).collect();
    if args.smoke || missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n{} bars missed:", missed.len());
    for bar in missed {
        println!("  {bar}");
    }
    Ok(ExitCode::FAILURE)
}
