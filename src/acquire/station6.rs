//! The sockets of IPv6 on one interface: the kernel's for neighbours and servers, and one for frames, by
//! which probes are sent and everything is recorded.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::error::{Error, Reason};
use crate::link::Link;
use crate::sys::filter::ready::configuration_of_ipv6;
use crate::sys::ipv6::{NeighborInput, NeighborSocket, link_local_socket};
use crate::sys::packet::{PacketSocket, SocketConfig};
use crate::sys::{SyscallError, rcu};
use wireboot_proto::ipv6::client::Transmit6;
use wireboot_proto::packet::dhcpv6::{ALL_SERVERS, CLIENT_PORT, SERVER_PORT};
use wireboot_proto::packet::ethernet::ETHERTYPE_IPV6;
use wireboot_proto::packet::icmpv6::{ALL_ROUTERS, NEXT_HEADER_ICMPV6, multicast};
use wireboot_proto::packet::ipv4::{PROTOCOL_UDP, udp_header6};

/// Messages that are read at once, so that a flood leaves time for everything else.
pub(super) const MAX_BATCH: usize = 64;
/// So much of a frame is recorded, bytes.
const MAX_FRAME_LEN: usize = 2048;

/// The sockets on an interface.
#[derive(Debug)]
pub(super) struct Station6 {
    link: Arc<Link>,
    /// The client's link-local address.
    address: Ipv6Addr,
    neighbors: NeighborSocket,
    /// There until the end.
    frames: Option<PacketSocket>,
    /// If servers are asked.
    servers: Option<UdpSocket>,
}

impl Station6 {
    /// Opens the sockets that need no address.
    ///
    /// # Errors
    /// [`Reason::Configure`] without CAP_NET_RAW.
    pub(super) fn open(link: Arc<Link>, address: Ipv6Addr) -> Result<Self, Error> {
        let refused = |source| {
            Box::new(Reason::Configure {
                interface: link.name.clone(),
                what: "up the sockets of IPv6 (they take CAP_NET_RAW)".to_owned(),
                source,
            })
        };
        let neighbors = NeighborSocket::open(&link.name, link.index()).map_err(refused)?;
        let program = configuration_of_ipv6();
        let mut options = SocketConfig::new(link.index(), &program);
        options.protocol = ETHERTYPE_IPV6;
        let frames = options.open().map_err(refused)?;
        Ok(Self {
            link,
            address,
            neighbors,
            frames: Some(frames),
            servers: None,
        })
    }

    /// Binds the client's port on the link-local address, which must have been set.
    ///
    /// # Errors
    /// [`Reason::Configure`] when another program has it.
    pub(super) fn bind_client_port(&mut self) -> Result<(), Error> {
        let (link, address) = (&self.link, self.address);
        let socket = link_local_socket(address, CLIENT_PORT, link.index());
        self.servers = Some(socket.map_err(|source| {
            Box::new(Reason::Configure {
                interface: link.name.clone(),
                what: format!(
                    "up port {CLIENT_PORT} of {address} (does another DHCPv6 client run?)"
                ),
                source,
            })
        })?);
        Ok(())
    }

    /// Reads the next message of a neighbour or router; none when there is none yet.
    ///
    /// # Errors
    /// [`Reason::System`] when the kernel fails to deliver.
    pub(super) fn receive_neighbor(&self, buf: &mut [u8]) -> Result<Option<NeighborInput>, Error> {
        let received = self.neighbors.receive(buf);
        received.map_err(|source| {
            Box::new(Reason::System {
                doing: format!("cannot read from {}", self.link.name),
                source,
            })
        })
    }

    /// Reads the next message of a server: its length and its source.
    pub(super) fn receive_server(&self, buf: &mut [u8]) -> Option<(usize, Ipv6Addr)> {
        match self.servers.as_ref()?.recv_from(buf) {
            Ok((len, SocketAddr::V6(source))) => Some((len, *source.ip())),
            _ => None,
        }
    }

    /// Sends a message, and records it.
    pub(super) fn send(&self, transmit: &Transmit6) -> Result<(), SyscallError> {
        let (link, name) = (&self.link, &self.link.name);
        match transmit {
            Transmit6::Frame(frame) => {
                link.recorder.sent(name, frame);
                self.frames.as_ref().map_or(Ok(()), |to| to.send(frame))
            }
            Transmit6::Solicitation(message) => {
                log::debug!("{name}: router solicitation");
                self.record_sent(ALL_ROUTERS, NEXT_HEADER_ICMPV6, message.clone());
                self.neighbors.send_to_routers(message)
            }
            Transmit6::Dhcp(kind, message) => {
                log::debug!("{name}: {kind}");
                self.send_to_servers(message)
            }
        }
    }

    /// Sends a message to all servers, and records it.
    fn send_to_servers(&self, message: &[u8]) -> Result<(), SyscallError> {
        let datagram = udp_header6(CLIENT_PORT, SERVER_PORT, message);
        self.record_sent(ALL_SERVERS, PROTOCOL_UDP, datagram);
        let to = SocketAddrV6::new(ALL_SERVERS, SERVER_PORT, 0, self.link.index());
        let servers = self.servers.as_ref();
        let sent = servers.map_or(Ok(0), |servers| servers.send_to(message, to));
        sent.map(drop)
            .map_err(|source| SyscallError::of("sendto(ff02::1:2)", source))
    }

    /// Adds the descriptors to wait on.
    pub(super) fn add_sources<'a>(&'a self, sources: &mut Vec<BorrowedFd<'a>>) {
        sources.push(self.neighbors.as_fd());
        sources.extend(self.servers.as_ref().map(AsFd::as_fd));
    }

    /// Records the frames that have arrived, also those that the kernel or the client has ignored.
    pub(super) fn record(&self) {
        let mut buf = [0; MAX_FRAME_LEN];
        for _ in 0..MAX_BATCH {
            let received = self.frames.as_ref().map(|frames| frames.recv(&mut buf));
            // By an error only the record is lost.
            let Some(Ok(Some(received))) = received else {
                break;
            };
            let frame = buf.get(..received.len).unwrap_or_default();
            let recorder = &self.link.recorder;
            recorder.received(&self.link.name, frame, &received.metadata);
        }
    }

    /// Records a message that the kernel puts into a frame.
    fn record_sent(&self, group: Ipv6Addr, next_header: u8, message: Vec<u8>) {
        let link = &self.link;
        let frame = multicast(link.mac, self.address, group, next_header, message);
        link.recorder.sent(&link.name, &frame);
    }
}

impl Drop for Station6 {
    fn drop(&mut self) {
        self.record();
        // Somebody waits for what comes after it, such as a boot by the other family.
        rcu::hastened(|| drop(self.frames.take()));
    }
}
