//! The survey before servers that a test makes up.

use super::*;
use crate::packet::dhcp::Message;
use crate::packet::option::{Options, code};
use crate::time::Instant;
use core::net::SocketAddrV4;

const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
const WAIT: Duration = Duration::from_secs(3);

#[test]
fn it_asks_until_the_wait_is_over_and_takes_nothing() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    let mut buf = Vec::new();
    let mut sent_at = Vec::new();
    while let Some(at) = survey.poll_timeout() {
        survey.handle_timeout(at);
        while let Some(transmit) = survey.poll_transmit(&mut buf) {
            assert_eq!(transmit.message_type, MessageType::Discover);
            assert!(transmit.destination.ip().is_broadcast());
            let message = Message::decode(&buf).unwrap();
            assert_eq!(message.message_type(), Some(MessageType::Discover));
            assert_eq!(message.options.get(code::RAPID_COMMIT), None);
            sent_at.push(at.as_millis());
        }
        assert!(survey.poll_timeout().is_none_or(|next| next > at));
    }
    assert!((4..=5).contains(&sent_at.len()), "{sent_at:?}");
    assert!(survey.is_over());
}

#[test]
fn each_server_is_heard_once_and_only_its_offer() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    let mut give = |message: &Message, sender: u8| {
        let mut message = message.clone();
        message.xid = survey.xid();
        let (payload, source) = (encoded(&message), [192, 0, 2, 1].into());
        let datagram = datagram(&payload, source);
        survey.handle_input(&datagram, MacAddress([sender; 6]), Instant::from_millis(40))
    };
    let offer = message(&Says::default());
    assert_eq!(give(&offer, 1), Ok(()));
    let server = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(give(&offer, 1), Err(Discard::Repeated(server)));
    // The same identifier from another machine is another server.
    assert_eq!(give(&offer, 2), Ok(()));
    let mut ack = offer.clone();
    ack.options.set(code::MESSAGE_TYPE, [5]);
    assert_eq!(give(&ack, 3), Err(Discard::Unexpected(MessageType::Ack)));
    let answer = survey.poll_event().unwrap();
    assert_eq!(answer.after, Duration::from_millis(40));
    assert_eq!(answer.offer.server, server);
    assert_eq!(answer.relay, None);
    assert!(survey.poll_event().is_some() && survey.poll_event().is_none());
}

#[test]
fn a_flood_of_servers_is_bounded() {
    let mut survey = Survey::new(Config::new(MAC, 7), WAIT, Instant::ZERO);
    for host in 0..1000_u32 {
        let server = Ipv4Addr::from_bits(0x0a00_0001 + host);
        let mut message = message(&Says {
            server,
            ..Says::default()
        });
        message.xid = survey.xid();
        let payload = encoded(&message);
        let _ = survey.handle_input(&datagram(&payload, server), MAC, Instant::ZERO);
    }
    assert_eq!(
        std::iter::from_fn(|| survey.poll_event()).count(),
        MAX_ANSWERS
    );
}

#[test]
fn the_verdicts_follow_the_ranking_and_give_the_reason() {
    let plain = says(1);
    let file = Says {
        file: "a.ipxe",
        millis: 100,
        ..says(2)
    };
    let second = Says {
        file: "b.ipxe",
        millis: 200,
        ..says(3)
    };
    let next = Says {
        siaddr: [192, 0, 2, 9],
        millis: 50,
        ..says(4)
    };
    let proxy = Says {
        proxy: true,
        file: "p.0",
        millis: 30,
        ..says(5)
    };
    let bare_proxy = Says {
        proxy: true,
        millis: 40,
        ..says(6)
    };
    let late = Says {
        file: "late",
        millis: 2500,
        ..says(7)
    };
    let yes = |why: &str| (true, why.to_owned());
    let no = |why: &str| (false, why.to_owned());
    assert_eq!(
        judged(&[plain, file, second, next]),
        [
            no("an address only; 192.0.2.2 brings a boot file"),
            yes("the first with a boot file"),
            no("as good as 192.0.2.2, but later"),
            no("a server without a boot file; 192.0.2.2 brings a boot file"),
        ]
    );
    assert_eq!(
        judged(&[plain, late]),
        [
            yes("the first; nobody names a boot file or a server"),
            no("1.5 s too late: 192.0.2.1 had been chosen"),
        ]
    );
    assert_eq!(
        judged(&[plain, proxy, bare_proxy]),
        [
            yes("its address, with a boot file from 192.0.2.5"),
            yes("brings a boot file, which 192.0.2.1 does not"),
            no("a boot service; 192.0.2.5 brings a boot file"),
        ]
    );
    assert_eq!(
        judged(&[file, proxy]),
        [
            yes("the first with a boot file"),
            no("not needed: 192.0.2.2 brings a boot file"),
        ]
    );
    assert_eq!(
        judged(&[proxy]),
        [no("nobody offers an address to boot with")]
    );
    let bad = Says {
        address: [0, 0, 0, 0],
        ..says(1)
    };
    assert_eq!(judged(&[bad]), [no("0.0.0.0 is not a host's address")]);
}

