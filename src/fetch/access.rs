//! How servers are reached: interface, local address, packet size, and certificates; and TCP connections, each
//! to the first address that accepts it.
//!
//! The local address may be removed and replaced during a transfer: a lease that is not renewed expires,
//! and the next one may have another address. Only asking the kernel shows it: when an address is
//! removed it neither resets its TCP connections nor reports an error on UDP sockets, but stops sending
//! for them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt};

use super::clock::Clock;
use super::failure::{Failure, no_address, other, passing};
use super::names::Names;
use crate::error::Cause;
use crate::link;
use crate::sys::udp::dial;
use crate::sys::{self, SyscallError};
use crate::worker::Peer;
use wireboot_proto::text::url::Url;
use wireboot_proto::time::{Instant, Seconds};
use wireboot_proto::trust::policy::HostPin;
use wireboot_proto::worker::Message;

/// Interval between looks for a new address: short against the seconds that a lease takes.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The interface, packet size and certificates for reaching servers.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "certificates and their clock are for https alone")
)]
pub struct ServerAccess {
    /// The interface that all traffic goes through; any when none.
    pub interface: Option<String>,
    /// What names are resolved by.
    pub names: Arc<Names>,
    /// How long to wait for an address when the interface has lost its own, where a lease is being
    /// renewed; zero where none is.
    pub address_timeout: Duration,
    /// The largest packet that the path carries, in bytes; the MTU of the route to the server when
    /// none.
    pub path_mtu: Option<u16>,
    /// The certificate authorities trusted for https, in PEM; the system's list when none.
    pub ca: Option<PathBuf>,
    /// The client certificate for https servers, with its key, in PEM.
    pub client_certificate: Option<PathBuf>,
    /// The public keys that servers must have, where the policy pins them.
    pub pins: Vec<HostPin>,
    /// The clock for checking the validity of certificates.
    pub clock: Clock,
    /// Who looks after the address, where this process may not.
    pub parent: Option<Arc<Peer>>,
}

impl ServerAccess {
    /// Returns the addresses of the server of `url`, within `patience` at the latest.
    pub(super) fn resolve(&self, url: &Url, patience: Duration) -> Result<Vec<SocketAddr>, Cause> {
        self.names.resolve(url, self.interface.as_deref(), patience)
    }

    /// Returns whether the interface has an IPv4 address; true where no lease is being renewed,
    /// since waiting would not help.
    pub(super) fn has_address(&self) -> bool {
        let is_asked = self.renews() && self.parent.is_none();
        let interface = self.interface.as_ref().filter(|_| is_asked);
        interface.is_none_or(|interface| link::has_address(interface))
    }

    /// Waits until the interface has an address, up to `address_timeout`; returns whether it has
    /// one.
    pub(super) fn await_address(&self) -> bool {
        if let Some(parent) = &self.parent {
            let answer = || parent.ask(&Message::NeedsAddress).0;
            return !self.renews() || answer() == Message::Go;
        }
        if self.has_address() {
            return true;
        }
        let seconds = Seconds(self.address_timeout);
        log::warn!("no IPv4 address left to fetch from; waiting up to {seconds:.0} s for one");
        let deadline = sys::now() + self.address_timeout;
        // Asked of the kernel again and again, so that a fetch needs no link to who renews the
        // lease.
        while sys::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            if self.has_address() {
                return true;
            }
        }
        false
    }

    /// Returns whether the lease is renewed while files are fetched.
    const fn renews(&self) -> bool {
        !self.address_timeout.is_zero()
    }
}

