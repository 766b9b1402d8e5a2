use super::*;
use crate::config::Family;
use crate::config::Vlan;
use crate::config::{
    BootConfig, Detection, DhcpConfig, FetchConfig, Identify, LinkConfig, OnFailure, OnLocalBoot,
    OutputConfig, Stage, StaticConfig,
};
use proptest::prelude::*;
use std::net::Ipv4Addr;

#[test]
fn what_is_told_to_servers_and_asked_of_them_can_be_said() {
    let line = parse(
        "wireboot.client_id=duid wireboot.request=108,tz-posix wireboot.hostname=node7.example \
         wireboot.no-request=ntp-servers wireboot.hostname=$(reboot) ip=::::a;b::dhcp",
        Config::default(),
    );
    let introduction = &line.config.dhcp.introduction;
    assert_eq!(introduction.client_id, crate::config::ClientId::Duid);
    assert_eq!(introduction.requested, [108, 100]);
    assert_eq!(introduction.not_requested, [42]);
    assert_eq!(
        line.config.dhcp.given.host_name.as_deref(),
        Some("node7.example")
    );
    let refused: Vec<_> = line.remarks.iter().filter_map(Remark::refusal).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
}

#[test]
fn every_form_of_ip_in_the_manuals_is_understood() {
    for (value, meaning) in [
        // Documentation/admin-guide/nfs/nfsroot.rst of the kernel, and klibc.
        ("dhcp", "an address by DHCP on any interface"),
        ("both", "an address by DHCP on any interface"),
        ("bootp", "an address by DHCP on any interface"),
        ("eth0", "an address by DHCP on eth0"),
        ("::::::dhcp", "an address by DHCP on any interface"),
        (":::::eth0:dhcp", "an address by DHCP on eth0"),
        (":::::eth0", "an address by DHCP on eth0"),
        (
            "::::client:eth0:dhcp",
            "an address by DHCP on eth0, host name client",
        ),
        (
            "192.0.2.10::::client:eth0:dhcp",
            "by DHCP, if possible 192.0.2.10 on eth0, host name client",
        ),
        (
            ":::::eth0:dhcp:192.0.2.53:192.0.2.54:192.0.2.123",
            "an address by DHCP on eth0, resolver 192.0.2.53, resolver 192.0.2.54, time server \
             192.0.2.123",
        ),
        (
            ":::::eth0:dhcp::192.0.2.54",
            "an address by DHCP on eth0, resolver 192.0.2.54",
        ),
        // dracut.cmdline(7), NetworkManager's and systemd's generators.
        ("single-dhcp", "an address by DHCP on any interface"),
        ("eth0:dhcp", "an address by DHCP on eth0"),
        ("eth0:dhcp:1400", "an address by DHCP on eth0, MTU 1400"),
        ("eth0:dhcp,dhcp4", "an address by DHCP on eth0"),
        (
            "eth0:dhcp::52:54:00:12:34:56",
            "an address by DHCP on eth0, hardware address 52:54:00:12:34:56",
        ),
        (
            "eth0:dhcp:9000:52-54-00-12-34-56",
            "an address by DHCP on eth0, MTU 9000, hardware address 52:54:00:12:34:56",
        ),
    ] {
        assert_eq!(followed(&format!("ip={value}")), [meaning], "{value}");
    }
}

