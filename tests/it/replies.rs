//! Unusual replies, and offers that are only looked at, in network namespaces.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::common::client::{
    addresses, ipv4_addresses, is_as_it_was, is_configured, json, wireboot,
};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq, kea_at_once};
use crate::common::{in_new_namespace, ip, wait_until};
use serde_json::Value;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::packet::option::code;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_behind_address_translation_grants_a_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let mut port = 40_000;
        let _server = ScriptedDhcp::start(&far, move |question| {
            port += 1;
            let answer = grant(question);
            answer
                .map(|answer| framed(&answer, port))
                .into_iter()
                .collect()
        });
        let (code, said) = wireboot(&["--timeout", "10"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(addresses(), ["192.0.2.100"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_ack_counts_with_another_server_identifier_than_the_offer_and_without_one() {
    for identifier in [None, Some(Ipv4Addr::new(192, 0, 2, 2))] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = ScriptedDhcp::start(&far, move |question| {
                let Some(mut answer) = grant(question) else {
                    return Vec::new();
                };
                if answer.message_type() == Some(MessageType::Ack) {
                    answer.options.remove(code::SERVER_IDENTIFIER);
                    if let Some(identifier) = identifier {
                        answer
                            .options
                            .set(code::SERVER_IDENTIFIER, identifier.octets());
                    }
                }
                vec![framed(&answer, 67)]
            });
            let (code, said) = wireboot(&["--timeout", "10"]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(addresses(), ["192.0.2.100"]);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_nak_without_a_server_identifier_has_the_client_begin_anew() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let mut refusals = 1;
        let server = ScriptedDhcp::start(&far, move |question| {
            let Some(mut answer) = grant(question) else {
                return Vec::new();
            };
            if answer.message_type() == Some(MessageType::Ack) && refusals > 0 {
                refusals -= 1;
                answer.yiaddr = Ipv4Addr::UNSPECIFIED;
                answer
                    .options
                    .set(code::MESSAGE_TYPE, [u8::from(MessageType::Nak)]);
                answer.options.remove(code::SERVER_IDENTIFIER);
            }
            vec![framed(&answer, 67)]
        });
        let (code, said) = wireboot(&["--timeout", "10"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("refused the address"), "{said}");
        use MessageType::{Discover, Request};
        let mut asked = server.asked();
        // The kernel drops what is sent before it has noticed the carrier.
        asked.dedup();
        assert_eq!(asked, [Discover, Request, Discover, Request]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_dry_run_asks_for_offers_only_and_prints_what_would_be_set() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        // Would commit in answer to a DISCOVER that allows it.
        let server = dnsmasq(&far, "--dhcp-rapid-commit");
        let (code, printed) = dry_run("");
        assert_eq!(code, Some(0), "{printed}");
        let expected = "near: would set 192.0.2.100/24 from 192.0.2.1 for 3600 s
near: would set route 198.51.100.0/24 via 192.0.2.2
near: would set route 0.0.0.0/0 via 192.0.2.1
";
        assert_eq!(printed, expected);
        let script = "--script /bin/false --hand-over networkd";
        assert_eq!(dry_run(script), (Some(0), expected.to_owned()));
        is_as_it_was();
        let (code, printed) = dry_run("--json");
        assert_eq!(code, Some(0), "{printed}");
        let previewed: Value = serde_json::from_str(&printed).expect("JSON");
        assert_eq!(previewed["address"], "192.0.2.100");
        wait_until("all is logged", || server.count("DHCPOFFER") >= 3);
        for granted in ["DHCPREQUEST", "DHCPACK", "DHCPRELEASE"] {
            assert_eq!(server.count(granted), 0, "{granted}");
        }
        assert!(!Path::new("/run/wireboot").exists());
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        let output = command.args(["lease", "-i", "near", "--json"]).output();
        let output = output.expect("it was built");
        let granted: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let names = |lease: &Value| -> Vec<String> {
            lease.as_object().expect("fields").keys().cloned().collect()
        };
        assert_eq!(names(&granted), names(&previewed));
        for name in ["address", "prefix_length", "server", "routes", "mtu", "dns"] {
            assert_eq!(granted[name], previewed[name], "{name}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_dry_run_leaves_a_lease_in_use_and_its_file_alone() {
    let servers: [fn(&Far) -> Server; 3] =
        [|far| dnsmasq(far, ""), |far| dhcpd(far, ""), kea_at_once];
    for server in servers {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = server(&far);
            let (code, said) = wireboot(&["--timeout", "20"]);
            assert_eq!(code, Some(0), "{said}");
            let state = || {
                let folder = std::fs::read_dir("/run/wireboot").expect("a lease file");
                let files = folder.map(|file| {
                    let path = file.expect("a file").path();
                    let text = std::fs::read_to_string(&path).expect("text");
                    (path, text)
                });
                let link = &json("-j address show near")[0];
                let addresses = ipv4_addresses(link).len();
                let flags = (link["flags"].clone(), link["mtu"].clone());
                let routes = json("-4 -j route show");
                (files.collect::<Vec<_>>(), addresses, flags, routes)
            };
            let before = state();
            server.forget();
            let (code, printed) = dry_run("");
            assert_eq!(code, Some(0), "{printed}");
            assert_eq!(state(), before);
            assert!(printed.contains("would set 192.0.2.100/24"), "{printed}");
            is_configured();
            // The kernel holds it for as long as it was granted.
            assert!(!ip("-4 address show near").contains("valid_lft forever"));
            for taken in ["DHCPREQUEST", "DHCPRELEASE", "DHCP4_RELEASE"] {
                assert_eq!(server.count(taken), 0, "{taken}");
            }
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_dry_run_chooses_as_a_boot_does_and_says_when_there_is_nothing() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let plain = dnsmasq(&far, "");
        let other = far.beside(3);
        let command = format!(
            "{DNSMASQ} --dhcp-range=192.0.2.0,proxy,255.255.255.0 --dhcp-boot=boot/kernel
            --pxe-service=0,net,boot/kernel --pxe-service=X86-64_EFI,net,boot/kernel"
        );
        let _proxy = other.serve(&command, "DHCP, proxy");
        let (code, printed) = dry_run("--identify pxe --proxy-wait 5");
        assert_eq!(code, Some(0), "{printed}");
        assert!(printed.contains("would set 192.0.2.100/24"), "{printed}");
        assert!(printed.contains("boot file boot/kernel"), "{printed}");
        assert_eq!(plain.count("DHCPREQUEST"), 0);
        is_as_it_was();
        drop(plain);
        let (code, _) = dry_run("--timeout 1");
        assert_eq!(code, Some(3));
        is_as_it_was();
        assert_eq!(dry_run("--inform 192.0.2.50").0, Some(1));
    });
}

/// Runs `wireboot lease --dry-run` and returns its exit code and what it printed.
fn dry_run(more: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["lease", "-i", "near", "--dry-run"]);
    let output = command.args(more.split_whitespace()).output();
    let output = output.expect("it was built");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn informs_without_an_answer_are_counted_as_such() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let (code, said) = wireboot(&["--inform", "192.0.2.9", "--timeout", "2"]);
        assert_eq!(code, Some(3), "{said}");
        let last = said.lines().last().unwrap();
        let (sent, _) = last.split_once(" INFORMs sent").expect(last);
        assert!(!sent.ends_with(" 0"), "{said}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_offer_that_is_never_confirmed_is_not_released() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = ScriptedDhcp::start(&far, |question| {
            let is_discover = question.message_type() == Some(MessageType::Discover);
            let answer = grant(question).filter(|_| is_discover);
            answer
                .map(|answer| framed(&answer, 67))
                .into_iter()
                .collect()
        });
        let (code, said) = wireboot(&["--timeout", "2"]);
        assert_eq!(code, Some(3), "{said}");
        let asked = server.asked();
        assert!(asked.contains(&MessageType::Request), "{asked:?}");
        assert!(!asked.contains(&MessageType::Release), "{asked:?}");
    });
}
