//! IPv6 in networks with other servers: systemd-networkd as the router, and names behind DNS64 by unbound.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use crate::common::client::{keep, output};
use crate::common::far::{Far, Server};
use crate::common::machine::shell;
use crate::common::servers::{DNSMASQ, networkd_with, nginx_with};
use crate::common::{in_new_namespace, ip, wait_until};
use crate::ipv6::{FORMED, ROUTER, beside, is_as_found, kea, lease, leased, radvd};

fn networkd(far: &Far) -> Server {
    let config = "[Match]\nName=far\n
        [Network]\nAddress=2001:db8:1::1/64\nIPv6SendRA=yes\nIPv6AcceptRA=no\nLinkLocalAddressing=ipv6\n
        [IPv6SendRA]\nRouterLifetimeSec=600\nRouterPreference=high\nDNS=2001:db8:1::53\nDomains=lab.example\n
        [IPv6Prefix]\nPrefix=2001:db8:1::/64\nPreferredLifetimeSec=1800\nValidLifetimeSec=3600\n
        [IPv6RoutePrefix]\nRoute=2001:db8:4::/48\nLifetimeSec=500\n";
    far.run("ip address flush dev far scope global");
    // It begins when there is a carrier, as the client sets `near` up.
    networkd_with(far, config, "Enumeration completed")
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and systemd-networkd"]
fn networkd_is_taken_for_all_that_it_advertises() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _router = networkd(&far);
        let (report, log) = leased(&["--timeout", "30"]);
        assert_eq!(report["addresses"][0]["address"], FORMED, "{log}");
        assert_eq!(report["dns"][0], "2001:db8:1::53");
        assert_eq!(report["search"][0], "lab.example");
        let routes = report["routes"].as_array().unwrap();
        let to = |destination: &str| {
            let found = routes.iter().find(|it| it["destination"] == destination);
            found.unwrap_or_else(|| panic!("{destination}: {routes:?}"))["router"].clone()
        };
        assert_eq!(to("2001:db8:1::/64"), Value::Null);
        assert_eq!(to("2001:db8:4::/48"), ROUTER);
        assert_eq!(to("::/0"), ROUTER);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn a_server_behind_a_router_is_reached() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let behind = far.behind();
        far.run("sysctl -q -w net.ipv6.conf.all.forwarding=1");
        // A router keeps none of what it has heard.
        far.run("ip address add 2001:db8:9::1/64 dev behind nodad");
        behind.run("ip address add 2001:db8:9::2/64 dev far nodad");
        behind.run("ip route add 2001:db8:1::/64 via 2001:db8:9::1");
        let folder = served(&behind);
        let _web = behind.serve_web(&folder);
        let url = "http://[2001:db8:9::2]/boot.ipxe";
        for range in [
            "2001:db8:1::,ra-stateless",
            "2001:db8:1::100,2001:db8:1::100,64,10m",
        ] {
            let _router = far.serve(
                &format!(
                    "{DNSMASQ} --enable-ra --dhcp-range={range}
                     --dhcp-option=option6:bootfile-url,{url}"
                ),
                "router advertisement",
            );
            assert_eq!(planned(&[]), "http://[2001:db8:9::2]/kernel", "{range}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_preferred_of_two_routers_is_used_until_it_withdraws() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let other = beside(&far);
        let _router = radvd(&far, "prefix 2001:db8:1::/64 { };");
        let preferred = radvd(&other, "AdvDefaultPreference high;");
        let mut client = keep(&["--family", "6"]);
        let routes = || ip("-6 route show default dev near");
        wait_until("a route by each router", || {
            routes().matches("via fe80::").count() == 2
        });
        let is_preferred = |route: &&str| route.contains("pref high");
        let gateway = |route: &str| {
            let (_, via) = route.split_once("via ").unwrap();
            via.split(' ').next().unwrap().to_owned()
        };
        let known = routes();
        let first = gateway(known.lines().find(is_preferred).unwrap());
        let way = || gateway(&ip("route get 2001:db8:9::1"));
        assert_eq!(way(), first, "{known}");
        // It says so with a lifetime of 0.
        preferred.signal(Signal::SIGTERM);
        wait_until("the other router alone", || {
            routes().matches("via fe80::").count() == 1
        });
        assert_ne!(way(), first);
        client.signal(Signal::SIGTERM);
        assert_eq!(client.exit_code(), Some(0));
    });
}