#[test]
fn every_word_for_ipv6_is_understood_with_its_family() {
    let (v6, both) = (
        "IPv6 by routers and DHCPv6",
        "an address by DHCP, or IPv6, whichever boots",
    );
    for (value, meaning, family) in [
        ("dhcp6", v6, Family::V6),
        ("auto6", v6, Family::V6),
        ("either6", v6, Family::V6),
        ("dhcp6,auto6", v6, Family::V6),
        ("link6", "IPv6 on the link alone", Family::V6),
        ("link-local", "IPv6 on the link alone", Family::V6),
        ("auto", both, Family::Either),
        ("any", both, Family::Either),
        ("on", both, Family::Either),
        ("dhcp,dhcp6", both, Family::Either),
        ("auto6,dhcp", both, Family::Either),
        ("dhcp6,dhcp4", both, Family::Either),
        ("dhcp4,auto6", both, Family::Either),
        ("either6,dhcp", both, Family::Either),
        ("dhcp4", "an address by DHCP", Family::V4),
        ("dhcp", "an address by DHCP", Family::V4),
    ] {
        for (value, on) in [
            (value.to_owned(), "any interface"),
            (format!("eth0:{value}"), "eth0"),
            (format!(":::::eth0:{value}"), "eth0"),
        ] {
            let line = parse(&format!("ip={value}"), Config::default());
            assert_eq!(line.config.dhcp.family, Some(family), "{value}");
            assert_eq!(
                line.config.dhcp.given.ipv6.is_link_only,
                value.contains("link")
            );
            assert_eq!(
                followed(&format!("ip={value}")),
                [format!("{meaning} on {on}")]
            );
        }
    }
    for (text, family) in [
        ("ip=eth0:dhcp ip=eth0:dhcp6", Family::Either),
        ("wireboot.family=6 ip=dhcp", Family::V6),
        ("ip=auto wireboot.family=4", Family::V4),
        ("ip=192.0.2.7", Family::V4),
        // Of initramfs-tools.
        ("ip6=dhcp", Family::V6),
        ("ip6=on", Family::V6),
        ("ip6=eth1", Family::V6),
        ("ip6=off", Family::V4),
        ("ip=any ip6=none", Family::V4),
        ("ip=dhcp ip6=dhcp", Family::Either),
        ("ip=eth0:dhcp ip6=off", Family::V4),
        // By its hardware address.
        ("ip=52-54-00-12-34-56:dhcp6", Family::V6),
        ("ip=enx525400123456:auto6:1400", Family::V6),
    ] {
        assert_eq!(
            parse(text, Config::default()).config.dhcp.family,
            Some(family),
            "{text}"
        );
    }
    for (text, reason) in [
        ("ip=link6,dhcp6", "contradicts itself"),
        ("ip=[2001:db8::5::eth0:none", "is not an address"),
        (
            "ip=[2001:db8::5]:::129::eth0:none",
            "\"129\" is not a netmask",
        ),
        ("ip=[192.0.2.1]:::24::eth0:none", "is not an address"),
        ("rd.route=[2001:db8::]/129:[fe80::1]", "not a network"),
        ("rd.route=[2001:db8::]/32:192.0.2.1", "not a network"),
        ("nameserver=[2001:db8::53", "is not an address"),
        (
            "ip=[2001:db8::5]:::[ffff::1]::eth0:none",
            "\"[ffff::1]\" is not a netmask",
        ),
        ("ip=[2001:db8::5/129]::::::none", "is not a netmask"),
        ("ip=[2001:db8::5]/x::::::none", "is not a netmask"),
        ("ip=2001:db8::5::[fe80::1]:64::eth0:none", ""),
        ("ip6=no/such", ""),
    ] {
        assert_refused(text, reason);
    }
}

