//! DHCPv6 with Kea and ISC's server, beside a router or without one, and through a relay.

use nix::sys::signal::Signal;

use crate::common::client::keep;
use crate::common::far::{Far, Server};
use crate::common::{in_new_namespace, ip, wait_until};
use crate::ipv6::{
    FORMED, POOL, ROUTER, addresses, beside, is_as_found, kea, kea_config, leased, radvd,
    radvd_config,
};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_is_asked_where_no_router_is() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _server = kea(&far, POOL);
        let (report, _) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], "2001:db8:1::200");
        assert_eq!(report["server"], ROUTER);
        assert_eq!(report["routes"].as_array().unwrap().len(), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_without_addresses_is_asked_for_the_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let options = r#""option-data": [ { "name": "bootfile-url", "data": "http://[2001:db8:1::1]/x" },
                { "name": "v6-captive-portal", "data": "https://portal.example/api" } ],
            "subnet6": [ { "id": 1, "subnet": "2001:db8:1::/64", "interface": "far", "pools": [ ] } ]"#;
        let _server = kea(&far, options);
        let _router = radvd(&far, "AdvManagedFlag on; prefix 2001:db8:1::/64 { };");
        let (report, log) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], FORMED);
        assert_eq!(report["boot_file"], "http://[2001:db8:1::1]/x");
        assert_eq!(report["captive_portal"], "https://portal.example/api");
        assert!(log.contains("a captive portal is here"), "{log}");
        assert!(log.contains("NoAddrsAvail"), "{log}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_preferred_of_two_servers_grants_the_address() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let other = beside(&far);
        // Kea sends this option, which is never asked for, only where it is told to.
        let pool = |host: &str, preference: u8| {
            format!(
                r#""option-data": [ {{ "name": "preference", "data": "{preference}", "always-send": true }} ],
                "subnet6": [ {{ "id": 1, "subnet": "2001:db8:1::/64", "interface": "far",
                "pools": [ {{ "pool": "2001:db8:1::{host}/128" }} ] }} ]"#
            )
        };
        let _servers = [kea(&far, &pool("200", 10)), kea(&other, &pool("300", 20))];
        let (report, log) = leased(&[]);
        assert_eq!(
            report["addresses"][0]["address"], "2001:db8:1::300",
            "{log}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_is_renewed_and_given_back() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let short = POOL
            .replace("600", "8")
            .replace("500", "6")
            .replace("100", "2")
            .replace("\"rebind-timer\": 200", "\"rebind-timer\": 5");
        let server = kea(&far, &short);
        let _router = radvd(&far, "AdvManagedFlag on;");
        let mut client = keep(&["--family", "6", "-vv"]);
        client.wait_for("2001:db8:1::200/128 from a server");
        let is_there = || addresses().contains("2001:db8:1::200/128");
        assert!(is_there());
        client.wait_for("RENEW");
        client.forget();
        // After the first lease is over.
        client.wait_for("RENEW");
        client.forget();
        client.wait_for("RENEW");
        client.forget();
        client.wait_for("RENEW");
        assert!(is_there(), "{}", addresses());
        assert_eq!(client.count("REBIND"), 0);
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        is_as_found();
        server.wait_for("DHCP6_RELEASE_NA");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_network_that_is_renumbered_is_followed() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = kea(&far, POOL);
        let router = radvd(
            &far,
            "AdvManagedFlag on; prefix 2001:db8:1::/64 { AdvAutonomous off; };",
        );
        let mut client = keep(&["--family", "6", "-vv"]);
        client.wait_for("2001:db8:1::200/128 from a server");
        kea_config(
            &far,
            &POOL
                .replace("2001:db8:1::", "2001:db8:2::")
                .replace("\"id\": 1", "\"id\": 2"),
        );
        radvd_config(
            &far,
            "AdvManagedFlag on; prefix 2001:db8:2::/64 { AdvAutonomous off; };
            prefix 2001:db8:1::/64 { AdvAutonomous off; AdvValidLifetime 0; AdvPreferredLifetime 0; };",
        );
        router.signal(Signal::SIGHUP);
        server.signal(Signal::SIGHUP);
        server.wait_for("DHCP6_DYNAMIC_RECONFIGURATION_SUCCESS");
        client.signal(Signal::SIGHUP);
        // The old one has 600 s left, and ends by the word of the server.
        wait_until("the new address alone", || {
            addresses().contains("2001:db8:2::200/128") && !addresses().contains("2001:db8:1::200")
        });
        let routes = || ip("-6 route show dev near proto ra");
        wait_until("the new network alone is on the link", || {
            routes().contains("2001:db8:2::/64") && !routes().contains("2001:db8:1::")
        });
        assert_eq!(
            client.count("near: REBIND") + client.count("near: CONFIRM"),
            0
        );
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        is_as_found();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_is_confirmed_when_the_carrier_returns_and_left_on_another_link() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = kea(&far, POOL);
        let mut client = keep(&["--family", "6", "-vv"]);
        client.wait_for("2001:db8:1::200/128 from a server");
        let replug = || {
            far.run("ip link set far down");
            // The kernel tells nobody of what is shorter than a second (linkwatch).
            wait_until("the carrier is lost", || {
                !ip("link show near").contains("state UP")
            });
            far.run("ip link set far up");
        };
        replug();
        client.wait_for("near: CONFIRM");
        assert!(
            addresses().contains("2001:db8:1::200/128"),
            "{}",
            addresses()
        );
        client.forget();
        // Another network behind the same port.
        drop(server);
        far.run("ip address flush dev far scope global");
        far.run("ip address add 2001:db8:2::1/64 dev far nodad");
        let _server = kea(&far, &POOL.replace("2001:db8:1::", "2001:db8:2::"));
        replug();
        client.wait_for("near: CONFIRM");
        wait_until("the address of the other link is gone", || {
            !addresses().contains("2001:db8:1::200") && addresses().contains("2001:db8:2::200/128")
        });
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        is_as_found();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_grants_an_address_by_two_messages() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let pool = POOL.replace(
            r#""interface": "far","#,
            r#""interface": "far", "rapid-commit": true,"#,
        );
        let _server = kea(&far, &pool);
        let (report, log) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], "2001:db8:1::200");
        assert!(!log.contains("near: REQUEST"), "{log}");
    });
}

