//! Which interfaces are chosen, and what is said of the others.

use super::*;
use wireboot_proto::packet::ethernet::MacAddress;

#[test]
fn without_a_name_every_ethernet_device_is_chosen_and_nothing_virtual() {
    let links = [
        LinkInfo {
            hardware_type: 772,
            ..link(1, "lo")
        },
        device(2, "eth0"),
        device(3, "eth1"),
        LinkInfo {
            master: Some(7),
            ..device(4, "eth2")
        },
        device(5, "wlan0"),
        LinkInfo {
            kind: Some("veth".to_owned()),
            ..link(6, "veth0")
        },
        LinkInfo {
            kind: Some("bridge".to_owned()),
            ..link(7, "br0")
        },
        link(8, "eth3"),
    ];
    let facts = |name: &str| DeviceFacts {
        wireless: name == "wlan0",
        has_device: name == "eth3",
    };
    let selection = select(&LinkConfig::default(), links.iter(), facts);
    assert!(selection.is_complete());
    assert_eq!(names(&selection), ["eth0", "eth1", "eth3"]);
    let passed_over = [
        ("lo", "not Ethernet"),
        ("eth2", "port of br0"),
        ("wlan0", "wireless"),
        ("veth0", "virtual: name it to use it"),
        ("br0", "virtual: name it to use it"),
    ];
    let found = selection.passed_over.iter();
    let found: Vec<_> = found
        .map(|(name, why)| (&**name, why.to_string()))
        .collect();
    assert_eq!(found, passed_over.map(|(name, why)| (name, why.to_owned())));
}

#[test]
fn names_are_used_in_their_order_and_the_missing_one_is_reported() {
    let links = [device(2, "eth0"), device(3, "eth1"), link(4, "veth0")];
    let config = LinkConfig {
        interfaces: ["veth0", "eth0", "eth7"].map(str::to_owned).to_vec(),
        ..LinkConfig::default()
    };
    let selection = select(&config, links.iter(), |_| DeviceFacts::default());
    assert!(!selection.is_complete());
    assert_eq!(names(&selection), ["veth0", "eth0"]);
    assert_eq!(selection.missing, ["eth7"]);
}

#[test]
fn the_address_in_bootif_chooses_its_device_and_not_the_vlan_above_it() {
    let mac = MacAddress([0x52, 0x54, 0, 0, 0, 3]);
    let vlan = LinkInfo {
        mac: Some(mac),
        kind: Some("vlan".to_owned()),
        ..link(9, "eth1.7")
    };
    let links = [device(2, "eth0"), device(3, "eth1"), vlan];
    let config = LinkConfig {
        boot_interface: Some(mac),
        ..LinkConfig::default()
    };
    let selection = select(&config, links.iter(), |_| DeviceFacts::default());
    assert!(selection.is_complete());
    assert_eq!(names(&selection), ["eth1"]);
}

#[test]
fn a_failed_search_reports_what_was_found_and_why_it_was_not_usable() {
    let links = [device(2, "eth0"), link(8, "dummy0")];
    let config = LinkConfig {
        boot_interface: Some(MacAddress([0x52, 0x54, 0, 0, 0, 9])),
        ..LinkConfig::default()
    };
    let selection = select(&config, links.iter(), |_| DeviceFacts::default());
    let waited = Some(config.timeout);
    assert_eq!(
        selection.explain(&config, waited),
        "an interface with the BOOTIF address 52:54:00:00:00:09 did not appear within \
         30.0 s; found eth0 (not the BOOTIF address), dummy0 (virtual: name it to use it)"
    );
    let selection = select(&LinkConfig::default(), [].iter(), |_| {
        DeviceFacts::default()
    });
    assert_eq!(
        selection.explain(&LinkConfig::default(), waited),
        "none appeared within 30.0 s; no interface exists; is the driver of the NIC loaded?"
    );
}

