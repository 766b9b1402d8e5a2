//! Drives [`crate::tftp::Get`] over UDP sockets: one for each way of asking, until one works.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::sink::Sink;
use super::{Failure, Fetcher, bind_to, no_address, other, resolve};
use crate::plan::url::Url;
use crate::sys;
use crate::tftp::{Config, Event, Extents, Failure as TransferFailure, Get, Terms};
use crate::time::Instant;
use crate::wire::tftp::ErrorCode;

/// So many passes over a file in a row may bring none of the blocks that are missing.
const MAX_FRUITLESS: u32 = 8;
/// Room for several windows, so that a busy machine loses none.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest block that can be agreed on, and its header.
const MAX_PACKET: usize = 65_468;

/// Fetches the file of `url` into `sink`, from the first of its server's addresses that answers.
pub(super) fn get(
    fetcher: &Fetcher,
    url: &Url,
    max_len: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let servers = resolve(url).map_err(Failure::Other)?;
    let mut failure = no_address(url);
    for server in servers {
        match get_from(fetcher, url, server, max_len, sink) {
            Err(Unanswered::Yes(why)) => failure = other(why),
            Err(Unanswered::No(why)) => return Err(why),
            Ok(()) => return Ok(()),
        }
    }
    Err(failure)
}

/// Whether another address of the server may do better.
enum Unanswered {
    Yes(TransferFailure),
    No(Failure),
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::No(failure)
    }
}

fn get_from(
    fetcher: &Fetcher,
    url: &Url,
    server: SocketAddr,
    max_len: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Unanswered> {
    let mut config = Config {
        server,
        file: url.tftp_file().to_owned(),
        terms: Terms::best(fetcher.path_mtu, &server),
        stall_timeout: fetcher.stall_timeout,
        max_len,
        received: Extents::default(),
        expected_len: None,
    };
    let mut fruitless = 0;
    loop {
        let before = config.received.count();
        let Some(failure) = transfer(fetcher, &mut config, sink)? else {
            return Ok(());
        };
        fruitless = match config.received.count() > before {
            true => 0,
            false => fruitless + 1,
        };
        let has_holes = matches!(failure, TransferFailure::Holes { .. });
        let next = match has_holes && fruitless < MAX_FRUITLESS {
            true => Some(config.terms),
            false => config.terms.after(&failure),
        };
        let Some(terms) = next else {
            return Err(match is_missing(&failure) {
                true => Failure::Missing(failure.into()).into(),
                false if matches!(failure, TransferFailure::NoAnswer { .. }) => {
                    Unanswered::Yes(failure)
                }
                false => other(failure).into(),
            });
        };
        log::debug!("{url}: {failure}; asking again with {terms:?}");
        config.terms = terms;
    }
}

const fn is_missing(failure: &TransferFailure) -> bool {
    matches!(
        failure,
        TransferFailure::Refused {
            code: ErrorCode::FILE_NOT_FOUND,
            ..
        }
    )
}

/// Runs one transfer to its end; what has come is in `sink` and noted in `config`.
fn transfer(
    fetcher: &Fetcher,
    config: &mut Config,
    sink: &mut Sink<'_>,
) -> Result<Option<TransferFailure>, Failure> {
    let mut socket = Socket::open(fetcher, config.server)?;
    let mut get = Get::new(config.clone(), sys::now());
    let end = exchange(&mut socket, &mut get, config, sink);
    config.received = get.into_received();
    end
}

fn exchange(
    socket: &mut Socket,
    get: &mut Get,
    config: &mut Config,
    sink: &mut Sink<'_>,
) -> Result<Option<TransferFailure>, Failure> {
    let mut outgoing = Vec::new();
    let mut incoming = vec![0; MAX_PACKET];
    let mut no_room: Option<io::Error> = None;
    loop {
        while let Some(transmit) = get.poll_transmit(&mut outgoing) {
            // Lost like any datagram; it is repeated in time.
            if let Err(error) = socket.udp.send_to(&outgoing, transmit.destination) {
                log::debug!("sending to {}: {error}", transmit.destination);
            }
        }
        // The server has been told by now.
        if let Some(error) = no_room {
            return Err(other(error));
        }
        while let Some(event) = get.poll_event() {
            match event {
                Event::Started { len, terms, .. } => {
                    log::debug!("{}: {terms:?}, {len:?} octets", config.file);
                    config.expected_len = config.expected_len.or(len);
                    if let Err(error) = sink.expect(len) {
                        get.abort("no room");
                        no_room = Some(error);
                    }
                }
                Event::Done => return Ok(None),
                Event::Failed(failure) => return Ok(Some(failure)),
            }
        }
        if no_room.is_some() {
            continue;
        }
        let received = socket.receive(&mut incoming, get.poll_timeout());
        let now = sys::now();
        match received {
            Ok(Some((len, source))) => {
                let payload = incoming.get(..len).unwrap_or_default();
                match get.handle_input(source, payload, now) {
                    Ok(piece) => {
                        if let Err(error) = sink.write_at(piece.at, piece.octets) {
                            get.abort("no room");
                            no_room = Some(error);
                        }
                        sink.show(now);
                    }
                    Err(discard) => log::trace!("{source}: {discard}"),
                }
            }
            Ok(None) => get.handle_timeout(now),
            // What ICMP says of an earlier datagram; the timeouts decide.
            Err(error) => {
                log::debug!("receiving from {}: {error}", config.server);
                get.handle_timeout(now);
            }
        }
    }
}

/// A socket that waits in one call to the kernel while all goes well.
struct Socket {
    udp: UdpSocket,
    /// How long the kernel waits for a datagram, as it was told.
    wait_time: Duration,
    /// So many waits from now are exact.
    exact: u32,
}

/// The kernel waits for a datagram in ticks, mostly of 4 ms; `poll` is exact and one call more. After
/// a wait in vain, which is the sign of losses, so many waits are exact.
const EXACT_AFTER_LOSS: u32 = 4000;
/// When the kernel itself waits, it may be for longer than was asked for.
const SHORTEST_WAIT: Duration = Duration::from_millis(4);

impl Socket {
    fn open(fetcher: &Fetcher, server: SocketAddr) -> Result<Self, Failure> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let udp = UdpSocket::bind(any).map_err(other)?;
        bind_to(&udp, fetcher.interface.as_deref()).map_err(other)?;
        // The kernel gives what it allows.
        let _ = setsockopt(&udp, sockopt::RcvBuf, &RECEIVE_BUFFER);
        Ok(Self {
            udp,
            wait_time: Duration::ZERO,
            exact: 0,
        })
    }

    /// Waits for a datagram until about `deadline`; none when that has come.
    fn receive(
        &mut self,
        octets: &mut [u8],
        deadline: Option<Instant>,
    ) -> io::Result<Option<(usize, SocketAddr)>> {
        let left = deadline.map_or(Duration::MAX, |at| at.since(sys::now()));
        if self.exact > 0 || left > EXACT_ABOVE {
            self.exact = self.exact.saturating_sub(1);
            if !sys::wait_readable(&[self.udp.as_fd()], deadline)
                .map_err(|error| error.source)?
                .contains(&true)
            {
                self.exact = EXACT_AFTER_LOSS;
                return Ok(None);
            }
        } else if left > self.wait_time {
            self.wait_time = left.max(SHORTEST_WAIT);
            self.udp.set_read_timeout(Some(self.wait_time))?;
        }
        match self.udp.recv_from(octets) {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.exact = EXACT_AFTER_LOSS;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// So long the kernel is not left to wait by itself, since it would go on to wait so long.
const EXACT_ABOVE: Duration = Duration::from_millis(50);
