//! The client against a scripted server, with the clock in the test's hand.

mod life;
mod patience;
mod replies;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use proptest::prelude::*;

use super::config::Config;
use super::offer::Rank;
use super::*;
use crate::dhcp::config::Detection;
use crate::packet::arp;
use crate::packet::dhcp::{Message, MessageType, Op};
use crate::packet::ethernet::MacAddress;
use crate::packet::ipv4::Datagram;
use crate::packet::option::{Options, code};
use crate::time::Instant;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[test]
fn the_first_discover_goes_out_at_once_and_repeats_with_delays_that_double_every_third_time() {
    let mut t = Transcript::new(plain());
    let discover = t.sends(MessageType::Discover);
    assert_eq!(discover.ciaddr, Ipv4Addr::UNSPECIFIED);
    let delays = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 16_000];
    for expected in delays.into_iter().flat_map(|delay| [delay; 3]) {
        let again = t.sends_after(
            expected * 8 / 10..=expected * 12 / 10,
            MessageType::Discover,
        );
        assert_eq!(again.xid, discover.xid);
    }
}

#[test]
fn answers_by_broadcast_are_asked_for_from_the_third_message_without_one_or_as_configured() {
    let mut t = Transcript::new(plain());
    let flags = [0, 600, 600, 600].map(|most| t.sends_after(0..=most, MessageType::Discover));
    assert_eq!(flags.map(|it| it.broadcast), [false, false, true, true]);
    t.receives(offer(SERVER));
    assert!(t.sends(MessageType::Request).broadcast);
    t.receives(ack(SERVER));
    t.bound();
    // With an address of its own, a client is answered there (RFC 2131 §4.1).
    let renewal = t.sends_after(1_700_000..=1_800_000, MessageType::Request);
    assert!(!renewal.broadcast);
    t.client.link_up(t.now);
    assert!(!t.sends(MessageType::Request).broadcast);

    let broadcast = true;
    let mut t = Transcript::in_requesting(Config {
        broadcast,
        ..plain()
    });
    assert!(
        t.sends_after(400..=600, MessageType::Request).broadcast,
        "as configured"
    );
    let mut waiting = Transcript::new(booting());
    waiting.sends(MessageType::Discover);
    waiting.receives(offer(SERVER));
    // Answered, and repeated only for a server that boots.
    waiting.sends_after(400..=600, MessageType::Discover);
    assert!(!waiting.next_message().1.broadcast);
}

#[test]
fn a_plain_client_takes_the_first_offer_and_is_bound_by_its_ack() {
    let mut t = Transcript::new(plain());
    t.sends(MessageType::Discover);
    t.receives(offer(SERVER));
    let request = t.sends(MessageType::Request);
    assert_eq!(
        request.options.address(code::REQUESTED_ADDRESS),
        Some(ADDRESS)
    );
    assert_eq!(
        request.options.address(code::SERVER_IDENTIFIER),
        Some(SERVER)
    );
    t.receives(ack(SERVER));
    assert_eq!(t.bound().address, ADDRESS);
    t.is_silent_for(Duration::from_secs(1799));
}

#[test]
fn replies_that_are_not_ours_are_discarded_with_their_reason() {
    let mut t = Transcript::new(plain());
    t.sends(MessageType::Discover);
    let xid = t.client_xid();
    let discard =
        |t: &mut Transcript, message: Message| t.offers_to_client(&message, 67).unwrap_err();
    let with = |change: fn(&mut Message)| {
        let mut message = offer(SERVER);
        message.xid = xid;
        change(&mut message);
        message
    };
    assert_eq!(
        discard(&mut t, with(|m| m.op = Op::BootRequest)),
        Discard::NotAReply
    );
    assert_eq!(
        discard(&mut t, with(|m| m.xid ^= 1)),
        Discard::WrongXid(xid ^ 1)
    );
    let other = MacAddress([2; 6]);
    assert_eq!(
        discard(&mut t, with(|m| m.chaddr = MacAddress([2; 6]))),
        Discard::WrongChaddr(other)
    );
    assert_eq!(
        discard(&mut t, with(|m| m.options.remove(53))),
        Discard::NoMessageType
    );
    let nowhere = Ipv4Addr::UNSPECIFIED;
    assert_eq!(
        discard(&mut t, with(|m| m.yiaddr = Ipv4Addr::UNSPECIFIED)),
        Discard::UnusableAddress(nowhere)
    );
    let unexpected = Discard::Unexpected(MessageType::Ack);
    assert_eq!(
        discard(&mut t, with(|m| m.options.set(53, [5]))),
        unexpected
    );
    assert_eq!(t.offers_to_client(&with(|_| ()), 67), Ok(()));
}

