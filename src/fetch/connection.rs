//! One TCP connection, bound to the interface, to the first address that takes it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
    sockopt,
};

#[cfg(feature = "tls")]
use super::tls;
use super::{Failure, Fetcher, no_address, other, resolve};
use crate::plan::url::{Scheme, Url};
use crate::sys::{self, SyscallError};

/// A server that does not answer the first packet for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a server.
pub(super) enum Connection {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Connection {
    /// Connects to the server of `url`, trying its addresses in turn.
    pub(super) fn open(fetcher: &Fetcher, url: &Url) -> Result<Self, Failure> {
        let mut failure = no_address(url);
        for address in resolve(url).map_err(Failure::Other)? {
            match dial(fetcher, address) {
                Ok(stream) => return Self::over(stream, fetcher, url),
                Err(error) => {
                    log::debug!("{address}: {error}: {}", error.source);
                    failure = other(error);
                }
            }
        }
        Err(failure)
    }

    /// Lets a read end with `WouldBlock` when nothing comes for so long.
    pub(super) fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.tcp().set_read_timeout(Some(timeout))
    }

    fn over(stream: TcpStream, fetcher: &Fetcher, url: &Url) -> Result<Self, Failure> {
        match url.scheme() {
            Scheme::Http | Scheme::Tftp => Ok(Self::Plain(stream)),
            #[cfg(feature = "tls")]
            Scheme::Https => {
                let stream = tls::Stream::open(stream, url, fetcher.ca.as_deref())?;
                Ok(Self::Tls(Box::new(stream)))
            }
            #[cfg(not(feature = "tls"))]
            Scheme::Https => {
                let _ = (stream, fetcher);
                Err(Failure::Other("this build knows no TLS".into()))
            }
        }
    }

    const fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp(),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(octets),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(octets),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn dial(fetcher: &Fetcher, address: SocketAddr) -> Result<TcpStream, SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd =
        socket(family, SockType::Stream, flags, None).map_err(failed("socket"))?;
    if let Some(interface) = &fetcher.interface {
        setsockopt(&socket, sockopt::BindToDevice, &interface.into())
            .map_err(failed("setsockopt(SO_BINDTODEVICE)"))?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS | Errno::EINTR) => wait_connected(&socket)?,
        Err(errno) => return Err(SyscallError::new("connect", errno)),
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
    let _ = stream.set_read_timeout(Some(CONNECT_TIMEOUT));
    let _ = stream.set_write_timeout(Some(CONNECT_TIMEOUT));
    Ok(stream)
}

fn wait_connected(socket: &OwnedFd) -> Result<(), SyscallError> {
    let deadline = sys::now() + CONNECT_TIMEOUT;
    loop {
        let left = deadline.since(sys::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut polled, timeout) {
            Ok(0) => return Err(SyscallError::new("connect", Errno::ETIMEDOUT)),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SyscallError::new("poll", errno)),
        }
    }
    match getsockopt(socket, sockopt::SocketError) {
        Ok(0) => Ok(()),
        Ok(errno) => Err(SyscallError::new("connect", Errno::from_raw(errno))),
        Err(errno) => Err(SyscallError::new("getsockopt(SO_ERROR)", errno)),
    }
}
