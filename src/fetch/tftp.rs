//! Drives [`wireboot_proto::tftp::Get`] over UDP sockets: one for each way of asking, until one works.

mod socket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::access::ServerAccess;
use super::download::Attempt;
use super::failure::{Failure, no_address, other, text_of};
use super::names::resolve;
use super::rotation::FIRST_PATIENCE;
use super::sink::Sink;
use crate::sys;
use socket::Socket;
use wireboot_proto::packet::tftp::ErrorCode;
use wireboot_proto::tftp::{ByteRanges, Config, Event, Failure as TransferFailure, Get, Terms};
use wireboot_proto::time::Instant;

/// What most networks carry, where the kernel knows no route.
const ETHERNET_MTU: u16 = 1500;
/// So many passes over a file in a row may bring none of the blocks that are missing.
const MAX_FRUITLESS: u32 = 8;

/// Fetches the file into `sink`, which is empty, from the first of its server's addresses that answers.
pub(super) fn get(attempt: &Attempt<'_>, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let mut servers = resolve(attempt.url, attempt.access.interface.as_deref())
        .map_err(Failure::Passing)?
        .into_iter();
    let mut failure = no_address(attempt.url);
    while let Some(server) = servers.next() {
        let patience = match servers.len() {
            0 => attempt.patience,
            _ => attempt.patience.min(FIRST_PATIENCE),
        };
        match get_from(attempt, server, patience, sink) {
            Err(AddressFailure::NoAnswer(why)) => failure = silent(attempt, why),
            Err(AddressFailure::Final(why)) => return Err(why),
            Ok(()) => return Ok(()),
        }
    }
    Err(failure)
}

/// Whether another address of the server may do better.
enum AddressFailure {
    NoAnswer(TransferFailure),
    Final(Failure),
}

impl From<Failure> for AddressFailure {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Who has been asked again and again for the whole stall timeout is not asked any more.
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
            // The server knows a transfer by our address too (RFC 1350 §4): another one begins,
            // which brings what is missing.
            TftpEnd::AddressLost if access.await_address() => {
                log::debug!("{url}: asking again from another address");
                continue;
            }
            TftpEnd::AddressLost => {
                let why = "the address of this machine is gone";
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
        log::debug!("{url}: {failure}; asking again with {terms}");
        config.terms = terms;
    }
}

/// Returns the largest packet that the server can be told to send. Ways are mostly as wide back as they
/// are forth, so what the kernel knows about ours counts; where that does not hold, no large block
/// comes, and smaller ones are asked for.
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

/// How one request ended.
enum TftpEnd {
    /// All has been received.
    Done,
    /// The address that it was made from is gone.
    AddressLost,
    Failed(TransferFailure),
}

/// Runs one request to its end; what was received is in `sink`. Returns what to go on with, too.
fn transfer(
    access: &ServerAccess,
    config: Config,
    sink: &mut Sink<'_>,
) -> Result<(Config, TftpEnd), Failure> {
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
        // The server has been told by now.
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
        // Once for each batch: the clock costs a tenth of what a packet does.
        now = sys::now();
        let mut chunks = Vec::new();
        match received {
            Ok(false) if socket.has_lost_address(access) => return Ok(TftpEnd::AddressLost),
            Ok(_) => {}
            // What ICMP says of an earlier datagram; the timeouts decide.
            Err(error) => log::debug!("receiving: {error}"),
        }
        // What is sent lets the server go on while the chunks are written.
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
        // Also while packets come: they may be of no use.
        if get.poll_timeout().is_some_and(|at| now >= at) {
            get.handle_timeout(now);
        }
        sink.show(now);
    }
}

/// Sends all that is due.
fn transmit(socket: &Socket, get: &mut Get, outgoing: &mut Vec<u8>) {
    while let Some(transmit) = get.poll_transmit(outgoing) {
        // Lost like any datagram; it is repeated in time.
        if let Err(error) = socket.send(outgoing, transmit.destination) {
            log::debug!("sending to {}: {error}", transmit.destination);
        }
    }
}
