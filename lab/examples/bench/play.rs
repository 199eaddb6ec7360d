//! Playing: a question and the verdict on an answer, for somebody who is logged in.

use crate::list;
use crate::load::Ask;
use crate::pages::Visitor;
use crate::processes::Watched;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::{Samples, Series};
use crate::site::{self, FRONT_END, POSTGRES, Site};

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let database = site.small().await?;
    let front_end = site.front_end("play", &database, &[]).await?;
    let mut player = Visitor::new(site::url(&front_end, ""))?;
    player.log_in("pepe", &site.site_password()?).await?;
    let newest = "SELECT id FROM quizzes ORDER BY id DESC LIMIT 1 OFFSET 5";
    let id = site.postgres.sql("small", newest).await?;
    let watched = [Watched::of(FRONT_END, [&front_end]), site.watch_postgres()];
    let at = |path: String| site::url(&front_end, &path);
    let asks = [
        Ask::for_page(at(list::PATH.to_owned())),
        Ask::with_cookie(at(format!("/quizzes/{id}/play")), &player.cookie()),
        Ask::with_cookie(
            at(format!("/quizzes/{id}/check?answer=42")),
            &player.cookie(),
        ),
    ];
    let mut all = [Samples::default(), Samples::default(), Samples::default()];
    for ask in &asks {
        ask.warm_up(form).await?;
    }
    for round in 0..form.rounds {
        for (ask, samples) in asks.iter().zip(&mut all) {
            samples.push(ask.measure(form, &watched).await?);
        }
        form.told("play", round);
    }
    site::end([front_end]).await;

    let mut section = Section::new(
        "play",
        "Play and check",
        format!(
            "The page with a question and the page with the verdict, asked for with a session cookie; one front-end that shares a core \
             with PostgreSQL, {} visitors. \"In turn\" is one of each, again and again, as players do.",
            form.users
        ),
    );
    let [list, play, check] = &all;
    let in_turn: Series = play.rate().in_turn(&check.rate());
    let mut table = Table::new(&[
        "",
        "requests/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "CPU µs front-end",
        "CPU µs PostgreSQL",
    ]);
    for (name, samples) in [("list page", list), ("play", play), ("check", check)] {
        table.push([
            name.to_owned(),
            samples.rate().range(0),
            samples.rate().over(&list.rate()).range(2),
            samples.p50_ms().middle(2),
            samples.p99_ms().middle(2),
            samples.cpu_us(FRONT_END).middle(0),
            samples.cpu_us(POSTGRES).middle(0),
        ]);
        section.note_flaws(name, samples);
    }
    let ratio = in_turn.over(&list.rate());
    let mean = |component| {
        let sum = play.cpu_us(component).median() + check.cpu_us(component).median();
        crate::rounds::number(sum / 2.0, 0)
    };
    table.push([
        "play and check in turn".to_owned(),
        in_turn.range(0),
        ratio.range(2),
        "-".to_owned(),
        "-".to_owned(),
        mean(FRONT_END),
        mean(POSTGRES),
    ]);
    section.tables.push(table);
    section.bars.push(Bar::ratio(
        "play and check to the list page",
        &ratio,
        Bound::AtLeast(1.0),
    ));
    Ok(section)
}
