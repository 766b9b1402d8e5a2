use super::*;
use crate::packet::dhcp::Op;
use crate::packet::ethernet::MacAddress;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn read(set: &[(u8, &[u8])]) -> Lease {
    let mut options = Options::default();
    options.set(code::SERVER_IDENTIFIER, SERVER.octets());
    for (code, value) in set {
        options.set(*code, *value);
    }
    let message = Message {
        op: Op::BootReply,
        xid: 1,
        secs: 0,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(192, 0, 2, 100),
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: MacAddress::default(),
        sname: b"boot.example".to_vec(),
        file: b"pxelinux.0".to_vec(),
        options,
    };
    Lease::read(&message, SERVER)
}

#[test]
fn times_are_ordered_whatever_the_server_says() {
    let times = |lease: u32, t1: u32, t2: u32| {
        let lease = read(&[
            (51, &lease.to_be_bytes()),
            (58, &t1.to_be_bytes()),
            (59, &t2.to_be_bytes()),
        ]);
        let times = lease.times.unwrap();
        assert!(times.renewal < times.rebinding && times.rebinding < times.lease);
        (times.renewal.as_secs(), times.rebinding.as_secs())
    };
    assert_eq!(times(3600, 1000, 2000), (1000, 2000));
    assert_eq!(times(3600, 0, 0), (1800, 3150));
    assert_eq!(times(3600, 3000, 2000), (1750, 2000));
    assert_eq!(times(3600, 9000, 9000), (1800, 3150));
    assert_eq!(times(3600, 1, 3599), (1, 3599));
    assert_eq!(times(3600, u32::MAX, u32::MAX), (1800, 3150));
    assert_eq!(times(u32::MAX - 1, 2, 1), (0, 1));
    for (t1, t2) in [
        (0, 0),
        (1, 1),
        (2, 1),
        (1, 2),
        (2, 3),
        (9, 9),
        (u32::MAX, 1),
    ] {
        (0..9).for_each(|lease| {
            times(lease, t1, t2);
        });
    }
}

#[test]
fn an_infinite_lease_has_no_times_and_a_missing_one_is_an_hour() {
    let lease = read(&[(51, &[255; 4]), (58, &[0, 0, 0, 9])]);
    assert_eq!(lease.times, None);
    assert_eq!(read(&[]).times.unwrap().lease.as_secs(), 3600);
}

#[test]
fn a_lease_of_a_second_lasts_long_enough_to_be_extended() {
    for (granted, kept) in [(1, 3), (2, 3), (3, 3), (4, 4)] {
        let lease = read(&[(51, &u32::to_be_bytes(granted))]);
        let times = lease.times.unwrap();
        assert_eq!(times.lease.as_secs(), kept);
        assert!(times.lease >= times.renewal + Duration::from_secs(1));
    }
}

#[test]
fn options_66_and_67_go_before_the_fields() {
    let lease = read(&[]);
    assert_eq!(lease.boot_file.as_deref(), Some("pxelinux.0"));
    assert_eq!(lease.server_name.as_deref(), Some("boot.example"));
    let lease = read(&[(66, b"192.0.2.7\0"), (67, b"/grub/a b")]);
    assert_eq!(lease.boot_file.as_deref(), Some("/grub/a b"));
    assert_eq!(lease.server_name.as_deref(), Some("192.0.2.7"));
}

#[test]
fn option_150_names_the_next_server_when_nothing_else_does() {
    let listed = (150, &[192, 0, 2, 7, 192, 0, 2, 8][..]);
    let read = |name: &[u8], siaddr: [u8; 4]| {
        let mut options = Options::default();
        options.set(listed.0, listed.1);
        let message = Message {
            siaddr: siaddr.into(),
            sname: name.to_vec(),
            ..Message::reply([192, 0, 2, 100].into(), options)
        };
        Lease::read(&message, SERVER).next_server
    };
    assert_eq!(read(b"", [0; 4]), Some([192, 0, 2, 7].into()));
    assert_eq!(read(b"boot.example", [0; 4]), None);
    assert_eq!(read(b"", [192, 0, 2, 9]), Some([192, 0, 2, 9].into()));
}

