//! The list page, as a visitor without a log-in sees it, beside the same rows without the page.

use crate::load::Ask;
use crate::pages::Visitor;
use crate::pgbench::{self, Plans};
use crate::processes::Watched;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::Samples;
use crate::site::{self, FRONT_END, POSTGRES, Site};

/// The page of the newest ten.
pub(crate) const PATH: &str = "/quizzes";

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let database = site.small().await?;
    let front_end = site.front_end("list", &database, &[]).await?;
    let base = site::url(&front_end, "");
    let ask = async || Visitor::new(base.clone())?.page(PATH).await.map(drop);
    let statements = pgbench::capture(site, "small", ask).await?;
    let watched = [Watched::of(FRONT_END, [&front_end]), site.watch_postgres()];
    let page = Ask::for_page(site::url(&front_end, PATH));
    page.warm_up(form).await?;

    let (mut pages, mut rows, mut kept) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..form.rounds {
        rows.push(pgbench::measure(site, &database, &statements, Plans::Anew).await?);
        pages.push(page.measure(form, &watched).await?);
        kept.push(pgbench::measure(site, &database, &statements, Plans::Kept).await?);
        form.told("list", round);
    }
    site::end([front_end]).await;

    let mut section = Section::new(
        "list",
        "The list page",
        format!(
            "Ten quizzes with pictures and authors, of {} on the site, for a visitor without a cookie: straight at one front-end that \
             shares a core with PostgreSQL, nothing cached anywhere; {} visitors. The peer runs the same {} statements with the same \
             values, on ten connections as the front-end has, with a plan for each execution as the front-end asks for it.",
            form.small.quizzes,
            form.users,
            statements.len()
        ),
    );
    let mut table = Table::new(&[
        "",
        "requests/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "CPU µs front-end",
        "CPU µs PostgreSQL",
    ]);
    for (name, samples) in [
        ("pgbench, same SQL", &rows),
        ("list page", &pages),
        ("pgbench, plans kept", &kept),
    ] {
        table.push([
            name.to_owned(),
            samples.rate().range(0),
            samples.rate().over(&rows.rate()).range(2),
            none_if_unknown(samples.p50_ms().middle(2)),
            none_if_unknown(samples.p99_ms().middle(2)),
            samples.cpu_us(FRONT_END).middle(0),
            samples.cpu_us(POSTGRES).middle(0),
        ]);
        section.note_flaws(name, samples);
    }
    section.tables.push(table);
    let ratio = pages.rate().over(&rows.rate());
    section.bars.push(Bar::ratio(
        "list page to pgbench",
        &ratio,
        Bound::AtLeast(0.5),
    ));
    Ok(section)
}

fn none_if_unknown(figure: String) -> String {
    if figure == "NaN" {
        "-".to_owned()
    } else {
        figure
    }
}
