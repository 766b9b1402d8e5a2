//! The life of a lease after it was granted, against real servers: `wireboot lease --keep`,
//! `--release` and `--inform`, and `wireboot boot` that takes longer than its lease, each test in
//! network namespaces of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::client::{
    address_changes, addresses, boot, boot_command, is_as_it_was, is_configured, json, keep, lease,
    networkd, slow_kernel, succeeds, wireboot,
};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq, drop_acknowledgements, kea_at_once, nginx};
use crate::common::terminal::Terminal;
use crate::common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::Signal;
use wireboot_proto::format::kernel_image::fixture::bz_image;

/// Seconds that the renewal run takes when the environment names no other number.
const RENEWAL_SECONDS: u64 = 12;
const TEN_SECONDS: &str = "max-lease-time 10; min-lease-time 10;";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_ten_seconds_is_renewed_and_its_address_never_leaves() {
    in_new_namespace(|| {
        let seconds = std::env::var("WIREBOOT_RENEWAL_SECONDS");
        let seconds = seconds.map_or(RENEWAL_SECONDS, |text| text.parse().unwrap());
        let far = Far::plug_in();
        let server = dhcpd(&far, TEN_SECONDS);
        count(&far, "ip saddr 192.0.2.100 ip daddr 192.0.2.1 udp dport 67");
        let changes = address_changes();
        let client = keep(&[]);
        let end = Instant::now() + Duration::from_secs(seconds);
        client.wait_for("192.0.2.100/24 from 192.0.2.1 for 10 s");
        is_configured();
        let discovers = server.count("DHCPDISCOVER");
        while Instant::now() < end {
            assert_eq!(changes.count("Deleted"), 0);
            assert_eq!(addresses(), ["192.0.2.100"]);
            std::thread::sleep(Duration::from_millis(100));
        }
        // At half of the time, by unicast.
        let renewals = counted(&far);
        assert!(renewals >= seconds / 5 - 1, "{renewals} in {seconds} s");
        assert_eq!(server.count("DHCPDISCOVER"), discovers);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn with_the_server_gone_the_address_leaves_when_the_lease_is_over_and_not_before() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, TEN_SECONDS);
        let client = keep(&[]);
        client.wait_for("192.0.2.100/24 from 192.0.2.1 for 10 s");
        let granted = server.count("DHCPACK");
        wait_until("it is renewed", || server.count("DHCPACK") > granted);
        let renewed_at = Instant::now();
        drop(server);
        wait_until("the address is gone", || addresses().is_empty());
        let lasted = renewed_at.elapsed().as_secs_f32();
        // Counted from the request, of whose answer a busy machine tells us late; T2 is at 8.75 s.
        assert!((9.3..12.0).contains(&lasted), "{lasted} s");
        client.wait_for("the lease has expired");
        assert_eq!(json("-4 -j route show").as_array().unwrap().len(), 0);
        // It stays on the watch.
        let _server = dhcpd(&far, TEN_SECONDS);
        wait_until("it has a lease again", || !addresses().is_empty());
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_kernel_takes_the_address_away_when_the_client_was_killed() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, TEN_SECONDS);
        succeeds(lease("30"));
        let link = &json("-j address show near")[0];
        let address = &link["addr_info"].as_array().unwrap()[0];
        let seconds = |key: &str| address[key].as_u64().unwrap();
        assert!(seconds("valid_life_time") <= 10);
        assert!(seconds("preferred_life_time") < seconds("valid_life_time"));
        wait_until("the address is gone", || addresses().is_empty());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_release_is_in_the_log_of_dnsmasq_and_nothing_is_left() {
    releases(|far| dnsmasq(far, ""), "DHCPRELEASE(far) 192.0.2.100");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_release_is_in_the_log_of_isc_dhcpd_and_nothing_is_left() {
    releases(|far| dhcpd(far, ""), "DHCPRELEASE of 192.0.2.100");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_release_is_in_the_log_of_kea_and_nothing_is_left() {
    releases(kea_at_once, "DHCP4_RELEASE ");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn sigterm_leaves_the_lease_which_a_later_command_gives_back() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let mut client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        client.signal(Signal::SIGTERM);
        assert_eq!(client.exit_code(), Some(0));
        is_configured();
        assert_eq!(server.count("DHCPRELEASE"), 0);
        // Another command finds the MTU set already, and still knows what it was.
        succeeds(lease("20"));
        is_configured();
        assert_eq!(wireboot(&["--release"]).0, Some(0));
        server.wait_for("DHCPRELEASE(far) 192.0.2.100");
        assert_eq!(addresses(), Vec::<String>::new());
        assert_eq!(json("-j link show near")[0]["mtu"], 1500);
        let (code, text) = wireboot(&["--release"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("no lease to release"), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn either_signal_that_means_it_to_others_renews_the_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, "");
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        for signal in [Signal::SIGHUP, Signal::SIGUSR1] {
            client.forget();
            client.signal(signal);
            client.wait_for("renewed 192.0.2.100/24");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_client_that_goes_on_with_the_lease_of_another_gives_back_its_address_too() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "");
        succeeds(lease("30"));
        let mut client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        server.wait_for("DHCPRELEASE of 192.0.2.100");
        assert_eq!(addresses(), Vec::<String>::new());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_was_replaced_extends_the_lease_when_every_server_is_asked() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let first = dhcpd(&far, TEN_SECONDS);
        let changes = address_changes();
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1 for 10 s");
        drop(first);
        far.run("ip address flush dev far");
        far.run("ip address add 192.0.2.9/24 dev far");
        let second = dnsmasq(&far, "--dhcp-authoritative");
        client.wait_for("from 192.0.2.9");
        assert_eq!(second.count("DHCPDISCOVER"), 0);
        assert_eq!(changes.count("Deleted"), 0);
        is_configured();
        // The new one is asked by unicast from now on.
        let before = Counts::of(&second).acks;
        client.signal(Signal::SIGHUP);
        wait_until("it is renewed", || Counts::of(&second).acks > before);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn sighup_renews_and_what_the_server_changed_is_applied_without_dropping_the_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let changes = address_changes();
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        is_configured();
        drop(server);
        // Of two options the one that was given last counts.
        let server = dnsmasq(
            &far,
            "--dhcp-authoritative --dhcp-option=26,1300 --dhcp-option=121,203.0.113.0/24,192.0.2.3",
        );
        client.signal(Signal::SIGHUP);
        server.wait_for("DHCPACK(far) 192.0.2.100");
        wait_until("the routes are the new ones", || {
            let routes = ip("-4 route show");
            routes.contains("203.0.113.0/24 via 192.0.2.3") && !routes.contains("198.51.100.0")
        });
        assert_eq!(json("-j link show near")[0]["mtu"], 1300);
        assert_eq!(changes.count("Deleted"), 0);
        assert_eq!(server.count("DHCPDISCOVER"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_returns_has_its_address_confirmed_without_losing_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let changes = address_changes();
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        far.run("ip link set far down");
        client.wait_for("the carrier is gone");
        let before = Counts::of(&server);
        far.run("ip link set far up");
        wait_until("it is asked again", || {
            Counts::of(&server).acks > before.acks
        });
        assert_eq!(Counts::of(&server).discovers, before.discovers);
        assert_eq!(changes.count("Deleted"), 0);
        is_configured();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_link_that_returns_to_another_network_is_refused_and_gets_another_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        far.run("ip link set far down");
        client.wait_for("the carrier is gone");
        drop(server);
        far.run("ip address flush dev far");
        far.run("ip address add 203.0.113.1/24 dev far");
        let range = "--dhcp-range=203.0.113.50,203.0.113.50,255.255.255.0,1h";
        let server = dnsmasq(&far, &format!("--dhcp-authoritative {range}"));
        let returned_at = Instant::now();
        far.run("ip link set far up");
        server.wait_for("DHCPNAK(far) 192.0.2.100");
        wait_until("it has moved", || addresses() == ["203.0.113.50"]);
        assert!(returned_at.elapsed() < Duration::from_secs(5));
        assert_eq!(client.count("refused the address"), 1);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_second_start_asks_for_the_address_of_the_first_one_in_a_single_exchange() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "");
        succeeds(lease("30"));
        ip("address flush dev near");
        let first = Counts::of(&server);
        succeeds(lease("30"));
        is_configured();
        wait_until("it was confirmed", || Counts::of(&server).acks > first.acks);
        assert_eq!(Counts::of(&server).discovers, first.discovers);
        assert_eq!(wireboot(&["--no-lease-file"]).0, Some(0));
        wait_until("it was sought", || {
            Counts::of(&server).discovers > first.discovers
        });
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn dnsmasq_commits_at_once_when_it_is_allowed_to() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "--dhcp-rapid-commit");
        succeeds(lease("30"));
        is_configured();
        server.wait_for("DHCPACK");
        assert_eq!(
            (server.count("DHCPOFFER"), server.count("DHCPREQUEST")),
            (0, 0)
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_inform_brings_the_options_for_an_address_that_is_not_the_servers_and_sets_nothing() {
    for server in [dnsmasq, dhcpd] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = server(&far, "");
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["lease", "-i", "near", "--inform", "192.0.2.50"]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(server.count("DHCPINFORM") >= 1);
            let said = String::from_utf8_lossy(&output.stdout);
            for what in [
                "192.0.2.50/24 from 192.0.2.1",
                "route 0.0.0.0/0 via 192.0.2.1",
            ] {
                assert!(said.contains(&format!("near: would set {what}")), "{said}");
            }
            // It has only asked.
            is_as_it_was();
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_that_loses_the_race_gives_back_what_was_granted_there() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let other = Far::plug_in_as("other");
        // Commits, but its ACK is never heard.
        drop_acknowledgements(&other);
        let loser = dnsmasq(&other, "");
        let _winner = dnsmasq(&far, "--dhcp-reply-delay=2");
        assert_eq!(wireboot(&["-i", "other"]).0, Some(0));
        is_configured();
        loser.wait_for("DHCPRELEASE(far) 192.0.2.100");
        let flags = json("-j link show other")[0]["flags"].clone();
        let flags = flags.as_array().unwrap();
        assert!(!flags.iter().any(|flag| flag == "UP"), "{flags:?}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_signal_before_there_is_a_lease_leaves_everything_as_it_was() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let mut client = keep(&["-v"]);
        client.wait_for("DISCOVER to 255.255.255.255:67");
        client.signal(Signal::SIGINT);
        client.wait_for("wireboot: interrupted");
        assert_eq!(client.exit_code(), Some(130));
        is_as_it_was();
        // Details are in the words of the RFC, without the places in the program.
        assert_eq!(client.count("near: SELECTING, waiting for offers"), 1);
        assert_eq!(client.count("wireboot::"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_client_that_stays_has_its_port_and_sends_no_icmp() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        wait_until("it has its port", || {
            std::fs::read_to_string("/proc/thread-self/net/udp")
                .unwrap()
                .contains(":0044 ")
        });
        count(&far, "icmp type destination-unreachable");
        let to = |port: u16| format!("bash -c echo>/dev/udp/192.0.2.100/{port}");
        far.run(&to(9));
        wait_until("a port that nobody has is unreachable", || {
            counted(&far) == 1
        });
        far.run(&to(68));
        far.run(&to(9));
        wait_until("the next such port is, too", || counted(&far) == 2);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_keeps_a_lease_of_eight_seconds_over_a_download_of_twenty() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "max-lease-time 8; min-lease-time 8;");
        let _http = nginx(&far, &slow_kernel(&far, 2_500_000));
        let changes = address_changes();
        count(&far, "ip saddr 192.0.2.100 ip daddr 192.0.2.1 udp dport 67");
        let began_at = Instant::now();
        let mut boot = boot(&["--boot-file", "http://192.0.2.1/script"]);
        boot.wait_for("kernel: 2441 KiB in");
        assert!(began_at.elapsed() > Duration::from_secs(16), "too fast");
        // At half of the time, by unicast.
        assert!(counted(&far) >= 3);
        assert_eq!(changes.count("Deleted"), 0);
        assert_eq!(addresses(), ["192.0.2.100"]);
        assert_eq!(server.count("DHCPRELEASE"), 0);
        // A boot that ends before the jump puts the network back.
        assert_eq!(boot.exit_code(), Some(0));
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_keeps_its_lease_while_it_pauses_and_while_a_menu_waits() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, "max-lease-time 6; min-lease-time 6;");
        let folder = slow_kernel(&far, 100_000);
        let script = "#!ipxe\nsleep 8\nmenu Machines\nitem a A\nchoose --timeout 9000 --default a x\n\
            echo chosen ${x}\nsleep 3\nkernel kernel\nboot\n";
        far.write("served/script", script);
        let _http = nginx(&far, &folder);
        let changes = address_changes();
        let mut command = boot_command(&["--boot-file", "http://192.0.2.1/script"]);
        command.env("TERM", "linux");
        let mut boot = Terminal::start(command);
        boot.shows(&["Machines", "chosen a"]);
        assert_eq!(changes.count("Deleted"), 0);
        assert_eq!(addresses(), ["192.0.2.100"]);
        boot.shows(&["stopped after image"]);
        assert!(boot.child.wait().unwrap().success());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_without_an_address_waits_for_the_server_to_return() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, "max-lease-time 4; min-lease-time 4;");
        let _http = nginx(&far, &slow_kernel(&far, 1_500_000));
        let mut boot = boot(&["--boot-file", "http://192.0.2.1/script"]);
        boot.wait_for("from 192.0.2.1 for 4 s");
        drop(server);
        boot.wait_for("the lease has expired");
        boot.wait_for("waiting up to");
        // Longer than the retries of a fetch take.
        std::thread::sleep(Duration::from_secs(9));
        let _server = dhcpd(&far, "max-lease-time 4; min-lease-time 4;");
        boot.wait_for("kernel: 1464 KiB in");
        assert_eq!(addresses(), ["192.0.2.100"]);
        assert_eq!(boot.exit_code(), Some(0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_fails_ends_the_renewal_and_leaves_nothing_on_the_interface() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, "max-lease-time 4; min-lease-time 4;");
        far.write("script", "#!ipxe\nsleep 6\nfrobnicate\n");
        let _http = nginx(&far, &far.folder);
        let mut boot = boot(&["--boot-file", "http://192.0.2.1/script"]);
        assert_eq!(boot.exit_code(), Some(6));
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_fails_leaves_an_address_with_its_lifetimes_and_routes_as_they_were() {
    // The server grants the address that is there, and another one.
    for (address, more) in [
        ("192.0.2.100", ""),
        ("192.0.2.50", ""),
        ("192.0.2.100", "metric 300"),
    ] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dnsmasq(&far, "");
            let _http = nginx(&far, &far.folder);
            ip("link set near up");
            ip(&format!(
                "address add {address}/24 brd + dev near valid_lft 1000 preferred_lft 900 {more}"
            ));
            ip(&format!("route add default via 192.0.2.1 src {address}"));
            ip("route add 203.0.113.0/24 via 192.0.2.3 metric 7");
            fails_and_leaves_all_as_it_was(&far);
            let (valid, preferred) = lifetimes(address);
            assert!((900..=1000).contains(&valid), "{valid}");
            assert!((800..=900).contains(&preferred), "{preferred}");
            assert_eq!(server.count("DHCPRELEASE"), 0);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_fails_beside_a_client_that_keeps_its_lease_leaves_all_as_it_was() {
    for is_own in [true, false] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dnsmasq(
                &far,
                "--dhcp-range=192.0.2.101,192.0.2.150,255.255.255.0,1h",
            );
            let _http = nginx(&far, &far.folder);
            let client = if is_own {
                keep(&[])
            } else {
                let folder = Path::new("/run/systemd/network");
                fs::create_dir_all(folder).unwrap();
                let unit = "[Match]\nName=near\n[Network]\nDHCP=ipv4\n";
                fs::write(folder.join("near.network"), unit).unwrap();
                networkd()
            };
            wait_until("it has a lease", || {
                ip("-4 route show").contains("198.51.100.0/24 via 192.0.2.2")
                    && ip("-4 route show").contains("default via 192.0.2.1")
            });
            let before = addresses();
            fails_and_leaves_all_as_it_was(&far);
            assert_eq!(addresses(), before);
            assert_eq!(server.count("DHCPRELEASE"), 0);
            assert_eq!(client.count("somebody has removed"), 0);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_plan_that_nobody_reads_is_no_fault() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let _http = nginx(&far, &slow_kernel(&far, 2_000));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = boot_command(&["--boot-file", "http://192.0.2.1/kernel"]);
        command.args(["--stop-after", "plan"]).stdout(writer);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("stopped after plan"), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_fails_puts_back_the_lease_of_an_earlier_command() {
    for range in ["192.0.2.100", "192.0.2.150"] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dnsmasq(&far, "");
            succeeds(lease("20"));
            drop(server);
            let file = || {
                let files = std::fs::read_dir("/run/wireboot").unwrap();
                let leases = files.map(|file| file.unwrap().path());
                let mut leases = leases.filter(|path| path.extension().unwrap() == "lease");
                std::fs::read_to_string(leases.next().unwrap()).unwrap()
            };
            let before = file();
            let more = format!("--dhcp-range={range},{range},255.255.255.0,2h");
            let _server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
            let _http = nginx(&far, &far.folder);
            fails_and_leaves_all_as_it_was(&far);
            is_configured();
            let (valid, _) = lifetimes("192.0.2.100");
            assert!((3500..=3600).contains(&valid), "{valid}");
            assert_eq!(file(), before);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_router_that_the_kernel_refuses_leaves_the_lease_and_the_route_of_another_client() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        // No gateway, since the way to it is blocked (fib_check_nh in Linux).
        let range = "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let command = format!("{DNSMASQ} {range} --dhcp-option=3,192.0.2.77");
        let server = far.serve(&command, "DHCP, IP range");
        ip("link set near up");
        ip("route add unreachable 192.0.2.77 scope link");
        ip("address add 192.0.2.100/24 brd + dev near valid_lft 1000 preferred_lft 900");
        ip("route add default via 192.0.2.1 src 192.0.2.100");
        let before = ip("-4 route show");
        let (code, said) = wireboot(&[]);
        assert_eq!(code, Some(0), "{said}");
        let refused = "near: cannot set the route to 0.0.0.0/0 via 192.0.2.77: ";
        assert!(
            said.contains(refused) && said.contains("left out"),
            "{said}"
        );
        assert_eq!(ip("-4 route show"), before);
        let (valid, _) = lifetimes("192.0.2.100");
        assert!((3500..=3600).contains(&valid), "{valid}");
        assert_eq!(server.count("DHCPRELEASE"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_somebody_removes_is_set_again_for_the_rest_of_the_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        is_configured();
        std::thread::sleep(Duration::from_secs(3));
        let requests = server.count("DHCPREQUEST");
        ip("address del 192.0.2.100/24 dev near");
        client.wait_for("somebody has removed the address 192.0.2.100/24, which is set again");
        wait_until("it is there again", || {
            ip("-4 route show").lines().count() == 3
        });
        is_configured();
        assert!(lifetimes("192.0.2.100").0 < 3599);
        // What another one has is nothing to it.
        ip("address add 192.0.2.200/24 dev near");
        ip("address del 192.0.2.200/24 dev near");
        assert_eq!(server.count("DHCPREQUEST"), requests);
        assert_eq!(client.count("somebody has removed"), 1);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_a_killed_client_left_goes_when_the_server_refuses_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        killed(&far);
        ip("address add 203.0.113.7/24 dev near");
        ip("route add 203.0.113.64/26 via 203.0.113.1");
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let more = format!("{range} --dhcp-authoritative --dhcp-option=3,192.0.2.2");
        let server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
        succeeds(lease("20"));
        assert!(server.count("DHCPNAK(far) 192.0.2.100") > 0);
        has_moved();
        assert_eq!(addresses(), ["203.0.113.7", "192.0.2.150"]);
        assert!(ip("-4 route show").contains("203.0.113.64/26 via 203.0.113.1"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_refused_address_goes_though_no_other_is_granted() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        killed(&far);
        // Refuses, and has none to give.
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let more =
            format!("{range} --dhcp-authoritative --dhcp-host=00:00:5e:00:53:01,192.0.2.150");
        let server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
        let output = lease("3").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(server.count("DHCPNAK(far) 192.0.2.100") > 0);
        assert_eq!(addresses(), Vec::<String>::new());
        assert_eq!(json("-4 -j route show").as_array().unwrap().len(), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_a_killed_client_left_goes_before_a_boot_sets_another_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        killed(&far);
        // Over the link alone, which the kernel would remove with the last address.
        ip("route add 203.0.113.64/26 dev near");
        ip("address add 192.0.2.7/24 dev near");
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let more = format!("{range} --dhcp-option=3,192.0.2.2");
        let _server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
        let _http = nginx(&far, &slow_kernel(&far, 100_000));
        let mut boot = boot(&["--boot-file", "http://192.0.2.1/script"]);
        boot.wait_for("kernel: 97 KiB");
        has_moved();
        assert_eq!(json("-j link show near")[0]["mtu"], 1500);
        // The other one was behind the first one of its subnet.
        assert_eq!(addresses(), ["192.0.2.7", "192.0.2.150"]);
        assert!(ip("-4 route show").contains("203.0.113.64/26 dev near"));
        assert_eq!(boot.exit_code(), Some(0));
        assert_eq!(json("-j link show near")[0]["mtu"], 1400);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_mtu_before_a_killed_client_is_known_to_the_next_one_whatever_its_lease_says() {
    for (option, set) in [("26,1300", 1300), ("26,1400", 1400), ("6,192.0.2.53", 1500)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            killed(&far);
            let range = "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
            let more = format!("{range} --dhcp-authoritative --dhcp-option={option}");
            let _server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
            let mtu = || json("-j link show near")[0]["mtu"].clone();
            succeeds(lease("20"));
            assert_eq!(mtu(), set);
            succeeds(lease("20"));
            assert_eq!(mtu(), set);
            assert_eq!(wireboot(&["--release"]).0, Some(0));
            assert_eq!(mtu(), 1500);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_router_that_a_killed_client_had_gives_way_to_that_of_the_new_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        killed(&far);
        ip("route append default via 192.0.2.77 dev near");
        let range = "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let more = format!("{range} --dhcp-authoritative --dhcp-option=3,192.0.2.2");
        let _server = far.serve(&format!("{DNSMASQ} {more}"), "DHCP, IP range");
        succeeds(lease("20"));
        assert_eq!(addresses(), ["192.0.2.100"]);
        let routes = ip("-4 route show");
        assert!(!routes.contains("via 192.0.2.1 "), "{routes}");
        // Somebody else's stays.
        assert!(routes.contains("default via 192.0.2.77"), "{routes}");
        assert!(routes.contains("default via 192.0.2.2"), "{routes}");
    });
}

/// Has a client take 192.0.2.100 with the router 192.0.2.1 and be killed; its server goes too.
fn killed(far: &Far) {
    let _server = dnsmasq(far, "");
    let mut client = keep(&[]);
    client.wait_for("from 192.0.2.1");
    client.signal(Signal::SIGKILL);
    client.exit_code();
    is_configured();
}

/// Asserts that 192.0.2.2 is the only router, from 192.0.2.150.
fn has_moved() {
    let routes = ip("-4 route show default");
    assert_eq!(routes.lines().count(), 1, "{routes}");
    assert!(ip("route get 198.51.100.9").contains("via 192.0.2.2 dev near src 192.0.2.150"));
    assert!(!ip("-4 route show").contains("192.0.2.100"));
}

/// Runs a boot whose file is misspelt, one of whose menu nothing is chosen, and one that only asks what
/// would be booted, and asserts that what the kernel has is as before.
fn fails_and_leaves_all_as_it_was(far: &Far) {
    far.write("script", "#!ipxe\nmenu M\nitem a A\nchoose x || exit 1\n");
    let network = || {
        let routes = ip("-4 route show table all");
        let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap();
        (
            routes,
            ip("-4 rule show"),
            ip("link show near"),
            addresses(),
            resolvers,
        )
    };
    let before = network();
    let mut misspelt = boot(&["--boot-file", "http://192.0.2.1/mispelt"]);
    assert_eq!(misspelt.exit_code(), Some(6));
    assert_eq!(network(), before);
    let mut left = Terminal::start(boot_command(&["--boot-file", "http://192.0.2.1/script"]));
    left.shows(&["1 A"]);
    left.types("\x1b");
    assert_eq!(left.child.wait().unwrap().code(), Some(6));
    assert_eq!(network(), before);
    far.write("planned", "#!ipxe\nkernel http://192.0.2.1/kernel\nboot\n");
    fs::write(far.folder.join("kernel"), bz_image()).unwrap();
    for step in ["plan", "image"] {
        let mut asked = boot(&[
            "--boot-file",
            "http://192.0.2.1/planned",
            "--stop-after",
            step,
        ]);
        asked.wait_for(&format!("stopped after {step}"));
        assert_eq!(asked.exit_code(), Some(0));
        assert_eq!(network(), before, "{step}");
    }
}

/// Returns the valid and the preferred lifetime of an address of `near`, seconds.
fn lifetimes(address: &str) -> (u64, u64) {
    let link = &json("-j address show near")[0];
    let mut addresses = link["addr_info"].as_array().unwrap().iter();
    let found = addresses.find(|found| found["local"] == address).unwrap();
    let seconds = |key: &str| found[key].as_u64().unwrap();
    (seconds("valid_life_time"), seconds("preferred_life_time"))
}

/// What a server has logged so far.
struct Counts {
    discovers: usize,
    acks: usize,
}

impl Counts {
    fn of(server: &Server) -> Self {
        Self {
            discovers: server.count("DHCPDISCOVER"),
            acks: server.count("DHCPACK"),
        }
    }
}

/// Takes a lease and gives it back on SIGUSR2.
fn releases(server: impl FnOnce(&Far) -> Server + Send + 'static, logged: &'static str) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        let server = server(&far);
        let mut client = keep(&[]);
        client.wait_for("from 192.0.2.1");
        is_configured();
        client.signal(Signal::SIGUSR2);
        assert_eq!(client.exit_code(), Some(0));
        is_as_it_was();
        server.wait_for(logged);
    });
}

/// Counts what arrives at the far end and fits `expression`, from now on.
fn count(far: &Far, expression: &str) {
    let rules = format!(
        "table inet count {{
            chain input {{
                type filter hook input priority 0;
                {expression} counter
            }}
        }}"
    );
    far.run(&format!("nft -f {}", far.write("rules", &rules)));
}

fn counted(far: &Far) -> u64 {
    let text = far.output("nft list table inet count");
    let packets = text.split("packets ").nth(1).unwrap();
    packets.split(' ').next().unwrap().parse().unwrap()
}
