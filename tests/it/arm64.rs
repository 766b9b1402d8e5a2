//! The whole boot on emulated machines of the type arm64, whose Debian kernels take no files for
//! kexec: memory and device tree are laid out by wireboot. The plain case is in `initramfs/demo`.

use std::fs;
use std::process::Command;

use crate::common::machine::{Served, Setup, shell};
use wireboot_proto::format::fdt::DeviceTree;

#[test]
#[ignore = "needs qemu-system-aarch64"]
fn a_device_tree_from_the_configuration_goes_in_the_place_of_the_machines_own() {
    let served = Served::arm64("tree");
    let file = served.folder.join("machine.dtb");
    // The machine's own, under another name, and without what only firmware knows.
    let machine = format!("virt,dumpdtb={}", file.display());
    let dump = Command::new("qemu-system-aarch64")
        .args(["-M", &machine, "-cpu", "cortex-a57", "-m", "1024"])
        .output();
    assert!(dump.expect("QEMU is installed").status.success());
    let own = fs::read(&file).unwrap();
    let mut tree = DeviceTree::decode(&own).unwrap();
    let devices = tree.root.nodes().count();
    tree.root.retain(|node| !node.name.starts_with(b"memory@"));
    assert_eq!(tree.root.nodes().count(), devices - 1);
    tree.root.set(b"model", &b"Tree of the test\0"[..]);
    served.put("board.dtb", tree.encode().unwrap());

    served.put(
        "pxelinux.cfg/default",
        configuration(&served, "fdt board.dtb"),
    );
    let mut machine = Setup::arm64("ip=dhcp wireboot.on-failure=poweroff")
        .with("-M virt")
        .on_own_network(&served, "pxelinux.0")
        .start();
    machine.says(&[
        "starting http://10.0.2.2",
        "Machine model: Tree of the test",
        "KASLR enabled",
        "Greetings from the second kernel.",
        "word=pear",
    ]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-aarch64"]
fn a_machine_with_efi_acpi_and_two_processors_starts_the_next_kernel() {
    let served = Served::arm64("efi");
    served.put("pxelinux.cfg/default", configuration(&served, ""));
    let firmware = shell("debian_package qemu-efi-aarch64");
    let mut machine = Setup::arm64("ip=dhcp wireboot.on-failure=poweroff")
        .with("-M virt,gic-version=3 -smp 2")
        .with(&format!(
            "-bios {firmware}/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"
        ))
        .on_own_network(&served, "pxelinux.0")
        .start();
    machine.says(&[
        "starting http://10.0.2.2",
        "efi: EFI v",
        "ACPI: RSDP",
        // Tables that the interrupt controller goes on to write to are not overwritten.
        "using reserved LPI pending table",
        "Brought up 1 node, 2 CPUs",
        "Greetings from the second kernel.",
        "word=pear",
    ]);
    machine.ends();
}

/// A configuration with a word of its own, and `line` in the label.
fn configuration(served: &Served, line: &str) -> String {
    let server = served.over_http();
    format!(
        "default greeting\nlabel greeting\n kernel {server}/vmlinuz\n {line}\n \
         append initrd={server}/greeting console=ttyAMA0 panic=-1 word=pear\n"
    )
}
