//! The choice among offers, ProxyDHCP offers, which add a boot file to another (PXE 2.1 §2.2), and offers
//! that wait, since their servers have not granted the one before.

use crate::prelude::*;
use core::cmp::Reverse;
use core::net::Ipv4Addr;
use core::time::Duration;

pub use super::boot_service::Rank;
use super::boot_service::{BootService, BootSource, PXE_CLIENT};
use super::lease::Lease;
use crate::packet::dhcp::Message;
use crate::packet::ipv4::netmask;
use crate::packet::option::code;
use crate::time::{Instant, Random};

/// The prefix of the vendor class of a server for HTTP boot (UEFI 2.10 §24.7).
const HTTP_CLIENT: &[u8] = b"HTTPClient";

/// An offer: an address and boot information. A ProxyDHCP server's, and a boot server's answer to a later
/// query, have no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Address (`yiaddr`), 0.0.0.0 from a ProxyDHCP server.
    pub address: Ipv4Addr,
    /// Server (option 54).
    pub server: Ipv4Addr,
    /// Source address: the server, or the relay or router before it.
    pub source: Ipv4Addr,
    /// The boot information.
    pub boot: BootSource,
    pub(super) message: Message,
}

impl Offer {
    /// Reads an OFFER of `server` with the source address `source`.
    pub fn read(message: Message, server: Ipv4Addr, source: Ipv4Addr) -> Self {
        Self {
            address: message.yiaddr,
            server,
            source,
            // Invalid options are reported with the lease.
            boot: BootSource::read(&message, server, &mut Vec::new()),
            message,
        }
    }

    /// Returns the lease that the server would grant.
    pub fn lease(&self) -> Lease {
        Lease::read(&self.message, self.server)
    }

    /// Returns that lease with the boot information of `proxy`, as [`Lease::granted`].
    pub(super) fn preview(&self, proxy: Option<&Self>) -> Lease {
        Lease::granted(&self.message, self.server, proxy.map(|proxy| &proxy.boot))
    }

    /// Returns its rank.
    pub fn rank(&self) -> Rank {
        self.boot.rank()
    }

    /// Returns whether it is from a ProxyDHCP server: boot service without an address.
    pub fn is_proxy(&self) -> bool {
        let class = self.message.options.get(code::VENDOR_CLASS);
        // PXE 2.1 §2.2: a ProxyDHCP server leases nothing, so `yiaddr` is 0.0.0.0.
        self.address.is_unspecified()
            && class.is_some_and(|class| {
                class.starts_with(PXE_CLIENT) || class.starts_with(HTTP_CLIENT)
            })
    }
}

/// Maximum number of offers stored of each kind, more than any network has servers.
const MAX_OFFERS: usize = 128;

/// Maximum number of boot services that are asked together: a bound on what a flood makes us send.
const MAX_SERVICES: usize = 32;

/// The offers of one DISCOVER, in the order of their arrival, one of each server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    addresses: Vec<Offer>,
    proxies: Vec<Offer>,
    /// Number of offers added since a list was empty.
    seen: usize,
}

impl Offers {
    /// Adds an offer, replacing an earlier one of the same server; where there are too many, a random one.
    pub fn add(&mut self, offer: Offer, random: &mut Random) {
        let list = if offer.is_proxy() {
            &mut self.proxies
        } else {
            &mut self.addresses
        };
        let known = list.iter().position(|known| known.server == offer.server);
        if list.is_empty() {
            self.seen = 0;
        }
        self.seen += usize::from(known.is_none());
        // Each of a flood has the same chance, whenever it arrives (reservoir sampling).
        let full = (list.len() >= MAX_OFFERS).then(|| random.below(self.seen));
        match known.or(full) {
            None => list.push(offer),
            Some(place) => {
                if let Some(other) = list.get_mut(place) {
                    *other = offer;
                }
            }
        }
    }

    /// Removes and returns the best offer of an address.
    pub fn take_best(&mut self) -> Option<Offer> {
        // By identity, since offers of two servers may be equal, and a borrow would forbid the removal.
        let best: *const Offer = self.best()?;
        let mut addresses = self.addresses.iter();
        let place = addresses.position(|offer| core::ptr::eq(offer, best))?;
        Some(self.addresses.remove(place))
    }

    /// Removes and returns any offer of an address.
    pub fn take_any(&mut self, random: &mut Random) -> Option<Offer> {
        let count = self.addresses.len();
        (count > 0).then(|| self.addresses.remove(random.below(count)))
    }

    /// Removes the offer of an address by `server`.
    pub fn remove(&mut self, server: Ipv4Addr) {
        self.addresses.retain(|offer| offer.server != server);
    }

