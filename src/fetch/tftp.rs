//! Drives [`crate::tftp::Get`] over UDP sockets: one for each way of asking, until one works.

mod pace;
mod socket;

use std::io;
use std::net::SocketAddr;

use super::sink::Sink;
use super::{Failure, Fetcher, no_address, other, resolve};
use crate::plan::url::Url;
use crate::sys;
use crate::tftp::{Config, Event, Extents, Failure as TransferFailure, Get, Terms};
use crate::time::Instant;
use crate::wire::tftp::ErrorCode;
use socket::Socket;

/// So many passes over a file in a row may bring none of the blocks that are missing.
const MAX_FRUITLESS: u32 = 8;

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
    let mut socket = Socket::open(fetcher, config.server, &config.terms)?;
    let now = sys::now();
    let mut get = Get::new(config.clone(), now);
    let end = exchange(&mut socket, &mut get, config, sink, now);
    config.received = get.into_received();
    end
}

fn exchange(
    socket: &mut Socket,
    get: &mut Get,
    config: &mut Config,
    sink: &mut Sink<'_>,
    mut now: Instant,
) -> Result<Option<TransferFailure>, Failure> {
    let mut outgoing = Vec::new();
    let mut no_room: Option<io::Error> = None;
    loop {
        transmit(socket, get, &mut outgoing);
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
        let received = socket.receive(get.packets_under_way(), get.poll_timeout(), now);
        // Once for each batch: the clock costs a tenth of what a packet does.
        now = sys::now();
        let mut pieces = Vec::new();
        match received {
            Ok(true) => {}
            Ok(false) => get.handle_timeout(now),
            // What ICMP says of an earlier datagram; the timeouts decide.
            Err(error) => {
                log::debug!("receiving from {}: {error}", config.server);
                get.handle_timeout(now);
            }
        }
        // What is sent lets the server go on while the pieces are written.
        for (source, payload) in socket.come() {
            match get.handle_input(source, payload, now) {
                Ok(piece) => pieces.push(piece),
                Err(discard) => log::trace!("{source}: {discard}"),
            }
            transmit(socket, get, &mut outgoing);
        }
        for piece in pieces {
            if let Err(error) = sink.write_at(piece.at, piece.octets) {
                get.abort("no room");
                no_room = Some(error);
                break;
            }
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
