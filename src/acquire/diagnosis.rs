//! Reasons why there is no lease on an interface, for the error message.

use std::fmt;
use std::mem::discriminant;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::listener::KINDS;
use crate::error::{Error, Reason};
use crate::link::{Change, Link, Presence, Watch};
use wireboot_proto::dhcp::Discard;
use wireboot_proto::dhcp::offer::Offer;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::packet::icmpv6::RouterAdvertisement;
use wireboot_proto::switch::SwitchEvent;
use wireboot_proto::time::Seconds;

/// Progress of an interface on the way to a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeaseProgress {
    Silence,
    /// Routers or the switch were heard.
    Heard,
    /// There were answers, but no usable offer.
    Answered,
    Offered,
    Refused,
}

/// The error of the interface that got furthest.
#[derive(Debug, Default)]
pub(super) struct Furthest(Option<(LeaseProgress, Error)>);

impl Furthest {
    /// Adds the error of an interface; of two, the one that is of less use is logged.
    pub(super) fn add(&mut self, progress: LeaseProgress, error: Error) {
        let less = match self.0.take() {
            Some(best) if best.0 > progress => {
                self.0 = Some(best);
                Some(error)
            }
            other => {
                self.0 = Some((progress, error));
                other.map(|(_, error)| error)
            }
        };
        if let Some(error) = less {
            log::error!("{}", error.chain());
        }
    }

    /// Returns the error, or that there was no interface.
    pub(super) fn end(self, nothing: &str) -> Error {
        let nothing = || Box::new(Reason::NoOffer(nothing.to_owned()));
        self.0.map_or_else(nothing, |(_, error)| error)
    }
}

/// More routers, and servers and faults of each, than any network has; a bound on what others can make us
/// keep.
const MAX_NOTED: usize = 8;
/// As many of them are named.
const MAX_NAMED: usize = 3;

/// Facts about the servers so far.
#[derive(Debug, Default)]
pub(super) struct Diagnosis {
    /// Number of DISCOVERs, or of INFORMs.
    pub(super) asked: u32,
    /// INFORMs were sent.
    is_inform: bool,
    /// The last offer: the address and its server.
    offered: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The offer that was requested last.
    pub(super) requested: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The last ProxyDHCP server.
    proxy: Option<Ipv4Addr>,
    pub(super) discards: Discards,
    /// Frames of some kinds that were received.
    pub(super) kinds: Kinds,
    /// Reason why the last address was refused.
    pub(super) refusal: Option<String>,
    /// Server that leaves this network to IPv6.
    pub(super) ipv6_only: Option<Ipv4Addr>,
    /// IPv6 routers.
    routers: Vec<RouterAdvertisement>,
    /// IPv6 is asked for, too.
    pub(super) is_with_ipv6: bool,
    /// Why the switch port forwards nothing.
    switch_port: Option<SwitchEvent>,
    /// Which switch and port that is.
    pub(super) neighbour: Option<SwitchEvent>,
    /// Whether there is a carrier now.
    has_carrier: bool,
    /// Whether the interface does not exist now.
    is_removed: bool,
    /// Identifiers of the VLANs whose tags were seen on the wire.
    pub(super) vlans: Vec<u16>,
    /// Frames that had been counted when it began.
    received_before: Option<u64>,
}

impl Diagnosis {
    /// Counts a message that is sent to find a server.
    pub(super) fn count(&mut self, message_type: MessageType) {
        let is_inform = message_type == MessageType::Inform;
        self.is_inform |= is_inform;
        self.asked += u32::from(is_inform || message_type == MessageType::Discover);
    }

    /// Notes a change of the interface.
    pub(super) fn note_link(&mut self, change: &Change, presence: Presence) {
        self.has_carrier = change.link.carrier && !change.gone;
        self.is_removed = presence == Presence::Removed;
        if presence == Presence::Returned {
            // It counts from 0 again.
            self.received_before = None;
        }
        self.received_before.get_or_insert(change.link.received);
    }

    /// Notes an offer.
    pub(super) fn note_offer(&mut self, offer: &Offer) {
        if offer.is_proxy() {
            self.proxy = Some(offer.server);
        } else {
            self.offered = Some((offer.address, offer.server));
        }
    }

    /// Notes an IPv6 router.
    pub(super) fn note_router(&mut self, interface: &str, router: RouterAdvertisement) {
        if !self.routers.contains(&router) && self.routers.len() < MAX_NOTED {
            log::debug!("{interface}: IPv6 router {router}");
            self.routers.push(router);
        }
    }