    /// Returns whether nobody has made an offer.
    pub const fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.proxies.is_empty()
    }

    /// Returns the best offer of an address: the highest rank, then the first.
    pub fn best(&self) -> Option<&Offer> {
        first_of_highest_rank(&self.addresses)
    }

    /// Returns the ProxyDHCP offer with boot information that the best offer lacks.
    pub fn proxy(&self) -> Option<&Offer> {
        // A next server alone is of no use from a proxy.
        first_of_highest_rank(&self.proxies).filter(|proxy| proxy.rank() >= Rank::LocalBoot)
    }

    /// Returns the leases that are offered.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.addresses.iter().map(Offer::lease).collect()
    }

    /// Returns the boot services, without those of `server` and those with a menu.
    pub fn services_but(&self, server: Ipv4Addr) -> Vec<BootService> {
        let offers = self.proxies.iter().chain(&self.addresses);
        let services = offers.filter_map(|offer| offer.boot.boot_service.as_ref());
        let others = services.filter(|it| it.server != server && it.pxe.menu.is_empty());
        others.take(MAX_SERVICES).cloned().collect()
    }

    /// Returns their combined rank; none without an address.
    pub fn rank(&self) -> Option<Rank> {
        let best = self.best()?.rank();
        Some(self.proxy().map_or(best, |proxy| proxy.rank().max(best)))
    }

    /// Returns their standing for a client that decides at `decide_at`.
    pub fn standing(&self, wants_boot_file: bool, decide_at: Option<Instant>) -> Option<Standing> {
        let rank = self.rank()?;
        let is_last_word = |best: &Offer| best.message.options.rules_out_proxies();
        Some(Standing {
            rank,
            is_enough: !wants_boot_file
                || rank >= Rank::BootService
                // As iPXE, which does not wait for proxies then.
                || self.best().is_some_and(is_last_word),
            decide_at: decide_at?,
        })
    }
}

fn first_of_highest_rank(offers: &[Offer]) -> Option<&Offer> {
    // `max_by_key` returns the last one of equals.
    offers.iter().rev().max_by_key(|offer| offer.rank())
}

type Fact = fn(&Lease) -> Option<String>;

/// The title of the first fact, which only a server that leases an address knows.
pub(super) const SUBNET: &str = "the subnet";

/// Facts that servers of one network agree about, with their titles.
pub(super) const FACTS: [(Fact, &str); 3] = [
    (subnet, SUBNET),
    (router, "the router"),
    (resolvers, "the resolver"),
];

fn subnet(lease: &Lease) -> Option<String> {
    let network = lease.address & netmask(lease.prefix_len);
    Some(format!("{network}/{}", lease.prefix_len))
}

fn router(lease: &Lease) -> Option<String> {
    let mut routes = lease.routes.iter();
    let default = routes.find(|route| route.prefix_len == 0)?;
    Some(default.gateway?.to_string())
}

fn resolvers(lease: &Lease) -> Option<String> {
    // Their order is a matter of sharing the load.
    let mut dns: Vec<_> = lease.dns.iter().map(ToString::to_string).collect();
    dns.sort_unstable();
    (!dns.is_empty()).then(|| dns.join(" and "))
}

/// Returns the first fact that two leases do not agree about: its title, and what each says.
pub(super) fn contradiction(one: &Lease, other: &Lease) -> Option<(&'static str, String, String)> {
    FACTS.iter().find_map(|(known, title)| {
        let (one, other) = (known(one)?, known(other)?);
        (one != other).then_some((*title, one, other))
    })
}

/// The standing of the offers on one interface, to be compared with those on others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Their combined rank.
    pub rank: Rank,
    /// Whether no better offer is expected.
    pub is_enough: bool,
    /// When the wait for a better one ends, a fixed time after the first offer.
    pub decide_at: Instant,
}

impl Standing {
    /// Returns whether the wait for something better is over.
    pub fn is_ripe(&self, now: Instant) -> bool {
        self.is_enough || now >= self.decide_at
    }
}

/// Returns the index of the interface whose offer is accepted now: none while all can wait, then the one
/// of the highest rank. Among equals it is the first in the list if the user gave its order, otherwise
/// the one with the earliest offer.
pub fn choose(standings: &[Option<Standing>], is_ordered: bool, now: Instant) -> Option<usize> {
    let known = || {
        let places = standings.iter().enumerate();
        places.filter_map(|(place, standing)| Some((place, (*standing)?)))
    };
    known().find(|(_, standing)| standing.is_ripe(now))?;
    let best = known().min_by_key(|(place, standing)| {
        let arrival = (!is_ordered).then_some(standing.decide_at);
        (Reverse(standing.rank), arrival, *place)
    });
    best.map(|(place, _)| place)
}

