//! Drives [`wireboot_proto::tftp::Get`] over UDP: a new socket for each request, with other options
//! until one works.

mod socket;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::access::ServerAccess;
use super::download::Attempt;
use super::failure::{Failure, no_address, other, text_of};
use super::rotation::FIRST_PATIENCE;
use super::sink::Sink;
use crate::sys;
use socket::Socket;
use wireboot_proto::packet::tftp::ErrorCode;
use wireboot_proto::text::url::Url;
use wireboot_proto::tftp::{ByteRanges, Config, Event, Failure as TransferFailure, Get, Terms};
use wireboot_proto::time::Instant;

/// The MTU of Ethernet, for when the kernel knows no route.
const ETHERNET_MTU: u16 = 1500;
/// How long all addresses of a server together may be silent: with 5 s for each, 48 would take four
/// minutes.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(30);
/// How many requests in a row may bring nothing new: at 50 % loss of a last block, 8 fail in 1 of
/// 256 cases.
const MAX_FRUITLESS: u32 = 8;

/// Fetches the file into `sink`, which is empty, from the first address of the server that answers.
pub(super) fn get(attempt: &Attempt<'_>, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let servers = attempt.access.resolve(attempt.url, attempt.patience);
    let mut servers = servers.map_err(Failure::Passing)?.into_iter();
    let mut failure = no_address(attempt.url);
    let deadline = sys::now() + ADDRESSES_TIMEOUT;
    // Each has its part of the time for all of them.
    let part = ADDRESSES_TIMEOUT / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
    let is_alone = servers.len() == 1;
    while let Some(server) = servers.next() {
        let left = deadline.since(sys::now());
        let patience = match servers.len() {
            _ if is_alone => attempt.patience,
            0 => attempt.patience.min(left),
            _ => attempt.patience.min(FIRST_PATIENCE).min(part).min(left),
        };
        if patience.is_zero() {
            break;
        }
        match get_from(attempt, server, patience, sink) {
            Err(AddressFailure::NoAnswer(why)) => failure = silent(attempt, why),
            Err(AddressFailure::Final(why)) => return Err(why),
            Ok(()) => return Ok(()),
        }
    }
    Err(failure)
}

/// The failure of one address, by whether another address of the server may answer.
enum AddressFailure {
    NoAnswer(TransferFailure),
    Final(Failure),
}

