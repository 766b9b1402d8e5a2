//! The client against routers and servers made of messages, with the clock in the test's hand.

use super::address;
use super::client::{Config6, Conflict, Ipv6Client, Transmit6};
use super::dhcp::{Dhcp6, Ignored, Purpose};
use super::identity::Identity;
use super::lease::{FOREVER, Lease6, LeasedAddress, Origin};
use super::ndisc::{IgnoredAdvertisement, RouterDiscovery};
use super::offer::{Configuration, Offer};
use crate::dhcp::config::{ClientId, Detection, Identify, Introduction};
use crate::dhcp::identity::{MachineIdentity, options};
use crate::dhcp::lease::Lease;
use crate::packet::dhcpv6::{Message, MessageType, Status, begin, code, counted, put};
use crate::packet::ethernet::MacAddress;
use crate::packet::icmpv6::{NeighborMessage, Preference};
use crate::prelude::*;
use crate::time::{Instant, Random};
use core::net::Ipv6Addr;
use core::time::Duration;
use proptest::prelude::*;

mod routers;
mod servers;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const IAID: [u8; 4] = [0, 0x12, 0x34, 0x56];
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SERVER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const M: u8 = 0x80;
const O: u8 = 0x40;

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn identity() -> Identity {
    Identity {
        duid: vec![0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
        iaid: IAID,
        options: Vec::new(),
    }
}

fn config() -> Config6 {
    Config6 {
        mac: MAC,
        identity: identity(),
        purpose: Purpose::Lease,
        given: None,
        wants_boot_file: false,
        offer_wait: Duration::from_millis(250),
        boot_file_wait: Duration::from_secs(12),
        detection: Detection::Overlapped,
        seed: 7,
    }
}

/// A router advertisement with a prefix of that length, if one is given.
fn advertisement(flags: u8, lifetime: u16, prefix: Option<(u8, u32, u32)>) -> Vec<u8> {
    let [high, low] = lifetime.to_be_bytes();
    let mut message = vec![134, 0, 0, 0, 64, flags, high, low, 0, 0, 0, 0, 0, 0, 0, 0];
    if let Some((len, preferred, valid)) = prefix {
        message.extend([3, 4, len, 0xc0]);
        message.extend(valid.to_be_bytes());
        message.extend(preferred.to_be_bytes());
        message.extend([0; 4]);
        message.extend("2001:db8:1::".parse::<Ipv6Addr>().unwrap().octets());
    }
    message
}

const SUBNET: Option<(u8, u32, u32)> = Some((64, 1800, 3600));

/// A reply to a message of a client.
struct Answer(Vec<u8>);

impl Answer {
    fn new(kind: MessageType, to: &[u8]) -> Self {
        Self::from_server(kind, to, 1)
    }

    fn from_server(kind: MessageType, to: &[u8], server: u8) -> Self {
        let asked = Message::decode(to).unwrap();
        let mut bytes = begin(kind, asked.transaction);
        put(&mut bytes, code::CLIENT_ID, asked.options.get(1).unwrap());
        put(&mut bytes, code::SERVER_ID, &[0, 2, server]);
        Self(bytes)
    }

    fn with(mut self, code: u16, value: &[u8]) -> Self {
        put(&mut self.0, code, value);
        self
    }

    fn with_address(self, address: &str, preferred: u32, valid: u32) -> Self {
        self.with_association([0, 0], address, preferred, valid)
    }

    fn with_association(self, times: [u32; 2], address: &str, preferred: u32, valid: u32) -> Self {
        let mut value = IAID.to_vec();
        value.extend(times.iter().flat_map(|time| time.to_be_bytes()));
        let mut given = address.parse::<Ipv6Addr>().unwrap().octets().to_vec();
        given.extend(preferred.to_be_bytes());
        given.extend(valid.to_be_bytes());
        put(&mut value, code::IA_ADDRESS, &given);
        self.with(code::IA_NA, &value)
    }
}

/// A client on a network that the test plays.
struct Scene {
    client: Ipv6Client,
    now: Instant,
    sent: Vec<(Instant, Transmit6)>,
}

impl Scene {
    /// The lease, if nothing better is to be expected.
    fn settled(&self) -> Option<Lease6> {
        let client = &self.client;
        client.is_settled(self.now).then(|| client.lease(self.now))
    }

    fn new(config: Config6) -> Self {
        let mut scene = Self {
            client: Ipv6Client::new(config, ms(0)),
            now: ms(0),
            sent: Vec::new(),
        };
        scene.drain();
        scene
    }

    fn drain(&mut self) {
        self.client.handle_timeout(self.now);
        while let Some(transmit) = self.client.poll_transmit(self.now) {
            self.sent.push((self.now, transmit));
        }
        let next = self.client.poll_timeout(self.now);
        assert!(next.is_none_or(|next| next > self.now), "{next:?}");
    }

    /// Lets time pass.
    fn until(&mut self, millis: u64) {
        while let Some(next) = self.client.poll_timeout(self.now) {
            if next > ms(millis) {
                break;
            }
            self.now = next;
            self.drain();
        }
        self.now = ms(millis);
        self.drain();
    }

    fn advertise(&mut self, message: &[u8]) {
        let handled = self.client.handle_router(ROUTER, 255, message, self.now);
        assert_eq!(handled, Ok(()));
        self.drain();
    }

    fn answer(&mut self, answer: Answer) -> Result<(), Ignored> {
        let handled = self.client.handle_server(SERVER, &answer.0, self.now);
        self.drain();
        handled
    }

    /// Returns the messages of a type.
    fn messages(&self, wanted: MessageType) -> Vec<(Instant, Vec<u8>)> {
        let all = self.sent.iter();
        let messages = all.filter_map(|(at, transmit)| match transmit {
            Transmit6::Dhcp(kind, message) if *kind == wanted => Some((*at, message.clone())),
            Transmit6::Dhcp(..) | Transmit6::Frame(_) | Transmit6::Solicitation(_) => None,
        });
        messages.collect()
    }

    fn last(&self, wanted: MessageType) -> Vec<u8> {
        self.messages(wanted).pop().expect("no such message").1
    }

    fn solicitations(&self) -> usize {
        let is_one = |transmit: &Transmit6| matches!(transmit, Transmit6::Solicitation(_));
        self.sent.iter().filter(|(_, sent)| is_one(sent)).count()
    }
}

#[test]
fn no_message_is_longer_than_every_link_carries() {
    // With all that a client may say of itself, and a renewal of as many addresses as are used.
    let label = "a".repeat(60);
    let name = [&*label; 4].join(".");
    let introduction = Introduction {
        client_id: ClientId::Bytes(vec![7; 130]),
        ..Introduction::default()
    };
    let machine = MachineIdentity {
        architecture: 7,
        uuid: None,
    };
    let options = options(Identify::Ipxe, &introduction, Some(&name), MAC, || machine);
    let identity = Identity::new(Identify::Ipxe, &introduction, MAC, &options);
    let held: Vec<_> = (1..=8)
        .map(|host| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host))
        .collect();
    let second = Duration::from_secs(1);
    let pace = super::exchange::Pace::new(second, second);
    let mut random = Random::new(1);
    let exchange = super::exchange::Exchange::begin(MessageType::RENEW, pace, ms(0), &mut random);
    let lease = Offer::held(vec![9; 130], &held, ms(0));
    let message = identity.message(&exchange, 0, Some(&lease), ms(0));
    let read = Message::decode(&message).unwrap().options;
    assert_eq!(read.associations().next().unwrap().addresses().count(), 8);
    assert!(read.get(code::CLIENT_FQDN).is_some());
    // RFC 8200 §5, without the headers of IPv6 and UDP.
    assert!(message.len() <= 1280 - 40 - 8, "{}", message.len());
}

