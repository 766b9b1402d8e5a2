//! Boots over both families on a link that loses frames, and IPv6 among hostile neighbours.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::net::Conditions;
use super::server::Service;
use super::town::{SERVER, Town};
use wireboot_proto::dhcp::config::Detection;
use wireboot_proto::ipv6::client::{Config6, Ipv6Client, Transmit6};
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::{FOREVER, Lease6};
use wireboot_proto::packet::dhcpv6::{Message, MessageType, begin, code, put};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::tftp::TftpPacket;
use wireboot_proto::tftp::{ByteRanges, Config, Event, Get, Terms};
use wireboot_proto::time::{Instant, Random, SpeedLimit};

const LOSS_PERCENT: u64 = 30;
/// How long a boot may take: a command gives up after it.
const PATIENCE: Duration = Duration::from_secs(60);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const FILE_LEN: usize = 8_000;

#[test]
fn every_boot_gets_its_file_by_the_family_that_has_it_though_a_third_of_all_frames_are_lost() {
    let mut by_ipv6 = 0;
    for (seed, scene) in (0..100).zip((0..3).cycle()) {
        // IPv6 alone, IPv4 alone, both; of IPv6 stateless and by addresses of a server.
        let (four, six) = [(false, true), (true, false), (true, true)][scene];
        let four = boot_file_of_ipv4(seed, four);
        let six = Network6::new(seed, seed % 2 == 0, six).boot_file_at();
        let winner = [four, six].into_iter().flatten().min();
        let winner = winner.unwrap_or_else(|| panic!("seed {seed}: no family has a boot file"));
        by_ipv6 += u32::from(Some(winner) == six);
        assert!(winner < Instant::ZERO + PATIENCE, "seed {seed}: {winner:?}");
        fetch(seed);
    }
    assert!((34..=100).contains(&by_ipv6), "{by_ipv6}");
}

/// Returns when IPv4 has an address and a boot file.
fn boot_file_of_ipv4(seed: u64, boots: bool) -> Option<Instant> {
    let conditions = Conditions {
        loss: LOSS_PERCENT,
        ..Conditions::GOOD
    };
    let service = Service {
        boot_file: Some("boot.ipxe").filter(|_| boots),
        ..Service::dhcp(SERVER)
    };
    let mut town = Town::new(conditions, seed, &[service], 1);
    if !boots {
        return None;
    }
    town.run_until_all_are_bound(PATIENCE);
    let lease = town.machines().next()?.lease.as_ref()?;
    lease.boot_file.as_ref().map(|_| town.network.now)
}

/// What is on its way, to the client or to the router and server.
type Underway = Reverse<(Instant, u64, bool, Vec<u8>)>;

/// A client, and a router and server in one.
struct Network6 {
    client: Ipv6Client,
    is_managed: bool,
    boots: bool,
    random: Random,
    now: Instant,
    underway: BinaryHeap<Underway>,
    count: u64,
}

impl Network6 {
    fn new(seed: u64, is_managed: bool, boots: bool) -> Self {
        let config = Config6 {
            mac: MacAddress([0x52, 0x54, 0, 0, 0, 1]),
            identity: Identity {
                duid: vec![0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 1],
                iaid: [0, 0, 0, 1],
                options: Vec::new(),
            },
            purpose: Purpose::Lease,
            given: None,
            wants_boot_file: true,
            offer_wait: Duration::from_millis(250),
            boot_file_wait: Duration::from_secs(12),
            detection: Detection::Overlapped,
            seed,
        };
        Self {
            client: Ipv6Client::new(config, Instant::ZERO),
            is_managed,
            boots,
            random: Random::new(seed),
            now: Instant::ZERO,
            underway: BinaryHeap::new(),
            count: 0,
        }
    }

    /// Returns when there is an address and a boot file.
    fn boot_file_at(mut self) -> Option<Instant> {
        loop {
            self.client.handle_timeout(self.now);
            while let Some(transmit) = self.client.poll_transmit(self.now) {
                match transmit {
                    Transmit6::Frame(_) => {}
                    Transmit6::Solicitation(message) | Transmit6::Dhcp(_, message) => {
                        self.send(true, message);
                    }
                }
            }
            if self.client.is_settled(self.now) && self.client.has_boot_file() {
                let lease = self.client.lease(self.now);
                assert_eq!(
                    lease.boot_file.as_deref(),
                    Some("tftp://[fe80::1]/boot.ipxe")
                );
                assert!(!lease.addresses.is_empty());
                return Some(self.now);
            }
            let arrives = self.underway.peek().map(|Reverse((at, ..))| *at);
            let due = self.client.poll_timeout(self.now);
            let next = [arrives, due].into_iter().flatten().min()?;
            if next > Instant::ZERO + PATIENCE {
                return None;
            }
            self.now = next;
            if arrives == Some(next)
                && let Some(Reverse((_, _, is_question, message))) = self.underway.pop()
            {
                if is_question {
                    if let Some(answer) = self.answer(&message) {
                        self.send(false, answer);
                    }
                } else if message.first() == Some(&134) {
                    let _ = self.client.handle_router(LINK_LOCAL, 255, &message, next);
                } else {
                    let _ = self.client.handle_server(LINK_LOCAL, &message, next);
                }
            }
        }
    }

