//! The lab as a picture: text for a terminal, SVG for a browser. Pure.

use std::fmt::Write as _;

use super::topology::{Host, LANS, Lan, Role, Topology};

/// Each LAN with its hosts, one after the other.
pub fn text(topology: &Topology) -> String {
    const WIDTH: usize = 9;
    let hosts = topology.hosts();
    let mut text = String::new();
    for lan in LANS {
        let members: Vec<(&str, u8)> = members(&hosts, lan).collect();
        let (mut wire, mut names, mut numbers) = (String::new(), String::new(), String::new());
        for (name, number) in members {
            wire.push_str("════╤════");
            names.push_str(&format!("{name:^WIDTH$}"));
            numbers.push_str(&format!("{:^WIDTH$}", format!(".{number}")));
        }
        let title = format!("LAN {}  {:<15}", lan.0, lan.v4());
        let written = writeln!(
            text,
            "{title} {wire}\n{:width$} {}\n{:width$} {}\n",
            "",
            names.trim_end(),
            "",
            numbers.trim_end(),
            width = title.chars().count()
        );
        written.expect("a String takes all that is written to it");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn members(hosts: &[Host], lan: Lan) -> impl Iterator<Item = (&str, u8)> {
    hosts.iter().flat_map(move |host| {
        let legs = host.legs.iter().filter(move |leg| leg.lan == lan);
        legs.map(|leg| (host.name.as_str(), leg.number))
    })
}

/// Size of a host's box, and of the gap to the next, in user units.
const BOX: (u32, u32) = (96, 46);
const GAP: u32 = 22;
/// From one row of hosts to the next; the LAN between them is half way.
const STEP: u32 = 132;
const MARGIN: u32 = 24;
/// Room for the names of LANs beside them.
const TITLE: u32 = 150;

/// A drawing that follows the reader's colour scheme.
pub fn svg(topology: &Topology) -> String {
    let rows: [&[Role]; 5] = [
        &[Role::Client],
        &[Role::Firewall],
        &[Role::Balancer],
        &[Role::FrontEnd],
        &[Role::Storage, Role::Database],
    ];
    let rows: Vec<Vec<Host>> = rows
        .iter()
        .map(|roles| roles.iter().flat_map(|role| topology.of(*role)).collect())
        .collect();
    let most = rows.iter().map(Vec::len).max().unwrap_or(1) as u32;
    let inner = most * BOX.0 + (most - 1) * GAP;
    let (width, height) = (
        MARGIN * 2 + TITLE + inner,
        MARGIN * 2 + (rows.len() as u32 - 1) * STEP + BOX.1,
    );
    let mut body = String::new();
    for (index, lan) in LANS.into_iter().enumerate() {
        let y = MARGIN + BOX.1 + index as u32 * STEP + (STEP - BOX.1) / 2;
        push(
            &mut body,
            format_args!(
                "<line class=\"lan\" x1=\"{}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\"/>\n\
                 <text class=\"title\" x=\"{MARGIN}\" y=\"{}\">LAN {}</text>\n\
                 <text class=\"net\" x=\"{MARGIN}\" y=\"{}\">{}</text>\n\
                 <text class=\"net\" x=\"{MARGIN}\" y=\"{}\">{}</text>\n",
                MARGIN + TITLE,
                width - MARGIN,
                y - 8,
                lan.0,
                y + 8,
                lan.v4(),
                y + 22,
                lan.v6(),
            ),
        );
    }
    for (row, hosts) in rows.iter().enumerate() {
        let count = hosts.len() as u32;
        let used = count * BOX.0 + (count - 1) * GAP;
        let left = MARGIN + TITLE + (inner - used) / 2;
        let top = MARGIN + row as u32 * STEP;
        for (column, host) in hosts.iter().enumerate() {
            let x = left + column as u32 * (BOX.0 + GAP);
            draw(&mut body, host, x, top, row);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"t\">\n\
         <title id=\"t\">The hosts of the lab and the four networks between them</title>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n"
    )
}

const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2933; }
.title { font-weight: 600; font-size: 14px; }
.net, .leg { font-size: 11px; fill: #52606d; }
.name { font-weight: 600; text-anchor: middle; }
.role { font-size: 11px; text-anchor: middle; fill: #52606d; }
.paper { fill: #ffffff; }
.lan { stroke: #3267a8; stroke-width: 5; stroke-linecap: round; }
.cable { stroke: #7b8794; stroke-width: 1.5; }
.host { fill: #f0f4f8; stroke: #829ab1; }
.guard { fill: #fdeceb; stroke: #c0392b; }
@media (prefers-color-scheme: dark) {
text { fill: #e4e7eb; }
.net, .leg, .role { fill: #9aa5b1; }
.paper { fill: #16191d; }
.lan { stroke: #6ba3e8; }
.cable { stroke: #7b8794; }
.host { fill: #242a31; stroke: #616e7c; }
.guard { fill: #3a2022; stroke: #e57373; }
}
";

/// A host's box, and its cables: to the LAN of the row above, if it is in that, and to the one below.
fn draw(body: &mut String, host: &Host, x: u32, top: u32, row: usize) {
    let middle = x + BOX.0 / 2;
    for leg in &host.legs {
        let above = usize::from(leg.lan.0) == row;
        let half = (STEP - BOX.1) / 2;
        let (from, to, at) = if above {
            (top, top - half, top - 10)
        } else {
            (top + BOX.1, top + BOX.1 + half, top + BOX.1 + 18)
        };
        push(
            body,
            format_args!(
                "<line class=\"cable\" x1=\"{middle}\" y1=\"{from}\" x2=\"{middle}\" y2=\"{to}\"/>\n\
                 <text class=\"leg\" x=\"{}\" y=\"{at}\">.{}</text>\n",
                middle + 5,
                leg.number
            ),
        );
    }
    let (class, role) = match host.role {
        Role::Client => ("host", "visitor"),
        Role::Firewall => ("guard", "firewall"),
        Role::Balancer => ("host", "balancer"),
        Role::FrontEnd => ("host", "front-end"),
        Role::Storage => ("host", "images"),
        Role::Database => ("host", "PostgreSQL"),
    };
    push(
        body,
        format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"7\"/>\n\
             <text class=\"name\" x=\"{middle}\" y=\"{}\">{}</text>\n\
             <text class=\"role\" x=\"{middle}\" y=\"{}\">{role}</text>\n",
            BOX.0,
            BOX.1,
            top + 20,
            host.name,
            top + 36
        ),
    );
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a String takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_names_every_host_in_each_of_its_lans() {
        let topology = Topology::new(4);
        let text = text(&topology);
        for host in topology.hosts() {
            let times = text
                .split_whitespace()
                .filter(|word| *word == host.name)
                .count();
            assert_eq!(times, host.legs.len(), "{}\n{text}", host.name);
        }
    }

    #[test]
    fn the_drawing_in_the_documentation_is_the_one_that_is_drawn() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images/lab.svg");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == svg(&Topology::new(3)),
            "draw it anew: quiz-lab map --svg docs/images/lab.svg"
        );
    }
}
