//! The first process of an emulated machine, by Debian's own kernel: which cards it finds, and
//! when. The servers are QEMU's built-in ones.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use common::machine::{CARD, Machine, Setup};

const LEASE: &str = "10.0.2.15/24 from 10.0.2.2";
const NETWORK: &str = "-netdev user,id=net";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_card_that_is_plugged_in_late_gets_its_driver_and_a_lease() {
    let mut machine = start(NETWORK, "ip=dhcp");
    machine.says(&["waiting up to 30 s for a network interface to appear"]);
    machine.monitor(&format!("device_add {CARD}"));
    machine.says(&[LEASE, "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_carrier_that_comes_late_is_waited_for() {
    let devices = format!("{NETWORK} -device {CARD} -S");
    let mut machine = start(&devices, "ip=dhcp");
    machine.monitor("set_link card off");
    machine.monitor("cont");
    machine.says(&["eth0: raised"]);
    machine.monitor("set_link card on");
    machine.says(&[LEASE, "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn of_two_cards_the_one_with_an_answer_wins() {
    let devices = format!(
        "-netdev hubport,id=silent,hubid=7 -device virtio-net-pci,netdev=silent \
         {NETWORK} -device {CARD}"
    );
    let mut machine = start(&devices, "ip=dhcp");
    machine.says(&[&format!("eth1: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_card_of_bootif_is_the_one_that_is_used() {
    let devices = format!(
        "-netdev user,id=other -device virtio-net-pci,netdev=other,mac=52:54:00:12:34:57 \
         {NETWORK} -device {CARD}"
    );
    let words = "BOOTIF=01-52-54-00-12-34-56 wireboot.typo=1";
    let mut machine = start(&devices, words);
    machine.says(&["\"wireboot.typo=1\" on the kernel command line is not followed"]);
    machine.says(&[&format!("eth1: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn without_any_card_the_end_says_so_and_the_first_process_lives_on() {
    let mut machine = start("", "wireboot.link-timeout=1");
    machine.says(&["no usable network interface: none appeared within 1.0 s; found lo"]);
    machine.says(&["the machine could not be booted", "Power down"]);
}

/// Starts a machine with the QEMU arguments `devices`, which stops after the lease.
fn start(devices: &str, words: &str) -> Machine {
    let words = format!(
        "{words} wireboot.stop-after=lease wireboot.on-failure=poweroff WIREBOOT_LOG=debug"
    );
    Setup::new(&words).with(devices).start()
}