    /// Notes what the switch says of its port.
    pub(super) fn note_switch(&mut self, event: SwitchEvent) {
        match event {
            SwitchEvent::Neighbour { .. } => self.neighbour = Some(event),
            // No reason for silence any longer.
            SwitchEvent::Forwarding | SwitchEvent::LacpUp => self.switch_port = None,
            SwitchEvent::Blocked { .. } | SwitchEvent::LacpDown | SwitchEvent::Authentication => {
                self.switch_port = Some(event);
            }
        }
    }

    pub(super) const fn progress(&self) -> LeaseProgress {
        if self.refusal.is_some() {
            LeaseProgress::Refused
        } else if self.offered.is_some() || self.ipv6_only.is_some() {
            LeaseProgress::Offered
        } else if self.proxy.is_some() || !self.discards.is_empty() {
            LeaseProgress::Answered
        } else if !self.routers.is_empty() || self.switch_port.is_some() {
            LeaseProgress::Heard
        } else {
            LeaseProgress::Silence
        }
    }

    /// Says why there is no lease on `link` after `waited`, `received` frames being counted now.
    pub(super) fn failure(&self, link: &Link, waited: Duration, received: Option<u64>) -> Error {
        if let Some(refusal) = &self.refusal {
            return Box::new(Reason::Refused(refusal.clone()));
        }
        let name = &link.name;
        if let Some(server) = self.ipv6_only {
            return Box::new(Reason::NoOffer(format!(
                "{name}: {server} says that this network is for IPv6; ask without option 108 \
                 to have an IPv4 address all the same"
            )));
        }
        self.nobody(link, "lease", waited, received)
    }

    /// Returns the error of an interface on which nothing `wanted` was received, with its likely reason.
    pub(super) fn nobody(
        &self,
        link: &Link,
        wanted: &str,
        waited: Duration,
        received: Option<u64>,
    ) -> Error {
        let name = &link.name;
        let seconds = Seconds(waited);
        let sent = self.sent();
        let reason = self.reason(link, received);
        let place = self.neighbour.as_ref();
        let place = place.map_or_else(String::new, |place| format!("; {place}"));
        Box::new(Reason::NoOffer(format!(
            "{name}: no {wanted} in {seconds:.1} s; {sent}{reason}{place}"
        )))
    }

    /// Returns which VLANs are on the wire, if any.
    fn tags(&self) -> Option<String> {
        if !cfg!(feature = "bond") || self.vlans.is_empty() {
            return None;
        }
        let vlans: Vec<_> = self.vlans.iter().map(ToString::to_string).collect();
        let vlans = vlans.join(",");
        Some(format!(
            " without a tag, where frames of VLAN {vlans} are seen (try them with \
             vlan=try:{vlans}); is this the right port, and is its untagged VLAN the right one?"
        ))
    }

    /// Says how the interface `name` stands while it has no lease.
    pub(super) fn waiting(&self, name: &str, left: Duration, received: Option<u64>) -> String {
        let left = Seconds(left);
        if self.is_removed || !self.has_carrier {
            return format!("{name}: no carrier; {left:.0} s left");
        }
        let is_answered = self.progress() >= LeaseProgress::Answered;
        let wanted = if is_answered { "lease" } else { "answer" };
        let sent = self.sent();
        // What matters most comes first: a narrow terminal cuts the rest off.
        let mut text = format!("{name}: no {wanted} yet, {left:.0} s left: {sent}");
        if let Some(refusal) = &self.refusal {
            text += &format!("; {refusal}");
        } else if !self.discards.is_empty() {
            text += &format!("; {}", self.discards);
        } else if let Some(event) = &self.switch_port {
            text += &format!("; {event}");
        } else {
            text += &format!("; frames seen: {}{}", self.seen(received), self.kinds);
        }
        text
    }

    /// Returns what has been sent to find a server.
    fn sent(&self) -> String {
        let kind = if self.is_inform { "INFORM" } else { "DISCOVER" };
        let (count, plural) = (self.asked, if self.asked == 1 { "" } else { "s" });
        format!("{count} {kind}{plural} sent")
    }

    /// Returns how many frames were received since it began, `received` being counted now.
    fn seen(&self, received: Option<u64>) -> u64 {
        let (Some(before), Some(now)) = (self.received_before, received) else {
            return 0;
        };
        // The counter may have begun anew.
        now.saturating_sub(before)
    }

