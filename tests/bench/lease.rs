//! Measures taking a lease against other clients and against a floor, all in turn in each round,
//! from the same dnsmasq over a veth:
//!
//! ```text
//! tests/bench/run lease
//! ```
//!
//! `WIREBOOT_BENCH_ROUNDS` says how many rounds. What is printed are medians, and minima where the
//! machine may be busy: milliseconds from the start of the client until the interface has its address,
//! as the kernel tells it, and until the client has ended; milliseconds of CPU of the client and all
//! that it has started; KiB of its largest process, which the kernel counts in steps of 128 or so;
//! packets sent and received until it has ended; system calls, counted by strace in a run of their own;
//! and how many times as long as the floor's the first two are, in the median of all rounds.
//!
//! There are three tables, since the end of a packet socket takes as long as a grace period of the
//! kernel's RCU: of the system as it comes; with grace periods expedited for all programs; and with a
//! `/sys` that cannot be written, where no program can expedite its own.
//!
//! The floor is `floor.c`: canned packets and an address by ioctl. Clients have the flags that let them
//! be fastest while they do the same: address, mask and default route, to the end of the process. Where
//! that is not what people run, both are there: `wireboot` looks for another host with the address
//! while it asks, dhcpcd before it uses it, and dhclient's own script does more than is asked here. The
//! interface is up and has a carrier beforehand, and no client has a lease of an earlier round.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::client::json;
use crate::common::far::{Far, Server};
use crate::common::machine::{compiled, shell};
use crate::common::servers::DNSMASQ;
use crate::common::{in_new_namespace, ip, own_var_lib, wait_until};
use crate::figures::{median, rounds};

const ROUNDS: usize = 21;

/// What is measured beside the programs of `tests/bench`: wireboot, and Debian's clients, installed or
/// unpacked. klibc's programs look for their library in /lib, which is not ours to write to; `/run` is
/// the test's own and as long.
const PROGRAMS: &str = "
echo \"${WIREBOOT-$(static_binary)}\"
echo \"$(debian_package busybox-static)/bin/busybox\"
sed 's|/lib/klibc-|/run/klibc-|' \"$(debian_package klibc-utils)/usr/lib/klibc/bin/ipconfig\" >\"$work/ipconfig\"
chmod 755 \"$work/ipconfig\"
echo \"$work/ipconfig\"
find \"$(debian_package libklibc)\" -name 'klibc-*.so'
folder=$(debian_package isc-dhcp-client)
find \"$folder\" -name dhclient -type f -path '*bin*'
find \"$folder\" -name dhclient-script
folder=$(debian_package dhcpcd-base)
find \"$folder\" -name dhcpcd -type f -path '*bin*'
find \"$folder\" -name dhcpcd-run-hooks
";

/// Sets what the others set, by the names of udhcpc, or of dhclient and dhcpcd.
const SCRIPT: &str = "#!BUSYBOX sh
case ${1-$reason} in
bound | BOUND | REBOOT)
    BUSYBOX ifconfig $interface ${ip-$new_ip_address} netmask ${subnet-$new_subnet_mask}
    BUSYBOX route add default gw ${router-$new_routers} dev $interface ;;
esac
";

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, a server and clients"]
fn lease_against_other_clients() {
    // Before there is no network to bring them over.
    let programs = shell(PROGRAMS);
    in_new_namespace(move || {
        let lan = Lan::new(&programs);
        let rounds = rounds(ROUNDS);
        for kernel in [Kernel::AsItComes, Kernel::Expedited, Kernel::ReadOnly] {
            let _set = kernel.set();
            println!("\n{}", kernel.name());
            compare(&lan, rounds);
        }
    });
}

