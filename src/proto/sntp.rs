//! SNTP query as a state machine: RFC 4330 §5.
//!
//! A single answer of one server is used, so the time is good enough for checking certificates and
//! not for more. An answer must return the random number of the request, so only hosts that see the
//! request can forge one. Answers are discarded from servers whose clock is not set, that have
//! stratum 0, or that are behind a time known to be past or ahead of one known to be to come.

#![forbid(unsafe_code)]

use crate::prelude::*;
use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::reader::{DecodeError, DecodeFault, Reader};
use crate::time::{Instant, Random};

/// UDP port of servers.
pub const PORT: u16 = 123;
/// Bytes of a packet without authentication.
const PACKET_LEN: usize = 48;
/// Seconds from 1900, where the protocol's clock begins, to 1970.
const FROM_1900_TO_1970: u64 = 2_208_988_800;
/// Timestamps below this are after the roll-over of 2036 (RFC 4330 §3: bit 0 not set).
const FIRST_OF_ERA_0: u64 = 1 << 31;
/// Requests to each server before the next: one may be lost, or wait for ARP.
const ATTEMPTS_A_SERVER: u32 = 2;
/// How long to wait for an answer: those of a LAN take milliseconds, those of the Internet 300.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// Servers that are queried; option 42 may list 63, and a boot waits 3 s at most.
const MAX_SERVERS: usize = 3;

/// Configuration of a query.
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers in the order of the lease (option 42); the first three are queried.
    pub servers: Vec<IpAddr>,
    /// A time known to be past, since 1970.
    pub not_before: Duration,
    /// A time that cannot be over, since 1970.
    pub not_after: Duration,
    /// The seed of the requests' random numbers.
    pub seed: u64,
}

/// Destination of a packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The server.
    pub destination: SocketAddr,
}

/// The result of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A server answered.
    Time {
        /// The server.
        server: IpAddr,
        /// Seconds since 1970.
        since_1970: Duration,
    },
    /// No server answered with a usable time.
    Failed,
}

/// The reason why a packet was discarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is not a server's answer.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// It is from another host, or answers another request.
    #[error("not the answer to our request")]
    Unexpected,
    /// The server says that its clock is not synchronized.
    #[error("the server's own clock is not set")]
    Unsynchronized,
    /// The server's time is before one known to be past.
    #[error("the server's clock is behind")]
    Behind,
    /// The server's time is after one that cannot be over.
    #[error("the server's clock is too far ahead")]
    Ahead,
}

/// State machine of one query, to one server after the other.
#[derive(Debug)]
pub struct Query {
    config: Config,
    random: Random,
    /// Requests sent.
    requests: u32,
    state: State,
    is_due: bool,
    event: Option<Event>,
}

#[derive(Debug)]
enum State {
    Asking {
        server: IpAddr,
        nonce: u64,
        until: Instant,
    },
    Ended,
}

impl Query {
    /// Starts with the first request due at once.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut query = Self {
            random: Random::new(config.seed),
            config,
            requests: 0,
            state: State::Ended,
            is_due: false,
            event: None,
        };
        query.ask(now);
        query
    }

    /// Handles a received packet.
    ///
    /// # Errors
    /// A [`Discard`] when the packet is not used; the query continues.
    pub fn handle_input(
        &mut self,
        source: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Discard> {
        let State::Asking { server, nonce, .. } = self.state else {
            return Err(Discard::Unexpected);
        };
        let answer = ServerReply::decode(payload)?;
        // RFC 4330 §5: the originate timestamp must be what the request had as transmit timestamp.
        if source != SocketAddr::new(server, PORT) || answer.originate != nonce {
            return Err(Discard::Unexpected);
        }
        let since_1970 = since_1970(answer.transmit);
        let false_ticker = if !answer.is_synchronized || answer.transmit == 0 {
            Some(Discard::Unsynchronized)
        // A time server could otherwise make expired certificates valid by going backwards.
        } else if since_1970 < self.config.not_before {
            Some(Discard::Behind)
        } else if since_1970 > self.config.not_after {
            Some(Discard::Ahead)
        } else {
            None
        };
        if let Some(discard) = false_ticker {
            // A second request to this server would not help.
            self.requests = self.requests.next_multiple_of(ATTEMPTS_A_SERVER);
            self.ask(now);
            return Err(discard);
        }
        self.state = State::Ended;
        self.event = Some(Event::Time { server, since_1970 });
        Ok(())
    }

    /// Sends the next request, to this server or the next, after a timeout.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|at| now >= at) {
            self.ask(now);
        }
    }

    /// Writes the next packet to send into `buf`, replacing its content.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        buf.clear();
        let State::Asking { server, nonce, .. } = self.state else {
            return None;
        };
        core::mem::take(&mut self.is_due).then(|| {
            // No leap indicator, version 4, mode 3: client.
            buf.push(0b00_100_011);
            buf.resize(PACKET_LEN - 8, 0);
            // RFC 4330 §5 has the client's own time here; a random number tells an observer no
            // clock.
            buf.extend_from_slice(&nonce.to_be_bytes());
            Transmit {
                destination: SocketAddr::new(server, PORT),
            }
        })
    }

    /// Returns the result, once.
    pub const fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Returns when [`Query::handle_timeout`] is to be called; none when the query has ended.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, .. } => Some(until),
            State::Ended => None,
        }
    }

    fn ask(&mut self, now: Instant) {
        let index = usize::try_from(self.requests / ATTEMPTS_A_SERVER).unwrap_or(usize::MAX);
        let mut servers = self.config.servers.iter().take(MAX_SERVERS);
        let Some(server) = servers.nth(index).copied() else {
            self.state = State::Ended;
            self.event = Some(Event::Failed);
            return;
        };
        self.requests += 1;
        self.is_due = true;
        self.state = State::Asking {
            server,
            nonce: self.random.next_u64(),
            until: now + ANSWER_TIMEOUT,
        };
    }
}

