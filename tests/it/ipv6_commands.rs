//! `wireboot lease` over IPv6, or over either family, beyond taking a lease: release, information, scripts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::common::client::{keep, output};
use crate::common::far::{Far, Server};
use crate::common::machine::{mount_over_usr, shell};
use crate::common::servers::DNSMASQ;
use crate::common::{in_new_namespace, ip, wait_until};
use crate::ipv6::{LINK_LOCAL, POOL, addresses, dnsmasq, is_as_found, kea, lease, leased, radvd};

const GRANTED: &str = "2001:db8:1::200";

/// Runs `wireboot lease` to its end; returns its exit code, and what it printed on both outputs.
fn run(arguments: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["lease", "-i", "near", "-vv"]);
    output(
        command
            .args(arguments.split_whitespace())
            .stdin(Stdio::null()),
    )
}

fn record() -> Option<String> {
    fs::read_to_string("/run/wireboot/52:54:00:12:34:56.lease6").ok()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_later_command_releases_what_an_earlier_one_was_granted() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = kea(&far, POOL);
        let _router = radvd(&far, "AdvManagedFlag on; prefix 2001:db8:2::/64 { };");
        // As another client than the later command would be.
        leased(&["--client-id", "mac"]);
        assert!(addresses().contains(GRANTED), "{}", addresses());
        let text = record().unwrap();
        assert!(
            text.contains("duid=00030001525400123456\niaid=00123456\n"),
            "{text}"
        );
        assert!(text.contains(&format!("address={GRANTED}\n")), "{text}");
        let (code, _, log) = run("--family 6 --release --client-id 00:04:07:07");
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("near: RELEASE\n"), "{log}");
        server.wait_for("DHCP6_RELEASE_NA");
        assert_eq!(record(), None);
        // What is a router's is not the server's.
        assert!(!addresses().contains(GRANTED), "{}", addresses());
        assert!(addresses().contains("2001:db8:2:"), "{}", addresses());
        // The server has answered, and the address is free: another client gets it.
        assert_eq!(log.matches("near: RELEASE\n").count(), 1, "{log}");
        assert!(!log.contains("near: SOLICIT"), "{log}");
        leased(&["--client-id", "00:04:08:08"]);
        assert!(addresses().contains(GRANTED), "{}", addresses());
        let (code, ..) = run("--family either --release");
        assert_eq!(code, Some(0));
        let (code, _, log) = run("--family either --release");
        assert_eq!(code, Some(1));
        assert!(log.contains("no lease to release"), "{log}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_record_that_is_none_is_ignored_and_one_of_a_lease_that_is_left_is_put_back() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let path = "/run/wireboot/52:54:00:12:34:56.lease6";
        fs::create_dir_all("/run/wireboot").unwrap();
        let good = "duid=0001\niaid=00000001\nserver-id=0002\naddress=2001:db8:9::9\n";
        for bad in ["", "duid=00\n", &good.replace("2001:db8:9::9", "ff02::1")] {
            fs::write(path, bad).unwrap();
            let (code, _, log) = run("--family 6 --release");
            assert_eq!(code, Some(1), "{log}");
            assert!(log.contains("no lease to release"), "{log}");
        }
        // A lease that ends with its process, as a boot that fails.
        fs::write(path, good).unwrap();
        let _server = kea(&far, POOL);
        let _router = radvd(&far, "AdvManagedFlag on;");
        let mut boot = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        boot.args(["boot", "-i", "near", "--family", "6"]);
        let (code, _, log) = output(boot.args(["--timeout", "3", "http://[2001:db8:1::9]:9/x"]));
        assert!(code != Some(0), "{log}");
        assert_eq!(record().as_deref(), Some(good), "{log}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn information_alone_is_asked_for_and_nothing_is_set() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = dnsmasq(&far, "2001:db8:1::,ra-stateless");
        for arguments in ["--family 6 --inform ::", "--inform 2001:db8::9"] {
            let (code, report, log) = run(&format!("{arguments} --json"));
            assert_eq!(code, Some(0), "{log}");
            let report: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(report["boot_file"], "tftp://[2001:db8:1::1]/boot.ipxe");
            assert_eq!(report["dns"][0], "2001:db8:1::53");
            assert_eq!(report["search"][0], "lab.example");
            assert_eq!(report["addresses"].as_array().unwrap().len(), 0);
            assert!(!log.contains("router solicitation"), "{log}");
            is_as_found();
        }
        assert_eq!(server.count("DHCPSOLICIT"), 0);
        let (_, text, _) = run("--family 6 --inform ::");
        assert!(
            text.starts_with("near: would set resolver 2001:db8:1::53\n"),
            "{text}"
        );
        drop(server);
        let (code, _, log) = run("--family 6 --inform :: --timeout 2");
        assert_eq!(code, Some(3), "{log}");
        assert!(
            log.contains("no configuration of IPv6 after 2.0 s"),
            "{log}"
        );
        assert!(log.contains("no DHCPv6 server has answered"), "{log}");
        is_as_found();
        let (code, _, log) = run("--family 4 --inform 2001:db8::9");
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("takes --family 6"), "{log}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_over_either_family_is_one_of_ipv4_if_a_server_has_one() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let ranges = [
            "2001:db8:1::100,2001:db8:1::100,64,10m",
            "192.0.2.100,192.0.2.100,255.255.255.0,1h",
        ];
        let server = dnsmasq(&far, ranges[0]);
        {
            // IPv6 has an address and a boot file before there is a server of IPv4.
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["lease", "-i", "near", "--family", "either"]);
            let mut client = Server::start(&mut command);
            server.wait_for("DHCPREPLY");
            let range = format!("{DNSMASQ} --dhcp-range={}", ranges[1]);
            let _late = far.serve(&range, "DHCP, IP range");
            assert_eq!(client.exit_code(), Some(0));
            client.wait_for("near: 192.0.2.100/24");
            assert!(!addresses().contains("2001:db8:1::100"), "{}", addresses());
            assert_eq!(run("--family either --release").0, Some(0));
        }
        server.forget();
        let (code, text, log) = run("--family either");
        assert_eq!(code, Some(0), "{log}");
        assert!(
            text.starts_with("near: 2001:db8:1::100/128 from a server"),
            "{text}"
        );
        let (code, _, log) = run("--family either --release");
        assert_eq!(code, Some(0), "{log}");
        server.wait_for("DHCPRELEASE");
        let mut kept = keep(&["--family", "either"]);
        kept.wait_for("2001:db8:1::100/128 from a server");
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
    });
}

