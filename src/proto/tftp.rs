//! One read transfer as a state machine: RFC 1350, 2347, 2348, 2349 and 7440.
//!
//! Octets come out each once with their place, in order but where a block was passed over, and
//! [`Event::Done`] comes only when all have come and the length is the announced one. A duplicate is never answered with an
//! acknowledgment while one may be on its way, which keeps the Sorcerer's Apprentice out
//! (RFC 1123 §4.2.3.1). After a gap the last block in order is acknowledged at once, so that the
//! server goes back without waiting for its timer (RFC 7440 §4).
//!
//! Most servers without windows repeat a lost block only after a second or two, whatever the
//! client does. Where waiting for that has cost more than another pass over the file would, a lost
//! block is passed over: it is acknowledged, and the transfer ends with [`Failure::Holes`]. Of what
//! an earlier pass has brought many blocks are acknowledged at once, none of which is waited for. QEMU's
//! server passes over blocks by itself: it never repeats one, and goes on whatever is acknowledged.
//!
//! A server that has been silent for a while is asked anew, since it may have been restarted, have
//! forgotten a transfer whose last block was lost, or send blocks that are too large for a part of
//! the way.
//!
//! One machine is one request. Asking again, with other [`Terms`] or for the holes, is a new
//! machine on a new socket, told by [`Config::received`] what has already come. The final
//! acknowledgment is not repeated: the transfer is complete without it, and the server gives up by
//! itself.

#![forbid(unsafe_code)]

mod blocks;
mod extents;
mod negotiation;
mod outcome;
mod receipt;
mod receiving;
mod round_trip;
mod terms;

use crate::prelude::*;
use core::net::SocketAddr;
use core::time::Duration;

use crate::packet::tftp::{ErrorCode, TftpOptions, TftpPacket};
use crate::text::safe::text_of;
use crate::time::{Instant, LeastRate};
pub use extents::Extents;
use negotiation::{agreed, encode_request};
pub use outcome::{Discard, Event, Failure};
use receipt::Receipt;
use round_trip::RoundTrip;
pub use terms::Terms;

/// A server that has been silent for this part of the stall timeout is asked anew.
const PATIENCE: u32 = 5;

/// What to fetch, and within which limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's address and its port for requests, which is 69 by default.
    pub server: SocketAddr,
    /// The file's name, as the server knows it.
    pub file: String,
    /// What to ask for.
    pub terms: Terms,
    /// The transfer has failed when so long nothing new has come.
    pub stall_timeout: Duration,
    /// The most octets that the file may have.
    pub max_len: u64,
    /// What earlier requests of the same transfer have brought, which is not handed out again.
    pub received: Extents,
    /// The length that an earlier request of the same transfer was told.
    pub expected_len: Option<u64>,
    /// When the last block came, or the first answer, by earlier requests of the same transfer.
    pub heard_at: Option<Instant>,
    /// How fast it must go on, which earlier requests of the same transfer have begun to measure.
    pub rate: Option<LeastRate>,
}

/// A piece of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where in the file it begins.
    pub at: u64,
    /// What it is; may be nothing.
    pub octets: &'a [u8],
}

impl Piece<'_> {
    const NONE: Self = Self { at: 0, octets: &[] };
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address and its port for this transfer.
    pub destination: SocketAddr,
}

/// The transfer.
#[derive(Debug)]
pub struct Get {
    config: Config,
    state: State,
    round_trip: RoundTrip,
    retransmit_at: Instant,
    /// When the server has been silent for so long that it may have forgotten the transfer.
    ask_again_at: Instant,
    give_up_at: Instant,
    rate: LeastRate,
    /// What the next packet to the server is.
    due: Option<Due>,
    /// A port that sent what belongs to no transfer of ours.
    stranger: Option<SocketAddr>,
    events: Vec<Event>,
}

