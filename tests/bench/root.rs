//! Races roots by HTTP: the same Debian root, a squashfs, mounted by wireboot as process 1 and by
//! Debian's dracut (livenet and dmsquash-live), each in an emulated machine on a TAP:
//!
//! ```text
//! tests/bench/run root
//! ```
//!
//! Both have the same kernel and get the squashfs from the same nginx, which counts its bytes; they boot
//! in turn, `WIREBOOT_BENCH_ROUNDS` times, by default 5. Medians are printed, as rows of the chapter on
//! measurements: seconds from the kernel's start, by its own clock, to the first line of the root's first
//! process; what a machine without a disk has fetched until then, which is the kernel and the initramfs that
//! its firmware gets (the emulator is handed them here) and the bytes of bodies that nginx has sent; and the
//! memory that is available at that line. Two more benchmarks print what becomes of either where the server's
//! connection is cut five times, and the least memory that a machine boots with, to 32 MiB.

use std::fs;
use std::io::Read;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::far::Far;
use crate::common::machine::{EMULATOR, MAC};
use crate::common::servers::{DNSMASQ, nginx};
use crate::common::{in_new_namespace, ip};
use crate::figures::{median, rounds};

/// Several times what either takes on a busy host.
const LIMIT_SECONDS: &str = "900";
/// The memory of a machine, where there is to be no want of it.
const USUAL_MIB: u32 = 2048;
const MIB: f64 = 1024.0 * 1024.0;
/// Where connections are cut, and how many.
const RELAY: &str = "192.0.2.3:8080";
const CUTS: usize = 5;

/// One way to the root.
struct Way {
    name: &'static str,
    initramfs: PathBuf,
    words: &'static str,
}

/// What a boot took that came to the first line.
#[derive(Clone, Copy)]
struct Boot {
    seconds: f64,
    available_mib: f64,
    sent_mib: f64,
}

/// A server's namespace, and what it serves.
struct Bench {
    folder: PathBuf,
    ways: [Way; 2],
    image_len: u64,
    far: Far,
}

#[test]
#[ignore = "a benchmark; needs CAP_SYS_ADMIN, QEMU, mmdebstrap, dnsmasq and nginx"]
fn a_debian_root_against_dracut() {
    let rounds = rounds(5);
    in_bench(move |bench| {
        println!("{rounds} rounds, machines of {USUAL_MIB} MiB");
        let mut boots = bench.ways.each_ref().map(|_| Vec::new());
        for _ in 0..rounds {
            for (way, boots) in bench.ways.iter().zip(&mut boots) {
                let (boot, console) = bench.boot(way, USUAL_MIB, "192.0.2.1");
                boots.push(boot.unwrap_or_else(|| panic!("{} fails:\n{console}", way.name)));
            }
        }
        let medians =
            |of: fn(&Boot) -> f64| boots.each_ref().map(|boots| median(boots.iter().map(of)));
        let kernel = [mib_of(&bench.folder.join("vmlinuz")); 2];
        let initramfs = bench.ways.each_ref().map(|way| mib_of(&way.initramfs));
        let sent = medians(|boot| boot.sent_mib);
        let all = [0, 1].map(|way| kernel[way] + initramfs[way] + sent[way]);
        println!("| | wireboot | dracut | ratio |\n| --- | ---: | ---: | ---: |");
        for (what, [first, second]) in [
            ("seconds to the first line", medians(|boot| boot.seconds)),
            ("kernel, MiB", kernel),
            ("initramfs, with drivers of all cards, MiB", initramfs),
            ("bytes of the image sent, MiB", sent),
            ("all three: what is fetched over the network, MiB", all),
            (
                "memory available at the first line, MiB",
                medians(|boot| boot.available_mib),
            ),
        ] {
            println!(
                "| {what} | {first:.1} | {second:.1} | {:.2} |",
                first / second
            );
        }
    });
}

#[test]
#[ignore = "a benchmark; needs CAP_SYS_ADMIN, QEMU, mmdebstrap, dnsmasq and nginx"]
fn a_server_that_cuts_its_connection_five_times() {
    in_bench(|bench| {
        let relay = Relay::start(bench.image_len / (CUTS as u64 + 2));
        for way in &bench.ways {
            relay.accepted.store(0, Ordering::Relaxed);
            let (boot, console) = bench.boot(way, USUAL_MIB, RELAY);
            let cut = relay.accepted.load(Ordering::Relaxed).min(CUTS);
            match boot {
                Some(boot) => println!(
                    "{:<9} with {cut} connections cut: {:.1} s, {:.1} MiB sent",
                    way.name, boot.seconds, boot.sent_mib
                ),
                None => println!(
                    "{:<9} with {cut} connections cut does not come to the root:\n{}",
                    way.name,
                    last_lines(&console)
                ),
            }
        }
    });
}

#[test]
#[ignore = "a benchmark; needs CAP_SYS_ADMIN, QEMU, mmdebstrap, dnsmasq and nginx"]
fn the_least_memory_that_a_debian_root_boots_with() {
    in_bench(|bench| {
        for way in &bench.ways {
            let least = bench.least_memory(way);
            println!("{:<9} boots with {least} MiB and no less", way.name);
        }
    });
}

