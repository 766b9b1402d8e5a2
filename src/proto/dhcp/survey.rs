//! Collects the offers of all servers and accepts none: the answers to DISCOVERs, and those of offered
//! boot services if the interface has an address.
//!
//! The five verbs are those of [`super::Client`].

mod answer;
mod service;

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::client::Transmit;
use super::config::Config;
use super::message::{self, Exchange};
use super::offer::Offer;
use super::reply::{self, Discard};
use super::resend::Resend;
use crate::packet::dhcp::MessageType;
use crate::packet::ethernet::MacAddress;
use crate::packet::ipv4::Datagram;
use crate::time::{Instant, Random};
use service::Services;

pub use answer::{OfferVerdict, SurveyAnswer, suspicions, verdicts};
pub use service::{Asked, Unknown};

/// Maximum number of answers stored, more than any network has servers.
const MAX_ANSWERS: usize = 256;

/// The survey of the servers on one interface.
#[derive(Debug)]
pub struct Survey {
    config: Config,
    random: Random,
    xid: u32,
    began_at: Instant,
    until: Instant,
    now: Instant,
    resend: Resend,
    /// Servers that have answered.
    known: Vec<(Ipv4Addr, MacAddress, Option<Ipv4Addr>, bool)>,
    services: Services,
    answers: VecDeque<SurveyAnswer>,
}

impl Survey {
    /// Begins a survey that ends after `wait`.
    pub fn new(config: Config, wait: Duration, now: Instant) -> Self {
        let mut random = Random::new(config.seed);
        Self {
            xid: random.next_u32(),
            random,
            config,
            began_at: now,
            until: now + wait,
            now,
            resend: Resend::new(now),
            known: Vec::new(),
            services: Services::new(now + wait),
            answers: VecDeque::new(),
        }
    }

    /// Also queries offered boot services, from one of `addresses`, those of the interface, each with its
    /// prefix length.
    pub fn ask_services_from(&mut self, addresses: Vec<(Ipv4Addr, u8)>) {
        self.services.ask_from(addresses);
    }

    /// Handles a new carrier: the DISCOVER is repeated at once.
    pub const fn link_up(&mut self, now: Instant) {
        self.now = now;
        self.resend.restart(now);
    }

    /// Handles a datagram to port 68 in a frame of `sender`.
    ///
    /// # Errors
    /// The reason to ignore it. A server that has answered before is [`Discard::Repeated`].
    pub fn handle_input(
        &mut self,
        datagram: &Datagram<'_>,
        sender: MacAddress,
        now: Instant,
    ) -> Result<(), Discard> {
        self.now = now;
        let answer = |offer, relay, asked| SurveyAnswer {
            offer,
            asked,
            source: datagram.source,
            sender,
            relay,
            at: now,
            after: now.since(self.began_at),
        };
        let reply = match reply::read(datagram, self.xid, &self.config) {
            // Each question to a boot service has a xid of its own, which its answer carries.
            Err(discard @ Discard::WrongXid(_)) => {
                let (asked, offer) = self.services.handle_input(datagram, discard, now)?;
                if asked.entry.is_none() {
                    self.services
                        .follow(&offer.boot, &self.config, &mut self.random, now);
                }
                self.answers.push_back(answer(*offer, None, Some(asked)));
                return Ok(());
            }
            reply => reply?,
        };
        if reply.message_type != MessageType::Offer || !self.is_collecting() {
            return Err(Discard::Unexpected(reply.message_type));
        }
        let server = reply.server_or(None)?;
        let relay = Some(reply.message.giaddr).filter(|relay| !relay.is_unspecified());
        let offer = Offer::read(reply.message, server, reply.source);
        // With the sender, to find two machines with one server identifier.
        let who = (server, sender, relay, offer.is_proxy());
        if self.known.contains(&who) || self.known.len() >= MAX_ANSWERS {
            return Err(Discard::Repeated(server));
        }
        self.known.push(who);
        self.services
            .follow(&offer.boot, &self.config, &mut self.random, now);
        self.answers.push_back(answer(offer, relay, None));
        Ok(())
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.is_collecting() {
            self.resend.handle_timeout(now);
        }
        self.services.handle_timeout(now);
    }

    /// Writes the next message to be sent to `buf`, replacing its content.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.is_over() {
            return None;
        }
        let broadcast =
            self.config.broadcast || (self.known.is_empty() && self.resend.lacks_answer());
        if !self.is_collecting() || !self.resend.take(self.now, &mut self.random) {
            return self.services.poll_transmit(buf);
        }
        let exchange = Exchange {
            broadcast,
            ..Exchange::new(self.xid, self.began_at, self.now)
        };
        let message = message::discover(&self.config, exchange);
        buf.clear();
        // All fields are from this client and short, so that encoding cannot fail.
        message.encode(buf).ok()?;
        Some(Transmit::broadcast(MessageType::Discover))
    }

    /// Returns the answers received, one at a time, each server's once.
    pub fn poll_event(&mut self) -> Option<SurveyAnswer> {
        self.answers.pop_front()
    }

    /// Returns when [`Survey::handle_timeout`] must be called; none after the end.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let collecting = self
            .is_collecting()
            .then(|| self.resend.next_at().min(self.until));
        let asking = self.services.poll_timeout();
        let timeouts = [collecting, asking].into_iter().flatten();
        timeouts.min().filter(|_| !self.is_over())
    }

    /// Returns the transaction number, which answers must carry.
    pub const fn xid(&self) -> u32 {
        self.xid
    }

    /// Returns whether the survey has ended.
    pub fn is_over(&self) -> bool {
        !self.is_collecting() && self.services.is_over(self.now)
    }

    /// Ends the survey; returns the offered services without an answer.
    pub fn end(&mut self) -> Vec<Unknown> {
        self.until = self.now;
        self.services.end()
    }

    /// Returns the sender of the frame with the offer of `server`.
    pub fn next_hop(&self, server: Ipv4Addr) -> Option<MacAddress> {
        let mut known = self.known.iter();
        let (_, sender, ..) = known.find(|(known, ..)| *known == server)?;
        Some(*sender)
    }

    fn is_collecting(&self) -> bool {
        self.now < self.until
    }
}

#[cfg(test)]
mod tests;
