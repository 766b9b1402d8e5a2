//! `wireboot lease` against real servers, each test in network namespaces of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

use std::process::{Child, Command, Output, Stdio};

use common::far::{Far, Server};
use common::{in_new_namespace, ip, wait_until};
use serde_json::Value;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_dnsmasq_grants_is_configured() {
    is_configured_as_granted(|far| dnsmasq(far, ""));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_kea_grants_is_configured() {
    is_configured_as_granted(|far| {
        // Kea does not listen on an interface without a carrier.
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        kea(far)
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_isc_dhcpd_grants_is_configured() {
    is_configured_as_granted(|far| dhcpd(far, ""));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_busybox_udhcpd_grants_is_configured() {
    is_configured_as_granted(udhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_server_the_message_says_where_how_often_how_long_and_what_was_seen() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let output = lease("2").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = last_line(&output);
        assert!(text.starts_with("wireboot: near: no lease in 2."), "{text}");
        // At 0, 0.5 and 1.5 s, each delay a fifth shorter or longer.
        assert!(text.contains(" 3 DISCOVERs sent"), "{text}");
        assert!(text.contains("frame"), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_answers_only_the_third_discover_gets_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "min-secs 1;");
        succeeds(lease("30"));
        assert_eq!(server.count("DHCPDISCOVER"), 3);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_dies_before_its_offer_and_comes_back_gives_a_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let dying = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("30");
        dying.wait_for("DHCPDISCOVER");
        drop(dying);
        let _server = dnsmasq(&far, "");
        succeeds(client);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_falls_silent_after_its_offer_leaves_nothing_behind() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        drop_acknowledgements(&far);
        let server = dnsmasq(&far, "");
        let output = lease("5").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(server.count("DHCPOFFER") > 0);
        let text = last_line(&output);
        assert!(text.contains("192.0.2.1 made an offer"), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_is_unplugged_and_plugged_in_again_gives_a_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let slow = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("30");
        slow.wait_for("DHCPDISCOVER");
        far.run("ip link set far down");
        wait_until("near has no carrier", || !has_carrier());
        drop(slow);
        far.run("ip link set far up");
        let _server = dnsmasq(&far, "");
        succeeds(client);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_stays_unplugged_ends_in_time_and_leaves_nothing_behind() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let slow = dnsmasq(&far, "--dhcp-reply-delay=20");
        let client = lease("3");
        slow.wait_for("DHCPDISCOVER");
        far.run("ip link set far down");
        let output = client.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), Some(2 | 3)), "{output:?}");
        is_as_it_was();
    });
}

/// Starts the client on `near`.
fn lease(timeout: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wireboot"))
        .args(["lease", "-i", "near", "--timeout", timeout])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn succeeds(client: Child) {
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().last().unwrap_or_default().to_owned()
}

fn is_configured_as_granted(server: impl FnOnce(&Far) -> Server + Send + 'static) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        let _server = server(&far);
        succeeds(lease("30"));
        is_configured();
    });
}

/// Asserts what every server here grants, as the kernel tells it.
fn is_configured() {
    let link = &json("-j address show near")[0];
    assert_eq!(link["mtu"], 1400);
    assert_eq!(ipv4_addresses(link), [("192.0.2.100", 24)]);
    let routes = json("-4 -j route show");
    let mut found: Vec<_> = routes.as_array().unwrap().iter().map(route).collect();
    found.sort_unstable();
    let expected = [
        ("192.0.2.0/24", None, "near"),
        ("198.51.100.0/24", Some("192.0.2.2"), "near"),
        ("default", Some("192.0.2.1"), "near"),
    ];
    assert_eq!(found, expected);
}

/// Asserts that `near` is down and bare, as it was before.
fn is_as_it_was() {
    let link = &json("-j address show near")[0];
    let flags = link["flags"].as_array().unwrap();
    assert!(!flags.iter().any(|flag| flag == "UP"), "{flags:?}");
    assert_eq!(link["mtu"], 1500);
    assert_eq!(ipv4_addresses(link), []);
    assert_eq!(json("-4 -j route show"), Value::Array(Vec::new()));
}

fn ipv4_addresses(link: &Value) -> Vec<(&str, i64)> {
    let addresses = link["addr_info"].as_array().unwrap().iter();
    addresses
        .filter(|address| address["family"] == "inet")
        .map(|address| {
            let local = address["local"].as_str().unwrap();
            (local, address["prefixlen"].as_i64().unwrap())
        })
        .collect()
}

fn route(route: &Value) -> (&str, Option<&str>, &str) {
    let text = |key: &str| route[key].as_str();
    (text("dst").unwrap(), text("gateway"), text("dev").unwrap())
}

fn has_carrier() -> bool {
    ip("-o link show near").contains("LOWER_UP")
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(&ip(arguments)).unwrap()
}

/// From now on no ACK leaves the server's namespace; dnsmasq puts option 53 first.
fn drop_acknowledgements(far: &Far) {
    let rules = "table inet filter {
        chain output {
            type filter hook output priority 0;
            udp sport 67 @th,1984,24 0x350105 drop
        }
    }";
    far.run(&format!("nft -f {}", far.write("rules", rules)));
}