/// As address translation of a cluster chooses the port anew for each flow.
#[test]
fn replies_count_whatever_port_they_come_from() {
    let mut t = Transcript::new(plain());
    let mut answers = [offer(SERVER), ack(SERVER), ack(SERVER)].into_iter();
    for (port, asked, after) in [
        (1_024, MessageType::Discover, 0),
        (40_000, MessageType::Request, 0),
        (68, MessageType::Request, 1_800_000),
    ] {
        t.sends_after(after..=after, asked);
        let answer = answers.next().unwrap();
        let xid = t.client_xid();
        t.offers_to_client(&Message { xid, ..answer }, port)
            .unwrap();
        t.drain();
    }
    assert_eq!(t.bounds.len(), 2);
}

#[test]
fn a_request_without_answer_is_repeated_and_then_the_search_goes_on() {
    let mut t = Transcript::in_requesting(plain());
    let begun_at = t.now;
    let delays = [500, 1_000, 2_000].into_iter().flat_map(|it| [it; 3]);
    for expected in delays.chain([4_000]) {
        t.sends_after(expected * 8 / 10..=expected * 12 / 10, MessageType::Request);
    }
    while t.next_message().1.message_type() == Some(MessageType::Request) {}
    let waited = t.now.since(begun_at).as_secs();
    assert!((16..21).contains(&waited), "{waited} s");
    assert_eq!(t.failure(), Loss::Unanswered { server: SERVER });
}

#[test]
fn a_nak_gives_its_reason_and_all_are_asked_again_in_the_same_exchange() {
    let mut t = Transcript::in_requesting(plain());
    let xid = t.client_xid();
    let mut nak = reply(MessageType::Nak, SERVER);
    nak.options.set(code::MESSAGE, *b"wrong\x07 network");
    t.receives(nak);
    let reason = Some("wrong\x07 network".to_owned());
    assert_eq!(
        t.failure(),
        Loss::Refused {
            server: SERVER,
            reason
        }
    );
    let discover = t.sends_after(500..=500, MessageType::Discover);
    // An offer of another server to the first DISCOVER still counts.
    assert_eq!(discover.xid, xid);
}

#[test]
fn a_boot_file_is_taken_at_once_and_a_plain_offer_waits_for_it() {
    let mut with_file = offer(OTHER_SERVER);
    with_file.file = b"pxelinux.0".to_vec();
    let mut t = Transcript::new(booting());
    t.sends(MessageType::Discover);
    t.receives(offer(SERVER));
    t.is_silent_for(Duration::from_millis(300));
    t.receives(with_file);
    let request = t.sends(MessageType::Request);
    assert_eq!(
        request.options.address(code::SERVER_IDENTIFIER),
        Some(OTHER_SERVER)
    );
}

#[test]
fn a_boot_file_that_was_asked_for_is_worth_more_patience_than_what_others_offer_too() {
    let mut with_file = offer(SERVER);
    with_file.file = b"pxelinux.0".to_vec();
    let mut t = Transcript::new(booting());
    t.sends(MessageType::Discover);
    t.receives(with_file);
    let mut taking = Vec::new();
    for _ in 0..5 {
        assert_eq!(
            t.next_message().1.message_type(),
            Some(MessageType::Request)
        );
        let beside =
            [Rank::Plain, Rank::BootFile].map(|rank| t.client.is_worth_awaiting(Some(rank)));
        taking.push(beside);
    }
    let [once, more, never] = [[true, true], [true, false], [false, false]];
    assert_eq!(taking, [once, more, more, more, never]);
}