impl From<Failure> for AddressFailure {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Returns a final failure when the server was silent for the whole stall timeout; a temporary one
/// when it had less time.
fn silent(attempt: &Attempt<'_>, failure: TransferFailure) -> Failure {
    if attempt.patience < attempt.stall_timeout {
        Failure::Passing(text_of(&failure))
    } else {
        Failure::Other(text_of(&failure))
    }
}

fn get_from(
    attempt: &Attempt<'_>,
    server: SocketAddr,
    patience: Duration,
    sink: &mut Sink<'_>,
) -> Result<(), AddressFailure> {
    let (access, url) = (attempt.access, attempt.url);
    let mut config = Config {
        server,
        file: url.tftp_file().to_owned(),
        terms: Terms::best(path_mtu(access, server), &server),
        stall_timeout: patience,
        speed: attempt.speed,
        max_len: attempt.max_len,
        received: ByteRanges::default(),
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    let mut fruitless = 0;
    loop {
        let before = config.received.count();
        let (rest, end) = transfer(access, config, sink)?;
        config = rest;
        let failure = match end {
            TftpEnd::Done => return Ok(()),
            // The server identifies a transfer by our address too (RFC 1350 §4), so a new request
            // fetches the rest.
            TftpEnd::AddressLost if access.await_address() => {
                say_again(url, &"the address has changed", &config);
                continue;
            }
            TftpEnd::AddressLost => {
                let why = "the local address is gone";
                return Err(Failure::Passing(why.into()).into());
            }
            TftpEnd::Failed(failure) => failure,
        };
        fruitless = if config.received.count() > before {
            0
        } else {
            fruitless + 1
        };
        let next = config.terms.after(&failure);
        let Some(terms) = next.filter(|_| fruitless < MAX_FRUITLESS) else {
            return Err(if is_missing(&failure) {
                Failure::Missing(text_of(&failure)).into()
            } else if matches!(failure, TransferFailure::NoAnswer { .. }) {
                AddressFailure::NoAnswer(failure)
            } else if matches!(failure, TransferFailure::Stalled { .. }) {
                silent(attempt, failure).into()
            } else if matches!(failure, TransferFailure::TooSlow { .. }) {
                Failure::Passing(text_of(&failure)).into()
            } else {
                Failure::Other(text_of(&failure)).into()
            });
        };
        if let TransferFailure::Holes { .. } = failure {
            say_again(url, &failure, &config);
        } else {
            log::debug!("{url}: {failure}; asking again with {terms}");
        }
        config.terms = terms;
    }
}

/// Tells people why the progress stands still: a server sends all of a file again, since no TFTP
/// option begins in the middle of one.
fn say_again(url: &Url, why: &dyn Display, config: &Config) {
    let received = config.received.count();
    log::info!("{url}: {why}; asking again for the file, of which {received} bytes are here");
}

/// Returns the largest packet to ask the server for. The MTU is mostly the same in both directions,
/// so the route to the server decides; where it is not, large blocks do not arrive, and smaller
/// ones are requested.
fn path_mtu(access: &ServerAccess, server: SocketAddr) -> u16 {
    let by_route = || {
        let udp = socket::connected(access, server).ok()?;
        sys::udp::path_mtu(&udp, &server).ok()
    };
    access.path_mtu.or_else(by_route).unwrap_or(ETHERNET_MTU)
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

/// The end of one request.
enum TftpEnd {
    /// The file is complete.
    Done,
    /// The local address has been removed.
    AddressLost,
    Failed(TransferFailure),
}

/// Runs one request to its end, with the received bytes in `sink`; returns the configuration for a
/// request that continues.
fn transfer(
    access: &ServerAccess,
    config: Config,
    sink: &mut Sink<'_>,
) -> Result<(Config, TftpEnd), Failure> {
    // A new port is a new transfer identifier (RFC 1350 §4): late packets of the last one are
    // strangers.
    let mut socket = Socket::open(access, config.server, &config.terms)?;
    let now = sys::now();
    let mut get = Get::new(config, now);
    let end = exchange(access, &mut socket, &mut get, sink, now)?;
    Ok((get.into_config(), end))
}

fn exchange(
    access: &ServerAccess,
    socket: &mut Socket,
    get: &mut Get,
    sink: &mut Sink<'_>,
    mut now: Instant,
) -> Result<TftpEnd, Failure> {
    let mut outgoing = Vec::new();
    let mut write_error: Option<io::Error> = None;
    loop {
        transmit(socket, get, &mut outgoing);
        // The ERROR packet to the server has been sent by now.
        if let Some(error) = write_error {
            return Err(other(error));
        }
        while let Some(event) = get.poll_event() {
            match event {
                Event::Started { server, len, terms } => {
                    let tsize = len.map_or_else(|| "unknown".to_owned(), |len| len.to_string());
                    log::debug!("{server}: {terms}, tsize {tsize}");
                    if let Err(error) = sink.expect(len) {
                        get.abort("no room");
                        write_error = Some(error);
                    }
                }
                Event::Done => return Ok(TftpEnd::Done),
                Event::Failed(failure) => return Ok(TftpEnd::Failed(failure)),
            }
        }
        if write_error.is_some() {
            continue;
        }
        let received = socket.receive(get.packets_under_way(), get.poll_timeout(), now);
        // Read once for each batch: reading the clock costs a tenth of what a packet does.
        now = sys::now();
        let mut chunks = Vec::new();
        match received {
            Ok(false) if socket.has_lost_address(access) => return Ok(TftpEnd::AddressLost),
            Ok(_) => {}
            // An ICMP error about an earlier datagram; the timeouts decide.
            Err(error) => log::debug!("receiving: {error}"),
        }
        // Acknowledged before writing, so that the server sends meanwhile.
        for (source, payload) in socket.received() {
            match get.handle_input(source, payload, now) {
                Ok(chunk) => chunks.push(chunk),
                Err(discard) => log::trace!("{source}: {discard}"),
            }
            transmit(socket, get, &mut outgoing);
        }
        for chunk in chunks {
            if let Err(error) = sink.write_at(chunk.at, chunk.bytes) {
                get.abort("no room");
                write_error = Some(error);
                break;
            }
        }
        // Also while packets arrive, since they may all be discarded.
        if get.poll_timeout().is_some_and(|at| now >= at) {
            get.handle_timeout(now);
        }
        sink.show(now);
    }
}

/// Sends all packets that are due.
fn transmit(socket: &Socket, get: &mut Get, outgoing: &mut Vec<u8>) {
    while let Some(transmit) = get.poll_transmit(outgoing) {
        // Treated like a lost datagram, which is repeated in time.
        if let Err(error) = socket.send(outgoing, transmit.destination) {
            log::debug!("sending to {}: {error}", transmit.destination);
        }
    }
}
