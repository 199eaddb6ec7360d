//! Where the pictures live: the settings `QUIZ_STORE_*` and `AWS_*`, and the clients that they describe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::failover::Patience;
use crate::config::{Secret, positive_millis};

/// What an endpoint that is not frozen takes or gives in a second at least: far below a local network's speed.
const HEDGE_BYTES_PER_SEC: u64 = 16 * 1024 * 1024;

/// The one message about the forms of `QUIZ_STORE_URL`.
const URL_FORMS: &str = "QUIZ_STORE_URL must be s3://bucket or s3://bucket/prefix (an S3 service), \
    file:///folder (a local or mounted folder) or memory:/// (tests: pictures die with the process)";

/// A comma list, as one value: clap would refuse the empty variable that a compose file passes.
type Endpoints = Vec<Url>;

/// Settings of the image store.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreConfig {
    /// Where pictures are kept: `s3://bucket[/prefix]`, `file:///folder` or `memory:///`
    #[arg(id = "store_url", long = "store-url", env = "QUIZ_STORE_URL", value_name = "URL", value_parser = parse_url)]
    pub url: Url,

    /// For s3: comma list of `http://host:port` that serve the same bucket, tried in turn [default: AWS]
    #[arg(id = "store_endpoints", long = "store-endpoints", env = "QUIZ_STORE_ENDPOINTS", value_name = "URLS",
        default_value = "", hide_default_value = true, value_parser = parse_endpoints)]
    pub endpoints: Endpoints,

    /// For s3: access key
    #[arg(
        long = "aws-access-key-id",
        env = "AWS_ACCESS_KEY_ID",
        value_name = "KEY"
    )]
    pub access_key_id: Option<String>,

    /// For s3: secret of the access key
    #[arg(
        long = "aws-secret-access-key",
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub secret_access_key: Option<Secret>,

    /// For s3: region, part of every signature
    #[arg(
        long = "aws-region",
        env = "AWS_REGION",
        default_value = "us-east-1",
        value_name = "NAME"
    )]
    pub region: String,

    /// For s3: longest wait for a TCP connection, in milliseconds
    #[arg(long = "store-connect-timeout-ms", env = "QUIZ_STORE_CONNECT_TIMEOUT_MS", default_value = "300",
        value_name = "MS", value_parser = positive_millis)]
    pub connect_timeout: Duration,

    /// Longest wait for one whole answer of one endpoint, in milliseconds
    #[arg(long = "store-request-timeout-ms", env = "QUIZ_STORE_REQUEST_TIMEOUT_MS", default_value = "5000",
        value_name = "MS", value_parser = positive_millis)]
    pub request_timeout: Duration,

    /// Silence of an endpoint after which the next one is asked as well, in milliseconds, beside the time that the
    /// bytes take at 16 MiB/s
    #[arg(long = "store-hedge-ms", env = "QUIZ_STORE_HEDGE_MS", default_value = "300",
        value_name = "MS", value_parser = positive_millis)]
    pub hedge: Duration,

    /// Longest wait for an operation over all endpoints and rounds, in milliseconds
    #[arg(long = "store-total-timeout-ms", env = "QUIZ_STORE_TOTAL_TIMEOUT_MS", default_value = "12000",
        value_name = "MS", value_parser = positive_millis)]
    pub total_timeout: Duration,

    /// Longest wait for the store in a readiness check, in milliseconds
    #[arg(long = "store-ready-timeout-ms", env = "QUIZ_STORE_READY_TIMEOUT_MS", default_value = "1000",
        value_name = "MS", value_parser = positive_millis)]
    pub ready_timeout: Duration,

    /// How many times all endpoints are asked before an operation fails
    #[arg(long = "store-rounds", env = "QUIZ_STORE_ROUNDS", default_value_t = 2, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=10))]
    pub rounds: u32,

    /// Pause between two rounds, in milliseconds
    #[arg(long = "store-retry-pause-ms", env = "QUIZ_STORE_RETRY_PAUSE_MS", default_value = "200",
        value_name = "MS", value_parser = positive_millis)]
    pub retry_pause: Duration,
}

/// The clients for one `QUIZ_STORE_URL`: one per endpoint, each with its name for the log.
pub(super) struct Opened {
    pub(super) endpoints: Vec<(String, Arc<dyn ObjectStore>)>,
    pub(super) folder: Option<PathBuf>,
}

impl StoreConfig {
    /// Checks what no single setting shows and builds the clients.
    pub(super) fn open(&self) -> anyhow::Result<Opened> {
        ensure!(
            self.total_timeout >= self.request_timeout,
            "QUIZ_STORE_TOTAL_TIMEOUT_MS must not be less than QUIZ_STORE_REQUEST_TIMEOUT_MS"
        );
        match Place::of(&self.url)? {
            Place::S3 { bucket, prefix } => self.open_s3(&bucket, &prefix),
            place => {
                ensure!(
                    self.endpoints.is_empty(),
                    "QUIZ_STORE_ENDPOINTS belongs to s3://; remove it or change QUIZ_STORE_URL"
                );
                let name = self.url.to_string();
                let (store, folder): (Arc<dyn ObjectStore>, _) = match place {
                    Place::Folder(folder) => (Arc::new(open_folder(&folder)?), Some(folder)),
                    _ => (Arc::new(InMemory::new()), None),
                };
                Ok(Opened {
                    endpoints: vec![(name, store)],
                    folder,
                })
            }
        }
    }

