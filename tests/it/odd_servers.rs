//! Slow, refusing and contradicting servers, scripted, in network namespaces.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::client::{addresses, wireboot};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use wireboot_proto::packet::dhcp::Message;
use wireboot_proto::packet::dhcp::MessageType::{Nak, Offer, Request};
use wireboot_proto::packet::option::code;

/// The second server, and what it offers.
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn where_only_broadcasts_arrive_a_lease_is_granted_and_at_once_if_they_are_asked_for() {
    for (arguments, is_at_once) in [(&["--timeout", "10"][..], false), (&["--broadcast"], true)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let (sender, flags) = mpsc::channel();
            let server = ScriptedDhcp::start(&far, move |question| {
                let _ = sender.send(question.broadcast);
                let answer = grant(question).filter(|_| question.broadcast);
                answer
                    .map(|answer| framed(&answer, 67))
                    .into_iter()
                    .collect()
            });
            let (code, said) = wireboot(arguments);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(addresses(), ["192.0.2.100"]);
            let flags: Vec<bool> = flags.try_iter().collect();
            assert_eq!(flags[0], is_at_once);
            assert!(server.asked().contains(&Request));
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn beside_a_quick_server_that_refuses_or_does_not_confirm_the_other_one_grants_the_lease() {
    for refuses in [true, false] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = ScriptedDhcp::start(&far, move |question| {
                let asked = question.options.address(code::SERVER_IDENTIFIER);
                let bad = grant(question).and_then(|mut answer| {
                    if question.message_type() == Some(Request) {
                        answer.options.set(code::MESSAGE_TYPE, [u8::from(Nak)]);
                        return Some(answer).filter(|_| refuses && asked != Some(OTHER));
                    }
                    Some(answer)
                });
                let good = other(question).filter(|_| asked.is_none_or(|it| it == OTHER));
                let answers = bad.into_iter().chain(good);
                answers.map(|answer| framed(&answer, 67)).collect()
            });
            let (code, said) = wireboot(&["--timeout", "20"]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(addresses(), ["192.0.2.101"]);
            let why = if refuses {
                "192.0.2.1 refused the address"
            } else {
                "192.0.2.1 does not answer requests"
            };
            let instead = "requesting 192.0.2.101 of 192.0.2.2 instead of the offer of 192.0.2.1";
            assert!(said.contains(why) && said.contains(instead), "{said}");
            assert!(server.asked().len() <= 10);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_no_time_is_none_and_the_message_says_so() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = ScriptedDhcp::start(&far, |question| {
            let answer = grant(question).map(|mut answer| {
                answer.options.set(code::LEASE_TIME, [0; 4]);
                framed(&answer, 67)
            });
            answer.into_iter().collect()
        });
        let (code, said) = wireboot(&["--timeout", "6"]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("it grants the address for 0 s"), "{said}");
        let asked = server.asked();
        assert!(asked.len() <= 20, "{asked:?}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_proxy_that_answers_after_three_seconds_is_waited_for_and_the_line_says_so() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let (mut begun_at, mut has_proxied) = (None, false);
        let _server = ScriptedDhcp::start(&far, move |question| {
            let begun_at = *begun_at.get_or_insert_with(Instant::now);
            let is_late = begun_at.elapsed() >= Duration::from_secs(3);
            let proxied = other(question).filter(|_| is_late && !has_proxied);
            let proxied = proxied.map(|mut answer| {
                has_proxied = true;
                answer.yiaddr = Ipv4Addr::UNSPECIFIED;
                answer.options.set(code::VENDOR_CLASS, *b"PXEClient");
                answer.file = b"late.ipxe".to_vec();
                answer
            });
            let answers = grant(question).into_iter().chain(proxied);
            answers.map(|answer| framed(&answer, 67)).collect()
        });
        let program = env!("CARGO_BIN_EXE_wireboot");
        let arguments = ["boot", "-i", "near", "--stop-after", "lease", "-v"];
        let output = Command::new(program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("no boot file has been offered; waiting 11 s more"),
            "{said}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_second_server_with_another_router_is_told_of_by_lease_and_boot() {
    for arguments in [
        &["lease", "-i", "near"][..],
        &[
            "boot",
            "-i",
            "near",
            "--stop-after",
            "lease",
            "--proxy-wait",
            "0",
        ],
    ] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = ScriptedDhcp::start(&far, |question| {
                let rogue = other(question).filter(|it| it.message_type() == Some(Offer));
                let rogue = rogue.map(|mut answer| {
                    answer.options.set(code::ROUTER, OTHER.octets());
                    answer
                });
                let answers = grant(question).into_iter().chain(rogue);
                answers.map(|answer| framed(&answer, 67)).collect()
            });
            let program = env!("CARGO_BIN_EXE_wireboot");
            let output = Command::new(program).args(arguments).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{said}");
            let line = "a second server, 192.0.2.2, says the router is 192.0.2.2; 192.0.2.1 says";
            assert_eq!(said.matches(line).count(), 1, "{said}");
        });
    }
}

/// As [`grant`], of the other server.
fn other(question: &Message) -> Option<Message> {
    let mut answer = grant(question)?;
    answer.options.set(code::SERVER_IDENTIFIER, OTHER.octets());
    answer.yiaddr = OTHER_ADDRESS;
    Some(answer)
}
