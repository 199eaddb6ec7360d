//! The list page where pages may be kept for a second, beside a static file behind the same balancer.

use anyhow::ensure;
use quiz_lab::supervise::Process;

use crate::list;
use crate::load::Ask;
use crate::pages::Visitor;
use crate::processes::Watched;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::Samples;
use crate::site::{self, BALANCER, FRONT_END, NGINX, POSTGRES, Site};

const FRONT_ENDS: usize = 3;

/// One way to the page.
struct Way {
    name: &'static str,
    ask: Ask,
    watched: Vec<Watched>,
    samples: Samples,
}

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let database = site.small().await?;
    let mut front_ends = Vec::new();
    for number in 1..=FRONT_ENDS {
        let name = format!("cached-{number}");
        let settings = [("QUIZ_PAGE_CACHE_SECS", "1")];
        front_ends.push(site.front_end(&name, &database, &settings).await?);
    }
    let keeping = site
        .balancer("lb-keeping", &front_ends, &[("LB_CACHE_PATHS", "/")])
        .await?;
    let passing = site
        .balancer("lb-passing", &front_ends, &[("LB_CACHE", "false")])
        .await?;
    check(&keeping).await?;

    let folder = site.files("cached-static")?;
    let page = Visitor::new(site::url(&keeping, ""))?
        .get(list::PATH)
        .await?;
    std::fs::write(folder.join("quizzes"), &page.body)?;
    let nginx = site.nginx("nginx-page", &folder).await?;
    let before_nginx = match &nginx {
        Some(nginx) => Some(
            site.balancer("lb-static", [nginx], &[("LB_CACHE", "false")])
                .await?,
        ),
        None => None,
    };

    let behind = |lb: &Process| {
        let balancer = Watched::of(BALANCER, [lb]);
        vec![
            balancer,
            Watched::of(FRONT_END, &front_ends),
            site.watch_postgres(),
        ]
    };
    let mut ways = Vec::new();
    if let (Some(nginx), Some(lb)) = (&nginx, &before_nginx) {
        ways.push(Way::new(
            "nginx, same bytes, through the balancer",
            lb,
            vec![Watched::of(BALANCER, [lb]), Watched::of(NGINX, [nginx])],
        ));
    }
    ways.push(Way::new(
        "list page, kept for 1 s",
        &keeping,
        behind(&keeping),
    ));
    ways.push(Way::new("list page, not kept", &passing, behind(&passing)));
    for way in &ways {
        way.ask.warm_up(form).await?;
    }
    for round in 0..form.rounds {
        for way in &mut ways {
            way.samples.push(way.ask.measure(form, &way.watched).await?);
        }
        form.told("cached", round);
    }
    site::end([keeping, passing]).await;
    site::end(before_nginx).await;
    site::end(nginx).await;
    site::end(front_ends).await;

    let mut section = Section::new(
        "cached",
        "The list page, kept for a second",
        format!(
            "The same page through the balancer with {FRONT_ENDS} front-ends, `QUIZ_PAGE_CACHE_SECS=1` and `LB_CACHE_PATHS=/`, for visitors \
             without a cookie; {} visitors. The peer is {} with the same {} bytes as a file behind the same balancer, which keeps \
             nothing of it. All servers share one core.",
            form.users,
            if site.nginx_version().is_empty() {
                "nginx"
            } else {
                site.nginx_version()
            },
            page.body.len()
        ),
    );
    section.tables.push(table(&ways));
    for way in &ways {
        section.note_flaws(way.name, &way.samples);
    }
    match ways.as_slice() {
        [peer, kept, _] => section.bars.push(Bar::ratio(
            "kept list page to nginx through the balancer",
            &kept.samples.rate().over(&peer.samples.rate()),
            Bound::AtLeast(0.6),
        )),
        _ => section
            .notes
            .push("nginx is not installed: no peer.".to_owned()),
    }
    Ok(section)
}

impl Way {
    fn new(name: &'static str, lb: &Process, watched: Vec<Watched>) -> Self {
        Self {
            name,
            ask: Ask::for_page(site::url(lb, list::PATH)),
            watched,
            samples: Samples::default(),
        }
    }
}

fn table(ways: &[Way]) -> Table {
    let components = [BALANCER, FRONT_END, POSTGRES, NGINX];
    let head = ["", "requests/s", "ratio", "p50 ms", "p99 ms"].map(str::to_owned);
    let head = head
        .into_iter()
        .chain(components.map(|name| format!("CPU µs {name}")));
    let mut table = Table {
        head: head.collect(),
        rows: Vec::new(),
    };
    for way in ways {
        let samples = &way.samples;
        let figures = [
            way.name.to_owned(),
            samples.rate().range(0),
            samples.rate().over(&ways[0].samples.rate()).range(2),
            samples.p50_ms().middle(2),
            samples.p99_ms().middle(2),
        ];
        let cpu = components.map(|component| samples.cpu_us(component).middle(1));
        table.push(figures.into_iter().chain(cpu));
    }
    table
}

/// What is measured must be what is meant: kept for who carries nothing, and for nobody else.
async fn check(lb: &Process) -> anyhow::Result<()> {
    let said = async |visitor: &mut Visitor, path: &str| -> anyhow::Result<String> {
        let reply = visitor.get(path).await?;
        let said = reply
            .headers
            .get("x-cache")
            .and_then(|said| said.to_str().ok());
        Ok(said.unwrap_or("nothing").to_owned())
    };
    let mut stranger = Visitor::new(site::url(lb, ""))?;
    // A second may end between two requests, but not between all of them.
    let mut hits = 0;
    for _ in 0..5 {
        hits += usize::from(said(&mut stranger, list::PATH).await? == "hit");
    }
    ensure!(hits > 0, "the balancer keeps no page");
    let mut known = Visitor::new(site::url(lb, ""))?;
    known.page("/login").await?;
    ensure!(
        !known.cookie().is_empty(),
        "a log-in form comes with a cookie"
    );
    for _ in 0..5 {
        let said = said(&mut known, list::PATH).await?;
        ensure!(
            ["miss", "pass", "nothing"].contains(&said.as_str()),
            "a known visitor's page is a {said}"
        );
    }
    Ok(())
}
