//! TFTP read request as a state machine: RFC 1350, 2347, 2348, 2349 and 7440.
//!
//! Each byte of the file is returned once, with its position; in order, except behind skipped
//! blocks. [`Event::Done`] means that all bytes were received and the length is the announced one.
//! A duplicate is not acknowledged while an acknowledgment may be under way, which prevents the
//! Sorcerer's Apprentice Syndrome (RFC 1123 §4.2.3.1). After a gap the last block in order is
//! acknowledged at once, so that the server goes back without waiting for its timer (RFC 7440 §4).
//!
//! Most servers without windows repeat a lost block only after a second or two, whatever the client
//! does. Once waiting for that has taken longer than another pass over the file would, lost blocks
//! are skipped: they are acknowledged, and the transfer ends with [`Failure::Holes`]. In the next
//! pass, blocks that were received before are acknowledged in bursts without waiting for them.
//! QEMU's server skips lost blocks itself: it never repeats one, and sends the next whatever is
//! acknowledged.
//!
//! When a server has been silent for a while, a new request is sent: the server may have been
//! restarted, may have dropped a transfer whose last block was lost, or may be sending blocks that
//! are too large for a part of the path.
//!
//! One machine is one request. Another request, with other [`Terms`] or for missing blocks, is a
//! new machine on a new socket, with [`Config::received`] saying what is already there. The final
//! acknowledgment is not repeated: the transfer is complete without it, and the server gives up by
//! itself.

#![forbid(unsafe_code)]

mod blocks;
mod failure;
mod reception;
mod round_trip;
mod terms;

use crate::prelude::*;
use core::net::SocketAddr;
use core::time::Duration;

use crate::packet::tftp::{ErrorCode, TftpOptions, TftpPacket};
use crate::text::safe::text_of;
use crate::time::{Instant, LeastRate, SpeedLimit};
use blocks::BlockPosition;
pub use failure::{Discard, Failure};
pub use reception::ByteRanges;
use reception::Reception;
use round_trip::RoundTrip;
pub use terms::Terms;
use terms::{agreed, encode_request};

/// After this part of the stall timeout without a packet a new request is sent: 3 s of 15, time for
/// three timeouts of a server that repeats every second.
// QEMU's server has forgotten a transfer whose last block is lost, and is asked anew within this.
const PATIENCE: u32 = 5;

/// Configuration of a transfer.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's address and its port for requests, which is 69 by default.
    pub server: SocketAddr,
    /// The file's name on the server.
    pub file: String,
    /// The options to request.
    pub terms: Terms,
    /// The transfer fails after this time without new data.
    pub stall_timeout: Duration,
    /// The least speed.
    pub speed: SpeedLimit,
    /// The longest that the file may be, in bytes.
    pub max_len: u64,
    /// The parts received by earlier requests for the same file, which are not returned again.
    pub received: ByteRanges,
    /// The length that an earlier answer announced.
    pub expected_len: Option<u64>,
    /// When earlier requests for the same file received the last block, or the first answer.
    pub last_received_at: Option<Instant>,
    /// The least rate, as earlier requests for the same file have begun to measure it.
    pub rate: Option<LeastRate>,
}

/// A part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChunk<'a> {
    /// Its position in the file.
    pub at: u64,
    /// Its content; may be empty.
    pub bytes: &'a [u8],
}

impl FileChunk<'_> {
    const NONE: Self = Self { at: 0, bytes: &[] };
}

/// Destination of a packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server's address and its port for this transfer.
    pub destination: SocketAddr,
}

/// Progress of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The server has answered, from the port of the transfer.
    Started {
        /// The port it chose for the transfer.
        server: SocketAddr,
        /// The length of the file, if announced (`tsize`).
        len: Option<u64>,
        /// The negotiated options.
        terms: Terms,
    },
    /// The file is complete.
    Done,
    /// The transfer has failed.
    Failed(Failure),
}

