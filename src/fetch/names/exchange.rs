//! Drives [`wireboot_proto::dns::Lookup`]: a socket of its own for each query, connected to the
//! server, so that the kernel chooses a random port, lets nobody else answer and reports a closed
//! port.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags};

use crate::sys;
use crate::sys::udp::dial;
use wireboot_proto::dns::{Event, Lookup, QueryTransport, Transmit};

/// Sockets that are open at most: two types of query, and the last few of each that may still be
/// answered.
const MAX_SOCKETS: usize = 12;
/// More than servers send in a datagram by EDNS.
const DATAGRAM_LEN: usize = 4096;

/// Runs a lookup to its end, with sockets on `interface`.
pub(super) fn run(lookup: &mut Lookup, interface: Option<&str>) -> io::Result<Event> {
    let mut outgoing = Vec::new();
    let mut open: Vec<DnsExchange> = Vec::new();
    loop {
        while let Some(transmit) = lookup.poll_transmit(&mut outgoing) {
            if open.len() == MAX_SOCKETS {
                // The one that has been waited for longest.
                open.remove(0);
            }
            match DnsExchange::begin(transmit, &outgoing, interface) {
                Ok(exchange) => open.push(exchange),
                Err(error) => failed(lookup, transmit, &error),
            }
        }
        if let Some(event) = lookup.poll_event() {
            return Ok(event);
        }
        let Some(until) = lookup.poll_timeout() else {
            return Err(ErrorKind::TimedOut.into());
        };
        if sys::now() >= until {
            lookup.handle_timeout(sys::now());
            continue;
        }
        let mut polled: Vec<_> = open.iter().map(DnsExchange::polled).collect();
        sys::wait_for(&mut polled, Some(until)).map_err(io::Error::other)?;
        let ready = polled.iter().position(|polled| polled.any() == Some(true));
        let Some(exchange) = ready.map(|index| open.remove(index)) else {
            continue;
        };
        open.extend(exchange.go_on(lookup));
    }
}

fn failed(lookup: &mut Lookup, transmit: Transmit, error: &io::Error) {
    log::debug!("name server {}: {error}", transmit.destination.ip());
    lookup.handle_failure(transmit, sys::now());
}

/// A query under way.
struct DnsExchange {
    transmit: Transmit,
    socket: DnsSocket,
}

enum DnsSocket {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        /// The query behind its length, until the connection exists.
        query: Vec<u8>,
        /// What has been received of the response and its length.
        received: Vec<u8>,
    },
}

impl DnsExchange {
    /// Sends a query, or starts connecting to its server.
    fn begin(transmit: Transmit, query: &[u8], interface: Option<&str>) -> io::Result<Self> {
        let server = transmit.destination;
        let interface = interface.filter(|_| !has_own_interface(server));
        let socket = match transmit.transport {
            QueryTransport::Udp => {
                let any: SocketAddr = match server {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let udp = UdpSocket::bind(any)?;
                sys::udp::bind_to(&udp, interface).map_err(io::Error::other)?;
                udp.set_nonblocking(true)?;
                udp.connect(server)?;
                udp.send(query)?;
                DnsSocket::Udp(udp)
            }
            QueryTransport::Tcp => {
                let len = u16::try_from(query.len()).unwrap_or(u16::MAX);
                DnsSocket::Tcp {
                    stream: dial(interface, server).map_err(io::Error::other)?.into(),
                    query: [&len.to_be_bytes()[..], query].concat(),
                    received: Vec::new(),
                }
            }
        };
        Ok(Self { transmit, socket })
    }

    fn polled(&self) -> PollFd<'_> {
        let fd: BorrowedFd<'_> = match &self.socket {
            DnsSocket::Udp(udp) => udp.as_fd(),
            DnsSocket::Tcp { stream, .. } => stream.as_fd(),
        };
        let is_unsent = matches!(&self.socket, DnsSocket::Tcp { query, .. } if !query.is_empty());
        PollFd::new(
            fd,
            if is_unsent {
                PollFlags::POLLOUT
            } else {
                PollFlags::POLLIN
            },
        )
    }

    /// Reads or writes what can be; returns the exchange while it may bring a response.
    fn go_on(mut self, lookup: &mut Lookup) -> Option<Self> {
        let transmit = self.transmit;
        let message = match self.transfer() {
            Ok(Some(message)) => message,
            Ok(None) => return Some(self),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(self),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(self),
            Err(error) => {
                failed(lookup, transmit, &error);
                return None;
            }
        };
        let (server, by) = (transmit.destination, transmit.transport);
        let used = lookup.handle_input(server, by, &message, sys::now());
        let discard = used.err()?;
        log::debug!("name server {}: {discard}", server.ip());
        // On a connection nothing else follows.
        (by == QueryTransport::Udp).then_some(self)
    }

    /// Returns the message that has been received, if it is complete.
    fn transfer(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; DATAGRAM_LEN];
        match &mut self.socket {
            DnsSocket::Udp(udp) => {
                let len = udp.recv(&mut buffer)?;
                Ok(Some(buffer.get(..len).unwrap_or_default().to_vec()))
            }
            DnsSocket::Tcp { stream, query, .. } if !query.is_empty() => {
                // All of it fits into the buffer of a new connection.
                stream.write_all(&std::mem::take(query))?;
                Ok(None)
            }
            DnsSocket::Tcp {
                stream, received, ..
            } => {
                let len = stream.read(&mut buffer)?;
                if len == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                received.extend_from_slice(buffer.get(..len).unwrap_or_default());
                let Some((len, rest)) = received.split_first_chunk() else {
                    return Ok(None);
                };
                let message = rest.get(..u16::from_be_bytes(*len).into());
                Ok(message.map(<[u8]>::to_vec))
            }
        }
    }
}

/// Returns whether an address is on an interface that it implies itself, such as 127.0.0.53 of
/// systemd-resolved or fe80::1%eth0.
fn has_own_interface(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => v4.ip().is_loopback(),
        SocketAddr::V6(v6) => v6.ip().is_loopback() || v6.scope_id() != 0,
    }
}
