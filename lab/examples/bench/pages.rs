//! Single requests, for what has to be known or done before a measurement.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, RequestBuilder, StatusCode, redirect};
use scraper::{Html, Selector};

/// How long any single request may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Someone with cookies.
pub(crate) struct Visitor {
    base: String,
    http: Client,
    cookies: BTreeMap<String, String>,
}

/// A reply.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Visitor {
    /// At the site with this address, without a cookie.
    pub(crate) fn new(base: String) -> anyhow::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none());
        Ok(Self {
            base,
            http: client.timeout(PATIENCE).build()?,
            cookies: BTreeMap::new(),
        })
    }

    /// What the next request has in `Cookie`.
    pub(crate) fn cookie(&self) -> String {
        let cookies = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        cookies.collect::<Vec<_>>().join("; ")
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Reply> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(request).await
    }

    pub(crate) async fn page(&mut self, path: &str) -> anyhow::Result<String> {
        let reply = self.get(path).await?;
        ensure!(
            reply.status == StatusCode::OK,
            "GET {path} is answered {}",
            reply.status
        );
        Ok(String::from_utf8(reply.body)?)
    }

    pub(crate) async fn log_in(&mut self, username: &str, password: &str) -> anyhow::Result<()> {
        let page = self.page("/login").await?;
        let mut form = hidden_fields(&page, "/login")?;
        form.push(("username".to_owned(), username.to_owned()));
        form.push(("password".to_owned(), password.to_owned()));
        let request = self.http.post(format!("{}/login", self.base)).form(&form);
        let reply = self.send(request).await?;
        let here = self.cookies.contains_key("quiz_session");
        ensure!(here, "{username} cannot log in: {}", reply.status);
        Ok(())
    }

    /// Makes a quiz with a picture, and tells the path of the picture.
    pub(crate) async fn make_quiz(&mut self, png: Vec<u8>) -> anyhow::Result<String> {
        use reqwest::multipart::{Form, Part};
        let page = self.page("/quizzes/new").await?;
        let mut form = Form::new();
        for (name, value) in hidden_fields(&page, "/quizzes")? {
            form = form.text(name, value);
        }
        let picture = Part::bytes(png)
            .file_name("picture.png")
            .mime_str("image/png")?;
        let form = form
            .text("question", "What is this?")
            .text("answer", "Noise")
            .part("image", picture);
        let request = self
            .http
            .post(format!("{}/quizzes", self.base))
            .multipart(form);
        let reply = self.send(request).await?;
        let made = reply
            .headers
            .get(LOCATION)
            .and_then(|path| path.to_str().ok());
        let made = made.with_context(|| format!("no quiz was made: {}", reply.status))?;
        let page = self.page(made).await?;
        let pictures = attributes(&page, "main img", "src");
        pictures
            .into_iter()
            .next()
            .context("the quiz has no picture")
    }

    async fn send(&mut self, request: RequestBuilder) -> anyhow::Result<Reply> {
        let request = match self.cookie() {
            cookie if cookie.is_empty() => request,
            cookie => request.header(COOKIE, cookie),
        };
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        for line in headers.get_all(SET_COOKIE) {
            let pair = line.to_str()?.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').context("a cookie has a value")?;
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let body = response.bytes().await?.to_vec();
        Ok(Reply {
            status,
            headers,
            body,
        })
    }
}

/// Names and values of the hidden fields of the form that posts to `action`.
pub(crate) fn hidden_fields(page: &str, action: &str) -> anyhow::Result<Vec<(String, String)>> {
    let selector = format!("form[action='{action}'] input[type=hidden]");
    let names = attributes(page, &selector, "name");
    let values = attributes(page, &selector, "value");
    ensure!(!names.is_empty(), "there is no form to {action}");
    Ok(names.into_iter().zip(values).collect())
}

fn attributes(page: &str, selector: &str, name: &str) -> Vec<String> {
    let page = Html::parse_document(page);
    let selector = Selector::parse(selector).expect("it is written in this program");
    let found = page
        .select(&selector)
        .filter_map(|element| element.attr(name));
    found.map(str::to_owned).collect()
}