#[test]
fn text_that_no_shell_should_see_is_dropped_and_listed() {
    let lease = read(&[
        (12, b"a;reboot"),
        (15, b"$(x).example"),
        (67, b"a\nb"),
        (26, &[0, 60]),
    ]);
    assert_eq!(
        (lease.host_name, lease.domain, lease.mtu_octets),
        (None, None, None)
    );
    assert_eq!(lease.boot_file.as_deref(), Some("pxelinux.0"));
    let mut codes: Vec<u8> = lease.ignored.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [12, 15, 26, 67]);
}

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEXT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn options(set: &[(u8, &[u8])]) -> Options {
    let mut options = Options::default();
    for (code, value) in set {
        options.set(*code, *value);
    }
    options
}

/// Reads with `read` and returns the codes that are listed as ignored, too.
fn reading<T>(
    set: &[(u8, &[u8])],
    read: impl Fn(&Options, &mut IgnoredOptions) -> T,
) -> (T, Vec<u8>) {
    let mut ignored = Vec::new();
    let value = read(&options(set), &mut ignored);
    (value, ignored.into_iter().map(|(code, _)| code).collect())
}

const OWN: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 100), 24);

fn routes_from(options: &Options, ignored: &mut IgnoredOptions) -> Vec<StaticRoute> {
    routes(options, OWN, ignored)
}

/// Returns the routes as text, and the codes that are ignored.
fn routes_of(set: &[(u8, &[u8])]) -> (Vec<String>, Vec<u8>) {
    let (routes, ignored) = reading(set, routes_from);
    let text = |route: &StaticRoute| {
        let (destination, prefix_len) = (route.destination, route.prefix_len);
        let gateway = route.gateway.map_or("link".into(), |it| it.to_string());
        format!("{destination}/{prefix_len} {gateway}")
    };
    (routes.iter().map(text).collect(), ignored)
}

#[test]
fn the_first_router_that_can_be_one_has_the_default_route() {
    let nowhere = [0, 0, 0, 0, 192, 0, 2, 2];
    let loopback = [127, 0, 0, 1, 255, 255, 255, 255, 192, 0, 2, 2, 192, 0, 2, 1];
    for (list, gateway, ignored) in [
        (&[192, 0, 2, 1, 192, 0, 2, 2][..], Some(ROUTER), &[][..]),
        (&nowhere, Some(NEXT), &[3]),
        (&loopback, Some(NEXT), &[3]),
        (&[192, 0, 2, 1, 9], Some(ROUTER), &[3]),
        (&[192, 0, 2], None, &[3]),
        // Those of the network and for broadcasts.
        (&[192, 0, 2, 255, 192, 0, 2, 2], Some(NEXT), &[3]),
        (&[192, 0, 2, 0, 192, 0, 2, 2], Some(NEXT), &[3]),
        (&[192, 0, 2, 255], None, &[3]),
        (&[192, 0, 3, 255], Some(Ipv4Addr::new(192, 0, 3, 255)), &[]),
        (&[0; 4], None, &[3]),
        (&[224, 0, 0, 1], None, &[3]),
        (&[], None, &[]),
    ] {
        let (routes, codes) = reading(&[(3, list)], routes_from);
        let found: Vec<_> = routes.iter().map(|route| route.gateway).collect();
        assert_eq!(found, gateway.map(Some).as_slice(), "{list:?}");
        assert_eq!(codes, ignored, "{list:?}");
    }
}

