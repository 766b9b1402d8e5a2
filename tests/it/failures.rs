//! Ten ways for a boot to fail, told apart by the text on the console alone.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::in_new_namespace;
use crate::common::machine::{Served, Setup};
use crate::common::servers::dnsmasq;
use crate::port::{LISTENING, bpdu};
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;
use wireboot_proto::format::kernel_image::fixture::bz_image;
use wireboot_proto::packet::option::code;

/// What an operator has to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoCard,
    NoCable,
    PortBlocked,
    WrongVlan,
    ServerSilent,
    AnswersDiscarded,
    BootFileMissing,
    WrongHash,
    MemoryShort,
    KexecRefused,
}

/// What the last line has of each: what is wrong, and what to do.
const WORDS: [(Fault, &str, &str); 10] = [
    (Fault::NoCard, "no usable network interface", "driver"),
    (Fault::NoCable, "no carrier", "is the cable in"),
    (
        Fault::PortBlocked,
        "the port is in STP",
        "longer (--timeout)",
    ),
    (
        Fault::WrongVlan,
        "frames of VLAN 7 are seen",
        "try them with vlan=try:7",
    ),
    (
        Fault::ServerSilent,
        "no offer among them",
        "does a DHCP server or relay",
    ),
    (
        Fault::AnswersDiscarded,
        "were discarded",
        "correct that on the server or relay",
    ),
    (
        Fault::BootFileMissing,
        "/pxe/missing: the server has no such file",
        "put it there, or correct its name",
    ),
    (
        Fault::WrongHash,
        "failed verification",
        "replace the file, or correct the hash",
    ),
    (
        Fault::MemoryShort,
        "of memory; 24 MiB available",
        "a system takes less as a root",
    ),
    (
        Fault::KexecRefused,
        "cannot start the fetched kernel",
        "kexec_load_disabled is 1, and only a restart",
    ),
];

/// Returns what the console tells of: whoever reads it knows nothing else.
fn faults(console: &str) -> Vec<Fault> {
    let console = console.replace("\x1b[1;31m", "").replace("\x1b[0m", "");
    let mut lines = console.lines().rev();
    let last = lines.find_map(|line| line.split_once("wireboot: error: "));
    let (_, last) = last.expect(&console);
    let told = WORDS.iter();
    let told = told.filter(|(_, wrong, advice)| last.contains(wrong) && last.contains(advice));
    told.map(|(fault, ..)| *fault).collect()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and qemu-system-x86_64"]
fn ten_failures_are_told_apart_by_the_console_alone() {
    let told = WORDS.map(|(fault, ..)| {
        let console = console_of(fault);
        println!("== {fault:?}\n{console}");
        (fault, faults(&console))
    });
    for (fault, told) in told {
        assert_eq!(told, [fault]);
    }
}

/// Makes a boot fail by `fault`, and returns what it says.
fn console_of(fault: Fault) -> String {
    let (text, console) = channel();
    in_new_namespace(move || {
        let said = match fault {
            Fault::NoCard => boot("--link-timeout 1"),
            Fault::NoCable => {
                let far = Far::plug_in();
                far.run("ip link set far down");
                boot("-i near --link-timeout 1")
            }
            Fault::PortBlocked => beside(&bpdu(LISTENING)),
            Fault::WrongVlan => beside(&tagged()),
            Fault::ServerSilent => {
                let far = Far::plug_in();
                let _relay = ScriptedDhcp::start(&far, |_| Vec::new());
                boot("-i near --timeout 3")
            }
            Fault::AnswersDiscarded => {
                let far = Far::plug_in();
                let _server = ScriptedDhcp::start(&far, |question| {
                    let answer = grant(question).map(|mut answer| {
                        answer.options.set(code::CLIENT_IDENTIFIER, [1, 2, 3]);
                        framed(&answer, 67)
                    });
                    answer.into_iter().collect()
                });
                boot("-i near --timeout 3")
            }
            Fault::BootFileMissing => from_server("missing", "-i near"),
            Fault::WrongHash => from_server("pinned.ipxe", "-i near"),
            Fault::MemoryShort => {
                let meminfo = "/run/meminfo";
                fs::write(meminfo, "MemTotal: 65536 kB\nMemAvailable: 24576 kB\n").unwrap();
                let mut mount = Command::new("mount");
                let mounted = mount.args(["--bind", meminfo, "/proc/meminfo"]).status();
                assert!(mounted.unwrap().success());
                from_server("kernel.ipxe", "-i near")
            }
            Fault::KexecRefused => in_machine(),
        };
        text.send(said).unwrap();
    });
    console.recv().unwrap()
}

/// Boots from dnsmasq with these files in its folder `pxe`.
fn from_server(boot_file: &str, words: &str) -> String {
    let far = Far::plug_in();
    let folder = far.folder.join("pxe");
    fs::create_dir(&folder).unwrap();
    let mut kernel = bz_image();
    kernel.resize(16 << 20, 0);
    fs::write(folder.join("vmlinuz"), kernel).unwrap();
    let wrong = "0".repeat(64);
    for (name, line) in [
        ("kernel.ipxe", "kernel vmlinuz"),
        ("pinned.ipxe", &format!("kernel vmlinuz#sha256={wrong}")),
    ] {
        fs::write(folder.join(name), format!("#!ipxe\n{line}\nboot\n")).unwrap();
    }
    let root = far.folder.display();
    let served = format!("--enable-tftp --tftp-root={root} --dhcp-boot=pxe/{boot_file}");
    let _server: Server = dnsmasq(&far, &served);
    boot(words)
}

/// Boots while `far` sends this frame again and again.
fn beside(frame: &[u8]) -> String {
    let far = Far::plug_in();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, frame) = (Arc::clone(&stop), frame.to_vec());
    let sender = far.enter(move || {
        let index = nix::net::if_::if_nametoindex("far").unwrap();
        let socket = PacketSocket::open(index, &FilterProgram::nothing()).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            // Fails while the near end is down.
            let _ = socket.send(&frame);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let said = boot("-i near --timeout 4");
    stop.store(true, Ordering::Relaxed);
    sender.join().expect("it sends");
    said
}

/// Boots up to the load, which none of these gets to, and returns what is on the console.
fn boot(words: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["boot", "--stop-after", "load", "--unattended"]);
    let output = command.args(words.split_whitespace()).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Boots an emulated machine that starts no other kernel: containers and their hosts may have no kexec.
fn in_machine() -> String {
    let served = Served::new("refused");
    served.put("boot.ipxe", "#!ipxe\nkernel vmlinuz\nboot\n");
    let words = "ip=dhcp sysctl.kernel.kexec_load_disabled=1 wireboot.on-failure=poweroff";
    let setup = Setup::new(words).on_own_network(&served, "boot.ipxe");
    let said = setup.start().ends();
    // What process 1 does about it comes behind.
    let lines = said
        .lines()
        .take_while(|line| !line.contains("boot failed"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A frame of the VLAN 7 to all.
fn tagged() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 9, 0x81, 0, 0, 7, 0x88, 0xb5]);
    frame.resize(60, 0);
    frame
}