/// Makes advertisements, with a sum that is wrong by so much.
const ADVERTISEMENTS: &str = "
import socket, struct, sys, time
P = socket.inet_pton
def total(data):
    if len(data) % 2: data += b'\\0'
    s = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
source, group = P(socket.AF_INET6, 'fe80::5054:ff:fe00:1'), P(socket.AF_INET6, 'ff02::1')
def advertisement(prefix, wrong=0, valid=3600, preferred=1800):
    ra = struct.pack('!BBHBBHII', 134, 0, 0, 64, 0, 1800, 0, 0)
    ra += struct.pack('!BBBBIII', 3, 4, 64, 0xc0, valid, preferred, 0) + P(socket.AF_INET6, prefix)
    sums = source + group + struct.pack('!II', len(ra), 58) + ra
    return ra[:2] + struct.pack('!H', total(sums) ^ wrong) + ra[4:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86dd))
s.bind(('far', 0x86dd))
";

/// Sends an advertisement whole as long as it says `whole`, and in two fragments.
const FRAGMENTS: &str = "
def frames(prefix, is_whole):
    ra = advertisement(prefix)
    head = b'\\x33\\x33\\0\\0\\0\\1' + b'\\x52\\x54\\0\\0\\0\\1' + b'\\x86\\xdd'
    def packet(following, body): return head + struct.pack('!IHBB', 6 << 28, len(body), following, 255) + source + group + body
    if is_whole: return [packet(58, ra)]
    def part(at, end, more): return packet(44, struct.pack('!BBHI', 58, 0, at | more, 7) + ra[at:end])
    return [part(0, 32, 1), part(32, len(ra), 0)]
while True:
    for frame in frames('2001:db8:6::', False): s.send(frame)
    time.sleep(0.4)
    if sys.argv[1] == 'whole':
        for frame in frames('2001:db8:7::', True): s.send(frame)
        time.sleep(0.4)
";

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn an_advertisement_in_fragments_is_ignored() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let script = far.write("fragments.py", &format!("{ADVERTISEMENTS}{FRAGMENTS}"));
        let parts = far.start(&format!("python3 {script} parts"));
        let (code, _, log) = lease(&["--timeout", "3"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(
            log.contains(&format!(
                "a message of {ROUTER} is ignored: it came in fragments"
            )),
            "{log}"
        );
        drop(parts);
        let _whole = far.start(&format!("python3 {script} whole"));
        let (report, _) = leased(&[]);
        let given = report["addresses"].as_array().unwrap();
        assert_eq!(given.len(), 1, "{report}");
        assert_eq!(given[0]["address"], FORMED.replace(":1:", ":7:"));
    });
}

/// Gives an address for a second, ten times a second, or another prefix each time.
const RESTLESS: &str = "
number = 0
while True:
    number += 1
    prefix, time_left = ('2001:db8:6::', 1) if sys.argv[1] == 'ends' else ('2001:db8:6:%x::' % number, 3600)
    ra = advertisement(prefix, valid=time_left, preferred=time_left)
    head = b'\\x33\\x33\\0\\0\\0\\1' + b'\\x52\\x54\\0\\0\\0\\1' + b'\\x86\\xdd'
    s.send(head + struct.pack('!IHBB', 6 << 28, len(ra), 58, 255) + source + group + ra)
    time.sleep(0.1)
";

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn a_router_that_gives_an_address_anew_and_anew_is_not_waited_for_without_end() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let script = far.write("restless.py", &format!("{ADVERTISEMENTS}{RESTLESS}"));
        for (way, expected) in [("ends", 3), ("others", 0)] {
            let _router = far.start(&format!("python3 {script} {way}"));
            let begun_at = Instant::now();
            let (code, _, log) = lease(&["--timeout", "3"]);
            assert_eq!(code, Some(expected), "{way}: {log}");
            assert!(begun_at.elapsed() < Duration::from_secs(40), "{way}");
        }
    });
}

