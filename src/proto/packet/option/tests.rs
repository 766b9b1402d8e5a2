use super::*;
use crate::reader::DecodeFault;
use alloc::boxed::Box;

fn options(area: &[u8]) -> Options {
    let mut options = Options::default();
    options.read_area(area).unwrap();
    options
}

#[test]
fn parts_of_a_split_option_are_joined_wherever_they_stand() {
    let options = options(&[
        67, 2, b'a', b'b', 0, 1, 4, 255, 255, 255, 0, 67, 1, b'c', 255, 9,
    ]);
    assert_eq!(options.get(67), Some(&b"abc"[..]));
    assert_eq!(
        options.address(code::SUBNET_MASK),
        Some(Ipv4Addr::new(255, 255, 255, 0))
    );
    assert_eq!(options.iter().count(), 2);
}

#[test]
fn of_an_option_of_fixed_length_that_comes_twice_the_first_counts() {
    for (code, len) in (1..=254).filter_map(|code| Some((code, fixed_len(code)?))) {
        let part = |byte: u8, len: usize| {
            [vec![code, u8::try_from(len).unwrap()], vec![byte; len]].concat()
        };
        let (first, second) = (part(1, len), part(2, len));
        let twice = [&first[..], &second].concat();
        assert_eq!(options(&twice).get(code), Some(&vec![1; len][..]), "{code}");
        let mut over_areas = options(&first);
        over_areas.read_area(&second).unwrap();
        assert_eq!(over_areas.get(code), Some(&vec![1; len][..]), "{code}");
        // One of a wrong length does not count.
        for wrong in [0, len + 1, len + 4] {
            let area = [&part(9, wrong)[..], &second, &part(9, wrong), &first].concat();
            assert_eq!(options(&area).get(code), Some(&vec![2; len][..]), "{code}");
        }
    }
    let halves = options(&[1, 2, 255, 255, 1, 2, 255, 0]);
    assert_eq!(halves.address(1), Some(Ipv4Addr::new(255, 255, 255, 0)));
}

#[test]
fn the_table_of_lengths_agrees_with_what_is_known_of_the_options() {
    for code in 1..=254 {
        let Some(len) = fixed_len(code) else { continue };
        let value = known::OptionValue::read(code, &vec![1; len]);
        let is_list = matches!(
            value,
            known::OptionValue::Addresses(_) | known::OptionValue::Text(_)
        );
        assert!(!is_list, "{code}");
        if known::is_known(code) {
            assert!(!matches!(value, known::OptionValue::Bytes(_)), "{code}");
        }
    }
}

#[test]
fn a_text_or_list_that_is_repeated_whole_is_not_joined_to_itself() {
    for (first, second, expected) in [
        (&b"pxelinux.0"[..], &b"pxelinux.0"[..], &b"pxelinux.0"[..]),
        (b"pxelinux.0\0", b"pxelinux.0", b"pxelinux.0\0"),
        (b"pxelinux.0", b"pxelinux.0\0", b"pxelinux.0"),
        (b"pxelinux", b".0", b"pxelinux.0"),
        (b"a", b"ab", b"aab"),
    ] {
        for code in [12, 66, 67, 209] {
            let part = |bytes: &[u8]| [&[code, u8::try_from(bytes.len()).unwrap()], bytes].concat();
            let joined = options(&[part(first), part(second)].concat());
            assert_eq!(joined.get(code), Some(expected), "{code}");
        }
    }
    let routers = options(&[
        3, 4, 192, 0, 2, 1, 3, 4, 192, 0, 2, 2, 6, 0, 6, 4, 1, 1, 1, 1,
    ]);
    let expected = [1, 2].map(|host| Ipv4Addr::new(192, 0, 2, host));
    assert_eq!(routers.addresses(3), expected);
    assert_eq!(routers.addresses(6), [Ipv4Addr::new(1, 1, 1, 1)]);
    // Two full parts of a longer value may be equal.
    let mut long = Options::default();
    long.set(43, [0; 510]);
    let mut area = Vec::new();
    long.encode(&mut area);
    assert_eq!(options(&area).get(43), Some(&[0; 510][..]));
}