/// The first time, which doubles with each failure of the same server, and the longest.
// The longest is the pause of RFC 5227 §2.1.1 after many conflicts; RFC 2131 has none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long before the end of that time others are asked again.
const WINDOW: Duration = Duration::from_secs(4);
/// Maximum number of servers stored, more than any network has; a bound on what a flood can make us keep.
const MAX_SERVERS: usize = 64;

/// Servers that have not granted what they offered: their next offers wait for a time that grows, so that
/// another server's offer is taken, and so that a server which refuses all is not flooded.
#[derive(Debug, Clone, Default)]
pub(super) struct PassedOver {
    servers: Vec<PassedOverServer>,
    /// Failures since the last lease.
    in_row: u32,
    /// The server that failed last, until another is requested.
    last: Option<Ipv4Addr>,
}

#[derive(Debug, Clone)]
struct PassedOverServer {
    server: Ipv4Addr,
    failures: u32,
    until: Instant,
    /// Its latest offer, which waits.
    offer: Option<Offer>,
}

impl PassedOverServer {
    fn time(&self) -> Duration {
        // 2⁶ s are above the longest already, and 2³² would overflow.
        let doublings = self.failures.saturating_sub(1).min(6);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }
}

impl PassedOver {
    /// Notes that `server` has not granted what it offered; returns for how long its offers wait.
    pub(super) fn add(&mut self, server: Ipv4Addr, now: Instant) -> Duration {
        self.in_row = self.in_row.saturating_add(1);
        self.last = Some(server);
        // Who has behaved for long enough begins anew.
        self.servers
            .retain(|known| now.since(known.until) < LONGEST_PAUSE * 2);
        let place = self.servers.iter().position(|known| known.server == server);
        let mut entry = match place {
            Some(place) => self.servers.remove(place),
            None => PassedOverServer {
                server,
                failures: 0,
                until: now,
                offer: None,
            },
        };
        if self.servers.len() >= MAX_SERVERS {
            // The first one has failed longest ago.
            self.servers.remove(0);
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.offer = None;
        let time = entry.time();
        entry.until = now + time;
        self.servers.push(entry);
        time
    }

    /// Returns how long to wait after a failure before all servers are asked again.
    pub(super) fn pause(time: Duration) -> Duration {
        time - (time / 2).min(WINDOW)
    }

    /// Keeps an offer of a server that is passed over, and returns any other.
    pub(super) fn hold(&mut self, offer: Offer, now: Instant) -> Option<Offer> {
        let mut servers = self.servers.iter_mut();
        match servers.find(|known| known.server == offer.server && now < known.until) {
            Some(known) => {
                known.offer = Some(offer);
                None
            }
            None => Some(offer),
        }
    }

    /// Returns an offer that has waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Offer> {
        let mut due = self.servers.iter_mut().filter(|known| now >= known.until);
        due.find_map(|known| known.offer.take())
    }

    /// Returns when an offer will have waited for long enough.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let held = self.servers.iter().filter(|known| known.offer.is_some());
        held.map(|known| known.until).min()
    }

    /// Drops the offers, which belong to an exchange that is over.
    pub(super) fn drop_offers(&mut self) {
        for known in &mut self.servers {
            known.offer = None;
        }
    }

    /// Notes a lease.
    pub(super) const fn succeed(&mut self) {
        self.in_row = 0;
        self.last = None;
    }

    /// Returns how many servers have failed since the last lease.
    pub(super) const fn in_row(&self) -> u32 {
        self.in_row
    }

    /// Returns the server that failed last, once.
    pub(super) const fn take_last(&mut self) -> Option<Ipv4Addr> {
        self.last.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn standing(rank: Rank, decide_at: u64) -> Option<Standing> {
        Some(Standing {
            rank,
            is_enough: matches!(rank, Rank::BootFile),
            decide_at: Instant::from_millis(decide_at),
        })
    }

    #[test]
    fn what_is_enough_is_taken_at_once_and_the_rest_when_its_time_is_over() {
        use Rank::{BootFile, NextServer, Plain};
        let at = Instant::from_millis;
        let choose = |standings: &[_], now| choose(standings, false, at(now));
        assert_eq!(choose(&[None, None], 9_999), None);
        let plain = standing(Plain, 1_000);
        assert_eq!(choose(&[plain, None], 999), None);
        assert_eq!(choose(&[plain, None], 1_000), Some(0));
        assert_eq!(choose(&[plain, standing(BootFile, 1_500)], 600), Some(1));
        assert_eq!(
            choose(&[plain, standing(NextServer, 1_900)], 1_000),
            Some(1)
        );
    }

    #[test]
    fn of_equals_the_user_decides_and_then_the_arrival() {
        let both = [standing(Rank::Plain, 1_200), standing(Rank::Plain, 1_000)];
        let now = Instant::from_millis(1_000);
        assert_eq!(choose(&both, true, now), Some(0));
        assert_eq!(choose(&both, false, now), Some(1));
    }
}