#[test]
fn a_plain_offer_is_taken_when_nothing_better_came_in_time() {
    let mut t = Transcript::new(booting());
    t.sends(MessageType::Discover);
    t.receives(offer(SERVER));
    let mut waited = 0;
    loop {
        let (after, message) = t.next_message();
        waited += after;
        if message.message_type() == Some(MessageType::Request) {
            break;
        }
    }
    assert_eq!(waited, 1_000);
}

#[test]
fn a_proxy_gives_its_boot_file_to_a_plain_lease() {
    let mut proxy = offer(OTHER_SERVER);
    proxy.yiaddr = Ipv4Addr::UNSPECIFIED;
    proxy.options.set(code::VENDOR_CLASS, *b"PXEClient");
    proxy.file = b"boot/kernel".to_vec();
    for proxy_first in [true, false] {
        let mut t = Transcript::new(booting());
        t.sends(MessageType::Discover);
        let mut offers = [offer(SERVER), proxy.clone()];
        if proxy_first {
            offers.reverse();
        }
        offers.into_iter().for_each(|offer| t.receives(offer));
        t.sends(MessageType::Request);
        t.receives(ack(SERVER));
        let lease = t.bound();
        assert_eq!(lease.server, Some(SERVER));
        assert_eq!(lease.boot_file.as_deref(), Some("boot/kernel"));
        assert_eq!(lease.next_server, Some(OTHER_SERVER));
    }
}

#[test]
fn a_lease_is_renewed_by_unicast_rebound_by_broadcast_and_lost_at_its_end() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(SERVER));
    t.bound();
    let bound_at = t.now;
    let request = t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    assert_eq!(request.ciaddr, ADDRESS);
    assert_eq!(*t.last.destination.ip(), SERVER);
    assert_eq!(request.options.get(code::SERVER_IDENTIFIER), None);
    let seconds = |t: &Transcript| t.now.since(bound_at).as_secs();
    while *t.last.destination.ip() == SERVER {
        t.next_message();
    }
    assert_eq!(
        (seconds(&t), t.client.state()),
        (3_150, StateName::Rebinding)
    );
    while t.losses.is_empty() {
        t.next_message();
    }
    assert_eq!((seconds(&t), t.loss()), (3_600, Loss::Expired));
}

#[test]
fn a_renewal_starts_the_times_anew() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(SERVER));
    t.bound();
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    t.receives(ack(SERVER));
    t.bound();
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_500))]

    #[test]
    fn no_random_reply_harms_and_the_good_lease_still_wins(
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        cookie in any::<bool>(),
    ) {
        let mut noise = noise;
        if cookie && noise.len() > 240 {
            noise[..3].copy_from_slice(&[2, 1, 6]);
            noise[28..34].copy_from_slice(&MAC.0);
            noise[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        }
        let mut t = Transcript::new(booting());
        t.sends(MessageType::Discover);
        if noise.len() > 8 {
            noise[4..8].copy_from_slice(&t.client_xid().to_be_bytes());
        }
        let _ = t.input(&noise, 67);
        t.reaches_the_good_lease();
    }

    #[test]
    fn no_mutated_reply_harms_and_the_good_lease_still_wins(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        kind in 1_u8..=8,
    ) {
        let mut t = Transcript::new(booting());
        t.sends(MessageType::Discover);
        let mut message = offer(SERVER);
        message.options.set(code::MESSAGE_TYPE, [kind]);
        message.options.set(code::CLASSLESS_STATIC_ROUTE, [24, 10, 0, 0, 192, 0, 2, 1]);
        message.options.set(code::DOMAIN_SEARCH, *b"\x01a\xc0\x00");
        message.xid = t.client_xid();
        let mut octets = Vec::new();
        message.encode(&mut octets).unwrap();
        for (at, value) in changes {
            let at = at.index(octets.len());
            octets[at] = value;
        }
        octets.truncate(octets.len() - cut.index(octets.len()) / 4);
        let _ = t.input(&octets, 67);
        t.reaches_the_good_lease();
    }

    #[test]
    fn after_a_timeout_and_a_drain_the_next_deadline_lies_ahead(
        steps in proptest::collection::vec((0_u64..4_000_000, 0_u8..16), 1..40),
        detection in 0_u8..3,
        lease_time in prop_oneof![Just(0), Just(10), Just(3_600), Just(u32::MAX)],
    ) {
        let detection = match detection {
            0 => Detection::Strict,
            1 => Detection::Overlapped,
            _ => Detection::Off,
        };
        let mut t = Transcript::new(Config { detection, rapid_commit: true, ..booting() });
        for (millis, action) in steps {
            t.now += Duration::from_millis(millis);
            t.client.handle_timeout(t.now);
            t.drain();
            if let Some(at) = t.client.poll_timeout() {
                prop_assert!(at > t.now);
            }
            let mut message = match action {
                0 => offer(SERVER),
                1..=4 => ack(SERVER),
                5 => reply(MessageType::Nak, SERVER),
                6 => ack(OTHER_SERVER),
                _ => {
                    t.acts(action);
                    continue;
                }
            };
            message.options.set(code::LEASE_TIME, lease_time.to_be_bytes());
            if action == 2 {
                message.options.set(code::RAPID_COMMIT, []);
            }
            let xid = t.client_xid();
            let _ = t.offers_to_client(&Message { xid, ..message }, 67);
            t.drain();
        }
    }
}

