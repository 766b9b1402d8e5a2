//! What offered boot services lead to: each is asked on port 4011, as a boot would do it that had
//! an address (PXE 2.1 §2.2.3). That takes one, and nothing is granted by it.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use crate::dhcp::boot_service::{BootSource, Next, PXE_PORT};
use crate::dhcp::client::Transmit;
use crate::dhcp::config::Config;
use crate::dhcp::inquiry::{BootQuestion, Event, Inquiry};
use crate::dhcp::offer::Offer;
use crate::dhcp::reply::Discard;
use crate::packet::ipv4::Datagram;
use crate::packet::ipv4::same_network;
use crate::packet::pxe::{BootItem, MenuItem};
use crate::time::{Instant, Random};

/// How long an answer is waited for, however late the offer: four questions, of both kinds.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any menu offers to choose from; a bound on what a hostile one can make us send.
const MAX_QUESTIONS: usize = 32;

/// Question to a boot service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Who offers it.
    pub service: Ipv4Addr,
    /// The entry of its menu; none where there is no menu.
    pub entry: Option<String>,
    /// Nobody has to choose it.
    pub is_first: bool,
}

/// Unanswered question to a boot service, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Who offers it.
    pub service: Ipv4Addr,
    /// What, and the reason.
    pub what: String,
}

/// The services of one network.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Our addresses and the bits of their networks.
    addresses: Vec<(Ipv4Addr, u8)>,
    open: Vec<(Asked, Inquiry)>,
    /// What has been asked for, and of whom.
    asked: Vec<(Ipv4Addr, Option<BootItem>)>,
    /// How long answers are waited for.
    until: Instant,
    unknown: Vec<Unknown>,
}

impl Services {
    /// Has answers be waited for until `until` at least.
    pub(super) fn new(until: Instant) -> Self {
        Self {
            until,
            ..Self::default()
        }
    }

    pub(super) fn ask_from(&mut self, addresses: Vec<(Ipv4Addr, u8)>) {
        self.addresses = addresses;
    }

    /// Begins to ask for what the service of `boot` leads to, if it has one: for each entry, if that
    /// is a menu. Two machines that take themselves for one server have one service.
    pub(super) fn follow(
        &mut self,
        boot: &BootSource,
        config: &Config,
        random: &mut Random,
        now: Instant,
    ) {
        let (service, entries) = match boot.next() {
            Next::Nothing => return,
            Next::Ask(service) => (service, vec![None]),
            Next::Choose(service) => (service, service.pxe.menu.iter().map(Some).collect()),
        };
        let address = self.address_for(service.server);
        for (place, entry) in entries.into_iter().enumerate() {
            let asked = Asked {
                service: service.server,
                entry: entry.map(|entry| entry.description.clone()),
                is_first: place == 0,
            };
            let item = entry.map(|entry| BootItem {
                kind: entry.kind,
                layer: 0,
            });
            let is_local = item.is_some_and(|item| item.kind == MenuItem::LOCAL_BOOT);
            if is_local || self.asked.contains(&(service.server, item)) {
                continue;
            }
            let Some(address) = address else {
                let all = Asked {
                    entry: None,
                    ..asked
                };
                return self.leave(all, "not asked: the interface has no IPv4 address");
            };
            let mut question = BootQuestion::new(address, service, item);
            // DHCP servers listen on port 67, and to them a REQUEST is about the address.
            question.destinations.retain(|to| to.port() == PXE_PORT);
            if question.destinations.is_empty() {
                self.leave(asked, "not asked: DHCP servers would hear the broadcast");
                continue;
            }
            if self.asked.len() == MAX_QUESTIONS {
                return self.leave(asked, "not asked: there are too many");
            }
            let config = Config {
                // With a seed of its own each question has an xid of its own, which tells the
                // answers apart.
                seed: random.next_u64(),
                ..config.clone()
            };
            self.asked.push((service.server, item));
            self.open.push((asked, Inquiry::new(config, question, now)));
            // One end for all: with two, a survey that had nothing left to wait for ran in circles.
            self.until = self.until.max(now + PATIENCE);
        }
    }

    fn leave(&mut self, asked: Asked, why: &str) {
        let entry = asked
            .entry
            .map_or_else(String::new, |entry| format!("\"{entry}\" "));
        let unknown = Unknown {
            service: asked.service,
            what: format!("{entry}on port {PXE_PORT}: {why}"),
        };
        if !self.unknown.contains(&unknown) {
            self.unknown.push(unknown);
        }
    }

    /// Handles a datagram that may be an answer; returns the question and the answer.
    ///
    /// # Errors
    /// The reason to ignore it; `otherwise` when it belongs to none of the questions.
    pub(super) fn handle_input(
        &mut self,
        datagram: &Datagram<'_>,
        otherwise: Discard,
        now: Instant,
    ) -> Result<(Asked, Box<Offer>), Discard> {
        let open = self.open.iter_mut().enumerate();
        let mut results =
            open.map(|(place, (_, inquiry))| (place, inquiry.handle_input(*datagram, now)));
        let (place, result) = results
            .find(|(_, result)| !matches!(result, Err(Discard::WrongXid(_))))
            .ok_or_else(|| otherwise.clone())?;
        result?;
        let (asked, mut inquiry) = self.open.swap_remove(place);
        match inquiry.poll_event() {
            Some(Event::Answered(offer)) => Ok((asked, offer)),
            Some(Event::Unanswered) | None => Err(otherwise),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for (_, inquiry) in &mut self.open {
            inquiry.handle_timeout(now);
        }
    }

    pub(super) fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let mut open = self.open.iter_mut();
        open.find_map(|(_, inquiry)| inquiry.poll_transmit(buf))
    }

    /// Returns when the last answer is no longer waited for, or something is to be sent before; none
    /// when there is no question left.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let open = self.open.iter();
        let next = open.filter_map(|(_, inquiry)| inquiry.poll_timeout()).min();
        next.map(|at| at.min(self.until))
    }

    /// Returns whether all is answered, or has been waited for long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.open.is_empty() || now >= self.until
    }

    /// Ends the wait, and returns what is not known of the services.
    pub(super) fn end(&mut self) -> Vec<Unknown> {
        for (asked, _) in core::mem::take(&mut self.open) {
            self.leave(asked, "no answer");
        }
        core::mem::take(&mut self.unknown)
    }

    /// Returns our address on the network of `server`, or else the first.
    fn address_for(&self, server: Ipv4Addr) -> Option<Ipv4Addr> {
        let is_near =
            |(address, prefix_len): &&(Ipv4Addr, u8)| same_network(*address, server, *prefix_len);
        let near = self.addresses.iter().find(is_near);
        near.or(self.addresses.first()).map(|(address, _)| *address)
    }
}

#[cfg(test)]
mod tests;