impl Config {
    /// Checks a block that ends at `end` against the limit and the announced length.
    fn check_len(
        &self,
        announced: Option<u64>,
        end: u64,
        is_last: bool,
    ) -> Result<(), (Failure, (ErrorCode, &'static str))> {
        if end > self.max_len {
            let limit = self.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            return Err((Failure::TooLarge { limit }, farewell));
        }
        if let Some(announced) = announced
            && (end > announced || is_last && announced != end)
        {
            let received = end;
            let farewell = (ErrorCode::NOT_DEFINED, "not the announced length");
            let failure = Failure::WrongLen {
                announced,
                received,
            };
            return Err((failure, farewell));
        }
        let before = self.received.end();
        // Earlier requests have received bytes behind this end: the file is shorter now.
        if is_last && end < before {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            return Err((Failure::Changed { before, now: end }, farewell));
        }
        Ok(())
    }
}

/// State machine of one read request; the caller owns the socket and the clock.
///
/// ```
/// use std::collections::VecDeque;
/// use std::net::SocketAddr;
/// use std::time::Duration;
/// use wireboot_proto::packet::tftp::TftpPacket;
/// use wireboot_proto::tftp::{ByteRanges, Config, Event, Get, Terms};
/// use wireboot_proto::time::{Instant, SpeedLimit};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Stands for the network and a server that knows no options (RFC 1350): it answers from a port
/// // of its own, every acknowledgment with the next block.
/// let transfer_port: SocketAddr = "192.0.2.1:40000".parse()?;
/// let file = vec![7; 700];
/// let reply_to = |packet: &[u8]| {
///     let block = match TftpPacket::decode(packet).ok()? {
///         TftpPacket::ReadRequest { .. } => 1,
///         TftpPacket::Acknowledgment { block } => block + 1,
///         _ => return None,
///     };
///     let data = file.chunks(512).nth(usize::from(block) - 1)?;
///     let mut reply = Vec::new();
///     TftpPacket::Data { block, data }.encode(&mut reply);
///     Some(reply)
/// };
///
/// let config = Config {
///     server: "192.0.2.1:69".parse()?,
///     file: "vmlinuz".to_owned(),
///     terms: Terms::PLAIN,
///     stall_timeout: Duration::from_secs(15),
///     speed: SpeedLimit::default(),
///     max_len: 1 << 30,
///     received: ByteRanges::default(),
///     expected_len: None,
///     last_received_at: None,
///     rate: None,
/// };
/// let mut now = Instant::ZERO;
/// let mut get = Get::new(config, now);
/// let (mut packet, mut arrived, mut received) = (Vec::new(), VecDeque::new(), Vec::new());
/// loop {
///     // First everything that is due goes out.
///     while let Some(_transmit) = get.poll_transmit(&mut packet) {
///         arrived.extend(reply_to(&packet));
///     }
///     // Then events are handled.
///     match get.poll_event() {
///         Some(Event::Started { .. }) => continue,
///         Some(Event::Done) => break,
///         Some(Event::Failed(failure)) => return Err(failure.into()),
///         None => {}
///     }
///     // Then the caller waits for a datagram or the timeout, whichever is first.
///     if let Some(datagram) = arrived.pop_front() {
///         let chunk = get.handle_input(transfer_port, &datagram, now)?;
///         assert_eq!(chunk.at, received.len() as u64);
///         received.extend_from_slice(chunk.bytes);
///     } else if let Some(timeout) = get.poll_timeout() {
///         now = timeout;
///         get.handle_timeout(now);
///     }
/// }
/// assert_eq!(received, file);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Get {
    config: Config,
    state: State,
    round_trip: RoundTrip,
    retransmit_at: Instant,
    /// When to send a new request, since the server may have dropped the transfer.
    ask_again_at: Instant,
    give_up_at: Instant,
    rate: LeastRate,
    /// The next packet to the server.
    due: Option<Due>,
    /// The source of a packet of an unknown transfer, which is answered with an error.
    stranger: Option<SocketAddr>,
    events: Vec<Event>,
}

#[derive(Debug)]
enum State {
    Requesting { requests: u32 },
    Receiving(Reception),
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
            // A request for the rest has the time that is left, or a silent server would be waited for anew.
            give_up_at: config.last_received_at.unwrap_or(now) + config.stall_timeout,
            ask_again_at: now,
            rate: config
                .rate
                .unwrap_or_else(|| LeastRate::new(config.speed, now)),
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

