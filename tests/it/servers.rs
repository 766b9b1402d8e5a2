//! The life of a lease with each of the servers that are common, and over a relay and a bad link.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::client::{has_carrier, is_configured, json, last_line, lease};
use crate::common::far::{Far, Server};
use crate::common::servers::networkd_with;
use crate::common::{in_new_namespace, ip, servers, wait_until};
use nix::sys::signal::Signal;

/// How often a lease is sought over the bad link.
const LOSSY_RUNS: usize = 20;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_dnsmasq_is_renewed_rebound_and_released() {
    is_renewed_rebound_and_released(Kind::Dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_kea_is_renewed_rebound_and_released() {
    is_renewed_rebound_and_released(Kind::Kea);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_isc_dhcpd_is_renewed_rebound_and_released() {
    is_renewed_rebound_and_released(Kind::Dhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_udhcpd_is_renewed_rebound_and_released() {
    is_renewed_rebound_and_released(Kind::Udhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_networkd_is_renewed_rebound_and_released() {
    is_renewed_rebound_and_released(Kind::Networkd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_dnsmasq_that_another_host_has_is_declined() {
    is_declined(Kind::Dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_kea_that_another_host_has_is_declined() {
    is_declined(Kind::Kea);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_isc_dhcpd_that_another_host_has_is_declined() {
    is_declined(Kind::Dhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_udhcpd_that_another_host_has_is_declined() {
    is_declined(Kind::Udhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_of_networkd_that_another_host_has_is_declined() {
    is_declined(Kind::Networkd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_another_subnet_dnsmasq_refuses_the_old_address_and_grants_a_new_one() {
    moves_to_another_subnet(Kind::Dnsmasq);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_another_subnet_kea_refuses_the_old_address_and_grants_a_new_one() {
    moves_to_another_subnet(Kind::Kea);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_another_subnet_isc_dhcpd_refuses_the_old_address_and_grants_a_new_one() {
    moves_to_another_subnet(Kind::Dhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_another_subnet_udhcpd_refuses_the_old_address_and_grants_a_new_one() {
    moves_to_another_subnet(Kind::Udhcpd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_another_subnet_networkd_refuses_the_old_address_and_grants_a_new_one() {
    moves_to_another_subnet(Kind::Networkd);
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_comes_over_a_relay_and_is_renewed_past_it() {
    in_new_namespace(|| {
        let relay = Far::plug_in();
        let far = relay.behind();
        let server = servers::dhcpd(&far, "subnet 203.0.113.0 netmask 255.255.255.0 { }");
        let command = "dhcrelay -4 -d --no-pid -id far -iu behind 203.0.113.2";
        let _relaying = relay.serve(command, "Sending on");
        let client = keep();
        server.wait_for("DHCPACK on 192.0.2.100 to");
        server.wait_for("via 192.0.2.1");
        client.wait_for("from 203.0.113.2");
        is_configured();
        server.forget();
        client.signal(Signal::SIGHUP);
        // The relay passes on what it only overhears, too.
        wait_until("it is renewed directly", || {
            server.count("DHCPACK on 192.0.2.100 to") > 0 && server.count("via far") > 0
        });
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_loses_a_third_of_all_packets_gives_a_lease_in_time() {
    let runs = std::env::var("WIREBOOT_LOSSY_RUNS").map_or(LOSSY_RUNS, |text| {
        text.parse().expect("a number in WIREBOOT_LOSSY_RUNS")
    });
    let (sender, times) = std::sync::mpsc::channel();
    // They wait more than they compute.
    let threads = (0..8).map(|thread| {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for _ in (thread..runs).step_by(8) {
                let sender = sender.clone();
                in_new_namespace(move || sender.send(time_over_bad_link()).unwrap());
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    let mut times: Vec<Duration> = times.try_iter().collect();
    times.sort();
    let (median, worst) = (times.get(runs / 2).unwrap(), times.last().unwrap());
    println!("{runs} runs: median {median:.2?}, worst {worst:.2?}");
    assert_eq!(times.len(), runs);
    assert!(*median < Duration::from_secs(3) && *worst < Duration::from_secs(30));
}

/// Returns how long a lease takes when three packets of ten are lost in each direction.
fn time_over_bad_link() -> Duration {
    let far = Far::plug_in();
    let rules = "table inet filter {
        chain input {
            type filter hook input priority 0;
            udp dport 67 numgen random mod 100 < 30 drop
        }
        chain output {
            type filter hook output priority 0;
            udp sport 67 numgen random mod 100 < 30 drop
        }
    }";
    far.run(&format!("nft -f {}", far.write("rules", rules)));
    let _server = servers::dnsmasq(&far, "");
    let started = Instant::now();
    let output = lease("60").wait_with_output().unwrap();
    let taken = started.elapsed();
    assert!(output.status.success(), "{}", last_line(&output));
    taken
}

/// Renews at T1 and, when another server has taken the place of the first, rebinds at T2; the
/// address stays all the time. Then gives it back.
fn is_renewed_rebound_and_released(kind: Kind) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        let server = kind.start(&far, "192.0.2", 1);
        let mut client = keep();
        client.wait_for("192.0.2.100/24 from 192.0.2.1 for ");
        if let Kind::Dnsmasq = kind {
            // Its leases are of two minutes at least.
            client.signal(Signal::SIGHUP);
        }
        wait_until("it is renewed", || server.count(kind.acknowledges()) >= 2);
        assert_eq!(client.count("(REBINDING)"), 0);
        drop(server);
        far.run("ip address flush dev far");
        // A server on a packet socket hears what goes to the hardware address of the old one, too.
        ip("neighbour flush dev near");
        far.run("ip address add 192.0.2.3/24 dev far");
        let server = kind.start(&far, "192.0.2", 3);
        // T2 of a lease of two minutes comes after 105 s.
        let deadline = Instant::now() + Duration::from_secs(130);
        while client.count("(REBINDING)") == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        client.wait_for("(REBINDING)");
        server.wait_for(kind.acknowledges());
        wait_until("it is bound again", || client.count(": BOUND") >= 3);
        assert_eq!(client.count("has expired"), 0);
        assert_eq!(client.count(": SELECTING"), 1);
        assert_eq!(addresses(), ["192.0.2.100"]);
        client.signal(Signal::SIGUSR2);
        match kind.releases() {
            Some(text) => server.wait_for(text),
            None => wait_until("it is released", || dumped_leases(&far).contains("expired")),
        }
        assert_eq!(client.exit_code(), Some(0));
        assert!(addresses().is_empty());
    });
}

fn is_declined(kind: Kind) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        // Kea and dhcpd see no difference to a host of its own; the others send to themselves then.
        let _other = match kind {
            Kind::Dnsmasq | Kind::Udhcpd | Kind::Networkd => Some(far.beside(100)),
            Kind::Kea | Kind::Dhcpd => {
                far.run("ip address add 192.0.2.100/32 dev far");
                None
            }
        };
        let server = if let Kind::Udhcpd = kind {
            // It looks for another host itself before it offers an address, but not one that is
            // meant for this client.
            let mac = &json("-j link show near")[0]["address"];
            let meant = format!("static_lease {} 192.0.2.100", mac.as_str().unwrap());
            udhcpd(&far, "192.0.2", 1, &meant)
        } else {
            kind.start(&far, "192.0.2", 1)
        };
        // The bridge takes its time before it forwards.
        let output = lease("6").wait_with_output().unwrap();
        match kind.declines() {
            Some(text) => server.wait_for(text),
            // Whose each message is: of the DISCOVER, the REQUEST, and one that is not answered.
            None => wait_until("it is declined", || {
                server.count("found static lease") == 3 && server.count("sending") == 2
            }),
        }
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(addresses().is_empty());
    });
}

/// The link comes back on another network: the address is asked for, refused, and another granted.
fn moves_to_another_subnet(kind: Kind) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        let server = kind.start(&far, "192.0.2", 1);
        let client = keep();
        client.wait_for("192.0.2.100/24 from 192.0.2.1 for ");
        drop(server);
        far.run("ip address flush dev far");
        far.run("ip address add 203.0.113.1/24 dev far");
        let server = kind.start(&far, "203.0.113", 1);
        far.run("ip link set far down");
        client.wait_for("the carrier is gone");
        far.run("ip link set far up");
        if let Some(text) = kind.refuses() {
            server.wait_for(text);
        }
        wait_until("it has moved", || addresses() == ["203.0.113.100"]);
        assert_eq!(client.count("refused the address"), 1);
    });
}

/// Returns what is in the file of udhcpd's leases, which it writes every second.
fn dumped_leases(far: &Far) -> String {
    far.output(&format!(
        "busybox dumpleases -f {}/leases",
        far.folder.display()
    ))
}

/// Starts a client that stays on `near`.
fn keep() -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    Server::start(command.args(["lease", "-i", "near", "--keep", "-v"]))
}

/// Returns the IPv4 addresses of `near`.
fn addresses() -> Vec<String> {
    let shown = ip("-4 -o address show dev near");
    let words = shown
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    words
        .filter_map(|word| Some(word.split_once('/')?.0.to_owned()))
        .collect()
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Dnsmasq,
    Kea,
    Dhcpd,
    Udhcpd,
    Networkd,
}

impl Kind {
    /// Starts the server at `net.host`, which grants `net.100` for ten seconds, or for as few as it
    /// can.
    fn start(self, far: &Far, net: &str, host: u8) -> Server {
        match self {
            Self::Dnsmasq => dnsmasq(far, net),
            Self::Kea => kea(far, net),
            Self::Dhcpd => dhcpd(far, net),
            Self::Udhcpd => udhcpd(far, net, host, ""),
            Self::Networkd => networkd(far, net, host),
        }
    }

    const fn acknowledges(self) -> &'static str {
        match self {
            Self::Dnsmasq => "DHCPACK(far) 192.0.2.100",
            Self::Kea => "DHCP4_LEASE_ALLOC",
            Self::Dhcpd => "DHCPACK on 192.0.2.100",
            Self::Udhcpd => "sending ACK to 192.0.2.100",
            Self::Networkd => "DHCPv4 server: ACK",
        }
    }

    /// What it says of a RELEASE; udhcpd says nothing.
    const fn releases(self) -> Option<&'static str> {
        match self {
            Self::Dnsmasq => Some("DHCPRELEASE(far) 192.0.2.100"),
            Self::Kea => Some("DHCP4_RELEASE"),
            Self::Dhcpd => Some("DHCPRELEASE of 192.0.2.100"),
            Self::Udhcpd => None,
            Self::Networkd => Some("DHCPv4 server: RELEASE"),
        }
    }

    /// What it says of a DECLINE; udhcpd says nothing.
    const fn declines(self) -> Option<&'static str> {
        match self {
            Self::Dnsmasq => Some("DHCPDECLINE(far) 192.0.2.100"),
            Self::Kea => Some("DHCP4_DECLINE_LEASE"),
            Self::Dhcpd => Some("DHCPDECLINE of 192.0.2.100"),
            Self::Udhcpd => None,
            Self::Networkd => Some("DHCPv4 server: DECLINE"),
        }
    }

    /// What it says of a NAK; udhcpd says nothing.
    const fn refuses(self) -> Option<&'static str> {
        match self {
            Self::Dnsmasq => Some("DHCPNAK(far) 192.0.2.100"),
            Self::Kea => Some("DHCPNAK"),
            Self::Dhcpd => Some("DHCPNAK on 192.0.2.100"),
            Self::Udhcpd => None,
            Self::Networkd => Some("DHCPv4 server: NAK"),
        }
    }
}

fn dnsmasq(far: &Far, net: &str) -> Server {
    let command = format!(
        "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file= --log-dhcp
        --no-ping --dhcp-authoritative --interface=far --bind-interfaces --leasefile-ro
        --dhcp-range={net}.100,{net}.100,255.255.255.0,2m"
    );
    far.serve(&command, "DHCP, IP range")
}

fn kea(far: &Far, net: &str) -> Server {
    let config = format!(
        r#"{{ "Dhcp4": {{
            "interfaces-config": {{ "interfaces": [ "far" ] }},
            "lease-database": {{ "type": "memfile", "persist": false }},
            "authoritative": true,
            "valid-lifetime": 10,
            "subnet4": [ {{
                "id": 1,
                "subnet": "{net}.0/24",
                "pools": [ {{ "pool": "{net}.100 - {net}.100" }} ]
            }} ],
            "loggers": [ {{
                "name": "kea-dhcp4",
                "output_options": [ {{ "output": "stdout" }} ],
                "severity": "DEBUG",
                "debuglevel": 50
            }} ]
        }} }}"#
    );
    let config = far.write("kea.json", &config);
    far.serve(&format!("kea-dhcp4 -c {config}"), "DHCP4_STARTED")
}

/// One that does not know a lease is silent when it is to be rebound, so that the second is given
/// the leases of the first.
fn dhcpd(far: &Far, net: &str) -> Server {
    let config = format!(
        "authoritative;
        ping-check false;
        default-lease-time 10;
        max-lease-time 10;
        min-lease-time 10;
        subnet {net}.0 netmask 255.255.255.0 {{ range {net}.100; }}"
    );
    let config = far.write("dhcpd.conf", &config);
    let leases = far.folder.join("leases");
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&leases);
    written.expect("a temporary file");
    let leases = leases.display();
    let command = format!("dhcpd -4 -f -d -cf {config} -lf {leases} --no-pid far");
    far.serve(&command, "Server starting service.")
}

/// As [`dhcpd`], with `more` lines of configuration.
fn udhcpd(far: &Far, net: &str, host: u8, more: &str) -> Server {
    let leases = far.folder.join("leases");
    let pid = far.write("pid", "");
    let config = format!(
        "interface far
        start {net}.100
        end {net}.100
        siaddr {net}.{host}
        lease_file {}
        pidfile {pid}
        auto_time 1
        option subnet 255.255.255.0
        option lease 10
        {more}\n",
        leases.display()
    );
    let config = far.write("udhcpd.conf", &config);
    far.serve(&format!("udhcpd -f -vv {config}"), "started")
}

fn networkd(far: &Far, net: &str, host: u8) -> Server {
    let config = format!(
        "[Match]\nName=far\n
        [Network]\nAddress={net}.{host}/24\nDHCPServer=yes\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n
        [DHCPServer]\nPoolOffset=100\nPoolSize=1\nDefaultLeaseTimeSec=10\nEmitRouter=no\n"
    );
    // It gives the interface its address, and does not come to an end with one that is there.
    far.run("ip address flush dev far");
    networkd_with(far, &config, "DHCPv4 server: STARTED")
}