fn plain() -> Config {
    Config::new(MAC, 7)
}

fn booting() -> Config {
    Config {
        wants_boot_file: true,
        ..plain()
    }
}

fn reply(message_type: MessageType, server: Ipv4Addr) -> Message {
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [u8::from(message_type)]);
    options.set(code::SERVER_IDENTIFIER, server.octets());
    Message {
        op: Op::BootReply,
        xid: 0,
        secs: 0,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: MAC,
        sname: Vec::new(),
        file: Vec::new(),
        options,
    }
}

fn granting(message_type: MessageType, server: Ipv4Addr) -> Message {
    let mut message = reply(message_type, server);
    message.yiaddr = ADDRESS;
    message.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
    message
        .options
        .set(code::LEASE_TIME, 3600_u32.to_be_bytes());
    message
}

fn offer(server: Ipv4Addr) -> Message {
    granting(MessageType::Offer, server)
}

fn ack(server: Ipv4Addr) -> Message {
    granting(MessageType::Ack, server)
}

/// A client, what it sent last, and the clock.
struct Transcript {
    client: Client,
    now: Instant,
    /// Where replies come from.
    source: Ipv4Addr,
    last: Transmit,
    sent: Vec<Message>,
    arp: Vec<arp::ArpPacket>,
    failures: Vec<Loss>,
    bounds: Vec<lease::Lease>,
    losses: Vec<Loss>,
    /// Who granted another address than the one asked for, that one, and what was granted.
    moved: Vec<(Ipv4Addr, Ipv4Addr, Ipv4Addr)>,
    /// Times left of leases that no server extends.
    silences: Vec<Duration>,
    notices: Vec<String>,
}

impl Transcript {
    fn new(config: Config) -> Self {
        let now = Instant::from_millis(1_000);
        let mut client = Client::new(config, now);
        client.handle_timeout(now);
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        Self {
            client,
            now,
            source: SERVER,
            last: Transmit {
                source: nowhere,
                destination: nowhere,
                message_type: MessageType::Inform,
            },
            sent: Vec::new(),
            arp: Vec::new(),
            failures: Vec::new(),
            bounds: Vec::new(),
            losses: Vec::new(),
            moved: Vec::new(),
            silences: Vec::new(),
            notices: Vec::new(),
        }
    }

    fn in_requesting(config: Config) -> Self {
        let mut t = Self::new(config);
        t.sends(MessageType::Discover);
        t.receives(offer(SERVER));
        t.sends(MessageType::Request);
        t
    }

