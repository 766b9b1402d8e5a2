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
    // What a terminal obeys, and a line that no console is to show whole.
    let hostile = "\x1b[31m\x07\u{9b}2J";
    let long = "x".repeat(100_000);
    served.put(
        "pxelinux.cfg/default",
        format!("{CONFIGURATION}{hostile}{long}"),
    );
    let mut machine = boots(&served, "pxelinux.0", "wireboot.on-failure=retry");
    machine.says(&["boot failed", "retrying in"]);
    let words = format!("pear next={hostile}");
    served.put("pxelinux.cfg/default", format!("{CONFIGURATION}{words}"));
    machine.says(&[
        "wireboot: starting",
        "Greetings from the second kernel.",
        "word=pear",
    ]);
    let said = machine.ends();
    let own = said.lines().filter(|line| line.contains("wireboot: "));
    for line in own.clone() {
        let is_safe = !line.trim_end().contains(char::is_control);
        assert!(is_safe && line.len() < 5_000, "{line:?}");
    }
    let shown = "word=pear next=\\u{1b}[31m\\u{7}\\u{9b}2J";
    let mut starting = own.filter(|line| line.contains("wireboot: starting"));
    assert!(starting.any(|line| line.contains(shown)), "{said}");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn both_loaders_tell_the_next_kernel_the_same_about_the_machine() {
    let served = Served::new("loaders");
    let server = served.over_http();
    let configuration = format!(
        "default greeting\nlabel greeting\n kernel {server}/vmlinuz\n initrd {server}/greeting\n \
         append console=ttyS0 no_timer_check panic=-1 word=plum\n"
    );
    served.put("pxelinux.cfg/default", configuration);
    let ovmf = shell("debian_package ovmf");
    let efi = format!("-machine q35 -bios {ovmf}/usr/share/ovmf/OVMF.fd");
    for firmware in ["-machine pc", &efi] {
        let [file, segments] = ["file", "segments"].map(|loader| {
            let words = "wireboot.on-failure=poweroff WIREBOOT_LOG=debug ip=dhcp";
            let mut machine = Setup::new(&format!("{words} wireboot.loader={loader}"))
                .with(firmware)
                .on_own_network(&served, "pxelinux.0")
                .start();
            let call = match loader {
                "file" => "loaded by kexec_file_load",
                _ => "loaded by kexec_load",
            };
            machine.says(&[
                call,
                "wireboot: starting",
                "Linux version",
                "Greetings from the second kernel.",
                "word=plum",
            ]);
            let said = machine.ends();
            let (first, second) = said.split_once("wireboot: starting").unwrap();
            // Hashing takes a second of the one processor, and nobody asks for it.
            assert!(first.contains("command line: SHA-256 "), "{first}");
            assert!(!first.contains("kernel: SHA-256 "), "{first}");
            facts_of_the_firmware(second)
        });
        assert!(file.len() > 20, "{file:#?}");
        assert_eq!(file, segments, "with {firmware}");
    }
}

/// Returns what a kernel says on its console about the map of the memory, in which ranges of a kind
/// that meet are one, and about EFI, ACPI, the console and the machine.
fn facts_of_the_firmware(console: &str) -> Vec<String> {
    let mut facts = Vec::new();
    let mut last: Option<(u64, u64, String)> = None;
    let lines = console.lines().filter_map(|line| line.split_once("] "));
    for (_, line) in lines {
        if let Some(range) = line.strip_prefix("BIOS-e820: [mem 0x") {
            let (range, kind) = range.split_once("] ").unwrap();
            let (first, end) = range.split_once("-0x").unwrap();
            let [first, end] = [first, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
            match &mut last {
                Some((_, before, same)) if *before + 1 == first && *same == kind => *before = end,
                _ => {
                    facts.extend(last.take().map(|range| format!("{range:x?}")));
                    last = Some((first, end, kind.to_owned()));
                }
            }
        }
        let topics = [
            "efi",
            "ACPI: ",
            "Console: ",
            "printk: console",
            "DMI: ",
            "SMBIOS ",
        ];
        if topics.iter().any(|topic| line.starts_with(topic)) {
            facts.push(line.to_owned());
        }
    }
    facts.extend(last.map(|range| format!("{range:x?}")));
    // Drivers speak at the same time.
    facts.sort();
    facts
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
