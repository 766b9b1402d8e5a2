//! Address conflict detection (RFC 5227): probes, announces and defends an address.
//!
//! An [overlapped](Guard::overlapped) guard deviates from the RFC: it probes together with the DHCP REQUEST
//! and is done when the ACK arrives, so that detection takes no extra time. Most hosts answer ARP before a
//! server grants a lease; the answer of a slower one is still detected later.

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::packet::arp::{ArpPacket, Operation};
use crate::packet::ethernet::MacAddress;
use crate::time::{Instant, Random};

// RFC 5227 §1.1.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_NUM: u32 = 3;
const PROBE_MIN: Duration = Duration::from_secs(1);
const PROBE_MAX: Duration = Duration::from_secs(2);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_NUM: u32 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// How long a host on the same network takes for the answer to a probe, with much to spare; one that
/// sleeps takes longer.
const ANSWER_TIME: Duration = Duration::from_millis(10);

/// Conflict detector of one address.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    chaddr: MacAddress,
    address: Ipv4Addr,
    phase: GuardPhase,
    due: VecDeque<ArpPacket>,
    /// The host that has the address.
    owner: Option<MacAddress>,
    /// A host whose claims do not count.
    ignored: Option<MacAddress>,
    probed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum GuardPhase {
    /// A probe goes with each REQUEST.
    Asking,
    Probing {
        sent: u32,
        next_at: Instant,
    },
    /// No answer to the probes was received.
    Clear,
    Announcing {
        sent: u32,
        next_at: Instant,
        defended_at: Option<Instant>,
    },
    Defending {
        defended_at: Option<Instant>,
    },
}

impl Guard {
    /// Returns a guard that probes when [`Guard::probe`] is called.
    pub(super) fn overlapped(chaddr: MacAddress, address: Ipv4Addr) -> Self {
        Self {
            chaddr,
            address,
            phase: GuardPhase::Asking,
            due: VecDeque::new(),
            owner: None,
            ignored: None,
            probed_at: None,
        }
    }

    /// Returns a guard with the timing of RFC 5227 §2.1.1.
    pub(super) fn strict(
        chaddr: MacAddress,
        address: Ipv4Addr,
        now: Instant,
        random: &mut Random,
    ) -> Self {
        // RFC 5227 §2.1.1: machines that are switched on together must not probe at once.
        let next_at = now + random.between(Duration::ZERO, PROBE_WAIT);
        Self {
            phase: GuardPhase::Probing { sent: 0, next_at },
            ..Self::overlapped(chaddr, address)
        }
    }

    /// Probes now.
    pub(super) fn probe(&mut self, now: Instant) {
        self.probed_at = Some(now);
        let packet = ArpPacket::probe(self.chaddr, self.address);
        self.due.push_back(packet);
    }

    /// Announces the address, twice (RFC 5227 §2.3), and defends it from now on.
    pub(super) fn announce(&mut self, now: Instant) {
        self.claim();
        self.phase = GuardPhase::Announcing {
            sent: 1,
            next_at: now + ANNOUNCE_INTERVAL,
            defended_at: None,
        };
    }

    fn claim(&mut self) {
        let packet = ArpPacket::announcement(self.chaddr, self.address);
        self.due.push_back(packet);
    }

    /// Handles a packet; returns the owner of the address if it must be given up.
    pub(super) fn handle_input(&mut self, packet: &ArpPacket, now: Instant) -> Option<MacAddress> {
        // Wireless access points send broadcasts back to their sender.
        if packet.sha == self.chaddr || self.ignored == Some(packet.sha) {
            return None;
        }
        let claims = packet.spa == self.address;
        // Only the answer to a probe is to 0.0.0.0, since a probe has no sender address.
        let answers_probe =
            claims && packet.operation == Operation::Reply && packet.tpa.is_unspecified();
        // RFC 5227 §2.1.1: a probe of another host for the same address is a conflict as well.
        let probes_too = packet.operation == Operation::Request
            && packet.spa.is_unspecified()
            && packet.tpa == self.address;
        match &mut self.phase {
            GuardPhase::Asking | GuardPhase::Probing { .. } | GuardPhase::Clear
                if claims || probes_too =>
            {
                self.owner.get_or_insert(packet.sha);
                self.owner
            }
            GuardPhase::Announcing { .. } if answers_probe => Some(packet.sha),
            GuardPhase::Announcing { defended_at, .. } | GuardPhase::Defending { defended_at }
                if claims =>
            {
                // RFC 5227 §2.4 (b): one defence in 10 s, and then the address is given up.
                let is_again = defended_at.is_some_and(|at| now.since(at) < DEFEND_INTERVAL);
                if is_again {
                    return Some(packet.sha);
                }
                *defended_at = Some(now);
                self.claim();
                None
            }
            GuardPhase::Asking
            | GuardPhase::Probing { .. }
            | GuardPhase::Clear
            | GuardPhase::Announcing { .. }
            | GuardPhase::Defending { .. } => None,
        }
    }

