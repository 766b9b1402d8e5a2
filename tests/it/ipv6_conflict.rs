//! Addresses of IPv6 that another host has.

use std::fs;
use std::process::Command;

use crate::common::far::{Far, Server};
use crate::common::{in_new_namespace, ip};
use crate::ipv6::{
    FORMED, LINK_LOCAL, POOL, addresses, beside, is_as_found, kea, lease, leased, radvd, reaches,
};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_given_address_of_another_host_is_not_used() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let other = beside(&far);
        other.run("ip address add 2001:db8:1::5/64 dev far nodad");
        let given = |address: &str, more: &[&str]| {
            let word = format!("ip=[2001:db8:1::{address}]::[2001:db8:1::1]:64::near:none");
            let config = far.write("words", &word);
            lease(&[&["--kernel-command-line", &config], more].concat())
        };
        for (acd, expected) in [
            ("overlapped", Some(4)),
            ("strict", Some(4)),
            ("off", Some(0)),
        ] {
            let monitor =
                Server::start(Command::new("ip").args(["-o", "-6", "monitor", "address"]));
            let (code, _, log) = given("5", &["--acd", acd]);
            assert_eq!(code, expected, "{acd}: {log}");
            if expected == Some(0) {
                continue;
            }
            assert!(
                log.contains("another host has 2001:db8:1::5, which was given"),
                "{log}"
            );
            is_as_found();
            monitor.wait_for(LINK_LOCAL);
            assert_eq!(
                monitor.count("2001:db8:1::5/128") > 0,
                acd != "strict",
                "{acd}"
            );
        }
        ip("address flush dev near");
        let (code, _, log) = given("6", &["--json"]);
        assert_eq!(code, Some(0), "{log}");
        assert!(addresses().contains("2001:db8:1::6/128"), "{}", addresses());
        reaches(&far, "2001:db8:1::6");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_another_host_is_not_used() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let other = beside(&far);
        other.run(&format!("ip address add {FORMED}/64 dev far nodad"));
        // The kernel, to which the interface is given back, forms none of its own.
        fs::write("/proc/sys/net/ipv6/conf/near/accept_ra", "0").unwrap();
        let _router = radvd(
            &far,
            "prefix 2001:db8:1::/64 { }; prefix 2001:db8:3::/64 { };",
        );
        let (report, log) = leased(&[]);
        assert!(log.contains(&format!("another host has {FORMED}")), "{log}");
        let given = report["addresses"].as_array().unwrap();
        assert_eq!(given.len(), 1, "{given:?}");
        assert!(!addresses().contains(FORMED), "{}", addresses());
        assert!(addresses().contains("2001:db8:3:0:5054:ff:fe12:3456"));
        ip("address flush dev near");
        // Strictly: it is not set for a moment.
        let monitor = Server::start(Command::new("ip").args(["-o", "-6", "monitor", "address"]));
        let (report, _) = leased(&["--acd", "strict"]);
        assert_eq!(report["addresses"].as_array().unwrap().len(), 1);
        monitor.wait_for("2001:db8:3:0:5054:ff:fe12:3456");
        assert_eq!(monitor.count(FORMED), 0);
        ip("address flush dev near");
        let (report, _) = leased(&["--acd", "off"]);
        assert_eq!(report["addresses"].as_array().unwrap().len(), 2);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_a_server_that_another_host_has_is_declined() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let other = beside(&far);
        other.run("ip address add 2001:db8:1::200/64 dev far nodad");
        let pool = POOL.replace("::200/128", "::200 - 2001:db8:1::201");
        let server = kea(&far, &pool);
        let _router = radvd(&far, "AdvManagedFlag on;");
        let (report, log) = leased(&["--timeout", "30"]);
        assert!(log.contains("DECLINE"), "{log}");
        assert_eq!(
            report["addresses"][0]["address"], "2001:db8:1::201",
            "{log}"
        );
        assert!(!addresses().contains("2001:db8:1::200"), "{}", addresses());
        server.wait_for("DHCP6_DECLINE");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_local_address_of_another_host_ends_the_command() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        far.run(&format!("ip address add {LINK_LOCAL}/64 dev far nodad"));
        let (code, _, log) = lease(&["--timeout", "5"]);
        assert_eq!(code, Some(4), "{log}");
        assert!(
            log.contains("is its hardware address in use twice?"),
            "{log}"
        );
        is_as_found();
    });
}