    /// Handles a received packet; returns the bytes of the file that it adds.
    ///
    /// # Errors
    /// A [`Discard`] when the packet is not used; the transfer continues.
    pub fn handle_input<'d>(
        &mut self,
        source: SocketAddr,
        payload: &'d [u8],
        now: Instant,
    ) -> Result<FileChunk<'d>, Discard> {
        let expected = match &self.state {
            State::Requesting { .. } => None,
            State::Receiving(reception) => Some(reception.server),
            State::Ended { .. } => return Err(Discard::Unexpected),
        };
        // RFC 1350 §4 compares only ports, which any host on the network can guess.
        if source.ip() != self.config.server.ip() {
            return Err(Discard::WrongServer);
        }
        if expected.is_some_and(|server| server.port() != source.port()) {
            // RFC 1350 §4: such a source gets an ERROR, and the transfer goes on.
            self.stranger = Some(source);
            return Err(Discard::UnknownTransfer);
        }
        match TftpPacket::decode(payload)? {
            TftpPacket::Data { block, data } => {
                if expected.is_none() {
                    // A server that knows no options begins with block 1; anything else is left
                    // from an older transfer.
                    if block != 1 {
                        return Err(Discard::Unexpected);
                    }
                    // Data without OACK: the server does not support options (RFC 2347).
                    self.start(source, Terms::PLAIN, None, now);
                }
                self.handle_data(block, data, now)
            }
            TftpPacket::OptionAcknowledgment { options } => self
                .handle_options(source, options, now)
                .map(|()| FileChunk::NONE),
            // RFC 1350 §2: an ERROR ends the transfer and is neither acknowledged nor repeated.
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
                Ok(FileChunk::NONE)
            }
            TftpPacket::ReadRequest { .. }
            | TftpPacket::WriteRequest { .. }
            | TftpPacket::Acknowledgment { .. } => Err(Discard::Unexpected),
        }
    }

    /// Repeats the last packet when its answer is late, or ends the transfer.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.state {
            State::Requesting { requests } if now >= self.give_up_at => {
                let failure = match self.config.last_received_at {
                    None => Failure::NoAnswer {
                        requests: *requests,
                    },
                    Some(_) => Failure::Stalled {
                        received: self.config.received.count(),
                    },
                };
                self.end(self.config.server, failure, None);
            }
            // Only silence ended a transfer once, and a server that sent a byte a second held it
            // for ever.
            State::Requesting { .. } if now >= self.rate.due_at() => {
                let received = self.config.received.count();
                self.end(self.config.server, Failure::TooSlow { received }, None);
            }
            State::Receiving(reception) if now >= self.end_at() => {
                let (server, received) = (reception.server, reception.position());
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

    /// Ends the transfer; returns the configuration of a request for the rest.
    pub fn into_config(mut self) -> Config {
        // The rate is measured from the first answer on.
        self.config.rate = self.config.last_received_at.map(|_| self.rate);
        self.config
    }

    /// Aborts the transfer, with an ERROR packet to the server at the next [`Get::poll_transmit`].
    pub fn abort(&mut self, message: &'static str) {
        let server = match &self.state {
            State::Receiving(reception) => reception.server,
            State::Requesting { .. } | State::Ended { .. } => return,
        };
        // RFC 1350 has no code for "no longer wanted"; 3 is "disk full or allocation exceeded".
        self.due = Some(Due::Error(ErrorCode::DISK_FULL, message));
        self.state = State::Ended { server };
    }

    /// Writes the next packet to send into `buf`, replacing its content.
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
            State::Receiving(reception) if self.due.is_none() => reception.next_of_burst(),
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
            State::Receiving(reception) => reception.server,
            State::Ended { server } => *server,
        };
        Some(Transmit { destination })
    }

    /// Returns the next event.
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

    /// Returns how many packets the server may send without an acknowledgment: the rest of a window
    /// that has begun; or 1.
    pub fn packets_under_way(&self) -> u16 {
        match &self.state {
            State::Receiving(reception) => reception.rest_of_window(),
            State::Requesting { .. } | State::Ended { .. } => 1,
        }
    }

    /// Returns when the transfer ends unless it makes progress.
    fn end_at(&self) -> Instant {
        let silent_at = self.ask_again_at.min(self.give_up_at);
        silent_at.min(self.rate.due_at())
    }

    fn request(&mut self, now: Instant) {
        let State::Requesting { requests } = &mut self.state else {
            return;
        };
        *requests += 1;
        // RFC 6298 §3 (Karn's algorithm): a request that was repeated is not timed.
        if *requests == 1 {
            self.round_trip.sent(now);
        }
        self.due = Some(Due::Request);
        self.retransmit_at = now + self.round_trip.timeout();
    }

    /// Restarts the timeouts for silence.
    fn note_answer(&mut self, now: Instant) {
        self.config.last_received_at = Some(now);
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
            // A repeated OACK: our acknowledgment was lost, or is under way.
            State::Receiving(reception) if reception.blocks.count() == 0 => {
                return Err(self.handle_duplicate(now));
            }
            State::Receiving(_) | State::Ended { .. } => return Err(Discard::Unexpected),
        }
        let (terms, len) = match agreed(&self.config.terms, options) {
            Ok(agreed) => agreed,
            Err(option) => {
                // RFC 2347: an OACK may only have options of the request; error 8 ends the
                // transfer.
                let farewell = (ErrorCode::OPTION_NEGOTIATION, "option not asked for");
                self.end(source, Failure::BadOptions(option), Some(farewell));
                return Ok(());
            }
        };
        self.start(source, terms, len, now);
        if let Some(announced) = len.filter(|len| *len > self.config.max_len) {
            log::debug!("{announced} bytes announced");
            let limit = self.config.max_len;
            let farewell = (ErrorCode::DISK_FULL, "file too large");
            self.end(source, Failure::TooLarge { limit }, Some(farewell));
        } else if let (Some(before), Some(now)) = (self.config.expected_len, len)
            // The parts of two files under one name would make a third.
            && before != now
        {
            let farewell = (ErrorCode::NOT_DEFINED, "file changed");
            self.end(source, Failure::Changed { before, now }, Some(farewell));
        } else {
            // RFC 2347: an OACK is acknowledged as block 0.
            self.round_trip.sent(now);
            self.acknowledge(now);
        }
        Ok(())
    }

    fn start(&mut self, server: SocketAddr, terms: Terms, len: Option<u64>, now: Instant) {
        self.round_trip.answered(now);
        self.ask_again_at = now + self.config.stall_timeout / PATIENCE;
        // The first answer: until then the stall timeout alone bounds the wait.
        if self.config.last_received_at.is_none() {
            self.note_answer(now);
            self.rate = LeastRate::new(self.config.speed, now);
        }
        // The first announcement stands, so that any later request notices a change.
        self.config.expected_len = self.config.expected_len.or(len);
        self.retransmit_at = now + self.round_trip.timeout();
        self.events.push(Event::Started { server, len, terms });
        self.state = State::Receiving(Reception::new(server, terms, len, now));
    }

    fn handle_data<'d>(
        &mut self,
        block: u16,
        data: &'d [u8],
        now: Instant,
    ) -> Result<FileChunk<'d>, Discard> {
        let State::Receiving(reception) = &mut self.state else {
            return Err(Discard::Unexpected);
        };
        if data.len() > usize::from(reception.terms.block_len) {
            return Err(Discard::Oversize);
        }
        let is_repeating = self.round_trip.repetitions() > 0;
        // A repeated acknowledgment and the first one may both be answered, with a block each.
        let may_be_ahead = is_repeating || reception.was_ahead;
        let skipped = match reception.blocks.place(block, may_be_ahead) {
            BlockPosition::Next => 0,
            // The server accepted an acknowledgment for a block not yet received, or accepts any.
            BlockPosition::Ahead(distance) if reception.terms.window == 1 => distance,
            BlockPosition::Ahead(distance) => {
                let is_new_round = reception.ahead.is_none_or(|seen| distance <= seen);
                reception.ahead = Some(distance);
                self.retransmit_at = now + self.round_trip.timeout();
                // A smaller window loses less with each gap: RFC 7440 §4 has the server send all of
                // it again.
                if is_new_round && reception.is_lossy() {
                    let server = reception.server;
                    let farewell = (ErrorCode::NOT_DEFINED, "asking again for a smaller window");
                    self.end(server, Failure::Lossy, Some(farewell));
                } else if is_new_round {
                    self.acknowledge_gap(now);
                }
                return Err(Discard::Gap);
            }
            BlockPosition::Last => return Err(self.handle_duplicate(now)),
            BlockPosition::Elsewhere => {
                self.note_second_answer();
                return Err(Discard::Duplicate);
            }
        };
        let at = reception.position() + u64::from(skipped) * u64::from(reception.terms.block_len);
        reception.advance(skipped, is_repeating, now);
        let end = at + data.len() as u64;
        // RFC 1350 §6: the first block that is not full is the last, even when it is empty.
        let is_last = data.len() < usize::from(reception.terms.block_len);
        let window_is_full = reception.in_window >= reception.terms.window;
        let server = reception.server;
        let announced = reception.announced_len;

        self.round_trip.answered(now);
        self.note_answer(now);
        self.rate.count(data.len(), now);
        self.retransmit_at = now + self.round_trip.timeout();
        if let Err((failure, farewell)) = self.config.check_len(announced, end, is_last) {
            self.end(server, failure, Some(farewell));
            return Ok(FileChunk::NONE);
        }
        let is_new = !self.config.received.contains(at..end);
        self.config.received.insert(at..end);
        if is_last {
            self.acknowledge(now);
            self.state = State::Ended { server };
            let missing = end - self.config.received.count();
            self.events.push(match missing {
                0 => Event::Done,
                _ => Event::Failed(Failure::Holes { missing }),
            });
        } else if window_is_full {
            self.go_on(now);
        }
        if is_new {
            Ok(FileChunk { at, bytes: data })
        } else {
            Ok(FileChunk::NONE)
        }
    }

    /// Acknowledges a complete window, and blocks that were received by an earlier request.
    fn go_on(&mut self, now: Instant) {
        let State::Receiving(reception) = &mut self.state else {
            return;
        };
        // An acknowledgment ahead of this block has asked for the next one already.
        let was_acknowledged = reception.passed_over > 0;
        reception.hurry(&self.config.received, self.round_trip.burst());
        if !was_acknowledged {
            self.round_trip.sent(now);
            self.acknowledge(now);
        }
    }

    /// Repeats the last acknowledgment, in case it was lost; and then acknowledges blocks not yet
    /// received, in case the block sent in answer was lost.
    fn repeat_acknowledgment(&mut self, now: Instant) {
        let State::Receiving(reception) = &mut self.state else {
            return;
        };
        if let Some(ahead) = reception.next_of_sweep() {
            self.due = Some(Due::Acknowledgment(reception.blocks.acknowledged(ahead)));
        } else {
            self.round_trip.repeated();
            reception.search(self.round_trip.repetitions(), &self.config.received, now);
            reception.is_repeated = true;
            self.acknowledge(now);
        }
        if let State::Receiving(reception) = &self.state {
            let wait = if reception.sweep.is_empty() {
                self.round_trip.timeout()
            } else {
                self.round_trip.pace()
            };
            self.retransmit_at = now + wait;
        }
    }

    /// Repeats the acknowledgment if the last one is older than the timeout, so that it was
    /// probably lost.
    fn handle_duplicate(&mut self, now: Instant) -> Discard {
        self.note_second_answer();
        if let State::Receiving(reception) = &self.state
            && now >= reception.acknowledged_at + self.round_trip.timeout()
        {
            self.acknowledge(now);
        }
        Discard::Duplicate
    }

    /// Lengthens the timeout if the last acknowledgment was sent twice and both were answered.
    fn note_second_answer(&mut self) {
        if let State::Receiving(reception) = &mut self.state
            && core::mem::take(&mut reception.is_repeated)
        {
            self.round_trip.was_too_early();
        }
    }

    /// Acknowledges all blocks received, which begins a new window.
    fn acknowledge(&mut self, now: Instant) {
        let State::Receiving(reception) = &mut self.state else {
            return;
        };
        reception.ahead = None;
        self.acknowledge_gap(now);
    }

    fn acknowledge_gap(&mut self, now: Instant) {
        let State::Receiving(reception) = &mut self.state else {
            return;
        };
        reception.in_window = 0;
        reception.rounds += 1;
        reception.acknowledged_at = now;
        self.due = Some(Due::Acknowledgment(reception.blocks.acknowledged(0)));
        self.retransmit_at = now + self.round_trip.timeout();
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