/// The used fields of an answer.
///
/// ```text
/// leap 2 bits, version 3, mode 3 | stratum 1 | 22 bytes | originate 8 | receive 8 | transmit 8 |
/// ```
struct ServerReply {
    is_synchronized: bool,
    originate: u64,
    transmit: u64,
}

impl ServerReply {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let first = reader.u8("leap, version, mode")?;
        let stratum = reader.u8("stratum")?;
        reader.take(22, "delays, reference")?;
        let mut time = |field| {
            let high = u64::from(reader.u32(field)?);
            Ok::<_, DecodeError>(high << 32 | u64::from(reader.u32(field)?))
        };
        let originate = time("originate timestamp")?;
        time("receive timestamp")?;
        let transmit = time("transmit timestamp")?;
        // Mode 5, broadcast, answers no request (RFC 4330 §4).
        if first & 0b111 != 4 {
            return Err(Box::new(DecodeFault::Invalid {
                field: "mode",
                value: (first & 0b111).into(),
            }));
        }
        Ok(Self {
            // RFC 4330 §4: leap indicator 3 is an unset clock; stratum 0 is a kiss-o'-death.
            is_synchronized: first >> 6 != 3 && (1..16).contains(&stratum),
            originate,
            transmit,
        })
    }
}

fn since_1970(timestamp: u64) -> Duration {
    let seconds = timestamp >> 32;
    let seconds = if seconds < FIRST_OF_ERA_0 {
        seconds + (1 << 32)
    } else {
        seconds
    };
    let nanos = ((timestamp & 0xffff_ffff) * 1_000_000_000) >> 32;
    Duration::from_secs(seconds.saturating_sub(FROM_1900_TO_1970)) + Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

    #[test]
    fn the_time_of_the_first_server_that_answers_is_taken() {
        let (mut query, mut now) = query();
        let mut asked = Vec::new();
        let mut packet = Vec::new();
        while asked.len() < 3 {
            let transmit = query.poll_transmit(&mut packet).unwrap();
            assert_eq!(query.poll_transmit(&mut Vec::new()), None);
            assert_eq!((packet.len(), packet[0]), (48, 0x23));
            asked.push(transmit.destination);
            if asked.len() < 3 {
                now = query.poll_timeout().unwrap();
                query.handle_timeout(now);
            }
        }
        let [first, second] = SERVERS.map(|ip| SocketAddr::new(ip.parse().unwrap(), PORT));
        assert_eq!(asked, [first, first, second]);
        let answer = answer(&packet, 0xe000_0000_8000_0000);
        let late = query.handle_input(first, &answer, now);
        assert_eq!(late, Err(Discard::Unexpected));
        assert_eq!(query.handle_input(second, &answer, now), Ok(()));
        let event = Event::Time {
            server: second.ip(),
            since_1970: Duration::from_millis((0xe000_0000 - FROM_1900_TO_1970) * 1000 + 500),
        };
        assert_eq!(query.poll_event(), Some(event));
        assert_eq!(query.poll_timeout(), None);
    }

    #[test]
    fn an_answer_must_carry_the_number_of_the_request() {
        let (mut query, now) = query();
        let mut packet = Vec::new();
        let server = query.poll_transmit(&mut packet).unwrap().destination;
        let good = answer(&packet, 0xe000_0000_0000_0000);
        let mut forged = good.clone();
        forged[24] ^= 1;
        assert_eq!(
            query.handle_input(server, &forged, now),
            Err(Discard::Unexpected)
        );
        for len in 0..good.len() {
            let cut = query.handle_input(server, &good[..len], now);
            assert!(matches!(cut, Err(Discard::Undecodable(_))), "{len}");
        }
        let question = query.handle_input(server, &packet, now);
        assert!(matches!(question, Err(Discard::Undecodable(_))));
        assert_eq!(query.poll_event(), None);
        assert_eq!(query.handle_input(server, &good, now), Ok(()));
    }

    #[test]
    fn a_server_that_does_not_know_the_time_is_left_for_the_next() {
        let (mut query, now) = query();
        let mut packet = Vec::new();
        let server = query.poll_transmit(&mut packet).unwrap().destination;
        let mut unset = answer(&packet, 0xe000_0000_0000_0000);
        unset[0] |= 0b1100_0000;
        assert_eq!(
            query.handle_input(server, &unset, now),
            Err(Discard::Unsynchronized)
        );
        let next = query.poll_transmit(&mut packet).unwrap().destination;
        assert_eq!(next.ip().to_string(), SERVERS[1]);
        for _ in 0..2 {
            query.handle_timeout(query.poll_timeout().unwrap());
        }
        assert_eq!(query.poll_event(), Some(Event::Failed));
    }

    #[test]
    fn a_server_that_is_behind_what_is_known_is_left_for_the_next() {
        let (mut query, now) = query();
        query.config.not_before = Duration::from_secs(0xe000_0000 - FROM_1900_TO_1970);
        let mut packet = Vec::new();
        let server = query.poll_transmit(&mut packet).unwrap().destination;
        let behind = answer(&packet, 0xdfff_ffff_0000_0000);
        assert_eq!(
            query.handle_input(server, &behind, now),
            Err(Discard::Behind)
        );
        let next = query.poll_transmit(&mut packet).unwrap().destination;
        assert_eq!(next.ip().to_string(), SERVERS[1]);
        let right = answer(&packet, 0xe000_0000_0000_0000);
        assert_eq!(query.handle_input(next, &right, now), Ok(()));
        assert!(matches!(query.poll_event(), Some(Event::Time { .. })));
    }

    #[test]
    fn a_server_that_is_too_far_ahead_is_left_for_the_next() {
        let (mut query, now) = query();
        query.config.not_after = Duration::from_secs(0xe000_0000 - FROM_1900_TO_1970);
        let mut packet = Vec::new();
        let server = query.poll_transmit(&mut packet).unwrap().destination;
        let ahead = answer(&packet, 0xe000_0001_0000_0000);
        let discarded = query.handle_input(server, &ahead, now);
        assert_eq!(discarded, Err(Discard::Ahead));
        let next = query.poll_transmit(&mut packet).unwrap().destination;
        assert_eq!(next.ip().to_string(), SERVERS[1]);
    }

    #[test]
    fn a_long_list_of_dead_servers_costs_three_seconds() {
        let begun = Instant::from_millis(5);
        let config = Config {
            servers: vec![SERVERS[0].parse().unwrap(); 63],
            not_before: Duration::ZERO,
            not_after: Duration::MAX,
            seed: 1,
        };
        let (mut query, mut now) = (Query::new(config, begun), begun);
        while let Some(at) = query.poll_timeout() {
            now = at;
            query.handle_timeout(now);
        }
        assert_eq!(query.poll_event(), Some(Event::Failed));
        assert_eq!(now.since(begun), Duration::from_secs(3));
    }

    #[test]
    fn the_clock_that_goes_round_in_2036_is_read_right() {
        let in_2036 = since_1970(5 << 32).as_secs();
        assert_eq!(in_2036, (1 << 32) + 5 - FROM_1900_TO_1970);
        for early in [FROM_1900_TO_1970, 1 << 31] {
            assert_eq!(since_1970(early << 32), Duration::ZERO);
        }
    }

    fn query() -> (Query, Instant) {
        let servers = SERVERS.map(|ip| ip.parse().unwrap()).to_vec();
        let now = Instant::from_millis(5);
        let config = Config {
            servers,
            not_before: Duration::ZERO,
            not_after: Duration::MAX,
            seed: 1,
        };
        (Query::new(config, now), now)
    }

    fn answer(request: &[u8], time: u64) -> Vec<u8> {
        let mut answer = vec![0b00_100_100, 2];
        answer.resize(24, 0);
        answer.extend_from_slice(&request[40..48]);
        answer.extend_from_slice(&[0; 8]);
        answer.extend_from_slice(&time.to_be_bytes());
        answer
    }
}
