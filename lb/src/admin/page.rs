//! The status page: the same as `/state.json`, for people. It works without a script; `status.js` renews it in place.

use std::fmt::Write as _;

use http::{StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::{
    Admin,
    reply::Reply,
    state::{BackendState, CacheState, PoolState, State},
};

pub(super) const STYLE: &str = include_str!("status.css");
pub(super) const MODULE: &str = include_str!("status.js");

/// Width and height of a sparkline, in its own units.
const SPARK: (f64, f64) = (116.0, 26.0);

/// What whoever looks at it may do.
enum Visitor {
    /// There is no token, so nobody may do anything.
    Watcher,
    /// May sign in; whether a try has just failed.
    Stranger { failed: bool },
    /// May do everything, with this in his forms.
    Operator { form_token: String },
}

impl Admin {
    /// The page; of it only what changes, if the query is `part`.
    pub(super) fn page(&self, session: &ServerSession) -> Reply {
        let query = session.req_header().uri.query();
        let visitor = match self.session(session) {
            _ if self.token.is_none() => Visitor::Watcher,
            Some((_, form_token)) => Visitor::Operator { form_token },
            None => Visitor::Stranger {
                failed: query == Some("wrong"),
            },
        };
        let state = self.state();
        let html = match query {
            Some("part") => part(&state, &visitor),
            _ => whole(&state, &visitor),
        };
        Reply::new(StatusCode::OK, "text/html; charset=utf-8", html).with(header::VARY, "Cookie")
    }
}

fn whole(state: &State, visitor: &Visitor) -> String {
    let (version, pid) = (&state.version, state.pid);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Load balancer</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/status.css">
<script type="module" src="/status.js"></script>
<noscript><meta http-equiv="refresh" content="5"></noscript>
</head>
<body>
<header>
<h1><span class="logo" aria-hidden="true"></span>Load balancer</h1>
{who}
</header>
<main>
{part}</main>
<footer><p>quiz-lb {version}, process {pid}</p>
<nav><a href="/state.json">state.json</a> <a href="/metrics">metrics</a></nav></footer>
</body>
</html>
"#,
        who = who(visitor),
        part = part(state, visitor),
    )
}

fn who(visitor: &Visitor) -> String {
    match visitor {
        Visitor::Watcher => {
            r#"<p class="hint">Read only: set <code>LB_ADMIN_TOKEN</code> to drain backends from here.</p>"#
                .to_owned()
        }
        Visitor::Stranger { failed } => {
            let wrong = if *failed {
                r#"<p class="bad" role="alert">That was not the token.</p>"#
            } else {
                ""
            };
            format!(
                r#"<form class="sign" method="post" action="/sign-in">{wrong}
<label for="token">Token</label> <input id="token" name="token" type="password" required autocomplete="current-password">
<button>Sign in</button></form>"#
            )
        }
        Visitor::Operator { form_token } => format!(
            r#"<form class="sign" method="post" action="/sign-out">
<input type="hidden" name="form_token" value="{form_token}"><button>Sign out</button></form>"#
        ),
    }
}

/// What changes: a summary, and each pool.
fn part(state: &State, visitor: &Visitor) -> String {
    let sum = |of: fn(&PoolState) -> f64| state.pools.iter().map(of).sum::<f64>();
    let (word, class) = verdict(state);
    let mut html = format!(
        "<section class=\"summary\" aria-label=\"Summary\">\n<div class=\"tile verdict {class}\"><b>{word}</b><span>overall</span></div>\n"
    );
    let tiles = [
        (
            format!("{:.1}", sum(|pool| pool.requests_per_sec)),
            "requests per second",
        ),
        (
            format!("{:.0}", sum(|pool| pool.in_flight as f64)),
            "in flight",
        ),
        (format!("{:.0}", sum(|pool| pool.waiting as f64)), "waiting"),
        (state.connections.to_string(), "connections"),
        (cache_share(&state.cache), "from the cache"),
        (age(state.uptime_secs), "running"),
    ];
    for (number, what) in tiles {
        let tile = format!("<div class=\"tile\"><b>{number}</b><span>{what}</span></div>\n");
        html.push_str(&tile);
    }
    html.push_str("</section>\n");
    for pool in &state.pools {
        html.push_str(&self::pool(pool, visitor));
    }
    html
}

/// The whole in a word, and its colour.
fn verdict(state: &State) -> (&'static str, &'static str) {
    let mut backends = state.pools.iter().flat_map(|pool| &pool.backends);
    let down = |pool: &PoolState| pool.backends.iter().all(|b| b.state != "healthy");
    if state.draining {
        ("draining", "warn")
    } else if state.pools.iter().any(down) {
        ("down", "bad")
    } else if backends.any(|b| b.state != "healthy" && b.switch == "on") {
        ("degraded", "warn")
    } else {
        ("healthy", "good")
    }
}

