//! `wireboot lease` against real servers, each test in network namespaces of its own.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use crate::common::client::{
    addresses, has_carrier, is_as_it_was, is_configured, last_line, lease, succeeds,
};
use crate::common::far::{Far, Server};
use crate::common::servers::{dhcpd, dnsmasq, drop_acknowledgements, kea_at_once, udhcpd};
use crate::common::{in_new_namespace, wait_until};
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;
use wireboot_proto::dhcp::Client;
use wireboot_proto::dhcp::config::Config;
use wireboot_proto::packet::dhcp::{Message, MessageType, Op};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::option::{Options, code};
use wireboot_proto::time::Instant;

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
        assert!(
            text.starts_with("wireboot: error: near: no lease in 2."),
            "{text}"
        );
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
        assert!(text.contains("192.0.2.1 offered 192.0.2."), "{text}");
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
            let socket = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
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
        let is_few = text.contains(" 1 DISCOVER sent") || text.contains(" 2 DISCOVERs sent");
        assert!(is_few, "{text}");
    });
}

/// As a switch may send them that marks urgent frames; what it sends to a VLAN is not for us.
#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn answers_with_a_priority_tag_are_taken_and_those_on_a_vlan_are_not() {
    const URGENT: [u8; 4] = [0x81, 0x00, 0xe0, 0x00];
    const VLAN_5: [u8; 4] = [0x81, 0x00, 0xe0, 0x05];
    in_new_namespace(|| {
        let far = Far::plug_in();
        let (listens, listening) = mpsc::channel();
        let (leased, has_lease) = mpsc::channel();
        let server = far.enter(move || {
            let far = nix::net::if_::if_nametoindex("far").unwrap();
            let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(50)))
                .unwrap();
            listens.send(()).unwrap();
            let mut buf = [0; 2048];
            // A frame is dropped until this end has noticed its carrier, so every question is
            // answered, as a real server does.
            while has_lease.try_recv() == Err(TryRecvError::Empty) {
                let Ok((len, _)) = socket.recv_from(&mut buf) else {
                    continue;
                };
                let question = Message::decode(buf.get(..len).unwrap()).unwrap();
                let answer = match question.message_type() {
                    Some(MessageType::Discover) => 2,
                    Some(MessageType::Request) => 5,
                    _ => continue,
                };
                for (host, tag) in [(66, VLAN_5), (100, URGENT)] {
                    sender.send(&tagged(&question, answer, host, tag)).unwrap();
                }
            }
        });
        listening.recv().unwrap();
        succeeds(lease("20"));
        leased.send(()).unwrap();
        server.join().unwrap();
        assert_eq!(addresses(), ["192.0.2.100"]);
    });
}

/// Returns the frame of a reply that grants 192.0.2.`host`, with a tag.
fn tagged(question: &Message, message_type: u8, host: u8, tag: [u8; 4]) -> Vec<u8> {
    let server = Ipv4Addr::new(192, 0, 2, 1);
    let mut options = Options::default();
    options.set(code::MESSAGE_TYPE, [message_type]);
    options.set(code::SERVER_IDENTIFIER, server.octets());
    options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
    let message = Message {
        op: Op::BootReply,
        yiaddr: Ipv4Addr::new(192, 0, 2, host),
        options,
        ..question.clone()
    };
    let mut payload = Vec::new();
    message.encode(&mut payload).expect("it is short");
    let datagram = Datagram {
        source: SocketAddrV4::new(server, 67),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
        payload: &payload,
    };
    let sender = MacAddress([2, 0, 0, 0, 0, host]);
    let frame = datagram.encode_frame(sender, MacAddress::BROADCAST);
    let mut frame = frame.expect("a short message");
    frame.splice(12..12, tag);
    frame
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
    datagram
        .encode_frame(mac, MacAddress::BROADCAST)
        .expect("a short message")
}
