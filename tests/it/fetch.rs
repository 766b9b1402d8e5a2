//! `wireboot fetch` over TFTP against real servers, each test in network namespaces of its own.
//!
//! With `WIREBOOT_BIG=1` files of 512 MiB are fetched too.

use std::time::{Duration, Instant};

use crate::common::far::{Far, Server};
use crate::common::tftp::{Lan, atftpd, dnsmasq, in_qemu, last_line, tftpd_hpa};
use crate::common::{in_new_namespace, wait_until};

/// Around the block lengths, and the size of a kernel with its initrd.
const SIZES: [usize; 7] = [0, 1, 511, 512, 513, 1428, 64 << 20];
const BIG: usize = 512 << 20;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn tftpd_hpa_serves_files_of_all_sizes() {
    all_sizes_arrive(tftpd_hpa);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn dnsmasq_serves_files_of_all_sizes() {
    all_sizes_arrive(dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn atftpd_with_windows_serves_files_of_all_sizes() {
    all_sizes_arrive(atftpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and QEMU"]
fn the_server_in_qemu_serves_files_of_all_sizes() {
    all_sizes_arrive(in_qemu);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and QEMU"]
fn block_numbers_go_round_with_every_server() {
    for (mtu, len) in [("544", 40 << 20), ("1460", 100 << 20)] {
        for server in [tftpd_hpa, dnsmasq, atftpd, in_qemu] {
            in_new_namespace(move || {
                let lan = Lan::new(server);
                lan.offer("file", len);
                lan.arrives("file", &["--mtu", mtu]);
            });
        }
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_gibibyte_arrives_from_servers_with_and_without_windows() {
    for server in [atftpd, dnsmasq] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            lan.offer_large("file", (1 << 30) + 1);
            lan.arrives("file", &[]);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_is_restarted_goes_on_where_it_was() {
    in_new_namespace(|| {
        let mut lan = Lan::new(dnsmasq);
        lan.offer("file", 256 << 20);
        let client = lan.start("file", &[]);
        wait_until("some octets have come", || lan.received().octets > 1 << 20);
        lan.restart(dnsmasq);
        lan.has_arrived("file", client);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_dies_leaves_no_file_and_is_noticed_within_the_stall_time() {
    in_new_namespace(|| {
        let lan = Lan::new(dnsmasq);
        lan.offer("file", 64 << 20);
        let client = lan.start("file", &["--stall-timeout", "2"]);
        wait_until("some octets have come", || lan.received().octets > 1 << 20);
        lan.far.run("ip link set far down");
        let died = Instant::now();
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert!(died.elapsed() < Duration::from_secs(10), "{output:?}");
        assert!(last_line(&output).contains("nothing more was received after"));
        assert_eq!(lan.names(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    for server in [tftpd_hpa, dnsmasq, atftpd] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            let output = lan.start("nothing", &[]).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(7), "{output:?}");
            let text = last_line(&output);
            assert!(text.contains("tftp://192.0.2.1/nothing"), "{text}");
            assert!(text.contains("file not found"), "{text}");
            assert_eq!(lan.names(), Vec::<String>::new());
        });
    }
}

fn all_sizes_arrive(server: fn(&Far, &str) -> Server) {
    in_new_namespace(move || {
        let lan = Lan::new(server);
        let big = std::env::var_os("WIREBOOT_BIG").map(|_| BIG);
        for len in SIZES.into_iter().chain(big) {
            lan.offer("file", len);
            lan.arrives("file", &[]);
        }
    });
}