#[test]
fn parameters_of_a_boot_file_are_told_apart() {
    for (parameters, expected) in [
        (&["1234"][..], None),
        (&["a=b", "root=/dev/nfs ro"], None),
        (&["4", "/boot/menu.cfg"], Some("/boot/menu.cfg")),
        (
            &["http://[2001:db8::1]/x?a=b", "second"],
            Some("http://[2001:db8::1]/x?a=b"),
        ),
        (&[], None),
    ] {
        let lease = Lease6 {
            boot_parameters: parameters.iter().copied().map(str::to_owned).collect(),
            ..Lease6::default()
        };
        assert_eq!(lease.configuration_file(), expected, "{parameters:?}");
        let path = Lease::of_ipv6(lease);
        let path = path.options.get(209).map(<[u8]>::to_vec);
        assert_eq!(path.as_deref(), expected.map(str::as_bytes));
    }
    // A server for Windows sends one text without lengths, which may be of two octets.
    let mut message = begin(MessageType::REPLY, [0; 3]);
    put(&mut message, code::BOOT_FILE_PARAMETERS, b"5120");
    let read = Configuration::read(Message::decode(&message).unwrap().options);
    assert_eq!(read.boot_parameters, ["5120"]);
}

#[test]
fn a_stateless_network_gives_an_address_and_is_asked_for_the_rest() {
    let mut scene = Scene::new(config());
    assert_eq!(scene.solicitations(), 1);
    scene.until(3);
    let mut message = advertisement(O, 1800, SUBNET);
    message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
    message.extend(SERVER.octets());
    scene.advertise(&message);
    assert_eq!(scene.settled(), None);
    let request = scene.last(MessageType::INFORMATION_REQUEST);
    let asked = Message::decode(&request).unwrap().options;
    let requested = asked.get(code::OPTION_REQUEST).unwrap();
    let requested: Vec<_> = requested.chunks(2).map(|pair| pair[1]).collect();
    assert_eq!(requested, [23, 24, 59, 60, 56, 31, 82, 83, 103, 32]);
    assert_eq!((asked.get(3), asked.get(20)), (None, None));
    let answer = Answer::new(MessageType::REPLY, &request)
        .with(code::BOOT_FILE_URL, b"http://[2001:db8::1]/boot.ipxe")
        .with(code::DNS_SERVERS, &ROUTER.octets());
    scene.answer(answer).unwrap();
    let lease = scene.settled().unwrap();
    assert_eq!(lease.boot_file.unwrap(), "http://[2001:db8::1]/boot.ipxe");
    // That of the router first, and then that of the server.
    assert_eq!(lease.dns, [SERVER, ROUTER]);
    let [address] = lease.addresses[..] else {
        panic!("{:?}", lease.addresses)
    };
    assert_eq!(
        address.to_string(),
        "2001:db8:1:0:5054:ff:fe12:3456/64 in a prefix of a router for 3600 s"
    );
    assert_eq!(
        lease
            .routes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "route 2001:db8:1::/64 on the link",
            "route ::/0 via fe80::1"
        ]
    );
    assert!(scene.messages(MessageType::SOLICIT).is_empty());
    // No further solicitation once there is a router.
    scene.until(60_000);
    assert_eq!(scene.solicitations(), 1);
}

