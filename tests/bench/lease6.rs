//! Measures taking addresses of IPv6 against other clients, all in turn in each round, over a veth:
//!
//! ```text
//! tests/bench/run lease6
//! ```
//!
//! `WIREBOOT_BENCH_ROUNDS` says how many rounds. What is printed are medians and minima of milliseconds from
//! the start of the client until it has set a global address that can be used, which is not tentative, and
//! how many times as long as wireboot's that is, in the median of all rounds. The interface is set down
//! before each run, as in a machine that boots, and each client sets it up; what dhclient and udhcpc6 need
//! for that, a link-local address that has been probed, is waited for before they are started, as their
//! callers do (dracut's `dhcp6`), and counts. busybox is built for it, since Debian's has no udhcpc6.
//!
//! Router and server are dnsmasq, since radvd waits 3 s from one answer to the next. Another benchmark makes a
//! plan where the other family is silent, in turn with `--family either` and with the one that there is:
//!
//! ```text
//! tests/bench/run lease6 a_plan
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use crate::common::far::{Far, Server};
use crate::common::machine::shell;
use crate::common::servers::DNSMASQ;
use crate::common::{in_new_namespace, ip, own_var_lib, wait_until};
use crate::figures::{median, rounds};

const ROUNDS: usize = 11;
/// A client without an address is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// wireboot, and Debian's clients, installed or unpacked.
const PROGRAMS: &str = "
echo \"${WIREBOOT-$(static_binary)}\"
folder=$(debian_package isc-dhcp-client)
find \"$folder\" -name dhclient -type f -path '*bin*'
find \"$folder\" -name dhclient-script
folder=$(debian_package dhcpcd-base)
find \"$folder\" -name dhcpcd -type f -path '*bin*'
udhcpc6=$work/packages/udhcpc6
alone packages build_udhcpc6 >&2
echo \"$udhcpc6/busybox\"
";

/// Debian builds busybox without udhcpc6: this builds its source, which the signed lists of packages name,
/// without Debian's patches.
const UDHCPC6: &str = r#"
build_udhcpc6() {
    [ ! -x "$udhcpc6/busybox" ] || return 0
    local apt
    mkdir -p "$udhcpc6/parts" "$udhcpc6/lists/partial"
    sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >"$udhcpc6/parts/debian.sources"
    apt="apt-get -q -o Dir::Etc::sourcelist=- -o Dir::Etc::sourceparts=$udhcpc6/parts
        -o Dir::State::lists=$udhcpc6/lists -o APT::Sandbox::User=root"
    $apt update
    (
        cd "$udhcpc6"
        $apt source --download-only busybox
        tar -xf busybox_*.orig.tar.bz2
        cd busybox-*/
        make -s allnoconfig >/dev/null
        for option in UDHCPC6 FEATURE_IPV6 LONG_OPTS IP FEATURE_IP_ADDRESS ASH SH_IS_ASH ASH_TEST; do
            sed -i "s/^# CONFIG_$option is not set/CONFIG_$option=y/" .config
        done
        yes '' 2>/dev/null | make -s oldconfig >/dev/null || true
        make -s busybox
        cp busybox ..
    )
}
"#;

