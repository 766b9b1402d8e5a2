//! `wireboot capture` as it is run, read by tshark.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::cell::Cell;
use std::process::{Command, Stdio};

use common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot::sys::filter::Program;
use wireboot::sys::packet::PacketSocket;

fn broadcast(ethertype: u16, number: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x52, 0x54, 0, 1, 2, 3]);
    frame.extend(ethertype.to_be_bytes());
    frame.resize(60, number);
    frame
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_written_capture_opens_in_tshark_with_every_frame_until_sigterm() {
    in_new_namespace(|| {
        ip("link add near type veth peer name far");
        for name in ["near", "far"] {
            ip(&format!("link set {name} addrgenmode none"));
            ip(&format!("link set {name} up"));
        }
        let index = |name| nix::net::if_::if_nametoindex(name).unwrap();
        let (near, far) = (index("near"), index("far"));
        let path = std::env::temp_dir().join(format!("wireboot-{}.pcapng", std::process::id()));
        for ring in ["v2", "v3"] {
            // Of several sockets the kernel serves the oldest last.
            let watcher = PacketSocket::open(near, &Program::everything()).unwrap();
            let child = Command::new(env!("CARGO_BIN_EXE_wireboot"))
                .args(["capture", "-i", "near", "--ring", ring, "-w"])
                .arg(&path)
                .arg("ether host 52:54:00:01:02:03 and not ip")
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            wait_until("the ring is bound", || {
                ip("-d link show near").contains("promiscuity 1")
            });
            let sender = PacketSocket::open(far, &Program::nothing()).unwrap();
            for number in 0..50 {
                sender.send(&broadcast(0x88b5, number)).unwrap();
                sender.send(&broadcast(0x0800, number)).unwrap();
            }
            let mut tagged = broadcast(0x88b5, 50);
            tagged.splice(12..12, [0x81, 0, 0, 5]);
            sender.send(&tagged).unwrap();
            let arrived = Cell::new(0);
            wait_until("all have arrived", || {
                arrived.set(arrived.get() + watcher.statistics().unwrap().packets);
                arrived.get() == 101
            });
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            let counts = String::from_utf8(output.stderr).unwrap();
            assert!(
                counts.contains("51 frames captured, 51 passed the filter: 0 of them"),
                "{counts}"
            );
            let read = Command::new("tshark")
                .args(["-T", "fields", "-e", "frame.len", "-e", "vlan.id", "-r"])
                .arg(&path)
                .output()
                .expect("tshark is installed");
            let mut expected = "60\t\n".repeat(50);
            expected.push_str("64\t5\n");
            assert_eq!(String::from_utf8(read.stdout).unwrap(), expected);
            let complaints = String::from_utf8(read.stderr).unwrap();
            let complaints: Vec<_> = complaints
                .lines()
                .filter(|line| !line.starts_with("Running as user") && !line.is_empty())
                .collect();
            assert!(complaints.is_empty(), "{complaints:?}");
            std::fs::remove_file(&path).unwrap();
        }
    });
}
