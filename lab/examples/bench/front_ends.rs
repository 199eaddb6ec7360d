//! One to four front-ends, each with the same share of a processor: how far more of them help, and what is full next.

use crate::list;
use crate::load::Ask;
use crate::processes::Watched;
use crate::report::{Section, Table};
use crate::rounds::{Samples, Series, number};
use crate::share::Share;
use crate::site::{self, BALANCER, FRONT_END, POSTGRES, Site};

const MOST: usize = 4;
/// So small that balancer, database and all front-ends fit one core for a while.
const SHARE: f64 = 0.1;
/// A component that uses this much of what it may is full.
const FULL: f64 = 0.9;

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let mut section = Section::new(
        "front-ends",
        "One to four front-ends",
        format!(
            "The list page, not kept anywhere, through the balancer; each front-end may use {:.0} % of a core. Balancer and PostgreSQL may \
             have the rest of the core that all servers share; {} visitors. \"Full\" is what limits the site with so many front-ends.",
            SHARE * 100.0,
            form.users
        ),
    );
    let database = site.small().await?;
    let mut shares = Vec::new();
    let mut front_ends = Vec::new();
    for number in 1..=MOST {
        let Some(share) = Share::of_a_core(SHARE, &number.to_string()) else {
            site::end(front_ends).await;
            let why = "Not measured: no control group can be made here, which takes root.";
            section.notes.push(why.to_owned());
            return Ok(section);
        };
        let name = format!("share-{number}");
        let front_end = site.front_end(&name, &database, &[]).await?;
        // Once it has started, which would take it a while with that share.
        share.take_in(&front_end)?;
        front_ends.push(front_end);
        shares.push(share);
    }
    let mut balancers = Vec::new();
    for count in 1..=MOST {
        let name = format!("lb-{count}");
        balancers.push(
            site.balancer(&name, &front_ends[..count], &[("LB_CACHE", "false")])
                .await?,
        );
    }
    let mut all = vec![Samples::default(); MOST];
    for lb in &balancers {
        Ask::for_page(site::url(lb, list::PATH))
            .warm_up(form)
            .await?;
    }
    for round in 0..form.rounds {
        for (lb, samples) in balancers.iter().zip(&mut all) {
            let watched = [
                Watched::of(BALANCER, [lb]),
                Watched::of(FRONT_END, &front_ends),
                site.watch_postgres(),
            ];
            let ask = Ask::for_page(site::url(lb, list::PATH));
            samples.push(ask.measure(form, &watched).await?);
        }
        form.told("front-ends", round);
    }
    site::end(balancers).await;
    site::end(front_ends).await;
    drop(shares);

    let mut table = Table::new(&[
        "front-ends",
        "requests/s",
        "ratio to one",
        "p99 ms",
        "cores balancer",
        "cores front-ends",
        "cores PostgreSQL",
        "full",
    ]);
    for (count, samples) in (1..).zip(&all) {
        let used = |component| cores(samples, component);
        let (balancer, own, postgres) = (used(BALANCER), used(FRONT_END), used(POSTGRES));
        table.push([
            count.to_string(),
            samples.rate().range(0),
            samples.rate().over(&all[0].rate()).range(2),
            samples.p99_ms().middle(1),
            number(balancer, 2),
            number(own, 2),
            number(postgres, 2),
            full(count, balancer, own, postgres),
        ]);
        section.note_flaws(&format!("{count} front-ends"), samples);
    }
    section.tables.push(table);
    let last = &all[MOST - 1];
    let whole = |component| {
        let us = last.cpu_us(component).median();
        format!(
            "{} requests/s ({} µs each)",
            number(1e6 / us, 0),
            number(us, 0)
        )
    };
    section.notes.push(format!(
        "A whole core of its own would let a balancer pass {}, a front-end {}, PostgreSQL {}: so much for the order in which they fill up.",
        whole(BALANCER),
        whole(FRONT_END),
        whole(POSTGRES)
    ));
    Ok(section)
}

/// How many cores a component keeps busy.
fn cores(samples: &Samples, component: &str) -> f64 {
    let rates: Series = samples.rate();
    samples.cpu_us(component).median() * rates.median() / 1e6
}

fn full(count: usize, balancer: f64, front_ends: f64, postgres: f64) -> String {
    let share = count as f64 * SHARE;
    let words = if front_ends >= FULL * share {
        "the front-ends' shares"
    } else if balancer + front_ends + postgres >= FULL {
        match postgres >= balancer.max(front_ends) {
            true => "the core, by PostgreSQL most",
            false => "the core",
        }
    } else {
        "nothing"
    };
    words.to_owned()
}