#[derive(Debug)]
enum State {
    Requesting { requests: u32 },
    Receiving(Receipt),
    Ended { server: SocketAddr },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Request,
    Acknowledgment(u16),
    Error(ErrorCode, &'static str),
}

impl Get {
    /// Starts with the request due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut get = Self {
            give_up_at: config.heard_at.unwrap_or(now) + config.stall_timeout,
            ask_again_at: now,
            rate: config
                .rate
                .unwrap_or_else(|| LeastRate::new(config.stall_timeout, now)),
            config,
            state: State::Requesting { requests: 0 },
            round_trip: RoundTrip::new(),
            retransmit_at: now,
            due: None,
            stranger: None,
            events: Vec::new(),
        };
        get.request(now);
        get
    }

    /// Takes a packet; returns the octets of the file that it adds.
    ///
    /// # Errors
    /// Why the packet is not used; the transfer goes on.
    pub fn handle_input<'d>(
        &mut self,
        source: SocketAddr,
        payload: &'d [u8],
        now: Instant,
    ) -> Result<Piece<'d>, Discard> {
        let expected = match &self.state {
            State::Requesting { .. } => None,
            State::Receiving(receipt) => Some(receipt.server),
            State::Ended { .. } => return Err(Discard::Unexpected),
        };
        if source.ip() != self.config.server.ip() {
            return Err(Discard::WrongServer);
        }
        if expected.is_some_and(|server| server.port() != source.port()) {
            self.stranger = Some(source);
            return Err(Discard::UnknownTransfer);
        }
        match TftpPacket::decode(payload)? {
            TftpPacket::Data { block, data } => {
                if expected.is_none() {
                    if block != 1 {
                        return Err(Discard::Unexpected);
                    }
                    // The server knows no options: everything is as in RFC 1350.
                    self.start(source, Terms::PLAIN, None, now);
                }
                self.handle_data(block, data, now)
            }
            TftpPacket::OptionAcknowledgment { options } => self
                .handle_options(source, options, now)
                .map(|()| Piece::NONE),
            TftpPacket::Error { code, message } => {
                self.end(
                    source,
                    Failure::Refused {
                        code,
                        message: text_of(message),
                        at_request: expected.is_none(),
                    },
                    None,
                );
                Ok(Piece::NONE)
            }
            TftpPacket::ReadRequest { .. }
            | TftpPacket::WriteRequest { .. }
            | TftpPacket::Acknowledgment { .. } => Err(Discard::Unexpected),
        }
    }

    /// Repeats what was not answered in time, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            State::Requesting { requests } if now >= self.give_up_at => {
                let failure = match self.config.heard_at {
                    None => Failure::NoAnswer {
                        requests: *requests,
                    },
                    Some(_) => Failure::Stalled {
                        received: self.config.received.count(),
                    },
                };
                self.end(self.config.server, failure, None);
            }
            State::Requesting { .. } if now >= self.rate.due_at() => {
                let received = self.config.received.count();
                self.end(self.config.server, Failure::TooSlow { received }, None);
            }
            State::Receiving(receipt) if now >= self.end_at() => {
                let (server, received) = (receipt.server, receipt.position());
                let (failure, text) = if now >= self.give_up_at {
                    (Failure::Stalled { received }, "timed out")
                } else if now >= self.rate.due_at() {
                    (Failure::TooSlow { received }, "too slow")
                } else {
                    (Failure::Silent { received }, "asking again")
                };
                self.end(server, failure, Some((ErrorCode::NOT_DEFINED, text)));
            }
            State::Requesting { .. } if now >= self.retransmit_at => {
                self.round_trip.repeated();
                self.request(now);
            }
            State::Receiving(_) if now >= self.retransmit_at => self.repeat_acknowledgment(now),
            State::Requesting { .. } | State::Receiving(_) | State::Ended { .. } => {}
        }
    }

    /// Ends the transfer; returns what another request for the rest begins with.
    pub fn into_config(mut self) -> Config {
        // What passed before the first answer does not count.
        self.config.rate = self.config.heard_at.map(|_| self.rate);
        self.config
    }

    /// Gives the transfer up and tells the server why, at the next [`Get::poll_transmit`].
    pub fn abort(&mut self, message: &'static str) {
        let server = match &self.state {
            State::Receiving(receipt) => receipt.server,
            State::Requesting { .. } | State::Ended { .. } => return,
        };
        self.due = Some(Due::Error(ErrorCode::DISK_FULL, message));
        self.state = State::Ended { server };
    }

    /// Writes the next packet to be sent into `buf`, which is emptied before.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        if let Some(destination) = self.stranger.take() {
            let error = TftpPacket::Error {
                code: ErrorCode::UNKNOWN_TRANSFER,
                message: b"unknown transfer",
            };
            error.encode(buf);
            return Some(Transmit { destination });
        }
        let burst = match &mut self.state {
            State::Receiving(receipt) if self.due.is_none() => receipt.next_of_burst(),
            State::Requesting { .. } | State::Receiving(_) | State::Ended { .. } => None,
        };
        match self.due.take().or(burst.map(Due::Acknowledgment))? {
            Due::Request => encode_request(&self.config.file, &self.config.terms, buf),
            Due::Acknowledgment(block) => TftpPacket::Acknowledgment { block }.encode(buf),
            Due::Error(code, message) => {
                let message = message.as_bytes();
                TftpPacket::Error { code, message }.encode(buf);
            }
        }
        let destination = match &self.state {
            State::Requesting { .. } => self.config.server,
            State::Receiving(receipt) => receipt.server,
            State::Ended { server } => *server,
        };
        Some(Transmit { destination })
    }

    /// Returns what happened, in order.
    pub fn poll_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// Returns when [`Get::handle_timeout`] is to be called; none when the transfer has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Requesting { .. } => {
                let end = self.give_up_at.min(self.rate.due_at());
                Some(self.retransmit_at.min(end))
            }
            State::Receiving(_) => Some(self.retransmit_at.min(self.end_at())),
            State::Ended { .. } => None,
        }
    }

    /// Returns how many packets, at most, the server is sending without waiting for one of ours: the
    /// rest of a window that has begun to come; or 1.
    pub fn packets_under_way(&self) -> u16 {
        match &self.state {
            State::Receiving(receipt) => receipt.rest_of_window(),
            State::Requesting { .. } | State::Ended { .. } => 1,
        }
    }

    /// Returns when a transfer that goes on no better ends.
    fn end_at(&self) -> Instant {
        let silent_at = self.ask_again_at.min(self.give_up_at);
        silent_at.min(self.rate.due_at())
    }

    fn request(&mut self, now: Instant) {
        let State::Requesting { requests } = &mut self.state else {
            return;
        };
        *requests += 1;
        if *requests == 1 {
            self.round_trip.sent(now);
        }
        self.due = Some(Due::Request);
        self.retransmit_at = now + self.round_trip.timeout();
    }

    /// Notes that the server is there.
    fn heard(&mut self, now: Instant) {
        self.config.heard_at = Some(now);
        self.ask_again_at = now + self.config.stall_timeout / PATIENCE;
        self.give_up_at = now + self.config.stall_timeout;
    }

    fn handle_options(
        &mut self,
        source: SocketAddr,
        options: TftpOptions<'_>,
        now: Instant,
    ) -> Result<(), Discard> {
        match &self.state {
            State::Requesting { .. } => {}
            // Its acknowledgment was lost, or is on its way.
            State::Receiving(receipt) if receipt.blocks.count() == 0 => {
                return Err(self.handle_duplicate(now));
            }
            State::Receiving(_) | State::Ended { .. } => return Err(Discard::Unexpected),
        }
        let (terms, len) = match agreed(&self.config.terms, options) {
            Ok(agreed) => agreed,
            Err(option) => {
                let farewell = (ErrorCode::OPTION_NEGOTIATION, "option not asked for");
                self.end(source, Failure::BadOptions(option), Some(farewell));
                return Ok(());
            }
        };
        self.start(source, terms, len, now);
        if let Some(announced) = len.filter(|len| *len > self.config.max_len) {
            log::debug!("{announced} octets announced");
            let limit = self.config.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            self.end(source, Failure::TooLarge { limit }, Some(farewell));
        } else if let (Some(before), Some(now)) = (self.config.expected_len, len)
            && before != now
        {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            self.end(source, Failure::Changed { before, now }, Some(farewell));
        } else {
            self.round_trip.sent(now);
            self.acknowledge(now);
        }
        Ok(())
    }

    fn start(&mut self, server: SocketAddr, terms: Terms, len: Option<u64>, now: Instant) {
        self.round_trip.answered(now);
        self.ask_again_at = now + self.config.stall_timeout / PATIENCE;
        if self.config.heard_at.is_none() {
            self.heard(now);
            self.rate = LeastRate::new(self.config.stall_timeout, now);
        }
        self.config.expected_len = self.config.expected_len.or(len);
        self.retransmit_at = now + self.round_trip.timeout();
        self.events.push(Event::Started { server, len, terms });
        self.state = State::Receiving(Receipt::new(server, terms, len, now));
    }

    fn end(
        &mut self,
        server: SocketAddr,
        failure: Failure,
        farewell: Option<(ErrorCode, &'static str)>,
    ) {
        self.due = farewell.map(|(code, message)| Due::Error(code, message));
        self.state = State::Ended { server };
        self.events.push(Event::Failed(failure));
    }
}

#[cfg(test)]
mod tests;
