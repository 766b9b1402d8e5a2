//! TCP connections, bound to the interface, each to the first address that accepts it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt};

use super::failure::{Failure, no_address, other, passing};
use crate::sys::udp::dial;
use crate::sys::{self, SyscallError};
use wireboot_proto::text::url::Url;
use wireboot_proto::time::Instant;

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