#[test]
fn a_router_alone_is_enough_and_a_silent_server_is_not_waited_for_long() {
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(0, 1800, SUBNET));
    assert!(scene.settled().is_some());
    for flags in [O, M, M | O] {
        let mut scene = Scene::new(config());
        scene.advertise(&advertisement(flags, 1800, SUBNET));
        scene.until(4_900);
        assert_eq!(scene.settled(), None, "{flags:x}");
        scene.until(5_001);
        assert!(scene.settled().is_some(), "{flags:x}");
    }
}

#[test]
fn a_managed_network_gives_an_address_by_four_messages() {
    let mut scene = Scene::new(config());
    scene.until(5);
    scene.advertise(&advertisement(M, 1800, None));
    let solicit = scene.last(MessageType::SOLICIT);
    let asked = Message::decode(&solicit).unwrap().options;
    assert_eq!(asked.get(code::ELAPSED_TIME), Some(&[0, 0][..]));
    assert_eq!(asked.get(code::RAPID_COMMIT), Some(&[][..]));
    let offer = Answer::new(MessageType::ADVERTISE, &solicit).with_address("2001:db8::7", 100, 200);
    scene.answer(offer).unwrap();
    scene.until(254);
    assert!(scene.messages(MessageType::REQUEST).is_empty());
    scene.until(256);
    let request = scene.last(MessageType::REQUEST);
    let asked = Message::decode(&request).unwrap().options;
    assert_eq!(asked.get(code::SERVER_ID), Some(&[0, 2, 1][..]));
    let association = asked.associations().next().unwrap();
    assert_eq!(
        association.addresses().next().unwrap().address.to_string(),
        "2001:db8::7"
    );
    let reply = Answer::new(MessageType::REPLY, &request).with_address("2001:db8::7", 100, 200);
    scene.answer(reply).unwrap();
    let lease = scene.settled().unwrap();
    assert_eq!(lease.addresses[0].origin, Origin::Server);
    assert_eq!(lease.addresses[0].prefix_len(), 128);
    assert_eq!(lease.server, Some(SERVER));
    scene.until(1256);
    assert_eq!(scene.client.lease(scene.now).addresses[0].valid, 199);
}

#[test]
fn servers_are_asked_where_no_router_is() {
    let mut scene = Scene::new(config());
    scene.until(999);
    assert!(scene.messages(MessageType::SOLICIT).is_empty());
    scene.until(1000);
    let solicit = scene.last(MessageType::SOLICIT);
    let best = Answer::new(MessageType::ADVERTISE, &solicit)
        .with(code::PREFERENCE, &[255])
        .with_address("2001:db8::7", 100, 200);
    scene.answer(best).unwrap();
    // At once.
    let request = scene.last(MessageType::REQUEST);
    let reply = Answer::new(MessageType::REPLY, &request).with_address("2001:db8::7", 100, 200);
    scene.answer(reply).unwrap();
    // A router may come yet.
    assert_eq!(scene.settled(), None);
    scene.until(2000);
    assert!(scene.settled().is_some());
    assert!(
        scene
            .client
            .explain()
            .starts_with("no router advertises itself")
    );
}

#[test]
fn a_silent_network_is_asked_with_growing_pauses() {
    let mut scene = Scene::new(config());
    scene.until(120_000);
    let times: Vec<_> = scene
        .messages(MessageType::SOLICIT)
        .iter()
        .map(|(at, _)| *at)
        .collect();
    // 1, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 48.5, 64.5, 96.5 s, each within 10 %.
    assert!((9..=12).contains(&times.len()), "{times:?}");
    let gaps: Vec<_> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    for (gap, expected) in gaps
        .iter()
        .zip([500, 1000, 2000, 4000, 8000, 16_000, 16_000])
    {
        let expected = Duration::from_millis(expected);
        // The jitter of each delay is that of its predecessor, too.
        assert!(
            (expected * 6 / 10..=expected * 16 / 10).contains(gap),
            "{gaps:?}"
        );
    }
    assert!(gaps[0] >= Duration::from_millis(500));
    let messages = scene.messages(MessageType::SOLICIT);
    let transaction = |message: &[u8]| Message::decode(message).unwrap().transaction;
    assert!(
        messages
            .iter()
            .all(|(_, sent)| transaction(sent) == transaction(&messages[0].1))
    );
    // Each exchange has a number of its own (RFC 8415 §16.1).
    let question = scene.last(MessageType::INFORMATION_REQUEST);
    assert_ne!(transaction(&question), transaction(&messages[0].1));
    let elapsed = Message::decode(&messages[1].1)
        .unwrap()
        .options
        .get(8)
        .unwrap()
        .to_vec();
    let elapsed = u16::from_be_bytes(elapsed.try_into().unwrap());
    assert!((50..=56).contains(&elapsed), "{elapsed}");
    assert!((8..=14).contains(&scene.solicitations()));
    let text = scene.client.explain();
    assert!(text.contains("no DHCPv6 server has answered"), "{text}");
}