#[test]
fn options_within_an_option_have_codes_of_their_own() {
    let mut within = Options::default();
    within
        .read_encapsulated(&[1, 4, 1, 2, 3, 4, 1, 1, 5])
        .unwrap();
    assert_eq!(within.get(1), Some(&[1, 2, 3, 4, 5][..]));
    let proxy = |within: &[u8]| {
        let mut options = Options::default();
        options.set(code::IPXE_ENCAPSULATED, within);
        options.rules_out_proxies()
    };
    assert!(proxy(&[176, 1, 1, 176, 1, 1]) && proxy(&[176, 1, 1]));
    assert!(!proxy(&[176, 1, 0, 176, 1, 0]) && !proxy(&[]));
}

#[test]
fn an_option_beyond_the_end_leaves_those_before_it() {
    let mut options = Options::default();
    let error = options.read_area(&[53, 1, 2, 1, 4, 255, 255]).unwrap_err();
    assert_eq!(
        error,
        Box::new(DecodeFault::Truncated {
            field: "option value",
            needed: 4,
            left: 2
        })
    );
    assert_eq!(options.u8(code::MESSAGE_TYPE), Some(2));
    assert_eq!(options.get(1), None);
}

#[test]
fn a_value_of_the_wrong_length_is_no_value() {
    let options = options(&[
        1, 3, 255, 255, 255, 51, 5, 0, 0, 0, 1, 1, 6, 5, 192, 0, 2, 1, 9,
    ]);
    assert_eq!(options.address(1), None);
    assert_eq!(options.u32(51), None);
    assert_eq!(options.addresses(6), [Ipv4Addr::new(192, 0, 2, 1)]);
}

#[test]
fn text_ends_at_the_first_nul_and_is_never_empty() {
    let options = options(&[12, 4, b'h', b'o', 0, b'x', 15, 1, 0, 67, 2, 0xff, 0xfe]);
    assert_eq!(options.text(12), Some("ho"));
    assert_eq!(options.text(15), None);
    assert_eq!(options.text(67), None);
}

#[test]
fn classless_routes_are_those_of_rfc_3442_and_end_at_a_fault() {
    let routes = [0, 192, 0, 2, 1, 24, 10, 1, 2, 192, 0, 2, 2, 33, 1, 2, 3];
    let mut options = Options::default();
    options.set(code::MS_CLASSLESS_STATIC_ROUTE, routes);
    let expected = vec![
        (Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(192, 0, 2, 1)),
        (Ipv4Addr::new(10, 1, 2, 0), 24, Ipv4Addr::new(192, 0, 2, 2)),
    ];
    let windows = Some((expected, false));
    assert_eq!(options.classless_routes(), windows);
    options.set(
        code::CLASSLESS_STATIC_ROUTE,
        [32, 198, 51, 100, 7, 0, 0, 0, 0],
    );
    let on_link = vec![(Ipv4Addr::new(198, 51, 100, 7), 32, Ipv4Addr::UNSPECIFIED)];
    assert_eq!(options.classless_routes(), Some((on_link, true)));
    // A list without a route does not rule out the other.
    for none in [&[][..], &[24, 10, 0], &[99]] {
        options.set(code::CLASSLESS_STATIC_ROUTE, none);
        assert_eq!(options.classless_routes(), windows, "{none:?}");
    }
    options.remove(code::MS_CLASSLESS_STATIC_ROUTE);
    assert_eq!(options.classless_routes(), None);
}

#[test]
fn a_route_list_longer_than_one_option_is_read_whole() {
    let mut bytes = Vec::new();
    for network in 0..100 {
        bytes.extend_from_slice(&[24, 10, 0, network, 192, 0, 2, 1]);
    }
    let mut options = Options::default();
    options.set(code::CLASSLESS_STATIC_ROUTE, bytes);
    assert_eq!(options.classless_routes().unwrap().0.len(), 100);
}

#[test]
fn a_search_list_is_decompressed_and_loops_end() {
    let mut options = Options::default();
    let list = b"\x03eng\x07example\x03com\x00\x05sales\xc0\x04";
    options.set(code::DOMAIN_SEARCH, *list);
    assert_eq!(
        options.domain_search(),
        ["eng.example.com", "sales.example.com"]
    );
    options.set(code::DOMAIN_SEARCH, [0xc0, 0x00]);
    assert_eq!(options.domain_search(), Vec::<String>::new());
}