    fn send(&mut self, is_question: bool, message: Vec<u8>) {
        if is_lost(&mut self.random) {
            return;
        }
        let delay = Duration::from_micros(self.random.next_u64() % 20_000);
        self.count += 1;
        self.underway.push(Reverse((
            self.now + delay,
            self.count,
            is_question,
            message,
        )));
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        if question.first() == Some(&133) {
            return Some(advertisement(self.is_managed));
        }
        let read = Message::decode(question).ok()?;
        let kind = match read.kind {
            MessageType::SOLICIT if self.is_managed => MessageType::ADVERTISE,
            MessageType::REQUEST | MessageType::INFORMATION_REQUEST => MessageType::REPLY,
            _ => return None,
        };
        Some(reply(kind, &read, self.boots))
    }
}

/// A router for half an hour with a prefix, of addresses unless servers grant them.
fn advertisement(is_managed: bool) -> Vec<u8> {
    let flags = if is_managed { 0x80 } else { 0x40 };
    let mut message = vec![134, 0, 0, 0, 64, flags, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, if is_managed { 0x80 } else { 0xc0 }]);
    message.extend([0, 0, 0x0e, 0x10, 0, 0, 7, 8, 0, 0, 0, 0]);
    message.extend(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0).octets());
    message
}

fn reply(kind: MessageType, to: &Message<'_>, boots: bool) -> Vec<u8> {
    let mut answer = begin(kind, to.transaction);
    put(
        &mut answer,
        code::CLIENT_ID,
        to.options.get(code::CLIENT_ID).unwrap_or_default(),
    );
    put(&mut answer, code::SERVER_ID, &[0, 2, 1]);
    if to.kind != MessageType::INFORMATION_REQUEST {
        let mut given = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7)
            .octets()
            .to_vec();
        given.extend([0, 0, 7, 8, 0, 0, 0x0e, 0x10]);
        let mut association = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        put(&mut association, code::IA_ADDRESS, &given);
        put(&mut answer, code::IA_NA, &association);
    }
    if boots {
        put(
            &mut answer,
            code::BOOT_FILE_URL,
            b"tftp://[fe80::1]/boot.ipxe",
        );
    }
    answer
}

fn is_lost(random: &mut Random) -> bool {
    random.next_u64() % 100 < LOSS_PERCENT
}

