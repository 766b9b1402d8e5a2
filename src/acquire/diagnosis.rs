//! Reasons why there is no lease on an interface, for the error message.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::Error;
use crate::link::{Link, Watch};
use wireboot_proto::dhcp::Discard;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::time::Seconds;

/// Facts about the servers so far.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// Number of DISCOVERs, or of INFORMs.
    pub(super) asked: u32,
    /// INFORMs were sent.
    is_inform: bool,
    pub(super) offered_by: Option<Ipv4Addr>,
    pub(super) discards: Discards,
    /// Reason why the last address was refused.
    pub(super) refusal: Option<String>,
    /// Server that leaves this network to IPv6.
    pub(super) ipv6_only: Option<Ipv4Addr>,
    /// Last event of the switch port.
    pub(super) switch_port: Option<String>,
    /// Frames that had been counted when it began.
    pub(super) received_before: Option<u64>,
}

impl Diagnosis {
    /// Counts a message that is sent to find a server.
    pub(super) fn count(&mut self, message_type: MessageType) {
        let is_inform = message_type == MessageType::Inform;
        self.is_inform |= is_inform;
        self.asked += u32::from(is_inform || message_type == MessageType::Discover);
    }

    /// Says why there is no lease on `link` after `waited`, `received` frames being counted now.
    pub(super) fn failure(
        &self,
        link: &Link,
        waited: Duration,
        received: Option<u64>,
        strays: Option<String>,
    ) -> Error {
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
        self.nobody(link, "lease", waited, received, strays)
    }

    /// Returns the error of an interface on which nothing `wanted` was received, with its likely reason.
    pub(super) fn nobody(
        &self,
        link: &Link,
        wanted: &str,
        waited: Duration,
        received: Option<u64>,
        strays: Option<String>,
    ) -> Error {
        let name = &link.name;
        let seconds = Seconds(waited);
        let sent = self.asked;
        let kind = if self.is_inform { "INFORM" } else { "DISCOVER" };
        let seen = match (self.received_before, received) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let asked = format!("{name}: no {wanted} in {seconds:.1} s; {sent} {kind}s sent");
        let discards = &self.discards;
        // Where replies arrive, the switch port is not what holds them up.
        let reason = strays.as_ref().or(self.switch_port.as_ref());
        if let (None, true, Some(reason)) = (self.offered_by, discards.is_empty(), reason) {
            return Error::NoOffer(format!("{asked}; {reason}"));
        }
        Error::NoOffer(match (self.offered_by, seen) {
            (Some(server), _) if !discards.is_empty() => {
                format!("{asked}, {server} made an offer; {discards}")
            }
            (None, _) if !discards.is_empty() => format!("{asked}, {discards}"),
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

/// More servers than answer one client on any network; a bound on what others can make us keep.
const MAX_SOURCES: usize = 8;

/// The replies to us that were discarded: how many of each sender, and why the last of them was.
#[derive(Debug, Default)]
pub(super) struct Discards(Vec<(Ipv4Addr, u32, Discard)>);

impl Discards {
    /// Logs that a reply was discarded, and counts it unless that is usual.
    pub(super) fn note(&mut self, interface: &str, source: Ipv4Addr, why: Discard) {
        log::debug!("{interface}: a reply of {source} was discarded: {why}");
        // Offers come twice where a relay and a server share a network, which says nothing about a
        // fault.
        if why.is_usual() {
            return;
        }
        let known = self.0.iter_mut().find(|(known, ..)| *known == source);
        if let Some((_, count, last)) = known {
            *count += 1;
            *last = why;
        } else if self.0.len() < MAX_SOURCES {
            self.0.push((source, 1, why));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (source, count, why)) in self.0.iter().enumerate() {
            let separator = if place > 0 { "; " } else { "" };
            let answers = if *count == 1 { "answer" } else { "answers" };
            let were = if *count == 1 { "was" } else { "were" };
            write!(
                f,
                "{separator}{count} {answers} of {source} {were} discarded: {why}"
            )?;
        }
        Ok(())
    }
}

/// Returns how many frames each interface, by its number, has received.
pub(super) fn received_now() -> Vec<(u32, u64)> {
    let mut received = Vec::new();
    if let Ok(mut watch) = Watch::open() {
        while let Ok(Some(change)) = watch.next_change() {
            received.push((change.link.index, change.link.received));
        }
    }
    received
}

/// Returns what was counted last for an interface.
pub(super) fn received_on(link: &Link, received: &[(u32, u64)]) -> Option<u64> {
    // Notifications during the dump are in it too, so that the last count is the newest.
    let mut received = received.iter().rev();
    let (_, count) = received.find(|(index, _)| *index == link.index)?;
    Some(*count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_replies_are_counted_by_sender_with_the_last_reason() {
        let mut discards = Discards::default();
        assert_eq!(
            (discards.is_empty(), discards.to_string()),
            (true, String::new())
        );
        let [one, other] = [1, 2].map(|host| Ipv4Addr::new(192, 0, 2, host));
        discards.note("near", one, Discard::Unexpected(MessageType::Offer));
        discards.note("near", one, Discard::Repeated(one));
        assert!(discards.is_empty());
        discards.note("near", one, Discard::NoMessageType);
        assert_eq!(
            discards.to_string(),
            "1 answer of 192.0.2.1 was discarded: no DHCP message type"
        );
        discards.note("near", other, Discard::WrongXid(7));
        discards.note("near", one, Discard::NoServerIdentifier);
        assert_eq!(
            discards.to_string(),
            "2 answers of 192.0.2.1 were discarded: no server identifier; \
             1 answer of 192.0.2.2 was discarded: xid 0x00000007 is not ours"
        );
        for source in 0..100 {
            discards.note("near", Ipv4Addr::from_bits(source), Discard::NoAnswer);
        }
        assert_eq!(discards.0.len(), MAX_SOURCES);
    }
}