#[test]
fn after_a_minute_of_silence_pauses_grow_to_an_hour_until_there_is_news() {
    const DAY: u64 = 86_400_000;
    let mut scene = Scene::new(config());
    scene.until(DAY);
    // RFC 8415 §7.6: SOL_MAX_RT and INF_MAX_RT are 3600 s, and RAND is up to a tenth.
    for kind in [MessageType::SOLICIT, MessageType::INFORMATION_REQUEST] {
        let sent = scene.messages(kind);
        let began_at = sent[0].0;
        for pair in sent.windows(2) {
            let [before, at] = [pair[0].0, pair[1].0].map(|at| at.since(began_at).as_millis());
            let gap = at - before;
            if before < 60_000 {
                assert!(gap <= 17_600, "{before} ms: {gap} ms");
            } else if before > 4 * 3_600_000 {
                assert!(
                    (3_240_000..=3_960_000).contains(&gap),
                    "{before} ms: {gap} ms"
                );
            } else {
                assert!(gap <= 3_960_000, "{before} ms: {gap} ms");
            }
        }
        assert!((30..=45).contains(&sent.len()), "{kind}: {}", sent.len());
    }
    // Routers, too (RFC 7559 §2).
    let solicitations = scene.solicitations();
    assert!((30..=45).contains(&solicitations), "{solicitations}");
    // The carrier has returned, or is told of twice.
    let asked = |scene: &Scene| {
        let solicits = scene.messages(MessageType::SOLICIT).len();
        [
            solicits,
            scene.messages(MessageType::INFORMATION_REQUEST).len(),
        ]
    };
    let before = asked(&scene);
    for _ in 0..2 {
        scene.client.handle_return(scene.now);
        scene.drain();
        assert_eq!(asked(&scene), before.map(|number| number + 1));
    }
    // Somebody wants the lease to be renewed that there is not.
    scene.until(2 * DAY);
    let before = asked(&scene);
    scene.client.renew(scene.now);
    scene.drain();
    assert_eq!(asked(&scene), before.map(|number| number + 1));
    // A router appears, and speaks of servers; it does so again and again.
    scene.until(3 * DAY);
    let before = asked(&scene);
    for _ in 0..2 {
        scene.advertise(&advertisement(M, 1800, None));
        assert_eq!(asked(&scene), before.map(|number| number + 1));
    }
}

#[test]
fn without_addresses_at_the_server_configuration_is_asked_for() {
    let mut boots = config();
    boots.wants_boot_file = true;
    let mut scene = Scene::new(boots);
    scene.advertise(&advertisement(M | O, 1800, SUBNET));
    let solicit = scene.last(MessageType::SOLICIT);
    let none = Answer::new(MessageType::ADVERTISE, &solicit)
        .with(code::STATUS_CODE, &[0, 2])
        .with(code::SOL_MAX_RT, &60_u32.to_be_bytes());
    let refused = Err(Ignored::NoAddress(Status::NO_ADDRESSES));
    assert_eq!(scene.answer(none), refused);
    let request = scene.last(MessageType::INFORMATION_REQUEST);
    let reply = Answer::new(MessageType::REPLY, &request)
        .with(code::BOOT_FILE_URL, b"tftp://[2001:db8::1]/x")
        .with(
            code::BOOT_FILE_PARAMETERS,
            &[counted(b"a=b"), counted(b"12")].concat(),
        );
    scene.answer(reply).unwrap();
    let lease = scene.settled().unwrap();
    assert_eq!(lease.boot_file.as_deref(), Some("tftp://[2001:db8::1]/x"));
    assert_eq!(lease.boot_parameters, ["a=b", "12"]);
    assert_eq!(lease.addresses[0].origin, Origin::Prefix);
    // Of the association, as servers before RFC 8415 send it.
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(M, 1800, SUBNET));
    let solicit = scene.last(MessageType::SOLICIT);
    let mut value = [&IAID[..], &[0; 8]].concat();
    put(&mut value, code::STATUS_CODE, &[0, 2]);
    let none = Answer::new(MessageType::ADVERTISE, &solicit).with(code::IA_NA, &value);
    assert_eq!(scene.answer(none), refused);
    assert_eq!(scene.messages(MessageType::INFORMATION_REQUEST).len(), 1);
}

#[test]
fn a_server_that_is_silent_for_this_client_is_asked_for_configuration() {
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(M, 1800, SUBNET));
    assert!(scene.messages(MessageType::INFORMATION_REQUEST).is_empty());
    scene.until(600);
    assert_eq!(scene.messages(MessageType::SOLICIT).len(), 2);
    assert_eq!(scene.messages(MessageType::INFORMATION_REQUEST).len(), 1);
}