#[test]
fn a_server_that_rules_out_proxies_is_not_made_to_wait_for_them() {
    let mut plain = answer(&says(1));
    plain
        .offer
        .message
        .options
        .set(code::IPXE_ENCAPSULATED, [176, 1, 1]);
    let proxy = answer(&Says {
        proxy: true,
        file: "p.0",
        millis: 9,
        ..says(5)
    });
    let verdicts = verdicts(&[&[plain, proxy]], false, Duration::from_secs(1)).concat();
    let chosen: Vec<_> = verdicts.iter().map(|verdict| verdict.is_chosen).collect();
    assert_eq!(chosen, [true, false], "{verdicts:?}");
}

#[test]
fn a_proxy_serves_its_own_interface_and_of_equal_ones_the_user_decides() {
    let (one, two) = (
        answer(&says(1)),
        answer(&Says {
            millis: 9,
            ..says(2)
        }),
    );
    let proxy = Says {
        proxy: true,
        file: "p.0",
        millis: 12,
        ..says(5)
    };
    let proxy = answer(&proxy);
    let why = |interfaces: &[&[SurveyAnswer]], is_ordered| {
        let verdicts = verdicts(interfaces, is_ordered, Duration::from_secs(1)).concat();
        verdicts.into_iter().map(|v| v.why).collect::<Vec<_>>()
    };
    assert_eq!(
        why(
            &[std::slice::from_ref(&one), &[two.clone(), proxy.clone()]],
            false
        ),
        [
            "an address only; 192.0.2.5 brings a boot file",
            "its address, with a boot file from 192.0.2.5",
            "brings a boot file, which 192.0.2.2 does not",
        ]
    );
    let first = "the first; nobody names a boot file or a server";
    let lists: [&[SurveyAnswer]; 2] = [&[two], &[one]];
    assert_eq!(
        why(&lists, false),
        ["as good as 192.0.2.1, but later", first]
    );
    assert_eq!(
        why(&lists, true),
        [
            first,
            "as good as 192.0.2.2, but its interface was named later"
        ]
    );
}

#[test]
fn a_server_that_contradicts_the_others_stands_out() {
    let rogue = Says {
        address: [10, 9, 8, 7],
        router: Some([10, 9, 8, 1]),
        ..says(66)
    };
    let good = |host| Says {
        router: Some([192, 0, 2, 1]),
        ..says(host)
    };
    assert_eq!(
        suspected(&[good(1), rogue, good(2)]),
        [
            vec![],
            vec![
                "says the subnet is 10.9.8.0/24; 2 other servers say 192.0.2.0/24".to_owned(),
                "says the router is 10.9.8.1; 2 other servers say 192.0.2.1".to_owned(),
            ],
            vec![],
        ]
    );
    // Of two nobody knows which is right.
    let both = suspected(&[good(1), rogue]);
    assert_eq!((both[0].len(), both[1].len()), (2, 2), "{both:?}");
    assert_eq!(
        suspected(&[good(1), good(2), says(3)]).concat(),
        Vec::<String>::new()
    );
}

#[test]
fn two_machines_with_one_identifier_stand_out_unless_relays_explain_them() {
    let (one, other) = (
        says(1),
        Says {
            sender: 9,
            ..says(1)
        },
    );
    let found = suspected(&[one, other]);
    assert_eq!(
        found[0],
        ["09:09:09:09:09:09 answers as server 192.0.2.1 too"]
    );
    assert_eq!(
        found[1],
        ["01:01:01:01:01:01 answers as server 192.0.2.1 too"]
    );
    let relayed = |says| Says {
        relay: [192, 0, 2, 254],
        ..says
    };
    assert_eq!(
        suspected(&[relayed(one), relayed(other)]).concat(),
        Vec::<String>::new()
    );
}

