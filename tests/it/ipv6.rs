//! `wireboot lease --family 6` against real routers and servers.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::client::{keep, output};
use crate::common::far::{Far, Server};
use crate::common::servers::DNSMASQ;
use crate::common::{in_new_namespace, ip, wait_until};

/// Makes another host on the same cable, with 2001:db8:1::2/64.
pub(crate) fn beside(far: &Far) -> Far {
    let other = far.beside(2);
    for (host, namespace) in [(1, far), (2, &other)] {
        for command in [
            "sysctl -q -w net.ipv6.conf.far.accept_dad=0 net.ipv6.conf.far.accept_ra=0",
            "ip link set far down",
            "ip link set far up",
            &format!("ip address add 2001:db8:1::{host}/64 dev far nodad"),
        ] {
            namespace.run(command);
        }
    }
    other
}

/// What the near end forms of its hardware address.
pub(crate) const LINK_LOCAL: &str = "fe80::5054:ff:fe12:3456";
pub(crate) const FORMED: &str = "2001:db8:1:0:5054:ff:fe12:3456";
pub(crate) const ROUTER: &str = "fe80::5054:ff:fe00:1";

pub(crate) fn dnsmasq(far: &Far, range: &str) -> Server {
    let command = format!(
        "{DNSMASQ} --enable-ra --dhcp-range={range} --dhcp-option=option6:dns-server,[2001:db8:1::53]
        --dhcp-option=option6:domain-search,lab.example
        --dhcp-option=option6:bootfile-url,tftp://[2001:db8:1::1]/boot.ipxe"
    );
    far.serve(&command, "router advertisement")
}

/// Writes the configuration of radvd, which it reads at its start and at SIGHUP; returns its path.
pub(crate) fn radvd_config(far: &Far, options: &str) -> String {
    let config = format!(
        "interface far {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; {options} }};"
    );
    far.write("radvd.conf", &config)
}

pub(crate) fn radvd(far: &Far, options: &str) -> Server {
    let config = radvd_config(far, options);
    let pid = far.folder.join("radvd.pid");
    // The privileged half of one that has ended may hold the lock of its file for a moment longer.
    let _ = std::fs::remove_file(&pid);
    far.serve(
        &format!("radvd -n -m stderr -d 1 -C {config} -p {}", pid.display()),
        "version",
    )
}

/// Writes the configuration of Kea, which it reads at its start and at SIGHUP; returns its path.
pub(crate) fn kea_config(far: &Far, more: &str) -> String {
    // Otherwise it is kept in a file that all servers of the host share.
    let id = far.namespace();
    let id: String = id.chars().filter(char::is_ascii_digit).collect();
    let database = if more.contains("lease-database") {
        ""
    } else {
        r#""lease-database": { "type": "memfile", "persist": false },"#
    };
    let config = format!(
        r#"{{ "Dhcp6": {{
            "server-id": {{ "type": "EN", "enterprise-id": 1, "identifier": "{id:0>10}", "persist": false }},
            "interfaces-config": {{ "interfaces": [ "far" ] }},
            {database}
            {more}
        }} }}"#
    );
    far.write("kea6.json", &config)
}

/// Kea; without a carrier it does not listen, so that `near` is set up for its start.
pub(crate) fn kea(far: &Far, more: &str) -> Server {
    let config = kea_config(far, more);
    let is_up = ip("link show near").contains(",UP");
    ip("link set near up");
    let server = far.serve(&format!("kea-dhcp6 -c {config}"), "DHCP6_STARTED");
    if !is_up {
        ip("link set near down");
    }
    server
}

/// Runs the client to its end; returns its exit code, and what it printed on both outputs.
pub(crate) fn lease(more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    output(
        command
            .args(["lease", "--family", "6", "-i", "near", "-vv"])
            .args(more)
            .stdin(Stdio::null()),
    )
}

/// Runs the client, which must succeed; returns its report.
pub(crate) fn leased(more: &[&str]) -> (Value, String) {
    let (code, report, log) = lease(&[&["--json"], more].concat());
    assert_eq!(code, Some(0), "{log}");
    (serde_json::from_str(&report).unwrap(), log)
}

/// Fails unless the far end reaches an address.
pub(crate) fn reaches(far: &Far, address: &str) {
    far.run(&format!("busybox ping6 -c 1 -W 5 {address}"));
}

pub(crate) fn addresses() -> String {
    ip("-6 -o address show dev near")
}

fn routes() -> String {
    ip("-6 route show dev near")
}

