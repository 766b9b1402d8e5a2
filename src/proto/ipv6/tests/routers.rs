//! What is known of routers.

use super::*;

fn discovery() -> RouterDiscovery {
    RouterDiscovery::new(MAC, ms(0))
}

fn addresses(known: &RouterDiscovery, at: u64) -> Vec<LeasedAddress> {
    let mut addresses = Vec::new();
    known.add_addresses(&mut addresses, ms(at));
    addresses
}

fn resolvers(known: &RouterDiscovery, at: u64) -> Vec<Ipv6Addr> {
    known.configuration(ms(at)).dns
}

fn hear(known: &mut RouterDiscovery, source: Ipv6Addr, message: &[u8], at: u64) {
    known.handle_input(source, 255, message, ms(at)).unwrap();
}

#[test]
fn what_is_not_of_this_link_is_ignored() {
    let mut known = discovery();
    let message = advertisement(M, 1800, SUBNET);
    let mut heard = |source: &str, hop_limit, message: &[u8]| {
        known.handle_input(source.parse().unwrap(), hop_limit, message, ms(0))
    };
    let forwarded = Err(IgnoredAdvertisement::Forwarded(254));
    assert_eq!(heard("fe80::1", 254, &message), forwarded);
    let far = Err(IgnoredAdvertisement::NotLinkLocal);
    assert_eq!(heard("2001:db8::1", 255, &message), far);
    assert!(heard("fe80::1", 255, &message[..15]).is_err());
    assert!(!known.is_heard() && !known.is_managed());
}

#[test]
fn a_router_needs_no_prefix_and_a_prefix_no_router() {
    let mut known = discovery();
    hear(&mut known, ROUTER, &advertisement(0, 1800, None), 0);
    assert!(known.has_router(ms(0)) && addresses(&known, 0).is_empty());
    let mut known = discovery();
    hear(&mut known, ROUTER, &advertisement(0, 0, SUBNET), 0);
    assert!(!known.has_router(ms(0)));
    assert_eq!(addresses(&known, 0).len(), 1);
    assert_eq!(known.routes(ms(0)).len(), 1);
    // It goes on asking, until one is a router.
    assert!(known.poll_timeout().is_some());
}

#[test]
fn routers_are_merged_and_end_with_their_lifetimes() {
    let mut known = discovery();
    let mut preferred = advertisement(0, 10, None);
    preferred[5] = 0x08;
    hear(&mut known, SERVER, &preferred, 0);
    hear(&mut known, ROUTER, &advertisement(O, 20, SUBNET), 0);
    let through = |known: &RouterDiscovery, at| {
        let routes = known.routes(ms(at)).into_iter();
        let routes = routes.filter(|route| route.prefix_len == 0);
        routes
            .map(|route| (route.gateway.unwrap(), route.preference))
            .collect::<Vec<_>>()
    };
    let both = [(SERVER, Preference::High), (ROUTER, Preference::Medium)];
    assert_eq!(through(&known, 9_000), both);
    assert_eq!(through(&known, 10_000), both[1..]);
    hear(&mut known, ROUTER, &advertisement(0, 0, None), 10_000);
    assert_eq!(through(&known, 10_000), []);
    assert_eq!(addresses(&known, 3_599_000).len(), 1);
    assert_eq!(addresses(&known, 3_600_000).len(), 0);
}

#[test]
fn addresses_are_formed_in_prefixes_of_64_bits_alone() {
    for (prefix, count) in [
        (Some((64, 10, 20)), 1),
        (Some((63, 10, 20)), 0),
        (Some((126, 10, 20)), 0),
        // Out of order, and over.
        (Some((64, 21, 20)), 0),
        (Some((64, 0, 0)), 0),
        (Some((64, FOREVER, FOREVER)), 1),
    ] {
        let mut known = discovery();
        hear(&mut known, ROUTER, &advertisement(0, 9, prefix), 0);
        assert_eq!(addresses(&known, 0).len(), count, "{prefix:?}");
    }
    // Of reserved addresses: the whole of IPv6, which would hide every router, and that of the loopback
    // address.
    for len in [0, 64] {
        let mut known = discovery();
        let mut message = advertisement(0, 9, Some((len, 10, 20)));
        message[32..48].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        hear(&mut known, ROUTER, &message, 0);
        let routers = known.routes(ms(0));
        assert!(routers.iter().all(|route| route.gateway.is_some()));
        assert_eq!((addresses(&known, 0).len(), routers.len()), (0, 1), "{len}");
    }
    // Neither flag, and the link-local prefix.
    let mut known = discovery();
    let mut message = advertisement(0, 9, SUBNET);
    message[19] = 0x80;
    hear(&mut known, ROUTER, &message, 0);
    assert_eq!(
        (addresses(&known, 0).len(), known.routes(ms(0)).len()),
        (0, 2)
    );
    message[19] = 0xc0;
    message[32..48].copy_from_slice(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).octets());
    hear(&mut known, ROUTER, &message, 0);
    assert_eq!(
        (addresses(&known, 0).len(), known.routes(ms(0)).len()),
        (0, 2)
    );
}

