//! The settings of sign-in with others, and the providers that they describe.

use std::time::Duration;

use openidconnect::{ClientId, ClientSecret, IssuerUrl, RedirectUrl};
use url::{Host, Url};

use super::github::GitHub;
use super::http::Http;
use super::oidc::Oidc;
use super::{Protocol, Provider, SignIn};
use crate::config::{Secret, positive_millis};

/// Settings of sign-in with others. A provider without credentials is not offered; an empty text counts as absent.
#[derive(Clone, Debug, clap::Args)]
pub struct SignInConfig {
    /// The site as its visitors see it, `https://host`: providers send visitors back to URL/auth/NAME/callback.
    /// Needed for sign-in with others
    #[arg(long, env = "QUIZ_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Sign-in with GitHub: client id of the application registered there
    #[arg(long, env = "QUIZ_GITHUB_CLIENT_ID", value_name = "ID")]
    pub github_client_id: Option<String>,

    /// Sign-in with GitHub: client secret
    #[arg(
        long,
        env = "QUIZ_GITHUB_CLIENT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub github_client_secret: Option<Secret>,

    /// Another GitHub, for example one of GitHub Enterprise
    #[arg(
        long,
        env = "QUIZ_GITHUB_URL",
        value_name = "URL",
        default_value = "https://github.com"
    )]
    pub github_url: String,

    /// The API of that GitHub, for GitHub Enterprise `https://host/api/v3`
    #[arg(
        long,
        env = "QUIZ_GITHUB_API_URL",
        value_name = "URL",
        default_value = "https://api.github.com"
    )]
    pub github_api_url: String,

    /// Sign-in with Google: client id
    #[arg(long, env = "QUIZ_GOOGLE_CLIENT_ID", value_name = "ID")]
    pub google_client_id: Option<String>,

    /// Sign-in with Google: client secret
    #[arg(
        long,
        env = "QUIZ_GOOGLE_CLIENT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub google_client_secret: Option<Secret>,

    /// The issuer that stands for Google: tests have their own
    #[arg(
        long,
        env = "QUIZ_GOOGLE_ISSUER",
        value_name = "URL",
        default_value = "https://accounts.google.com"
    )]
    pub google_issuer: String,

    /// Sign-in with any issuer of OpenID Connect: its address, exactly as its discovery document has it
    #[arg(long, env = "QUIZ_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<String>,

    /// Sign-in with that issuer: client id
    #[arg(long, env = "QUIZ_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// Sign-in with that issuer: client secret
    #[arg(
        long,
        env = "QUIZ_OIDC_CLIENT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub oidc_client_secret: Option<Secret>,

    /// Sign-in with that issuer: what it is called on the button
    #[arg(
        long,
        env = "QUIZ_OIDC_NAME",
        value_name = "NAME",
        default_value = "OpenID"
    )]
    pub oidc_name: String,

    /// Does a first sign-in with another site make an account? If not, only who has one gets in
    #[arg(long, env = "QUIZ_SIGN_IN_CREATES_ACCOUNTS", value_name = "BOOL", default_value_t = true,
        action = clap::ArgAction::Set)]
    pub sign_in_creates_accounts: bool,

    /// Longest wait for one answer of a provider, in milliseconds
    #[arg(long = "sign-in-timeout-ms", env = "QUIZ_SIGN_IN_TIMEOUT_MS", value_name = "MS", default_value = "5000",
        value_parser = positive_millis)]
    pub sign_in_timeout: Duration,
}

