//! The link layer against the running kernel, each test in a network namespace of its own.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use crate::common::{in_new_namespace, ip, wait_until};
use serde_json::Value;
use wireboot::config::LinkConfig;
use wireboot::error::Reason;
use wireboot::link::{self, Change, Link, Watch};
use wireboot::recorder::Recorder;
use wireboot_proto::dhcp::lease::{Lease, LeaseTimes, StaticRoute};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_named_interface_is_raised_and_waited_for_until_its_carrier_comes() {
    in_new_namespace(|| {
        ip("link add near type veth peer name far");
        // Threads start in the namespace of the one that starts them.
        let plug = thread::spawn(|| {
            wait_until("near is raised", || ip("-o link show near").contains(",UP"));
            ip("link set far up");
        });
        let links = link::up(&named(&["near"]), None).unwrap();
        plug.join().unwrap();
        assert_eq!(links.len(), 1);
        assert!(ip("-o link show near").contains("LOWER_UP"));
        for link in &links {
            assert!(ip("-o link show near").contains(&link.mac.to_string()));
            link.restore();
        }
        assert!(!ip("-o link show near").contains(",UP"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_that_was_up_before_stays_up() {
    in_new_namespace(|| {
        ip("link add near type veth peer name far");
        ip("link set near up");
        let link = found(&["near"]);
        link::raise(std::slice::from_ref(&link)).unwrap();
        link.restore();
        assert!(ip("-o link show near").contains(",UP"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn no_carrier_is_an_error_that_names_the_interfaces_and_leaves_them_as_they_were() {
    in_new_namespace(|| {
        ip("link add a1 type veth peer name a2");
        ip("link add b1 type veth peer name b2");
        let config = LinkConfig {
            timeout: Duration::from_millis(50),
            ..named(&["b1", "a1"])
        };
        let error = link::up(&config, None).unwrap_err();
        assert!(
            matches!(&*error, Reason::NoCarrier { interface, waited }
                if interface == "b1 a1" && *waited >= config.timeout),
            "{error:?}"
        );
        assert!(!ip("-o link show").contains("a1@a2: <BROADCAST,MULTICAST,UP"));
        assert!(!ip("-o link show a1").contains(",UP"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_name_virtual_interfaces_are_passed_over_and_told() {
    in_new_namespace(|| {
        ip("link add near type veth peer name far");
        let config = LinkConfig {
            timeout: Duration::ZERO,
            ..LinkConfig::default()
        };
        let error = link::find(&config, &Recorder::default(), None).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(text.contains("lo (not Ethernet)"), "{text}");
        assert!(text.contains("near (virtual: name it to use it)"), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_that_appears_late_is_waited_for() {
    in_new_namespace(|| {
        let search = thread::spawn(|| found(&["late"]));
        wait_until("the search listens to changes", || {
            let sockets = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
            let group = |line: &str| line.split_whitespace().nth(3) == Some("00000001");
            sockets.lines().any(group)
        });
        ip("link add late type veth peer name far");
        assert_eq!(search.join().unwrap().name, "late");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_is_set_whole_and_taken_back_whole() {
    in_new_namespace(|| {
        let link = pair();
        link::raise(std::slice::from_ref(&link)).unwrap();
        let lease = Lease {
            mtu_octets: Some(1400),
            ..lease([192, 0, 2, 10], 24, &[default_by([192, 0, 2, 1])])
        };
        link.configure(&lease).unwrap();
        let expected_routes = [
            "default via 192.0.2.1 dev near proto dhcp src 192.0.2.10",
            "192.0.2.0/24 dev near proto kernel scope link src 192.0.2.10",
        ];
        let address = address("near");
        assert_eq!(address["local"], "192.0.2.10");
        assert_eq!(address["prefixlen"], 24);
        assert_eq!(address["broadcast"], "192.0.2.255");
        let valid = address["valid_life_time"].as_u64().unwrap();
        let preferred = address["preferred_life_time"].as_u64().unwrap();
        assert!((3500..=3600).contains(&valid), "{valid}");
        assert!((3000..=3150).contains(&preferred), "{preferred}");
        assert_eq!(routes(), expected_routes);
        assert_eq!(mtu("near"), 1400);

        link.configure(&lease).unwrap();
        assert_eq!(routes(), expected_routes);

        link.restore();
        assert_eq!(address_count("near"), 0);
        assert_eq!(routes(), [""; 0]);
        assert_eq!(mtu("near"), 1500);
        assert!(!ip("-o link show near").contains(",UP"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_mtu_that_is_more_than_the_device_can_is_left_out() {
    in_new_namespace(|| {
        ip("tuntap add near mode tap");
        ip("link set near up");
        let lease = Lease {
            mtu_octets: Some(u16::MAX),
            ..lease([192, 0, 2, 10], 24, &[default_by([192, 0, 2, 1])])
        };
        found(&["near"]).configure(&lease).unwrap();
        assert_eq!(mtu("near"), 1500);
        assert_eq!(routes().len(), 2);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn another_lease_takes_the_place_of_the_first() {
    in_new_namespace(|| {
        let link = pair();
        link::raise(std::slice::from_ref(&link)).unwrap();
        let routers = [default_by([192, 0, 2, 1])];
        link.configure(&lease([192, 0, 2, 10], 24, &routers))
            .unwrap();
        link.configure(&lease([192, 0, 2, 77], 24, &routers))
            .unwrap();
        assert_eq!(address_count("near"), 1);
        assert_eq!(address("near")["local"], "192.0.2.77");
        assert_eq!(
            routes(),
            [
                "default via 192.0.2.1 dev near proto dhcp src 192.0.2.77",
                "192.0.2.0/24 dev near proto kernel scope link src 192.0.2.77",
            ]
        );
        link.restore();
        assert_eq!(address_count("near"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_one_address_reaches_its_router_by_a_route_of_its_own() {
    in_new_namespace(|| {
        let link = pair();
        link::raise(std::slice::from_ref(&link)).unwrap();
        let lease = lease([192, 0, 2, 10], 32, &[default_by([198, 51, 100, 1])]);
        link.configure(&lease).unwrap();
        assert_eq!(
            routes(),
            [
                "default via 198.51.100.1 dev near proto dhcp src 192.0.2.10",
                "198.51.100.1 dev near proto dhcp scope link src 192.0.2.10",
            ]
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_route_that_the_kernel_refuses_costs_that_route_alone() {
    in_new_namespace(|| {
        let link = pair();
        link::raise(std::slice::from_ref(&link)).unwrap();
        let beside = StaticRoute {
            destination: [203, 0, 113, 0].into(),
            prefix_len: 24,
            gateway: Some([192, 0, 2, 1].into()),
        };
        let lease = Lease {
            mtu_octets: Some(1400),
            // The broadcast address of the subnet is no router.
            ..lease([192, 0, 2, 10], 24, &[default_by([192, 0, 2, 255]), beside])
        };
        link.configure(&lease).unwrap();
        let expected = [
            "192.0.2.0/24 dev near proto kernel scope link src 192.0.2.10",
            "203.0.113.0/24 via 192.0.2.1 dev near proto dhcp src 192.0.2.10",
        ];
        assert_eq!(routes(), expected);
        assert_eq!((address_count("near"), mtu("near")), (1, 1400));
        link.restore();
        assert_eq!((address_count("near"), mtu("near")), (0, 1500));
        assert_eq!(routes(), [""; 0]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_somebody_else_set_stays_as_it_was() {
    in_new_namespace(|| {
        let link = pair();
        ip("link set near up");
        ip("address add 192.0.2.10/24 brd + dev near");
        ip("link add other type veth peer name beyond");
        ip("link set other up");
        ip("link set beyond up");
        ip("address add 203.0.113.5/24 dev other");
        ip("route add default via 203.0.113.1");
        let before = routes();
        link.configure(&lease([192, 0, 2, 10], 24, &[default_by([192, 0, 2, 1])]))
            .unwrap();
        assert!(ip("route get 198.51.100.9").contains("via 203.0.113.1"));
        assert_eq!(routes().len(), before.len() + 1);
        link.restore();
        assert_eq!(routes(), before);
        assert_eq!(address("near")["valid_life_time"], u32::MAX);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_watch_tells_the_state_and_then_carrier_and_departure() {
    in_new_namespace(|| {
        let link = pair();
        ip("link set near up");
        ip("link set far up");
        wait_until("near has a carrier", || {
            ip("-o link show near").contains("LOWER_UP")
        });
        let mut watch = Watch::open().unwrap();
        assert!(next_of(&mut watch, &link).link.carrier);
        ip("link set far down");
        while next_of(&mut watch, &link).link.carrier {}
        ip("link delete near");
        while !next_of(&mut watch, &link).gone {}
    });
}

/// Returns the next change of `link`, waiting for it.
fn next_of(watch: &mut Watch, link: &Link) -> Change {
    let deadline = wireboot::sys::now() + Duration::from_secs(30);
    loop {
        while let Some(change) = watch.next_change().unwrap() {
            if change.link.index == link.index() {
                return change;
            }
        }
        assert!(wireboot::sys::now() < deadline, "no change");
        watch.wait(deadline, None).unwrap();
    }
}

/// Makes a veth pair with the far end up, and finds the near end.
fn pair() -> Link {
    ip("link add near type veth peer name far");
    ip("link set far up");
    found(&["near"])
}

fn found(names: &[&str]) -> Link {
    link::find(&named(names), &Recorder::default(), None)
        .unwrap()
        .links
        .pop()
        .unwrap()
}

fn named(names: &[&str]) -> LinkConfig {
    LinkConfig {
        interfaces: names.iter().map(|name| (*name).to_owned()).collect(),
        ..LinkConfig::default()
    }
}

fn address_count(interface: &str) -> usize {
    addresses(interface).as_array().unwrap().len()
}

fn address(interface: &str) -> Value {
    addresses(interface).get(0).expect("an address").clone()
}

fn addresses(interface: &str) -> Value {
    let text = ip(&format!("-j -4 address show dev {interface}"));
    let links: Value = serde_json::from_str(&text).unwrap();
    let infos = links.as_array().unwrap().iter();
    let addresses = infos.flat_map(|link| link["addr_info"].as_array().cloned());
    Value::Array(addresses.flatten().collect())
}

/// Returns the main table, without what depends on when it is asked.
fn routes() -> Vec<String> {
    let text = ip("-4 route show");
    let lines = text.lines().map(|line| line.replace(" linkdown", ""));
    lines.map(|line| line.trim().to_owned()).collect()
}

fn mtu(interface: &str) -> u64 {
    let text = ip(&format!("-j link show dev {interface}"));
    let links: Value = serde_json::from_str(&text).unwrap();
    links.get(0).and_then(|link| link["mtu"].as_u64()).unwrap()
}

fn default_by(router: [u8; 4]) -> StaticRoute {
    StaticRoute {
        destination: Ipv4Addr::UNSPECIFIED,
        prefix_len: 0,
        gateway: Some(router.into()),
    }
}

fn lease(address: [u8; 4], prefix_len: u8, routes: &[StaticRoute]) -> Lease {
    Lease {
        routes: routes.to_vec(),
        times: Some(LeaseTimes {
            lease: Duration::from_secs(3600),
            renewal: Duration::from_secs(1800),
            rebinding: Duration::from_secs(3150),
        }),
        ..Lease::fixed(address.into(), prefix_len)
    }
}
