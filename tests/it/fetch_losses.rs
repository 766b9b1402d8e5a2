//! `wireboot fetch` over TFTP where packets are lost in both directions, and where the way carries less
//! than it seems to; each test in network namespaces of its own.

use std::time::{Duration, Instant};

use crate::common::far::{Far, Server};
use crate::common::tftp::{Lan, atftpd, dnsmasq, in_qemu, tftpd_hpa};
use crate::common::{in_new_namespace, ip};

/// A kernel with its initrd.
const LEN: usize = 64 << 20;
/// Several times what each of them takes on two slow cores.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn losses_on_the_way_from_tftpd_hpa_cost_time_and_no_octet() {
    arrives_in_spite_of_losses(tftpd_hpa);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn losses_on_the_way_from_dnsmasq_cost_time_and_no_octet() {
    arrives_in_spite_of_losses(dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn losses_on_the_way_from_atftpd_cost_time_and_no_octet() {
    arrives_in_spite_of_losses(atftpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and QEMU"]
fn losses_on_the_way_from_the_server_in_qemu_cost_time_and_no_octet() {
    arrives_in_spite_of_losses(in_qemu);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn blocks_are_as_long_as_the_route_carries_and_never_come_in_fragments() {
    // dnsmasq has room for so many octets and no more, and looks at the interface when it starts.
    for (server, most) in [(tftpd_hpa as Start, 9000), (atftpd, 9000), (dnsmasq, 2295)] {
        in_new_namespace(move || {
            let mut lan = Lan::new(server);
            lan.carries(9000);
            lan.restart(server);
            arrives_in_packets_of(&lan, most);
            ip("route change 192.0.2.0/24 dev near mtu 1400");
            arrives_in_packets_of(&lan, 1400);
            ip("route change 192.0.2.0/24 dev near");
            lan.carries(1000);
            arrives_in_packets_of(&lan, 1000);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn blocks_that_are_too_long_for_the_middle_of_the_way_are_asked_for_shorter() {
    for (server, most) in [(tftpd_hpa as Start, 1500), (atftpd, 1500), (dnsmasq, 1300)] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            lan.carries(9000);
            lan.lose_longer_than(most);
            lan.offer("file", 8 << 20);
            lan.arrives("file", &[]);
        });
    }
}

type Start = fn(&Far, &str) -> Server;

fn arrives_in_spite_of_losses(server: Start) {
    for permille in [10, 100] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            lan.lose(permille);
            for len in [513, 1428, LEN] {
                lan.offer("file", len);
                let begin = Instant::now();
                lan.arrives("file", &[]);
                let took = begin.elapsed();
                println!("{len} octets with {permille} of 1000 packets lost: {took:?}");
                assert!(took < LIMIT);
            }
        });
    }
}

fn arrives_in_packets_of(lan: &Lan, octets: u64) {
    const ETHERNET_HEADER_LEN: u64 = 14;
    lan.offer("file", 8 << 20);
    let before = lan.received();
    lan.arrives("file", &[]);
    let after = lan.received();
    let mean = (after.octets - before.octets) / (after.packets - before.packets);
    let most = octets + ETHERNET_HEADER_LEN;
    assert!(
        (most * 95 / 100..=most).contains(&mean),
        "{mean} for {octets}"
    );
    let counts = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = counts.lines().filter(|line| line.starts_with("Ip:"));
    let mut next = || lines.next().unwrap().split_whitespace();
    let mut reassembled = next().zip(next()).filter(|(name, _)| *name == "ReasmReqds");
    assert_eq!(reassembled.next(), Some(("ReasmReqds", "0")));
}