#[test]
fn an_address_without_a_boot_file_is_followed_by_a_question_for_one() {
    let mut boots = config();
    boots.wants_boot_file = true;
    let mut scene = Scene::new(boots);
    scene.advertise(&advertisement(M, 1800, None));
    let solicit = scene.last(MessageType::SOLICIT);
    let offer = Answer::new(MessageType::ADVERTISE, &solicit).with_address("2001:db8::7", 100, 200);
    scene.answer(offer).unwrap();
    scene.until(300);
    let request = scene.last(MessageType::REQUEST);
    let reply = Answer::new(MessageType::REPLY, &request).with_address("2001:db8::7", 100, 200);
    scene.answer(reply).unwrap();
    assert_eq!(scene.settled(), None);
    let question = scene.last(MessageType::INFORMATION_REQUEST);
    // One server says nothing of use, another has the file.
    scene
        .answer(Answer::new(MessageType::REPLY, &question))
        .unwrap();
    assert_eq!(scene.settled(), None);
    let reply = Answer::from_server(MessageType::REPLY, &question, 9)
        .with(code::BOOT_FILE_URL, b"http://boot.example/x\0");
    scene.answer(reply).unwrap();
    let lease = scene.settled().unwrap();
    assert_eq!(lease.boot_file.as_deref(), Some("http://boot.example/x"));
    let sent = scene.messages(MessageType::INFORMATION_REQUEST).len();
    scene.until(60_000);
    assert_eq!(scene.messages(MessageType::INFORMATION_REQUEST).len(), sent);
    // Nobody has one: what there is goes on after the wait.
    let mut boots = config();
    boots.wants_boot_file = true;
    let mut scene = Scene::new(boots);
    scene.advertise(&advertisement(0, 1800, SUBNET));
    scene.until(11_900);
    assert_eq!(scene.settled(), None);
    assert!(scene.messages(MessageType::INFORMATION_REQUEST).len() > 3);
    scene.until(12_001);
    assert_eq!(scene.settled().unwrap().boot_file, None);
}

#[test]
fn a_duplicate_is_declined_or_not_formed_and_a_duplicate_link_local_is_reported() {
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(M, 1800, SUBNET));
    let solicit = scene.last(MessageType::SOLICIT);
    let best = |kind, to: &[u8]| {
        Answer::new(kind, to)
            .with(code::PREFERENCE, &[255])
            .with_address("2001:db8::7", 100, 200)
    };
    scene
        .answer(best(MessageType::ADVERTISE, &solicit))
        .unwrap();
    let request = scene.last(MessageType::REQUEST);
    scene.answer(best(MessageType::REPLY, &request)).unwrap();
    let frames = |scene: &Scene| {
        let all = scene.sent.iter();
        all.filter(|(_, sent)| matches!(sent, Transmit6::Frame(_)))
            .count()
    };
    // Of the link-local address, of the prefix, of the server.
    assert_eq!(frames(&scene), 3);
    let said = |target: &str, is_solicitation, nonce| NeighborMessage {
        target: target.parse().unwrap(),
        is_solicitation,
        nonce,
    };
    let mut hear = |source: &str, message, now| {
        let source = source.parse().unwrap();
        scene.client.handle_neighbor(source, message, now)
    };
    let now = ms(500);
    // Who wants to reach it, and who speaks of another address.
    assert_eq!(hear("fe80::9", said("2001:db8::7", true, None), now), None);
    assert_eq!(hear("fe80::9", said("2001:db8::8", false, None), now), None);
    let conflict = |target: &str, is_link_local| {
        Some(Conflict {
            address: target.parse().unwrap(),
            is_link_local,
        })
    };
    let formed = "2001:db8:1:0:5054:ff:fe12:3456";
    assert_eq!(
        hear("::", said(formed, true, Some([0; 6])), now),
        conflict(formed, false)
    );
    assert_eq!(
        hear("2001:db8::7", said("2001:db8::7", false, None), now),
        conflict("2001:db8::7", false)
    );
    let ours = "fe80::5054:ff:fe12:3456";
    assert_eq!(
        hear("::", said(ours, false, None), now),
        conflict(ours, true)
    );
    scene.now = now;
    scene.drain();
    let decline = scene.last(MessageType::DECLINE);
    let declined = Message::decode(&decline).unwrap().options;
    let association = declined.associations().next().unwrap();
    assert_eq!(
        association.addresses().next().unwrap().address.to_string(),
        "2001:db8::7"
    );
    assert!(scene.client.lease(scene.now).addresses.is_empty());
    scene
        .answer(Answer::new(MessageType::REPLY, &decline))
        .unwrap();
    let solicits = scene.messages(MessageType::SOLICIT).len();
    scene.until(10_400);
    assert_eq!(scene.messages(MessageType::SOLICIT).len(), solicits);
    scene.until(10_500);
    assert_eq!(scene.messages(MessageType::SOLICIT).len(), solicits + 1);
}

#[test]
fn a_message_of_our_own_that_comes_back_is_no_conflict() {
    let mut scene = Scene::new(config());
    let Transmit6::Frame(frame) = &scene.sent[0].1 else {
        panic!("no probe")
    };
    let message = NeighborMessage::decode(&frame[54..]).unwrap();
    let heard = |scene: &mut Scene, message, at| {
        scene
            .client
            .handle_neighbor(Ipv6Addr::UNSPECIFIED, message, ms(at))
    };
    assert_eq!(heard(&mut scene, message, 10), None);
    let other = NeighborMessage {
        nonce: Some([1; 6]),
        ..message
    };
    // Too late.
    assert_eq!(heard(&mut scene, other, 1000), None);
    assert!(heard(&mut scene, other, 999).is_some());
}

