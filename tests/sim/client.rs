//! A machine that boots: [`wireboot_proto::dhcp::Client`] on the simulated link.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use wireboot_proto::dhcp::config::{Config, Identify, Introduction};
use wireboot_proto::dhcp::identity::{self, MachineIdentity as Firmware};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dhcp::{Client, Event, Loss, RequestCounts};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::time::Instant;

use super::server::mac_of;
use super::wire::{Wire, difference, sum};

pub struct Machine {
    pub mac: MacAddress,
    start_at: Instant,
    config: Config,
    client: Option<Client>,
    wire: Wire,
    /// Of what the wire has counted, what the client was told or has sent itself.
    told: RequestCounts,
    outgoing: VecDeque<Vec<u8>>,
    pub sent: u32,
    pub lease: Option<Box<Lease>>,
    pub losses: Vec<Loss>,
    /// How often no server extended the lease for a while.
    pub silences: u32,
}

impl Machine {
    /// A machine with a number of its own that is switched on at `start_at`.
    pub fn new(number: u32, seed: u64, start_at: Instant, wire: Wire) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let mac = MacAddress([0x52, 0x54, a, b, c, d]);
        let firmware = Firmware {
            architecture: 7,
            uuid: None,
        };
        let mut config = Config::new(mac, seed);
        let introduction = Introduction::default();
        config.identity = identity::options(Identify::Ipxe, &introduction, None, mac, || firmware);
        config.wants_boot_file = true;
        Self {
            mac,
            start_at,
            config,
            client: None,
            wire,
            told: RequestCounts::default(),
            outgoing: VecDeque::new(),
            sent: 0,
            lease: None,
            losses: Vec::new(),
            silences: 0,
        }
    }

    pub fn address(&self) -> Option<Ipv4Addr> {
        self.lease.as_ref().map(|lease| lease.address)
    }

    pub fn handle_frame(&mut self, octets: &[u8], now: Instant) {
        let Some(client) = &mut self.client else {
            return;
        };
        if let Ok((_, datagram)) = Datagram::decode_frame(octets, true)
            && client.handle_input(datagram, now).is_ok()
        {
            self.drain();
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.start_at {
            return;
        }
        let count = self.wire.count();
        let heard = difference(count, std::mem::replace(&mut self.told, count));
        let config = &self.config;
        let client = self
            .client
            .get_or_insert_with(|| Client::new(config.clone(), now));
        client.handle_contention(heard, now);
        client.handle_timeout(now);
        self.drain();
        let next = self.poll_timeout();
        assert!(next.is_none_or(|at| at > now), "{}: no progress", self.mac);
    }

    fn drain(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let mut payload = Vec::new();
        while let Some(transmit) = client.poll_transmit(&mut payload) {
            let datagram = Datagram {
                source: transmit.source,
                destination: transmit.destination,
                payload: &payload,
            };
            let receiver = match *transmit.destination.ip() {
                Ipv4Addr::BROADCAST => MacAddress::BROADCAST,
                server => mac_of(server),
            };
            let frame = datagram
                .encode_frame(self.mac, receiver)
                .expect("a short message");
            self.told = sum(self.told, self.wire.carry(&frame));
            self.outgoing.push_back(frame);
            self.sent += 1;
        }
        while client.poll_arp().is_some() {}
        while let Some(event) = client.poll_event() {
            match event {
                Event::Bound(lease) => self.lease = Some(lease),
                Event::Failed(loss) => self.losses.push(loss),
                Event::Lost(loss) => {
                    self.lease = None;
                    self.losses.push(loss);
                }
                Event::Unanswered { .. } => self.silences += 1,
                Event::Entered(_)
                | Event::Offered(_)
                | Event::OtherAddress { .. }
                | Event::Notice(_)
                | Event::Ipv6Only { .. } => {}
            }
        }
    }

    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.client {
            None => Some(self.start_at),
            Some(client) => client.poll_timeout(),
        }
    }
}
