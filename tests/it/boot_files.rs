//! Whole boots of an emulated machine on a bridged TAP, one for each kind of boot file, from real
//! servers: to the greeting of the second kernel, with the command line that the boot file says.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::far::{Far, Server};
use crate::common::in_new_namespace;
use crate::common::machine::{Machine, Served, Setup, shell};
use crate::common::servers::{dhcpd, dnsmasq, nginx, udhcpd};

/// What the first bootstrap program of SYSLINUX says of itself.
const PXELINUX: &str = "\u{1}\0PXELINUX 6.04\0";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_tree_boots_over_tftp() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("pxelinux"));
        served.put("pxelinux.0", PXELINUX);
        served.put(
            "pxelinux.cfg/default",
            "DEFAULT menu.c32\nTIMEOUT 10\nINCLUDE more.cfg\nLABEL local\nLOCALBOOT 0\n",
        );
        served.put(
            "more.cfg",
            "LABEL linux\nMENU DEFAULT\nKERNEL vmlinuz\nINITRD greeting\n\
             APPEND console=ttyS0 quiet panic=-1 word=pxelinux\nIPAPPEND 3\n",
        );
        let _server = tftp(&far, &served, "pxelinux.0");
        greets(
            boot("ip=dhcp"),
            "word=pxelinux ip=192.0.2.100:192.0.2.1:192.0.2.1:255.255.255.0 \
             BOOTIF=01-52-54-00-12-34-56",
        );
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_pxelinux_tree_boots_over_http() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("http"));
        served.put("tree/pxelinux.0", PXELINUX);
        served.put(
            "tree/pxelinux.cfg/01-52-54-00-12-34-56",
            "DEFAULT linux\nLABEL linux\nKERNEL /vmlinuz\nINITRD ../greeting\n\
             APPEND console=ttyS0 quiet panic=-1 word=http\n",
        );
        let _http = nginx(&far, &served.folder);
        let _server = dnsmasq(&far, "--dhcp-boot=http://192.0.2.1/tree/pxelinux.0");
        greets(boot("ip=dhcp"), "panic=-1 word=http");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn an_ipxe_script_boots_by_its_menu_its_variables_and_its_chain() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("ipxe"));
        served.put(
            "boot.ipxe",
            "#!ipxe\nset next second.ipxe\nmenu Choose\nitem other Other\nitem good Good\n\
             choose --default good --timeout 500 pick && goto ${pick}\n:other\nexit 1\n:good\n\
             chain missing.ipxe || chain ${next} || exit 2\n",
        );
        served.put(
            "second.ipxe",
            "#!ipxe\nkernel missing || kernel vmlinuz console=ttyS0 quiet panic=-1 \
             mac=${net0/mac:hexhyp} server=${next-server}\ninitrd greeting\nboot\n",
        );
        let _server = tftp(&far, &served, "boot.ipxe");
        greets(
            boot("ip=dhcp"),
            "panic=-1 mac=52-54-00-12-34-56 server=192.0.2.1",
        );
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_kernel_boots_by_a_proxy_beside_a_plain_server() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("proxy"));
        let proxy = Far::plug_in_as("other");
        proxy.run("ip address del 192.0.2.1/24 dev far");
        proxy.run("ip address add 192.0.2.3/24 dev far");
        let _plain = udhcpd(&far);
        // dnsmasq would put .0 behind a name without a dot.
        fs::rename(served.folder.join("vmlinuz"), served.folder.join("linux.0")).unwrap();
        let command = format!(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file= \
             --interface=far --bind-interfaces --dhcp-range=192.0.2.0,proxy \
             --pxe-service=X86PC,Linux,linux.0 --enable-tftp --tftp-root={}",
            served.folder.display()
        );
        let _proxy = proxy.serve(&command, "DHCP, proxy");
        let words = "ip=dhcp wireboot.initrd=greeting \
                     wireboot.append=\"console=ttyS0 quiet panic=-1 word=direct\"";
        let mut machine = machine(words).on_tap(&["near", "other"]).start();
        machine.says(&["tftp://192.0.2.3/linux.0: is a kernel"]);
        greets(machine, "panic=-1 word=direct");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_unified_kernel_image_boots_by_the_url_that_http_boot_firmware_is_given() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("uki"));
        let image = unified(&served, "console=ttyS0 quiet panic=-1 word=uki");
        let _http = nginx(&far, &served.folder);
        let class = format!(
            "class \"httpclients\" {{
                match if substring (option vendor-class-identifier, 0, 10) = \"HTTPClient\";
                option vendor-class-identifier \"HTTPClient\";
                filename \"http://192.0.2.1/{image}\";
            }}"
        );
        let _server = dhcpd(&far, &class);
        let boot = boot("ip=dhcp wireboot.identify=http");
        greets(boot, "panic=-1 word=uki");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_boot_loader_entry_boots() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("entry"));
        served.put(
            "loader/entries/linux.conf",
            "title Linux\nlinux /vmlinuz\ninitrd /greeting\noptions console=ttyS0 quiet\n\
             options panic=-1 word=entry\n",
        );
        let _server = tftp(&far, &served, "loader/entries/linux.conf");
        greets(boot("ip=dhcp"), "panic=-1 word=entry");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_grub_configuration_boots() {
    in_new_namespace(|| {
        let (far, served) = (Far::plug_in(), Served::new("grub"));
        served.put("shimx64.efi", "MZ\u{1}\0");
        served.put(
            "grub/grub.cfg",
            "set timeout=0\nset default=good\n\
             if [ \"$grub_cpu\" = x86_64 ]; then set word=grub; fi\n\
             menuentry Bad { linux /missing }\nmenuentry Good --id good {\n\
             linux /vmlinuz console=ttyS0 quiet panic=-1 word=$word\ninitrd /greeting\n}\n",
        );
        let _server = tftp(&far, &served, "shimx64.efi");
        greets(boot("ip=dhcp"), "panic=-1 word=grub");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn debians_netboot_archive_starts_the_installer_from_its_own_menu() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let package = shell("debian_package debian-installer-12-netboot-amd64");
        let tree = "usr/lib/debian-installer/images/12/amd64/text";
        let more = format!("--enable-tftp --tftp-root={package}/{tree} --dhcp-boot=pxelinux.0");
        let _server = dnsmasq(&far, &more);
        let mut machine = boot("ip=dhcp wireboot.append=console=ttyS0");
        machine.says(&["Debian GNU/Linux installer menu", "1 Install", "4 Help"]);
        machine.types("\r");
        machine.says(&[
            "selected label install",
            "debian-installer/amd64/initrd.gz: ",
            "initrd=debian-installer/amd64/initrd.gz --- quiet console=ttyS0",
            // Said by the initrd.
            "Starting system log daemon: syslogd, klogd.",
        ]);
    });
}

/// dnsmasq, which offers the folder by TFTP and names this boot file.
fn tftp(far: &Far, served: &Served, boot_file: &str) -> Server {
    let folder = served.folder.display();
    let more = format!("--enable-tftp --tftp-root={folder} --dhcp-boot={boot_file}");
    dnsmasq(far, &more)
}

/// Makes a unified kernel image of what is served, as `ukify` would; returns its name.
fn unified(served: &Served, command_line: &str) -> &'static str {
    served.put("cmdline", command_line);
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
    "linux.efi"
}

/// A machine with these words on its command line, which goes off when its boot fails.
fn machine(words: &str) -> Setup {
    Setup::new(&format!("{words} wireboot.on-failure=poweroff"))
}

/// Switches such a machine on, on a cable to the far end.
fn boot(words: &str) -> Machine {
    machine(words).on_tap(&["near"]).start()
}

/// Waits for the second kernel's greeting, and for `expected` on its command line.
fn greets(machine: Machine, expected: &str) {
    let console = machine.ends();
    let greeting = (console.lines()).find(|line| line.contains("Its command line:"));
    assert!(
        greeting.is_some_and(|line| line.contains(expected)),
        "{expected:?} is missing in {greeting:?}\n{console}"
    );
}