/// Runs every client in each round, and prints the table.
fn compare(lan: &Lan, rounds: usize) {
    let clients = lan.clients();
    let mut runs = vec![Vec::new(); clients.len()];
    for _ in 0..rounds {
        for (client, runs) in clients.iter().zip(&mut runs) {
            runs.push(lan.measure(client));
        }
    }
    println!(
        "{:<34}{:>9}{:>8}{:>9}{:>8}{:>8}{:>8}{:>7}{:>7}{:>9}{:>7}",
        "",
        "address",
        "least",
        "x floor",
        "end",
        "least",
        "x floor",
        "CPU",
        "KiB",
        "packets",
        "calls"
    );
    let floor = runs.first().expect("the floor is first").clone();
    for (client, runs) in clients.iter().zip(&runs) {
        let of = |value: fn(&Run) -> f64| median(runs.iter().map(value));
        let least = |value: fn(&Run) -> f64| runs.iter().map(value).fold(f64::MAX, f64::min);
        let ratio = |value: fn(&Run) -> f64| {
            let both = runs.iter().zip(&floor);
            median(both.map(|(run, floor)| value(run) / value(floor)))
        };
        println!(
            "{:<34}{:>9.2}{:>8.2}{:>9.2}{:>8.2}{:>8.2}{:>8.2}{:>7.2}{:>7.0}{:>9.0}{:>7}",
            client.name,
            of(|run| run.address),
            least(|run| run.address),
            ratio(|run| run.address),
            of(|run| run.end),
            least(|run| run.end),
            ratio(|run| run.end),
            of(|run| run.cpu),
            of(|run| run.kib),
            of(|run| run.packets),
            lan.count_calls(client),
        );
    }
}

/// What the kernel does about grace periods.
#[derive(Clone, Copy)]
enum Kernel {
    AsItComes,
    Expedited,
    ReadOnly,
}

const EXPEDITED: &str = "/sys/kernel/rcu_expedited";

/// Puts the setting back.
struct Set(Option<String>);

impl Kernel {
    const fn name(self) -> &'static str {
        match self {
            Self::AsItComes => "the system as it comes",
            Self::Expedited => "1 in /sys/kernel/rcu_expedited",
            Self::ReadOnly => "/sys is read-only",
        }
    }

    fn set(self) -> Set {
        match self {
            Self::AsItComes => Set(None),
            Self::Expedited => {
                let before = fs::read_to_string(EXPEDITED).unwrap();
                fs::write(EXPEDITED, "1").unwrap();
                Set(Some(before))
            }
            Self::ReadOnly => {
                // In the test's own mount namespace.
                let remount = "mount --bind /sys /sys && mount -o remount,ro,bind /sys";
                let status = Command::new("sh").args(["-c", remount]).status();
                assert!(status.unwrap().success());
                Set(None)
            }
        }
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            fs::write(EXPEDITED, before).unwrap();
        }
    }
}

struct Client {
    name: &'static str,
    command: String,
    /// Whether a process stays when the client has ended.
    stays: bool,
}

/// What one run of a client took: milliseconds, KiB, and packets.
#[derive(Clone, Copy)]
struct Run {
    address: f64,
    end: f64,
    cpu: f64,
    kib: f64,
    packets: f64,
}

struct Lan {
    far: Far,
    _server: Server,
    measure: String,
    floor: String,
    wireboot: String,
    busybox: String,
    ipconfig: String,
    dhclient: [String; 2],
    dhcpcd: [String; 2],
}

impl Lan {
    /// Plugs in `near` and leaves it switched on. /var/lib is the test's own too, since dhcpcd keeps
    /// its leases there whatever it is told.
    fn new(programs: &str) -> Self {
        let mut programs = programs.lines().map(str::to_owned);
        let mut next = || programs.next().expect("every program is named");
        let [wireboot, busybox] = [(); 2].map(|()| next());
        let [ipconfig, library] = [(); 2].map(|()| next());
        let (_, name) = library.rsplit_once('/').expect("a path");
        fs::copy(&library, format!("/run/{name}")).expect("/run is ours");
        own_var_lib();
        let far = Far::plug_in();
        far.run("ip link set far addrgenmode none");
        ip("link set near addrgenmode none");
        ip("link set near up");
        wait_until("near is in use", || {
            ip("link show near").contains("state UP")
        });
        let server = far.serve(
            &format!("{DNSMASQ} --dhcp-range=192.0.2.100,192.0.2.200,255.255.255.0,1h"),
            "DHCP, IP range",
        );
        Self {
            far,
            _server: server,
            measure: compiled("measure"),
            floor: compiled("floor"),
            wireboot,
            busybox,
            ipconfig,
            dhclient: [next(), next()],
            dhcpcd: [next(), next()],
        }
    }

