//! What is there of both families: `wireboot discover`, and the hints of a command that fails.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::common::client::output;
use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::DNSMASQ;
use crate::ipv6::{ROUTER, beside, dnsmasq, is_as_found, lease, radvd};

/// Runs `wireboot discover` to its end.
fn discover(more: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["discover", "-i", "near", "--wait", "3"]);
    output(command.args(more.split(' ')).stdin(Stdio::null()))
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn routers_and_servers_are_discovered_and_nothing_is_taken() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let (code, _, log) = discover("--family 6");
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains("no router and no server of IPv6"), "{log}");
        let other = beside(&far);
        let range = "2001:db8:1::100,2001:db8:1::100,64,10m --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let server = dnsmasq(&far, range);
        let router = radvd(
            &other,
            "AdvDefaultLifetime 0; AdvDefaultPreference high; prefix 2001:db8:7::/64 { }; RDNSS fe80::53 { };",
        );
        let (code, text, log) = discover("--family 6");
        assert_eq!(code, Some(0), "{log}");
        for line in [
            "near: router advertisement of fe80::",
            "   servers have addresses\n   servers have configuration\n   default router for 1800 s\n",
            "   prefix 2001:db8:1::/64 on the link for 1800 s\n",
            "   default router for 0 s\n   prefix 2001:db8:7::/64 on the link for addresses for 86400 s\n   resolver fe80::53 for",
            "near: ADVERTISE of fe80::",
            "   address 2001:db8:1::100 for 600 s\n",
            "   resolver 2001:db8:1::53\n   domain lab.example\n   boot file tftp://[2001:db8:1::1]/boot.ipxe\n",
            "near: REPLY of fe80::",
        ] {
            assert!(text.contains(line), "{line}: {text}{log}");
        }
        assert!(!text.contains("! no server"), "{text}");
        is_as_found();
        let (code, text, log) = discover("--family either --json");
        assert_eq!(code, Some(0), "{log}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["interfaces"][0]["name"], "near");
        assert_eq!(report["answers"][0]["address"], "192.0.2.100");
        let all = report["ipv6"].as_array().unwrap();
        let of = |kind: &'static str| all.iter().filter(move |one| one["kind"] == kind);
        assert_eq!(of("router advertisement").count(), 2, "{text}");
        let advertise = of("ADVERTISE").next().unwrap();
        assert_eq!(advertise["interface"], "near");
        assert_eq!(advertise["says"][0]["name"], "address");
        assert_eq!(advertise["says"][0]["value"], "2001:db8:1::100 for 600 s");
        is_as_found();
        let (_, text, _) = discover("--json");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report.get("ipv6"), None, "{text}");
        // Its addresses would do as well.
        drop(router);
        let (code, text, log) = lease(&["--dry-run"]);
        assert_eq!(code, Some(0), "{log}");
        assert!(
            text.contains("near: would set 2001:db8:1::100/128 from a server"),
            "{text}"
        );
        is_as_found();
        for message in ["DHCPREQUEST", "DHCPRELEASE"] {
            assert_eq!(server.count(message), 0, "{message}");
        }
        drop(server);
        let _router = radvd(&far, "AdvManagedFlag on;");
        let (_, text, log) = discover("--family 6");
        assert!(
            text.contains("   ! no server offers an address\n"),
            "{text}{log}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_family_that_a_network_has_is_named() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = far.serve(
            &format!("{DNSMASQ} --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h"),
            "DHCP, IP range",
        );
        let (code, _, log) = lease(&["--timeout", "2"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(
            log.contains("the DHCPv4 server 192.0.2.1 is here; try --family 4"),
            "{log}"
        );
        // It was asked for nothing.
        assert_eq!(server.count("DHCPREQUEST"), 0);
        is_as_found();
        drop(server);
        let _server = dnsmasq(&far, "2001:db8:1::,ra-stateless");
        for (command, is_hinted) in [
            ("lease", true),
            ("boot --family 4", true),
            ("boot --family either", false),
        ] {
            let mut client = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            client
                .args(command.split(' '))
                .args(["-i", "near", "--timeout", "2"]);
            let (_, _, log) = output(&mut client);
            let hint = format!("routers of IPv6 are here: {ROUTER}; try --family 6");
            assert_eq!(log.contains(&hint), is_hinted, "{command}: {log}");
        }
    });
}
