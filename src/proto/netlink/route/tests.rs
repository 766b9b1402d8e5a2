//! Messages seen from kernel 6.18 on a little-endian machine, shortened where said.

use super::*;
#[cfg(feature = "bond")]
use crate::netlink::bond::BondOptions;
use crate::netlink::message::frames;
use crate::netlink::request::NetlinkRequest;
use proptest::prelude::*;

/// `RTM_NEWLINK` of one end of a veth pair; attributes that nothing here reads are left out.
const LINK: &str = "\
    60000000 1000 0200 01000000 ac2c0000\
    00 00 0100 02000000 43100100 00000000\
    0700 0300 766200 00\
    0800 0400 dc050000\
    0800 1b00 00000000\
    0a00 0100 32f72b4dd982 0000\
    1000 1200 0900 0100 7665746800 000000\
    0900 3800 3030303400 000000";
/// `RTM_NEWADDR` of 192.0.2.10/24 with 3600 s to live, of which 3000 s preferred.
const ADDRESS: &str = "\
    54000000 1400 0200 01000000 d52c0000\
    02 18 00 00 03000000\
    0800 0100 c000020a 0800 0200 c000020a 0800 0400 c00002ff 0700 0300 76610000\
    0800 0800 00000000 1400 0600 b80b0000 100e0000 275a0100 275a0100";
/// `RTM_NEWROUTE` of the default route by 192.0.2.1 from 192.0.2.10.
const ROUTE: &str = "\
    3c000000 1800 0200 01000000 a62c0000\
    02 00 00 00 fe 10 00 01 00000000\
    0800 0f00 fe000000 0800 0700 c000020a 0800 0500 c0000201 0800 0400 03000000";
/// `RTM_NEWROUTE` of the local route to 192.0.2.10, which is none of ours.
const LOCAL_ROUTE: &str = "\
    3c000000 1800 0200 01000000 a62c0000\
    02 20 00 00 ff 02 fe 02 00000000\
    0800 0f00 ff000000 0800 0100 c000020a 0800 0700 c000020a 0800 0400 03000000";

/// What `ip link add link 2 name vb.5 type vlan id 5` asks for.
#[test]
#[cfg(target_endian = "little")]
fn a_vlan_is_asked_for_as_ip_does() {
    let request = NetlinkRequest::AddVlan {
        name: "vb.5".to_owned(),
        parent: 2,
        id: 5,
    };
    let expected = "\
        50000000 1000 0506 07000000 00000000\
        00 00 0000 00000000 00000000 00000000\
        0900 0300 76622e3500 000000\
        0800 0500 02000000\
        1c00 1200 0900 0100 766c616e00 000000 0c00 0200 0600 0100 0500 0000";
    assert_eq!(request.encode(7), hex(expected));
}

/// What `ip link add bond0 mtu 9000 type bond mode 802.3ad miimon 100 primary eth1` asks for.
#[test]
#[cfg(all(feature = "bond", target_endian = "little"))]
fn a_bond_and_its_members_are_asked_for_as_ip_does() {
    let request = NetlinkRequest::AddBond {
        name: "bond0".to_owned(),
        options: BondOptions::parse("mode=802.3ad,miimon=100,primary=eth1").unwrap(),
        primary: Some(5),
        mtu_octets: Some(9000),
    };
    let expected = "\
        60000000 1000 0506 07000000 00000000\
        00 00 0000 00000000 00000000 00000000\
        0a00 0300 626f6e643000 0000\
        0800 0400 28230000\
        2c00 1200 0900 0100 626f6e6400 000000\
        1c00 0200 0500 0100 04 000000 0800 0300 64000000 0800 0b00 05000000";
    assert_eq!(request.encode(7), hex(expected));
    let request = NetlinkRequest::SetMaster {
        index: 3,
        master: 9,
    };
    let expected = "\
        28000000 1000 0500 07000000 00000000\
        00 00 0000 03000000 00000000 00000000\
        0800 0a00 09000000";
    assert_eq!(request.encode(7), hex(expected));
}

#[test]
#[cfg(target_endian = "little")]
fn links_addresses_and_routes_are_read_from_what_a_kernel_said() {
    let link = LinkInfo {
        index: 2,
        name: "vb".to_owned(),
        hardware_type: ARPHRD_ETHER,
        mac: Some(MacAddress([0x32, 0xf7, 0x2b, 0x4d, 0xd9, 0x82])),
        up: true,
        carrier: true,
        running: true,
        mtu_octets: Some(1500),
        master: None,
        kind: Some("veth".to_owned()),
        lower: None,
        has_partner: None,
        has_device: true,
        received: 0,
    };
    let address = Address {
        index: 3,
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix_len: 24,
        broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
        preferred_seconds: 3000,
        valid_seconds: 3600,
        details: AddressDetails::default(),
    };
    for (octets, message) in [
        (LINK, RouteMessage::NewLink(link)),
        (ADDRESS, RouteMessage::NewAddress(address)),
        (
            ROUTE,
            RouteMessage::NewRoute(installed(DEFAULT_ROUTE, &hex(ROUTE))),
        ),
        (LOCAL_ROUTE, RouteMessage::Other),
    ] {
        assert_eq!(decode_all(&hex(octets)), [Ok(message)]);
    }
}

