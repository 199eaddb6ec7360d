//! What operators change at run time: `POST /backends/ADDRESS/ACTION`, by programs with the token and by the forms of
//! the status page with a session.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::{StatusCode, header};
use pingora::protocols::http::ServerSession;
use serde::Deserialize;
use tokio::time;
use tracing::{info, warn};
use url::form_urlencoded;

use super::{Admin, reply::Reply};
use crate::{
    config::source::MAX_WEIGHT,
    health,
    pool::{News, Order},
};

/// Name of the cookie of a session.
pub(super) const COOKIE: &str = "lb_session";

/// A form or a JSON body is a few dozen bytes.
const MAX_BODY_BYTES: usize = 4096;

/// What a wrong token costs, so that guessing takes long.
const PENALTY: Duration = Duration::from_millis(500);

/// What a body may say.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    weight: Option<u32>,
    /// Of the session, in forms.
    form_token: String,
    /// At sign-in.
    token: String,
}

/// Who wants something.
#[derive(Debug, PartialEq, Eq)]
enum Operator {
    Program,
    Person,
}

impl Admin {
    /// Answers a POST.
    pub(super) async fn post(&self, session: &mut ServerSession, path: &str) -> Reply {
        let Some(said) = read(session).await else {
            return Reply::json_error(
                StatusCode::BAD_REQUEST,
                "send a form, or JSON like {\"weight\": 3}",
            );
        };
        match path {
            "/sign-in" => return self.sign_in(&said).await,
            "/sign-out" => return self.sign_out(session, &said),
            _ => {}
        }
        let operator = match self.operator(session, &said).await {
            Ok(operator) => operator,
            Err(refusal) => return refusal,
        };
        let (addr, order) = match wanted(path, &said) {
            Ok(wanted) => wanted,
            Err((status, why)) => return Reply::json_error(status, &why),
        };
        if !self.carry_out(addr, order) {
            let why = format!("there is no backend {addr}: /state.json lists them");
            return Reply::json_error(StatusCode::NOT_FOUND, &why);
        }
        match operator {
            Operator::Person => Reply::see_other("/"),
            Operator::Program => Reply::json(&self.state()),
        }
    }

    async fn sign_in(&self, said: &Said) -> Reply {
        match &self.token {
            Some(token) if token.is(&said.token) => {
                let id = self.sessions.begin(Instant::now());
                let cookie = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict");
                Reply::see_other("/").with(header::SET_COOKIE, &cookie)
            }
            _ => {
                warn!("somebody tried to sign in at the status page with a wrong token");
                time::sleep(PENALTY).await;
                Reply::see_other("/?wrong")
            }
        }
    }

    fn sign_out(&self, session: &ServerSession, said: &Said) -> Reply {
        if let Some((id, form_token)) = self.session(session)
            && said.form_token == form_token
        {
            self.sessions.end(&id);
        }
        let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        Reply::see_other("/").with(header::SET_COOKIE, &cookie)
    }

    /// The session of whoever asks, and what its forms carry.
    pub(super) fn session(&self, session: &ServerSession) -> Option<(String, String)> {
        let cookies = session.req_header().headers.get_all(header::COOKIE).iter();
        let mut cookies = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        let id =
            cookies.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))?;
        let form_token = self.sessions.form_token(id, Instant::now())?;
        Some((id.to_owned(), form_token))
    }

    /// Who wants something, or why he gets nothing.
    async fn operator(&self, session: &ServerSession, said: &Said) -> Result<Operator, Reply> {
        let Some(token) = &self.token else {
            let why = "there is no token: set admin.token (LB_ADMIN_TOKEN) and restart";
            return Err(Reply::json_error(StatusCode::FORBIDDEN, why));
        };
        let value = session.req_header().headers.get(header::AUTHORIZATION);
        if let Some(value) = value {
            let bearer = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
            if bearer.is_some_and(|bearer| token.is(bearer)) {
                return Ok(Operator::Program);
            }
            warn!("somebody sent an order with a wrong token");
            time::sleep(PENALTY).await;
        } else if let Some((_, form_token)) = self.session(session) {
            // The cookie comes along whoever made the form; this tells ours from those of other sites.
            if said.form_token == form_token {
                return Ok(Operator::Person);
            }
            let why = "the form is out of date: load the status page again";
            return Err(Reply::json_error(StatusCode::FORBIDDEN, why));
        }
        let why = "send the token: Authorization: Bearer ...";
        Err(Reply::json_error(StatusCode::UNAUTHORIZED, why)
            .with(header::WWW_AUTHENTICATE, "Bearer"))
    }

    /// Whether there is such a backend. In several pools, the order is for all of them.
    fn carry_out(&self, addr: SocketAddr, order: Order) -> bool {
        let mut found = false;
        for pool in &self.pools {
            let Some(news) = pool.order(addr, order, Instant::now()) else {
                continue;
            };
            found = true;
            info!(backend.addr = %addr, pool = pool.name(), "an operator ordered for backend {addr}: {order}");
            if let Some(news @ News::Became(_)) = news {
                health::tell(pool, addr, Some(news), "by order of an operator");
            }
        }
        found
    }
}

/// What a request wants of which backend.
fn wanted(path: &str, said: &Said) -> Result<(SocketAddr, Order), (StatusCode, String)> {
    let parts = path
        .strip_prefix("/backends/")
        .and_then(|path| path.rsplit_once('/'));
    let none = || {
        let why = "POST /backends/ADDRESS/ and drain, enable, disable or weight";
        (StatusCode::NOT_FOUND, why.to_owned())
    };
    let (addr, action) = parts.ok_or_else(none)?;
    let addr = addr.replace("%5B", "[").replace("%5D", "]");
    let addr = addr.parse().map_err(|_| {
        let why = format!("{addr:?} is no address: write it like 10.0.0.1:3000");
        (StatusCode::BAD_REQUEST, why)
    })?;
    let order = match action {
        "drain" => Order::Drain,
        "enable" => Order::Enable,
        "disable" => Order::Disable,
        "weight" => {
            let weight = said
                .weight
                .filter(|weight| (1..=MAX_WEIGHT).contains(weight));
            let why = format!("say the weight, from 1 to {MAX_WEIGHT}, as in {{\"weight\": 3}}");
            Order::Weigh(weight.ok_or((StatusCode::BAD_REQUEST, why))?)
        }
        _ => return Err(none()),
    };
    Ok((addr, order))
}

/// What the body says, whatever its form; nothing if that cannot be read.
async fn read(session: &mut ServerSession) -> Option<Said> {
    let mut body = Vec::new();
    while let Some(bytes) = session.read_request_body().await.ok()? {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_BODY_BYTES {
            return None;
        }
    }
    if body.is_empty() {
        return Some(Said::default());
    }
    let kind = session.req_header().headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return serde_json::from_slice(&body).ok();
    }
    let mut fields: HashMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    Some(Said {
        weight: take("weight").trim().parse().ok(),
        form_token: take("form_token"),
        token: take("token").trim().to_owned(),
    })
}