/// ISC's server on `far`.
fn dhcpd(far: &Far, config: &str) -> Server {
    let config = far.write("dhcpd6.conf", config);
    let leases = far.write("dhcpd6.leases", "");
    far.serve(
        &format!("dhcpd -6 -f -d --no-pid -cf {config} -lf {leases} far"),
        "Server starting service",
    )
}

/// A subnet of that server with one address.
fn subnet(more: &str) -> String {
    format!(
        "default-lease-time 600; preferred-lifetime 500; authoritative;
        option dhcp6.bootfile-url \"tftp://[2001:db8:1::1]/boot.ipxe\";
        option dhcp6.name-servers 2001:db8:1::53; option dhcp6.domain-search \"lab.example\";
        subnet6 2001:db8:1::/64 {{ range6 2001:db8:1::300 2001:db8:1::300; }} {more}"
    )
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_of_isc_grants_an_address_and_a_boot_file_and_takes_it_back() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = dhcpd(&far, &subnet(""));
        let (report, log) = leased(&[]);
        assert_eq!(
            report["addresses"][0]["address"], "2001:db8:1::300",
            "{log}"
        );
        assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/boot.ipxe");
        assert_eq!(report["dns"][0], "2001:db8:1::53");
        assert_eq!(report["search"][0], "lab.example");
        // The same client has the same address, and gives it back.
        let mut client = keep(&["--family", "6"]);
        client.wait_for("2001:db8:1::300/128 from a server");
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        server.wait_for("Release message from");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_of_isc_without_addresses_answers_a_question_for_a_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let config = subnet("").replace("range6 2001:db8:1::300 2001:db8:1::300;", "");
        let _server = dhcpd(&far, &config);
        // Whether routers say that it has addresses or not.
        for flag in ["AdvOtherConfigFlag", "AdvManagedFlag"] {
            let _router = radvd(&far, &format!("{flag} on; prefix 2001:db8:1::/64 {{ }};"));
            let (report, log) = leased(&[]);
            assert_eq!(report["addresses"][0]["address"], FORMED, "{log}");
            assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/boot.ipxe");
        }
    });
}

/// Makes a namespace behind `host`, which it reaches by 2001:db8:`network`::/64, and waits until relays between
/// them can send.
fn linked(host: &Far, network: u8) -> Far {
    let behind = host.behind();
    for (namespace, port, address) in [(host, "behind", 1), (&behind, "far", 2)] {
        namespace.run(&format!(
            "ip address add 2001:db8:{network}::{address}/64 dev {port} nodad"
        ));
        wait_until("a link-local address that was probed", || {
            let own = namespace.output(&format!("ip -6 address show dev {port} scope link"));
            own.contains("fe80::") && !own.contains("tentative")
        });
    }
    behind.run(&format!(
        "ip route add 2001:db8::/32 via 2001:db8:{network}::1"
    ));
    behind
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_behind_relays_grants_an_address() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let behind = linked(&far, 9);
        let _router = radvd(&far, "AdvManagedFlag on;");
        let granted = |server: &Server, forward: &str| {
            let (report, log) = leased(&["--timeout", "30"]);
            assert_eq!(
                report["addresses"][0]["address"], "2001:db8:1::300",
                "{log}"
            );
            assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/boot.ipxe");
            server.wait_for(forward);
        };
        {
            let server = dhcpd(&behind, &subnet("subnet6 2001:db8:9::/64 { }"));
            // It says nothing when it is ready, and is asked again.
            let _relay = far.start("dhcrelay -6 -d --no-pid -l far -u behind");
            granted(&server, "Relay-forward message from 2001:db8:9::1");
        }
        // Behind another relay.
        let beyond = linked(&behind, 8);
        let server = dhcpd(&beyond, &subnet("subnet6 2001:db8:8::/64 { }"));
        let _relays = [
            far.start("dhcrelay -6 -d --no-pid -l far -u 2001:db8:9::2%behind"),
            behind.start("dhcrelay -6 -d --no-pid -l far -u behind"),
        ];
        granted(&server, "Relay-forward message from");
    });
}
