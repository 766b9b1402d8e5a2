//! `wireboot fetch` over TFTP against real servers, each test in network namespaces of its own.
//!
//! With `WIREBOOT_BIG=1` files of 512 MiB are fetched too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::far::{Far, Server};
use common::machine::EMULATOR;
use common::{in_new_namespace, ip, wait_until};
use wireboot::time::Random;

/// Around the block lengths, and the size of a kernel with its initrd.
const SIZES: [usize; 7] = [0, 1, 511, 512, 513, 1428, 64 << 20];
const BIG: usize = 512 << 20;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn tftpd_hpa_serves_files_of_all_sizes() {
    all_sizes_arrive(tftpd_hpa);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn dnsmasq_serves_files_of_all_sizes() {
    all_sizes_arrive(dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn atftpd_with_windows_serves_files_of_all_sizes() {
    all_sizes_arrive(atftpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and QEMU"]
fn the_server_in_qemu_serves_files_of_all_sizes() {
    all_sizes_arrive(in_qemu);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and QEMU"]
fn block_numbers_go_round_with_every_server() {
    for (mtu, len) in [("544", 40 << 20), ("1460", 100 << 20)] {
        for server in [tftpd_hpa, dnsmasq, atftpd, in_qemu] {
            in_new_namespace(move || {
                let lan = Lan::new(server);
                lan.offer("file", len);
                lan.arrives("file", &["--mtu", mtu]);
            });
        }
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_packet_lost_in_a_hundred_costs_time_and_no_octet() {
    for server in [tftpd_hpa, dnsmasq, atftpd] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            for len in [513, 1428, 8 << 20] {
                lan.offer("file", len);
                lan.lose(10);
                lan.arrives("file", &[]);
            }
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_packet_lost_in_ten_costs_time_and_no_octet() {
    for server in [tftpd_hpa, dnsmasq, atftpd] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            lan.offer("file", 1 << 20);
            lan.lose(100);
            lan.arrives("file", &[]);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_dies_leaves_no_file_and_is_noticed_within_the_stall_time() {
    in_new_namespace(|| {
        let lan = Lan::new(dnsmasq);
        lan.offer("file", 64 << 20);
        let client = lan.start("file", &["--stall-timeout", "2"]);
        wait_until("some octets have come", || lan.received() > 1 << 20);
        lan.far.run("ip link set far down");
        let died = Instant::now();
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
        assert!(died.elapsed() < Duration::from_secs(10), "{output:?}");
        assert!(last_line(&output).contains("nothing more came after"));
        assert_eq!(names(&lan.near), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    for server in [tftpd_hpa, dnsmasq, atftpd] {
        in_new_namespace(move || {
            let lan = Lan::new(server);
            let output = lan.start("nothing", &[]).wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(7), "{output:?}");
            let text = last_line(&output);
            assert!(text.contains("tftp://192.0.2.1/nothing"), "{text}");
            assert!(text.contains("file not found"), "{text}");
            assert_eq!(names(&lan.near), Vec::<String>::new());
        });
    }
}

/// A server at the far end of a cable, and a folder for what is fetched from it.
struct Lan {
    _server: Server,
    far: Far,
    served: PathBuf,
    near: PathBuf,
}

impl Lan {
    fn new(server: fn(&Far, &str) -> Server) -> Self {
        let far = Far::plug_in();
        let (served, near) = (far.folder.join("served"), far.folder.join("near"));
        for folder in [&served, &near] {
            fs::create_dir(folder).unwrap();
        }
        ip("address add 192.0.2.2/24 dev near");
        ip("link set near up");
        let server = server(&far, served.to_str().unwrap());
        Self {
            _server: server,
            far,
            served,
            near,
        }
    }

    fn offer(&self, name: &str, len: usize) {
        let mut random = Random::new(len as u64);
        let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
        let mut content: Vec<u8> = words.take(len / 8 + 1).flatten().collect();
        content.truncate(len);
        fs::write(self.served.join(name), content).unwrap();
    }

    /// From now on so many packets in a thousand are lost, in each direction.
    fn lose(&self, permille: u32) {
        let rules = format!(
            "flush ruleset\ntable inet loss {{\n chain input {{\n  type filter hook input priority 0;
  numgen random mod 1000 < {permille} drop\n }}\n}}\n"
        );
        let path = self.far.write("rules", &rules);
        self.far.run(&format!("nft -f {path}"));
        let here = Command::new("nft").args(["-f", &path]).status().unwrap();
        assert!(here.success());
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args(["fetch", "-o"])
            .arg(self.near.join(name))
            .args(arguments)
            .arg(format!("tftp://192.0.2.1/{name}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn arrives(&self, name: &str, arguments: &[&str]) {
        let output = self.start(name, arguments).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (sent, come) = (self.served.join(name), self.near.join(name));
        assert!(fs::read(&sent).unwrap() == fs::read(&come).unwrap());
        fs::remove_file(sent).unwrap();
        fs::remove_file(come).unwrap();
    }

    /// Octets that the interface has received.
    fn received(&self) -> u64 {
        let devices = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let near = devices
            .lines()
            .find_map(|line| line.trim().strip_prefix("near:"));
        let mut numbers = near.unwrap().split_whitespace();
        numbers.next().unwrap().parse().unwrap()
    }
}

fn all_sizes_arrive(server: fn(&Far, &str) -> Server) {
    in_new_namespace(move || {
        let lan = Lan::new(server);
        let big = std::env::var_os("WIREBOOT_BIG").map(|_| BIG);
        for len in SIZES.into_iter().chain(big) {
            lan.offer("file", len);
            lan.arrives("file", &[]);
        }
    });
}

fn tftpd_hpa(far: &Far, folder: &str) -> Server {
    far.start(&format!(
        "in.tftpd -L -u root --address 192.0.2.1:69 -s {folder}"
    ))
}

fn dnsmasq(far: &Far, folder: &str) -> Server {
    let command = format!(
        "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file=
        --listen-address=192.0.2.1 --bind-interfaces --enable-tftp --tftp-root={folder}"
    );
    far.serve(&command, "TFTP root is")
}

/// The one of Debian's servers that knows windows. It is not installed, because Debian has it take
/// the place of tftpd-hpa.
fn atftpd(far: &Far, folder: &str) -> Server {
    let script = ". initramfs/lib.sh; debian_package atftpd";
    let output = Command::new("bash").args(["-c", script]).output().unwrap();
    let package = String::from_utf8(output.stdout).unwrap();
    let program = Path::new(package.trim()).join("usr/sbin/atftpd");
    far.start(&format!(
        "{} --daemon --no-fork --bind-address 192.0.2.1 --user root --group root --logfile - {folder}",
        program.display()
    ))
}

/// The server that QEMU has for its machines, without a machine.
fn in_qemu(far: &Far, folder: &str) -> Server {
    // It has the address of `far` itself.
    for command in [
        "ip address flush dev far",
        "ip tuntap add tap0 mode tap",
        "ip link add bridge0 type bridge",
        "ip link set far master bridge0",
        "ip link set tap0 master bridge0 up",
        "ip link set bridge0 up",
    ] {
        far.run(command);
    }
    let server = far.start(&format!(
        "{EMULATOR} -machine none -nodefaults -display none
        -netdev user,id=own,net=192.0.2.0/24,host=192.0.2.1,tftp={folder}
        -netdev tap,id=tap,ifname=tap0,script=no,downscript=no
        -netdev hubport,id=first,hubid=0,netdev=own -netdev hubport,id=second,hubid=0,netdev=tap"
    ));
    wait_until("QEMU has the TAP", || {
        far.output("ip link show dev tap0").contains("LOWER_UP")
    });
    server
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