    /// One client per endpoint. A client of `object_store` can be given several addresses, but all behind one port,
    /// and it stays with the address that accepted the connection: a frozen node would get the retries as well.
    fn open_s3(&self, bucket: &str, prefix: &str) -> anyhow::Result<Opened> {
        let key = self
            .access_key_id
            .as_deref()
            .filter(|key| !key.is_empty())
            .context("AWS_ACCESS_KEY_ID is missing: s3:// needs it")?;
        let secret = self
            .secret_access_key
            .as_ref()
            .filter(|secret| !secret.expose().is_empty())
            .context("AWS_SECRET_ACCESS_KEY is missing: s3:// needs it")?;
        let base = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            .with_access_key_id(key)
            .with_secret_access_key(secret.expose())
            .with_virtual_hosted_style_request(false)
            // One plain request per file, which every S3 knows.
            .with_disable_bulk_delete(true)
            // We do the retrying, on another endpoint.
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            });
        let mut endpoints = Vec::new();
        if self.endpoints.is_empty() {
            let client = base.clone().with_client_options(self.client_options());
            endpoints.push((self.url.to_string(), scoped(client, prefix)?));
        }
        for endpoint in &self.endpoints {
            let client = base
                .clone()
                .with_endpoint(endpoint.as_str().trim_end_matches('/'))
                .with_client_options(direct(self.client_options()))
                .with_allow_http(endpoint.scheme() == "http");
            endpoints.push((endpoint.to_string(), scoped(client, prefix)?));
        }
        Ok(Opened {
            endpoints,
            folder: None,
        })
    }

    fn client_options(&self) -> ClientOptions {
        ClientOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_timeout(self.request_timeout)
    }

    pub(super) fn patience(&self) -> Patience {
        Patience {
            request: self.request_timeout,
            hedge: self.hedge,
            bytes_per_sec: HEDGE_BYTES_PER_SEC,
            total: self.total_timeout,
            rounds: self.rounds,
            pause: self.retry_pause,
        }
    }
}

/// Named endpoints are neighbours: a proxy for the internet, as `http_proxy` and its kin name it, is not on the way to
/// them. The client can only be told to use a proxy of ours, which takes the place of theirs, and where not to use it:
/// for no name and no address.
fn direct(options: ClientOptions) -> ClientOptions {
    options
        .with_proxy_url("http://no-proxy.invalid")
        .with_proxy_excludes("*,0.0.0.0/0,::/0")
}

fn scoped(client: AmazonS3Builder, prefix: &str) -> anyhow::Result<Arc<dyn ObjectStore>> {
    let client = client
        .build()
        .context("the settings of the S3 client do not fit together")?;
    if prefix.is_empty() {
        return Ok(Arc::new(client));
    }
    Ok(Arc::new(PrefixStore::new(client, prefix)))
}

/// A folder that is not there is more likely a missing mount than a wish to have one made.
fn open_folder(folder: &Path) -> anyhow::Result<LocalFileSystem> {
    let advice = || {
        format!(
            "QUIZ_STORE_URL names the folder {}, which must exist (is it mounted?) and be writable",
            folder.display()
        )
    };
    check_writable(folder).with_context(advice)?;
    let store = LocalFileSystem::new_with_prefix(folder).with_context(advice)?;
    Ok(store.with_fsync(true))
}

/// Shows that a file can be made in the folder. The name is ours alone: several front-ends may share the mount.
fn check_writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(
        ".quiz-store-check-{}-{:016x}",
        std::process::id(),
        rand::random::<u64>()
    ));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}

/// A valid `QUIZ_STORE_URL`, taken apart.
enum Place {
    S3 { bucket: String, prefix: String },
    Folder(PathBuf),
    Memory,
}

impl Place {
    fn of(url: &Url) -> anyhow::Result<Self> {
        let plain = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none();
        match (url.scheme(), url.host_str().unwrap_or_default()) {
            ("s3", bucket) if plain && !bucket.is_empty() => Ok(Self::S3 {
                bucket: bucket.to_owned(),
                prefix: url.path().trim_matches('/').to_owned(),
            }),
            // A host would be taken for a folder's first part: file://var/images is a slip for file:///var/images.
            ("file", "") if plain && url.path() != "/" => match url.to_file_path() {
                Ok(folder) => Ok(Self::Folder(folder)),
                Err(()) => bail!(URL_FORMS),
            },
            ("memory", "") if plain && matches!(url.path(), "" | "/") => Ok(Self::Memory),
            _ => bail!(URL_FORMS),
        }
    }
}

fn parse_url(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).context(URL_FORMS)?;
    Place::of(&url)?;
    Ok(url)
}

fn parse_endpoints(text: &str) -> anyhow::Result<Endpoints> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(parse_endpoint)
        .collect()
}

fn parse_endpoint(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.with_context(|| {
        format!(
            "QUIZ_STORE_ENDPOINTS has {text:?}: write http://host:port, several with commas between"
        )
    })
}
