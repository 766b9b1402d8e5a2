//! A few machines and servers on one link, and what they send.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::client::Machine;
use super::net::{Conditions, Network, Station};
use super::server::{Server, Service};
use super::wire::Wire;
use wireboot_proto::packet::dhcp::{CLIENT_PORT, SERVER_PORT};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::time::{Instant, Random};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 1);

/// A few machines and servers on one link.
pub struct Town {
    pub network: Network<Member>,
    /// What was sent: when, by whom, and the frame.
    pub transcript: Vec<(Instant, usize, Vec<u8>)>,
}

impl Town {
    pub fn new(conditions: Conditions, seed: u64, services: &[Service], machines: u32) -> Self {
        let mut network = Network::new(conditions, seed);
        for service in services {
            let server = Server::new(service.clone());
            network.plug_in(Member::Server(Box::new(server)));
        }
        let wire = Wire::default();
        let mut random = Random::new(seed);
        for number in 0..machines {
            let start_at = Instant::from_millis(random.next_u64() % 1000);
            let machine = Machine::new(number, random.next_u64(), start_at, wire.clone());
            network.plug_in(Member::Machine(Box::new(machine)));
        }
        Self {
            network,
            transcript: Vec::new(),
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.network.now + time;
        while self.step(end) {}
    }

    pub fn run_until_all_are_bound(&mut self, patience: Duration) {
        let end = self.network.now + patience;
        while !self.machines().all(|machine| machine.lease.is_some()) {
            assert!(self.step(end), "not all are bound after {patience:?}");
        }
    }

    fn step(&mut self, end: Instant) -> bool {
        let Some((index, sent)) = self.network.step(end) else {
            return false;
        };
        let frames = sent.iter().map(|frame| frame.to_vec());
        let now = self.network.now;
        self.transcript
            .extend(frames.map(|frame| (now, index, frame)));
        true
    }

    pub fn machines(&self) -> impl Iterator<Item = &Machine> {
        self.network.stations.iter().filter_map(Member::machine)
    }
}

/// What is plugged into the link.
pub enum Member {
    Machine(Box<Machine>),
    Server(Box<Server>),
}

impl Member {
    pub fn machine(&self) -> Option<&Machine> {
        match self {
            Self::Machine(machine) => Some(machine),
            Self::Server(_) => None,
        }
    }
}

impl Station for Member {
    fn mac(&self) -> MacAddress {
        match self {
            Self::Machine(machine) => machine.mac,
            Self::Server(server) => server.mac(),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Machine(_) => CLIENT_PORT,
            Self::Server(_) => SERVER_PORT,
        }
    }

    fn handle_frame(&mut self, frame: &[u8], now: Instant) {
        match self {
            Self::Machine(machine) => machine.handle_frame(frame, now),
            Self::Server(server) => server.handle_frame(frame, now),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Machine(machine) => machine.handle_timeout(now),
            Self::Server(server) => server.handle_timeout(now),
        }
    }

    fn poll_frame(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Machine(machine) => machine.poll_frame(),
            Self::Server(server) => server.poll_frame(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Machine(machine) => machine.poll_timeout(),
            Self::Server(server) => server.poll_timeout(),
        }
    }
}
