//! What becomes of a lease after wireboot has ended: systemd-networkd goes on with it, and the files
//! for other programs are about the addresses that are there.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::client::{addresses, at_home, hide_udev, ipv4_addresses, json, networkd};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dnsmasq};
use crate::common::{in_new_namespace, ip, own_var_lib, wait_until};
use crate::ipv6;

/// Grants addresses for 2 min, to be renewed after 6 s, and writes them to that file.
fn dnsmasq_with(far: &Far, leases: &str) -> Server {
    far.serve(
        &format!(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file= --no-ping
            --interface=far --bind-interfaces --dhcp-leasefile={leases}
            --dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,2m
            --dhcp-option=option:T1,6 --dhcp-option=option:T2,90"
        ),
        "DHCP, IP range",
    )
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn networkd_keeps_the_address_and_renews_it_as_the_same_client() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let leases = far.write("leases", "");
        let server = dnsmasq_with(&far, &leases);
        let client = at_home()
            .args(["lease", "-i", "near", "--hand-over", "networkd"])
            .output()
            .unwrap();
        assert!(client.status.success(), "{client:?}");
        let address = only_address();
        let granted = server.count("DHCPACK");

        let changes = Server::start(Command::new("ip").args(["-4", "monitor", "address"]));
        let networkd = networkd();
        wait_until("networkd has asked for the address, and renewed it", || {
            server.count("DHCPACK") >= granted + 2
        });
        networkd.wait_for("DHCPv4 client: REQUEST (renewing)");
        wait_until("networkd has both answers", || {
            networkd.count("DHCPv4 client: ACK") >= 2
        });
        assert_eq!(only_address(), address);
        assert_eq!(
            changes.count("Deleted"),
            0,
            "the address was gone for a while"
        );
        let leases = fs::read_to_string(leases).unwrap();
        let [lease] = leases.lines().collect::<Vec<_>>()[..] else {
            panic!("{leases}");
        };
        let mac = json("-j link show near")[0]["address"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(lease.contains(&address), "{lease}");
        assert!(lease.ends_with(&format!(" 01:{mac}")), "{lease}");
    });
}

/// An address of IPv6 that was granted for 2 min, to be renewed after 4 s, and is handed over.
struct Granted {
    far: Far,
    server: Server,
    _router: Server,
    address: String,
}

impl Granted {
    fn for_another(to: &str) -> Self {
        let far = Far::plug_in_ipv6();
        let leases = far.folder.join("leases6.csv");
        let pool = format!(
            r#""lease-database": {{ "type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0 }},
            "renew-timer": 4, "rebind-timer": 60, "preferred-lifetime": 90, "valid-lifetime": 120,
            "subnet6": [ {{ "id": 1, "subnet": "2001:db8:1::/64", "interface": "far",
            "pools": [ {{ "pool": "2001:db8:1::200-2001:db8:1::2ff" }} ] }} ]"#,
            leases.display()
        );
        let server = ipv6::kea(&far, &pool);
        let router = ipv6::radvd(&far, "AdvManagedFlag on;");
        let mut client = at_home();
        client.args(["lease", "--family", "6", "-i", "near", "--hand-over", to]);
        let output = client.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let granted = granted();
        let [address] = &granted[..] else {
            panic!("{granted:?}");
        };
        assert!(read("/run/net6-near.conf").contains("IPV6PROTO='dhcp6'"));
        Self {
            address: address.clone(),
            far,
            server,
            _router: router,
        }
    }

    /// Fails unless it is still the address of `near`, and the only one that the server has granted.
    fn is_the_only_one(&self) {
        assert_eq!(granted(), [&*self.address]);
        let rows = fs::read_to_string(self.far.folder.join("leases6.csv")).unwrap();
        let address = self.address.trim_end_matches("/128");
        let others = rows
            .lines()
            .skip(1)
            .filter(|row| !row.starts_with(&format!("{address},")));
        assert_eq!(others.count(), 0, "{rows}");
    }
}

