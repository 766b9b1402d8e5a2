//! Duplicate address detection by messages of our own (RFC 4862 §5.4), beside the use of the address.

use crate::prelude::*;
use core::net::Ipv6Addr;
use core::time::Duration;

use crate::packet::ethernet::MacAddress;
use crate::packet::icmpv6::{NeighborMessage, address_probe};
use crate::time::{Instant, Random};

/// How long an answer may take (RetransTimer of RFC 4861 §10).
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Probes for the addresses of an interface.
#[derive(Debug)]
pub struct AddressProbes {
    mac: MacAddress,
    probed: Vec<Probe>,
    due: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Probe {
    address: Ipv6Addr,
    nonce: [u8; 6],
    until: Instant,
}

impl AddressProbes {
    /// Returns none yet.
    pub const fn new(mac: MacAddress) -> Self {
        Self {
            mac,
            probed: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Asks once whether somebody has `address`, unless that has been asked.
    pub fn add(&mut self, address: Ipv6Addr, now: Instant, random: &mut Random) {
        if self.probed.iter().any(|probe| probe.address == address) {
            return;
        }
        let [nonce @ .., _, _] = random.next_u64().to_be_bytes();
        self.due.push(address_probe(self.mac, address, nonce));
        self.probed.push(Probe {
            address,
            nonce,
            until: now + ANSWER_TIME,
        });
    }

    /// Asks again what may not have been sent.
    pub fn ask_again(&mut self, now: Instant) {
        for probe in &mut self.probed {
            if now < probe.until {
                probe.until = now + ANSWER_TIME;
                self.due
                    .push(address_probe(self.mac, probe.address, probe.nonce));
            }
        }
    }

    /// Asks again the next time that the address is added.
    pub fn forget(&mut self, address: Ipv6Addr) {
        self.probed.retain(|probe| probe.address != address);
    }

    /// Returns the probed address that another host has, by a message from `source`.
    pub fn handle_input(
        &self,
        source: Ipv6Addr,
        message: NeighborMessage,
        now: Instant,
    ) -> Option<Ipv6Addr> {
        let mut probed = self.probed.iter();
        let probe = probed.find(|probe| probe.address == message.target && now < probe.until)?;
        // Who asks with an address of its own wants to reach it; who has none probes for it, too. The
        // nonce shows a message of ours that the network sends back (RFC 7527 §4.2).
        let is_rival = !message.is_solicitation
            || (source.is_unspecified() && message.nonce != Some(probe.nonce));
        is_rival.then_some(probe.address)
    }

    /// Returns the next frame to be sent.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.due.pop()
    }

    /// Returns until when somebody may answer.
    pub fn answered_by(&self) -> Option<Instant> {
        self.probed.iter().map(|probe| probe.until).max()
    }

    /// Returns whether nobody has answered in time for `address`.
    pub fn is_clear(&self, address: Ipv6Addr, now: Instant) -> bool {
        let mut probed = self.probed.iter();
        probed.any(|probe| probe.address == address && now >= probe.until)
    }
}
