//! Where a request comes from. The balancer says so in forwarded headers, which count only when the connection comes
//! from a proxy that the operator trusts: anybody can send them.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::app::App;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The client of a request, as far as the proxies in between can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// Did the request leave the browser over HTTPS?
    pub https: bool,
}

impl Client {
    /// Walks the chain of proxies from the connection towards the client, up to the first one that is not trusted.
    pub fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let trusts = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if !trusts(&peer) {
            return Self {
                address: peer,
                https: false,
            };
        }
        let mut address = peer;
        for hop in list(headers, FORWARDED_FOR).into_iter().rev() {
            let Ok(hop) = hop.parse::<IpAddr>() else {
                break;
            };
            address = hop.to_canonical();
            if !trusts(&address) {
                break;
            }
        }
        let scheme = list(headers, FORWARDED_PROTO).pop();
        Self {
            address,
            https: scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
        }
    }

    /// Whose share of a limit it uses: an IPv4 address, or the /64 that one IPv6 customer has.
    pub fn share(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).into()
            }
        }
    }
}

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        // Without a connection there is nobody to believe.
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(peer)| peer.ip());
        Ok(Self::of(peer, &parts.headers, &app.config.trusted_proxies))
    }
}

/// The elements of a header that may come in several lines.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &'static str, proto: &'static str) -> Client {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, forwarded_for.parse().unwrap());
        headers.insert(FORWARDED_PROTO, proto.parse().unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        Client::of(peer.parse().unwrap(), &headers, &trusted)
    }

    fn address(client: Client) -> String {
        client.address.to_string()
    }

    #[test]
    fn a_stranger_is_not_believed() {
        let stranger = client("198.51.100.7", "1.2.3.4", "https");
        assert_eq!(address(stranger), "198.51.100.7");
        assert!(!stranger.https);
    }

    #[test]
    fn the_last_address_that_a_trusted_proxy_saw_is_the_client() {
        let visitor = client("::ffff:10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "https");
        assert_eq!(address(visitor), "203.0.113.9");
        assert!(visitor.https);
        assert_eq!(
            address(client("10.0.0.1", "nonsense, 10.0.0.2", "http")),
            "10.0.0.2"
        );
        assert_eq!(address(client("10.0.0.1", "", "")), "10.0.0.1");
    }

    #[test]
    fn a_customer_with_a_billion_ipv6_addresses_has_one_share() {
        let one = client("10.0.0.1", "2001:db8:1:2:3:4:5:6", "");
        let other = client("10.0.0.1", "2001:db8:1:2:ffff::1", "");
        assert_eq!(one.share(), other.share());
        assert_ne!(
            one.share(),
            client("10.0.0.1", "2001:db8:1:3::1", "").share()
        );
    }
}