    fn drain(&mut self) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.client.poll_transmit(&mut buf) {
            self.last = transmit;
            self.sent.push(Message::decode(&buf).unwrap());
        }
        self.arp
            .extend(std::iter::from_fn(|| self.client.poll_arp()));
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Bound(lease) => self.bounds.push(*lease),
                Event::Lost(loss) => self.losses.push(loss),
                Event::Failed(loss) => self.failures.push(loss),
                Event::OtherAddress {
                    server,
                    asked,
                    granted,
                } => self.moved.push((server, asked, granted)),
                Event::Unanswered { left } => self.silences.push(left.unwrap_or(Duration::MAX)),
                Event::Notice(notice) => self.notices.push(notice.to_string()),
                Event::Entered(_) | Event::Offered(_) | Event::Ipv6Only { .. } => {}
            }
        }
    }

    /// The next message, and the milliseconds until it was sent.
    fn next_message(&mut self) -> (u64, Message) {
        let start = self.now;
        for _ in 0..1_000 {
            self.drain();
            if !self.sent.is_empty() {
                return (
                    self.now.as_millis() - start.as_millis(),
                    self.sent.remove(0),
                );
            }
            self.now = self.client.poll_timeout().expect("a deadline");
            self.client.handle_timeout(self.now);
        }
        panic!("nothing was sent in 1,000 steps");
    }

    fn sends(&mut self, expected: MessageType) -> Message {
        self.sends_after(0..=0, expected)
    }

    fn sends_after(
        &mut self,
        millis: std::ops::RangeInclusive<u64>,
        expected: MessageType,
    ) -> Message {
        let (after, message) = self.next_message();
        assert_eq!(message.message_type(), Some(expected));
        assert!(
            millis.contains(&after),
            "{expected:?} after {after} ms, not {millis:?}"
        );
        message
    }

    fn is_silent_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            assert_eq!(self.sent.first(), None);
            match self.client.poll_timeout() {
                Some(at) if at <= end => {
                    self.now = at;
                    self.client.handle_timeout(at);
                }
                _ => break,
            }
        }
        self.now = end;
        self.client.handle_timeout(end);
    }

    /// Does one of the things that a driver may do.
    fn acts(&mut self, action: u8) {
        let claim = arp::ArpPacket::announcement(MacAddress([2; 6]), ADDRESS);
        let contention = RequestCounts {
            discovers: u32::MAX,
            requests: 7,
        };
        match action {
            7 => self.client.link_up(self.now),
            8 => self.client.renew(self.now),
            9 => self.client.reboot(ADDRESS, self.now),
            10 => self.client.inform(ADDRESS, self.now),
            11 => self.client.release(self.now),
            12 | 13 => self.client.handle_arp(&claim, self.now),
            14 | 15 => self.client.handle_contention(contention, self.now),
            _ => {}
        }
        self.drain();
    }

    fn client_xid(&self) -> u32 {
        self.client.xid()
    }

    fn receives(&mut self, message: Message) {
        let xid = self.client_xid();
        self.offers_to_client(&Message { xid, ..message }, 67)
            .unwrap();
    }

    fn offers_to_client(&mut self, message: &Message, port: u16) -> Result<(), Discard> {
        let mut octets = Vec::new();
        message.encode(&mut octets).unwrap();
        self.input(&octets, port)
    }

    fn input(&mut self, payload: &[u8], port: u16) -> Result<(), Discard> {
        let datagram = Datagram {
            source: SocketAddrV4::new(self.source, port),
            destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
            payload,
        };
        self.client.handle_input(datagram, self.now)
    }

    fn bound(&mut self) -> lease::Lease {
        self.drain();
        assert_eq!(self.bounds.len(), 1);
        self.bounds.remove(0)
    }

    fn loss(&mut self) -> Loss {
        self.drain();
        assert_eq!(self.losses.len(), 1);
        self.losses.remove(0)
    }

    fn failure(&mut self) -> Loss {
        self.drain();
        assert_eq!(self.failures.len(), 1);
        self.failures.remove(0)
    }

    /// An honest server answers everything from now on; one lease must come of it.
    fn reaches_the_good_lease(&mut self) {
        for _ in 0..40 {
            let (_, message) = self.next_message();
            let answer = match message.message_type() {
                Some(MessageType::Discover) => offer(SERVER),
                Some(MessageType::Request) => ack(SERVER),
                other => panic!("{other:?} sent"),
            };
            let xid = message.xid;
            let _ = self.offers_to_client(&Message { xid, ..answer }, 67);
            self.drain();
            if let Some(lease) = self.bounds.pop() {
                assert_eq!(lease.address, ADDRESS);
                return;
            }
        }
        panic!("no lease after 40 messages");
    }
}
