//! Lookups with the clock in the test's hand, and servers that behave in all the ways of servers.

use super::*;
use crate::packet::dns::ResponseCode;

const OK: u8 = 0x80;
const NXDOMAIN: u8 = 0x83;
const SERVFAIL: u8 = 0x82;

/// A lookup, the clock, and the queries that were sent.
struct Run {
    lookup: Lookup,
    now: Instant,
    sent: Vec<(Transmit, Vec<u8>)>,
}

impl Run {
    /// Begins to look for names, by servers 192.0.2.1 and on.
    fn new(names: &str, servers: u8, types: &[AddressType]) -> Self {
        let config = Config {
            servers: (1..=servers).map(server).collect(),
            names: names.split(' ').filter_map(Name::parse).collect(),
            types: types.to_vec(),
            max_time: MAX_TIME,
            first: 0,
            seed: 7,
        };
        let now = Instant::from_millis(5);
        let lookup = Lookup::new(config, now);
        let sent = Vec::new();
        let mut run = Self { lookup, now, sent };
        run.send();
        run
    }

    fn send(&mut self) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.lookup.poll_transmit(&mut buf) {
            self.sent.push((transmit, buf.clone()));
        }
    }

    /// The last query of this type.
    fn query(&self, kind: AddressType) -> (Transmit, Vec<u8>) {
        let mut sent = self.sent.iter().rev();
        sent.find(|(transmit, _)| transmit.kind == kind)
            .unwrap()
            .clone()
    }

    /// Answers the last query of this type with these records, each an owner's offset, a type and
    /// data.
    fn answer(&mut self, kind: AddressType, code: u8, records: &[(u8, u8, &[u8])]) {
        let (transmit, query) = self.query(kind);
        let message = response(&query, code, records);
        let (source, transport) = (transmit.destination, transmit.transport);
        let used = self
            .lookup
            .handle_input(source, transport, &message, self.now);
        assert_eq!(used, Ok(()));
        self.send();
    }

    /// Answers it with addresses of the name that was asked for.
    fn addresses(&mut self, kind: AddressType, addresses: &[&str]) {
        let bytes: Vec<Vec<u8>> = addresses.iter().map(|text| octets(text)).collect();
        let records: Vec<_> = bytes
            .iter()
            .map(|bytes| (12, kind as u8, &bytes[..]))
            .collect();
        self.answer(kind, OK, &records);
    }

    fn unreachable(&mut self, kind: AddressType) {
        let (transmit, _) = self.query(kind);
        self.lookup.handle_failure(transmit, self.now);
        self.send();
    }

    /// Goes to the next timeout.
    fn wait(&mut self) {
        let at = self.lookup.poll_timeout().unwrap();
        assert!(at > self.now);
        self.now = at;
        self.lookup.handle_timeout(at);
        self.send();
    }

    /// Waits to the end; returns it as text with the milliseconds that it took.
    fn end(&mut self) -> (String, u64) {
        let mut event = self.lookup.poll_event();
        while event.is_none() {
            self.wait();
            event = self.lookup.poll_event();
        }
        assert_eq!(self.lookup.poll_timeout(), None);
        let text = match event.unwrap() {
            Event::Found(found) => {
                let found: Vec<_> = found.iter().map(IpAddr::to_string).collect();
                found.join(" ")
            }
            Event::Failed(failure) => failure.to_string(),
        };
        (text, self.now.as_millis() - 5)
    }

    /// The last byte of each server that was asked.
    fn asked(&self) -> Vec<u8> {
        let servers = self
            .sent
            .iter()
            .map(|(transmit, _)| transmit.destination.ip());
        servers
            .map(|ip| *octets(&ip.to_string()).last().unwrap())
            .collect()
    }
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