impl SignInConfig {
    /// Checks everything and makes the clients; talks to nobody. The error has a line for each fault.
    pub(super) fn open(&self) -> Result<SignIn, Vec<String>> {
        let mut wrong = Vec::new();
        let named = [
            Named::github(self, &mut wrong),
            Named::google(self, &mut wrong),
            Named::oidc(self, &mut wrong),
        ];
        let named: Vec<_> = named.into_iter().flatten().collect();
        let public_url = self.public_url(!named.is_empty(), &mut wrong);
        let mut providers = Vec::new();
        if let Some(public_url) = public_url.filter(|_| wrong.is_empty()) {
            for named in named {
                match Http::new(self.sign_in_timeout, named.address.is_local()) {
                    Ok(http) => providers.push(named.open(&public_url, http)),
                    Err(error) => wrong.push(format!(
                        "sign-in with {} cannot use TLS: {:#}",
                        named.label,
                        anyhow::Error::new(error)
                    )),
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(SignIn {
            providers,
            creates_accounts: self.sign_in_creates_accounts,
        })
    }

    /// Scheme, host and port, without a slash at the end.
    fn public_url(&self, needed: bool, wrong: &mut Vec<String>) -> Option<String> {
        let text = given(self.public_url.as_deref());
        let origin = text.and_then(|text| Url::parse(text).ok()).filter(|url| {
            matches!(url.scheme(), "http" | "https") && is_plain(url) && url.path() == "/"
        });
        match (text, origin) {
            (Some(_), Some(url)) => return Some(url.origin().ascii_serialization()),
            (Some(text), None) => wrong.push(format!(
                "QUIZ_PUBLIC_URL is {text:?}: write https://host, without a path"
            )),
            (None, _) if needed => wrong.push(
                "QUIZ_PUBLIC_URL is missing: sign-in with others needs the address of the site, https://host".to_owned(),
            ),
            (None, _) => {}
        }
        None
    }
}

/// A provider with sound settings.
struct Named {
    id: &'static str,
    label: String,
    credentials: (ClientId, ClientSecret),
    address: Address,
}

enum Address {
    GitHub { url: String, api_url: String },
    Issuer(IssuerUrl),
}

impl Address {
    fn is_local(&self) -> bool {
        let urls = match self {
            Self::GitHub { url, api_url } => vec![url.as_str(), api_url],
            Self::Issuer(issuer) => vec![issuer.as_str()],
        };
        let mut urls = urls.into_iter().map(Url::parse);
        urls.all(|url| url.is_ok_and(|url| is_loopback(&url)))
    }
}

impl Named {
    fn github(config: &SignInConfig, wrong: &mut Vec<String>) -> Option<Self> {
        let credentials = credentials(
            "QUIZ_GITHUB_CLIENT",
            (&config.github_client_id, &config.github_client_secret),
            wrong,
        )?;
        let url = address("QUIZ_GITHUB_URL", &config.github_url, wrong);
        let api_url = address("QUIZ_GITHUB_API_URL", &config.github_api_url, wrong);
        Some(Self {
            id: "github",
            label: "GitHub".to_owned(),
            credentials,
            address: Address::GitHub {
                url: url?.trim_end_matches('/').to_owned(),
                api_url: api_url?.trim_end_matches('/').to_owned(),
            },
        })
    }

    fn google(config: &SignInConfig, wrong: &mut Vec<String>) -> Option<Self> {
        let credentials = credentials(
            "QUIZ_GOOGLE_CLIENT",
            (&config.google_client_id, &config.google_client_secret),
            wrong,
        )?;
        Some(Self {
            id: "google",
            label: "Google".to_owned(),
            credentials,
            address: issuer("QUIZ_GOOGLE_ISSUER", &config.google_issuer, wrong)?,
        })
    }

    fn oidc(config: &SignInConfig, wrong: &mut Vec<String>) -> Option<Self> {
        let credentials = credentials(
            "QUIZ_OIDC_CLIENT",
            (&config.oidc_client_id, &config.oidc_client_secret),
            wrong,
        );
        let issuer_url = given(config.oidc_issuer.as_deref());
        match (&credentials, issuer_url) {
            (Some(_), None) => wrong.push(
                "QUIZ_OIDC_ISSUER is missing, but QUIZ_OIDC_CLIENT_ID is given: give both or none"
                    .to_owned(),
            ),
            (None, Some(_)) if given(config.oidc_client_id.as_deref()).is_none() => wrong.push(
                "QUIZ_OIDC_CLIENT_ID is missing, but QUIZ_OIDC_ISSUER is given: give both or none"
                    .to_owned(),
            ),
            _ => {}
        }
        let label = given(Some(&config.oidc_name)).unwrap_or("OpenID");
        Some(Self {
            id: "oidc",
            label: label.to_owned(),
            credentials: credentials?,
            address: issuer("QUIZ_OIDC_ISSUER", issuer_url?, wrong)?,
        })
    }

    fn open(self, public_url: &str, http: Http) -> Provider {
        let redirect = RedirectUrl::new(format!("{public_url}/auth/{}/callback", self.id))
            .expect("an origin and a path make a URL");
        let protocol = match self.address {
            Address::GitHub { url, api_url } => Protocol::GitHub(Box::new(
                GitHub::new(&url, &api_url, self.credentials, redirect, http)
                    .expect("a checked address and a path make a URL"),
            )),
            Address::Issuer(issuer) => Protocol::Oidc(Box::new(Oidc::new(
                issuer,
                self.credentials,
                redirect,
                http,
            ))),
        };
        Provider {
            id: self.id,
            label: self.label,
            protocol,
        }
    }
}

/// Both of a pair or none.
fn credentials(
    name: &str,
    (id, secret): (&Option<String>, &Option<Secret>),
    wrong: &mut Vec<String>,
) -> Option<(ClientId, ClientSecret)> {
    let secret = given(secret.as_ref().map(Secret::expose));
    match (given(id.as_deref()), secret) {
        (Some(id), Some(secret)) => {
            return Some((
                ClientId::new(id.to_owned()),
                ClientSecret::new(secret.to_owned()),
            ));
        }
        (Some(_), None) => wrong.push(format!(
            "{name}_SECRET is missing, but {name}_ID is given: give both or none"
        )),
        (None, Some(_)) => wrong.push(format!(
            "{name}_ID is missing, but {name}_SECRET is given: give both or none"
        )),
        (None, None) => {}
    }
    None
}

fn issuer(name: &str, text: &str, wrong: &mut Vec<String>) -> Option<Address> {
    // The text stays as it is: issuers are compared letter by letter, and some end with a slash.
    let text = address(name, text, wrong)?;
    IssuerUrl::new(text.to_owned()).ok().map(Address::Issuer)
}

/// The secrets of the site and of its users go there, so nobody may listen.
fn address<'a>(name: &str, text: &'a str, wrong: &mut Vec<String>) -> Option<&'a str> {
    let text = text.trim();
    let url = Url::parse(text).ok().filter(|url| {
        let safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
        safe && is_plain(url)
    });
    if url.is_none() {
        wrong.push(format!(
            "{name} is {text:?}: write https://host (http:// only for this machine itself)"
        ));
    }
    url.map(|_| text)
}

fn is_plain(url: &Url) -> bool {
    url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Compose files pass empty variables for what is not set.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}