#[test]
#[cfg(target_endian = "little")]
fn no_message_cut_short_or_with_a_wrong_length_is_read_past_its_end() {
    for golden in [LINK, ADDRESS, ROUTE] {
        let whole = hex(golden);
        for len in 1..whole.len() {
            let cut = decode_all(&whole[..len]);
            assert!(matches!(cut[..], [Err(_)]), "{len} of {golden}: {cut:?}");
        }
        // Attributes begin behind the fixed part: no length of the first may reach outside.
        for start in [24, 28, 32] {
            for len in [0_u16, 3, 0x7fff, 0xffff] {
                let mut octets = whole.clone();
                octets[start..start + 2].copy_from_slice(&len.to_ne_bytes());
                let _ = decode_all(&octets);
            }
        }
    }
}

#[test]
fn a_request_reads_back_as_what_was_asked_for() {
    let address = Address {
        index: 3,
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix_len: 24,
        broadcast: Some(Ipv4Addr::new(192, 0, 2, 255)),
        preferred_seconds: 3000,
        valid_seconds: FOREVER,
        details: AddressDetails {
            scope: 253,
            flags: IFA_F_NOPREFIXROUTE,
            metric: Some(300),
            protocol: Some(3),
        },
    };
    assert_eq!(
        decode_all(&NetlinkRequest::SetAddress(address).encode(1)),
        [Ok(RouteMessage::NewAddress(address))]
    );
    let on_link = KernelRoute {
        prefix_len: 32,
        destination: Ipv4Addr::new(198, 51, 100, 1),
        gateway: None,
        ..DEFAULT_ROUTE
    };
    for route in [DEFAULT_ROUTE, on_link] {
        let request = NetlinkRequest::AddRoute(route).encode(1);
        assert_eq!(
            decode_all(&request),
            [Ok(RouteMessage::NewRoute(installed(route, &request)))]
        );
    }
    let up = NetlinkRequest::SetUp { index: 7, up: true }.encode(1);
    assert!(matches!(
        &decode_all(&up)[..],
        [Ok(RouteMessage::NewLink(link))] if link.index == 7 && link.up
    ));
    let mtu = NetlinkRequest::SetMtu {
        index: 7,
        mtu_octets: 1400,
    };
    assert!(matches!(
        &decode_all(&mtu.encode(1))[..],
        [Ok(RouteMessage::NewLink(link))] if link.mtu_octets == Some(1400)
    ));
}

#[test]
#[cfg(target_endian = "little")]
fn a_deletion_names_the_address_and_not_its_lifetimes() {
    let address = Address {
        index: 3,
        address: Ipv4Addr::new(192, 0, 2, 10),
        prefix_len: 24,
        broadcast: None,
        preferred_seconds: 1,
        valid_seconds: 2,
        details: AddressDetails::default(),
    };
    let expected = hex("28000000 1500 0500 09000000 00000000\
         02 18 00 00 03000000 0800 0200 c000020a 0800 0100 c000020a");
    assert_eq!(NetlinkRequest::DeleteAddress(address).encode(9), expected);
}

#[test]
#[cfg(target_endian = "little")]
fn a_route_is_made_again_with_all_that_was_said_of_it_but_its_state() {
    // A metric of 7, an MTU of 1400, a router that is on the link by word of the flags (4), and no
    // carrier (16).
    let described = "\
        48000000 1800 0200 01000000 a62c0000\
        02 18 00 00 fe 04 00 01 14000000\
        0800 0100 cb007100 0800 0600 07000000 0800 0500 c0000201 0800 0400 03000000\
        0c00 0800 0800 0200 78050000";
    let messages = decode_all(&hex(described));
    let [Ok(RouteMessage::NewRoute(route))] = &messages[..] else {
        panic!("a route: {messages:?}");
    };
    assert_eq!((route.metric, route.is_of_dhcp()), (7, false));
    let request = |in_front| {
        let route = route.clone();
        NetlinkRequest::RestoreRoute { route, in_front }.encode(1)
    };
    let expected = described
        .replace("1800 0200 01000000 a62c0000", "1800 0504 01000000 00000000")
        .replace("14000000", "04000000");
    assert_eq!(request(true), hex(&expected));
    let behind = expected.replace("1800 0504", "1800 050c");
    assert_eq!(request(false), hex(&behind));
}

proptest! {
    #[test]
    fn nothing_that_claims_to_be_a_message_makes_the_decoder_panic(
        kind in 0_u16..40,
        flags in any::<u16>(),
        payload in proptest::collection::vec(any::<u8>(), 0..128),
    ) {
        let frame = NetlinkMessage { kind, flags, sequence: 1, payload: &payload };
        let _ = RouteMessage::decode(&frame);
    }
}

const DEFAULT_ROUTE: KernelRoute = KernelRoute {
    index: 3,
    destination: Ipv4Addr::UNSPECIFIED,
    prefix_len: 0,
    gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
    source: Some(Ipv4Addr::new(192, 0, 2, 10)),
};

/// A route that a DHCP client made, with the description that is in `datagram`.
fn installed(route: KernelRoute, datagram: &[u8]) -> InstalledRoute {
    InstalledRoute {
        route,
        metric: 0,
        protocol: RTPROT_DHCP,
        payload: datagram[16..].to_vec(),
    }
}

fn decode_all(datagram: &[u8]) -> Vec<Result<RouteMessage, DecodeError>> {
    frames(datagram)
        .map(|frame| frame.and_then(|frame| RouteMessage::decode(&frame)))
        .collect()
}

#[cfg(target_endian = "little")]
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

#[test]
#[cfg(target_endian = "little")]
fn a_link_is_asked_for_by_its_name_without_an_acknowledgement() {
    let expected = hex("2c000000 1200 0100 09000000 00000000\
         00 00 0000 00000000 00000000 00000000 0900 0300 6e65617200 000000");
    let request = NetlinkRequest::Link("near".to_owned());
    assert_eq!(request.encode(9), expected);
}