/// Fetches a file from a server that repeats a block after a second; as many packets are lost.
fn fetch(seed: u64) {
    let server: SocketAddr = "[fe80::1]:69".parse().expect("an address");
    let transfer: SocketAddr = "[fe80::1]:40000".parse().expect("an address");
    let file: Vec<u8> = (0..FILE_LEN).map(|at| at.to_le_bytes()[0]).collect();
    let mut random = Random::new(seed);
    let config = Config {
        server,
        file: "boot.ipxe".to_owned(),
        terms: Terms::PLAIN,
        stall_timeout: Duration::from_secs(15),
        speed: SpeedLimit::default(),
        max_len: 1 << 20,
        received: ByteRanges::default(),
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    let mut now = Instant::ZERO;
    let mut get = Get::new(config, now);
    let mut received = vec![0; FILE_LEN];
    let (mut packet, mut requests) = (Vec::new(), 1);
    // What the server has sent last, and when it repeats that.
    let (mut last, mut repeat_at) = (None, now);
    for _ in 0..100_000 {
        let mut is_sent = false;
        while get.poll_transmit(&mut packet).is_some() {
            let block = match TftpPacket::decode(&packet) {
                Ok(TftpPacket::ReadRequest { .. }) => 1,
                Ok(TftpPacket::Acknowledgment { block }) => block + 1,
                _ => continue,
            };
            if is_lost(&mut random) {
                continue;
            }
            if let Some(data) = file.chunks(512).nth(usize::from(block) - 1) {
                let mut bytes = Vec::new();
                TftpPacket::Data { block, data }.encode(&mut bytes);
                (last, is_sent) = (Some(bytes), true);
            }
        }
        match get.poll_event() {
            Some(Event::Done) => {
                assert!(received == file, "seed {seed}");
                return;
            }
            // The next request is for what is missing.
            Some(Event::Failed(failure)) => {
                requests += 1;
                assert!(requests < 4, "seed {seed}: {failure}");
                get = Get::new(get.into_config(), now);
                (last, repeat_at) = (None, now);
                continue;
            }
            Some(Event::Started { .. }) => continue,
            None => {}
        }
        let next = get.poll_timeout().unwrap_or(repeat_at);
        if last.is_some() && !is_sent && repeat_at <= next {
            (now, is_sent) = (now.max(repeat_at), true);
        }
        match last.as_ref().filter(|_| is_sent) {
            Some(bytes) => {
                now += Duration::from_millis(5);
                repeat_at = now + Duration::from_secs(1);
                if is_lost(&mut random) {
                    continue;
                }
                if let Ok(chunk) = get.handle_input(transfer, bytes, now) {
                    let at = usize::try_from(chunk.at).expect("a short file");
                    received[at..at + chunk.bytes.len()].copy_from_slice(chunk.bytes);
                }
            }
            None => {
                now = now.max(next);
                get.handle_timeout(now);
            }
        }
    }
    panic!("seed {seed}: no end");
}

#[test]
fn thousands_of_mutated_messages_leave_nothing_beyond_limits_and_lifetimes() {
    for seed in 0..40 {
        let mut network = Network6::new(seed, seed % 2 == 0, true);
        let mut random = Random::new(seed);
        let mut below = |limit: usize| {
            let [a, b, ..] = random.next_u64().to_le_bytes();
            usize::from(u16::from_le_bytes([a, b])) % limit
        };
        let mut question = Vec::new();
        for number in 0..4_000_u16 {
            let client = &mut network.client;
            client.handle_timeout(network.now);
            while let Some(transmit) = client.poll_transmit(network.now) {
                if let Transmit6::Dhcp(_, message) = transmit {
                    question = message;
                }
            }
            let is_router = below(2) == 0;
            let mut message = if is_router {
                // Each of another prefix.
                let mut message = advertisement(below(2) == 0);
                message[36..38].copy_from_slice(&number.to_le_bytes());
                message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
                message.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).octets());
                message.extend([5, 1, 0, 0, 0, 0, 5, 0]);
                message
            } else {
                let Ok(read) = Message::decode(&question) else {
                    continue;
                };
                let kind = [MessageType::ADVERTISE, MessageType::REPLY][below(2)];
                reply(kind, &read, true)
            };
            for _ in 0..below(4) {
                let at = below(message.len());
                match below(3) {
                    0 => message[at] ^= 1 << below(8),
                    1 => message[at] = [0, 0xff, 0x7f, 1][below(4)],
                    _ => message.truncate(at.max(4)),
                }
            }
            let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
            if is_router {
                let _ = network
                    .client
                    .handle_router(source, 255, &message, network.now);
            } else {
                let _ = network.client.handle_server(source, &message, network.now);
            }
            is_within_limits(&network.client.lease(network.now));
            network.now += Duration::from_millis(u64::from(number) % 2_000);
        }
        // Nobody says anything more.
        let mut before = network.client.lease(network.now);
        for hours in [1, 24, 24 * 365] {
            let seconds = hours * 3600;
            network.now += Duration::from_secs(seconds.into());
            network.client.handle_timeout(network.now);
            let after = network.client.lease(network.now);
            ends_with_its_lifetime(&before, &after, seconds);
            before = after;
        }
    }
}

/// Fails unless a lease has no more than a hostile network may set.
fn is_within_limits(lease: &Lease6) {
    // 8 of a server, and one in each of 32 prefixes.
    assert!(lease.addresses.len() <= 40, "{}", lease.addresses.len());
    assert!(lease.routes.len() <= 64, "{}", lease.routes.len());
    assert!(lease.dns.len() <= 48 && lease.search.len() <= 48);
    assert!(lease.mtu_octets.is_none_or(|mtu| mtu >= 1280));
    for given in &lease.addresses {
        let address = given.address;
        assert!(given.valid > 0 && given.preferred <= given.valid, "{given}");
        assert!(!address.is_multicast() && !address.is_loopback() && !address.is_unspecified());
        assert!(!address.is_unicast_link_local(), "{address}");
    }
    for route in &lease.routes {
        assert!(route.lifetime > 0 && route.prefix_len <= 128, "{route}");
    }
}

/// Fails if something of `before` has a longer life after so many seconds, or is new.
fn ends_with_its_lifetime(before: &Lease6, after: &Lease6, seconds: u32) {
    let is_less =
        |left: u32, before: u32| (left == FOREVER && before == FOREVER) || left + seconds <= before;
    for given in &after.addresses {
        let mut known = before.addresses.iter();
        let known = known
            .find(|known| known.address == given.address)
            .expect("it is not new");
        assert!(is_less(given.valid, known.valid), "{given}: {known}");
    }
    for route in &after.routes {
        let key = (route.destination, route.prefix_len, route.gateway);
        let mut known = before.routes.iter();
        let known = known.find(|known| (known.destination, known.prefix_len, known.gateway) == key);
        let known = known.expect("it is not new");
        assert!(is_less(route.lifetime, known.lifetime), "{route}");
    }
}
