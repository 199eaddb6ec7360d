//! What each address has: connections, requests that are worked on, and how many it sent of late.
//!
//! Addresses that have nothing are forgotten. A flood of addresses cannot fill the memory: beyond 131,072 new ones are
//! let in uncounted, so that strangers are not kept out by the flood; `max_connections` still holds for all together.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::config::Clients;

/// Addresses that are known at a time; one takes about 60 bytes.
const MOST: usize = 128 * 1024;
/// Each has a lock of its own.
const SHARDS: usize = 16;
/// Pause between two searches for addresses that can be forgotten, which cost a millisecond or so.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// All addresses that have something.
#[derive(Debug)]
pub struct Addresses {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    known: HashMap<IpAddr, Account>,
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct Account {
    connections: usize,
    requests: usize,
    /// When the rate allows the next request, if there were no burst (the "theoretical arrival time" of GCRA).
    due: Option<Instant>,
}

/// Why an address gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Requests at a time.
    InFlight,
    /// Requests of late.
    Rate,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Connection,
    Request,
}

/// A connection or a request of an address, until dropped.
#[derive(Debug)]
pub struct Held {
    addresses: Arc<Addresses>,
    address: IpAddr,
    what: What,
}

impl Addresses {
    /// Nobody has anything.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            shards: Default::default(),
            hasher: RandomState::new(),
        })
    }

    /// Counts a connection, unless the address has as many as it may.
    pub fn connect(self: &Arc<Self>, address: IpAddr, rules: &Clients) -> Option<Held> {
        let most = rules.max_connections_per_address;
        let address = customer(address);
        self.shard(address)
            .account(address, Instant::now(), |account| {
                if most > 0 && account.connections >= most {
                    return None;
                }
                account.connections += 1;
                Some(())
            })?;
        Some(self.hold(address, What::Connection))
    }

    /// Counts a request, unless the address has or had as many as it may.
    pub fn request(
        self: &Arc<Self>,
        address: IpAddr,
        rules: &Clients,
        now: Instant,
    ) -> Result<Held, TooMany> {
        let address = customer(address);
        let begin = |account: &mut Account| account.begin(rules, now);
        self.shard(address).account(address, now, begin)?;
        Ok(self.hold(address, What::Request))
    }

    fn hold(self: &Arc<Self>, address: IpAddr, what: What) -> Held {
        Held {
            addresses: Arc::clone(self),
            address,
            what,
        }
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(address) as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Does it to the account of this address, or to one that nobody keeps if there are too many.
    fn account<T>(
        &mut self,
        address: IpAddr,
        now: Instant,
        act: impl FnOnce(&mut Account) -> T,
    ) -> T {
        if self.known.len() >= MOST / SHARDS && !self.known.contains_key(&address) {
            let fresh = |last: Instant| now.saturating_duration_since(last) < SWEEP_PAUSE;
            if !self.swept.is_some_and(fresh) {
                self.swept = Some(now);
                self.known.retain(|_, account| !account.is_idle(now));
            }
            if self.known.len() >= MOST / SHARDS {
                return act(&mut Account::default());
            }
        }
        act(self.known.entry(address).or_default())
    }
}

impl Account {
    fn begin(&mut self, rules: &Clients, now: Instant) -> Result<(), TooMany> {
        let most = rules.max_in_flight_per_address;
        if most > 0 && self.requests >= most {
            return Err(TooMany::InFlight);
        }
        let rate = rules.max_requests_per_sec_per_address;
        if rate > 0 {
            let pause = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX);
            let burst = u32::try_from(rules.request_burst_per_address).unwrap_or(u32::MAX);
            let due = self.due.map_or(now, |due| due.max(now)) + pause;
            if due.saturating_duration_since(now) > pause.saturating_mul(burst) {
                return Err(TooMany::Rate);
            }
            self.due = Some(due);
        }
        self.requests += 1;
        Ok(())
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.connections == 0 && self.requests == 0 && self.due.is_none_or(|due| due <= now)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut shard = self.addresses.shard(self.address);
        // One that was let in uncounted has no account, or one that others have opened since.
        let Some(account) = shard.known.get_mut(&self.address) else {
            return;
        };
        let count = match self.what {
            What::Connection => &mut account.connections,
            What::Request => &mut account.requests,
        };
        *count = count.saturating_sub(1);
        if account.is_idle(Instant::now()) {
            shard.known.remove(&self.address);
        }
    }
}

