//! `wireboot lease` against real servers, each test in network namespaces of its own.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use common::client::{has_carrier, is_as_it_was, is_configured, last_line, lease, succeeds};
use common::far::{Far, Server};
use common::servers::{dhcpd, dnsmasq, drop_acknowledgements, kea_at_once, udhcpd};
use common::{in_new_namespace, wait_until};
use wireboot::dhcp::Client;
use wireboot::dhcp::config::Config;
use wireboot::sys::filter::Program;
use wireboot::sys::packet::PacketSocket;
use wireboot::time::Instant;
use wireboot::wire::ethernet::MacAddress;
use wireboot::wire::frame;
use wireboot::wire::udp::Datagram;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_dnsmasq_grants_is_configured() {
    is_configured_as_granted(|far| dnsmasq(far, ""));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_kea_grants_is_configured() {
    is_configured_as_granted(kea_at_once);
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
        // At 0, 0.5, 1 and 1.5 s, each delay a fifth shorter or longer.
        assert!(text.contains(" 4 DISCOVERs sent"), "{text}");
        assert!(text.contains("frame"), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_answers_only_who_has_waited_gets_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "min-secs 1;");
        succeeds(lease("30"));
        assert!(server.count("DHCPDISCOVER") >= 3);
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

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn in_a_crowd_that_is_not_answered_it_waits_for_its_turn() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let crowd = far.enter(move || {
            let far = nix::net::if_::if_nametoindex("far").unwrap();
            let socket = PacketSocket::open(far, &Program::nothing()).unwrap();
            let tick = Duration::from_millis(1);
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                // There is no carrier before the client has begun.
                let _ = socket.send(&discover_of_another());
            }
        });
        let output = lease("6").wait_with_output().unwrap();
        drop(stop);
        crowd.join().unwrap();
        // Alone it sends seven, at 0, 0.5, 1, 1.5, 2.5, 3.5 and 4.5 s.
        let text = last_line(&output);
        let sent = text.split_once(" DISCOVERs sent").unwrap().0;
        assert!(sent.ends_with(" 1") || sent.ends_with(" 2"), "{text}");
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

fn discover_of_another() -> Vec<u8> {
    let mac = MacAddress([2, 0, 0, 0, 0, 7]);
    let mut client = Client::new(Config::new(mac, 7), Instant::ZERO);
    client.handle_timeout(Instant::ZERO);
    let mut payload = Vec::new();
    let transmit = client
        .poll_transmit(&mut payload)
        .expect("it begins with one");
    let datagram = Datagram {
        source: transmit.source,
        destination: transmit.destination,
        payload: &payload,
    };
    frame::encode(mac, MacAddress::BROADCAST, &datagram).expect("a short message")
}