#[test]
fn a_given_address_of_ipv6_is_read_with_all_that_goes_with_it() {
    let text = "ip=[2001:db8::5]::[fe80::1]:64:node7:eth0:none:[2001:db8::53]:1 \
                nameserver=[2001:db8::54] nameserver=2001:db8::55 nameserver=192.0.2.53 \
                rd.route=[2001:db8:9::1]/48:[2001:db8::9] rd.route=[2001:db8:8::]/48";
    let text = text.replace(":1 ", " ");
    let line = parse(&text, Config::default());
    let given = &line.config.dhcp.given;
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap();
    assert_eq!(line.config.dhcp.family, Some(Family::V6));
    assert_eq!(given.ipv6.address, Some((address("2001:db8::5"), 64)));
    assert_eq!(
        given.ipv6.routes,
        [
            (address("2001:db8:9::"), 48, Some(address("2001:db8::9"))),
            (address("2001:db8:8::"), 48, None),
            (address("::"), 0, Some(address("fe80::1"))),
        ]
    );
    let servers = ["2001:db8::54", "2001:db8::55", "2001:db8::53"].map(address);
    assert_eq!(given.ipv6.dns, servers);
    assert_eq!(given.dns, ["192.0.2.53".parse::<Ipv4Addr>().unwrap()]);
    assert_eq!(given.host_name.as_deref(), Some("node7"));
    assert_eq!(line.config.link.interfaces, ["eth0"]);
    for (value, meaning) in [
        ("[2001:db8::5]", "2001:db8::5/64 on any interface"),
        ("[2001:db8::5]/96", "2001:db8::5/96 on any interface"),
        ("[2001:db8::5/48]:::::eth0:none", "2001:db8::5/48 on eth0"),
        // The field of its own counts.
        ("[2001:db8::5/48]:::56::eth0:off", "2001:db8::5/56 on eth0"),
        (
            "[2001:db8::5]:::[ffff:ffff:ffff:ff00::]::eth0:static",
            "2001:db8::5/56 on eth0",
        ),
        (
            "[2001:db8::5]::[2001:db8::1]:128:n:eth0:none:1400:52:54:00:12:34:56",
            "2001:db8::5/128 on eth0, gateway 2001:db8::1, host name n, MTU 1400, hardware address \
             52:54:00:12:34:56",
        ),
        (
            "[2001:db8::5]::[fe80::1]:64::eth0:none:[2001:db8::53]:[2001:db8::54]",
            "2001:db8::5/64 on eth0, gateway fe80::1, resolver 2001:db8::53, resolver 2001:db8::54",
        ),
    ] {
        assert_eq!(ip::parse(value).unwrap().to_string(), meaning, "{value}");
    }
    let with_server = "ip=[2001:db8::5]:[2001:db8::9]::64::eth0:none";
    let remarks = parse(with_server, Config::default()).remarks;
    let is_told = remarks.iter().any(
        |remark| matches!(&remark.meaning, Meaning::Refused(why) if why.contains("the server")),
    );
    assert!(is_told, "{remarks:?}");
}

