//! Messages to a log server (RFC 5424), by UDP (RFC 5426) or TCP (RFC 6587 §3.4.1, octet counting).
//!
//! Nobody waits for a log server: what it does not take is given up.

#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::udp::dial;
use super::{now, wait_for};
use wireboot_proto::text::safe::Safe;

/// A log server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogServer {
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it is reached by TCP.
    pub is_tcp: bool,
}

// One for the process, since any thread may write a message.
static SYSLOG: Mutex<Syslog> = Mutex::new(Syslog::Off);
/// The most bytes of messages that are held until there is a network, or until the server takes them.
const MAX_HELD: usize = 8 << 10;
/// How long the end waits until messages by TCP are on their way: some round trips.
const TIME_TO_END: Duration = Duration::from_millis(200);

/// What becomes of a message.
enum Syslog {
    Off,
    /// Severities and messages before there is a network.
    Held(Vec<(u8, String)>),
    /// With the name of this machine.
    Sent(LogSocket, String),
}

enum LogSocket {
    Udp(UdpSocket),
    /// With what the connection has not taken yet.
    Tcp(TcpStream, Vec<u8>),
}

impl Syslog {
    fn write(&mut self, severity: u8, text: &str) {
        match self {
            Self::Off => {}
            Self::Held(messages) => {
                let held: usize = messages.iter().map(|(_, text)| text.len()).sum();
                if held < MAX_HELD {
                    messages.push((severity, text.to_owned()));
                }
            }
            Self::Sent(socket, host) => {
                // RFC 5424 §6: facility 3 (daemon), and no time, since the clock may not be set yet; the
                // server notes its own.
                let id = std::process::id();
                let priority = 3 * 8 + severity;
                let message = format!("<{priority}>1 - {host} wireboot {id} - - {text}");
                match socket {
                    // The console has it all the same.
                    LogSocket::Udp(socket) => drop(socket.send(message.as_bytes())),
                    LogSocket::Tcp(stream, waiting) => {
                        if waiting.len() < MAX_HELD {
                            waiting.extend(format!("{} {message}", message.len()).into_bytes());
                        }
                        // What it has not taken goes with the next message.
                        let _ = flush(stream, waiting);
                    }
                }
            }
        }
    }
}

/// Writes what the connection takes; returns whether that is all.
fn flush(stream: &mut TcpStream, waiting: &mut Vec<u8>) -> io::Result<bool> {
    while !waiting.is_empty() {
        match stream.write(waiting) {
            Ok(len) => drop(waiting.drain(..len)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Holds messages from now on until it is known whether there is a log server.
pub fn hold() {
    *locked() = Syslog::Held(Vec::new());
}

/// Sends the messages since [`hold`] and all others to `server`; none without a server.
pub fn begin(server: Option<LogServer>, host: &str) {
    let socket = server.map(connect);
    if let (Some(server), Some(Err(error))) = (server, &socket) {
        log::warn!("no messages to the log server {}: {error}", server.address);
    }
    let mut syslog = locked();
    let sent = socket.and_then(Result::ok);
    let sent = sent.map_or(Syslog::Off, |socket| Syslog::Sent(socket, host.to_owned()));
    if let Syslog::Held(messages) = std::mem::replace(&mut *syslog, sent) {
        for (severity, text) in messages {
            syslog.write(severity, &text);
        }
    }
}

fn connect(server: LogServer) -> io::Result<LogSocket> {
    if server.is_tcp {
        let socket = dial(None, server.address).map_err(|error| error.into_source())?;
        return Ok(LogSocket::Tcp(socket.into(), Vec::new()));
    }
    let any: IpAddr = if server.address.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(server.address)?;
    Ok(LogSocket::Udp(socket))
}

/// Sends a message.
pub(super) fn write(severity: u8, text: &str) {
    locked().write(severity, text);
}

/// Sends the last message, if there is one, an error; the network is about to go.
pub fn end(error: Option<&str>) {
    let mut syslog = locked();
    if let Some(text) = error {
        syslog.write(3, &format!("error: {}", Safe::line(text)));
    }
    let last = std::mem::replace(&mut *syslog, Syslog::Off);
    drop(syslog);
    let Syslog::Sent(LogSocket::Tcp(mut stream, mut waiting), _) = last else {
        return;
    };
    let deadline = now() + TIME_TO_END;
    while let Ok(false) = flush(&mut stream, &mut waiting)
        && now() < deadline
    {
        let mut polled = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
        if wait_for(&mut polled, Some(deadline)).is_err() {
            return;
        }
    }
}

fn locked() -> MutexGuard<'static, Syslog> {
    SYSLOG.lock().unwrap_or_else(PoisonError::into_inner)
}
