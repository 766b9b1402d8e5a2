//! The flight recorder: what the last frames of a command are found to be afterwards, by
//! `wireboot capture -r`.

use std::process::{Command, Output};

use crate::common::client::keep;
use crate::common::far::Far;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, wait_until};
use crate::ipv6::{dnsmasq as dnsmasq6, radvd};
use nix::sys::signal::Signal;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_last_frames_are_written_when_a_lease_or_a_boot_fails() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        for command in ["lease", "boot"] {
            let failed = wireboot(&[command, "-i", "near", "--timeout", "2"]);
            assert_eq!(failed.status.code(), Some(3), "{failed:?}");
            let frames = read("/run/wireboot/failure.pcapng");
            let discovers = frames.matches("DHCP DISCOVER").count();
            assert!(discovers > 1 && !frames.contains("OFFER"), "{frames}");
            // What a machine at the other end says by itself is among them.
            let count = frames.lines().count();
            let told = format!("the last {count} frames are in /run/wireboot/failure.pcapng");
            let said = String::from_utf8(failed.stderr).unwrap();
            assert!(said.contains(&told), "{said}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_last_frames_are_written_when_that_is_asked_for() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let exchange = ["DISCOVER", "OFFER", "REQUEST", "ACK"];
        for (command, messages) in [
            ("lease", &exchange[..]),
            ("boot --stop-after lease", &exchange),
            ("discover --wait 1", &exchange[..2]),
        ] {
            let arguments = [command, "-i near --record /run/asked.pcapng"].join(" ");
            let output = wireboot(&arguments.split(' ').collect::<Vec<_>>());
            assert!(output.status.success(), "{output:?}");
            contain(&read("/run/asked.pcapng"), messages);
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_renewal_is_recorded_though_the_kernel_sends_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let client = keep(&["-v", "--record", "/run/kept.pcapng"]);
        client.wait_for("192.0.2.100/24 from 192.0.2.1");
        client.signal(Signal::SIGHUP);
        wait_until("it is renewed", || client.count("BOUND") > 1);
        client.signal(Signal::SIGTERM);
        client.wait_for("frames are in /run/kept.pcapng");
        contain(
            &read("/run/kept.pcapng"),
            &["ACK", "192.0.2.100.68 > 192.0.2.1.67: DHCP REQUEST", "ACK"],
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_messages_of_ipv6_are_written_with_those_that_were_ignored() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        // No address can be formed in it.
        let router = radvd(&far, "AdvOtherConfigFlag on; prefix 2001:db8:2::/126 { };");
        let failed = wireboot(&["lease", "-i", "near", "--family", "6", "--timeout", "3"]);
        assert_eq!(failed.status.code(), Some(3), "{failed:?}");
        let frames = read("/run/wireboot/failure.pcapng");
        contain(
            &frames,
            &[
                "fe80::5054:ff:fe12:3456 > ff02::2: ICMP6, router solicitation",
                "ICMP6, router advertisement, servers have configuration, default router for 12 s, prefix 2001:db8:2::/126",
                "fe80::5054:ff:fe12:3456.546 > ff02::1:2.547: DHCPv6 INFORMATION-REQUEST",
            ],
        );
        assert!(
            frames.contains(":: > ff02::1:ff12:3456: ICMP6, neighbor solicitation, who has"),
            "{frames}"
        );
        drop(router);
        // Of both families, each frame once.
        let _server = dnsmasq6(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        let command = "boot -i near --stop-after lease --record /run/asked.pcapng --timeout 5";
        wireboot(&command.split(' ').collect::<Vec<_>>());
        let frames = read("/run/asked.pcapng");
        contain(&frames, &["SOLICIT", "ADVERTISE", "REQUEST", "REPLY"]);
        assert!(frames.contains("DHCP DISCOVER"), "{frames}");
        let mut lines: Vec<_> = frames.lines().collect();
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count, "{frames}");
    });
}

/// Asserts that these stand in `frames`, in this order.
fn contain(frames: &str, messages: &[&str]) {
    let mut rest = frames;
    for message in messages {
        let (_, behind) = rest
            .split_once(message)
            .unwrap_or_else(|| panic!("{message}: {frames}"));
        rest = behind;
    }
}

fn read(file: &str) -> String {
    let output = wireboot(&["capture", "-r", file]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn wireboot(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(arguments).output().unwrap()
}
