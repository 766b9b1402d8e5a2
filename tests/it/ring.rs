//! The way of DHCP replies through the packet ring, and the kernel's setting that makes it short.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::client::{addresses, has_carrier, wireboot};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::Signal;

const IN_RING: &str = "bytes from the ring";
const PLAIN: &str = "bytes from a plain socket";
const EXPEDITED: &str = "/sys/kernel/rcu_expedited";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_ring_is_set_up_before_the_first_discover_and_no_reply_is_read_otherwise() {
    // At once, and after the client has asked again and prepared for a long wait.
    for delay in [Duration::ZERO, Duration::from_secs(2)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = server(&far, delay);
            let calls = far.folder.join("calls");
            let mut traced = Command::new("strace");
            traced.args(["-f", "-e", "trace=network,read,poll,ppoll", "-o"]);
            traced.arg(&calls).arg(env!("CARGO_BIN_EXE_wireboot"));
            traced.args(["lease", "-i", "near", "-vv", "--timeout", "10"]);
            let output = traced.output().expect("strace is installed");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert_eq!(addresses(), ["192.0.2.100"]);
            assert!(said.matches(IN_RING).count() >= 2, "{said}");
            assert!(!said.contains(PLAIN), "{said}");
            let calls = fs::read_to_string(calls).unwrap();
            let place = |what: &str| {
                calls
                    .find(what)
                    .unwrap_or_else(|| panic!("{what}: {calls}"))
            };
            assert!(place("PACKET_RX_RING") < place("\\377\\377\\377\\377\\377\\377"));
            // Sockets that are read otherwise, for frames of switches, have received nothing.
            let mut reads = calls.lines().filter(|line| line.contains("recvmsg("));
            assert!(reads.all(|line| line.contains("EAGAIN")), "{calls}");
            is_restored();
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn where_sys_is_read_only_the_ring_comes_later_and_each_reply_says_how_it_came() {
    for (delay, way) in [(Duration::ZERO, PLAIN), (Duration::from_secs(2), IN_RING)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = server(&far, delay);
            // Of this mount namespace alone.
            let remount = "mount --bind /sys /sys && mount -o remount,ro,bind /sys";
            let remounted = Command::new("sh").args(["-c", remount]).status();
            assert!(remounted.unwrap().success());
            let (code, said) = wireboot(&["-vv", "--timeout", "10"]);
            assert_eq!(code, Some(0), "{said}");
            let why = format!("no ring at first: {EXPEDITED}: Read-only file system");
            assert!(said.contains(&why), "{said}");
            assert!(said.contains(way), "{said}");
            assert!(delay.is_zero() || !said.contains(PLAIN), "{said}");
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn with_no_expedite_the_setting_is_left_alone() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let calls = far.folder.join("calls");
        let mut traced = Command::new("strace");
        traced.args(["-f", "-o"]).arg(&calls);
        traced.arg(env!("CARGO_BIN_EXE_wireboot"));
        traced.args(["lease", "-i", "near", "--no-expedite", "-vv"]);
        let output = traced.output().expect("strace is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("--no-expedite"), "{said}");
        assert!(!fs::read_to_string(calls).unwrap().contains("rcu_"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_setting_is_restored_after_a_failure_and_signals() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let (code, said) = wireboot(&["-vv", "--timeout", "1"]);
        assert_eq!(code, Some(3), "{said}");
        is_restored();
        for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGQUIT] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            let mut client = Server::start(command.args(["lease", "-i", "near", "-vv"]));
            client.wait_for("DISCOVER");
            client.signal(signal);
            client.exit_code();
            is_restored();
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn several_at_once_restore_the_setting() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        // Or the first to end would lower what it has raised.
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        let clients = (0..8).map(|_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            let arguments = ["lease", "-i", "near", "--dry-run", "--timeout", "10"];
            Server::start(command.args(arguments))
        });
        for mut client in clients.collect::<Vec<_>>() {
            assert_eq!(client.exit_code(), Some(0));
        }
        is_restored();
    });
}

/// Starts a server that takes `delay` for its first answer.
fn server(far: &Far, delay: Duration) -> ScriptedDhcp {
    let mut delay = delay;
    ScriptedDhcp::start(far, move |question| {
        thread::sleep(std::mem::take(&mut delay));
        let answer = grant(question);
        answer
            .map(|answer| framed(&answer, 67))
            .into_iter()
            .collect()
    })
}

/// Waits until the setting is as it was, which other tests on this machine change for moments.
fn is_restored() {
    wait_until("the setting is restored", || {
        fs::read_to_string(EXPEDITED).is_ok_and(|value| value == "0\n")
    });
}
