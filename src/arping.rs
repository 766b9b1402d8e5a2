//! Who has an address, asked by ARP: what iputils' arping does, through the packet socket, filter and
//! ring of a lease; and who is in a network.

#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::error::{Error, Reason};
use crate::link::{Watch, all_addresses};
use crate::settings::options::Question;
use crate::sys::filter::ready::{arp_about, arp_to};
use crate::sys::netlink::RouteSocket;
use crate::sys::packet::{PacketType, SocketConfig};
use crate::sys::ring::{Layout, Ring};
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::route::LinkInfo;
use wireboot_proto::packet::arp::{ArpPacket, Operation};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::{netmask, same_network};
use wireboot_proto::time::{Instant, Timestamp};

/// Time between two questions of a scan: 500 in a second, 256 kbit/s, which a switch or an access point
/// does not notice.
const SCAN_INTERVAL: Duration = Duration::from_millis(2);
/// Time for the last answers of a scan.
const SCAN_PATIENCE: Duration = Duration::from_secs(1);
/// Addresses of the largest network that is scanned, which takes two minutes.
const MAX_SCAN: u32 = 1 << 16;

/// An interface to ask on.
#[derive(Debug)]
pub struct Neighbourhood {
    /// The interface.
    pub link: LinkInfo,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Its addresses, each with the length of its prefix.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

/// An ARP packet about the address.
#[derive(Debug)]
pub struct Heard {
    /// The packet.
    pub packet: ArpPacket,
    /// Whether it was sent to this interface alone.
    pub is_unicast: bool,
    /// Microseconds since the last question.
    pub after_us: u64,
}

/// Sender of ARP requests on one interface.
#[derive(Debug)]
pub struct Asker {
    ring: Ring,
    mac: MacAddress,
    sent_at: Timestamp,
}

impl Neighbourhood {
    /// Finds the interface `name`; without a name the one in whose network `target` is, or else the first
    /// Ethernet interface with a carrier.
    ///
    /// # Errors
    /// [`Reason::NoInterface`] if there is none, or it is down or no Ethernet.
    pub fn find(name: Option<&str>, target: Option<Ipv4Addr>) -> Result<Self, Error> {
        let links = Watch::list()?;
        let all = RouteSocket::open().and_then(|mut socket| all_addresses(&mut socket));
        let all = all.map_err(|source| {
            Box::new(Reason::System {
                doing: "cannot list the addresses".to_owned(),
                source,
            })
        })?;
        let of = |link: &LinkInfo| -> Vec<_> {
            let own = all.iter().filter(|own| own.index == link.index);
            own.map(|own| (own.address, own.prefix_len)).collect()
        };
        let is_near = |link: &&LinkInfo| {
            let mut own = of(link).into_iter();
            target.is_some_and(|target| own.any(|(own, len)| same_network(target, own, len)))
        };
        let usable = || {
            links
                .iter()
                // The loopback interface has one of zeros.
                .filter(|link| link.carrier && link.mac.is_some_and(|mac| mac.0 != [0; 6]))
        };
        let found = match name {
            Some(name) => links.iter().find(|link| link.name == name),
            None => usable().find(is_near).or_else(|| usable().next()),
        };
        let none = |why: String| Box::new(Reason::NoInterface(why));
        let link = found.ok_or_else(|| {
            none(match name {
                Some(name) => format!("{name} does not exist"),
                None => "none with a carrier; name one with -I".to_owned(),
            })
        })?;
        let name = &link.name;
        let mac = link.mac.filter(|mac| mac.0 != [0; 6]);
        let mac = mac.ok_or_else(|| none(format!("{name} is not Ethernet: no ARP on it")))?;
        if !link.up {
            return Err(none(format!(
                "{name} is down; set it up first (ip link set {name} up)"
            )));
        }
        let addresses = of(link);
        let link = link.clone();
        Ok(Self {
            link,
            mac,
            addresses,
        })
    }

    /// Returns the address to ask from: that in the network of `target`, or else any.
    pub fn source(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        let near = self
            .addresses
            .iter()
            .find(|(own, prefix_len)| same_network(target, *own, *prefix_len));
        near.or(self.addresses.first()).map(|(address, _)| *address)
    }