    /// Drives the timers.
    pub(super) fn handle_timeout(&mut self, now: Instant, random: &mut Random) {
        match &mut self.phase {
            GuardPhase::Probing { sent, next_at } if now >= *next_at => {
                if *sent == PROBE_NUM {
                    self.phase = GuardPhase::Clear;
                    return;
                }
                *sent += 1;
                *next_at = now
                    + match *sent {
                        // RFC 5227 §2.1.1: an answer to the last probe may take this long.
                        PROBE_NUM => ANNOUNCE_WAIT,
                        _ => random.between(PROBE_MIN, PROBE_MAX),
                    };
                self.probe(now);
            }
            GuardPhase::Announcing {
                sent,
                next_at,
                defended_at,
            } if now >= *next_at => {
                *sent += 1;
                *next_at = now + ANNOUNCE_INTERVAL;
                if *sent == ANNOUNCE_NUM {
                    let defended_at = *defended_at;
                    self.phase = GuardPhase::Defending { defended_at };
                }
                self.claim();
            }
            GuardPhase::Asking
            | GuardPhase::Probing { .. }
            | GuardPhase::Clear
            | GuardPhase::Announcing { .. }
            | GuardPhase::Defending { .. } => {}
        }
    }

    /// Returns the next packet to be sent.
    pub(super) fn poll_transmit(&mut self) -> Option<ArpPacket> {
        self.due.pop_front()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            GuardPhase::Probing { next_at, .. } | GuardPhase::Announcing { next_at, .. } => {
                Some(next_at)
            }
            GuardPhase::Asking | GuardPhase::Clear | GuardPhase::Defending { .. } => None,
        }
    }

    /// Returns whether all probes were sent without an answer.
    pub(super) const fn is_clear(&self) -> bool {
        matches!(self.phase, GuardPhase::Clear)
    }

    /// Ignores what `host` says about the address.
    pub(super) const fn ignore(&mut self, host: MacAddress) {
        self.ignored = Some(host);
    }

    /// Returns until when an answer to the last probe is to be expected.
    pub(super) fn answered_by(&self) -> Option<Instant> {
        self.probed_at.map(|at| at + ANSWER_TIME)
    }

    /// Returns the host that has the address.
    pub(super) const fn owner(&self) -> Option<MacAddress> {
        self.owner
    }

    pub(super) const fn address(&self) -> Ipv4Addr {
        self.address
    }
}

/// Addresses that one host has claimed, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    owner: Option<MacAddress>,
    addresses: Vec<Ipv4Addr>,
}

/// So many offered addresses in a row belong to one host only if it answers for all (proxy ARP).
const PROXIED: usize = 2;
/// More are not stored.
const MAX_CLAIMS: usize = 16;

impl Claims {
    /// Notes a conflict.
    pub(super) fn add(&mut self, owner: MacAddress, address: Ipv4Addr) {
        if self.owner.replace(owner) != Some(owner) {
            self.addresses.clear();
        }
        if !self.addresses.contains(&address) && self.addresses.len() < MAX_CLAIMS {
            self.addresses.push(address);
        }
    }

    /// Returns whether the last conflicts are those of a host with proxy ARP.
    pub(super) const fn are_by_proxy(&self) -> bool {
        self.addresses.len() >= PROXIED
    }

    /// Returns whether `owner` claims another address, `address`, as such a host.
    pub(super) fn is_by_proxy(&self, owner: MacAddress, address: Ipv4Addr) -> bool {
        // The same address again is that of a host, which a server offers although it was declined.
        self.are_by_proxy() && self.owner == Some(owner) && !self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 2]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