#[test]
fn classless_routes_rule_out_the_router_only_where_they_can_be_used() {
    let router = (3, &[192, 0, 2, 1][..]);
    let by_router = "0.0.0.0/0 192.0.2.1";
    let on_link: &[u8] = &[24, 10, 0, 0, 0, 0, 0, 0];
    let (net, cut) = ("10.0.0.0/24 link", [on_link, &[24, 10, 1]].concat());
    let with_default = [on_link, &[0, 192, 0, 2, 2], &[8, 10]].concat();
    let strange = [on_link, &[0, 127, 0, 0, 1], &[8, 127, 192, 0, 2, 1]].concat();
    for (code, list, expected, ignored) in [
        (121, on_link, &[net][..], &[][..]),
        (249, on_link, &[net], &[]),
        (121, &[], &[by_router], &[121]),
        (249, &[], &[by_router], &[249]),
        (121, &[33, 1, 2, 3, 4], &[by_router], &[121]),
        (121, &[24, 10, 0], &[by_router], &[121]),
        (121, &cut, &[net, by_router], &[121]),
        (121, &with_default, &[net, "0.0.0.0/0 192.0.2.2"], &[121]),
        (121, &strange, &[net, by_router], &[121]),
    ] {
        let (routes, codes) = routes_of(&[router, (code, list)]);
        assert_eq!(routes, expected, "{list:?}");
        assert_eq!(codes, ignored, "{list:?}");
    }
    let both = routes_of(&[router, (121, &cut), (249, on_link)]);
    assert_eq!(both, (vec![net.to_owned()], vec![121]));
}

#[test]
fn a_route_to_where_no_other_host_can_be_is_left_out() {
    let by_router = "0.0.0.0/0 192.0.2.1";
    for (list, expected) in [
        (&[8, 127, 192, 0, 2, 1][..], None),
        (&[16, 127, 5, 192, 0, 2, 1], None),
        (&[8, 0, 192, 0, 2, 1], None),
        (&[32, 0, 0, 0, 0, 192, 0, 2, 1], None),
        (&[16, 0, 9, 192, 0, 2, 1], None),
        (&[32, 255, 255, 255, 255, 192, 0, 2, 1], None),
        // By the broadcast address of the network, and by the network itself.
        (&[8, 10, 192, 0, 2, 255], None),
        (&[8, 10, 192, 0, 2, 0], None),
        (&[1, 0, 192, 0, 2, 1], Some("0.0.0.0/1 192.0.2.1")),
        (&[4, 224, 0, 0, 0, 0], Some("224.0.0.0/4 link")),
        (&[8, 10, 192, 0, 3, 255], Some("10.0.0.0/8 192.0.3.255")),
    ] {
        let (routes, codes) = routes_of(&[(3, &[192, 0, 2, 1]), (121, list)]);
        assert_eq!(routes, [expected.unwrap_or(by_router)], "{list:?}");
        assert_eq!(codes.is_empty(), expected.is_some(), "{list:?}");
    }
}

#[test]
fn a_mask_gives_the_prefix_up_to_its_last_bit_and_without_one_the_class_does() {
    let of = |address: [u8; 4], mask: &[u8]| {
        let read = |options: &_, ignored: &mut _| prefix_len(address.into(), options, ignored);
        reading(&[(1, mask)], read)
    };
    let c = [192, 0, 2, 100];
    assert_eq!(of(c, &[255, 255, 255, 128]), (25, vec![]));
    assert_eq!(of(c, &[255; 4]), (32, vec![]));
    assert_eq!(of(c, &[128, 0, 0, 0]), (1, vec![]));
    assert_eq!(of(c, &[255, 0, 255, 0]), (24, vec![1]));
    assert_eq!(of([10, 0, 0, 9], &[255, 255, 225, 0]), (24, vec![1]));
    assert_eq!(of([10, 0, 0, 9], &[0, 0, 0, 255]), (32, vec![1]));
    assert_eq!(of([10, 0, 0, 9], &[0; 4]), (8, vec![1]));
    assert_eq!(of([172, 16, 0, 9], &[]), (16, vec![]));
    assert_eq!(of(c, &[255, 255, 0]), (24, vec![]));
}

#[test]
fn a_network_and_its_broadcasts_have_addresses_that_are_no_hosts() {
    for (address, prefix_len, is_one) in [
        ([192, 0, 2, 0], 24, false),
        ([192, 0, 2, 255], 24, false),
        ([192, 0, 2, 1], 24, true),
        ([192, 0, 2, 254], 24, true),
        ([192, 0, 2, 0], 23, false),
        ([192, 0, 3, 0], 23, true),
        ([192, 0, 2, 3], 30, false),
        ([192, 0, 2, 3], 31, true),
        ([192, 0, 2, 255], 32, true),
        ([127, 255, 255, 255], 1, false),
    ] {
        let found = is_host_of_network(address.into(), prefix_len);
        assert_eq!(found, is_one, "{address:?}/{prefix_len}");
    }
}

