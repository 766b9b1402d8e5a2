use super::*;
use wireboot_proto::dhcp::lease;

#[test]
fn an_ordinary_lease_sets_address_default_route_and_mtu_in_that_order() {
    let lease = Lease {
        mtu_octets: Some(1400),
        times: Some(lease::LeaseTimes {
            lease: Duration::from_secs(3600),
            renewal: Duration::from_secs(1800),
            rebinding: Duration::from_secs(3150),
        }),
        ..lease("192.0.2.10/24", &[("0.0.0.0/0", "192.0.2.1")])
    };
    let address = Address {
        index: 3,
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix_len: 24,
        broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
        preferred_seconds: 3150,
        valid_seconds: 3600,
        details: AddressDetails::default(),
    };
    let later = |age| lease_settings(3, &lease, age).into_iter().next();
    let half = Address {
        preferred_seconds: 1350,
        valid_seconds: 1800,
        ..address
    };
    // Seconds that have begun count.
    assert_eq!(
        later(Duration::from_millis(1_800_900)),
        Some(LinkSetting::Address(half))
    );
    // Preferred no longer, and the kernel takes no address of 0 s.
    let last = Address {
        preferred_seconds: 1,
        valid_seconds: 1,
        ..address
    };
    assert_eq!(
        later(Duration::from_secs(3_600)),
        Some(LinkSetting::Address(last))
    );
    let settings = lease_settings(3, &lease, Duration::ZERO);
    assert_eq!(settings[0], LinkSetting::Address(address));
    assert_eq!(
        text(&settings[1..]),
        [
            "the route to 0.0.0.0/0 via 192.0.2.1",
            "the MTU of 1400 bytes"
        ]
    );
}

#[test]
fn routes_on_the_link_come_first_and_carry_gateways_outside_of_the_subnet() {
    for (address, routes, expected) in [
        // A cloud's /32: the router gets a route of its own, once.
        (
            "192.0.2.10/32",
            &[
                ("0.0.0.0/0", "198.51.100.1"),
                ("203.0.113.0/24", "198.51.100.1"),
            ][..],
            &[
                "198.51.100.1/32 on the link",
                "0.0.0.0/0 via 198.51.100.1",
                "203.0.113.0/24 via 198.51.100.1",
            ][..],
        ),
        // The server says itself that the router is on the link, in whatever order.
        (
            "192.0.2.10/32",
            &[
                ("0.0.0.0/0", "198.51.100.1"),
                ("198.51.100.0/24", "0.0.0.0"),
            ],
            &["198.51.100.0/24 on the link", "0.0.0.0/0 via 198.51.100.1"],
        ),
        // We are our own router: everything is on the link.
        (
            "192.0.2.10/24",
            &[("0.0.0.0/0", "192.0.2.10")],
            &["0.0.0.0/0 on the link"],
        ),
        // Host bits in a destination, which the kernel would refuse; the same twice.
        (
            "192.0.2.10/24",
            &[
                ("203.0.113.77/24", "192.0.2.1"),
                ("203.0.113.0/24", "192.0.2.1"),
            ],
            &["203.0.113.0/24 via 192.0.2.1"],
        ),
    ] {
        let settings = lease_settings(3, &lease(address, routes), Duration::ZERO);
        let expected: Vec<_> = expected
            .iter()
            .map(|e| format!("the route to {e}"))
            .collect();
        assert_eq!(text(&settings[1..]), expected);
    }
}

#[test]
fn an_mtu_below_what_every_host_must_take_is_not_set() {
    for (mtu_octets, set) in [(68, None), (575, None), (576, Some(LinkSetting::Mtu(576)))] {
        let lease = Lease {
            mtu_octets: Some(mtu_octets),
            ..lease("192.0.2.10/24", &[])
        };
        let settings = lease_settings(3, &lease, Duration::ZERO);
        let mtu = settings.iter().find(|s| matches!(s, LinkSetting::Mtu(_)));
        assert_eq!(mtu.copied(), set);
    }
}

#[test]
fn a_lease_for_ever_and_a_network_of_two_have_no_end_and_no_broadcast_address() {
    let settings = lease_settings(3, &lease("192.0.2.10/31", &[]), Duration::ZERO);
    let [LinkSetting::Address(address)] = settings[..] else {
        panic!("one address: {settings:?}");
    };
    assert_eq!(address.broadcast, None);
    assert_eq!(address.valid_seconds, FOREVER);
    assert_eq!(address.preferred_seconds, FOREVER);
}

fn text(settings: &[LinkSetting]) -> Vec<String> {
    settings.iter().map(LinkSetting::to_string).collect()
}

fn lease(address: &str, routes: &[(&str, &str)]) -> Lease {
    let (address, prefix_len) = prefix(address);
    let routes = routes.iter().map(|(destination, gateway)| {
        let (destination, prefix_len) = prefix(destination);
        let gateway: Ipv4Addr = gateway.parse().unwrap();
        lease::StaticRoute {
            destination,
            prefix_len,
            gateway: (!gateway.is_unspecified()).then_some(gateway),
        }
    });
    Lease {
        routes: routes.collect(),
        ..Lease::fixed(address, prefix_len)
    }
}

fn prefix(text: &str) -> (Ipv4Addr, u8) {
    let (address, prefix_len) = text.split_once('/').unwrap();
    (address.parse().unwrap(), prefix_len.parse().unwrap())
}
