//! What servers send that the RFC does not have, and what is made of it.

use super::*;
use crate::packet::dhcp::MIN_LEN;

#[test]
fn an_ack_of_another_address_counts_only_from_who_offered() {
    let mut t = Transcript::in_requesting(plain());
    let other = Ipv4Addr::new(192, 0, 2, 101);
    let xid = t.client_xid();
    let stray = Message {
        yiaddr: other,
        xid,
        ..ack(OTHER_SERVER)
    };
    let wrong = |server| Err(Discard::WrongServer(server));
    assert_eq!(t.offers_to_client(&stray, 67), wrong(OTHER_SERVER));
    let mut nameless = stray.clone();
    nameless.options.remove(code::SERVER_IDENTIFIER);
    assert_eq!(t.offers_to_client(&nameless, 67), wrong(SERVER));
    t.receives(Message {
        yiaddr: other,
        ..ack(SERVER)
    });
    assert_eq!(t.bound().address, other);
    assert_eq!(t.moved, [(SERVER, ADDRESS, other)]);
    // What was asked for is not reported.
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(SERVER));
    assert_eq!((t.bound().address, t.moved.len()), (ADDRESS, 0));
    // As of the address of the last time.
    let mut t = Transcript::new(plain());
    t.client.reboot(other, t.now);
    t.sends(MessageType::Request);
    t.receives(ack(SERVER));
    assert_eq!(t.bound().address, ADDRESS);
    assert_eq!(t.moved, [(SERVER, other, ADDRESS)]);
}

#[test]
fn an_offer_without_a_server_identifier_is_that_of_its_source() {
    for identifier in [None, Some([0; 4])] {
        let nameless = |message: Message| {
            let mut message = message;
            message.options.remove(code::SERVER_IDENTIFIER);
            if let Some(identifier) = identifier {
                message.options.set(code::SERVER_IDENTIFIER, identifier);
            }
            message
        };
        let mut t = Transcript::new(plain());
        t.sends(MessageType::Discover);
        t.source = Ipv4Addr::UNSPECIFIED;
        let mut unknown = nameless(offer(SERVER));
        unknown.xid = t.client_xid();
        let nobody = Err(Discard::NoServerIdentifier);
        assert_eq!(t.offers_to_client(&unknown, 67), nobody);
        t.source = SERVER;
        t.receives(nameless(offer(SERVER)));
        let request = t.sends(MessageType::Request);
        let asked = request.options.address(code::SERVER_IDENTIFIER);
        assert_eq!(asked, Some(SERVER));
        t.receives(nameless(ack(SERVER)));
        let lease = t.bound();
        assert_eq!((lease.address, lease.server), (ADDRESS, Some(SERVER)));
        let why = (code::SERVER_IDENTIFIER, "names no server");
        assert_eq!(lease.ignored, [why]);
    }
}

#[test]
fn a_failover_partner_grants_what_was_asked_for_and_is_asked_to_renew_it() {
    let mut t = Transcript::in_requesting(plain());
    t.receives(ack(OTHER_SERVER));
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    assert_eq!(*t.last.destination.ip(), OTHER_SERVER);
    t.receives(ack(SERVER));
    assert_eq!(t.bound().server, Some(SERVER));
}

#[test]
fn an_ack_without_a_server_identifier_is_of_who_was_asked() {
    let nameless = || {
        let mut message = ack(SERVER);
        message.options.remove(code::SERVER_IDENTIFIER);
        message
    };
    // By way of a relay, at whose address no server is to be asked.
    let relay = Ipv4Addr::new(192, 0, 2, 254);
    let mut t = Transcript::in_requesting(plain());
    t.source = relay;
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    t.sends_after(1_800_000..=1_800_000, MessageType::Request);
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    t.client.link_up(t.now);
    t.sends(MessageType::Request);
    assert_eq!(t.client.state(), StateName::Rebooting);
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(SERVER));
    // Who granted the address of the last time is not known: whoever answers is as good.
    let mut t = Transcript::new(plain());
    t.client.reboot(ADDRESS, t.now);
    t.sends(MessageType::Request);
    let mut other = nameless();
    (other.yiaddr, other.xid) = (Ipv4Addr::new(192, 0, 2, 101), t.client_xid());
    let wrong = Discard::WrongAddress(other.yiaddr);
    assert_eq!(t.offers_to_client(&other, 67), Err(wrong));
    t.source = Ipv4Addr::UNSPECIFIED;
    other.yiaddr = ADDRESS;
    let nobody = Err(Discard::NoServerIdentifier);
    assert_eq!(t.offers_to_client(&other, 67), nobody);
    t.source = OTHER_SERVER;
    t.receives(nameless());
    assert_eq!(t.bound().server, Some(OTHER_SERVER));
}

