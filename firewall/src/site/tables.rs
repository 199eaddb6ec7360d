//! The policy file as it is written, before anything in it is judged. Each value knows where it stands.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    pub(super) topology: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) networks: BTreeMap<String, Spanned<NetworkTable>>,
    #[serde(default)]
    pub(super) balancer: BalancerTable,
    pub(super) web: Option<Spanned<Web>>,
    pub(super) https: Option<Spanned<ServiceTable>>,
    pub(super) ssh: Option<Spanned<ServiceTable>>,
    pub(super) monitoring: Option<Spanned<ServiceTable>>,
    #[serde(default)]
    pub(super) services: BTreeMap<String, Spanned<ServiceTable>>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) ping: Ping,
    #[serde(default)]
    pub(super) drop_log: DropLog,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkTable {
    #[serde(default)]
    pub(super) interfaces: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) reach: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BalancerTable {
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) forward_to: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Web {
    pub(super) open: Option<bool>,
    pub(super) port: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTable {
    pub(super) port: Option<Spanned<i64>>,
    pub(super) sources: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) openings_per_second: Option<Spanned<i64>>,
    pub(super) openings_burst: Option<Spanned<i64>>,
    pub(super) connections: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ping {
    pub(super) rate_per_second: Option<Spanned<i64>>,
    pub(super) burst_packets: Option<Spanned<i64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DropLog {
    pub(super) rate_per_second: Option<Spanned<i64>>,
}