#[test]
fn an_address_of_a_host_is_none_for_broadcasts() {
    let read = |options: &_, ignored: &mut _| broadcast(options, OWN, ignored);
    for (address, is_one) in [
        ([192, 0, 2, 255], true),
        ([255; 4], true),
        ([192, 0, 2, 0], true),
        ([192, 0, 2, 1], false),
        ([192, 0, 2, 100], false),
        ([198, 51, 100, 7], false),
        ([192, 0, 3, 255], false),
        ([0; 4], false),
    ] {
        let (found, codes) = reading(&[(28, &address)], read);
        let expected = is_one.then_some(Ipv4Addr::from(address));
        assert_eq!(found, expected);
        assert_eq!(codes.is_empty(), is_one, "{address:?}");
    }
}

#[test]
fn an_mtu_that_no_network_has_is_ignored() {
    for (bytes, expected) in [
        (0_u16, None),
        (1, None),
        (67, None),
        (68, Some(68)),
        (9_000, Some(9_000)),
        (65_520, Some(65_520)),
        (65_535, None),
    ] {
        let (found, ignored) = reading(&[(26, &bytes.to_be_bytes())], mtu);
        assert_eq!(found, expected);
        assert_eq!(ignored.is_empty(), expected.is_some());
    }
}

#[test]
fn resolvers_that_no_host_can_be_are_left_out() {
    let list = [0, 0, 0, 0, 192, 0, 2, 1, 127, 0, 0, 53, 192, 0, 2, 2];
    let read = |options: &_, ignored: &mut _| hosts(options, 6, OWN, ignored);
    let broadcast = [192, 0, 2, 255, 192, 0, 2, 1, 192, 0, 2, 0];
    assert_eq!(reading(&[(6, &broadcast)], read), (vec![ROUTER], vec![6]));
    assert_eq!(reading(&[(6, &list)], read), (vec![ROUTER, NEXT], vec![6]));
    let cut = [192, 0, 2, 1, 192];
    assert_eq!(reading(&[(6, &cut)], read), (vec![ROUTER], vec![6]));
}

#[test]
fn several_names_in_option_15_are_a_search_list_unless_there_is_one() {
    let names = |list: &[&str]| {
        list.iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    for (text, domain, search, ignored) in [
        (&b"a.example"[..], "a.example", &[][..], &[][..]),
        (b"a.example.", "a.example", &[], &[]),
        (b".a.example\0", "a.example", &[], &[]),
        (b"\"a.example\"\r\n", "a.example", &[], &[]),
        (
            b"a.example b.example",
            "a.example",
            &["a.example", "b.example"],
            &[],
        ),
        (
            b"a.example,.b.example.",
            "a.example",
            &["a.example", "b.example"],
            &[],
        ),
        (b"a.example $(x)", "a.example", &[], &[15]),
        (b"a;reboot", "", &[], &[15]),
        (b".", "", &[], &[15]),
        (b"", "", &[], &[15]),
        (b"a..example", "", &[], &[15]),
    ] {
        let (found, codes) = reading(&[(15, text)], domains);
        let expected = Some(domain).filter(|name| !name.is_empty());
        assert_eq!(found, (expected.map(str::to_owned), names(search)));
        assert_eq!(codes, ignored, "{text:?}");
        let (beside, _) = reading(&[(15, text), (119, b"\x01c\0")], domains);
        assert_eq!(beside.1, ["c"]);
        assert_eq!(beside.0.as_deref(), expected);
    }
}

#[test]
fn an_option_of_a_wrong_length_is_listed() {
    let set = [(1, &[255; 3][..]), (26, &[5]), (51, &[0; 8]), (6, &[1; 5])];
    let ((), codes) = reading(&set, note_wrong_lengths);
    assert_eq!(codes, [1, 26, 51]);
}
