//! Connections to servers, in the clear or by TLS, and those that may be used again.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::access::ServerAccess;
use super::failure::Failure;
use super::names::resolve;
use super::tcp::{Tcp, race};
#[cfg(feature = "tls")]
use super::tls;
use super::{address, proxy};
use crate::sys;
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::{Instant, LeastRate};

/// A server that does not answer for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes read at a time, as many as have come. On a veth a read of 1 MiB takes a tenth less time than
/// four of 256 KiB, and splice(2) past the program no less than that.
const READ_LEN: usize = 1 << 20;
/// The same where several connections bring one file: together they take no more than twice the memory.
const SHARED_READ_LEN: usize = READ_LEN / 4;

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
        access: &ServerAccess,
        url: &Url,
        proxy: Option<&Url>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let first = proxy.unwrap_or(url);
        let addresses = resolve(first, access.interface.as_deref()).map_err(Failure::Passing)?;
        let patience = patience.min(CONNECT_TIMEOUT);
        let stream = race(access.interface.as_deref(), addresses, first, patience)?;
        // For the proxy's answer and for the handshake of TLS, as for any head of an answer.
        let deadline = sys::now() + LeastRate::WINDOW;
        let mut stream = Tcp { stream, deadline };
        if let Some(proxy) = proxy
            && url.scheme() == Scheme::Https
        {
            proxy::tunnel(&mut stream, url, proxy)?;
        }
        Self::over(stream, access, url)
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

    /// Waits for bytes from the server, where none are left that were not consumed; none when it has
    /// closed the connection.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(stream) => stream.fill_buf(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.fill(),
        }
    }

    /// Has `len` of the bytes not come again.
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

    fn over(stream: Tcp, access: &ServerAccess, url: &Url) -> Result<Self, Failure> {
        match url.scheme() {
            Scheme::Http | Scheme::Tftp => {
                Ok(Self::Plain(BufReader::with_capacity(READ_LEN, stream)))
            }
            #[cfg(feature = "tls")]
            Scheme::Https => {
                let stream = tls::Stream::open(stream, url, access)?;
                Ok(Self::Tls(Box::new(stream)))
            }
            #[cfg(not(feature = "tls"))]
            Scheme::Https => {
                let _ = (stream, access);
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
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.get_mut().write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes),
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

/// Connections that have done their work and may do more, by where they lead.
#[derive(Debug, Clone, Default)]
pub struct IdleConnections(Arc<Mutex<Vec<(Origin, Connection)>>>);

/// Where a connection leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    proxy: Option<String>,
}

impl Origin {
    pub(super) fn of(url: &Url, proxy: Option<&Url>) -> Self {
        Self {
            scheme: url.scheme(),
            host: url.host().to_ascii_lowercase(),
            port: url.port(),
            proxy: proxy.map(Url::to_string),
        }
    }
}

impl IdleConnections {
    pub(super) fn reuse(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What the server has closed meanwhile is of no use, nor what it said unasked.
        idle.retain(|(_, connection)| !connection.is_stale());
        let at = idle.iter().position(|(known, _)| known == origin)?;
        Some(idle.swap_remove(at).1)
    }

    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((origin, connection));
    }
}
