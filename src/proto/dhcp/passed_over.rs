//! Servers that have not granted what they offered: their next offers wait for a time that grows, so that
//! another server's offer is taken, and so that a server which refuses all is not flooded.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::offer::Offer;
use crate::time::Instant;

/// The first time, which doubles with each failure of the same server, and the longest.
// The longest is the pause of RFC 5227 §2.1.1 after many conflicts; RFC 2131 has none.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// How long before the end of that time others are asked again.
const WINDOW: Duration = Duration::from_secs(4);
/// Maximum number of servers stored, more than any network has; a bound on what a flood can make us keep.
const MAX_SERVERS: usize = 64;

/// Servers whose offers wait.
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
        (FIRST * 2_u32.pow(doublings)).min(LONGEST)
    }
}

impl PassedOver {
    /// Notes that `server` has not granted what it offered; returns for how long its offers wait.
    pub(super) fn add(&mut self, server: Ipv4Addr, now: Instant) -> Duration {
        self.in_row = self.in_row.saturating_add(1);
        self.last = Some(server);
        // Who has behaved for long enough begins anew.
        self.servers
            .retain(|known| now.since(known.until) < LONGEST * 2);
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
