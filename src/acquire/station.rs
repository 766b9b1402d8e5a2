//! An interface as a station on its network: the one place that every message passes which is sent
//! or received, as a frame or by the kernel.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::listener::{KINDS, Listener, MAX_FRAME_LEN, close};
use crate::error::{Error, Reason};
use crate::link::{self, Link, Presence};
use crate::recorder::Recorder;
use crate::sys::filter::ready::arp_about;
use crate::sys::packet::{PacketSocket, SocketConfig};
use crate::sys::udp::UdpPort;
use crate::sys::{self, SyscallError};
use wireboot_proto::dhcp::{self, Discard, Transmit};
use wireboot_proto::packet::arp;
use wireboot_proto::packet::dhcp::{CLIENT_PORT, MessageType};
use wireboot_proto::packet::ethernet::{ETHERTYPE_ARP, MacAddress};
use wireboot_proto::packet::icmpv6::{self, RouterAdvertisement};
use wireboot_proto::packet::ipv4::{Datagram, ipv4_source};
use wireboot_proto::time::{Instant, Timestamp};

/// How long it may take from opening to the lease before the wait is taken to be a long one, for a
/// carrier or for an answer: many times what a server on the same network needs, and a tenth of the
/// delay after which it is asked again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Packet received.
#[derive(Debug)]
pub(super) enum Reception<'a> {
    /// ARP about the address that is watched.
    Arp(arp::ArpPacket),
    /// A datagram to port 68.
    Datagram {
        /// Who brought it.
        #[cfg_attr(
            not(feature = "discover"),
            expect(dead_code, reason = "`discover` shows it")
        )]
        sender: MacAddress,
        datagram: Datagram<'a>,
        /// When the kernel had it.
        at: Timestamp,
    },
    /// A packet to port 68 that cannot be read, or another that should have been a reply.
    Discarded { source: Ipv4Addr, why: Discard },
    /// An IPv6 router advertises itself.
    Router(RouterAdvertisement),
}

/// Sockets of one interface.
#[derive(Debug)]
pub(super) struct Station {
    index: u32,
    name: String,
    mac: MacAddress,
    recorder: Recorder,
    listener: Listener,
    /// Address that is watched by ARP, with a socket where the listener does not receive it.
    arp: Option<(Ipv4Addr, Option<PacketSocket>)>,
    opened_at: Instant,
    /// Nothing more is done for a long wait.
    is_settled: bool,
    /// Reasons why there is no reply are received.
    is_watching: bool,
    /// DISCOVERs that have been sent.
    discovers: u32,
    /// Sends between configured addresses.
    port: Option<UdpPort>,
    /// Sender of the last frame from a server: itself, or the router before it.
    next_hop: Option<MacAddress>,
}

impl Station {
    /// Begins to receive DHCP replies on `link`, which may be down.
    ///
    /// # Errors
    /// [`Reason::Configure`] without CAP_NET_RAW.
    #[inline(never)]
    pub(super) fn open(link: &Link) -> Result<Self, Error> {
        let listener = Listener::open(link).map_err(|source| {
            Box::new(Reason::Configure {
                interface: link.name.clone(),
                what: "up a packet socket (it takes CAP_NET_RAW)".to_owned(),
                source,
            })
        })?;
        Ok(Self {
            index: link.index(),
            name: link.name.clone(),
            mac: link.mac,
            recorder: link.recorder.clone(),
            listener,
            arp: None,
            opened_at: sys::now(),
            is_settled: false,
            is_watching: false,
            discovers: 0,
            port: None,
            next_hop: None,
        })
    }

    /// Follows the interface: without sockets while it does not exist, and with new ones when it has
    /// returned and is set up.
    #[inline(never)]
    pub(super) fn follow(&mut self, link: &Link, presence: Presence) {
        let name = &self.name;
        match presence {
            Presence::Same => {}
            Presence::Removed => {
                log::warn!("{name}: the interface has been removed; waiting for it to return");
                self.is_settled = true;
                self.is_watching = false;
                self.close();
            }
            Presence::Returned => {
                log::info!("{name}: the interface has returned");
                match Self::open(link).and_then(|new| link::raise([link]).map(|()| new)) {
                    Ok(mut new) => {
                        // Bound to the new one: the number of the port is of those that take
                        // CAP_NET_BIND_SERVICE, which may be gone by now.
                        let port = self.port.take();
                        new.port = port.filter(|port| match port.rebind(name) {
                            Ok(()) => true,
                            Err(error) => {
                                log::debug!("{name}: {}", error.chain());
                                false
                            }
                        });
                        *self = new;
                    }
                    // It may be gone again.
                    Err(error) => log::warn!("{}", error.chain()),
                }
            }
        }
    }

