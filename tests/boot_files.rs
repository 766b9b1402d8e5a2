//! Whole boots in an emulated machine, one for each kind of boot file: to the greeting of the
//! second kernel, with the command line that the boot file says.
//!
//! QEMU's built-in DHCP and TFTP serve a folder with a kernel, an initrd that greets, and the boot
//! file of the case. `initramfs/build` makes the images and downloads what is missing.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::path::Path;
use std::process::Command;

use common::machine::{Served, Setup, shell};

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_tree_boots() {
    let served = Served::new("pxelinux");
    served.put("pxelinux.0", "\u{1}\0PXELINUX 6.04\0");
    served.put(
        "pxelinux.cfg/default",
        "DEFAULT menu.c32\nTIMEOUT 10\nINCLUDE more.cfg\nLABEL local\nLOCALBOOT 0\n",
    );
    served.put(
        "more.cfg",
        "LABEL linux\nMENU DEFAULT\nKERNEL vmlinuz\nINITRD greeting\nAPPEND console=ttyS0 quiet panic=-1 word=pxelinux\nIPAPPEND 2\n",
    );
    boots_to(
        &served,
        "pxelinux.0",
        "",
        "word=pxelinux BOOTIF=01-52-54-00-12-34-56",
    );
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn an_ipxe_script_boots_by_its_menu_its_variables_and_its_chain() {
    let served = Served::new("ipxe");
    served.put(
        "boot.ipxe",
        "#!ipxe\nset next second.ipxe\nmenu Choose\nitem other Other\nitem good Good\n\
         choose --default good --timeout 500 pick && goto ${pick}\n:other\nexit 1\n:good\n\
         chain missing.ipxe || chain ${next} || exit 2\n",
    );
    served.put(
        "second.ipxe",
        "#!ipxe\nkernel missing || kernel vmlinuz console=ttyS0 quiet panic=-1 mac=${net0/mac:hexhyp}\n\
         initrd greeting\nboot\n",
    );
    boots_to(&served, "boot.ipxe", "", "panic=-1 mac=52-54-00-12-34-56");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_kernel_boots_with_the_initrd_that_the_command_line_names() {
    let served = Served::new("kernel");
    let own =
        "wireboot.initrd=greeting wireboot.append=\"console=ttyS0 quiet panic=-1 word=direct\"";
    boots_to(&served, "vmlinuz", own, "panic=-1 word=direct");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_unified_kernel_image_boots_with_its_own_command_line() {
    let served = Served::new("uki");
    served.put("cmdline", "console=ttyS0 quiet panic=-1 word=uki");
    let stub = shell("debian_package systemd-boot-efi");
    let stub = Path::new(&stub).join("usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let file = |name: &str| served.folder.join(name).to_str().unwrap().to_owned();
    let mut objcopy = Command::new("objcopy");
    for (at, (section, name)) in (1..).zip([
        (".cmdline", "cmdline"),
        (".initrd", "greeting"),
        (".linux", "vmlinuz"),
    ]) {
        objcopy.args(["--add-section", &format!("{section}={}", file(name))]);
        let address = format!("{section}={:#x}", at * 0x1000_0000_u64);
        objcopy.args(["--change-section-vma", &address]);
    }
    let objcopy = objcopy.arg(stub).arg(file("linux.efi"));
    assert!(objcopy.status().unwrap().success());
    boots_to(&served, "linux.efi", "", "panic=-1 word=uki");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_loader_entry_boots() {
    let served = Served::new("entry");
    served.put(
        "loader/entries/linux.conf",
        "title Linux\nlinux /vmlinuz\ninitrd /greeting\noptions console=ttyS0 quiet\noptions panic=-1 word=entry\n",
    );
    boots_to(
        &served,
        "loader/entries/linux.conf",
        "",
        "panic=-1 word=entry",
    );
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_grub_configuration_boots() {
    let served = Served::new("grub");
    served.put("shimx64.efi", "MZ\u{1}\0");
    served.put(
        "grub/grub.cfg",
        "set timeout=0\nset default=good\nif [ \"$grub_cpu\" = x86_64 ]; then set word=grub; fi\n\
         menuentry Bad { linux /missing }\nmenuentry Good --id good {\n\
         linux /vmlinuz console=ttyS0 quiet panic=-1 word=$word\ninitrd /greeting\n}\n",
    );
    boots_to(&served, "shimx64.efi", "", "panic=-1 word=grub");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_tree_boots_over_http_from_a_url_as_boot_file() {
    let served = Served::new("http");
    served.put("tree/pxelinux.0", "\u{1}\0PXELINUX 6.04\0");
    served.put(
        "tree/pxelinux.cfg/default",
        "DEFAULT linux\nLABEL linux\nKERNEL /vmlinuz\nINITRD ../greeting\n\
         APPEND console=ttyS0 quiet panic=-1 word=http\n",
    );
    let url = served.over_http();
    boots_to(
        &served,
        &format!("{url}/tree/pxelinux.0"),
        "",
        "panic=-1 word=http",
    );
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_kernel_with_a_wrong_hash_or_without_its_signature_is_never_started() {
    let served = Served::new("pinned");
    let wrong = "00".repeat(32);
    served.put(
        "boot.ipxe",
        format!("#!ipxe\nkernel vmlinuz#sha256={wrong}\nboot\n"),
    );
    served.put(
        "signed.ipxe",
        "#!ipxe\nkernel vmlinuz\nimgverify vmlinuz vmlinuz.sig\nboot\n",
    );
    for boot_file in ["boot.ipxe", "signed.ipxe"] {
        let console = console_of(&served, boot_file, "wireboot.on-failure=poweroff");
        assert!(!console.contains("Its command line:"), "{console}");
        assert!(!console.contains("starting tftp://"), "{console}");
        let reasons = ["sha256", "SHA-256", "hash", "signature"];
        assert!(
            reasons.iter().any(|reason| console.contains(reason)),
            "{console}"
        );
    }
}

/// Boots with this boot file, and `own` on the first kernel's command line; the second one's must
/// hold `expected`.
fn boots_to(served: &Served, boot_file: &str, own: &str, expected: &str) {
    let console = console_of(served, boot_file, own);
    let greeting = (console.lines()).find(|line| line.contains("Its command line:"));
    assert!(
        greeting.is_some_and(|line| line.contains(expected)),
        "{expected:?} is missing in {greeting:?}\n{console}"
    );
}

/// Boots with this boot file and returns what the console showed.
fn console_of(served: &Served, boot_file: &str, own: &str) -> String {
    let setup = Setup::new(&format!("ip=dhcp wireboot.on-failure=poweroff {own}"));
    setup.on_own_network(served, boot_file).start().ends()
}
