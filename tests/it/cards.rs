//! The archive as `initramfs/build` makes it by itself, with Debian's kernel for all machines: every card
//! that QEMU has gets its driver, a lease and a file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::folder::Folder;
use crate::common::in_new_namespace;
use crate::common::machine::{Served, Setup, shell};

const EMULATOR: &str = "qemu-system-x86_64";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn cards_of_virtual_machines_and_of_intel_boot() {
    for card in ["virtio-net-pci", "vmxnet3", "e1000", "e1000e"] {
        boots_with(card, &parts().0);
    }
    // Since QEMU 8.0.
    let devices = Command::new(EMULATOR).args(["-device", "help"]).output();
    let devices = devices.expect("QEMU is installed").stdout;
    if String::from_utf8_lossy(&devices).contains("\"igb\"") {
        boots_with("igb", &parts().0);
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn older_cards_and_one_at_usb_boot() {
    for card in [
        "rtl8139", "ne2k_pci", "pcnet", "i82559er", "tulip", "usb-net",
    ] {
        boots_with(card, &parts().0);
    }
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_card_with_its_firmware_boots_and_without_it_is_said_by_name() {
    // e100 does not open this one without its firmware, of which it checks the length.
    let folder = Folder::new();
    fs::create_dir_all(folder.path("e100")).unwrap();
    fs::write(folder.path("e100/d102e_ucode.bin"), [0; 539]).unwrap();
    let archive = folder.path("archive");
    build(
        &archive,
        &format!("--modules e100 --firmware {}", folder.path("").display()),
    );
    boots_with("i82551", &archive);
    let said = run_with("i82551", &parts().0);
    let warning = "firmware e100/d102e_ucode.bin is missing; initramfs/build --firmware DIR";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
}

/// Boots a machine with this card and archive until its boot file is followed.
fn boots_with(card: &str, archive: &Path) {
    let said = run_with(card, archive);
    for expected in [
        "10.0.2.15/24 from 10.0.2.2",
        "pxelinux.cfg/default:2: selected label card",
        "stopped as wireboot.stop-after says",
    ] {
        assert!(
            said.contains(expected),
            "{card}: no \"{expected}\":\n{said}"
        );
    }
}

/// Boots a machine with this card and archive once; returns what its console said.
fn run_with(card: &str, archive: &Path) -> String {
    let served = Served::empty(card);
    served.put(
        "pxelinux.cfg/default",
        "default card\nlabel card\nkernel vmlinuz\n",
    );
    let bus = if card == "usb-net" {
        "-device qemu-xhci"
    } else {
        ""
    };
    let machine = Setup::new("ip=dhcp wireboot.stop-after=plan wireboot.on-failure=poweroff")
        .kernel(&parts().1)
        .initramfs(archive)
        .with(&format!(
            "{bus} -netdev user,id=net,tftp={},bootfile=pxelinux.0 -device {card},netdev=net",
            served.folder.display()
        ));
    machine.start().ends()
}

/// The archive as it is made by itself, and its kernel; made once.
fn parts() -> &'static (PathBuf, PathBuf) {
    static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| {
        let said = shell(
            "kernel=$(debian_kernel generic)
            \"$root/initramfs/build\" --kernel-modules \"$(readlink -f \"$kernel/modules\")\" \
                --output \"$work/wireboot-generic.cpio.gz\"
            echo \"$kernel/vmlinuz\"",
        );
        let mut paths = said.lines().map(PathBuf::from);
        (paths.next().unwrap(), paths.next().unwrap())
    })
}

#[test]
#[ignore = "needs bash, kmod and Debian's kernel"]
fn firmware_is_packed_where_it_is_there_and_else_listed_with_its_package() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("firmware/e100")).unwrap();
    fs::write(folder.path("firmware/e100/d101m_ucode.bin"), "m").unwrap();
    fs::write(folder.path("firmware/e100/d101s_ucode.bin"), "s").unwrap();
    let packed = folder.path("firmware/e100/d101s_ucode.bin");
    let status = Command::new("xz").arg(&packed).status();
    assert!(status.unwrap().success());
    let firmware = folder.path("firmware");
    let said = build(
        &folder.path("archive"),
        &format!(
            "--init /bin/true --modules 'e100 bnx2' --firmware {}",
            firmware.display()
        ),
    );
    for expected in [
        "lib/firmware/e100/d101m_ucode.bin\n",
        "lib/firmware/e100/d101s_ucode.bin\n",
        "  firmware-misc-nonfree: e100, as e100/d102e_ucode.bin\n",
        "  firmware-bnx2: bnx2, as bnx2/bnx2-",
        "firmware: 2 files, 0.0 MiB; the archive: ",
    ] {
        assert!(said.contains(expected), "no \"{expected}\":\n{said}");
    }
}

#[test]
#[ignore = "needs bash, kmod, CAP_SYS_ADMIN and Debian's kernel"]
fn the_modules_of_this_machine_are_those_of_its_cards_and_of_what_they_are_behind() {
    in_new_namespace(|| {
        let folder = Folder::new();
        // A card at USB behind PCI, and a wireless one.
        let pci = folder.path("sys/devices/pci0000:00/0000:00:04.0");
        let usb = pci.join("usb1/1-1/1-1:1.0");
        let card = usb.join("net/eth7");
        let wireless = folder.path("sys/devices/pci0000:00/0000:00:05.0/net/wlan0");
        for (device, driver) in [
            (&pci, "xhci_pci"),
            (&usb, "r8152"),
            (
                &folder.path("sys/devices/pci0000:00/0000:00:05.0"),
                "iwlwifi",
            ),
        ] {
            let module = folder.path(&format!("sys/module/{driver}"));
            fs::create_dir_all(&module).unwrap();
            fs::create_dir_all(device.join("driver")).unwrap();
            symlink(module, device.join("driver/module")).unwrap();
        }
        fs::create_dir_all(&card).unwrap();
        fs::create_dir_all(wireless.join("phy80211")).unwrap();
        symlink("../..", card.join("device")).unwrap();
        symlink("../..", wireless.join("device")).unwrap();
        let class = folder.path("sys/class/net");
        fs::create_dir_all(&class).unwrap();
        symlink(&card, class.join("eth7")).unwrap();
        symlink(&wireless, class.join("wlan0")).unwrap();
        let sys = folder.path("sys");
        let mounted = Command::new("mount")
            .arg("--bind")
            .args([&sys, Path::new("/sys")])
            .status();
        assert!(mounted.unwrap().success());
        let flags = "--init /bin/true --modules this-machine";
        let said = build(&folder.path("archive"), flags);
        for module in ["r8152", "xhci-pci", "xhci-hcd", "mii", "8021q"] {
            assert!(
                said.contains(&format!("/{module}.ko\n")),
                "{module}:\n{said}"
            );
        }
        assert!(
            !said.contains("iwlwifi") && !said.contains("/e1000.ko"),
            "{said}"
        );
    });
}

/// Builds an archive for the kernel for all machines; returns what was said, and the names in it.
fn build(archive: &Path, flags: &str) -> String {
    shell(&format!(
        "kernel=$(debian_kernel generic)
        \"$root/initramfs/build\" --kernel-modules \"$(readlink -f \"$kernel/modules\")\" \
            --output {archive} {flags} 2>&1
        zcat {archive} | cpio -t --quiet",
        archive = archive.display()
    ))
}