#[test]
fn an_address_without_dhcp_is_read_in_every_form() {
    for (value, meaning) in [
        (
            "192.0.2.10:192.0.2.1:192.0.2.254:255.255.255.0:client:eth0:off",
            "192.0.2.10/24 on eth0, server 192.0.2.1, gateway 192.0.2.254, host name client",
        ),
        (
            "192.0.2.10:::255.255.255.128",
            "192.0.2.10/25 on any interface",
        ),
        (
            "192.0.2.10::192.0.2.254:24::eth0:none",
            "192.0.2.10/24 on eth0, gateway 192.0.2.254",
        ),
        (
            "192.0.2.10::192.0.2.254:24::eth0:none:1400:52:54:00:12:34:56",
            "192.0.2.10/24 on eth0, gateway 192.0.2.254, MTU 1400, hardware address \
             52:54:00:12:34:56",
        ),
        ("192.0.2.10", "192.0.2.10/24 on any interface"),
        ("192.0.2.10::", "192.0.2.10/24 on any interface"),
        ("172.16.0.1:::", "172.16.0.1/16 on any interface"),
    ] {
        assert_eq!(ip::parse(value).unwrap().to_string(), meaning, "{value}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_reason() {
    for (text, reason) in [
        (
            "ip=192.0.2.10::::client:eth0:dhcp",
            "it sets the address with DHCP",
        ),
        (
            "ip=:::::eth0:dhcp:192.0.2.53::192.0.2.123",
            "it sets the time server",
        ),
        (
            "ip=eth0:dhcp::52:54:00:12:34:56",
            "it sets the hardware address",
        ),
        ("ip=off", "disables the network"),
        ("ip=none", "disables the network"),
        ("ip=dhcp,off", "\"dhcp,off\" contradicts itself"),
        ("ip=eth0:dhcp,x", "\"dhcp,x\" is not a way"),
        ("ip=rarp", "RARP"),
        ("ip=ibft", "iSCSI"),
        ("ip=eth0:dchp", "\"dchp\" is not a way"),
        (
            "ip=192.0.2.10:::255.0.255.0",
            "\"255.0.255.0\" is not a netmask",
        ),
        ("ip=192.0.2.10:::33", "\"33\" is not a netmask"),
        ("ip=192.0.2.10:x", "the server: \"x\" is not an address"),
        ("ip=eth0:dhcp:12", "\"12\" is not an MTU"),
        (
            "ip=eth0:dhcp:1400:52:54",
            "\"52:54\" is not a hardware address",
        ),
        (
            "ip=:::::a-name-far-too-long:dhcp",
            "not the name of an interface",
        ),
        ("vlan=eth0:eth0", "does not end with its number"),
        ("vlan=eth0.4095:eth0", "does not end with its number"),
        ("vlan=eth0.7", "a colon"),
        ("team=team0:eth0,eth1", "a team cannot be set up"),
        ("bridge=br0:eth0", "a bridge cannot be set up"),
        ("nameserver=resolver", "\"resolver\" is not an address"),
        ("rd.route=198.51.100.0/33:192.0.2.1", "not a network"),
        ("rd.route=198.51.100.0/24:router", "no router"),
        ("BOOTIF=eth0", "hardware address"),
        ("ifname=net0", "hardware address"),
        (
            "wireboot.on-failure=panic",
            "is none of retry, shell, reboot, poweroff",
        ),
        ("wireboot.timeout=soon", "\"soon\" is not a number"),
        ("wireboot.boot-file", "wireboot.boot-file=VALUE"),
        ("wireboot.colour=blue", "unknown setting"),
    ] {
        assert_refused(text, reason);
    }
    assert_refused("rd.route=192.0.2.0/24:[2001:db8::1]", "not a network");
    #[cfg(feature = "bond")]
    for (text, reason) in [
        ("vlan=try:7,4095", "not 1 to 32 VLANs"),
        ("vlan=try:", "not 1 to 32 VLANs"),
        (
            "bond=bond0:eth0,eth1:mode=5,miimon=x",
            "miimon=x is not possible",
        ),
        (
            "wireboot.bond=bond0:eth0:mode=9",
            "not a bond: mode=9 is not possible",
        ),
    ] {
        assert_refused(text, reason);
    }
    #[cfg(not(feature = "bond"))]
    for text in ["vlan=try:7", "bond=bond0:eth0", "wireboot.bond=bond0"] {
        assert_refused(text, "built without the feature \"bond\"");
    }
}

fn assert_refused(text: &str, reason: &str) {
    let refusals = apply(text, &mut Config::default());
    let [refusal] = &refusals[..] else {
        panic!("{text}: {refusals:?}");
    };
    assert!(refusal.contains(reason), "{text}: {refusal}");
    assert!(
        refusal.starts_with(&format!("\"{text}\" on the")),
        "{refusal}"
    );
}

#[test]
fn own_settings_reach_the_configuration() {
    let mut config = Config::default();
    let refusals = apply(
        "root=/dev/ram0 wireboot.interface=eth0,eth1 wireboot.link_timeout=5 wireboot.timeout=2.5 \
         wireboot.stop-after=plan wireboot.append=\"console=ttyS0 quiet\" \
         wireboot.boot-file=http://192.0.2.1/menu.ipxe wireboot.on-failure=poweroff \
         wireboot.on-localboot=reboot wireboot.quiet \
         wireboot.identify=http wireboot.acd=off wireboot.proxy-wait=0 wireboot.mirror=http://a/ \
         wireboot.mirror=http://b/ wireboot.lease-dir=/mnt/leases -- wireboot.interface=eth9",
        &mut config,
    );
    assert_eq!(refusals, [""; 0]);
    let expected = Config {
        link: LinkConfig {
            interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
            timeout: Duration::from_secs(5),
            ..LinkConfig::default()
        },
        dhcp: DhcpConfig {
            timeout: Duration::from_millis(2500),
            identify: Identify::Http,
            proxy_wait: Some(Duration::ZERO),
            detection: Detection::Off,
            lease_directory: Some("/mnt/leases".into()),
            ..DhcpConfig::default()
        },
        boot: BootConfig {
            stop_after: Some(Stage::Plan),
            append: Some("console=ttyS0 quiet".to_owned()),
            file: Some("http://192.0.2.1/menu.ipxe".to_owned()),
            on_failure: OnFailure::PowerOff,
            on_local_boot: Some(OnLocalBoot::Reboot),
            ..BootConfig::default()
        },
        fetch: FetchConfig {
            mirrors: vec!["http://a/".to_owned(), "http://b/".to_owned()],
            ..FetchConfig::default()
        },
        output: OutputConfig {
            quiet: true,
            ..OutputConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn words_of_others_change_nothing_and_a_wrong_one_does_not_stop_the_rest() {
    let mut config = Config::for_boot();
    let text = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet console=ttyS0,115200n8\n";
    assert_eq!(apply(text, &mut config), [""; 0]);
    let expected = Config::for_boot();
    #[cfg(feature = "root")]
    let expected = {
        let mut expected = expected;
        expected.root.is_writable = Some(false);
        expected
    };
    assert_eq!(config, expected);
    assert_eq!(
        apply("ip=rarp wireboot.timeout=-1 wireboot.quiet", &mut config).len(),
        2
    );
    assert!(config.output.quiet);
}

#[test]
fn the_interface_is_found_by_name_by_address_and_by_alias() {
    let mac = MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    for (text, names, address) in [
        ("", &[][..], None),
        ("ip=eth0:dhcp ip=eth1:dhcp", &["eth0", "eth1"], None),
        ("ip=eth0:dhcp ip=eth1:dhcp bootdev=eth1", &["eth1"], None),
        ("ip=dhcp BOOTIF=01-52-54-00-12-34-56", &[], Some(mac)),
        ("BOOTIF=52:54:00:12:34:56", &[], Some(mac)),
        ("ifname=net0:52:54:00:12:34:56 ip=net0:dhcp", &[], Some(mac)),
        ("ip=net0:dhcp ifname=net0:52:54:00:12:34:56", &[], Some(mac)),
        ("ip=enx525400123456:dhcp", &[], Some(mac)),
        ("BOOTIF=01-52-54-00-12-34-56 rd.bootif=0", &[], None),
        ("vlan=eth0.7:eth0", &["eth0.7"], None),
        ("vlan=eth0.7:eth0 ip=eth1:dhcp", &["eth1"], None),
    ] {
        let config = parse(text, Config::default()).config;
        assert_eq!(config.link.interfaces, names, "{text}");
        assert_eq!(config.link.boot_interface, address, "{text}");
    }
}

#[test]
fn an_address_without_dhcp_and_all_that_goes_with_it_is_given() {
    let text = "ip=eth1:dhcp ip=192.0.2.10:192.0.2.2:192.0.2.1:24:client:eth0:none:1400 \
                nameserver=192.0.2.53 rd.route=198.51.100.0/24:192.0.2.254 rd.peerdns=0";
    let line = parse(text, Config::default());
    let gateway = Some(Ipv4Addr::new(192, 0, 2, 1));
    let given = StaticConfig {
        address: Some((Ipv4Addr::new(192, 0, 2, 10), 24)),
        server: Some(Ipv4Addr::new(192, 0, 2, 2)),
        routes: vec![
            (
                Ipv4Addr::new(198, 51, 100, 0),
                24,
                Some(Ipv4Addr::new(192, 0, 2, 254)),
            ),
            (Ipv4Addr::UNSPECIFIED, 0, gateway),
        ],
        dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
        ignores_server_dns: true,
        host_name: Some("client".to_owned()),
        mtu_octets: Some(1400),
        ipv6: wireboot_proto::ipv6::lease::Given6::default(),
    };
    assert_eq!(line.config.dhcp.given, given);
    assert_eq!(line.config.link.interfaces, ["eth0"]);
    let refusals: Vec<_> = line.remarks.iter().filter_map(Remark::refusal).collect();
    let [refusal] = &refusals[..] else {
        panic!("{refusals:?}");
    };
    assert!(refusal.starts_with("\"ip=eth1:dhcp\""), "{refusal}");
}

#[test]
fn a_vlan_is_read_in_every_spelling() {
    for (name, id) in [
        ("eth0.7", 7),
        ("eth0.0007", 7),
        ("vlan7", 7),
        ("vlan0042", 42),
    ] {
        let line = parse(&format!("vlan={name}:eth0"), Config::default());
        let vlan = Vlan {
            name: name.to_owned(),
            id,
            parent: "eth0".to_owned(),
        };
        assert_eq!(line.config.link.vlan, Some(vlan));
    }
}

#[test]
#[cfg(feature = "bond")]
fn the_interface_is_what_is_made_last_unless_another_is_named() {
    for (text, name) in [
        ("vlan=try:7", None),
        ("bond=bond0:eth0,eth1 ip=dhcp", Some("bond0")),
        ("ip=bond0:dhcp wireboot.bond=bond0:eth0,eth1", Some("bond0")),
        ("bond=bond0 vlan=bond0.7:bond0", Some("bond0.7")),
        ("bond=bond0:eth0,eth1 ip=eth2:dhcp", Some("eth2")),
    ] {
        let config = parse(text, Config::default()).config;
        let interfaces: Vec<_> = name.into_iter().collect();
        assert_eq!(config.link.interfaces, interfaces, "{text}");
    }
}

#[test]
#[cfg(feature = "bond")]
fn a_bond_is_one_of_the_interfaces_that_ifname_means() {
    let text = "bond=bond0:net0,eth1:mode=1,primary=net0 ifname=net0:52:54:00:12:34:56";
    let line = parse(text, Config::default());
    assert_eq!(line.remarks.iter().filter_map(Remark::refusal).count(), 0);
    let bond = line.config.link.bond.unwrap();
    assert_eq!(bond.members, "52:54:00:12:34:56,eth1");
    assert!(
        bond.options
            .as_str()
            .contains(",primary=52:54:00:12:34:56,"),
        "{bond:?}"
    );
    let line = parse("bond=a:x bond=b:y vlan=try:7,12", Config::default());
    let refusals: Vec<_> = line.remarks.iter().filter_map(Remark::refusal).collect();
    assert!(
        matches!(&refusals[..], [one] if one.contains("another bond is configured: a")),
        "{refusals:?}"
    );
    assert_eq!(line.config.link.vlans_to_try, "7,12".parse().ok());
}

proptest! {
    #[test]
    fn no_command_line_makes_the_reader_panic(text in "\\PC{0,80}", ip in "[0-9a-z.:,\\[\\]]{0,40}") {
        let _ = parse(&text, Config::default());
        let line = parse(&format!("ip={ip}"), Config::default());
        prop_assert!((1..=2).contains(&line.remarks.len()));
    }
}

fn followed(text: &str) -> Vec<String> {
    let line = parse(text, Config::default());
    let meanings = line
        .remarks
        .into_iter()
        .filter_map(|remark| match remark.meaning {
            Meaning::Followed(meaning) => Some(meaning),
            Meaning::Needless(_) | Meaning::Refused(_) => None,
        });
    meanings.collect()
}

#[test]
fn quotes_are_read_as_the_kernel_reads_them() {
    for (text, expected) in [
        ("", &[][..]),
        (" a  b\tc\n", &["a", "b", "c"]),
        ("x=\"a b\" c", &["x=a b", "c"]),
        ("\"x=a b\" c", &["x=a b", "c"]),
        ("x=a\" \"b", &["x=a\" \"b"]),
        ("x=\"never closed here", &["x=never closed here"]),
        ("\"\"", &[""]),
    ] {
        assert_eq!(words(text), expected, "{text}");
    }
}

#[test]
fn any_offer_will_do_for_a_boot_file_that_is_a_whole_url() {
    let second = Duration::from_secs(1);
    for (words, wait, late_wait) in [
        ("", Some(second), Duration::from_secs(11)),
        (
            "wireboot.boot-file=http://192.0.2.1/a",
            None,
            Duration::ZERO,
        ),
        ("wireboot.boot-file=/a", Some(second), Duration::ZERO),
        (
            "wireboot.boot-file=http://${next-server}/a",
            Some(second),
            Duration::ZERO,
        ),
        (
            "wireboot.boot-file=http://192.0.2.1/a wireboot.proxy-wait=3",
            Some(3 * second),
            Duration::ZERO,
        ),
        (
            "wireboot.proxy-wait=3 wireboot.boot-file=http://192.0.2.1/a",
            Some(3 * second),
            Duration::ZERO,
        ),
    ] {
        let mut config = Config::for_boot();
        assert_eq!(apply(words, &mut config), [""; 0], "{words}");
        let waits = (config.dhcp.proxy_wait, config.dhcp.late_wait);
        assert_eq!(waits, (wait, late_wait), "{words}");
    }
}