fn sysctl(name: &str) -> String {
    let path = format!("/proc/sys/net/ipv6/conf/near/{name}");
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Fails unless the near end is as it was plugged in.
pub(crate) fn is_as_found() {
    assert_eq!(addresses(), "");
    assert_eq!(routes(), "");
    assert_eq!(
        (sysctl("accept_ra"), sysctl("addr_gen_mode")),
        ("1".to_owned(), "0".to_owned())
    );
    assert!(
        !ip("link show near").contains(",UP"),
        "{}",
        ip("link show near")
    );
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_stateless_network_gives_a_prefix_and_a_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = dnsmasq(&far, "2001:db8:1::,ra-stateless");
        let (report, log) = leased(&[]);
        assert_eq!(report["family"], 6);
        assert_eq!(report["addresses"][0]["address"], FORMED);
        assert_eq!(report["addresses"][0]["origin"], "prefix");
        assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/boot.ipxe");
        assert_eq!(report["dns"][0], "2001:db8:1::53");
        assert_eq!(report["search"][0], "lab.example");
        assert_eq!(report["duid"], "00030001525400123456");
        assert_eq!(report["iaid"], "00123456");
        assert!(addresses().contains(&format!("{FORMED}/64")) && addresses().contains(LINK_LOCAL));
        assert!(
            routes().contains(&format!("default via {ROUTER}")),
            "{}",
            routes()
        );
        assert!(
            routes().contains("2001:db8:1::/64 proto ra"),
            "{}",
            routes()
        );
        assert!(!log.contains("SOLICIT\n"), "{log}");
        assert_eq!(server.count("DHCPSOLICIT"), 0);
        // It can be reached, and reaches others.
        ip("route get 2001:db8:9::1");
        reaches(&far, FORMED);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_managed_network_grants_an_address() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _server = dnsmasq(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        let (report, _) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], "2001:db8:1::100");
        assert_eq!(report["addresses"][0]["prefix_length"], 128);
        assert_eq!(report["addresses"].as_array().unwrap().len(), 1);
        assert!(
            addresses().contains("2001:db8:1::100/128"),
            "{}",
            addresses()
        );
        // The kernel has joined the groups in which a switch lets neighbours ask for it (RFC 4291 §2.7.1).
        let groups = ip("-6 maddress show dev near");
        for group in ["ff02::1:ff00:100", "ff02::1:ff12:3456"] {
            assert!(groups.contains(group), "{groups}");
        }
        // The kernel removes it when it is over, even without this program.
        let seconds = report["addresses"][0]["valid_seconds"].as_u64().unwrap();
        assert!((590..=600).contains(&seconds), "{seconds}");
        assert!(addresses().contains("dynamic"), "{}", addresses());
        reaches(&far, "2001:db8:1::100");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn who_ends_leaves_the_addresses_and_gives_the_rest_back() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let ways = || [sysctl("accept_ra"), sysctl("addr_gen_mode")];
        let kernels = ["1", "0"].map(str::to_owned);
        let _router = radvd(
            &far,
            "prefix 2001:db8:1::/64 { AdvValidLifetime 3000; AdvPreferredLifetime 2000; };",
        );
        leased(&[]);
        assert_eq!(ways(), kernels);
        let set = addresses();
        assert!(set.contains(FORMED) && set.contains(LINK_LOCAL), "{set}");
        // By radvd every 3 s.
        wait_until("a lifetime that the kernel prolongs", || {
            addresses().contains("valid_lft 3000sec") || addresses().contains("valid_lft 2999sec")
        });
        assert!(routes().contains("metric 1024"), "{}", routes());
        assert_eq!(addresses().matches(FORMED).count(), 1, "{}", addresses());
        // What was switched off for the sake of the lease.
        ip("address flush dev near");
        for (file, value) in [
            ("disable_ipv6", "1"),
            ("accept_ra", "0"),
            ("addr_gen_mode", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/near/{file}"), value).unwrap();
        }
        leased(&[]);
        assert_eq!(ways(), ["0", "1"].map(str::to_owned));
        assert!(addresses().contains(FORMED), "{}", addresses());
        // Whoever keeps it has the kernel's ways off until it ends.
        std::fs::write("/proc/sys/net/ipv6/conf/near/accept_ra", "1").unwrap();
        let mut client = keep(&["--family", "6"]);
        client.wait_for("in a prefix");
        assert_eq!(sysctl("accept_ra"), "0");
        client.signal(Signal::SIGTERM);
        assert_eq!(client.exit_code(), Some(0));
        assert_eq!(sysctl("accept_ra"), "1");
        assert!(addresses().contains(FORMED), "{}", addresses());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_router_alone_is_taken_for_all_that_it_says() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _router = radvd(
            &far,
            "AdvLinkMTU 1400; AdvDefaultPreference high;
            prefix 2001:db8:1::/64 { AdvValidLifetime 3000; AdvPreferredLifetime 2000; };
            prefix 2001:db8:2::/126 { };
            prefix 2001:db8:3::/64 { AdvOnLink off; };
            route 2001:db8:4::/48 { AdvRouteLifetime 500; };
            RDNSS fe80::53 { }; DNSSL lab.example { };",
        );
        let (report, _) = leased(&[]);
        let given = report["addresses"].as_array().unwrap();
        let given: Vec<_> = given
            .iter()
            .map(|given| given["address"].as_str().unwrap())
            .collect();
        assert_eq!(given, [FORMED, "2001:db8:3:0:5054:ff:fe12:3456"]);
        assert_eq!(report["dns"][0], "fe80::53%near");
        assert_eq!(report["search"][0], "lab.example");
        assert_eq!(report["server"], Value::Null);
        let routes = routes();
        for expected in [
            "2001:db8:1::/64",
            "2001:db8:2::/126",
            "2001:db8:4::/48 via fe80::",
        ] {
            assert!(routes.contains(expected), "{routes}");
        }
        assert!(!routes.contains("2001:db8:3::"), "{routes}");
        assert!(
            routes.contains("metric 512") && routes.contains("pref high"),
            "{routes}"
        );
        assert!(
            routes.contains("expires 4") || routes.contains("expires 500"),
            "{routes}"
        );
        assert_eq!(sysctl("mtu"), "1400");
        assert!(ip("link show near").contains("mtu 1500"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_router_without_a_prefix_routes_what_a_server_grants() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _server = kea(&far, POOL);
        far.run("ip link set far mtu 9000");
        let router = radvd(&far, "AdvManagedFlag on; AdvLinkMTU 9000;");
        let (report, log) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], "2001:db8:1::200");
        assert!(
            routes().contains(&format!("default via {ROUTER}")),
            "{}",
            routes()
        );
        assert!(!routes().contains("2001:db8:1::/64"), "{}", routes());
        // More than the link has is refused by the kernel, and nothing else is lost.
        let refusal = "MTU of 9000 bytes is not set";
        assert!(log.contains(refusal), "{log}");
        // It is said once, and not for each advertisement.
        router.forget();
        let kept = keep(&["--family", "6"]);
        wait_until("three advertisements", || {
            router.count("timer_handler") >= 3
        });
        assert_eq!(kept.count(refusal), 1);
    });
}