/// Makes a script that notes its argument, and its environment as far as it is of a lease.
fn noting(far: &Far, more: &str) -> (String, String) {
    let notes = far.folder.join("notes").display().to_string();
    // A part is never read.
    let text = format!(
        "#!/bin/sh\n{{ echo \"== $1\"; env | sort; }} > {notes}.part\ncat {notes}.part >> {notes}\n{more}\n"
    );
    let path = far.write("script", &text);
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    (path, notes)
}

fn events(notes: &str) -> Vec<String> {
    let text = fs::read_to_string(notes).unwrap_or_default();
    let words = text.lines().filter_map(|line| line.strip_prefix("== "));
    words.map(str::to_owned).collect()
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_script_hears_of_the_lease_in_the_words_of_three_clients() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = kea(
            &far,
            &format!(
                r#""option-data": [
                    {{ "name": "dns-servers", "data": "2001:db8:1::53, fe80::53" }},
                    {{ "name": "domain-search", "data": "lab.example, b.example" }},
                    {{ "name": "bootfile-url", "data": "http://[2001:db8:1::1]/a$(x)" }} ], {POOL}"#
            ),
        );
        let router = radvd(
            &far,
            "AdvManagedFlag on; AdvLinkMTU 1400; prefix 2001:db8:2::/64 { };",
        );
        let (script, notes) = noting(&far, "");
        let mut kept = keep(&["--family", "6", "-v", "--script", &script]);
        wait_until("bound", || events(&notes).len() >= 2);
        // An advertisement that changes nothing is no event.
        let advertised = router.count("timer_handler");
        wait_until("two more advertisements", || {
            router.count("timer_handler") >= advertised + 2
        });
        assert_eq!(events(&notes).len(), 2);
        assert_eq!(events(&notes)[..2], ["deconfig", "bound"]);
        let said = fs::read_to_string(&notes).unwrap();
        for line in [
            // Of busybox.
            "interface=near",
            "ipv6=2001:db8:1::200",
            "dns=2001:db8:1::53 fe80::53%near",
            "search=lab.example b.example",
            // Of dhcpcd.
            "reason=PREINIT6",
            "reason=BOUND6",
            "protocol=dhcp6",
            "if_up=true",
            "new_dhcp6_client_id=00030001525400123456",
            "new_dhcp6_ia_na1_iaid=00123456",
            "new_dhcp6_ia_na1_ia_addr1=2001:db8:1::200",
            "new_dhcp6_name_servers=2001:db8:1::53 fe80::53%near",
            "new_dhcp6_domain_search=lab.example b.example",
            "nd1_addr1=2001:db8:2:0:5054:ff:fe12:3456/64",
            "nd1_from=fe80::5054:ff:fe00:1",
            "nd1_mtu=1400",
            // Of dhclient.
            "new_ip6_address=2001:db8:1::200",
            "new_ip6_prefixlen=128",
            "new_iaid=00:12:34:56",
        ] {
            assert!(said.lines().any(|said| said == line), "{line}\n{said}");
        }
        // Seconds, rounded down.
        for (name, seconds) in [
            ("lease", 600),
            ("new_dhcp6_ia_na1_ia_addr1_pltime", 500),
            ("new_dhcp6_ia_na1_ia_addr1_vltime", 600),
            ("new_max_life", 600),
            ("new_preferred_life", 500),
        ] {
            let mut values = said
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let value: u32 = values.next_back().unwrap().parse().unwrap();
            assert!((seconds - 10..=seconds).contains(&value), "{name}={value}");
        }
        assert!(said.contains("new_dhcp6_server_id=0002"), "{said}");
        // What a shell would expand is left out.
        assert!(!said.contains("bootfile_url"), "{said}");
        kept.wait_for("bootfile_url is not passed to the script");
        kept.signal(Signal::SIGHUP);
        wait_until("renewed", || events(&notes).contains(&"renew".to_owned()));
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
        assert_eq!(events(&notes).pop().as_deref(), Some("deconfig"));
        let said = fs::read_to_string(&notes).unwrap();
        assert!(said.contains("reason=RENEW6\n") && said.contains("reason=RELEASE6\n"));
        server.wait_for("DHCP6_RELEASE_NA");
        is_as_found();
        drop(server);
        fs::remove_file(&notes).unwrap();
        let (code, ..) = lease(&["--timeout", "2", "--script", &script]);
        assert_eq!(code, Some(3));
        assert_eq!(events(&notes), ["leasefail"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_script_hears_of_a_lease_that_is_over() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let short = POOL
            .replace("600", "4")
            .replace("500", "3")
            .replace("100", "1")
            .replace("\"rebind-timer\": 200", "\"rebind-timer\": 2");
        let server = kea(&far, &short);
        let (script, notes) = noting(&far, "");
        let mut kept = keep(&["--family", "6", "--script", &script]);
        wait_until("bound", || events(&notes).contains(&"bound".to_owned()));
        drop(server);
        wait_until("the script hears that it is over", || {
            let said = fs::read_to_string(&notes).unwrap();
            said.contains("reason=EXPIRE6\n")
        });
        assert!(!addresses().contains(GRANTED), "{}", addresses());
        // It is asked for again.
        let _server = kea(&far, &short);
        wait_until("bound anew", || {
            events(&notes)
                .iter()
                .filter(|event| *event == "bound")
                .count()
                == 2
        });
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_is_left_to_a_script_of_udhcpc6_is_set_by_it_alone() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _server = kea(&far, POOL);
        let _router = radvd(&far, "AdvManagedFlag on; AdvLinkMTU 1400;");
        let (script, notes) = noting(&far, "");
        let own = ["--script-only", "--script", &script];
        leased(&own);
        assert_eq!(events(&notes), ["deconfig", "bound"]);
        assert!(!addresses().contains("2001:"), "{}", addresses());
        assert!(addresses().contains(LINK_LOCAL), "{}", addresses());
        assert!(
            !ip("-6 route show dev near").contains("proto ra metric 10"),
            "{}",
            ip("-6 route")
        );
        noting(
            &far,
            "[ $1 != bound ] || ip -6 address add $ipv6/128 dev $interface valid_lft $lease preferred_lft $lease",
        );
        leased(&own);
        assert!(
            addresses().contains("2001:db8:1::200/128"),
            "{}",
            addresses()
        );
        assert_eq!(run("--family 6 --release").0, Some(0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, overlayfs and apt"]
fn the_hooks_of_debians_dhcpcd_write_the_resolvers_of_ipv6() {
    let package = shell("debian_package dhcpcd-base");
    in_new_namespace(move || {
        // Their paths are absolute.
        mount_over_usr(&package);
        let far = Far::plug_in_ipv6();
        let _server = dnsmasq(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        let hooks = "/usr/lib/dhcpcd/dhcpcd-run-hooks";
        let more = [
            "--family",
            "6",
            "--script",
            hooks,
            "--resolv-conf",
            "/run/own.conf",
        ];
        let mut kept = keep(&more);
        let resolvers = || fs::read_to_string("/etc/resolv.conf").unwrap();
        wait_until("the hook has written", || {
            resolvers().contains("search lab.example\nnameserver 2001:db8:1::53\n")
        });
        let first = resolvers();
        assert!(
            first.starts_with("# Generated by dhcpcd from near.dhcp6\n"),
            "{first}"
        );
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
        assert!(!resolvers().contains("2001:db8:1::53"), "{}", resolvers());
        assert!(Path::new(hooks).exists());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn both_families_are_discovered_in_the_time_of_one() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let range = "2001:db8:1::100,2001:db8:1::100,64,10m --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let _server: Server = far.serve(
            &format!("{DNSMASQ} --enable-ra --dhcp-range={range}"),
            "router advertisement",
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.args([
            "discover", "-i", "near", "--family", "either", "--wait", "4", "--json",
        ]);
        let began_at = std::time::Instant::now();
        let (code, text, log) = output(command.stdin(Stdio::null()));
        // Of one after the other, each alone takes 4 s.
        assert!(began_at.elapsed().as_secs() < 8, "{:?}", began_at.elapsed());
        assert_eq!(code, Some(0), "{log}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["answers"][0]["address"], "192.0.2.100");
        let all = report["ipv6"].as_array().unwrap();
        let kinds: Vec<_> = all
            .iter()
            .map(|one| one["kind"].as_str().unwrap())
            .collect();
        assert!(kinds.contains(&"router advertisement"), "{text}");
        assert!(kinds.contains(&"ADVERTISE"), "{text}");
        is_as_found();
    });
}