#[test]
fn a_probe_that_may_be_lost_is_sent_again_while_it_may_be_answered() {
    let probes = |scene: &Scene| {
        let frames = scene.sent.iter().filter_map(|(_, sent)| match sent {
            Transmit6::Frame(frame) => Some(frame.clone()),
            Transmit6::Solicitation(_) | Transmit6::Dhcp(..) => None,
        });
        frames.collect::<Vec<_>>()
    };
    let mut scene = Scene::new(config());
    scene.until(500);
    scene.client.handle_carrier(scene.now);
    scene.drain();
    let sent = probes(&scene);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1]);
    assert_eq!(scene.client.probe_answered_by(), Some(ms(1500)));
    scene.until(1500);
    scene.client.handle_carrier(scene.now);
    scene.drain();
    assert_eq!(probes(&scene).len(), 2);
}

#[test]
fn strict_detection_sends_nothing_else_for_a_second_and_none_sends_no_probe() {
    let mut strict = config();
    strict.detection = Detection::Strict;
    let mut scene = Scene::new(strict);
    scene.until(999);
    assert_eq!((scene.sent.len(), scene.solicitations()), (1, 0));
    assert!(!scene.client.may_use_link_local(scene.now));
    scene.until(1001);
    assert_eq!(scene.solicitations(), 1);
    scene.advertise(&advertisement(0, 1800, SUBNET));
    scene.until(1990);
    assert_eq!(scene.settled(), None);
    scene.until(2002);
    assert!(scene.settled().is_some());
    let mut off = config();
    off.detection = Detection::Off;
    let mut scene = Scene::new(off);
    scene.advertise(&advertisement(0, 1800, SUBNET));
    assert!(scene.settled().is_some());
    assert!(
        !scene
            .sent
            .iter()
            .any(|(_, sent)| matches!(sent, Transmit6::Frame(_)))
    );
}

#[test]
fn a_preview_takes_the_best_offer_and_a_survey_none() {
    let purpose = |purpose| {
        Scene::new(Config6 {
            purpose,
            ..config()
        })
    };
    for mut scene in [purpose(Purpose::Preview), purpose(Purpose::Survey)] {
        let is_preview = scene.client.purpose() == Purpose::Preview;
        scene.advertise(&advertisement(M, 1800, None));
        for (server, preference) in [(1, 5), (2, 255)] {
            let solicit = scene.last(MessageType::SOLICIT);
            let answer = Answer::from_server(MessageType::ADVERTISE, &solicit, server);
            let address = format!("2001:db8::{server}");
            let answer = answer.with(code::PREFERENCE, &[preference]);
            scene
                .answer(answer.with_address(&address, 100, 200))
                .unwrap();
        }
        scene.until(3_000);
        let lease = scene.settled();
        assert_eq!(lease.is_some(), is_preview);
        if let Some(lease) = lease {
            assert_eq!(lease.addresses[0].address.to_string(), "2001:db8::2");
        }
        for kind in [MessageType::REQUEST, MessageType::RELEASE] {
            assert!(scene.messages(kind).is_empty());
        }
        assert_eq!(
            scene.messages(MessageType::INFORMATION_REQUEST).is_empty(),
            is_preview
        );
        scene.client.release(scene.now);
        assert!(!scene.client.is_releasing());
    }
}

#[test]
fn who_wants_information_asks_servers_for_it_alone() {
    let mut scene = Scene::new(Config6 {
        purpose: Purpose::Information,
        detection: Detection::Off,
        ..config()
    });
    scene.until(1_200);
    scene.advertise(&advertisement(M | O, 1800, SUBNET));
    scene.until(4_000);
    assert_eq!(scene.solicitations(), 0);
    assert_eq!(scene.messages(MessageType::SOLICIT), []);
    assert!(scene.messages(MessageType::INFORMATION_REQUEST).len() > 2);
    assert_eq!(scene.settled(), None);
    let asked = scene.last(MessageType::INFORMATION_REQUEST);
    let answer = Answer::new(MessageType::REPLY, &asked)
        .with(code::BOOT_FILE_URL, b"http://[2001:db8::1]/x");
    scene.answer(answer).unwrap();
    let lease = scene.settled().unwrap();
    assert_eq!(lease.boot_file.as_deref(), Some("http://[2001:db8::1]/x"));
    assert_eq!((lease.addresses, lease.routes), (vec![], vec![]));
}

#[test]
fn who_has_given_its_lease_back_asks_for_nothing_any_more() {
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(M, 1800, None));
    for (wanted, kind) in [
        (MessageType::SOLICIT, MessageType::ADVERTISE),
        (MessageType::REQUEST, MessageType::REPLY),
    ] {
        let asked = scene.last(wanted);
        let answer = Answer::new(kind, &asked).with(code::PREFERENCE, &[255]);
        let answer = answer.with_address("2001:db8:1::7", 1800, 3600);
        scene.answer(answer).unwrap();
    }
    scene.client.release(scene.now);
    scene.drain();
    let release = scene.last(MessageType::RELEASE);
    assert!(scene.client.is_releasing());
    let sent = scene.sent.len();
    scene
        .answer(Answer::new(MessageType::REPLY, &release))
        .unwrap();
    assert!(!scene.client.is_releasing());
    scene.until(60_000);
    assert_eq!(scene.sent.len(), sent);
}