/// Whose share it is: an IPv4 address, or the /64 that one IPv6 customer has.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(connections: usize, in_flight: usize, rate: usize, burst: usize) -> Clients {
        Clients {
            max_connections_per_address: connections,
            max_in_flight_per_address: in_flight,
            max_requests_per_sec_per_address: rate,
            request_burst_per_address: burst,
            ..Clients::default()
        }
    }

    fn known(addresses: &Addresses) -> usize {
        let shards = addresses.shards.iter();
        shards.map(|shard| shard.lock().unwrap().known.len()).sum()
    }

    #[test]
    fn an_address_has_its_connections_and_is_forgotten_with_the_last() {
        let (addresses, rules) = (Addresses::new(), rules(2, 0, 0, 1));
        let connect = |ip: &str| addresses.connect(ip.parse().unwrap(), &rules);
        let first = connect("192.0.2.1").unwrap();
        let second = connect("::ffff:192.0.2.1").unwrap();
        assert!(connect("192.0.2.1").is_none() && connect("192.0.2.2").is_some());
        drop(first);
        let third = connect("192.0.2.1").unwrap();
        drop((second, third));
        assert_eq!(known(&addresses), 0);
    }

    #[test]
    fn an_ipv6_customer_is_one_whatever_the_lower_half_says() {
        let (addresses, rules) = (Addresses::new(), rules(1, 0, 0, 1));
        let _held = addresses.connect("2001:db8::1".parse().unwrap(), &rules);
        for (ip, free) in [("2001:db8::ffff:2", false), ("2001:db8:0:1::1", true)] {
            let held = addresses.connect(ip.parse().unwrap(), &rules);
            assert_eq!(held.is_some(), free, "{ip}");
        }
    }

    #[test]
    fn the_rate_holds_after_the_burst_and_quiet_brings_the_burst_back() {
        let (addresses, rules) = (Addresses::new(), rules(0, 0, 10, 5));
        let start = Instant::now();
        let ip = "192.0.2.1".parse().unwrap();
        let passed = |from_ms: u64, to_ms: u64| {
            let times = (from_ms..to_ms).map(|ms| start + Duration::from_millis(ms));
            let asked = times.map(|now| addresses.request(ip, &rules, now));
            asked.filter(Result::is_ok).count()
        };
        assert_eq!(passed(0, 50), 5);
        assert_eq!(passed(50, 1050), 10);
        assert_eq!(passed(2000, 2001), 1);
        assert_eq!(passed(5000, 5020), 5);
        assert_eq!(
            addresses.request(ip, &rules, start).err(),
            Some(TooMany::Rate)
        );
    }

    #[test]
    fn requests_at_a_time_are_counted_until_they_end() {
        let (addresses, rules) = (Addresses::new(), rules(0, 2, 0, 1));
        let ip = "192.0.2.1".parse().unwrap();
        let now = Instant::now();
        let held = [(); 2].map(|()| addresses.request(ip, &rules, now).unwrap());
        let third = addresses.request(ip, &rules, now);
        assert_eq!(third.err(), Some(TooMany::InFlight));
        drop(held);
        assert!(addresses.request(ip, &rules, now).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_passes() {
        let (addresses, rules) = (Addresses::new(), rules(0, 0, 1, 1));
        // What is dropped asks the real clock, which shall not get there however slow the machine is.
        let now = Instant::now() + Duration::from_secs(60 * 60);
        for number in 0..(MOST as u32 * 2) {
            let ip = IpAddr::from(number.to_be_bytes());
            assert!(addresses.request(ip, &rules, now).is_ok());
        }
        assert!(known(&addresses) <= MOST);
        let later = now + Duration::from_secs(5);
        for number in 0..1000 {
            let ip = IpAddr::from((u32::MAX - number).to_be_bytes());
            assert!(addresses.request(ip, &rules, later).is_ok());
        }
        assert!(known(&addresses) < MOST / 2, "{}", known(&addresses));
    }
}