    #[test]
    fn strict_probing_sends_three_probes_and_is_clear_after_four_to_seven_seconds() {
        for seed in 0..100 {
            let (mut random, start) = (Random::new(seed), Instant::from_millis(500));
            let mut guard = Guard::strict(OURS, ADDRESS, start, &mut random);
            let mut probes = 0;
            let mut now = start;
            while !guard.is_clear() {
                now = guard.poll_timeout().unwrap();
                guard.handle_timeout(now, &mut random);
                while let Some(packet) = guard.poll_transmit() {
                    assert_eq!(packet, ArpPacket::probe(OURS, ADDRESS));
                    probes += 1;
                }
            }
            assert_eq!(probes, 3);
            let took = now.since(start).as_millis();
            assert!((4_000..=7_000).contains(&took), "{took} ms");
        }
    }

    #[test]
    fn a_claim_or_a_probe_by_another_host_ends_probing_and_our_own_do_not() {
        let probe = |sha| ArpPacket::probe(sha, ADDRESS);
        let claim = |sha| ArpPacket::announcement(sha, ADDRESS);
        for (packet, owner) in [
            (claim(OTHER), Some(OTHER)),
            (probe(OTHER), Some(OTHER)),
            (answer(), Some(OTHER)),
            (claim(OURS), None),
            (probe(OURS), None),
            (ArpPacket::probe(OTHER, Ipv4Addr::new(192, 0, 2, 7)), None),
            // Somebody who has an address looks for whoever has ours.
            (
                ArpPacket {
                    spa: Ipv4Addr::new(192, 0, 2, 7),
                    ..probe(OTHER)
                },
                None,
            ),
        ] {
            let mut guard = Guard::overlapped(OURS, ADDRESS);
            guard.probe(Instant::ZERO);
            assert_eq!(guard.handle_input(&packet, Instant::ZERO), owner);
            assert_eq!(guard.owner(), owner);
        }
    }

    #[test]
    fn two_announcements_follow_each_other_after_two_seconds() {
        let (mut guard, mut random) = (Guard::overlapped(OURS, ADDRESS), Random::new(1));
        guard.announce(Instant::ZERO);
        let announcement = Some(ArpPacket::announcement(OURS, ADDRESS));
        assert_eq!(guard.poll_transmit(), announcement);
        let later = guard.poll_timeout().unwrap();
        assert_eq!(later.as_millis(), 2_000);
        guard.handle_timeout(later, &mut random);
        assert_eq!(guard.poll_transmit(), announcement);
        assert_eq!((guard.poll_transmit(), guard.poll_timeout()), (None, None));
    }

    #[test]
    fn an_address_is_defended_once_in_ten_seconds_and_then_given_up() {
        let mut guard = announced();
        let claim = ArpPacket::announcement(OTHER, ADDRESS);
        for seconds in [100, 110] {
            let now = Instant::from_millis(seconds * 1_000);
            assert_eq!(guard.handle_input(&claim, now), None);
            let defence = guard.poll_transmit();
            assert_eq!(defence, Some(ArpPacket::announcement(OURS, ADDRESS)));
        }
        let now = Instant::from_millis(119_999);
        assert_eq!(guard.handle_input(&claim, now), Some(OTHER));
    }

    #[test]
    fn a_late_answer_to_the_probe_is_not_fought_and_a_probe_of_another_is_left_to_the_kernel() {
        let mut guard = Guard::overlapped(OURS, ADDRESS);
        guard.announce(Instant::ZERO);
        assert_eq!(guard.handle_input(&answer(), Instant::ZERO), Some(OTHER));
        let probe = ArpPacket::probe(OTHER, ADDRESS);
        assert_eq!(announced().handle_input(&probe, Instant::ZERO), None);
    }

    /// What a host that has the address says to our probe.
    fn answer() -> ArpPacket {
        ArpPacket {
            operation: Operation::Reply,
            sha: OTHER,
            spa: ADDRESS,
            tha: OURS,
            tpa: Ipv4Addr::UNSPECIFIED,
        }
    }

    /// A guard that defends.
    fn announced() -> Guard {
        let (mut guard, mut random) = (Guard::overlapped(OURS, ADDRESS), Random::new(1));
        guard.announce(Instant::ZERO);
        while let Some(now) = guard.poll_timeout() {
            guard.handle_timeout(now, &mut random);
        }
        guard.due.clear();
        guard
    }
}
