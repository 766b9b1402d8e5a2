//! Races whole boots against iPXE, from power-on to the greeting of the kernel that was fetched:
//!
//! ```text
//! tests/bench/run boot
//! ```
//!
//! iPXE is the ROM of the emulated card, from Debian's package ipxe-qemu; wireboot is `/init` behind
//! Debian's kernel for virtual machines, as in `initramfs/demo`. Both have one emulated processor, get
//! the same iPXE script from the same servers over a TAP, and fetch the same kernel and initrd, which
//! is padded to the size. They boot in turn. `WIREBOOT_BENCH_MIB` says the sizes, by default `"16 256"`,
//! and `WIREBOOT_BENCH_ROUNDS` the number of rounds, by default 9. Medians are printed, and the time of
//! wireboot as a part of iPXE's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::far::Far;
use crate::common::machine::{EMULATOR, MAC, Served, parts, shell};
use crate::common::servers::{DNSMASQ, nginx};
use crate::common::{in_new_namespace, ip};
use crate::figures::rounds;

/// For a boot of 256 MiB by TFTP with iPXE on a busy host.
const LIMIT_SECONDS: &str = "900";
const GREETING: &str = "Greetings from the second kernel.";
const WORDS: &str = "console=ttyS0 no_timer_check quiet panic=-1";

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, QEMU and servers"]
fn a_whole_boot_against_ipxe() {
    let told = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let sizes = told("WIREBOOT_BENCH_MIB", "16 256");
    let rounds = rounds(9);
    // Brought before the namespace, which has no way out.
    let rom = shell("echo \"$(debian_package ipxe-qemu)/usr/lib/ipxe/qemu/efi-virtio.rom\"");
    parts();
    for scheme in ["tftp", "http"] {
        for mib in sizes.split_whitespace() {
            let (mib, rom) = (mib.parse().unwrap(), rom.clone());
            in_new_namespace(move || race(scheme, mib, rounds, &rom));
        }
    }
}

fn race(scheme: &str, mib: usize, rounds: usize, rom: &str) {
    let (far, served) = (Far::plug_in(), Served::new("race"));
    let script = format!(
        "#!ipxe\nkernel {scheme}://192.0.2.1/vmlinuz {WORDS} initrd=initrd\n\
         initrd {scheme}://192.0.2.1/initrd\nboot\n"
    );
    served.put("script", script);
    pad(&served.folder, mib << 20);
    plug_in_tap();
    let command = format!(
        "{DNSMASQ} --dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,1h --enable-tftp
         --dhcp-boot={scheme}://192.0.2.1/script --tftp-root={}",
        served.folder.display()
    );
    let _dhcp = far.serve(&command, "DHCP, IP range");
    let _http = nginx(&far, &served.folder);
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..rounds {
        times[0].push(by_wireboot());
        times[1].push(by_ipxe(rom));
    }
    let [ours, theirs] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    println!(
        "{scheme}, {mib} MiB, {rounds} rounds: wireboot {ours:.1} s, iPXE {theirs:.1} s, ratio {:.2}",
        ours / theirs
    );
}

/// Makes the initrd, as long as is missing to `len` with the kernel: zeros behind the archive, which
/// the kernel passes over (init/initramfs.c, `unpack_to_rootfs`).
fn pad(folder: &Path, len: usize) {
    let kernel = fs::metadata(folder.join("vmlinuz")).unwrap().len();
    let mut initrd = fs::read(folder.join("greeting")).unwrap();
    let rest = len - usize::try_from(kernel).unwrap();
    assert!(initrd.len() <= rest, "the kernel and its initrd are longer");
    initrd.resize(rest, 0);
    fs::write(folder.join("initrd"), initrd).unwrap();
}

fn plug_in_tap() {
    ip("link add bridge0 type bridge");
    ip("tuntap add tap0 mode tap");
    for port in ["tap0", "near"] {
        ip(&format!("link set {port} master bridge0 up"));
    }
    ip("link set bridge0 up");
}

fn by_wireboot() -> Duration {
    let paths = parts();
    let arguments: [PathBuf; 4] = [
        "-kernel".into(),
        paths.kernel.clone(),
        "-initrd".into(),
        paths.initramfs.clone(),
    ];
    let mut qemu = machine("");
    qemu.args(arguments);
    qemu.args(["-append", &format!("{WORDS} ip=dhcp")]);
    until_greeting(qemu)
}

fn by_ipxe(rom: &str) -> Duration {
    // The ROM for EFI has the one for BIOS too.
    let mut qemu = machine(&format!(",romfile={rom}"));
    qemu.args(["-boot", "n"]);
    until_greeting(qemu)
}

/// Returns the emulator of a machine with one processor and a card on the TAP.
fn machine(card: &str) -> Command {
    let mut qemu = Command::new("timeout");
    qemu.args(["-k", "1", LIMIT_SECONDS, EMULATOR]);
    qemu.args(["-accel", "tcg", "-smp", "1", "-m", "2048", "-nodefaults"]);
    qemu.args(["-no-reboot", "-display", "none", "-serial", "stdio"]);
    qemu.args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]);
    // The ROM is for cards of virtio 1.0, and firmware runs none that is for another.
    let card = format!("virtio-net-pci,disable-legacy=on,netdev=net,mac={MAC}{card}");
    qemu.args(["-device", &card]);
    qemu
}

/// Switches the machine on, and returns when the second kernel greets. That ends the machine.
fn until_greeting(mut qemu: Command) -> Duration {
    let started = Instant::now();
    let mut child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("timeout is installed");
    let mut console = Vec::new();
    let mut took = None;
    for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        if line.contains(GREETING) {
            took = Some(started.elapsed());
        }
        console.push(line);
    }
    child.wait().unwrap();
    took.unwrap_or_else(|| panic!("no greeting:\n{}", console.join("\n")))
}