/// Answers questions for configuration: the first without a sum, the second with a wrong one, and each later
/// one with a right one; each answer names another boot file. Before each, an advertisement has a wrong sum.
const SUMS: &str = "
asked = 0
print('ready', flush=True)
while True:
    frame = s.recv(2048)
    if frame[20] != 17 or frame[56:58] != b'\\x02\\x23' or frame[62] != 11: continue
    client, destination, at, own = frame[22:38], frame[6:12], 66, b''
    while at < len(frame):
        code, size = struct.unpack('!HH', frame[at:at + 4])
        if code == 1: own = frame[at:at + 4 + size]
        at += 4 + size
    asked += 1
    url = b'tftp://[2001:db8:1::1]/%d' % min(asked, 3)
    body = b'\\7' + frame[63:66] + own + struct.pack('!HHH', 2, 2, 9) + struct.pack('!HH', 59, len(url)) + url
    udp = struct.pack('!HHHH', 547, 546, len(body) + 8, 0)
    right = total(source + client + struct.pack('!II', len(udp + body), 17) + udp + body)
    udp = udp[:6] + struct.pack('!H', [0, right ^ 1, right][min(asked, 3) - 1])
    def send(to, following, address, body):
        head = to + b'\\x52\\x54\\0\\0\\0\\1' + b'\\x86\\xdd'
        s.send(head + struct.pack('!IHBB', 6 << 28, len(body), following, 255) + source + address + body)
    send(b'\\x33\\x33\\0\\0\\0\\1', 58, group, advertisement('2001:db8:8::', 1))
    send(destination, 17, client, udp + body)
";

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn what_has_no_sum_or_a_wrong_one_is_ignored() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let script = far.write("sums.py", &format!("{ADVERTISEMENTS}{SUMS}"));
        let _server = far.serve(&format!("python3 {script}"), "ready");
        let _router = radvd(&far, "AdvOtherConfigFlag on; prefix 2001:db8:1::/64 { };");
        let (report, log) = leased(&["--timeout", "30"]);
        assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/3", "{log}");
        assert!(log.matches("INFORMATION-REQUEST\n").count() >= 3, "{log}");
        let given = report["addresses"].as_array().unwrap();
        assert_eq!(given.len(), 1, "{report}");
        assert_eq!(given[0]["address"], FORMED);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and Kea"]
fn kea_tells_boots_apart_by_architecture_and_class_and_knows_hosts() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let boot_file = |url: &str| {
            format!(
                r#""option-data": [ {{ "name": "bootfile-url", "data": "tftp://[2001:db8:1::1]/{url}" }} ]"#
            )
        };
        let configuration = format!(
            r#""client-classes": [
                {{ "name": "ipxe", "test": "substring(option[15].hex, 2, 4) == 'iPXE' and option[61].exists",
                    {} }},
                {{ "name": "http", "test": "substring(option[16].hex, 6, 10) == 'HTTPClient'", {} }},
                {{ "name": "pxe", "test": "substring(option[16].hex, 6, 9) == 'PXEClient' and not member('ipxe')", {} }} ],
            "mac-sources": [ "any" ], "host-reservation-identifiers": [ "duid", "hw-address" ],
            "reservations-global": false, "reservations-in-subnet": true,
            "subnet6": [ {{ "id": 1, "subnet": "2001:db8:1::/64", "interface": "far",
                "pools": [ {{ "pool": "2001:db8:1::200-2001:db8:1::2ff" }} ],
                "reservations": [
                    {{ "duid": "00:04:07:07", "ip-addresses": [ "2001:db8:1::77" ] }},
                    {{ "hw-address": "52:54:00:12:34:56", "ip-addresses": [ "2001:db8:1::88" ] }} ] }} ]"#,
            boot_file("ipxe"),
            boot_file("http"),
            boot_file("pxe")
        );
        let _server = kea(&far, &configuration);
        let _router = radvd(&far, "AdvManagedFlag on;");
        for (identify, client_id, address, file) in [
            ("ipxe", "mac", "2001:db8:1::88", Some("ipxe")),
            ("pxe", "00:04:07:07", "2001:db8:1::77", Some("pxe")),
            ("http", "mac", "2001:db8:1::88", Some("http")),
            ("plain", "00:04:07:07", "2001:db8:1::77", None),
        ] {
            let (report, log) = leased(&["--identify", identify, "--client-id", client_id]);
            assert_eq!(
                report["addresses"][0]["address"], address,
                "{identify} {log}"
            );
            let file = file.map(|name| format!("tftp://[2001:db8:1::1]/{name}"));
            assert_eq!(
                report["boot_file"].as_str(),
                file.as_deref(),
                "{identify} {log}"
            );
            let (code, _, log) = lease(&["--release"]);
            assert_eq!(code, Some(0), "{log}");
        }
    });
}