#[test]
fn servers_that_lie_about_themselves_or_their_router_stand_out() {
    let elsewhere = Says {
        source: Some([192, 0, 2, 77]),
        ..says(1)
    };
    assert_eq!(
        suspected(&[elsewhere])[0],
        ["answers as server 192.0.2.1 from 192.0.2.77"]
    );
    let outside = Says {
        router: Some([198, 51, 100, 1]),
        ..says(1)
    };
    assert_eq!(
        suspected(&[outside])[0],
        ["its router 198.51.100.1 (option 3) is outside its subnet"]
    );
}

/// What a server says.
#[derive(Clone, Copy)]
struct Says {
    server: Ipv4Addr,
    source: Option<[u8; 4]>,
    sender: u8,
    address: [u8; 4],
    router: Option<[u8; 4]>,
    relay: [u8; 4],
    siaddr: [u8; 4],
    file: &'static str,
    proxy: bool,
    millis: u64,
}

impl Default for Says {
    fn default() -> Self {
        says(1)
    }
}

fn says(host: u8) -> Says {
    Says {
        server: Ipv4Addr::new(192, 0, 2, host),
        source: None,
        sender: host,
        address: [192, 0, 2, 100],
        router: None,
        relay: [0; 4],
        siaddr: [0; 4],
        file: "",
        proxy: false,
        millis: 0,
    }
}

#[test]
fn answers_by_broadcast_are_asked_for_from_the_third_discover_without_one() {
    for (configured, expected) in [(false, [false, false, true]), (true, [true; 3])] {
        let config = Config {
            broadcast: configured,
            ..Config::new(MAC, 1)
        };
        let mut survey = Survey::new(config, Duration::from_secs(3), Instant::ZERO);
        let flags = [(); 3].map(|()| {
            let now = survey.poll_timeout().unwrap();
            survey.handle_timeout(now);
            let mut buf = Vec::new();
            survey.poll_transmit(&mut buf).unwrap();
            Message::decode(&buf).unwrap().broadcast
        });
        assert_eq!(flags, expected);
    }
}

fn message(says: &Says) -> Message {
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [2]);
    options.set(code::SERVER_IDENTIFIER, says.server.octets());
    options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
    if let Some(router) = says.router {
        options.set(code::ROUTER, router);
    }
    if says.proxy {
        options.set(code::VENDOR_CLASS, *b"PXEClient");
    }
    let address = if says.proxy { [0; 4] } else { says.address };
    Message {
        xid: 0,
        siaddr: says.siaddr.into(),
        giaddr: says.relay.into(),
        chaddr: MAC,
        file: says.file.as_bytes().to_vec(),
        ..Message::reply(address.into(), options)
    }
}

fn answer(says: &Says) -> SurveyAnswer {
    let source = says.source.map_or(says.server, Ipv4Addr::from);
    let at = Instant::from_millis(says.millis);
    SurveyAnswer {
        asked: None,
        offer: Offer::read(message(says), says.server, says.server),
        source: SocketAddrV4::new(source, 67),
        sender: MacAddress([says.sender; 6]),
        relay: Some(says.relay.into()).filter(|relay: &Ipv4Addr| !relay.is_unspecified()),
        at,
        after: at.since(Instant::ZERO),
    }
}

fn judged(says: &[Says]) -> Vec<(bool, String)> {
    let answers: Vec<_> = says.iter().map(answer).collect();
    let verdicts = verdicts(&[&answers], false, Duration::from_secs(1)).concat();
    verdicts.into_iter().map(|v| (v.is_chosen, v.why)).collect()
}

fn suspected(says: &[Says]) -> Vec<Vec<String>> {
    let answers: Vec<_> = says.iter().map(answer).collect();
    suspicions(&answers.iter().collect::<Vec<_>>())
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut octets = Vec::new();
    message.encode(&mut octets).unwrap();
    octets
}

const fn datagram(payload: &[u8], source: Ipv4Addr) -> Datagram<'_> {
    Datagram {
        source: SocketAddrV4::new(source, 67),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
        payload,
    }
}
