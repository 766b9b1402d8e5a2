//! The whole boot: the static binary as `/init` in an emulated machine, on QEMU's built-in DHCP and
//! TFTP, until the kernel that it fetched and started greets with a word that only it was given.

use std::fs;

use crate::common::machine::{Machine, Served, Setup, parts, shell};

const CONFIGURATION: &str = "default greeting\n\
    label greeting\n kernel vmlinuz\n initrd greeting\n append console=ttyS0 quiet word=";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_switches_the_machine_off_when_told_so() {
    let served = Served::new("poweroff");
    let mut machine = boots(&served, "missing", "wireboot.on-failure=poweroff");
    machine.says(&[
        "wireboot: eth0: 10.0.2.15/24 from 10.0.2.2",
        "boot failed",
        "reboot: Power down",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_restarts_the_machine_when_told_so() {
    let served = Served::new("reboot");
    let mut machine = boots(&served, "missing", "wireboot.on-failure=reboot");
    machine.says(&[
        "wireboot: eth0: 10.0.2.15/24 from 10.0.2.2",
        "boot failed",
        "reboot: Restarting system",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_file_that_leads_to_the_disk_or_switches_off_is_obeyed() {
    let served = Served::new("outcomes");
    let words = "wireboot.on-failure=retry wireboot.on-localboot=reboot";
    for (label, expected) in [
        ("localboot 0", "reboot: Restarting system"),
        ("com32 poweroff.c32", "reboot: Power down"),
    ] {
        let text = format!("default end\nlabel end\n {label}\n");
        served.put("pxelinux.cfg/default", text);
        let mut machine = boots(&served, "pxelinux.0", words);
        machine.says(&["nothing to boot from the network", expected]);
        machine.ends();
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_that_fails_is_tried_again_until_the_server_has_what_it_needs() {
    let served = Served::new("retry");
    let mut machine = boots(&served, "pxelinux.0", "wireboot.on-failure=retry");
    machine.says(&["boot failed", "retrying in"]);
    served.put("pxelinux.cfg/default", format!("{CONFIGURATION}pear"));
    machine.says(&["Greetings from the second kernel.", "word=pear"]);
    machine.ends();
}

#[test]
#[ignore = "needs cpio and kmod"]
fn the_same_input_gives_the_same_archive() {
    let output = std::env::temp_dir().join(format!("wireboot-again-{}", std::process::id()));
    let command = format!("\"$root/initramfs/build\" --output {}", output.display());
    shell(&command);
    let again = fs::read(&output).unwrap();
    fs::remove_file(&output).unwrap();
    assert!(fs::read(&parts().initramfs).unwrap() == again);
}

/// Boots by the boot file that QEMU's own server names, with `words` on the command line.
fn boots(served: &Served, boot_file: &str, words: &str) -> Machine {
    let setup = Setup::new(&format!("ip=dhcp {words}"));
    setup.on_own_network(served, boot_file).start()
}
