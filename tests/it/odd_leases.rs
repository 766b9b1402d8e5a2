//! Leases as servers send them, with values that no RFC has: what is set of them, and what is said.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::common::client::{addresses, at_home, json, keep, output, route, wireboot};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq, nginx};
use crate::common::{in_new_namespace, ip, wait_until};
use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;
use wireboot_proto::packet::dhcp::{Message, MessageType};
use wireboot_proto::packet::option::code;

/// Makes changes to an answer.
type Change = fn(&mut Message);

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn what_dnsmasq_sends_twice_is_taken_once() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        // Forced options are sent beside dnsmasq's own.
        let twice = "--dhcp-option-force=54,192.0.2.1
            --dhcp-option-force=51,120 --dhcp-option-force=1,255.255.255.0
            --dhcp-option-force=67,pxelinux.0 --dhcp-boot=pxelinux.0";
        let _server = dnsmasq(&far, twice);
        let (code, lease, said) = granted(&[]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(lease["server"], "192.0.2.1");
        assert_eq!(lease["prefix_length"], 24);
        assert_eq!(lease["mtu"], 1400);
        assert_eq!(lease["boot_file"], "pxelinux.0");
        assert_eq!(
            lease["ignored"].as_array().map(Vec::len),
            Some(0),
            "{lease}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and ISC dhcpd"]
fn several_domains_and_a_server_with_a_line_end_are_used_as_dhcpd_sends_them() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(
            &far,
            r#"option domain-name "a.example b.example.";
            option domain-name-servers 0.0.0.0, 192.0.2.53;
            option tftp-server-name "tftp://192.0.2.7/\n";
            option bootfile-name "pxelinux.0\r\n";"#,
        );
        let (code, lease, said) = granted(&[]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(lease["domain"], "a.example");
        assert_eq!(lease["search"], json_list(&["a.example", "b.example"]));
        assert_eq!(lease["dns"], json_list(&["192.0.2.53"]));
        assert_eq!(lease["server_name"], "192.0.2.7");
        assert_eq!(lease["boot_file"], "pxelinux.0");
        let warned = "near: option 6 of 192.0.2.1 is not used as sent: it lists what is no host's";
        assert!(said.contains(warned), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_value_that_no_host_can_use_costs_a_warning_that_names_the_option() {
    let cases: [(Change, &str); 23] = [
        (
            |m| {
                m.options.remove(67);
                m.file = b"boot\x1b[2J".to_vec();
            },
            "option 67 of 192.0.2.1 is not used as sent: it is no path, in the field \"file\"",
        ),
        (
            |m| m.options.set(7, [224, 0, 0, 1]),
            "option 7 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(42, [127, 0, 0, 1]),
            "option 42 of 192.0.2.1 ",
        ),
        (|m| m.options.set(1, [0; 4]), "option 1 of 192.0.2.1 "),
        (|m| m.options.set(3, [0; 4]), "option 3 of 192.0.2.1 "),
        (|m| m.options.set(6, [0; 4]), "option 6 of 192.0.2.1 "),
        (
            |m| m.options.set(1, [255, 255, 225, 0]),
            "option 1 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(3, [127, 0, 0, 1]),
            "option 3 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(3, [192, 0, 2, 255]),
            "option 3 of 192.0.2.1 ",
        ),
        (|m| m.options.set(3, [192, 0, 2]), "option 3 of 192.0.2.1 "),
        (
            |m| m.options.set(121, [0, 192, 0, 2, 255]),
            "option 121 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(121, [8, 0, 192, 0, 2, 1]),
            "option 121 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(6, [192, 0, 2, 255]),
            "option 6 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(28, [192, 0, 2, 1]),
            "option 28 of 192.0.2.1 ",
        ),
        (|m| m.options.remove(54), "option 54 of 192.0.2.1 "),
        (
            |m| m.options.set(6, [127, 0, 0, 53]),
            "option 6 of 192.0.2.1 ",
        ),
        (
            |m| m.options.set(15, *b"a;reboot"),
            "option 15 of 192.0.2.1 ",
        ),
        (|m| m.options.set(26, [0, 0]), "option 26 of 192.0.2.1 "),
        (|m| m.options.set(26, [0, 67]), "option 26 of 192.0.2.1 "),
        (|m| m.options.set(26, [255, 255]), "option 26 of 192.0.2.1 "),
        (|m| m.options.set(121, [0, 9]), "option 121 of 192.0.2.1 "),
        (
            |m| m.options.set(121, [8, 127, 192, 0, 2, 1]),
            "option 121 of 192.0.2.1 ",
        ),
        (
            |m| m.options.remove(51),
            "no lease time (option 51); 3600 s",
        ),
    ];
    for (change, expected) in cases {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = scripted(&far, change);
            let (code, said) = wireboot(&["--timeout", "10"]);
            assert_eq!(code, Some(0), "{said}");
            assert!(said.contains(expected), "{expected}: {said}");
            assert_eq!(addresses(), ["192.0.2.100"]);
            assert_eq!(json("-j address show near")[0]["mtu"], 1500);
            assert!(!ip("-4 route show").contains("127."), "{said}");
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_that_is_no_hosts_is_refused_and_the_message_says_so() {
    let cases: [(Change, &str); 5] = [
        (
            |m| m.yiaddr = [127, 0, 0, 5].into(),
            "127.0.0.5 is not a host's address",
        ),
        (
            |m| m.yiaddr = [192, 0, 2, 255].into(),
            "192.0.2.255/24 (option 1) is the address of a network, or for broadcasts",
        ),
        (
            |m| m.yiaddr = [192, 0, 2, 0].into(),
            "192.0.2.0/24 (option 1) is the address of a network",
        ),
        (
            |m| m.yiaddr = [192, 0, 2, 1].into(),
            "192.0.2.1 is the server's own address (option 54)",
        ),
        (
            |m| m.yiaddr = [240, 0, 0, 1].into(),
            "240.0.0.1 is not a host's address",
        ),
    ];
    for (change, expected) in cases {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = scripted(&far, change);
            let (code, said) = wireboot(&["--timeout", "2"]);
            assert_eq!(code, Some(3), "{said}");
            let last = said.lines().last().unwrap_or_default();
            assert!(last.contains(expected), "{expected}: {said}");
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_address_of_a_cloud_reaches_its_router_outside_of_it() {
    // By option 3 as Google's, and by 121 as Hetzner's with the router on the link.
    let on_link = "172.31.1.1/32";
    let cases: [Change; 3] = [
        |m| m.options.set(3, [172, 31, 1, 1]),
        |m| {
            m.options
                .set(121, [32, 172, 31, 1, 1, 0, 0, 0, 0, 0, 172, 31, 1, 1])
        },
        |m| m.options.set(121, [0, 172, 31, 1, 1]),
    ];
    for change in cases {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = ScriptedDhcp::start(&far, move |question| {
                let answer = grant(question).map(|mut answer| {
                    answer.options.set(code::SUBNET_MASK, [255; 4]);
                    change(&mut answer);
                    framed(&answer, 67)
                });
                answer.into_iter().collect()
            });
            let (code, said) = wireboot(&["--timeout", "10"]);
            assert_eq!(code, Some(0), "{said}");
            let routes = json("-4 -j route show");
            let mut found: Vec<_> = routes.as_array().unwrap().iter().map(route).collect();
            found.sort_unstable();
            let own = on_link.trim_end_matches("/32");
            let expected = [(own, None, "near"), ("default", Some(own), "near")];
            assert_eq!(found, expected);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_ack_of_another_address_is_taken_and_named() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = scripted(&far, |message| {
            if message.options.u8(code::MESSAGE_TYPE) == Some(5) {
                message.yiaddr = [192, 0, 2, 101].into();
            }
        });
        let (code, said) = wireboot(&["--timeout", "10"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(addresses(), ["192.0.2.101"]);
        let expected = "192.0.2.1 grants 192.0.2.101 and not 192.0.2.100, which it was asked for";
        assert!(said.contains(expected), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn the_server_of_the_boot_file_is_found_as_it_is_named() {
    let cases: [Change; 8] = [
        |m| m.options.set(66, [192, 0, 2, 1]),
        |m| m.options.set(66, *b"192.0.2.1\n"),
        |m| m.options.set(66, *b" tftp://192.0.2.1:69/\r\n\0"),
        |m| m.options.set(66, *b"192.0.2.1 192.0.2.77"),
        |m| m.sname = b"192.0.2.1 ".to_vec(),
        // The first server does not answer.
        |m| {
            m.siaddr = [192, 0, 2, 77].into();
            m.options.set(66, *b"192.0.2.1");
        },
        |m| {
            m.siaddr = [192, 0, 2, 1].into();
            m.options.set(66, *b"192.0.2.77");
        },
        |m| m.options.set(67, *b"\"boot.ipxe\"\r\n"),
    ];
    for change in cases {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _dhcp = scripted(&far, change);
            let _tftp = tftp(&far);
            let (code, printed, said) = boot(&[]);
            assert_eq!(code, Some(0), "{said}");
            let plan: Value = serde_json::from_str(&printed).expect("JSON");
            assert_eq!(plan["command_line"], "from=server", "{said}");
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and nginx"]
fn a_server_that_is_named_by_a_url_is_asked_by_its_scheme() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _dhcp = scripted(&far, |m| m.options.set(66, *b"http://192.0.2.1/\n"));
        write_boot_files(&far);
        let _web = nginx(&far, &far.folder);
        let (code, printed, said) = boot(&[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(printed.contains("http://192.0.2.1/vmlinuz"), "{printed}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_is_renewed_by_answers_from_any_port() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let mut port = 40_000;
        let server = ScriptedDhcp::start(&far, move |question| {
            port += 1;
            let answer = grant(question).map(|mut answer| {
                answer.options.set(code::LEASE_TIME, 6_u32.to_be_bytes());
                framed(&answer, port)
            });
            answer.into_iter().collect()
        });
        let _client = keep(&[]);
        let asked = RefCell::new(Vec::new());
        wait_until("two renewals", || {
            let mut asked = asked.borrow_mut();
            asked.extend(server.asked());
            asked
                .iter()
                .filter(|it| **it == MessageType::Request)
                .count()
                > 2
        });
        // Nothing was asked for again for lack of an answer.
        let mut asked = asked.take();
        asked.dedup();
        assert_eq!(asked, [MessageType::Discover, MessageType::Request]);
        assert_eq!(addresses(), ["192.0.2.100"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_that_finds_no_server_shows_what_was_sent() {
    let cases: [(Change, &[&str]); 4] = [
        (
            |m| {
                m.siaddr = [192, 0, 2, 77].into();
                m.options.set(66, *b"192.0.2.78");
            },
            &[
                "tftp://192.0.2.77/boot.ipxe: ",
                "tftp://192.0.2.78/boot.ipxe: ",
            ],
        ),
        (
            |m| m.options.set(66, *b"boot server!"),
            &["option 66 is \"boot server!\", which names no server"],
        ),
        (
            |m| m.options.set(67, *b"a\nb"),
            &["(option 67) is \"a\\nb\", which is no file name"],
        ),
        (
            |m| m.options.set(66, *b"boot.example"),
            &["name boot.example: there is no name server: the lease has none"],
        ),
    ];
    for (change, expected) in cases {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _dhcp = scripted(&far, change);
            std::fs::write("/etc/resolv.conf", "").expect("/etc is a copy");
            let (code, _, said) = boot(&[]);
            assert!(matches!(code, Some(6 | 7)), "{said}");
            let last = said.lines().last().unwrap_or_default();
            for text in expected {
                assert!(last.contains(text), "{text}: {said}");
            }
        });
    }
}

/// A server that grants 192.0.2.100/24 with a boot file, and with these changes.
fn scripted(far: &Far, change: Change) -> ScriptedDhcp {
    ScriptedDhcp::start(far, move |question| {
        let answer = grant(question).map(|mut answer| {
            answer.options.set(code::BOOT_FILE_NAME, *b"boot.ipxe");
            answer.siaddr = Ipv4Addr::UNSPECIFIED;
            change(&mut answer);
            framed(&answer, 67)
        });
        answer.into_iter().collect()
    })
}

fn write_boot_files(far: &Far) {
    std::fs::write(far.folder.join("vmlinuz"), bz_image()).expect("a temporary file");
    far.write("boot.ipxe", "#!ipxe\nkernel vmlinuz from=server\nboot\n");
}

/// Serves `boot.ipxe` by TFTP.
fn tftp(far: &Far) -> Server {
    write_boot_files(far);
    let root = far.folder.display();
    far.serve(
        &format!("{DNSMASQ} --enable-tftp --tftp-root={root}"),
        "TFTP root",
    )
}

/// Boots up to the plan, in a place of its own for `/etc/resolv.conf`; returns exit code, output and
/// what it said.
fn boot(more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = at_home();
    command.args(["boot", "-i", "near", "--timeout", "20", "--unattended"]);
    command.args(["--stop-after", "plan", "--json", "--proxy-wait", "0"]);
    output(command.args(more))
}

/// Gets a lease; returns exit code, the lease, and what it said.
fn granted(more: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let (code, printed, said) = output(command.args(["lease", "-i", "near", "--json"]).args(more));
    (
        code,
        serde_json::from_str(&printed).unwrap_or_default(),
        said,
    )
}

fn json_list(texts: &[&str]) -> Value {
    texts.iter().copied().collect()
}