#[test]
fn a_given_address_is_probed_and_nobody_asked_for_more() {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
    for (detection, probes, settled_at) in [
        (Detection::Overlapped, 2, 0),
        // The link-local address first.
        (Detection::Strict, 2, 2000),
        (Detection::Off, 0, 0),
    ] {
        let lease = Lease6 {
            addresses: vec![LeasedAddress {
                address,
                preferred: FOREVER,
                valid: FOREVER,
                origin: Origin::Given,
            }],
            ..Lease6::default()
        };
        let mut scene = Scene::new(Config6 {
            given: Some(lease.clone()),
            detection,
            ..config()
        });
        if settled_at > 0 {
            scene.until(settled_at - 1);
            assert_eq!(scene.settled(), None, "{detection:?}");
        }
        scene.until(settled_at);
        assert_eq!(scene.settled(), Some(lease), "{detection:?}");
        scene.advertise(&advertisement(M | O, 1800, Some((64, 100, 200))));
        scene.until(20_000);
        let mut sent = scene.sent.iter();
        assert!(sent.all(|(_, sent)| matches!(sent, Transmit6::Frame(_))));
        assert_eq!(scene.sent.len(), probes, "{detection:?}");
        assert_eq!(scene.client.poll_timeout(scene.now), None);
    }
}

#[test]
fn a_server_that_boots_from_its_link_needs_no_address() {
    let mut boots = config();
    boots.wants_boot_file = true;
    let mut scene = Scene::new(boots);
    scene.until(1000);
    let solicit = scene.last(MessageType::SOLICIT);
    let none = Answer::new(MessageType::ADVERTISE, &solicit).with(code::STATUS_CODE, &[0, 2]);
    assert!(scene.answer(none).is_err());
    let question = scene.last(MessageType::INFORMATION_REQUEST);
    let reply =
        Answer::new(MessageType::REPLY, &question).with(code::BOOT_FILE_URL, b"tftp://[fe80::2]/x");
    scene.answer(reply).unwrap();
    let lease = scene.settled().unwrap();
    assert!(lease.addresses.is_empty());
    let text = scene.client.explain();
    assert!(text.contains("has no address (NoAddrsAvail)"), "{text}");
    // Routers speak of no address, or may yet, where none is heard; a file elsewhere is of no use.
    let with_prefix = |len| advertisement(O, 1800, Some((len, 1800, 3600)));
    for (router, file, is_reached) in [
        (
            Some(advertisement(O, 1800, None)),
            "tftp://[fe80::2]/x",
            true,
        ),
        (Some(with_prefix(126)), "tftp://[2001:db8:1::2]/x", true),
        (Some(with_prefix(126)), "tftp://[2001:db8:1::7]/x", false),
        (None, "tftp://[fe80::2%25eth0]/x", false),
        (None, "tftp://[2001:db8:1::2]/x", false),
        (None, "tftp://boot.example/x", false),
    ] {
        let mut boots = config();
        boots.wants_boot_file = true;
        let mut scene = Scene::new(boots);
        if let Some(router) = router {
            scene.advertise(&router);
        }
        scene.until(1_800);
        let question = scene.last(MessageType::INFORMATION_REQUEST);
        let reply = Answer::new(MessageType::REPLY, &question);
        scene
            .answer(reply.with(code::BOOT_FILE_URL, file.as_bytes()))
            .unwrap();
        assert_eq!(scene.settled(), None, "{file}");
        // Another router may be slower.
        scene.until(2_000);
        assert_eq!(scene.settled().is_some(), is_reached, "{file}");
    }
}

#[test]
fn what_is_over_is_news_though_nobody_says_it() {
    let mut scene = Scene::new(config());
    let mut message = advertisement(M, 40, Some((64, 10, 30)));
    message.extend([25, 3, 0, 0, 0, 0, 0, 20]);
    message.extend(ROUTER.octets());
    scene.advertise(&message);
    for (wanted, kind) in [
        (MessageType::SOLICIT, MessageType::ADVERTISE),
        (MessageType::REQUEST, MessageType::REPLY),
    ] {
        let asked = scene.last(wanted);
        let answer = Answer::new(kind, &asked).with(code::PREFERENCE, &[255]);
        scene
            .answer(answer.with_address("2001:db8::7", 5, 10))
            .unwrap();
    }
    let mut seen = Vec::new();
    while scene.now < ms(50_000) {
        scene.now = scene.client.poll_timeout(scene.now).unwrap();
        scene.drain();
        if scene.client.take_ended() {
            let lease = scene.client.lease(scene.now);
            let routes = lease.routes.len();
            seen.push((
                scene.now.as_millis(),
                lease.addresses.len(),
                lease.dns.len(),
                routes,
            ));
        }
    }
    assert_eq!(
        seen,
        [
            (10_000, 1, 1, 2),
            (20_000, 1, 0, 2),
            (30_000, 0, 0, 1),
            (40_000, 0, 0, 0)
        ]
    );
}

