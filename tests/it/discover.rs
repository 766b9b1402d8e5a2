//! `wireboot discover` on a network with several servers.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::client::{is_as_it_was, last_line};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq};
use crate::common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_plain_server_a_boot_server_and_a_proxy_are_told_apart_and_none_is_taken() {
    in_new_namespace(|| {
        let network = Network::new(["192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24"]);
        let [plain, boot, proxy] = &network.fars;
        let plain = dnsmasq(plain, "");
        let boot = dhcpd(boot, "filename \"b.ipxe\"; next-server 192.0.2.9;");
        let proxy = proxy_server(proxy, "");
        let output = discover("--json -i near");
        let report = json(&output);
        assert_eq!(report["interfaces"][0]["name"], "near");
        let [plain_answer, boot_answer, proxy_answer] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|server| answer_of(&report, server));
        assert_eq!(report["answers"].as_array().unwrap().len(), 3, "{report}");

        assert_eq!(plain_answer["address"], "192.0.2.100");
        assert_eq!(plain_answer["lease_seconds"], 3600);
        assert_eq!(boot_answer["boot_file"], "b.ipxe");
        assert_eq!(boot_answer["next_server"], "192.0.2.9");
        assert_eq!(proxy_answer["kind"], "proxy");
        assert_eq!(proxy_answer["pxe"]["menu"][0]["description"], "Rescue");
        assert_eq!(
            answer_of(&report, "192.0.2.1")["suspicions"][0],
            Value::Null
        );
        let code = |option: &Value| option["code"] == 51 && option["value"] == 3600;
        assert!(plain_answer["options"].as_array().unwrap().iter().any(code));

        for server in [&plain, &boot, &proxy] {
            assert_eq!(server.count("DHCPREQUEST"), 0);
        }
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn ctrl_c_ends_it_while_it_waits_for_an_interface_a_carrier_and_an_answer() {
    in_new_namespace(|| {
        let ends = |when: &dyn Fn(&Server) -> bool| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["discover", "--wait", "60", "--link-timeout", "60"]);
            let mut discover = Server::start(command.args(["-i", "near"]));
            wait_until("it waits", || when(&discover));
            discover.signal(Signal::SIGINT);
            assert_eq!(discover.exit_code(), Some(130));
            discover.wait_for("interrupted");
        };
        ends(&|discover| discover.count("waiting up to") > 0);
        let far = Far::plug_in();
        far.run("ip link set far down");
        ends(&|_| ip("link show near").contains(",UP"));
        far.run("ip link set far up");
        ends(&|_| ip("link show near").contains("LOWER_UP"));
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn with_a_plain_server_the_boot_file_of_a_proxy_is_taken_and_the_table_says_so() {
    in_new_namespace(|| {
        let network = Network::new(["192.0.2.1/24", "192.0.2.3/24"]);
        let [plain, proxy] = &network.fars;
        let _plain = dnsmasq(plain, "");
        let _proxy = proxy_server(proxy, "--dhcp-boot=p.ipxe");
        let output = discover("-i near");
        let text = String::from_utf8_lossy(&output.stdout);
        let row = |server: &str| {
            let mut lines = text.lines();
            let line = lines.find(|line| line.split_whitespace().nth(2) == Some(server));
            line.unwrap_or_else(|| panic!("no row of {server}:\n{text}"))
        };
        assert!(row("192.0.2.1").contains("192.0.2.100/24"), "{text}");
        assert!(
            row("192.0.2.1").ends_with("its address, with a boot file from 192.0.2.3"),
            "{text}"
        );
        assert!(row("192.0.2.3").contains("  proxy  "), "{text}");
        assert!(row("192.0.2.3").contains("  p.ipxe  "), "{text}");
        assert!(
            row("192.0.2.3").contains("  brings a boot file, which 192.0.2.1 does not; "),
            "{text}"
        );
        assert!(text.lines().all(|line| !line.starts_with('!')), "{text}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn where_the_table_has_no_room_each_answer_is_a_block_of_whole_words() {
    in_new_namespace(|| {
        let network = Network::new(["192.0.2.1/24", "192.0.2.3/24"]);
        let [plain, proxy] = &network.fars;
        let _plain = dnsmasq(plain, "");
        let _proxy = proxy_server(proxy, "--dhcp-boot=p.ipxe");
        let shown = |columns: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command
                .args(["discover", "-i", "near"])
                .env("COLUMNS", columns);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let text = shown("80");
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        for line in [
            "*  near: 192.0.2.1",
            "*  near: 192.0.2.3",
            "   OFFERS       192.0.2.100/24",
            "   OFFERS       proxy",
            "   BOOT FILE    p.ipxe",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
        }
        let after = text
            .lines()
            .find_map(|line| line.strip_prefix("   AFTER        "));
        let (time, unit) = after.unwrap().split_once(' ').unwrap();
        assert!(
            time.split_once('.').unwrap().1.len() == 1 && unit == "ms",
            "{text}"
        );
        assert!(
            shown("300").starts_with("   INTERFACE  SERVER"),
            "{}",
            shown("300")
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn from_an_address_a_proxy_is_asked_where_each_entry_of_its_menu_leads_to() {
    in_new_namespace(|| {
        let network = Network::new(["192.0.2.1/24", "192.0.2.3/24"]);
        let [plain, proxy] = &network.fars;
        let plain = dnsmasq(plain, "");
        let proxy = proxy_server(
            proxy,
            "--pxe-service=X86PC,Install,i.0 --pxe-service=X86-64_EFI,Install,i.efi
            --pxe-prompt=Boot,10 --log-dhcp",
        );
        ip("address add 192.0.2.50/24 dev near");
        let report = json(&discover("--json -i near"));
        let answers = report["answers"].as_array().unwrap().iter();
        let led: Vec<_> = answers
            .filter(|answer| answer["kind"] == "boot service")
            .map(|answer| {
                assert_eq!(answer["server"], "192.0.2.3");
                assert_eq!(answer["suspicions"], Value::Array(Vec::new()));
                let text = |key: &str| answer[key].as_str().unwrap().to_owned();
                let (entry, file) = (text("entry"), text("boot_file"));
                (entry, file, answer["chosen"] == true, text("why"))
            })
            .collect();
        let [first, second] = &led[..] else {
            panic!("two entries: {report}");
        };
        assert_eq!(first.0, "Rescue");
        assert!(first.1.starts_with("p."), "{led:?}");
        assert!(first.2);
        assert_eq!(first.3, "where the boot service leads to");
        assert_eq!(second.0, "Install");
        assert!(second.1.starts_with("i."), "{led:?}");
        assert!(!second.2);
        proxy.wait_for("PXE(far) 192.0.2.50");
        assert_eq!(plain.count("DHCPREQUEST"), 0);
        let text = discover("-i near").stdout;
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("  boot service  "), "{text}");
        // As it was: down, with its address.
        let state = ip("-o address show near");
        assert!(state.contains("192.0.2.50/24"), "{state}");
        assert!(!ip("-o link show near").contains(",UP"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_service_that_is_not_asked_or_does_not_answer_is_told_with_the_reason() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, "option vendor-class-identifier \"PXEClient\";");
        let why = || {
            let report = json(&discover("--json -i near --wait 1"));
            let answer = answer_of(&report, "192.0.2.1");
            answer["why"].as_str().unwrap().to_owned()
        };
        let first = "the first with a boot service; on port 4011: ";
        assert_eq!(
            why(),
            format!("{first}not asked: the interface has no IPv4 address")
        );
        ip("address add 192.0.2.50/24 dev near");
        assert_eq!(why(), format!("{first}no answer"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_with_another_subnet_and_one_with_a_stolen_identifier_stand_out() {
    in_new_namespace(|| {
        let network = Network::new(["192.0.2.1/24", "192.0.2.1/24", "10.9.8.1/24"]);
        let [honest, thief, stranger] = &network.fars;
        let _honest = dnsmasq(honest, "");
        let _thief = dnsmasq(thief, "");
        let _stranger = stranger.serve(
            &format!("{DNSMASQ} --dhcp-range=10.9.8.100,10.9.8.100,255.255.255.0,1h"),
            "DHCP, IP range",
        );
        let report = json(&discover("--json -i near"));
        let suspicions = &answer_of(&report, "10.9.8.1")["suspicions"];
        assert_eq!(
            suspicions[0],
            "says the subnet is 10.9.8.0/24; 2 other servers say 192.0.2.0/24"
        );
        let twins = report["answers"].as_array().unwrap().iter();
        let twins: Vec<_> = twins.filter(|one| one["server"] == "192.0.2.1").collect();
        assert_eq!(twins.len(), 2, "{report}");
        assert_ne!(twins[0]["sender"], twins[1]["sender"]);
        for (twin, other) in [(0, 1), (1, 0)] {
            let sender = twins[other]["sender"].as_str().unwrap();
            let expected = format!("{sender} answers as server 192.0.2.1 too");
            assert_eq!(twins[twin]["suspicions"][0], expected);
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn all_interfaces_are_asked_on_at_once_and_one_without_carrier_is_told() {
    in_new_namespace(|| {
        let (near, other) = (Far::plug_in(), Far::plug_in_as("other"));
        let dead = Far::plug_in_as("dead");
        dead.run("ip link set far down");
        let _servers = [dnsmasq(&near, ""), dnsmasq(&other, "--dhcp-boot=o.0")];
        let output = discover("--json -i near -i other -i dead");
        let report = json(&output);
        let chosen = |interface: &str| {
            let mut answers = report["answers"].as_array().unwrap().iter();
            let answer = answers.find(|answer| answer["interface"] == interface);
            answer.unwrap()["chosen"].as_bool()
        };
        assert_eq!((chosen("near"), chosen("other")), (Some(false), Some(true)));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("dead: no carrier"), "{said}");
        is_as_it_was();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn when_nobody_answers_the_exit_code_is_3_and_the_reason_is_told() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let output = discover("-i near --wait 0.7");
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(output.stdout, b"");
        let text = last_line(&output);
        assert!(
            text.starts_with("wireboot: error: near: no offer in 0.7 s; 2 DISCOVERs"),
            "{text}"
        );
        is_as_it_was();
    });
}

/// A bridge with `near` and several servers' namespaces on it.
struct Network<const N: usize> {
    fars: [Far; N],
}

impl<const N: usize> Network<N> {
    fn new(addresses: [&str; N]) -> Self {
        ip("link add bridge type bridge");
        ip("link set bridge up");
        ip("link add near type veth peer name port");
        join("port");
        let mut number = 0;
        let fars = addresses.map(|address| {
            number += 1;
            let port = format!("port{number}");
            let far = Far::plug_in_as(&port);
            far.run("ip address flush dev far");
            far.run(&format!("ip address add {address} dev far"));
            join(&port);
            far
        });
        Self { fars }
    }
}

fn join(port: &str) {
    ip(&format!("link set {port} master bridge up"));
}

/// dnsmasq as a ProxyDHCP server with a menu of one, and `more` arguments.
fn proxy_server(far: &Far, more: &str) -> Server {
    let command = format!(
        "{DNSMASQ} --dhcp-range=192.0.2.0,proxy
        --pxe-service=X86PC,Rescue,p.0 --pxe-service=X86-64_EFI,Rescue,p.efi {more}"
    );
    far.serve(&command, "DHCP, proxy")
}

fn discover(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.arg("discover").args(arguments.split_whitespace());
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn answer_of<'a>(report: &'a Value, server: &str) -> &'a Value {
    let mut answers = report["answers"].as_array().unwrap().iter();
    let answer = answers.find(|answer| answer["server"] == server);
    answer.unwrap_or_else(|| panic!("no answer of {server}: {report}"))
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn where_the_interface_is_plugged_in_and_the_vlans_on_its_wire_are_shown() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let switch = far.enter(move || {
            let index = nix::net::if_::if_nametoindex("far").unwrap();
            let sender = PacketSocket::open(index, &FilterProgram::nothing()).unwrap();
            let mut tagged = vec![0xff; 6];
            tagged.extend([2, 0, 0, 0, 0, 9, 0x81, 0, 0, 12, 0x88, 0xb5]);
            tagged.resize(60, 0);
            // Chassis, port, time to live, name of the system, and the VLAN of the port.
            let mut lldp = vec![1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 9, 0x88, 0xcc];
            lldp.extend(b"\x02\x07\x04\x02\0\0\0\0\x09\x04\x04\x05ge3\x06\x02\0\x78");
            lldp.extend(b"\x0a\x05rack7\xfe\x06\0\x80\xc2\x01\0\x07\0\0");
            while !stopped.load(Ordering::Relaxed) {
                // Fails while the near end is down.
                let _ = sender.send(&lldp);
                let _ = sender.send(&tagged);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let shown = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command
                .args(["discover", "-i", "near", "--wait", "2"])
                .args(more);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        };
        let (text, json) = (shown(&[]), shown(&["--json"]));
        stop.store(true, Ordering::Relaxed);
        switch.join().expect("it sends");
        let expected = "\nnear: plugged into port ge3 of rack7, VLAN 7; VLANs on the wire: 12\n";
        assert!(text.ends_with(expected), "{text}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let near = &json["interfaces"][0];
        let switch = serde_json::json!({ "system": "rack7", "port": "ge3", "vlan": 7 });
        assert_eq!(
            (&near["switch"], &near["vlans"]),
            (&switch, &serde_json::json!([12]))
        );
    });
}