#[test]
fn a_nak_without_a_server_identifier_counts_from_where_the_offer_came_from() {
    let relay = Ipv4Addr::new(192, 0, 2, 254);
    let nak = |t: &mut Transcript, source| {
        let mut message = reply(MessageType::Nak, SERVER);
        message.options.remove(code::SERVER_IDENTIFIER);
        (message.xid, t.source) = (t.client_xid(), source);
        t.offers_to_client(&message, 67)
    };
    let requesting = || {
        let mut t = Transcript::new(plain());
        t.source = relay;
        t.sends(MessageType::Discover);
        t.receives(offer(SERVER));
        t.sends(MessageType::Request);
        t
    };
    let foreign = Err(Discard::WrongServer(OTHER_SERVER));
    for source in [SERVER, relay] {
        let mut t = requesting();
        assert_eq!(nak(&mut t, OTHER_SERVER), foreign);
        assert_eq!(nak(&mut t, source), Ok(()));
        assert!(matches!(t.failure(), Loss::Refused { server, .. } if server == source));
        let mut t = requesting();
        t.receives(ack(SERVER));
        t.bound();
        t.sends_after(1_800_000..=1_800_000, MessageType::Request);
        assert_eq!(nak(&mut t, OTHER_SERVER), foreign);
        assert_eq!(nak(&mut t, source), Ok(()));
        assert!(matches!(t.loss(), Loss::Refused { server, .. } if server == source));
    }
    let mut t = requesting();
    let named = Message {
        xid: t.client_xid(),
        ..reply(MessageType::Nak, OTHER_SERVER)
    };
    assert_eq!(t.offers_to_client(&named, 67), foreign);
}

/// Makes changes to an answer.
type Change = fn(&mut Message);

#[test]
fn an_offer_is_taken_with_whatever_a_relay_or_server_adds_to_it() {
    let changes: [(&str, Change); 8] = [
        ("option 82 echoed", |m| m.options.set(82, *b"\x01\x04eth0")),
        ("giaddr set", |m| m.giaddr = OTHER_SERVER),
        ("ciaddr set", |m| m.ciaddr = ADDRESS),
        ("the broadcast flag", |m| m.broadcast = true),
        ("secs and no siaddr", |m| m.secs = 9),
        ("damaged option 43", |m| m.options.set(43, [6, 9, 1])),
        ("fields without a NUL", |m| {
            (m.sname, m.file) = (vec![b's'; 63], vec![b'f'; 127]);
        }),
        ("an unknown option", |m| m.options.set(254, [0; 255])),
    ];
    for (what, change) in changes {
        let mut t = Transcript::new(plain());
        for answer in [offer(SERVER), ack(SERVER)] {
            t.next_message();
            let mut answer = answer;
            change(&mut answer);
            answer.xid = t.client_xid();
            assert_eq!(t.offers_to_client(&answer, 67), Ok(()), "{what}");
        }
        assert_eq!(t.bound().address, ADDRESS, "{what}");
    }
}

#[test]
fn options_without_a_value_leave_the_lease_as_if_they_were_not_there() {
    let config = plain();
    let mut t = Transcript::in_requesting(plain());
    let mut answer = ack(SERVER);
    for code in (1..=254).filter(|code| ![1, 51, 53, 54].contains(code)) {
        answer.options.set(code, []);
    }
    t.receives(answer);
    let empty = t.bound();
    let mut t = Transcript::in_requesting(config);
    t.receives(ack(SERVER));
    let plain = t.bound();
    let expected = lease::Lease {
        options: empty.options.clone(),
        ignored: empty.ignored.clone(),
        ..plain
    };
    assert_eq!(empty, expected);
}

