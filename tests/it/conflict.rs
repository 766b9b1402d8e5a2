//! Another host has the address (RFC 5227): found while the server is asked, declined, and later
//! defended once; against real servers in network namespaces.

use std::time::{Duration, Instant};

use crate::common::client::{
    addresses, is_as_it_was, is_configured, json, keep, last_line, lease, wireboot,
};
use crate::common::far::{Far, Server};
use crate::common::servers::{dhcpd, dnsmasq, kea_at_once};
use crate::common::{in_new_namespace, ip, wait_until};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_another_host_has_is_declined_and_another_one_taken() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip address add 192.0.2.100/32 dev far");
        let mac = json("-j link show near")[0]["address"].clone();
        // By unicast the server would speak to the other host, with which it shares its kernel.
        let more = format!(
            "--dhcp-broadcast --dhcp-host={},192.0.2.100
            --dhcp-range=192.0.2.101,192.0.2.101,255.255.255.0,1h",
            mac.as_str().unwrap()
        );
        let server = dnsmasq(&far, &more);
        let client = keep(&[]);
        server.wait_for("DHCPDECLINE(far) 192.0.2.100");
        client.wait_for("192.0.2.100 was granted, but");
        assert_eq!(addresses(), Vec::<String>::new());
        wait_until("it has another", || addresses() == ["192.0.2.101"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_conflict_is_in_the_log_of_isc_dhcpd_and_ends_with_its_own_exit_code() {
    declines(|far| dhcpd(far, ""), "DHCPDECLINE of 192.0.2.100");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_conflict_is_in_the_log_of_kea_and_ends_with_its_own_exit_code() {
    declines(kea_at_once, "DHCP4_DECLINE_LEASE ");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_is_claimed_later_is_defended_once_and_then_declined() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&["-v"]);
        client.wait_for("from 192.0.2.1");
        // Both announcements have been sent.
        wait_until("it is announced", || {
            client.count("ARP about 192.0.2.100") == 3
        });
        far.run("ip address add 192.0.2.100/32 dev far");
        let claim = "busybox arping -U -c 1 -w 1 -I far 192.0.2.100";
        far.output(claim);
        wait_until("it is defended", || {
            client.count("ARP about 192.0.2.100") == 4
        });
        assert_eq!(addresses(), ["192.0.2.100"]);
        far.output(claim);
        server.wait_for("DHCPDECLINE(far) 192.0.2.100");
        wait_until("the address is gone", || addresses().is_empty());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn strict_detection_takes_seconds_and_finds_the_same_conflict() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "");
        let begun_at = Instant::now();
        assert_eq!(wireboot(&["--acd", "strict"]).0, Some(0));
        assert!(begun_at.elapsed() >= Duration::from_secs(4));
        is_configured();
        ip("address flush dev near");
        far.run("ip address add 192.0.2.100/32 dev far");
        let (code, text) = wireboot(&["--acd", "strict", "--timeout", "5"]);
        assert_eq!(code, Some(4), "{text}");
        server.wait_for("DHCPDECLINE of 192.0.2.100");
    });
}

/// Is granted an address that another host has.
fn declines(server: impl FnOnce(&Far) -> Server + Send + 'static, logged: &'static str) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        far.run("ip address add 192.0.2.100/32 dev far");
        let server = server(&far);
        let output = lease("3").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(last_line(&output).contains("192.0.2.100 was granted, but"));
        server.wait_for(logged);
        is_as_it_was();
    });
}