#[test]
fn what_is_there_and_cannot_be_used_is_not_waited_for() {
    let links = [
        LinkInfo {
            hardware_type: ARPHRD_LOOPBACK,
            ..link(1, "lo")
        },
        LinkInfo {
            master: Some(7),
            ..device(2, "eth0")
        },
        LinkInfo {
            hardware_type: 0xfffe,
            mac: None,
            kind: Some("wireguard".to_owned()),
            ..link(3, "wg0")
        },
        LinkInfo {
            master: Some(8),
            ..device(4, "eth1")
        },
        LinkInfo {
            kind: Some("bridge".to_owned()),
            ..link(7, "br0")
        },
        LinkInfo {
            kind: Some("vrf".to_owned()),
            ..link(8, "red")
        },
    ];
    let none = |_: &str| DeviceFacts::default();
    let named = |names: &[&str]| LinkConfig {
        interfaces: names.iter().map(|name| (*name).to_owned()).collect(),
        ..LinkConfig::default()
    };
    let of = |config: &LinkConfig| select(config, links.iter(), none);
    for (names, expected) in [
        (&["eth0"][..], "eth0 is a port of br0; ask on br0"),
        (
            &["lo"],
            "lo is not Ethernet (loopback); ask on an Ethernet interface",
        ),
        (
            &["wg0"],
            "wg0 is not Ethernet (wireguard); ask on an Ethernet interface",
        ),
    ] {
        let config = named(names);
        let selection = of(&config);
        assert!(selection.is_hopeless(&config, false), "{names:?}");
        assert_eq!(selection.explain(&config, None), expected);
    }
    let config = named(&["eth1", "eth0"]);
    let selection = of(&config);
    assert!(selection.is_complete(), "the port of a VRF is used");
    assert_eq!(names(&selection), ["eth1"]);
    assert_eq!(selection.unusable.len(), 1);
    let config = named(&["eth0", "ehto1"]);
    let selection = of(&config);
    assert!(
        !selection.is_hopeless(&config, true),
        "one may still appear"
    );
    assert_eq!(
        selection.explain(&config, Some(config.timeout)),
        "eth0 is a port of br0; ask on br0; ehto1 did not appear within 30.0 s; \
         found lo, wg0, eth1, br0, red"
    );
    let mut config = named(&["v7"]);
    assert_eq!(of(&config).missing, ["v7"]);
    config.vlan = Some("v7:eht0".parse().unwrap());
    assert_eq!(of(&config).missing, ["eht0 (for the VLAN v7)"]);
    let config = LinkConfig {
        boot_interface: links[1].mac,
        ..LinkConfig::default()
    };
    let selection = of(&config);
    assert!(selection.is_hopeless(&config, false));
    let expected = "eth0 is a port of br0; ask on br0";
    assert_eq!(selection.explain(&config, None), expected);
}

#[test]
fn only_virtual_interfaces_are_hopeless_where_all_drivers_are_loaded() {
    let config = LinkConfig::default();
    let loopback = LinkInfo {
        hardware_type: ARPHRD_LOOPBACK,
        ..link(1, "lo")
    };
    let links = [loopback, link(2, "veth0")];
    let of = |links: &[LinkInfo]| select(&config, links.iter(), |_| DeviceFacts::default());
    let selection = of(&links);
    assert!(selection.is_hopeless(&config, true));
    assert!(!selection.is_hopeless(&config, false));
    assert_eq!(
        selection.explain(&config, None),
        "found lo (not Ethernet), veth0 (virtual: name it to use it)"
    );
    assert!(
        !of(&links[..1]).is_hopeless(&config, true),
        "a card may be plugged in"
    );
}

fn names(selection: &Selection) -> Vec<&str> {
    let chosen = selection.chosen.iter();
    chosen.map(|link| link.name.as_str()).collect()
}

fn device(index: u8, name: &str) -> LinkInfo {
    LinkInfo {
        has_device: true,
        ..link(index, name)
    }
}

fn link(index: u8, name: &str) -> LinkInfo {
    LinkInfo {
        index: index.into(),
        name: name.to_owned(),
        hardware_type: ARPHRD_ETHER,
        mac: Some(MacAddress([0x52, 0x54, 0, 0, 0, index])),
        up: false,
        carrier: false,
        running: false,
        mtu_octets: Some(1500),
        master: None,
        kind: None,
        lower: None,
        has_partner: None,
        has_device: false,
        received: 0,
    }
}
