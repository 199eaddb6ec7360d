//! The status page: the same as `/status`, for people. Plain HTML that renews itself.

use std::fmt::Write as _;

use crate::human;
use crate::status::{Member, Status};

const STYLE: &str = "
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: right; padding: .4rem .6rem; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
.sub { font-weight: normal; padding-left: 1.6rem; }
.wide { overflow-x: auto; }
.state { font-weight: 600; }
.bad { color: light-dark(#a11, #f88); }
";

/// The page.
pub(crate) fn html(status: &Status, now_ms: u64) -> String {
    let state = human::state(status.state);
    let mut rows = String::new();
    for (name, cell) in human::ROWS {
        let sub = if name.starts_with(' ') {
            " class=sub"
        } else {
            ""
        };
        write!(rows, "<tr><th scope=row{sub}>{}</th>", name.trim()).expect("a String grows");
        for member in &status.nodes {
            let text = cell(member, now_ms);
            let class = if alarming(name, member) {
                " class=bad"
            } else {
                ""
            };
            write!(rows, "<td{class}>{text}</td>").expect("a String grows");
        }
        rows.push_str("</tr>\n");
    }
    let heads: String = status
        .nodes
        .iter()
        .map(|member| format!("<th scope=col>node {}</th>", member.node))
        .collect();
    let (asked, replicas, left) = (status.asked, status.replicas, human::count(status.left()));
    format!(
        "<!doctype html>
<html lang=en><head><meta charset=utf-8><title>Storage: {state}</title>
<meta name=viewport content=\"width=device-width\"><meta http-equiv=refresh content=5>
<style>{STYLE}</style></head><body>
<h1>Storage</h1>
<p><span class=state>{state}</span>, {replicas} replicas, {left} entries to heal. Asked: node {asked}.</p>
<div class=wide><table>
<thead><tr><td></td>{heads}</tr></thead>
<tbody>
{rows}</tbody></table></div>
<p><a href=\"status\">JSON</a> · <a href=\"metrics\">metrics</a></p>
</body></html>
"
    )
}

fn alarming(row: &str, member: &Member) -> bool {
    let full = || member.about.as_ref().is_some_and(|it| it.space.full);
    (row == "state" && !member.votes()) || (row == "disk free" && full())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::degraded;

    #[test]
    fn the_page_shows_every_node_and_needs_no_script() {
        let html = html(&degraded(), 1_795_000_100_000);
        for text in ["degraded", "node 3", "down", "22,004", "http-equiv=refresh"] {
            assert!(html.contains(text), "{text} is not in\n{html}");
        }
        assert!(!html.contains("<script"));
    }
}
