//! One interface's try for a lease: client, listener, and what to tell when nothing comes of it.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::listener::Listener;
use crate::dhcp::config::Config as ClientConfig;
use crate::dhcp::lease::Lease;
use crate::dhcp::{Client, Event, Loss, Transmit};
use crate::error::Error;
use crate::link::Link;
use crate::sys;
use crate::time::Instant;
use crate::wire::dhcp::MessageType;
use crate::wire::ethernet::MacAddress;
use crate::wire::frame;
use crate::wire::udp::Datagram;

pub(super) struct Attempt<'a> {
    pub(super) link: &'a Link,
    config: ClientConfig,
    listener: Listener,
    /// Exists from the first carrier on.
    client: Option<Client>,
    has_carrier: bool,
    discovers: u32,
    offered_by: Option<Ipv4Addr>,
    refusal: Option<String>,
    received_before: Option<u64>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(link: &'a Link, config: ClientConfig) -> Result<Self, Error> {
        let listener = Listener::open(link).map_err(|source| Error::Configure {
            interface: link.name.clone(),
            what: "up a packet socket (it takes CAP_NET_RAW)".to_owned(),
            source,
        })?;
        Ok(Self {
            link,
            config,
            listener,
            client: None,
            has_carrier: false,
            discovers: 0,
            offered_by: None,
            refusal: None,
            received_before: None,
        })
    }

    /// Takes notice of the interface's state, `received` frames being counted on it.
    pub(super) fn handle_carrier(&mut self, carrier: bool, received: u64, now: Instant) {
        self.received_before.get_or_insert(received);
        if carrier && !self.has_carrier {
            log::debug!("{}: carrier", self.link.name);
            match &mut self.client {
                Some(client) => client.link_up(now),
                None => self.client = Some(Client::new(self.config.clone(), now)),
            }
        } else if !carrier && self.has_carrier {
            log::warn!("{}: the carrier is gone", self.link.name);
        }
        self.has_carrier = carrier;
    }

    /// Takes what has arrived; returns the lease once there is one.
    pub(super) fn handle_input(&mut self, now: Instant) -> Result<Option<Lease>, Error> {
        let Some(client) = &mut self.client else {
            return Ok(None);
        };
        let name = &self.link.name;
        let mut lease = None;
        let mut events = Vec::new();
        let (listener, link) = (&mut self.listener, self.link);
        let mut outgoing = Vec::new();
        listener
            .receive(|octets, metadata| {
                let datagram = match frame::decode(octets, metadata.checksum_ready) {
                    Ok((_, datagram)) => datagram,
                    Err(error) => return log::debug!("{name}: a frame was discarded: {error}"),
                };
                let source = datagram.source;
                if let Err(discard) = client.handle_input(datagram, now) {
                    log::debug!("{name}: a reply of {source} was discarded: {discard}");
                }
                outgoing.extend(transmits(client, link.mac));
                events.extend(std::iter::from_fn(|| client.poll_event()));
            })
            .map_err(|source| Error::System {
                doing: format!("cannot read from {}", link.name),
                source,
            })?;
        for (transmit, frame) in outgoing {
            self.send(transmit, &frame);
        }
        for event in events {
            lease = self.handle_event(event).or(lease);
        }
        Ok(lease)
    }

    /// Takes notice of the time, and sends what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if !self.has_carrier {
            return;
        }
        let Some(client) = &mut self.client else {
            return;
        };
        client.handle_timeout(now);
        for (transmit, frame) in transmits(client, self.link.mac) {
            self.send(transmit, &frame);
        }
        while let Some(event) = self.client.as_mut().and_then(Client::poll_event) {
            self.handle_event(event);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let client = self.client.as_ref().filter(|_| self.has_carrier)?;
        client.poll_timeout()
    }

    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.listener.source()
    }

    /// Returns whether there has been a carrier.
    pub(super) const fn has_begun(&self) -> bool {
        self.client.is_some()
    }

    fn send(&mut self, transmit: Transmit, frame: &[u8]) {
        let name = &self.link.name;
        log::debug!(
            "{name}: {:?} to {}",
            transmit.message_type,
            transmit.destination
        );
        if transmit.message_type == MessageType::Discover {
            self.discovers += 1;
        }
        // It will be sent again; an interface that just went down is no reason to give up.
        if let Err(error) = self.listener.send(frame) {
            log::warn!("{name}: {error}: {}", error.source);
        }
    }

    fn handle_event(&mut self, event: Event) -> Option<Lease> {
        let name = &self.link.name;
        match event {
            Event::Entered(state) => log::debug!("{name}: {state:?}"),
            Event::Offered(offer) => {
                let lease = &offer.lease;
                log::debug!("{name}: {} offers {}", lease.server, lease.address);
                self.offered_by = Some(lease.server);
            }
            Event::Bound(lease) => {
                for (code, why) in &lease.ignored {
                    log::warn!("{name}: option {code} of {} {why}; ignored", lease.server);
                }
                return Some(*lease);
            }
            Event::Ipv6Only { server, wait } => {
                let seconds = wait.as_secs();
                log::warn!(
                    "{name}: {server} says that this network is for IPv6; IPv4 is left alone for {seconds} s"
                );
            }
            Event::Failed(loss) | Event::Lost(loss) => self.handle_loss(loss),
        }
        None
    }

    fn handle_loss(&mut self, loss: Loss) {
        let name = &self.link.name;
        match loss {
            Loss::Refused { server, reason } => {
                let reason = reason.unwrap_or_else(|| "without a reason".to_owned());
                let text = format!("{name}: {server} refused the address it offered: {reason}");
                log::warn!("{text}");
                self.refusal = Some(text);
            }
            Loss::Unanswered { server } => {
                log::warn!("{name}: {server} does not answer requests for what it offered");
            }
            Loss::Expired => log::warn!("{name}: the lease has expired"),
            Loss::Conflict { address, holder } => {
                let text = format!("{name}: {address} was granted, but {holder} has it");
                log::warn!("{text}; declined");
                self.refusal = Some(text);
            }
        }
    }

    /// Says why there is no lease after `waited`, `received` frames being counted now.
    pub(super) fn failure(&self, waited: Duration, received: Option<u64>) -> Error {
        if let Some(refusal) = &self.refusal {
            return Error::Refused(refusal.clone());
        }
        let name = &self.link.name;
        let seconds = waited.as_secs_f32();
        let sent = self.discovers;
        let seen = match (self.received_before, received) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let asked = format!("{name}: no lease in {seconds:.1} s; {sent} DISCOVERs sent");
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
                self.link.mac
            ),
        })
    }
}

/// Takes what `client` has to send, as frames.
fn transmits(client: &mut Client, mac: MacAddress) -> Vec<(Transmit, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut payload = Vec::new();
    while let Some(transmit) = client.poll_transmit(&mut payload) {
        let datagram = Datagram {
            source: transmit.source,
            destination: transmit.destination,
            payload: &payload,
        };
        match frame::encode(mac, MacAddress::BROADCAST, &datagram) {
            Ok(frame) => frames.push((transmit, frame)),
            Err(error) => log::error!("a message cannot be sent: {error}"),
        }
    }
    frames
}

/// How a client of `link` is configured.
pub(super) fn client_config(link: &Link, config: &crate::config::Config) -> ClientConfig {
    let machine = super::machine::read();
    ClientConfig {
        identity: crate::dhcp::identity::options(config.identify, link.mac, machine),
        wants_boot_file: config.proxy_wait.is_some(),
        proxy_wait: config.proxy_wait.unwrap_or_default(),
        ..ClientConfig::new(link.mac, sys::seed())
    }
}