/// Returns the addresses of servers on `near`.
fn granted() -> Vec<String> {
    let text = ip("-6 -o address show dev near scope global");
    let words = text.split_whitespace();
    let addresses = words.filter(|word| word.ends_with("/128"));
    addresses.map(str::to_owned).collect()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn networkd_keeps_an_address_of_ipv6_as_the_same_client() {
    in_new_namespace(|| {
        let lease = Granted::for_another("networkd");
        let networkd = networkd();
        // Its own, and a renewal.
        lease.server.wait_for("DHCP6_LEASE_ALLOC");
        networkd.wait_for("DHCPv6 client: Sent Renew");
        lease.is_the_only_one();
    });
}

const NETWORK_MANAGER: &str =
    "[main]\nplugins=keyfile\ndhcp=internal\nno-auto-default=*\nrc-manager=unmanaged\n";

/// NetworkManager and its message bus, in the namespace of the test.
fn network_manager(far: &Far) -> [Server; 2] {
    hide_udev();
    fs::create_dir("/run/dbus").unwrap();
    let bus =
        Server::start(Command::new("dbus-daemon").args(["--system", "--nofork", "--nopidfile"]));
    wait_until("a bus", || {
        Path::new("/run/dbus/system_bus_socket").exists()
    });
    let config = far.write("NetworkManager.conf", NETWORK_MANAGER);
    let manager = Server::start(Command::new("NetworkManager").args([
        "--debug",
        "--log-level",
        "INFO",
        "--config",
        &config,
    ]));
    [manager, bus]
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and NetworkManager"]
fn network_manager_keeps_an_address_of_ipv6_as_the_same_client() {
    in_new_namespace(|| {
        own_var_lib();
        fs::create_dir("/var/lib/kea").unwrap();
        let lease = Granted::for_another("network-manager");
        let [manager, _bus] = network_manager(&lease.far);
        manager.wait_for("starting connection 'wireboot-near'");
        // It asks for it anew, and renews it.
        manager.wait_for("state changed new lease, address=2001:db8:1::2");
        wait_until("it has renewed it", || {
            lease.server.count("DHCP6_LEASE_RENEW") > 0
        });
        lease.is_the_only_one();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and NetworkManager"]
fn network_manager_keeps_the_address_as_the_same_client() {
    in_new_namespace(|| {
        own_var_lib();
        let far = Far::plug_in();
        let leases = far.write("leases", "");
        let server = dnsmasq_with(&far, &leases);
        let client = at_home()
            .args(["lease", "-i", "near", "--hand-over", "network-manager"])
            .output()
            .unwrap();
        assert!(client.status.success(), "{client:?}");
        let address = only_address();
        let granted = server.count("DHCPACK");
        let [manager, _bus] = network_manager(&far);
        manager.wait_for("starting connection 'wireboot-near'");
        wait_until("it has asked for the address, and renewed it", || {
            server.count("DHCPACK") >= granted + 2
        });
        assert_eq!(only_address(), address);
        let leases = fs::read_to_string(leases).unwrap();
        assert_eq!(leases.lines().count(), 1, "{leases}");
    });
}

const KLIBC: &str = "/run/net-near.conf";
const RESOLVERS: &str = "/etc/resolv.conf";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_files_of_a_killed_client_go_when_the_server_refuses_its_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "--dhcp-option=6,192.0.2.53");
        let client = Server::start(at_home().args(["lease", "-i", "near", "--keep"]));
        client.wait_for("from 192.0.2.1");
        assert!(read(KLIBC).contains("IPV4ADDR='192.0.2.100'"));
        // The one around it kills it when it is killed.
        client.signal(Signal::SIGKILL);
        drop((client, server));
        // Refuses, and has none to give.
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let more =
            format!("{range} --dhcp-authoritative --dhcp-host=00:00:5e:00:53:01,192.0.2.150");
        let server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
        assert!(read(RESOLVERS).contains("nameserver 192.0.2.53"));
        let next = at_home()
            .args(["lease", "-i", "near", "--timeout", "3"])
            .output()
            .unwrap();
        assert_eq!(next.status.code(), Some(4), "{next:?}");
        assert!(server.count("DHCPNAK(far) 192.0.2.100") > 0);
        assert_eq!((read(KLIBC).as_str(), addresses()), ("", Vec::new()));
        assert!(!read(RESOLVERS).contains("192.0.2.53"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_files_of_another_client_are_back_after_a_boot_that_fails() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "--dhcp-option=6,192.0.2.53");
        let resolvers = with_files_of("203.0.113.7");
        let mut boot = at_home();
        boot.args(["boot", "-i", "near"]);
        let output = boot.args(["--boot-file", "tftp://192.0.2.1/none"]).output();
        let text = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
        let leased = "near: 192.0.2.100/24 from 192.0.2.1";
        assert!(text.contains(leased), "{text}");
        assert_eq!(read(RESOLVERS), resolvers, "{text}");
        assert!(read(KLIBC).contains("IPV4ADDR='203.0.113.7'"), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn after_a_release_the_files_of_another_client_are_back_if_its_address_is_there() {
    for (there, is_back) in [("203.0.113.7", true), ("192.0.2.100", false)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dnsmasq(&far, "--dhcp-option=6,192.0.2.53");
            // As klibc's ipconfig sets it, without an end, or another client of the same lease.
            let times = if is_back {
                ""
            } else {
                "valid_lft 900 preferred_lft 900"
            };
            ip(&format!("address add {there}/24 dev near {times}"));
            let resolvers = with_files_of(there);
            let mut client = Server::start(at_home().args(["lease", "-i", "near", "--keep"]));
            client.wait_for("from 192.0.2.1");
            let own = || read(KLIBC).contains("IPV4DNS0='192.0.2.53'");
            wait_until("the files are its own", own);
            let pid = client.pid();
            let children = format!("/proc/{pid}/task/{pid}/children");
            let child: i32 = read(&children).trim().parse().unwrap();
            kill(Pid::from_raw(child), Signal::SIGUSR2).unwrap();
            assert_eq!(client.exit_code(), Some(0));
            server.wait_for("DHCPRELEASE(far) 192.0.2.100");
            assert_eq!(!read(KLIBC).is_empty(), is_back);
            assert_eq!(read(RESOLVERS) == resolvers, is_back);
            assert!(!read(RESOLVERS).contains("192.0.2.53"));
        });
    }
}

/// Writes the files that another client leaves about `address`; returns the resolvers.
fn with_files_of(address: &str) -> String {
    let klibc = format!("DEVICE='near'\nPROTO='dhcp'\nIPV4ADDR='{address}'\n");
    fs::write(KLIBC, klibc).unwrap();
    let marked = "# wireboot: from here\nnameserver 203.0.113.53\n# wireboot: to here\n";
    let resolvers = format!("{marked}nameserver 198.51.100.53\n");
    fs::write(RESOLVERS, &resolvers).unwrap();
    resolvers
}

/// Reads a file; nothing when it is not there.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn only_address() -> String {
    let link = &json("-j address show near")[0];
    let [(address, 24)] = ipv4_addresses(link)[..] else {
        panic!("{link}");
    };
    address.to_owned()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn in_a_namespace_with_a_name_resolvers_go_to_its_own_file_or_where_it_is_said() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "--dhcp-option=6,192.0.2.53");
        ip(&format!("netns attach boot-here {}", nix::unistd::gettid()));
        let directory = "/etc/netns/boot-here";
        fs::create_dir_all(directory).unwrap();
        let own = format!("{directory}/resolv.conf");
        let before = read(RESOLVERS);
        let lease = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            let output = command.args(["lease", "-i", "near"]).args(more).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        lease(&[]);
        assert!(
            read(&own).contains("nameserver 192.0.2.53\n"),
            "{}",
            read(&own)
        );
        // What `ip netns exec` has mounted stays the file that is written.
        let inode = || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&own).unwrap());
        let (text, number) = (read(&own), inode());
        lease(&["--release"]);
        assert_eq!((read(&own).as_str(), inode()), ("", number));
        assert_ne!(text, "");
        let elsewhere = far.write("elsewhere", "nameserver 203.0.113.1\n");
        lease(&["--resolv-conf", &elsewhere]);
        assert!(
            read(&elsewhere).contains("192.0.2.53"),
            "{}",
            read(&elsewhere)
        );
        assert!(read(&elsewhere).contains("203.0.113.1"));
        assert_eq!(read(&own), "");
        // Whatever else is written describes the machine's network.
        assert_eq!((read(KLIBC).as_str(), read(RESOLVERS)), ("", before));
        ip("netns delete boot-here");
    });
}