fn dnsmasq(far: &Far, more: &str) -> Server {
    let command = format!(
        "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --leasefile-ro --pid-file=
        --no-ping --interface=far --bind-interfaces
        --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h --dhcp-option=3,192.0.2.1
        --dhcp-option=121,198.51.100.0/24,192.0.2.2,0.0.0.0/0,192.0.2.1 --dhcp-option=26,1400 {more}"
    );
    far.serve(&command, "DHCP, IP range")
}

fn kea(far: &Far) -> Server {
    let config = r#"{ "Dhcp4": {
        "interfaces-config": { "interfaces": [ "far" ] },
        "lease-database": { "type": "memfile", "persist": false },
        "valid-lifetime": 3600,
        "subnet4": [ {
            "id": 1,
            "subnet": "192.0.2.0/24",
            "pools": [ { "pool": "192.0.2.100 - 192.0.2.100" } ],
            "option-data": [
                { "name": "routers", "data": "192.0.2.1" },
                { "name": "interface-mtu", "data": "1400" },
                { "code": 121, "csv-format": false, "data": "18C63364C000020200C0000201" }
            ]
        } ]
    } }"#;
    let config = far.write("kea.json", config);
    far.serve(&format!("kea-dhcp4 -c {config}"), "DHCP4_STARTED")
}

fn dhcpd(far: &Far, more: &str) -> Server {
    let config = format!(
        "option classless-routes code 121 = array of unsigned integer 8;
        authoritative;
        ping-check false;
        {more}
        subnet 192.0.2.0 netmask 255.255.255.0 {{
            range 192.0.2.100;
            default-lease-time 3600;
            option routers 192.0.2.1;
            option interface-mtu 1400;
            option classless-routes 24,198,51,100, 192,0,2,2, 0, 192,0,2,1;
        }}"
    );
    let config = far.write("dhcpd.conf", &config);
    let leases = far.write("leases", "");
    let command = format!("dhcpd -4 -f -d -cf {config} -lf {leases} --no-pid far");
    far.serve(&command, "Server starting service.")
}

fn udhcpd(far: &Far) -> Server {
    let leases = far.write("leases", "");
    let pid = far.write("pid", "");
    let config = format!(
        "interface far
        start 192.0.2.100
        end 192.0.2.100
        lease_file {leases}
        pidfile {pid}
        option subnet 255.255.255.0
        option router 192.0.2.1
        option mtu 1400
        option lease 3600
        option staticroutes 198.51.100.0/24 192.0.2.2, 0.0.0.0/0 192.0.2.1\n"
    );
    let config = far.write("udhcpd.conf", &config);
    far.serve(&format!("udhcpd -f {config}"), "started")
}