#[test]
fn nobody_ends_an_address_at_once() {
    const HOUR: u32 = 3600;
    // Left before, sent, left after: RFC 4862 §5.5.3 e.
    for (before, sent, after) in [
        (10 * HOUR, 20 * HOUR, 20 * HOUR),
        (10 * HOUR, 3 * HOUR, 3 * HOUR),
        (10 * HOUR, HOUR, 2 * HOUR),
        (10 * HOUR, 0, 2 * HOUR),
        (HOUR, 0, HOUR),
        (HOUR, HOUR / 2, HOUR),
        (HOUR, HOUR + 1, HOUR + 1),
    ] {
        let mut known = discovery();
        hear(
            &mut known,
            ROUTER,
            &advertisement(0, 9, Some((64, 0, before))),
            0,
        );
        hear(
            &mut known,
            ROUTER,
            &advertisement(0, 9, Some((64, 0, sent))),
            0,
        );
        assert_eq!(addresses(&known, 0)[0].valid, after, "{before} {sent}");
    }
}

#[test]
fn a_flood_is_limited() {
    let mut known = discovery();
    for number in 0..2000_u16 {
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, number);
        let mut message = advertisement(0, 1800, SUBNET);
        message[37..39].copy_from_slice(&number.to_be_bytes());
        message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
        message.extend(source.octets());
        message.extend([24, 1, 0, 0, 0, 0, 1, 0]);
        hear(&mut known, source, &message, 0);
    }
    assert_eq!(addresses(&known, 0).len(), 32);
    assert!(known.routes(ms(0)).len() <= 64);
    assert_eq!(resolvers(&known, 0).len(), 16);
}

#[test]
fn a_network_may_be_renumbered_for_ever() {
    let mut known = discovery();
    for number in 0..200_u16 {
        // Each is over before the next one is advertised; the first is of no use at all.
        let mut message = advertisement(0, 1800, Some((64, 10, u32::from(number.min(20)))));
        if number == 0 {
            message[20..28].fill(0);
        }
        message[36..38].copy_from_slice(&number.to_be_bytes());
        let at = u64::from(number) * 30_000;
        hear(&mut known, ROUTER, &message, at);
        let formed = addresses(&known, at);
        assert_eq!(formed.len(), usize::from(number > 9), "{number}");
        if let Some(formed) = formed.first() {
            assert_eq!(formed.address.segments()[2], number);
        }
    }
}

#[test]
fn a_prefix_for_delegation_forms_an_address_as_its_other_flag_says() {
    // RFC 9762: who asks for no prefix of its own does not heed the flag P.
    for (flags, count) in [(0xd0, 1), (0x90, 0)] {
        let mut known = discovery();
        let mut message = advertisement(0, 1800, SUBNET);
        message[19] = flags;
        hear(&mut known, ROUTER, &message, 0);
        assert_eq!(addresses(&known, 0).len(), count);
        assert_eq!(known.routes(ms(0)).len(), 2);
    }
}

#[test]
fn resolvers_and_mtu_are_checked() {
    let mut known = discovery();
    let mut message = advertisement(0, 1800, None);
    message.extend([25, 5, 0, 0, 0, 0, 0, 10]);
    message.extend("ff02::1".parse::<Ipv6Addr>().unwrap().octets());
    message.extend(ROUTER.octets());
    message.extend([5, 1, 0, 0, 0, 0, 4, 0xff]);
    hear(&mut known, ROUTER, &message, 0);
    assert_eq!(resolvers(&known, 0), [ROUTER]);
    assert_eq!(resolvers(&known, 10_000).len(), 0);
    assert_eq!(known.mtu_octets(), None);
    let end = message.len();
    message[end - 2..].copy_from_slice(&[5, 0]);
    hear(&mut known, ROUTER, &message, 0);
    assert_eq!(known.mtu_octets(), Some(1280));
    message[20..24].fill(0);
    hear(&mut known, ROUTER, &message, 0);
    assert_eq!(resolvers(&known, 0).len(), 0);
}

#[test]
fn a_captive_portal_is_told_unless_it_is_the_name_for_none() {
    let none = "urn:ietf:params:capport:unrestricted";
    let uri = "https://portal.example/api";
    for (by_router, by_server, expected) in [
        (Some(uri), None, Some(uri)),
        (None, Some(uri), Some(uri)),
        (Some(uri), Some("https://other.example/"), Some(uri)),
        (Some(none), None, None),
        (None, Some(none), None),
        (Some("a\nb"), None, None),
        (None, None, None),
    ] {
        let mut scene = Scene::new(config());
        let mut message = advertisement(O, 1800, SUBNET);
        if let Some(uri) = by_router {
            // Padded to a multiple of 8 (RFC 8910 §2.3).
            let units = (uri.len() + 2).div_ceil(8);
            let end = message.len() + units * 8;
            message.extend([37, units.try_into().unwrap()]);
            message.extend(uri.as_bytes());
            message.resize(end, 0);
        }
        scene.advertise(&message);
        let question = scene.last(MessageType::INFORMATION_REQUEST);
        let mut reply = Answer::new(MessageType::REPLY, &question);
        if let Some(uri) = by_server {
            reply = reply.with(code::CAPTIVE_PORTAL, uri.as_bytes());
        }
        scene.answer(reply).unwrap();
        let lease = scene.settled().unwrap();
        assert_eq!(lease.captive_portal.as_deref(), expected);
    }
}