    /// Returns the likely reason, from what proves most to what proves least.
    fn reason(&self, link: &Link, received: Option<u64>) -> String {
        let discards = &self.discards;
        if let Some((address, server)) = self.requested {
            let offered = format!("; {server} offered {address} and did not confirm it; ");
            return if discards.is_empty() {
                offered + "is it still running?"
            } else {
                offered + &discards.to_string()
            };
        }
        if let Some((address, server)) = self.offered {
            return format!(
                "; {server} offered {address}, and a better offer was waited for until the end; \
                 wait longer (--timeout), or less for others (--proxy-wait)"
            );
        }
        if !discards.is_empty() {
            return format!("; {discards}; correct that on the server or relay");
        }
        if let Some(proxy) = self.proxy {
            return format!(
                "; only the ProxyDHCP server {proxy} answered, which gives no addresses; \
                 does the DHCP server run?"
            );
        }
        if self.is_removed {
            return "; the interface was removed and did not return".to_owned();
        }
        if !self.has_carrier {
            return "; the carrier was lost; is the cable in?".to_owned();
        }
        if !self.routers.is_empty() {
            let routers = self.routers.iter().take(MAX_NAMED);
            let routers: Vec<_> = routers.map(ToString::to_string).collect();
            let routers = routers.join(", ");
            let mut text =
                format!("; no DHCPv4 server answered; routers of IPv6 are here: {routers}");
            if !self.is_with_ipv6 {
                text.push_str("; try --family 6");
            }
            return text;
        }
        if let Some(event) = &self.switch_port {
            return format!("; {event}; {}", event.advice());
        }
        if let Some(tags) = self.tags() {
            return tags;
        }
        let seen = self.seen(received);
        if seen == 0 {
            return ", not one frame of any kind seen on the wire; is this the right port and VLAN?"
                .to_owned();
        }
        format!(
            ", {seen} frames seen on the wire but no offer among them; does a DHCP server or relay \
             serve this network and this hardware address ({})?",
            link.mac
        )
    }
}

/// Counts of the received frames of each of [`KINDS`].
#[derive(Debug, Default)]
pub(super) struct Kinds([u32; KINDS.len()]);

impl Kinds {
    /// Adds what was counted since the last time.
    pub(super) fn add(&mut self, counts: [u32; KINDS.len()]) {
        for (sum, count) in self.0.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count);
        }
    }
}

impl fmt::Display for Kinds {
    /// Writes those that there were in brackets, if any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = " (";
        for ((name, _), count) in KINDS.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            write!(f, "{before}{name} {count}")?;
            before = ", ";
        }
        f.write_str(if before == ", " { ")" } else { "" })
    }
}

/// Replies to us that were discarded: how many of each sender for each kind of fault, and the last fault
/// of that kind.
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
        let is_known = |(known, _, last): &&mut (Ipv4Addr, u32, Discard)| {
            *known == source && discriminant(last) == discriminant(&why)
        };
        if let Some((_, count, last)) = self.0.iter_mut().find(is_known) {
            *count += 1;
            *last = why;
        } else if self.0.len() < MAX_NOTED {
            self.0.push((source, 1, why));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Discards {
    /// Writes the most frequent ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each place in turn, which is less code than a sort.
        let mut rest: Vec<_> = self.0.iter().collect();
        for place in 0..MAX_NAMED.min(rest.len()) {
            let count = rest.iter().map(|(_, count, _)| *count).max();
            let most = rest.iter().position(|(_, it, _)| Some(*it) == count);
            // `rest` is not empty, so that there is one.
            let (source, count, why) = rest.remove(most.unwrap_or_default());
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
    let (_, count) = received.find(|(index, _)| *index == link.index())?;
    Some(*count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_replies_are_counted_by_sender_and_fault_and_the_most_frequent_are_named() {
        let mut discards = Discards::default();
        assert_eq!(
            (discards.is_empty(), discards.to_string()),
            (true, String::new())
        );
        let [one, other] = [1, 2].map(|host| Ipv4Addr::new(192, 0, 2, host));
        discards.note("near", one, Discard::Unexpected(MessageType::Offer));
        discards.note("near", one, Discard::Repeated(one));
        assert!(discards.is_empty());
        discards.note("near", one, Discard::UnknownMessageType);
        assert_eq!(
            discards.to_string(),
            "1 answer of 192.0.2.1 was discarded: its DHCP message type (option 53) is unknown"
        );
        discards.note("near", other, Discard::WrongXid(6));
        discards.note("near", one, Discard::NoServerIdentifier);
        discards.note("near", other, Discard::WrongXid(7));
        discards.note("near", one, Discard::NotAReply);
        for _ in 0..2 {
            discards.note("near", one, Discard::NoServerIdentifier);
        }
        assert_eq!(
            discards.to_string(),
            "3 answers of 192.0.2.1 were discarded: no server identifier; \
             2 answers of 192.0.2.2 were discarded: xid 0x00000007 is not ours; \
             1 answer of 192.0.2.1 was discarded: its DHCP message type (option 53) is unknown"
        );
        for source in 0..100 {
            discards.note("near", Ipv4Addr::from_bits(source), Discard::NoAnswer);
        }
        assert_eq!(discards.0.len(), MAX_NOTED);
    }
}