#[test]
fn a_message_counts_whatever_its_length_and_the_padding_in_it() {
    for (what, options) in [
        ("no end", &[53, 1, 2, 54, 4, 192, 0, 2, 1][..]),
        (
            "padding",
            &[0, 0, 53, 1, 2, 0, 54, 4, 192, 0, 2, 1, 0, 255, 0],
        ),
        (
            "behind the end",
            &[53, 1, 2, 54, 4, 192, 0, 2, 1, 255, 53, 1, 6],
        ),
        ("cut off", &[53, 1, 2, 54, 4, 192, 0, 2, 1, 12, 9, b'h']),
        ("a bare code", &[53, 1, 2, 54, 4, 192, 0, 2, 1, 12]),
        (
            "twice",
            &[53, 1, 2, 54, 4, 192, 0, 2, 1, 54, 4, 192, 0, 2, 9, 53, 1, 5],
        ),
    ] {
        for len in [0, MIN_LEN, 548, 1_472] {
            let mut t = Transcript::new(plain());
            t.sends(MessageType::Discover);
            let message = Message {
                xid: t.client_xid(),
                ..offer(SERVER)
            };
            let mut bytes = Vec::new();
            message.encode(&mut bytes).unwrap();
            bytes.truncate(240);
            bytes.extend_from_slice(options);
            // Where there is no end, padding goes on as the option.
            if bytes.len() < len && !what.starts_with("cut") && !what.starts_with("a bare") {
                bytes.resize(len, 0);
            }
            assert_eq!(t.input(&bytes, 67), Ok(()), "{what}");
            let request = t.sends(MessageType::Request);
            assert_eq!(request.options.address(54), Some(SERVER), "{what}");
        }
    }
}

#[test]
fn a_message_type_of_a_wrong_length_is_none() {
    for (value, is_one) in [
        (&[][..], false),
        (&[2, 0], false),
        (&[2], true),
        (&[9], false),
    ] {
        let mut t = Transcript::new(plain());
        t.sends(MessageType::Discover);
        let mut message = offer(SERVER);
        message.xid = t.client_xid();
        message.options.set(code::MESSAGE_TYPE, value);
        let expected = if is_one {
            Ok(())
        } else {
            Err(Discard::UnknownMessageType)
        };
        assert_eq!(t.offers_to_client(&message, 67), expected, "{value:?}");
    }
}

#[test]
fn an_address_that_is_no_hosts_is_neither_asked_for_nor_taken() {
    for (address, mask, expected) in [
        (
            [192, 0, 2, 0],
            24,
            Discard::AddressOfNetwork([192, 0, 2, 0].into(), 24),
        ),
        (
            [192, 0, 2, 255],
            24,
            Discard::AddressOfNetwork([192, 0, 2, 255].into(), 24),
        ),
        (
            [10, 255, 255, 255],
            8,
            Discard::AddressOfNetwork([10, 255, 255, 255].into(), 8),
        ),
        (SERVER.octets(), 24, Discard::AddressOfServer(SERVER)),
        (
            [127, 0, 0, 9],
            24,
            Discard::UnusableAddress([127, 0, 0, 9].into()),
        ),
        (
            [0, 0, 2, 9],
            24,
            Discard::UnusableAddress([0, 0, 2, 9].into()),
        ),
        (
            [224, 0, 0, 9],
            24,
            Discard::UnusableAddress([224, 0, 0, 9].into()),
        ),
        (
            [240, 0, 0, 9],
            24,
            Discard::UnusableAddress([240, 0, 0, 9].into()),
        ),
        ([255; 4], 32, Discard::UnusableAddress([255; 4].into())),
    ] {
        let mask = crate::packet::ipv4::netmask(mask).octets();
        let with = |mut message: Message, xid| {
            message.options.set(code::SUBNET_MASK, mask);
            (message.yiaddr, message.xid) = (address.into(), xid);
            message
        };
        let mut t = Transcript::new(plain());
        t.sends(MessageType::Discover);
        let nonsense = with(offer(SERVER), t.client_xid());
        assert_eq!(t.offers_to_client(&nonsense, 67), Err(expected.clone()));
        t.receives(offer(SERVER));
        t.sends(MessageType::Request);
        let nonsense = with(ack(SERVER), t.client_xid());
        assert_eq!(t.offers_to_client(&nonsense, 67), Err(expected));
        t.receives(ack(SERVER));
        assert_eq!(t.bound().address, ADDRESS);
    }
    // Networks of two and of one have no address for broadcasts (RFC 3021).
    for mask in [[255, 255, 255, 254], [255; 4]] {
        let mut t = Transcript::in_requesting(plain());
        let mut granted = ack(SERVER);
        granted.options.set(code::SUBNET_MASK, mask);
        granted.yiaddr = [192, 0, 2, 255].into();
        t.receives(granted);
        assert_eq!(t.bound().address, Ipv4Addr::new(192, 0, 2, 255));
    }
}