#[test]
fn configuration_alone_is_asked_for_again_in_time_and_used_until_then() {
    // RFC 8415 §21.23: a day, or what a server says, but 10 min at least.
    for (said, seconds) in [(None, 86_400), (Some(7_200), 7_200), (Some(1), 600)] {
        let mut scene = Scene::new(config());
        scene.advertise(&advertisement(O, 0, Some((64, FOREVER, FOREVER))));
        let answer = |scene: &Scene, server: &[u8]| {
            let question = scene.last(MessageType::INFORMATION_REQUEST);
            let mut answer = Answer::new(MessageType::REPLY, &question);
            if let Some(said) = said {
                answer = answer.with(code::INFORMATION_REFRESH_TIME, &u32::to_be_bytes(said));
            }
            answer.with(code::DNS_SERVERS, server)
        };
        scene.answer(answer(&scene, &ROUTER.octets())).unwrap();
        let questions = |scene: &Scene| scene.messages(MessageType::INFORMATION_REQUEST).len();
        scene.until(seconds * 1000 - 1);
        assert_eq!(questions(&scene), 1);
        scene.until(seconds * 1000 + 400);
        assert_eq!(questions(&scene), 2);
        assert_eq!(scene.client.lease(scene.now).dns, [ROUTER]);
        scene.answer(answer(&scene, &SERVER.octets())).unwrap();
        assert_eq!(scene.client.lease(scene.now).dns, [SERVER]);
        scene.until(seconds * 1000 + 60_000);
        assert_eq!(questions(&scene), 2);
    }
    let mut scene = Scene::new(config());
    scene.advertise(&advertisement(O, 1800, Some((64, FOREVER, FOREVER))));
    let question = scene.last(MessageType::INFORMATION_REQUEST);
    let reply = Answer::new(MessageType::REPLY, &question);
    let never = FOREVER.to_be_bytes();
    scene
        .answer(reply.with(code::INFORMATION_REFRESH_TIME, &never))
        .unwrap();
    scene.until(1_000_000_000);
    assert_eq!(scene.messages(MessageType::INFORMATION_REQUEST).len(), 1);
}

/// A step of a network that does what it likes.
#[derive(Debug, Clone)]
enum Step {
    Advance(u16),
    Router(Vec<u8>),
    /// A well-formed advertisement.
    Flags(u8, u8, u16, [u32; 2]),
    Server(Vec<u8>),
    /// A reply to the last message, with these options.
    Reply(bool, Vec<u8>),
    Neighbor(bool),
    Renew,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    prop_oneof![
        any::<u16>().prop_map(Step::Advance),
        bytes().prop_map(Step::Router),
        (any::<u8>(), any::<u8>(), any::<u16>(), any::<[u32; 2]>())
            .prop_map(|(flags, len, lifetime, times)| Step::Flags(flags, len, lifetime, times)),
        bytes().prop_map(Step::Server),
        (any::<bool>(), bytes()).prop_map(|(kind, bytes)| Step::Reply(kind, bytes)),
        any::<bool>().prop_map(Step::Neighbor),
        Just(Step::Renew),
    ]
}

proptest! {
    #[test]
    fn nothing_that_a_network_sends_panics_or_spins(
        steps in prop::collection::vec(step(), 0..60),
        wants_boot_file: bool,
    ) {
        let mut scene = Scene::new(Config6 { wants_boot_file, ..config() });
        for step in steps {
            let now = scene.now;
            match step {
                Step::Advance(millis) => scene.until(now.as_millis() + u64::from(millis)),
                Step::Router(bytes) => {
                    let _ = scene.client.handle_router(ROUTER, 255, &bytes, now);
                }
                Step::Flags(flags, len, lifetime, [one, two]) => {
                    let message = advertisement(flags, lifetime, Some((len, one, two)));
                    let _ = scene.client.handle_router(ROUTER, 255, &message, now);
                }
                Step::Server(bytes) => {
                    let _ = scene.client.handle_server(SERVER, &bytes, now);
                }
                Step::Reply(is_reply, bytes) => {
                    let sent = scene.sent.iter().rev().find_map(|(_, sent)| match sent {
                        Transmit6::Dhcp(_, message) => Some(message.clone()),
                        Transmit6::Frame(_) | Transmit6::Solicitation(_) => None,
                    });
                    if let Some(sent) = sent {
                        let kind = if is_reply { MessageType::REPLY } else { MessageType::ADVERTISE };
                        let mut answer = Answer::new(kind, &sent);
                        if bytes.len() % 2 == 0 {
                            let seconds = u32::try_from(bytes.len()).unwrap();
                            answer = answer.with_address("2001:db8::7", seconds, 2 * seconds);
                        }
                        answer.0.extend(bytes);
                        let _ = scene.client.handle_server(SERVER, &answer.0, now);
                    }
                }
                Step::Neighbor(of_link) => {
                    let target = if of_link { address::link_local(MAC) } else { "2001:db8::7".parse().unwrap() };
                    let message = NeighborMessage { target, is_solicitation: false, nonce: None };
                    let _ = scene.client.handle_neighbor(SERVER, message, now);
                }
                Step::Renew => scene.client.renew(now),
            }
            scene.drain();
            let lease = scene.client.lease(scene.now);
            prop_assert!(lease.routes.len() <= 64);
            prop_assert!(lease.addresses.iter().all(|given| given.valid > 0));
            let _ = scene.settled();
            let _ = scene.client.explain();
        }
    }
}
