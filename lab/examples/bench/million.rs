//! A site with a million quizzes beside one with a thousand: what a visitor waits for must not grow with the site.
//!
//! One visitor asks for one thing after the other over one connection, so that what is measured is how long an answer takes and
//! not how many are waited for at once. Forms are posted too, which the load tester's closed loop does not do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use quiz_lab::supervise::Process;
use tokio::net::TcpStream;

use crate::pages::{Visitor, hidden_fields};
use crate::report::{Bar, Bound, Section, Table};
use crate::rounds::{Series, number};
use crate::site::{self, Site};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Fewer answers than this have no 99th percentile worth the name, so a measurement goes on until it has them.
const LEAST: usize = 100;
/// And how much longer than asked for it may then take.
const MOST: u32 = 4;
/// What `quiz-web fill` writes into one of ten questions, and into ten of all.
const COMMON_WORD: &str = "river";
const RARE_WORD: &str = "quetzal";
/// What every quiz of a list has.
const CARD: &[u8] = b" id=\"quiz-";

/// One thing a visitor does, at both sites.
struct Step {
    name: &'static str,
    /// How many times as long it may take at the large site.
    bar: f64,
    small: Call,
    large: Call,
    times: [Times; 2],
}

/// Percentiles of all rounds, in milliseconds.
#[derive(Default)]
struct Times {
    p50: Series,
    p99: Series,
}

/// A request that can be repeated.
#[derive(Clone)]
struct Call {
    at: SocketAddr,
    path: String,
    cookie: Option<String>,
    /// A form to post.
    form: Option<String>,
}

pub(crate) async fn measure(site: &Site) -> anyhow::Result<Section> {
    let form = &site.form;
    let small = site.front_end("small", &site.plain().await?, &[]).await?;
    let large = site.front_end("large", &site.large().await?, &[]).await?;
    let mut steps = pair(
        calls(site, "small", &small).await?,
        calls(site, "large", &large).await?,
    );
    for step in &steps {
        for call in [&step.small, &step.large] {
            call.repeat(form.warm_up, 1)
                .await
                .with_context(|| step.name)?;
        }
    }
    for round in 0..form.rounds {
        for step in &mut steps {
            for (call, times) in [&step.small, &step.large].into_iter().zip(&mut step.times) {
                let least = if form.smoke { 1 } else { LEAST };
                let took = call
                    .repeat(form.time, least)
                    .await
                    .with_context(|| step.name)?;
                times.p50.push(percentile(&took, 50));
                times.p99.push(percentile(&took, 99));
            }
        }
        form.told("million", round);
    }
    site::end([small, large]).await;

    let sizes = [form.small, form.large];
    let [few, many] = sizes.map(|size| number(size.quizzes as f64, 0));
    let mut section = Section::new(
        "million",
        "A large site beside a small one",
        format!(
            "{many} quizzes, {} users and {} favourites beside {few}, {} and {}; both in the same PostgreSQL, one front-end each, on one core. \
             One visitor, one request after the other; milliseconds until the whole answer is there, ratios of the same round.",
            number(form.large.users as f64, 0),
            number(form.large.favourites as f64, 0),
            number(form.small.users as f64, 0),
            number(form.small.favourites as f64, 0),
        ),
    );
    let head = [
        "".to_owned(),
        format!("p50 at {few}"),
        format!("p50 at {many}"),
        "ratio".to_owned(),
        format!("p99 at {few}"),
        format!("p99 at {many}"),
        "ratio".to_owned(),
        "bar".to_owned(),
    ];
    let mut table = Table {
        head: head.into(),
        rows: Vec::new(),
    };
    for step in &steps {
        let [small, large] = &step.times;
        let (p50, p99) = (large.p50.over(&small.p50), large.p99.over(&small.p99));
        table.push([
            step.name.to_owned(),
            small.p50.middle(2),
            large.p50.middle(2),
            p50.range(2),
            small.p99.middle(2),
            large.p99.middle(2),
            p99.range(2),
            number(step.bar, 0),
        ]);
        for (percentile, ratio) in [("p50", p50), ("p99", p99)] {
            let what = format!("{percentile} of {} at {many} to {few} quizzes", step.name);
            section
                .bars
                .push(Bar::ratio(&what, &ratio, Bound::AtMost(step.bar)));
        }
    }
    section.tables.push(table);
    Ok(section)
}

fn pair(small: Vec<(&'static str, f64, Call)>, large: Vec<(&'static str, f64, Call)>) -> Vec<Step> {
    let pairs = small.into_iter().zip(large);
    pairs
        .map(|((name, bar, small), (_, _, large))| Step {
            name,
            bar,
            small,
            large,
            times: [Times::default(), Times::default()],
        })
        .collect()
}

