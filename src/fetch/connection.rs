//! Connections to servers, in clear text or by TLS, and the idle ones that can be reused.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::access::{ServerAccess, Tcp, is_gone, race};
use super::failure::Failure;
use super::proxy;
#[cfg(feature = "tls")]
use super::tls;
use crate::sys;
use wireboot_proto::text::url::{Scheme, Url};
use wireboot_proto::time::Instant;

/// How long to wait for a connection: Linux has repeated the SYN at least three times by then.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of one read. Over a veth, reads of 1 MiB take a tenth less time than of 256 KiB,
/// and splice(2) takes no less.
const READ_LEN: usize = 1 << 20;
/// The same for each of several connections, which together use at most twice the memory.
// Four connections hold 3 MiB beyond the file so, and 5.3 MiB with whole reads, at the same rate.
const SHARED_READ_LEN: usize = READ_LEN / 4;

/// A connection to a server.
#[derive(Debug)]
pub(super) enum Connection {
    Plain(BufReader<Tcp>),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Connection {
    /// Connects to the server of `url`, or to its proxy, within `patience`.
    pub(super) fn open(
        access: &ServerAccess,
        url: &Url,
        proxy: Option<&Url>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let first = proxy.unwrap_or(url);
        let addresses = access.resolve(first, patience).map_err(Failure::Passing)?;
        let connect_timeout = patience.min(CONNECT_TIMEOUT);
        let stream = race(
            access.interface.as_deref(),
            addresses,
            first,
            connect_timeout,
        );
        let stream = stream.map_err(|failure| match proxy {
            Some(proxy) => failure.beside(&format!(", at the proxy {proxy}")),
            None => failure,
        })?;
        // For the proxy's answer and the TLS handshake, the same limit as for the head of an
        // answer.
        let deadline = sys::now() + patience;
        let mut stream = Tcp { stream, deadline };
        if let Some(proxy) = proxy
            && url.scheme() == Scheme::Https
        {
            proxy::tunnel(&mut stream, url, proxy)?;
        }
        Self::over(stream, access, url)
    }

    /// Returns the connection with a smaller read buffer, before anything has been read.
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

    /// Returns the bytes not yet consumed, or waits for more; none when the server has closed the
    /// connection.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(stream) => stream.fill_buf(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.fill(),
        }
    }

    /// Marks `len` bytes as consumed.
    pub(super) fn consume(&mut self, len: usize) {
        match self {
            Self::Plain(stream) => stream.consume(len),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.consume(len),
        }
    }

    /// Sets the time at about which reading and writing end with `TimedOut`.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        let tcp = match self {
            Self::Plain(stream) => stream.get_mut(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.tcp_mut(),
        };
        tcp.deadline = deadline;
    }

    /// Sets the time after which a read without data ends with `WouldBlock`.
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
                Err(Failure::Other("this build does not support TLS".into()))
            }
        }
    }

    /// Returns whether this machine has lost the local address of the connection.
    pub(super) fn has_lost_address(&self) -> bool {
        self.tcp().local_addr().is_ok_and(is_gone)
    }

    /// Returns whether the connection cannot be reused: the server has closed it or sent something
    /// unrequested, or the local address is gone.
    pub(super) fn is_stale(&self) -> bool {
        if self.has_lost_address() {
            return true;
        }
        let readable = sys::wait_readable(&[self.tcp().as_fd()], Some(sys::now()));
        // What an idle connection holds unasked is a FIN, a TLS alert or a 408 (RFC 9110 §15.5.9).
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

/// Idle connections that can be reused, by their origin.
#[derive(Debug, Clone, Default)]
pub struct IdleConnections(Arc<Mutex<Vec<(Origin, Connection)>>>);

/// The server and proxy of a connection.
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
            // Case does not tell hosts apart (RFC 9110 §4.2.3).
            host: url.host().to_ascii_lowercase(),
            port: url.port(),
            proxy: proxy.map(Url::to_string),
        }
    }
}

impl IdleConnections {
    pub(super) fn reuse(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The server may have closed a connection meanwhile, or sent something unrequested.
        idle.retain(|(_, connection)| !connection.is_stale());
        let at = idle.iter().position(|(known, _)| known == origin)?;
        Some(idle.swap_remove(at).1)
    }

    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((origin, connection));
    }
}