/// Makes a folder with a kernel and a script that starts it.
fn served(far: &Far) -> PathBuf {
    let folder = far.folder.join("served");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("kernel"), bz_image()).unwrap();
    std::fs::write(folder.join("boot.ipxe"), "#!ipxe\nkernel kernel\nboot\n").unwrap();
    folder
}

/// Returns the kernel of the plan of a boot, which must succeed.
fn planned(more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["boot", "-i", "near", "-v", "--family", "6"]);
    command.args(["--stop-after", "plan", "--json"]).args(more);
    let (code, report, log) = output(command.stdin(Stdio::null()));
    assert_eq!(code, Some(0), "{log}");
    let plan: Value = serde_json::from_str(&report).unwrap();
    is_as_found();
    plan["kernel"]["url"].as_str().unwrap().to_owned()
}

/// unbound with DNS64, in front of a server that knows addresses of IPv4 alone.
fn dns64(far: &Far, unbound: &str) -> [Server; 2] {
    let behind = far.serve(
        "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --no-resolv --no-hosts --port=5353
         --listen-address=127.0.0.1 --bind-interfaces --address=/boot.example/192.0.2.1
         --address=/ipv4only.arpa/192.0.0.170",
        "started",
    );
    let config = far.write(
        "unbound.conf",
        "server:\n chroot: \"\"\n username: \"\"\n directory: \"/\"\n pidfile: \"\"\n use-syslog: no\n \
         logfile: \"\"\n interface: 2001:db8:1::1\n access-control: ::/0 allow\n do-not-query-localhost: no\n \
         module-config: \"dns64 iterator\"\n dns64-prefix: 64:ff9b::/96\n\
         remote-control:\n control-enable: no\n\
         forward-zone:\n name: \".\"\n forward-addr: 127.0.0.1@5353\n",
    );
    let folders = "lib/x86_64-linux-gnu";
    let libraries: Vec<_> = unbound
        .split_whitespace()
        .flat_map(|root| [format!("{root}/usr/{folders}"), format!("{root}/{folders}")])
        .collect();
    let program = unbound.split_whitespace().next().unwrap();
    let front = far.serve(
        &format!(
            "env LD_LIBRARY_PATH={} {program}/usr/sbin/unbound -d -c {config}",
            libraries.join(":")
        ),
        "start of service",
    );
    [behind, front]
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, nginx and apt"]
fn names_and_literals_of_ipv4_are_reached_where_unbound_has_dns64() {
    let unbound = shell("debian_package unbound; debian_package libprotobuf-c1");
    in_new_namespace(move || {
        let far = Far::plug_in_ipv6();
        far.run("ip link set lo up");
        let folder = served(&far);
        let _web = nginx_with(&far, &folder, "listen 192.0.2.1:80; listen [::]:80;");
        // What a translator does, for 192.0.2.1 alone.
        far.run("ip address add 64:ff9b::c000:201/128 dev lo");
        let _names = dns64(&far, &unbound);
        let _router = far.serve(
            &format!(
                "{DNSMASQ} --enable-ra --dhcp-range=2001:db8:1::,ra-stateless
                 --dhcp-option=option6:dns-server,[2001:db8:1::1]
                 --dhcp-option=option6:bootfile-url,http://boot.example/boot.ipxe"
            ),
            "router advertisement",
        );
        assert_eq!(planned(&[]), "http://boot.example/kernel");
        let literal = ["--boot-file", "http://192.0.2.1/boot.ipxe"];
        assert_eq!(planned(&literal), "http://192.0.2.1/kernel");
    });
}
