//! Measures the end of a boot in emulated machines, with BIOS and with EFI, by each way to hand a
//! kernel to kexec:
//!
//! ```text
//! tests/bench/run load
//! ```
//!
//! `WIREBOOT_BENCH_ROUNDS` says how many rounds, `WIREBOOT_BENCH_MIB` how long the initrds are. What is
//! printed are medians: milliseconds of hashing after the last byte, of loading, and of the jump, from
//! wireboot's last word to the next kernel's first; and the most memory that was in use before the
//! loading and at its end, beyond what was before the boot, in MiB.

use std::fs::{self, File};
use std::time::Instant;

use crate::common::machine::{Served, Setup, shell};
use crate::figures::{median, rounds};

/// What a boot may use before the loading, beyond its files: the program itself, buffers, and the
/// kernel's own bookkeeping.
const BESIDE_FILES_MIB: f64 = 8.0;

#[test]
#[ignore = "a benchmark; needs qemu-system-x86_64"]
fn the_end_of_a_boot() {
    let number = |name: &str| std::env::var(name).map(|text| text.parse::<u64>().unwrap());
    let rounds = rounds(3);
    let lengths = number("WIREBOOT_BENCH_MIB").map_or(vec![16, 512], |mib| vec![mib]);
    let ovmf = shell("debian_package ovmf");
    let efi = format!("-machine q35 -bios {ovmf}/usr/share/ovmf/OVMF.fd");
    println!(
        "firmware loader    initrd  hashing  load  jump ms  memory before load, at its end MiB"
    );
    for mib in lengths {
        let served = Served::new(&format!("bench-{mib}"));
        // The kernel takes zeros behind an archive for padding.
        let initrd = File::options()
            .write(true)
            .open(served.folder.join("greeting"));
        initrd.unwrap().set_len(mib << 20).unwrap();
        let kernel = fs::metadata(served.folder.join("vmlinuz")).unwrap().len();
        let files = mib as f64 + kernel as f64 / f64::from(1 << 20);
        for (name, firmware) in [("BIOS", "-machine pc"), ("EFI", efi.as_str())] {
            let loaders = ["file", "segments"];
            let mut runs = loaders.map(|_| Vec::new());
            for _ in 0..rounds {
                for (loader, runs) in loaders.iter().zip(&mut runs) {
                    runs.push(boot(&served, firmware, loader));
                }
            }
            for (loader, runs) in loaders.iter().zip(&runs) {
                let [hashing, load, jump, before, end] = medians(runs);
                println!(
                    "{name:<8} {loader:<8} {mib:>4} MiB {hashing:>8} {load:>5} {jump:>8} \
                     {before:>19.1} {end:>15.1}"
                );
                assert!(
                    before <= files + BESIDE_FILES_MIB,
                    "{before} MiB for {files}"
                );
            }
        }
    }
}

/// Boots by a loader until the second kernel is there; returns what is measured.
fn boot(served: &Served, firmware: &str, loader: &str) -> [f64; 5] {
    let server = served.over_http();
    let configuration = format!(
        "default greeting\nlabel greeting\n kernel {server}/vmlinuz\n initrd {server}/greeting\n \
         append console=ttyS0 earlyprintk=ttyS0 no_timer_check panic=-1\n"
    );
    served.put("pxelinux.cfg/default", configuration);
    let archive = served.folder.join("init.cpio.gz");
    shell(&format!(
        "\"$root/initramfs/build\" --init \"$root/tests/bench/load.sh\" --output {} \\
         --add \"$(debian_package busybox-static)/bin/busybox=bin/busybox\" \\
         --add \"${{WIREBOOT-$(static_binary)}}=bin/wireboot\"",
        archive.display()
    ));
    let mut machine = Setup::new(&format!("LOADER={loader}"))
        .initramfs(&archive)
        .with("-smp 2 -m 4096")
        .with(firmware)
        .on_own_network(served, "pxelinux.0")
        .start();
    machine.says(&["wireboot: starting"]);
    let jumped = Instant::now();
    machine.says(&["Linux version"]);
    let jump = jumped.elapsed().as_secs_f64() * 1e3;
    machine.says(&["Greetings from the second kernel."]);
    let said = machine.ends();
    let (said, _) = said.split_once("wireboot: starting").unwrap();
    let (before, all) = (said.split_once("now with the load").unwrap().0, said);
    let step = |name: &str| {
        let (_, rest) = all.rsplit_once(name).expect("the step is in the summary");
        rest.split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    [
        step(", measure "),
        step(", load "),
        jump.round(),
        memory(before),
        memory(all),
    ]
}

/// Returns the most memory that was in use, in MiB.
fn memory(said: &str) -> f64 {
    let lines = said.lines();
    let kib = lines.filter_map(|line| line.strip_prefix("memory in use: ")?.split(' ').next());
    let kib = kib.map(|kib| kib.parse::<f64>().unwrap());
    kib.fold(0.0, f64::max) / 1024.0
}

fn medians(runs: &[[f64; 5]]) -> [f64; 5] {
    std::array::from_fn(|index| median(runs.iter().filter_map(|run| run.get(index).copied())))
}
