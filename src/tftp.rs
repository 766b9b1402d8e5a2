//! One read transfer as a state machine: RFC 1350, 2347, 2348, 2349 and 7440.
//!
//! Octets come out in order, each once, and [`Event::Done`] comes only when the last block has
//! come and the length is the announced one. A duplicate is never answered with an
//! acknowledgment while one may be on its way, which keeps the Sorcerer's Apprentice out
//! (RFC 1123 §4.2.3.1). After a gap the last block in order is acknowledged at once, so that the
//! server goes back without waiting for its timer (RFC 7440 §4).
//!
//! One machine is one request. Asking again with other [`Terms`] is a new machine on a new
//! socket, told by [`Config::skip`] how much has already come. The final acknowledgment is not
//! repeated: the transfer is complete without it, and the server gives up by itself.

#![forbid(unsafe_code)]

mod blocks;
mod round_trip;
mod terms;

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Instant;
use crate::wire::DecodeError;
use crate::wire::tftp::{
    BLKSIZE, ErrorCode, Options, Packet, TIMEOUT, TSIZE, WINDOWSIZE, printable,
};
use blocks::{Blocks, Place};
use round_trip::RoundTrip;
pub use terms::Terms;

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
    /// Octets at the beginning that are received and not handed out.
    pub skip: u64,
    /// The length that an earlier request of the same transfer was told.
    pub expected_len: Option<u64>,
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address and its port for this transfer.
    pub destination: SocketAddr,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server answered; nothing but its packets matter from now on.
    Started {
        /// The port it chose for the transfer.
        server: SocketAddr,
        /// The whole length, when it says so.
        len: Option<u64>,
        /// What was agreed on.
        terms: Terms,
    },
    /// The last octet has come.
    Done,
    /// The transfer has ended without the file.
    Failed(Failure),
}

/// Why a transfer ended without the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The server sent an ERROR packet.
    #[error("the server says: {} ({message:?})", code.meaning())]
    Refused {
        /// Its number.
        code: ErrorCode,
        /// Its text, safe to print.
        message: String,
        /// Whether it was the answer to the request.
        at_request: bool,
    },
    /// The server agreed to what was not asked.
    #[error("the server answers with the option {0}, which was not asked for")]
    BadOptions(String),
    /// Not a single answer came.
    #[error("no answer to {requests} requests; is there a TFTP server, and may UDP pass?")]
    NoAnswer {
        /// Requests sent.
        requests: u32,
    },
    /// Nothing new came for the stall timeout.
    #[error("nothing more came after {received} octets")]
    Stalled {
        /// Octets that had come.
        received: u64,
    },
    /// Windows come with holes so often that smaller ones are faster.
    #[error("too many packets are lost")]
    Lossy,
    /// The file ended elsewhere than announced.
    #[error("the server announced {announced} octets and sent {received}")]
    WrongLen {
        /// The length in `tsize`.
        announced: u64,
        /// What came.
        received: u64,
    },
    /// An earlier answer announced another length.
    #[error("the file changed on the server: {before} octets before, {now} now")]
    Changed {
        /// The length announced first.
        before: u64,
        /// The length announced now.
        now: u64,
    },
    /// The file is larger than allowed.
    #[error("the file has more than the allowed {limit} octets")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

/// Why a packet was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not TFTP.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// It is from another host.
    #[error("not from the server")]
    WrongServer,
    /// It is from another port than the transfer's.
    #[error("of another transfer")]
    UnknownTransfer,
    /// It has no meaning in this state.
    #[error("out of turn")]
    Unexpected,
    /// It came before.
    #[error("a duplicate")]
    Duplicate,
    /// Blocks before it are missing.
    #[error("behind a gap")]
    Gap,
    /// It has more octets than a block.
    #[error("longer than a block")]
    Oversize,
}

/// The transfer.
#[derive(Debug)]
pub struct Get {
    config: Config,
    state: State,
    round_trip: RoundTrip,
    retransmit_at: Instant,
    give_up_at: Instant,
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

/// What has come.
#[derive(Debug)]
struct Receipt {
    server: SocketAddr,
    terms: Terms,
    announced_len: Option<u64>,
    blocks: Blocks,
    received: u64,
    /// Blocks since the last acknowledgment.
    in_window: u16,
    /// The furthest block behind the gap that this round of the server has shown.
    ahead: Option<u16>,
    acknowledged_at: Instant,
    /// Acknowledgments sent, by which the loss is judged.
    rounds: u32,
}

/// After so many rounds it is judged whether the window suits the path.
const ROUNDS_TO_JUDGE: u32 = 32;
/// Fewer octets than this are received again for a better window, where the length is unknown.
const CHEAP_TO_REPEAT: u64 = 4 << 20;

impl Get {
    /// Starts with the request due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut get = Self {
            give_up_at: now + config.stall_timeout,
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