/// How long a server may be silent before the address is checked: one bind(2) a second costs
/// nothing.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Returns whether this machine no longer has the address of `local`.
pub(super) fn is_gone(local: SocketAddr) -> bool {
    let any_port = |mut local: SocketAddr| {
        local.set_port(0);
        local
    };
    // bind(2) fails with EADDRNOTAVAIL then; any other failure says nothing about the address.
    UdpSocket::bind(any_port(local)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

/// The delay before the next address is tried in parallel (RFC 8305 §5, Connection Attempt Delay).
const HEAD_START: Duration = Duration::from_millis(250);

/// A TCP connection on which reading and writing end at a deadline. A read timeout alone is not
/// enough: rustls reads until a record is complete, however slowly its bytes arrive.
#[derive(Debug)]
pub(super) struct Tcp {
    pub(super) stream: TcpStream,
    pub(super) deadline: Instant,
}

impl Tcp {
    fn check(&self) -> io::Result<()> {
        if sys::now() >= self.deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Read for Tcp {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.read(bytes)
    }
}

impl Write for Tcp {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Connects to the first address that accepts: each has a head start before the next is tried in
/// parallel, with the families alternating (RFC 8305 §4, §5).
pub(super) fn race(
    interface: Option<&str>,
    addresses: Vec<SocketAddr>,
    url: &Url,
    patience: Duration,
) -> Result<TcpStream, Failure> {
    // However many there are, the last one has half of the time.
    let count = u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let head_start = HEAD_START.min(patience / 2 / count);
    let mut waiting = in_turn(addresses).into_iter();
    let mut under_way: Vec<(SocketAddr, OwnedFd)> = Vec::new();
    let mut failure = no_address(url);
    let deadline = sys::now() + patience;
    let mut next_at = sys::now();
    let mut note = |address, error: SyscallError| {
        log::debug!("{address}: {}", error.chain());
        failure = passing(error);
    };
    loop {
        if sys::now() >= next_at || under_way.is_empty() {
            next_at = sys::now() + head_start;
            match waiting
                .next()
                .map(|address| (address, dial(interface, address)))
            {
                Some((address, Ok(socket))) => under_way.push((address, socket)),
                Some((address, Err(error))) => {
                    note(address, error);
                    next_at = sys::now();
                }
                None if under_way.is_empty() => return Err(failure),
                None => next_at = deadline,
            }
            if under_way.is_empty() {
                continue;
            }
        }
        let mut polled: Vec<_> = under_way
            .iter()
            .map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLOUT))
            .collect();
        sys::wait_for(&mut polled, Some(next_at.min(deadline))).map_err(other)?;
        let ready = polled.iter().position(|polled| polled.any() == Some(true));
        if let Some(index) = ready {
            let (address, socket) = under_way.swap_remove(index);
            match connected(socket, patience) {
                Ok(stream) => return Ok(stream),
                Err(error) => note(address, error),
            }
            next_at = sys::now();
        } else if sys::now() >= deadline {
            return Err(passing(SyscallError::new("connect", Errno::ETIMEDOUT)));
        }
    }
}

/// Interleaves the addresses of both families, the first one's family first.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut mixed = Vec::new();
    for address in first {
        mixed.push(address);
        mixed.extend(second.next());
    }
    mixed.extend(second);
    mixed
}

/// Returns the stream of a socket whose connection attempt has ended well.
fn connected(socket: OwnedFd, patience: Duration) -> Result<TcpStream, SyscallError> {
    // A failed attempt makes the socket writable too (connect(2), EINPROGRESS).
    match getsockopt(&socket, sockopt::SocketError) {
        Ok(0) => {}
        Ok(errno) => return Err(SyscallError::new("connect", Errno::from_raw(errno))),
        Err(errno) => return Err(SyscallError::new("getsockopt(SO_ERROR)", errno)),
    }
    let stream = TcpStream::from(socket);
    stream
        // SO_RCVTIMEO and SO_SNDTIMEO mean nothing for a socket that does not block (socket(7)).
        .set_nonblocking(false)
        .map_err(|source| SyscallError::of("ioctl(FIONBIO)", source))?;
    // A TLS handshake is small writes, which Nagle's algorithm holds back for an ACK (RFC 9293
    // §3.7.4).
    let _ = stream.set_nodelay(true);
    // Applies to the TLS handshake too.
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.set_write_timeout(Some(patience));
    Ok(stream)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn only_who_may_get_another_address_waits_for_it() {
        let access = |interface: &str, address_timeout| ServerAccess {
            interface: Some(interface.to_owned()),
            address_timeout,
            ..ServerAccess::default()
        };
        assert!(access("nowhere0", Duration::ZERO).has_address());
        assert!(access("lo", Duration::from_millis(1)).has_address());
        assert!(!access("nowhere0", Duration::from_millis(1)).await_address());
    }

    #[test]
    fn an_address_is_gone_that_no_interface_has() {
        // RFC 5737: an address that no machine has.
        for (address, gone) in [("127.0.0.1:80", false), ("192.0.2.77:80", true)] {
            assert_eq!(is_gone(address.parse().unwrap()), gone, "{address}");
        }
    }

    #[test]
    fn families_take_turns() {
        let [a, b, c, d] = [
            "192.0.2.1:80",
            "192.0.2.2:80",
            "192.0.2.3:80",
            "[2001:db8::1]:80",
        ]
        .map(|text| text.parse().unwrap());
        assert_eq!(in_turn(vec![a, b, c, d]), [a, d, b, c]);
        assert_eq!(in_turn(vec![d, a, b]), [d, a, b]);
        assert_eq!(in_turn(Vec::new()), []);
    }
}