    /// Asks for every address of the interface's networks, and hands over each who answers.
    ///
    /// # Errors
    /// [`Reason::Usage`] without an address, or if the network is too large to be scanned.
    pub fn scan(&self, signals: &Signals, mut take: impl FnMut(ArpPacket)) -> Result<(), Error> {
        let name = &self.link.name;
        let Some((own, prefix_len)) = self.addresses.first().copied() else {
            return Err(Box::new(Reason::Usage(format!(
                "{name} has no address, and so no network to scan"
            ))));
        };
        let mask = netmask(prefix_len).to_bits();
        let (first, last) = (own.to_bits() & mask, own.to_bits() | !mask);
        if last - first >= MAX_SCAN {
            return Err(Box::new(Reason::Usage(format!(
                "{own}/{prefix_len} is too large to be scanned: at most {MAX_SCAN} addresses"
            ))));
        }
        let program = arp_to(self.mac);
        let mut asker = Asker::open(self, &program)?;
        let mut known = Vec::new();
        let mut asked = (first..=last).filter(|address| *address != own.to_bits());
        let mut end = None;
        let mut next_at = sys::now();
        loop {
            let now = sys::now();
            if end.is_none() && now >= next_at {
                match asked.next() {
                    Some(address) => {
                        let question = ArpPacket {
                            spa: own,
                            ..ArpPacket::probe(self.mac, address.into())
                        };
                        asker.send(&question, None)?;
                        next_at = now + SCAN_INTERVAL;
                    }
                    None => end = Some(now + SCAN_PATIENCE),
                }
            }
            if end.is_some_and(|end| now >= end) {
                return Ok(());
            }
            asker.wait(end.unwrap_or(next_at), signals)?;
            asker.receive(|heard| {
                let it = (heard.packet.spa, heard.packet.sha);
                if (first..=last).contains(&it.0.to_bits()) && !known.contains(&it) {
                    known.push(it);
                    take(heard.packet);
                }
            });
        }
    }
}

impl Asker {
    /// Begins to listen for ARP about `target`.
    ///
    /// # Errors
    /// [`Reason::Configure`] without CAP_NET_RAW.
    pub fn about(on: &Neighbourhood, target: Ipv4Addr) -> Result<Self, Error> {
        Self::open(on, &arp_about(target))
    }

    fn open(
        on: &Neighbourhood,
        program: &crate::sys::filter::FilterProgram,
    ) -> Result<Self, Error> {
        let options = SocketConfig::new(on.link.index, program);
        let ring = Ring::open_with(&options, Layout::SMALL);
        let ring = ring.map_err(|source| {
            Box::new(Reason::Configure {
                interface: on.link.name.clone(),
                what: "up a packet socket (it takes CAP_NET_RAW)".to_owned(),
                source,
            })
        })?;
        Ok(Self {
            ring,
            mac: on.mac,
            sent_at: Timestamp::default(),
        })
    }

    /// Asks, or announces: to `receiver`, or to all.
    ///
    /// # Errors
    /// [`Reason::System`] if the interface went down.
    pub fn ask(
        &mut self,
        question: Question,
        source: Ipv4Addr,
        target: Ipv4Addr,
        receiver: Option<MacAddress>,
    ) -> Result<(), Error> {
        let mut packet = ArpPacket {
            spa: source,
            ..ArpPacket::probe(self.mac, target)
        };
        match question {
            Question::WhoHas | Question::Announcement => {}
            Question::Duplicate => packet.spa = Ipv4Addr::UNSPECIFIED,
            Question::Reply => {
                packet.operation = Operation::Reply;
                // As iputils: to itself.
                packet.tha = self.mac;
            }
        }
        self.send(&packet, receiver)
    }

    fn send(&mut self, packet: &ArpPacket, receiver: Option<MacAddress>) -> Result<(), Error> {
        let mut frame = packet.encode_frame();
        if let (Some(receiver), Some(destination)) = (receiver, frame.get_mut(..6)) {
            destination.copy_from_slice(&receiver.0);
        }
        self.sent_at = Timestamp::from(sys::since_1970());
        self.ring.socket().send(&frame).map_err(cannot("send"))
    }

    /// Waits until a packet has arrived, or for `until`.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] by one of `signals`.
    pub fn wait(&self, until: Instant, signals: &Signals) -> Result<(), Error> {
        let sources = [self.ring.socket().as_fd(), signals.as_fd()];
        sys::wait_readable(&sources, Some(until)).map_err(cannot("wait"))?;
        match signals.take().map_err(cannot("wait"))? {
            Some(signal) => Err(Box::new(Reason::Interrupted(signal))),
            None => Ok(()),
        }
    }

    /// Hands over what has arrived, but not what this interface has sent.
    pub fn receive(&mut self, mut take: impl FnMut(Heard)) {
        let (mac, sent_at) = (self.mac, self.sent_at);
        while let Some(mut batch) = self.ring.next_batch() {
            while let Some(frame) = batch.next() {
                let metadata = frame.metadata();
                let Ok(packet) = ArpPacket::decode_frame(frame.octets()) else {
                    continue;
                };
                if packet.sha == mac || metadata.direction == PacketType::Outgoing {
                    continue;
                }
                let after = metadata
                    .timestamp
                    .as_nanos()
                    .saturating_sub(sent_at.as_nanos());
                take(Heard {
                    packet,
                    is_unicast: metadata.direction == PacketType::Host,
                    after_us: after / 1_000,
                });
            }
        }
    }
}

fn cannot(what: &'static str) -> impl Fn(SyscallError) -> Error {
    move |source| {
        Box::new(Reason::System {
            doing: format!("cannot {what} ARP"),
            source,
        })
    }
}