    /// Takes a packet; returns the octets of the file that it adds, which follow those returned
    /// before.
    ///
    /// # Errors
    /// Why the packet is not used; the transfer goes on.
    pub fn handle_input<'d>(
        &mut self,
        source: SocketAddr,
        payload: &'d [u8],
        now: Instant,
    ) -> Result<&'d [u8], Discard> {
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
        match Packet::decode(payload)? {
            Packet::Data { block, data } => {
                if expected.is_none() {
                    if block != 1 {
                        return Err(Discard::Unexpected);
                    }
                    // The server knows no options: everything is as in RFC 1350.
                    self.start(source, Terms::PLAIN, None, now);
                }
                self.handle_data(block, data, now)
            }
            Packet::OptionAcknowledgment { options } => {
                self.handle_options(source, options, now).map(|()| &[][..])
            }
            Packet::Error { code, message } => {
                self.end(
                    source,
                    Failure::Refused {
                        code,
                        message: printable(message),
                        at_request: expected.is_none(),
                    },
                    None,
                );
                Ok(&[])
            }
            Packet::ReadRequest { .. }
            | Packet::WriteRequest { .. }
            | Packet::Acknowledgment { .. } => Err(Discard::Unexpected),
        }
    }

    /// Repeats what was not answered in time, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (server, failure) = match &self.state {
            State::Requesting { requests } => (
                self.config.server,
                Failure::NoAnswer {
                    requests: *requests,
                },
            ),
            State::Receiving(receipt) => (
                receipt.server,
                Failure::Stalled {
                    received: receipt.received,
                },
            ),
            State::Ended { .. } => return,
        };
        if now >= self.give_up_at {
            let farewell = match &self.state {
                State::Receiving(_) => Some((ErrorCode::NOT_DEFINED, "timed out")),
                State::Requesting { .. } | State::Ended { .. } => None,
            };
            self.end(server, failure, farewell);
        } else if now >= self.retransmit_at {
            self.round_trip.repeated();
            match &self.state {
                State::Requesting { .. } => self.request(now),
                State::Receiving(_) => self.acknowledge(now),
                State::Ended { .. } => {}
            }
        }
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
            let error = Packet::Error {
                code: ErrorCode::UNKNOWN_TRANSFER,
                message: b"unknown transfer",
            };
            error.encode(buf);
            return Some(Transmit { destination });
        }
        match self.due.take()? {
            Due::Request => self.config.encode_request(buf),
            Due::Acknowledgment(block) => Packet::Acknowledgment { block }.encode(buf),
            Due::Error(code, message) => {
                let message = message.as_bytes();
                Packet::Error { code, message }.encode(buf);
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
            State::Requesting { .. } | State::Receiving(_) => {
                Some(self.retransmit_at.min(self.give_up_at))
            }
            State::Ended { .. } => None,
        }
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

    fn handle_options(
        &mut self,
        source: SocketAddr,
        options: Options<'_>,
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
        self.give_up_at = now + self.config.stall_timeout;
        self.retransmit_at = now + self.round_trip.timeout();
        self.events.push(Event::Started { server, len, terms });
        self.state = State::Receiving(Receipt {
            server,
            terms,
            announced_len: len,
            blocks: Blocks::new(terms.window),
            received: 0,
            in_window: 0,
            ahead: None,
            acknowledged_at: now,
            rounds: 0,
        });
    }

    fn handle_data<'d>(
        &mut self,
        block: u16,
        data: &'d [u8],
        now: Instant,
    ) -> Result<&'d [u8], Discard> {
        let State::Receiving(receipt) = &mut self.state else {
            return Err(Discard::Unexpected);
        };
        if data.len() > usize::from(receipt.terms.block_len) {
            return Err(Discard::Oversize);
        }
        match receipt.blocks.place(block) {
            Place::Next => {}
            Place::Ahead(distance) => {
                let is_new_round = receipt.ahead.is_none_or(|seen| distance <= seen);
                receipt.ahead = Some(distance);
                self.retransmit_at = now + self.round_trip.timeout();
                if is_new_round && !self.judge_loss() {
                    self.acknowledge_gap(now);
                }
                return Err(Discard::Gap);
            }
            Place::Last => return Err(self.handle_duplicate(now)),
            Place::Elsewhere => return Err(Discard::Duplicate),
        }
        receipt.blocks.advance();
        receipt.ahead = None;
        receipt.in_window += 1;
        let before = receipt.received;
        receipt.received += data.len() as u64;
        let is_last = data.len() < usize::from(receipt.terms.block_len);
        let window_is_full = receipt.in_window >= receipt.terms.window;
        let (server, received) = (receipt.server, receipt.received);
        // Some servers send the 0 of the request back.
        let announced = receipt.announced_len.filter(|len| *len > 0);

        self.round_trip.answered(now);
        self.give_up_at = now + self.config.stall_timeout;
        self.retransmit_at = now + self.round_trip.timeout();
        let exceeds_announced = announced.is_some_and(|len| received > len);
        if received > self.config.max_len {
            let limit = self.config.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            self.end(server, Failure::TooLarge { limit }, Some(farewell));
            return Ok(&[]);
        } else if let Some(announced) = announced
            && (exceeds_announced || is_last && announced != received)
        {
            let farewell = (ErrorCode::NOT_DEFINED, "not the announced length");
            let failure = Failure::WrongLen {
                announced,
                received,
            };
            self.end(server, failure, Some(farewell));
            return Ok(&[]);
        } else if is_last && received < self.config.skip {
            let failure = Failure::Changed {
                before: self.config.skip,
                now: received,
            };
            self.end(server, failure, None);
        } else if is_last {
            self.acknowledge(now);
            self.state = State::Ended { server };
            self.events.push(Event::Done);
        } else if window_is_full {
            self.round_trip.sent(now);
            self.acknowledge(now);
        }
        let skipped =
            usize::try_from(self.config.skip.saturating_sub(before)).unwrap_or(usize::MAX);
        Ok(data.get(skipped..).unwrap_or_default())
    }

    /// Repeats the acknowledgment if the last one is so old that it must have been lost.
    fn handle_duplicate(&mut self, now: Instant) -> Discard {
        if let State::Receiving(receipt) = &self.state
            && now >= receipt.acknowledged_at + self.round_trip.timeout()
        {
            self.acknowledge(now);
        }
        Discard::Duplicate
    }

    /// Acknowledges all that has come, which begins a new window.
    fn acknowledge(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        receipt.ahead = None;
        self.acknowledge_gap(now);
    }

    fn acknowledge_gap(&mut self, now: Instant) {
        let State::Receiving(receipt) = &mut self.state else {
            return;
        };
        receipt.in_window = 0;
        receipt.rounds += 1;
        receipt.acknowledged_at = now;
        self.due = Some(Due::Acknowledgment(receipt.blocks.acknowledged()));
        self.retransmit_at = now + self.round_trip.timeout();
    }

    /// Ends the transfer if less than a quarter of each window is of use and what has come is
    /// little; returns whether it did.
    fn judge_loss(&mut self) -> bool {
        let State::Receiving(receipt) = &self.state else {
            return false;
        };
        let useful = receipt.blocks.count() / u64::from(receipt.rounds.max(1));
        let cheap = match receipt.announced_len {
            Some(len) => receipt.received < len / 4,
            None => receipt.received < CHEAP_TO_REPEAT,
        };
        let is_lossy = receipt.rounds >= ROUNDS_TO_JUDGE
            && receipt.terms.window > 1
            && useful < u64::from(receipt.terms.window) / 4
            && cheap;
        if is_lossy {
            let farewell = (ErrorCode::NOT_DEFINED, "asking again for a smaller window");
            self.end(receipt.server, Failure::Lossy, Some(farewell));
        }
        is_lossy
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

impl Config {
    fn encode_request(&self, buf: &mut Vec<u8>) {
        let mut options = Vec::new();
        if self.terms.options {
            Options::encode(TSIZE, "0", &mut options);
            Options::encode(BLKSIZE, &self.terms.block_len.to_string(), &mut options);
            Options::encode(TIMEOUT, SERVER_TIMEOUT, &mut options);
            if self.terms.window > 1 {
                Options::encode(WINDOWSIZE, &self.terms.window.to_string(), &mut options);
            }
        }
        let request = Packet::ReadRequest {
            file: self.file.as_bytes(),
            mode: b"octet",
            options: Options::decode(&options).unwrap_or_default(),
        };
        request.encode(buf);
    }
}

/// Seconds after which the server is to repeat by itself; our own timer is mostly faster.
const SERVER_TIMEOUT: &str = "1";

/// Returns what holds by the server's answer, with the length it announces.
///
/// RFC 2347 lets a server leave options out, RFC 2348 and 7440 lower a value, nobody add one.
///
/// # Errors
/// The option that does not fit, printable.
fn agreed(asked: &Terms, options: Options<'_>) -> Result<(Terms, Option<u64>), String> {
    let mut terms = Terms {
        options: asked.options,
        ..Terms::PLAIN
    };
    let mut len = None;
    for (name, value) in options.iter() {
        let wrong = || format!("{}={}", printable(name), printable(value));
        let number: Option<u64> = std::str::from_utf8(value)
            .ok()
            .and_then(|value| value.trim().parse().ok());
        let number = number.filter(|_| asked.options).ok_or_else(wrong)?;
        let lowered = |limit: u16, least: u16| {
            u16::try_from(number)
                .ok()
                .filter(|value| (least..=limit).contains(value))
                .ok_or_else(wrong)
        };
        if name.eq_ignore_ascii_case(BLKSIZE.as_bytes()) {
            terms.block_len = lowered(asked.block_len, 8)?;
        } else if name.eq_ignore_ascii_case(WINDOWSIZE.as_bytes()) && asked.window > 1 {
            terms.window = lowered(asked.window, 1)?;
        } else if name.eq_ignore_ascii_case(TSIZE.as_bytes()) {
            len = Some(number);
        } else if !name.eq_ignore_ascii_case(TIMEOUT.as_bytes()) {
            return Err(wrong());
        }
    }
    Ok((terms, len))
}

#[cfg(test)]
mod tests;