/// Runs a benchmark in a namespace with a server and a TAP.
fn in_bench(act: impl FnOnce(&Bench) + Send + 'static) {
    // Brought before the namespace, which has no way out.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/debian_root.sh");
    let made = Command::new(script).stderr(Stdio::inherit()).output();
    let made = made.unwrap();
    assert!(made.status.success());
    let folder = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim_end());
    in_new_namespace(move || {
        let bench = Bench::new(folder);
        let range = "--dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,1h";
        let command = format!("{DNSMASQ} {range}");
        let _dhcp = bench.far.serve(&command, "DHCP, IP range");
        let _http = nginx(&bench.far, &bench.folder);
        act(&bench);
    });
}

impl Bench {
    fn new(folder: PathBuf) -> Self {
        let ways = [
            Way {
                name: "wireboot",
                initramfs: folder.join("wireboot.gz"),
                words: "wireboot.on-failure=poweroff",
            },
            Way {
                name: "dracut",
                initramfs: folder.join("dracut.gz"),
                words: "ip=dhcp rd.live.image rd.live.overlay.overlayfs=1 rd.shell=0 rd.emergency=reboot",
            },
        ];
        let image_len = fs::metadata(folder.join("root.squashfs")).unwrap().len();
        println!("the squashfs has {:.1} MiB", image_len as f64 / MIB);
        let far = Far::plug_in();
        ip("link add bridge0 type bridge");
        ip("tuntap add tap0 mode tap");
        for port in ["tap0", "near"] {
            ip(&format!("link set {port} master bridge0 up"));
        }
        ip("address add 192.0.2.3/24 dev bridge0");
        ip("link set bridge0 up");
        Self {
            folder,
            ways,
            image_len,
            far,
        }
    }

    /// Returns the smallest memory that a machine boots with, in MiB: by halves, to 32.
    fn least_memory(&self, way: &Way) -> u32 {
        let (mut too_small, mut enough) = (4, 32);
        while enough - too_small > 1 {
            let middle = u32::midpoint(too_small, enough);
            let (boot, _) = self.boot(way, middle * 32, "192.0.2.1");
            if boot.is_some() {
                enough = middle;
            } else {
                too_small = middle;
            }
        }
        enough * 32
    }

    /// Boots a machine once; returns what it took if it came to the root, and its console.
    fn boot(&self, way: &Way, mib: u32, server: &str) -> (Option<Boot>, String) {
        let log = self.far.folder.join("access.log");
        let before = sent(&log);
        let words = format!(
            "console=ttyS0 no_timer_check quiet panic=-1 init=/sbin/first-line \
             root=live:http://{server}/root.squashfs {}",
            way.words
        );
        let output = Command::new("timeout")
            .args(["-k", "1", LIMIT_SECONDS, EMULATOR])
            .args(["-accel", "tcg", "-smp", "1", "-m", &mib.to_string()])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio"])
            .args([Path::new("-kernel"), &self.folder.join("vmlinuz")])
            .args([Path::new("-initrd"), &way.initramfs])
            .args(["-append", &words])
            .args([
                "-netdev",
                "tap,id=net,ifname=tap0,script=no,downscript=no",
                "-device",
                &format!("virtio-net-pci,netdev=net,mac={MAC}"),
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("timeout is installed");
        let console = String::from_utf8_lossy(&output.stdout).into_owned();
        let sent_mib = (sent(&log) - before) as f64 / MIB;
        let line = console.split("userspace after ").nth(1);
        let boot = line.map(|line| {
            let mut numbers = line.split(' ').filter_map(|word| word.parse::<f64>().ok());
            Boot {
                seconds: numbers.next().expect("seconds"),
                available_mib: numbers.next().expect("KiB") / 1024.0,
                sent_mib,
            }
        });
        (boot, console)
    }
}

/// Returns the bytes of bodies in all answers of nginx so far, by its log in the combined format.
fn sent(log: &Path) -> u64 {
    let text = fs::read_to_string(log).unwrap_or_default();
    let counts = text.lines().map(|line| {
        let behind_request = line.split('"').nth(2).expect("status and bytes");
        let count = behind_request.split_whitespace().nth(1);
        count.expect("bytes").parse::<u64>().unwrap()
    });
    counts.sum()
}

fn mib_of(file: &Path) -> f64 {
    fs::metadata(file).unwrap().len() as f64 / MIB
}

fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// A way to nginx that closes connections before the end of the file.
#[derive(Default)]
struct Relay {
    accepted: AtomicUsize,
}

impl Relay {
    /// Each of the first [`CUTS`] connections gets `len` bytes and no more.
    fn start(len: u64) -> Arc<Self> {
        let relay = Arc::new(Self::default());
        let listener = TcpListener::bind(RELAY).unwrap();
        let accepting = Arc::clone(&relay);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = accepting.accepted.fetch_add(1, Ordering::Relaxed);
                let limit = if number < CUTS { len } else { u64::MAX };
                thread::spawn(move || pass_on(client, limit));
            }
        });
        relay
    }
}

/// Passes a request on, and up to `limit` bytes of the answer. Whoever closes is right.
fn pass_on(mut client: TcpStream, limit: u64) {
    let server = TcpStream::connect("192.0.2.1:80").unwrap();
    let (mut asking, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut asking, &mut asked);
        let _ = asked.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut (&server).take(limit), &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