/// What is asked of one site, with the times as long that the large one may take.
async fn calls(
    site: &Site,
    database: &str,
    front_end: &Process,
) -> anyhow::Result<Vec<(&'static str, f64, Call)>> {
    let sql = async |statement: &str| site.postgres.sql(database, statement).await;
    let middle = sql("SELECT min(id) + (max(id) - min(id)) / 2 FROM quizzes").await?;
    let count: u64 = sql("SELECT count(*) FROM quizzes").await?.parse()?;
    let fan = sql(FAN).await?;
    let password = site.site_password()?;

    let base = site::url(front_end, "");
    let mut user = Visitor::new(base.clone())?;
    user.log_in(&fan, &password).await?;
    let start = user.page("/random").await?;
    let random =
        hidden_fields(&start, "/random").or_else(|_| hidden_fields(&start, "/random/answer"))?;
    let mut stranger = Visitor::new(base)?;
    let mut login = hidden_fields(&stranger.page("/login").await?, "/login")?;
    login.push(("username".to_owned(), fan));
    login.push(("password".to_owned(), password));

    let page = |path: String| Call {
        at: front_end.spec().address,
        path,
        cookie: None,
        form: None,
    };
    let form = |path: &str, visitor: &Visitor, fields: &[(String, String)]| Call {
        cookie: Some(visitor.cookie()),
        form: Some(encoded(fields)),
        ..page(path.to_owned())
    };
    let numbered = (count / 10).clamp(1, 100);
    let favourites = Call {
        cookie: Some(user.cookie()),
        ..page("/quizzes?searchfavourites=1".to_owned())
    };
    Ok(vec![
        ("list", 2.0, page("/quizzes".to_owned())),
        ("list by likes", 2.0, page("/quizzes?sort=liked".to_owned())),
        ("page 100", 3.0, page(format!("/quizzes?pageno={numbered}"))),
        (
            "page in the middle",
            3.0,
            page(format!("/quizzes?pageno={}&after={middle}", count / 20)),
        ),
        (
            "search, rare word",
            2.0,
            page(format!("/quizzes?search={RARE_WORD}")),
        ),
        (
            "search, common word",
            2.0,
            page(format!("/quizzes?search={COMMON_WORD}")),
        ),
        ("favourites", 2.0, favourites),
        ("random", 2.0, form("/random", &user, &random)),
        ("log-in", 2.0, form("/login", &stranger, &login)),
    ])
}

/// A user with some fifty favourites, as many as there are on average, made up by `quiz-web fill`.
const FAN: &str = "
    SELECT username FROM users JOIN (
        SELECT user_id, count(*) AS liked FROM favourites GROUP BY user_id
    ) AS fans ON fans.user_id = users.id
    WHERE username NOT IN ('admin', 'pepe') ORDER BY abs(liked - 50), users.id LIMIT 1";

fn encoded(fields: &[(String, String)]) -> String {
    let escaped = |text: &str| {
        let bytes = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        bytes.collect::<String>()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

impl Call {
    /// How long each answer took.
    async fn repeat(&self, time: Duration, least: usize) -> anyhow::Result<Vec<Duration>> {
        let mut connection = self.connect().await?;
        let mut took = Vec::new();
        let began = Instant::now();
        while began.elapsed() < time || (took.len() < least && began.elapsed() < time * MOST) {
            let asked = Instant::now();
            let answered = tokio::time::timeout(PATIENCE, self.ask(&mut connection)).await;
            answered.context("no answer in time")??;
            took.push(asked.elapsed());
        }
        Ok(took)
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.at).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn ask(&self, connection: &mut SendRequest<Full<Bytes>>) -> anyhow::Result<()> {
        let mut request = Request::builder()
            .uri(&self.path)
            .header(header::HOST, "bench");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let (request, expected) = match &self.form {
            None => (request.body(Full::default())?, StatusCode::OK),
            Some(form) => {
                let kind = "application/x-www-form-urlencoded";
                let request = request
                    .method(Method::POST)
                    .header(header::CONTENT_TYPE, kind);
                (
                    request.body(Full::from(form.clone()))?,
                    StatusCode::SEE_OTHER,
                )
            }
        };
        connection.ready().await?;
        let reply = connection.send_request(request).await?;
        let (head, body) = reply.into_parts();
        let body = body.collect().await?.to_bytes();
        let status = head.status;
        ensure!(status == expected, "{} is answered {status}", self.path);
        // A refused log-in leads back to the form, and a list of nothing is no list.
        let refused = head
            .headers
            .get(header::LOCATION)
            .is_some_and(|to| to == "/login");
        ensure!(!refused, "{} is refused", self.path);
        let is_list = body.windows(CARD.len()).any(|part| part == CARD);
        ensure!(
            self.form.is_some() || is_list,
            "{} lists nothing",
            self.path
        );
        Ok(())
    }
}

/// The time within which so many hundredths of the answers came, in milliseconds.
fn percentile(took: &[Duration], percent: usize) -> f64 {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    let time = sorted.get(rank.saturating_sub(1));
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}