/// Sets what udhcpc6 has been granted.
const SCRIPT: &str = "#!BUSYBOX sh
[ \"$1\" != bound ] || BUSYBOX ip -6 address add $ipv6/128 dev $interface
";

/// A client, by its name and command; `LINK` before that sets the interface up and waits for its address.
struct Client {
    name: &'static str,
    command: String,
    needs_link_local: bool,
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN, servers and clients"]
fn lease6_against_other_clients() {
    // Before there is no network to bring them over.
    let programs = shell(&format!("{UDHCPC6}{PROGRAMS}"));
    in_new_namespace(move || {
        let far = plug_in();
        let clients = clients(&far, &programs);
        println!("\ndnsmasq");
        let _server = dnsmasq(&far, "--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,1h");
        compare(&clients, rounds(ROUNDS));
    });
}

#[test]
#[ignore = "a benchmark; needs CAP_NET_ADMIN and servers"]
fn a_plan_where_the_other_family_is_silent() {
    let wireboot = shell("echo \"${WIREBOOT-$(static_binary)}\"");
    in_new_namespace(move || {
        let far = plug_in();
        let folder = far.folder.join("served");
        fs::create_dir(&folder).unwrap();
        let script = "#!ipxe\nkernel kernel\nboot\n";
        fs::write(folder.join("boot.ipxe"), script).unwrap();
        fs::write(folder.join("kernel"), bz_image()).unwrap();
        let folder = folder.display();
        for (there, range) in [
            (
                "6",
                "--dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,1h
                 --dhcp-option=option6:bootfile-url,tftp://[2001:db8:1::1]/boot.ipxe",
            ),
            (
                "4",
                "--dhcp-range=192.0.2.100,192.0.2.200,255.255.255.0,1h --dhcp-boot=boot.ipxe",
            ),
        ] {
            println!("\na boot file over IPv{there}, and nobody of the other family");
            let more = format!("{range} --enable-tftp --tftp-root={folder}");
            let _server = dnsmasq(&far, &more);
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..rounds(ROUNDS) * 2 {
                for (family, times) in ["either", there].into_iter().zip(&mut times) {
                    let command =
                        format!("{wireboot} boot -i near --family {family} --stop-after plan");
                    let started = Instant::now();
                    let ended = run(&command).wait().unwrap();
                    assert!(ended.success(), "{family}: {ended}");
                    times.push(started.elapsed());
                }
            }
            let [both, one] = times.map(|times| median(milliseconds(&times)));
            println!(
                "--family either {both:.2} ms, --family {there} {one:.2} ms, to the end of the process"
            );
        }
    });
}

fn plug_in() -> Far {
    own_var_lib();
    Far::plug_in_ipv6()
}

fn dnsmasq(far: &Far, more: &str) -> Server {
    far.serve(&format!("{DNSMASQ} --enable-ra {more}"), "DHCP")
}

fn clients(far: &Far, programs: &str) -> Vec<Client> {
    let programs: Vec<_> = programs.lines().collect();
    let [wireboot, dhclient, dhclient_script, dhcpcd, busybox] = programs.as_slice() else {
        panic!("every program is named: {programs:?}");
    };
    let script = far.write("script", &SCRIPT.replace("BUSYBOX", busybox));
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let config = far.write("dhcpcd.conf", "noipv6rs\nia_na 1\nnodelay\n");
    let client = |name, command, needs_link_local| Client {
        name,
        command,
        needs_link_local,
    };
    let mut clients = vec![
        client(
            "wireboot",
            format!("{wireboot} lease -i near --family 6"),
            false,
        ),
        client(
            "wireboot --acd off",
            format!("{wireboot} lease -i near --family 6 --acd off"),
            false,
        ),
        client(
            "wireboot --acd strict",
            format!("{wireboot} lease -i near --family 6 --acd strict"),
            false,
        ),
        client(
            "dhclient -6",
            format!(
                "{dhclient} -6 -1 -q -lf /run/dhclient6.leases -pf /run/dhclient.pid -sf {dhclient_script} near"
            ),
            true,
        ),
        client(
            "dhcpcd -6",
            format!("{dhcpcd} -6 --oneshot --quiet -c /bin/true near"),
            false,
        ),
        client(
            "dhcpcd -6, nodelay, no router asked",
            format!("{dhcpcd} -6 --oneshot --quiet -c /bin/true -f {config} near"),
            false,
        ),
    ];
    let command = format!("{busybox} udhcpc6 -i near -n -q -f -s {script}");
    clients.push(client("busybox udhcpc6", command, true));
    let command = format!("unshare --mount sh {}", networkd(far));
    clients.push(client("systemd-networkd", command, false));
    clients
}

/// Writes the configuration of systemd-networkd; returns a script that becomes it. It takes the system for a
/// container, where no udev is to be waited for, when `/sys` is read-only.
fn networkd(far: &Far) -> String {
    for folder in ["network", "netif"] {
        fs::create_dir_all(format!("/run/systemd/{folder}")).unwrap();
    }
    let config =
        "[Match]\nName=near\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\nLinkLocalAddressing=ipv6\n";
    fs::write("/run/systemd/network/near.network", config).unwrap();
    let text = "mount -t sysfs -o ro none /sys\nexec /lib/systemd/systemd-networkd\n";
    far.write("networkd", text)
}

fn compare(clients: &[Client], rounds: usize) {
    let mut runs = vec![Vec::new(); clients.len()];
    for _ in 0..rounds {
        for (client, runs) in clients.iter().zip(&mut runs) {
            runs.push(measure(client));
        }
    }
    println!(
        "{:<38}{:>10}{:>10}{:>12}",
        "", "address", "least", "x wireboot"
    );
    let first = runs.first().expect("wireboot is first").clone();
    for (client, runs) in clients.iter().zip(&runs) {
        let ratios = runs.iter().zip(&first);
        let ratio = median(ratios.map(|(run, own)| run.as_secs_f64() / own.as_secs_f64()));
        let least = runs.iter().min().expect("a round").as_secs_f64() * 1000.0;
        let name = client.name;
        println!(
            "{name:<38}{:>10.2}{least:>10.2}{ratio:>12.2}",
            median(milliseconds(runs))
        );
    }
}

fn milliseconds(times: &[Duration]) -> impl Iterator<Item = f64> {
    times.iter().map(|time| time.as_secs_f64() * 1000.0)
}

fn run(command: &str) -> std::process::Child {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words).stdin(Stdio::null());
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns how long the client takes until the kernel has its address.
fn measure(client: &Client) -> Duration {
    ip("link set near down");
    let mut monitor = Monitor::start();
    let started = Instant::now();
    if client.needs_link_local {
        ip("link set near up");
        wait_until("a link-local address that was probed", || {
            let own = ip("-6 -o address show dev near scope link");
            !own.is_empty() && !own.contains("tentative")
        });
    }
    let mut child = run(&client.command);
    while !monitor.has_address() {
        assert!(started.elapsed() < LIMIT, "{} took no address", client.name);
    }
    let taken = started.elapsed();
    // What stays is ended.
    let pid = Pid::from_raw(child.id().cast_signed());
    let ends = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if ends.elapsed() > Duration::from_secs(5) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    if let Ok(pid) = fs::read_to_string("/run/dhclient.pid") {
        let _ = kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL);
    }
    forget();
    taken
}

/// Notices of the kernel about addresses of IPv6.
struct Monitor(Server);

impl Monitor {
    fn start() -> Self {
        let server = Server::start(Command::new("ip").args(["-6", "-o", "monitor", "address"]));
        // It says nothing of its own when it listens.
        std::thread::sleep(Duration::from_millis(30));
        Self(server)
    }

    /// Returns whether a global address is there that is not being probed.
    fn has_address(&mut self) -> bool {
        std::thread::sleep(Duration::from_micros(200));
        if self.0.count("scope global") == 0 {
            return false;
        }
        let own = ip("-6 -o address show dev near scope global");
        !own.is_empty() && !own.contains("tentative")
    }
}

/// Takes away what a client has left.
fn forget() {
    ip("link set near down");
    ip("address flush dev near");
    for (file, value) in [
        ("accept_ra", "1"),
        ("addr_gen_mode", "0"),
        ("disable_ipv6", "0"),
    ] {
        fs::write(format!("/proc/sys/net/ipv6/conf/near/{file}"), value).unwrap();
    }
    for path in [
        "/run/wireboot",
        "/run/dhclient6.leases",
        "/run/dhclient.pid",
        "/var/lib/dhcpcd/near.lease6",
    ] {
        let _ = fs::remove_dir_all(path);
        let _ = fs::remove_file(path);
    }
}