    /// Takes port 68 in the kernel too, which then answers nobody that it were unreachable, and
    /// sends what has a source address.
    pub(super) fn bind_client_port(&mut self) {
        match UdpPort::open(&self.name, CLIENT_PORT) {
            Ok(port) => self.port = Some(port),
            // Another client may hold the port without SO_REUSEADDR; the packet socket receives all
            // the same.
            Err(error) => log::debug!("{}: {}", self.name, error.chain()),
        }
    }

    /// Hands everything that has arrived to `take`: first ARP, which says whether a lease that has
    /// arrived can be used.
    pub(super) fn receive(
        &mut self,
        take: &mut dyn FnMut(Reception<'_>),
    ) -> Result<(), SyscallError> {
        let name = &self.name;
        if let Some((_, Some(socket))) = &self.arp {
            let mut buf = [0; MAX_FRAME_LEN];
            while let Some(received) = socket.recv(&mut buf)? {
                let octets = buf.get(..received.len).unwrap_or_default();
                self.recorder.received(name, octets, &received.metadata);
                take_arp(name, octets, take);
            }
        }
        let mut others = Vec::new();
        self.listener.receive(name, |octets, metadata| {
            self.recorder.received(name, octets, &metadata);
            if is_arp(octets) {
                take_arp(name, octets, take);
            } else {
                others.push((octets.to_vec(), metadata));
            }
        })?;
        for (octets, metadata) in others {
            match Datagram::decode_frame(&octets, metadata.checksum_ready) {
                Ok((sender, datagram)) => {
                    self.next_hop = Some(sender);
                    let at = metadata.timestamp;
                    take(Reception::Datagram {
                        sender,
                        datagram,
                        at,
                    });
                }
                Err(why) => {
                    let source = ipv4_source(&octets).unwrap_or(Ipv4Addr::UNSPECIFIED);
                    let why = why.into();
                    take(Reception::Discarded { source, why });
                }
            }
        }
        self.listener.receive_strays(&mut |xid, octets, metadata| {
            self.recorder.received(name, octets, &metadata);
            let (tag, verify) = (metadata.vlan, metadata.checksum_ready);
            if let Ok(router) = RouterAdvertisement::decode_frame(octets, verify) {
                take(Reception::Router(router));
            } else if let Some((source, why)) = dhcp::stray(octets, tag, verify, xid, self.mac) {
                take(Reception::Discarded { source, why });
            }
        })
    }

    /// Returns what other machines have asked for since the last time.
    pub(super) fn request_counts(&self) -> wireboot_proto::dhcp::RequestCounts {
        self.listener.request_counts()
    }

    /// Returns how many frames of each of [`KINDS`] have arrived since the last time.
    pub(super) fn kind_counts(&self) -> [u32; KINDS.len()] {
        self.listener.kind_counts()
    }

    /// Drives the timers: prepares for a long wait once it has become one. `xid` is that of the exchange,
    /// when there is one.
    pub(super) fn handle_timeout(&mut self, xid: Option<u32>, now: Instant) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            self.is_settled = true;
            self.is_watching = true;
            self.listener.settle();
        }
        if let Some(xid) = xid.filter(|_| self.is_watching) {
            self.listener.watch_strays(xid);
        }
    }

    /// Returns when [`Station::handle_timeout`] must be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_settled).then(|| self.opened_at + PATIENCE)
    }

    /// Waits no longer, and stops counting what others ask for.
    pub(super) fn stop_counting(&mut self) {
        self.is_settled = true;
        self.is_watching = false;
        self.listener.stop_counting();
    }

    /// Sends a DHCP message. One with a source address is left to the kernel, but for a RELEASE:
    /// the address goes with it, before a question for the next hop would be answered.
    pub(super) fn send(&mut self, transmit: Transmit, payload: &[u8]) {
        let Transmit {
            source,
            destination,
            message_type,
        } = transmit;
        if message_type == MessageType::Discover {
            self.discovers += 1;
            // Routers advertise themselves unasked every few minutes only (RFC 4861 §6.2.1).
            if self.discovers == 2 {
                self.send_frame(&icmpv6::router_solicitation(self.mac));
            }
        }
        let name = &self.name;
        log::debug!("{name}: {message_type} to {destination}");
        // A unicast needs a next hop, and there may be no route yet to ask the kernel for one.
        let next_hop = self.next_hop.filter(|_| !destination.ip().is_broadcast());
        let datagram = Datagram {
            source,
            destination,
            payload,
        };
        let receiver = next_hop.unwrap_or(MacAddress::BROADCAST);
        let frame = match datagram.encode_frame(self.mac, receiver) {
            Ok(frame) => frame,
            Err(error) => return log::error!("{name}: a message cannot be sent: {error}"),
        };
        // The kernel's routes and ARP reach a server behind a router, which a frame of ours could
        // not.
        let by_kernel = !source.ip().is_unspecified() && message_type != MessageType::Release;
        if by_kernel && let Some(port) = &self.port {
            match port.send(*source.ip(), destination, payload) {
                // What the kernel makes of it differs by the IP identification at most, where the
                // next hop is who brought the last message.
                Ok(()) => return self.recorder.sent(name, &frame),
                Err(error) => log::debug!("{name}: {}", error.chain()),
            }
        }
        self.send_frame(&frame);
    }

    /// Sends an ARP packet to every station.
    pub(super) fn send_arp(&self, packet: &arp::ArpPacket) {
        log::debug!("{}: ARP about {}", self.name, packet.tpa);
        self.send_frame(&packet.encode_frame());
    }

    fn send_frame(&self, frame: &[u8]) {
        self.recorder.sent(&self.name, frame);
        // It will be sent again; an interface that just went down is no reason to give up.
        if let Err(error) = self.listener.send(frame) {
            log::warn!("{}: {}", self.name, error.chain());
        }
    }

    /// Receives ARP about `address` from now on, and about no other.
    pub(super) fn set_conflict_watch(&mut self, address: Option<Ipv4Addr>) {
        if self.arp.as_ref().map(|(watched, _)| *watched) == address {
            return;
        }
        let opened = address.map(|address| {
            if self.listener.watch_arp(address) {
                return Ok((address, None));
            }
            let program = arp_about(address);
            let mut options = SocketConfig::new(self.index, &program);
            // The kernel then hands over ARP only, and no filter has to look at the rest.
            options.protocol = ETHERTYPE_ARP;
            options.open().map(|socket| (address, Some(socket)))
        });
        let arp = opened.transpose().unwrap_or_else(|error| {
            log::warn!("{}: no ARP: {}", self.name, error.chain());
            None
        });
        if let Some((_, Some(old))) = std::mem::replace(&mut self.arp, arp) {
            close(Box::new(old));
        }
    }

    /// Sets whether the kernel's queues are in use yet.
    pub(super) fn set_running(&mut self, running: bool) {
        if let Err(error) = self.listener.bypass_queues(!running) {
            log::debug!("{}: {}", self.name, error.chain());
        }
    }

    /// Closes the packet sockets: nothing is received or sent any more.
    pub(super) fn close(&mut self) {
        self.set_conflict_watch(None);
        self.listener.close();
    }

    /// What to wait on.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let arp = self
            .arp
            .as_ref()
            .and_then(|(_, socket)| Some(socket.as_ref()?.as_fd()));
        self.listener.sources().chain(arp)
    }

    /// The sender of the last frame from a server.
    pub(super) const fn next_hop(&self) -> Option<MacAddress> {
        self.next_hop
    }

    /// Sends what goes to one server to this station.
    pub(super) const fn set_next_hop(&mut self, next_hop: Option<MacAddress>) {
        self.next_hop = next_hop;
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_arp(octets: &[u8]) -> bool {
    octets.get(12..14) == Some(&ETHERTYPE_ARP.to_be_bytes())
}

fn take_arp(name: &str, octets: &[u8], take: &mut dyn FnMut(Reception<'_>)) {
    match arp::ArpPacket::decode_frame(octets) {
        Ok(packet) => take(Reception::Arp(packet)),
        Err(error) => log::debug!("{name}: ARP was discarded: {error}"),
    }
}
