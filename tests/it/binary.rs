//! The static binaries, which are built in another way than those of the other tests: for size.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::far::{Far, Server};
use crate::common::machine::{compiled, shell};
use crate::common::scripted::{Scripted, whole};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip, wait_until};

#[test]
#[ignore = "builds the static binaries"]
fn requests_of_the_static_binaries_are_those_of_http() {
    let server = Scripted::new(|request, _| whole(request.lines().next().unwrap()));
    for features in ["", " --no-default-features"] {
        let binary = shell(&format!("static_binary{features}"));
        let mut command = Command::new(binary);
        let output = command
            .args(["fetch", "-o", "-", &server.url("f")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"GET /f HTTP/1.1", "{features}: {said}");
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, and builds the static binary"]
fn a_kept_lease_and_a_capture_of_the_static_binary_go_on_behind_their_filters() {
    let binary = shell("static_binary");
    in_new_namespace(move || {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        // The C library of this binary asks another thing of its log than that of the others.
        let start = |arguments: &str| {
            let mut command = Command::new(&binary);
            Server::start(command.args(arguments.split(' ')))
        };
        let mut client = start("lease --keep -i near -v");
        client.wait_for("192.0.2.100/24 from 192.0.2.1");
        let mut capture = start("capture -i near -v -c 2 udp");
        wait_until("the ring is bound", || {
            ip("-d link show near").contains("promiscuity 1")
        });
        client.signal(Signal::SIGHUP);
        wait_until("it is renewed", || client.count("BOUND") > 1);
        assert_eq!(capture.exit_code(), Some(0));
        client.signal(Signal::SIGTERM);
        assert_eq!(client.exit_code(), Some(0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, and builds the static binary"]
fn what_a_lease_calls_lies_side_by_side_in_the_static_binary() {
    let (binary, measure) = (shell("static_binary"), compiled("measure"));
    in_new_namespace(move || {
        let far = Far::plug_in();
        ip("link set near up");
        let _server = dnsmasq(&far, "");
        let mut command = Command::new(measure);
        let output = command.args([&binary, "lease", "-i", "near"]).output();
        let printed = String::from_utf8(output.unwrap().stdout).unwrap();
        let numbers: Vec<_> = printed.split_whitespace().collect();
        let [_address, _end, _cpu, kib, status] = numbers[..] else {
            panic!("\"{printed}\"");
        };
        assert_eq!(status, "0");
        // 2 MiB if it lies everywhere, 0.8 if initramfs/lease.ld is as new as the code and the compiler.
        assert!(
            kib.parse::<u32>().unwrap() < 1536,
            "{kib} KiB: run `tests/bench/run order`"
        );
    });
}
