//! What to tell when nothing comes of an interface.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::Error;
use crate::link::Link;
use crate::time::Seconds;

/// What has been seen of servers so far.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    pub(super) discovers: u32,
    pub(super) offered_by: Option<Ipv4Addr>,
    /// Why the last address was not to be had.
    pub(super) refusal: Option<String>,
    /// Who leaves this network to IPv6.
    pub(super) ipv6_only: Option<Ipv4Addr>,
    /// What the switch said of the port at last.
    pub(super) port: Option<String>,
    /// Frames that had been counted when it began.
    pub(super) received_before: Option<u64>,
}

impl Diagnosis {
    /// Says why there is no lease on `link` after `waited`, `received` frames being counted now.
    pub(super) fn failure(&self, link: &Link, waited: Duration, received: Option<u64>) -> Error {
        if let Some(refusal) = &self.refusal {
            return Error::Refused(refusal.clone());
        }
        let name = &link.name;
        if let Some(server) = self.ipv6_only {
            return Error::NoOffer(format!(
                "{name}: {server} says that this network is for IPv6; ask without option 108 \
                 to have an IPv4 address all the same"
            ));
        }
        self.nobody(link, "lease", waited, received)
    }

    /// Says what may be the reason that nothing of what was `wanted` has come.
    pub(super) fn nobody(
        &self,
        link: &Link,
        wanted: &str,
        waited: Duration,
        received: Option<u64>,
    ) -> Error {
        let name = &link.name;
        let seconds = Seconds(waited);
        let sent = self.discovers;
        let seen = match (self.received_before, received) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let asked = format!("{name}: no {wanted} in {seconds:.1} s; {sent} DISCOVERs sent");
        if let (None, Some(port)) = (self.offered_by, &self.port) {
            return Error::NoOffer(format!("{asked}; {port}"));
        }
        Error::NoOffer(match (self.offered_by, seen) {
            (Some(server), _) => format!(
                "{asked}, {server} made an offer but did not confirm it; is it still running?"
            ),
            (None, 0) => format!(
                "{asked}, not one frame of any kind seen on the wire; \
                 is this the right port and VLAN?"
            ),
            (None, seen) => format!(
                "{asked}, {seen} frames seen on the wire but no offer among them; \
                 does a DHCP server or relay serve this network and this hardware address ({})?",
                link.mac
            ),
        })
    }
}