/// One address, of a server that is asked without a router.
pub(crate) const POOL: &str = r#""valid-lifetime": 600, "preferred-lifetime": 500, "renew-timer": 100, "rebind-timer": 200,
    "subnet6": [ { "id": 1, "subnet": "2001:db8:1::/64", "interface": "far",
        "pools": [ { "pool": "2001:db8:1::200/128" } ] } ]"#;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn silence_is_explained_and_leaves_nothing() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let (code, _, log) = lease(&["--timeout", "3"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(
            log.contains("no router advertises itself; no DHCPv6 server has answered"),
            "{log}"
        );
        is_as_found();
        // A prefix that no address can be formed in.
        let _router = radvd(&far, "prefix 2001:db8:2::/126 { };");
        let (code, _, log) = lease(&["--timeout", "2"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains("no prefix of 64 bits"), "{log}");
        assert!(!log.contains("try --family 4"), "{log}");
        is_as_found();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_with_addresses_keeps_them() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _server = dnsmasq(&far, "2001:db8:1::,ra-stateless");
        // Up, with what the kernel has formed itself.
        ip("link set near up");
        wait_until("an address of the kernel", || {
            addresses().contains(FORMED) && !addresses().contains("tentative")
        });
        ip("address add 2001:db8:7::7/64 dev near nodad");
        let (report, _) = leased(&[]);
        assert_eq!(report["addresses"][0]["address"], FORMED);
        assert!(addresses().contains("2001:db8:7::7/64"));
        assert!(addresses().contains(&format!("{LINK_LOCAL}/64")));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn another_client_of_dhcpv6_is_named() {
    in_new_namespace(|| {
        let _far = Far::plug_in_ipv6();
        let _other = UdpSocket::bind("[::]:546").unwrap();
        let (code, _, log) = lease(&["--timeout", "5"]);
        assert_eq!(code, Some(5), "{log}");
        assert!(log.contains("does another DHCPv6 client run?"), "{log}");
        is_as_found();
    });
}
