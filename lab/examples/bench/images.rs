//! A picture of about 50 KB through the balancer, from the storage nodes and from memory, beside a file of nginx.

use image::{ImageFormat, RgbImage};
use quiz_lab::supervise::Process;

use crate::load::Ask;
use crate::pages::Visitor;
use crate::processes::Watched;
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::Samples;
use crate::site::{self, BALANCER, FRONT_END, NGINX, STORAGE, Site};

/// Noise, which no format makes smaller: three bytes for each pixel.
const WIDTH: u32 = 131;
const HEIGHT: u32 = 130;

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let database = site.small().await?;
    let front_end = site.front_end("images", &database, &[]).await?;
    let mut author = Visitor::new(site::url(&front_end, ""))?;
    author.log_in("pepe", &site.site_password()?).await?;
    let path = author.make_quiz(noise()?).await?;
    let bytes = Visitor::new(site::url(&front_end, ""))?
        .get(&path)
        .await?
        .body;

    let keeping = site.balancer("lb-images", [&front_end], &[]).await?;
    let passing = site
        .balancer("lb-no-images", [&front_end], &[("LB_CACHE", "false")])
        .await?;
    let folder = site.files("images-static")?;
    let file = folder.join(
        path.trim_start_matches('/')
            .split('?')
            .next()
            .unwrap_or_default(),
    );
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&file, &bytes)?;
    let nginx = site.nginx("nginx-images", &folder).await?;

    let behind = |lb: &Process| {
        vec![
            Watched::of(BALANCER, [lb]),
            Watched::of(FRONT_END, [&front_end]),
            site.watch_storage(),
        ]
    };
    let mut ways = Vec::new();
    if let Some(nginx) = &nginx {
        let watched = vec![Watched::of(NGINX, [nginx])];
        ways.push((
            "nginx, a file",
            site::url(nginx, &path),
            watched,
            Samples::default(),
        ));
    }
    ways.push((
        "balancer, from its memory",
        site::url(&keeping, &path),
        behind(&keeping),
        Samples::default(),
    ));
    ways.push((
        "balancer, from the storage nodes",
        site::url(&passing, &path),
        behind(&passing),
        Samples::default(),
    ));
    for (_, url, _, _) in &ways {
        Ask::for_page(url.as_str()).warm_up(form).await?;
    }
    for round in 0..form.rounds {
        for (_, url, watched, samples) in &mut ways {
            samples.push(Ask::for_page(url.as_str()).measure(form, watched).await?);
        }
        form.told("images", round);
    }
    site::end([keeping, passing]).await;
    site::end(nginx).await;
    site::end([front_end]).await;

    let mut section = Section::new(
        "images",
        "Pictures",
        format!(
            "A picture of {} bytes, {} visitors: from the balancer's memory, and through balancer and front-end from three storage nodes. \
             The peer is a file of nginx without a balancer. All servers share one core.",
            bytes.len(),
            form.users
        ),
    );
    let components = [BALANCER, FRONT_END, STORAGE, NGINX];
    let head = ["", "requests/s", "ratio", "p50 ms", "p99 ms"].map(str::to_owned);
    let mut table = Table {
        head: head
            .into_iter()
            .chain(components.map(|name| format!("CPU µs {name}")))
            .collect(),
        rows: Vec::new(),
    };
    let (_, _, _, first) = &ways[0];
    for (name, _, _, samples) in &ways {
        let figures = [
            (*name).to_owned(),
            samples.rate().range(0),
            samples.rate().over(&first.rate()).range(2),
            samples.p50_ms().middle(2),
            samples.p99_ms().middle(2),
        ];
        let cpu = components.map(|component| samples.cpu_us(component).middle(1));
        table.push(figures.into_iter().chain(cpu));
        section.note_flaws(name, samples);
    }
    section.tables.push(table);
    match ways.as_slice() {
        [(_, _, _, file), (_, _, _, kept), _] => section.bars.push(Bar::ratio(
            "picture from the balancer's memory to nginx",
            &kept.rate().over(&file.rate()),
            Bound::AtLeast(0.7),
        )),
        _ => section
            .notes
            .push("nginx is not installed: no peer.".to_owned()),
    }
    Ok(section)
}

fn noise() -> anyhow::Result<Vec<u8>> {
    let picture = RgbImage::from_fn(WIDTH, HEIGHT, |_, _| image::Rgb(rand::random()));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