fn pool(pool: &PoolState, visitor: &Visitor) -> String {
    let (name, algorithm) = (escape(&pool.name), escape(&pool.algorithm));
    let healthy = pool
        .backends
        .iter()
        .filter(|b| b.state == "healthy")
        .count();
    let all = pool.backends.len();
    let panics = if pool.panics {
        "<p class=\"alarm\" role=\"alert\">No backend is healthy: those are tried that might be.</p>\n"
    } else {
        ""
    };
    let mut html = format!(
        r#"<section class="pool">
<h2>{name} <small>{algorithm}, {healthy} of {all} healthy</small></h2>
{panics}<table>
<thead><tr><th scope="col">Backend</th><th scope="col">State</th><th scope="col">Share</th><th scope="col" class="num">In flight</th><th scope="col">Latency, last minute</th><th scope="col" class="num">Errors</th><th scope="col">Weight</th>{actions}</tr></thead>
<tbody>
"#,
        actions = match visitor {
            Visitor::Operator { .. } => "<th scope=\"col\">Actions</th>",
            _ => "",
        }
    );
    // One scale for all, so that their lines can be compared.
    let peak = pool.backends.iter().map(peak).fold(0.0, f64::max);
    for backend in &pool.backends {
        html.push_str(&row(backend, peak, visitor));
    }
    if pool.backends.is_empty() {
        html.push_str("<tr><td colspan=\"8\">No backend is listed so far.</td></tr>\n");
    }
    html.push_str("</tbody></table></section>\n");
    html
}

fn row(backend: &BackendState, scale: f64, visitor: &Visitor) -> String {
    let BackendState {
        address,
        state,
        in_flight,
        ..
    } = backend;
    let reason = match (state.as_str(), backend.reason.as_str()) {
        ("healthy", _) | (_, "") => String::new(),
        (_, reason) => format!("<small>{}</small>", escape(reason)),
    };
    let share = backend.share * 100.0;
    let errors = backend.error_rate * 100.0;
    let class = if errors >= 1.0 { "bad" } else { "" };
    let (weight, actions) = match visitor {
        Visitor::Operator { form_token } => controls(backend, form_token),
        _ => (backend.weight.to_string(), String::new()),
    };
    format!(
        r#"<tr>
<th scope="row"><code>{address}</code></th>
<td data-name="State"><span class="state {state}">{state}</span> <small class="age">{since}</small>{reason}</td>
<td data-name="Share"><meter min="0" max="100" value="{share:.1}" aria-label="share of requests"></meter> {share:.0} %</td>
<td data-name="In flight" class="num">{in_flight}</td>
<td data-name="Latency">{latency}</td>
<td data-name="Errors" class="num {class}">{errors:.1} %</td>
<td data-name="Weight">{weight}</td>
{actions}</tr>
"#,
        since = age(backend.since_secs),
        latency = latency(backend, scale),
    )
}

/// The form for the weight, and the cell with the buttons.
fn controls(backend: &BackendState, form_token: &str) -> (String, String) {
    let (address, weight) = (backend.address, backend.weight);
    let hidden = format!(r#"<input type="hidden" name="form_token" value="{form_token}">"#);
    let weight = format!(
        r#"<form class="weight" method="post" action="/backends/{address}/weight">{hidden}<input name="weight" type="number" min="1" max="1000" value="{weight}" aria-label="weight of {address}"><button>Set</button></form>"#
    );
    let actions: &[_] = match backend.switch.as_str() {
        "on" => &[("drain", "Drain"), ("disable", "Disable")],
        "drain" => &[("enable", "Enable"), ("disable", "Disable")],
        _ => &[("enable", "Enable")],
    };
    let mut cell = "<td class=\"actions\">".to_owned();
    for (action, word) in actions {
        let form = format!(
            r#"<form method="post" action="/backends/{address}/{action}">{hidden}<button class="{action}" aria-label="{word} {address}">{word}</button></form>"#
        );
        cell.push_str(&form);
    }
    cell.push_str("</td>\n");
    (weight, cell)
}

/// The mean of the last minute, and a line of how it came about.
fn latency(backend: &BackendState, scale: f64) -> String {
    let Some(mean) = backend.latency_ms else {
        return "<span class=\"none\">no requests</span>".to_owned();
    };
    let history = &backend.latency_history_ms;
    let (width, height) = SPARK;
    let step = width / (history.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut drawing = false;
    for (index, value) in history.iter().enumerate() {
        if let Some(ms) = value {
            let pen = if drawing { 'L' } else { 'M' };
            let x = step * index as f64;
            let y = height - 2.0 - (height - 4.0) * ms / scale.max(f64::MIN_POSITIVE);
            write!(path, "{pen}{x:.1} {y:.1}").expect("a String grows");
            // One value alone has no line to the next; this makes it a dot.
            path.push_str(if drawing { "" } else { "h.1" });
        }
        drawing = value.is_some();
    }
    let (mean, peak) = (millis(mean), millis(peak(backend)));
    format!(
        r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="up to {peak} in the last minute"><title>up to {peak}</title><path class="base" d="M0 {height}h{width}"/><path d="{path}"/></svg> <span>{mean}</span>"#
    )
}

fn peak(backend: &BackendState) -> f64 {
    let history = backend.latency_history_ms.iter();
    history.flatten().copied().fold(0.0, f64::max)
}

fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 1000.0 => format!("{:.1} s", ms / 1000.0),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}

fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min", secs / 60),
        3600..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The part of what the cache might have answered that it did answer.
fn cache_share(cache: &CacheState) -> String {
    let of = |names: &[&str]| -> u64 {
        names
            .iter()
            .filter_map(|name| cache.requests.get(*name))
            .sum()
    };
    let (answered, all) = (
        of(&["hit", "collapsed", "stale"]),
        cache.requests.values().sum::<u64>(),
    );
    match (cache.enabled, all) {
        (false, _) => "off".to_owned(),
        (true, 0) => "-".to_owned(),
        (true, all) => format!("{} %", answered * 100 / all),
    }
}