    fn clients(&self) -> Vec<Client> {
        let script = self
            .far
            .write("script", &SCRIPT.replace("BUSYBOX", &self.busybox));
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let none = self.far.write("none", "");
        let (wireboot, busybox) = (&self.wireboot, &self.busybox);
        let [dhclient, dhclient_script] = &self.dhclient;
        let [dhcpcd, dhcpcd_hooks] = &self.dhcpcd;
        let dhclient =
            format!("{dhclient} -4 -1 -q -lf /run/dhclient.leases -pf /run/dhclient.pid");
        let dhcpcd = format!("{dhcpcd} -4 --oneshot --quiet -f {none}");
        let client = |name, command: String| Client {
            name,
            command,
            stays: false,
        };
        let stays = |name, command| Client {
            name,
            command,
            stays: true,
        };
        vec![
            client("floor", format!("{} near", self.floor)),
            client("wireboot", format!("{wireboot} lease -i near")),
            client(
                "wireboot --acd off",
                format!("{wireboot} lease -i near --acd off"),
            ),
            client(
                "wireboot --no-expedite",
                format!("{wireboot} lease -i near --no-expedite"),
            ),
            client(
                "klibc ipconfig",
                format!("{} -c dhcp -t 20 near", self.ipconfig),
            ),
            client(
                "busybox udhcpc",
                format!("{busybox} udhcpc -i near -n -q -f -s {script}"),
            ),
            stays("dhclient", format!("{dhclient} -sf {dhclient_script} near")),
            stays(
                "dhclient, smallest script",
                format!("{dhclient} -cf {none} -sf {script} near"),
            ),
            client("dhcpcd", format!("{dhcpcd} -c {dhcpcd_hooks} near")),
            client(
                "dhcpcd --noarp, smallest script",
                format!("{dhcpcd} --noarp -c /bin/true near"),
            ),
        ]
    }

    fn measure(&self, client: &Client) -> Run {
        let before = packets();
        let output = Command::new(&self.measure)
            .args(client.command.split_whitespace())
            .output()
            .unwrap();
        let packets = packets() - before;
        let text = String::from_utf8(output.stdout).unwrap();
        let mut numbers = text
            .split_whitespace()
            .map(|word| word.parse::<f64>().unwrap());
        let mut next = || numbers.next().unwrap_or(-1.0);
        let run = Run {
            address: next() / 1000.0,
            end: next() / 1000.0,
            cpu: next() / 1000.0,
            kib: next(),
            packets,
        };
        let status = next();
        assert!(
            run.address > 0.0 && status == 0.0,
            "{} took no lease: \"{text}\"",
            client.name
        );
        forget();
        run
    }

    /// Returns how many system calls the client makes, with all that it starts.
    fn count_calls(&self, client: &Client) -> usize {
        let log = self.far.folder.join("calls");
        let mut command = Command::new(&self.measure);
        command
            .args(["strace", "-f", "-o"])
            .arg(&log)
            .args(client.command.split_whitespace());
        let run = thread::spawn(move || command.output().unwrap());
        // strace ends with the last process that it follows.
        if client.stays {
            let end = || {
                let pid = fs::read_to_string("/run/dhclient.pid").ok()?;
                kill(Pid::from_raw(pid.trim().parse().ok()?), Signal::SIGTERM).ok()
            };
            wait_until("the client stays", || end().is_some());
        }
        run.join().unwrap();
        forget();
        let text = fs::read_to_string(log).unwrap();
        let is_call = |line: &&str| {
            line.contains('(') && !line.contains(" resumed>") && !line.contains(" --- ")
        };
        text.lines().filter(is_call).count()
    }
}

/// Packets that `near` has sent and received.
fn packets() -> f64 {
    let stats = &json("-s -j link show near")[0]["stats64"];
    let count = |direction: &str| stats[direction]["packets"].as_f64().unwrap();
    count("rx") + count("tx")
}

/// Takes away what a client has left.
fn forget() {
    ip("address flush dev near");
    for path in [
        "/run/wireboot",
        "/run/dhclient.leases",
        "/run/dhclient.pid",
        "/var/lib/dhcpcd/near.lease",
    ] {
        let _ = fs::remove_dir_all(path);
        let _ = fs::remove_file(path);
    }
}