fn octets(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Returns the response to `query` with this second byte of the flags.
fn response(query: &[u8], code: u8, records: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut end = 12;
    while query[end] != 0 {
        end += usize::from(query[end]) + 1;
    }
    let mut message = query[..2].to_vec();
    message.extend_from_slice(&[0x81, code, 0, 1, 0, u8::try_from(records.len()).unwrap()]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&query[12..end + 5]);
    for (owner, kind, data) in records {
        message.extend_from_slice(&[0xc0, *owner, 0, *kind, 0, 1, 0, 0, 0, 60, 0]);
        message.push(u8::try_from(data.len()).unwrap());
        message.extend_from_slice(data);
    }
    message
}

const BOTH: &[AddressType] = &[AddressType::A, AddressType::Aaaa];
const V4: &[AddressType] = &[AddressType::A];
use AddressType::{A, Aaaa};

#[test]
fn both_types_are_asked_at_once_and_ipv6_goes_first() {
    let mut run = Run::new("a.example", 1, BOTH);
    let [(a, first), (aaaa, second)] = &run.sent[..] else {
        panic!("{:?}", run.sent);
    };
    assert_eq!((a.kind, aaaa.kind), (A, Aaaa));
    assert_ne!(first[..2], second[..2]);
    run.addresses(A, &["192.0.2.80", "192.0.2.81"]);
    assert_eq!(run.lookup.poll_event(), None);
    run.addresses(Aaaa, &["2001:db8::80"]);
    assert_eq!(run.end(), ("2001:db8::80 192.0.2.80 192.0.2.81".into(), 0));
    for (kind, address) in [(A, "192.0.2.80"), (Aaaa, "2001:db8::80")] {
        let mut run = Run::new("a.example", 1, &[kind]);
        assert_eq!(run.sent.len(), 1);
        run.addresses(kind, &[address]);
        assert_eq!(run.end(), (address.into(), 0));
    }
}

#[test]
fn what_becomes_of_one_type_costs_the_other_50_ms_at_most() {
    for (kind, other, address) in [(A, Aaaa, "192.0.2.80"), (Aaaa, A, "2001:db8::80")] {
        let expected = |time| (address.to_owned(), time);
        // Silent.
        let mut run = Run::new("a.example", 1, BOTH);
        run.addresses(kind, &[address]);
        assert_eq!(run.end(), expected(50));
        // An error before and behind.
        for code in [SERVFAIL, NXDOMAIN, 0x84, 0x85, OK] {
            let mut run = Run::new("a.example", 1, BOTH);
            run.addresses(kind, &[address]);
            run.answer(other, code, &[]);
            // NOTIMP is asked again without EDNS, and waited for no longer.
            assert_eq!(run.end(), expected(if code == 0x84 { 50 } else { 0 }));
            // That A has no such name ends what is open, some 50 ms later.
            let mut run = Run::new("a.example", 1, BOTH);
            run.answer(other, code, &[]);
            run.addresses(kind, &[address]);
            assert_eq!(run.end(), expected(if code == 0x84 { 50 } else { 0 }));
        }
        let mut run = Run::new("a.example", 1, BOTH);
        run.unreachable(other);
        run.addresses(kind, &[address]);
        assert_eq!(run.end(), expected(0));
    }
}

#[test]
fn the_next_server_is_asked_after_a_second_and_an_answer_of_the_first_still_counts() {
    let mut run = Run::new("a.example", 3, V4);
    let (first, query) = run.query(A);
    run.wait();
    run.wait();
    assert_eq!(run.now.as_millis(), 5 + 2000);
    assert_eq!(run.asked(), [1, 2, 3]);
    let late = response(&query, OK, &[(12, 1, &[192, 0, 2, 80])]);
    let used = run
        .lookup
        .handle_input(first.destination, QueryTransport::Udp, &late, run.now);
    assert_eq!(used, Ok(()));
    assert_eq!(run.end().0, "192.0.2.80");
    assert_eq!(run.lookup.first(), 0);
}

#[test]
fn silent_servers_are_asked_in_rounds_until_the_time_is_over() {
    let mut run = Run::new("a.example", 2, V4);
    let expected = "no server answered (192.0.2.1, 192.0.2.2)".to_owned();
    assert_eq!(run.end(), (expected, 10_000));
    assert_eq!(run.asked(), [1, 2, 1, 2, 1]);
    let mut run = Run::new("a.example", 8, BOTH);
    assert_eq!(run.end().1, 10_000);
    // With EDNS first, and without it from the second round on.
    let mut run = Run::new("a.example", 1, V4);
    let lengths = |run: &Run| {
        run.sent
            .iter()
            .map(|(_, query)| query.len())
            .collect::<Vec<_>>()
    };
    run.wait();
    assert_eq!(lengths(&run), [27 + 11, 27]);
}

#[test]
fn a_server_that_has_no_answer_is_followed_by_the_next_at_once() {
    for (code, name) in [(2, "SERVFAIL"), (5, "REFUSED"), (9, "an error")] {
        let mut run = Run::new("a.example", 2, V4);
        run.answer(A, 0x80 | code, &[]);
        assert_eq!(run.asked(), [1, 2]);
        run.addresses(A, &["192.0.2.80"]);
        assert_eq!(run.end(), ("192.0.2.80".into(), 0));
        assert_eq!(run.lookup.first(), 1);
        let mut run = Run::new("a.example", 2, V4);
        run.answer(A, 0x80 | code, &[]);
        run.unreachable(A);
        let text =
            format!("no server has an answer (192.0.2.1 says {name}, 192.0.2.2 is not reached)");
        assert_eq!(run.end(), (text, 0));
    }
    // It offers no recursion, is no authority, and has nothing.
    let mut run = Run::new("a.example", 1, V4);
    run.answer(A, 0, &[]);
    let text = "no server has an answer (192.0.2.1 only refers to others)";
    assert_eq!(run.end().0, text);
}

#[test]
fn a_server_older_than_edns_is_asked_without_it() {
    for code in [0x81, 0x84] {
        let mut run = Run::new("a.example", 2, V4);
        run.answer(A, code, &[]);
        assert_eq!(run.asked(), [1, 1]);
        assert_eq!(run.query(A).1.len(), 27);
        run.answer(A, code, &[]);
        assert_eq!(run.asked(), [1, 1, 2]);
    }
    // It does not even repeat the question.
    let mut run = Run::new("a.example", 1, V4);
    let (transmit, query) = run.query(A);
    let mut bare = query[..2].to_vec();
    bare.extend_from_slice(&[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
    let source = transmit.destination;
    let used = run
        .lookup
        .handle_input(source, QueryTransport::Udp, &bare, run.now);
    assert_eq!(used, Ok(()));
    run.send();
    assert_eq!(run.sent.len(), 2);
}

#[test]
fn a_truncated_response_is_asked_for_by_tcp_and_counts_where_that_fails() {
    let truncated = |run: &Run| {
        let mut message = response(&run.query(A).1, OK, &[(12, 1, &[192, 0, 2, 80])]);
        message[2] |= 2;
        message
    };
    let begin = |servers| {
        let mut run = Run::new("a.example", servers, V4);
        let message = truncated(&run);
        let source = server(1);
        let used = run
            .lookup
            .handle_input(source, QueryTransport::Udp, &message, run.now);
        assert_eq!(used, Ok(()));
        run.send();
        let (transmit, _) = run.query(A);
        assert_eq!(
            (transmit.destination, transmit.transport),
            (source, QueryTransport::Tcp)
        );
        run
    };
    let mut run = begin(2);
    run.addresses(A, &["192.0.2.80", "192.0.2.81"]);
    assert_eq!(run.end(), ("192.0.2.80 192.0.2.81".into(), 0));
    let mut run = begin(2);
    run.unreachable(A);
    assert_eq!(run.end(), ("192.0.2.80".into(), 0));
    let mut run = begin(2);
    assert_eq!(run.end(), ("192.0.2.80".into(), 4000));
    // One that is truncated even on a connection.
    let mut run = begin(1);
    let message = truncated(&run);
    let used = run
        .lookup
        .handle_input(server(1), QueryTransport::Tcp, &message, run.now);
    assert_eq!((used, run.end().0), (Ok(()), "192.0.2.80".into()));
    // Without an address in it, the next server is asked.
    let mut run = Run::new("a.example", 2, V4);
    let mut message = response(&run.query(A).1, OK, &[]);
    message[2] |= 2;
    run.lookup
        .handle_input(server(1), QueryTransport::Udp, &message, run.now)
        .unwrap();
    run.send();
    run.unreachable(A);
    assert_eq!(run.asked(), [1, 1, 2]);
}

#[test]
fn only_the_response_to_the_query_counts() {
    let mut run = Run::new("a.example", 2, V4);
    let (transmit, query) = run.query(A);
    let good = response(&query, OK, &[(12, 1, &[192, 0, 2, 80])]);
    let mut hand_in = |source: SocketAddr, message: &[u8]| {
        run.lookup
            .handle_input(source, QueryTransport::Udp, message, run.now)
    };
    let source = transmit.destination;
    // The second server has not been asked yet.
    for other in [
        "192.0.2.2:53",
        "192.0.2.1:5353",
        "192.0.2.9:53",
        "[2001:db8::1]:53",
    ] {
        assert_eq!(
            hand_in(other.parse().unwrap(), &good),
            Err(Discard::Unexpected),
            "{other}"
        );
    }
    // Number, a letter of the name, and the type.
    for (at, what) in [(0, 0x80), (1, 1), (13, 2), (24, 7)] {
        let mut other = good.clone();
        other[at] ^= what;
        assert_eq!(hand_in(source, &other), Err(Discard::Unexpected), "{at}");
    }
    let mut bare = good[..2].to_vec();
    bare.extend_from_slice(&[0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(hand_in(source, &bare), Err(Discard::Unexpected));
    assert!(matches!(
        hand_in(source, &query),
        Err(Discard::Undecodable(_))
    ));
    // Case does not tell names apart.
    let mut upper = good.clone();
    upper[13] = b'A';
    assert_eq!(hand_in(source, &upper), Ok(()));
    assert_eq!(hand_in(source, &good), Err(Discard::Unexpected));
    assert_eq!(run.end().0, "192.0.2.80");
}

#[test]
fn aliases_are_followed_within_a_response_and_beyond_and_not_for_ever() {
    // b.example, whose owner the next record names by the place of that.
    let alias: (u8, u8, &[u8]) = (12, 5, b"\x01b\xc0\x0e");
    let mut run = Run::new("a.example", 1, V4);
    run.answer(
        A,
        OK,
        &[(14, 1, &[192, 0, 2, 80]), (12, 1, &[192, 0, 2, 99])],
    );
    assert_eq!(run.end().0, "192.0.2.99");
    let mut run = Run::new("a.example", 1, V4);
    run.answer(
        A,
        OK,
        &[alias, (39, 1, &[192, 0, 2, 80]), (12, 1, &[192, 0, 2, 99])],
    );
    assert_eq!(run.end(), ("192.0.2.80".into(), 0));
    // Without what it is an alias of, that is asked for.
    let mut run = Run::new("a.example", 1, V4);
    let before = run.query(A).1;
    run.answer(A, OK, &[alias]);
    let (_, query) = run.query(A);
    assert_eq!(query[12..23], *b"\x01b\x07example\0");
    assert_ne!(query[..2], before[..2]);
    run.addresses(A, &["192.0.2.80"]);
    assert_eq!(run.end(), ("192.0.2.80".into(), 0));
    // A name that is an alias of itself, of a second one and back, and of ever others.
    let mut run = Run::new("a.example", 1, V4);
    run.answer(A, OK, &[(12, 5, &[0xc0, 12])]);
    let too_many = "no server has an answer (192.0.2.1 has too many aliases for it)";
    assert_eq!(run.end().0, too_many);
    let mut run = Run::new("a.example", 1, V4);
    for _ in 0..=MAX_ALIASES {
        run.answer(A, OK, &[alias]);
        if run.lookup.poll_timeout().is_none() {
            break;
        }
        run.answer(A, OK, &[(12, 5, b"\x01a\xc0\x0e")]);
    }
    assert_eq!(run.end().0, too_many);
    assert!(run.sent.len() <= MAX_ALIASES + 1, "{}", run.sent.len());
}

#[test]
fn names_are_looked_for_in_turn_and_the_end_says_who_knows_none() {
    let mut run = Run::new("a.b.example a.b", 1, BOTH);
    run.answer(A, NXDOMAIN, &[]);
    run.answer(Aaaa, NXDOMAIN, &[]);
    assert_eq!(run.sent.len(), 4);
    run.addresses(Aaaa, &["2001:db8::80"]);
    run.answer(A, OK, &[]);
    assert_eq!(run.end(), ("2001:db8::80".into(), 0));
    let no_such_name = "no such name (said by 192.0.2.1)".to_owned();
    // AAAA of a name that does not exist is not waited for.
    let mut run = Run::new("a.example a", 1, BOTH);
    run.answer(A, NXDOMAIN, &[]);
    run.wait();
    run.answer(A, NXDOMAIN, &[]);
    assert_eq!(run.end(), (no_such_name, 100));
    let mut run = Run::new("a.example a", 1, V4);
    run.answer(A, OK, &[]);
    run.answer(A, NXDOMAIN, &[]);
    assert_eq!(run.end().0, "it has no address (said by 192.0.2.1)");
    // One that nobody knows about may have been the right one.
    let mut run = Run::new("a.example a", 1, V4);
    run.answer(A, SERVFAIL, &[]);
    run.answer(A, NXDOMAIN, &[]);
    assert_eq!(
        run.end().0,
        "no server has an answer (192.0.2.1 says SERVFAIL)"
    );
    let mut run = Run::new("a.example a", 1, V4);
    run.answer(A, SERVFAIL, &[]);
    run.addresses(A, &["192.0.2.80"]);
    assert_eq!(run.end().0, "192.0.2.80");
}

#[test]
fn the_server_that_answered_is_asked_first_about_the_next_name() {
    let mut run = Run::new("a.example a", 3, V4);
    run.wait();
    run.answer(A, NXDOMAIN, &[]);
    assert_eq!(run.asked(), [1, 2, 2]);
    run.unreachable(A);
    assert_eq!(run.asked(), [1, 2, 2, 3]);
    assert_eq!(run.lookup.first(), 1);
}

#[test]
fn nothing_is_asked_without_a_server_or_a_name() {
    let mut run = Run::new("a.example", 0, BOTH);
    assert_eq!(run.end().0, "there is no name server");
    let mut run = Run::new("a..example", 1, BOTH);
    assert_eq!(run.end().0, "this cannot be a name in DNS");
    assert!(run.sent.is_empty());
}

#[test]
fn a_name_with_very_many_addresses_has_enough_with_the_first() {
    let mut run = Run::new("a.example", 1, V4);
    let addresses: Vec<_> = (0..200).map(|n| [192, 0, 2, n]).collect();
    let records: Vec<_> = addresses.iter().map(|bytes| (12, 1, &bytes[..])).collect();
    run.answer(A, OK, &records);
    assert_eq!(run.end().0.split(' ').count(), 48);
    // An address of the other type is none.
    let mut run = Run::new("a.example", 1, V4);
    run.answer(A, OK, &[(12, 28, &[0; 16])]);
    assert_eq!(run.end().0, "it has no address (said by 192.0.2.1)");
    assert_eq!(ResponseCode(2).name(), "SERVFAIL");
}
