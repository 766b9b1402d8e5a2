//! `wireboot lease` against real servers, each test in network namespaces of its own.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use common::client::{has_carrier, is_as_it_was, is_configured, last_line, lease, succeeds};
use common::far::{Far, Server};
use common::servers::{dhcpd, dnsmasq, drop_acknowledgements, kea, udhcpd};
use common::{in_new_namespace, ip, wait_until};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_dnsmasq_grants_is_configured() {
    is_configured_as_granted(|far| dnsmasq(far, ""));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_kea_grants_is_configured() {
    is_configured_as_granted(|far| {
        // Kea does not listen on an interface without a carrier.
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        kea(far)
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_isc_dhcpd_grants_is_configured() {
    is_configured_as_granted(|far| dhcpd(far, ""));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_busybox_udhcpd_grants_is_configured() {
    is_configured_as_granted(udhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_server_the_message_says_where_how_often_how_long_and_what_was_seen() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let output = lease("2").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = last_line(&output);
        assert!(text.starts_with("wireboot: near: no lease in 2."), "{text}");
        // At 0, 0.5 and 1.5 s, each delay a fifth shorter or longer.
        assert!(text.contains(" 3 DISCOVERs sent"), "{text}");
        assert!(text.contains("frame"), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_answers_only_the_third_discover_gets_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "min-secs 1;");
        succeeds(lease("30"));
        assert_eq!(server.count("DHCPDISCOVER"), 3);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_dies_before_its_offer_and_comes_back_gives_a_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let dying = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("30");
        dying.wait_for("DHCPDISCOVER");
        drop(dying);
        let _server = dnsmasq(&far, "");
        succeeds(client);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_falls_silent_after_its_offer_leaves_nothing_behind() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        drop_acknowledgements(&far);
        let server = dnsmasq(&far, "");
        let output = lease("5").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(server.count("DHCPOFFER") > 0);
        let text = last_line(&output);
        assert!(text.contains("192.0.2.1 made an offer"), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_is_unplugged_and_plugged_in_again_gives_a_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let slow = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("30");
        slow.wait_for("DHCPDISCOVER");
        far.run("ip link set far down");
        wait_until("near has no carrier", || !has_carrier());
        drop(slow);
        far.run("ip link set far up");
        let _server = dnsmasq(&far, "");
        succeeds(client);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_stays_unplugged_ends_in_time_and_leaves_nothing_behind() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let slow = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("3");
        slow.wait_for("DHCPDISCOVER");
        far.run("ip link set far down");
        let output = client.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), Some(2 | 3)), "{output:?}");
        is_as_it_was();
    });
}

fn is_configured_as_granted(server: impl FnOnce(&Far) -> Server + Send + 'static) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        let _server = server(&far);
        succeeds(lease("30"));
        is_configured();
    });
}
