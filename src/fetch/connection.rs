//! TCP connections, bound to the interface, each to the first address that takes it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt,
};

#[cfg(feature = "tls")]
use super::tls;
use super::{Failure, Fetcher, address, bind_to, broken, no_address, other, passing, resolve};
use crate::sys::{self, SyscallError};
use wireboot_proto::http;
use wireboot_proto::text::safe::text_of;
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::{Instant, LeastRate};

/// A server that does not answer for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one address is alone before the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// The longest head of a proxy's answer.
const MAX_HEAD_LEN: usize = 16 << 10;

/// Octets read at a time, as many as have come. On a veth a read of 1 MiB takes a tenth less time than
/// four of 256 KiB, and splice(2) past the program no less than that.
const READ_LEN: usize = 1 << 20;
/// The same where several connections bring one file: together they take no more than twice the memory.
const SHARED_READ_LEN: usize = READ_LEN / 4;

/// A TCP connection on which reading and writing end at a deadline, in whatever drips bytes come: TLS
/// reads until it has a whole record.
#[derive(Debug)]
pub(super) struct Tcp {
    stream: TcpStream,
    deadline: Instant,
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
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.read(octets)
    }
}

impl Write for Tcp {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(super) enum Connection {
    Plain(BufReader<Tcp>),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Connection {
    /// Connects to the server of `url`, or to its proxy, which may be silent for `patience`.
    pub(super) fn open(
        fetcher: &Fetcher,
        url: &Url,
        proxy: Option<&Url>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let first = proxy.unwrap_or(url);
        let addresses = resolve(first, fetcher.interface.as_deref()).map_err(Failure::Passing)?;
        let patience = patience.min(CONNECT_TIMEOUT);
        let stream = race(fetcher, addresses, first, patience)?;
        // For the proxy's answer and for the handshake of TLS, as for any head of an answer.
        let deadline = sys::now() + LeastRate::WINDOW;
        let mut stream = Tcp { stream, deadline };
        if let Some(proxy) = proxy
            && url.scheme() == Scheme::Https
        {
            tunnel(&mut stream, url, proxy)?;
        }
        Self::over(stream, fetcher, url)
    }

    /// Reads less at a time, as one of several; nothing has been read yet.
    pub(super) fn shared(self) -> Self {
        match self {
            Self::Plain(stream) => Self::Plain(BufReader::with_capacity(
                SHARED_READ_LEN,
                stream.into_inner(),
            )),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Self::Tls(stream),
        }
    }

    /// Waits for octets from the server, where none are left that were not consumed; none when it has
    /// closed the connection.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(stream) => stream.fill_buf(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.fill(),
        }
    }

    /// Has `len` of the octets not come again.
    pub(super) fn consume(&mut self, len: usize) {
        match self {
            Self::Plain(stream) => stream.consume(len),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.consume(len),
        }
    }

    /// Lets reading and writing end with `TimedOut` at about that time.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        let tcp = match self {
            Self::Plain(stream) => stream.get_mut(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp_mut(),
        };
        tcp.deadline = deadline;
    }

    /// Lets waiting end with `WouldBlock` when nothing comes for so long.
    pub(super) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.tcp().set_read_timeout(Some(timeout))
    }

    fn over(stream: Tcp, fetcher: &Fetcher, url: &Url) -> Result<Self, Failure> {
        match url.scheme() {
            Scheme::Http | Scheme::Tftp => {
                Ok(Self::Plain(BufReader::with_capacity(READ_LEN, stream)))
            }
            #[cfg(feature = "tls")]
            Scheme::Https => {
                let stream = tls::Stream::open(stream, url, fetcher)?;
                Ok(Self::Tls(Box::new(stream)))
            }
            #[cfg(not(feature = "tls"))]
            Scheme::Https => {
                let _ = (stream, fetcher);
                Err(Failure::Other("this build knows no TLS".into()))
            }
        }
    }

    /// Returns whether the address that it was made from is no longer this machine's.
    pub(super) fn has_lost_address(&self) -> bool {
        self.tcp().local_addr().is_ok_and(address::is_gone)
    }

    /// Returns whether it is of no more use: the server has said or ended anything while nobody
    /// asked, or our address is another one.
    pub(super) fn is_stale(&self) -> bool {
        if self.has_lost_address() {
            return true;
        }
        let readable = sys::wait_readable(&[self.tcp().as_fd()], Some(sys::now()));
        readable.map_or(true, |sources| sources.contains(&true))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => &stream.get_ref().stream,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &stream.tcp().stream,
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.get_mut().write(octets),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.get_mut().flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Connects to the first of the addresses that takes it: each is given a moment's start before the
/// next is tried beside it, the families in turn (RFC 8305 §4, §5).
fn race(
    fetcher: &Fetcher,
    addresses: Vec<SocketAddr>,
    url: &Url,
    patience: Duration,
) -> Result<TcpStream, Failure> {
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
            next_at = sys::now() + HEAD_START;
            match waiting
                .next()
                .map(|address| (address, dial(fetcher, address)))
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
        let left = next_at.min(deadline).since(sys::now());
        let mut polled: Vec<_> = under_way
            .iter()
            .map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLOUT))
            .collect();
        let timeout =
            PollTimeout::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(other(SyscallError::new("poll", errno))),
        }
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

/// Brings addresses of the other family between those of the first one's.
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

/// Begins to connect.
fn dial(fetcher: &Fetcher, address: SocketAddr) -> Result<OwnedFd, SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd =
        socket(family, SockType::Stream, flags, None).map_err(failed("socket"))?;
    bind_to(&socket, fetcher.interface.as_deref())?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(socket),
        Err(errno) => Err(SyscallError::new("connect", errno)),
    }
}

/// Takes a socket that has come to the end of connecting.
fn connected(socket: OwnedFd, patience: Duration) -> Result<TcpStream, SyscallError> {
    match getsockopt(&socket, sockopt::SocketError) {
        Ok(0) => {}
        Ok(errno) => return Err(SyscallError::new("connect", Errno::from_raw(errno))),
        Err(errno) => return Err(SyscallError::new("getsockopt(SO_ERROR)", errno)),
    }
    let stream = TcpStream::from(socket);
    stream
        .set_nonblocking(false)
        .map_err(|source| SyscallError {
            call: "ioctl(FIONBIO)",
            source,
        })?;
    let _ = stream.set_nodelay(true);
    // The handshake of TLS reads too.
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.set_write_timeout(Some(patience));
    Ok(stream)
}

/// Has the proxy connect to the server of `url` (RFC 9110 §9.3.6).
fn tunnel(stream: &mut Tcp, url: &Url, proxy: &Url) -> Result<(), Failure> {
    let host = match url.host().contains(':') {
        true => format!("[{}]", url.host()),
        false => url.host().to_owned(),
    };
    let server = format!("{host}:{}", url.port());
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(credentials) = proxy.credentials() {
        let value = http::basic(credentials);
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    let failed = |error| broken(error, "connecting through the proxy");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    // Octet by octet, since what follows the head is the server's.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_LEN {
        let mut octet = [0];
        stream.read_exact(&mut octet).map_err(failed)?;
        head.extend_from_slice(&octet);
    }
    let line = head
        .split(|octet| *octet == b'\r')
        .next()
        .unwrap_or_default();
    let line = text_of(line);
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some(version), Some("200")) if version.starts_with("HTTP/1.") => Ok(()),
        _ => {
            let why = format!("the proxy {proxy} does not connect to {server}: {line}");
            Err(Failure::Passing(why.into()))
        }
    }
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
