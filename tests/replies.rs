//! Replies that are unusual, and what the client makes of them, in network namespaces.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::net::Ipv4Addr;
use std::process::Command;

use common::client::{addresses, wireboot};
use common::dhcp::{ScriptedDhcp, framed, grant};
use common::far::Far;
use common::in_new_namespace;
use wireboot::wire::dhcp::{Message, MessageType};
use wireboot::wire::option::code;

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

/// Makes the frame of an answer.
type Framing = fn(Message) -> Vec<u8>;

/// What may be wrong with an answer, and what is said of it.
const FAULTS: [(Framing, &str); 5] = [
    (without_identifier, "no server identifier"),
    (of_bootp, "no DHCP message type"),
    (of_another_exchange, "xid 0x"),
    (with_a_wrong_checksum, "the checksum of UDP is wrong"),
    (
        in_fragments,
        "it came in fragments, which are not put together",
    ),
];

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn where_every_answer_is_discarded_the_message_says_whose_and_why() {
    for (fault, reason) in FAULTS {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = ScriptedDhcp::start(&far, move |question| {
                grant(question).map(fault).into_iter().collect()
            });
            for arguments in [
                "lease -i near --timeout 2",
                "boot -i near --timeout 2",
                "discover -i near --wait 2",
            ] {
                let (code, said) = run(arguments);
                assert_eq!(code, Some(3), "{said}");
                let expected = format!("answers of 192.0.2.1 were discarded: {reason}");
                assert!(said.contains(&expected), "{arguments}: {said}");
                assert!(!said.contains("no offer among them"), "{arguments}: {said}");
            }
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn discarded_acks_and_answers_beside_good_ones_are_reported() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = ScriptedDhcp::start(&far, |question| {
            let Some(answer) = grant(question) else {
                return Vec::new();
            };
            if answer.message_type() == Some(MessageType::Ack) {
                return vec![with_a_wrong_checksum(answer)];
            }
            vec![without_identifier(answer.clone()), framed(&answer, 67)]
        });
        let (code, said) = run("lease -i near --timeout 2");
        assert_eq!(code, Some(3), "{said}");
        let expected = "192.0.2.1 made an offer; ";
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("the checksum of UDP is wrong"), "{said}");
        let (code, said) = run("discover -i near --wait 1");
        assert_eq!(code, Some(0), "{said}");
        let expected = "of 192.0.2.1 were discarded: no server identifier";
        assert!(said.contains(expected), "{said}");
    });
}

/// Runs wireboot to its end and returns its exit code and what it printed on standard error.
fn run(arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.args(arguments.split_whitespace()).output();
    let output = output.expect("it was built");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn without_identifier(mut answer: Message) -> Vec<u8> {
    answer.options.remove(code::SERVER_IDENTIFIER);
    framed(&answer, 67)
}

fn of_bootp(mut answer: Message) -> Vec<u8> {
    answer.options.remove(code::MESSAGE_TYPE);
    framed(&answer, 67)
}

fn of_another_exchange(mut answer: Message) -> Vec<u8> {
    answer.xid ^= 1;
    framed(&answer, 67)
}

fn with_a_wrong_checksum(answer: Message) -> Vec<u8> {
    let mut frame = framed(&answer, 67);
    if let Some(last) = frame.last_mut() {
        *last ^= 1;
    }
    frame
}

/// The first fragment of a longer packet: the flag "more fragments", and the header's sum with it.
fn in_fragments(answer: Message) -> Vec<u8> {
    const FLAGS: usize = 14 + 6;
    const SUM: usize = 14 + 10;
    let mut frame = framed(&answer, 67);
    let mut header = frame.get(14..34).expect("an IPv4 header").to_vec();
    header.splice(6..8, [0x20, 0]);
    header.splice(10..12, [0, 0]);
    let sum = wireboot::wire::checksum(&[&header]).to_be_bytes();
    frame.splice(FLAGS..FLAGS + 2, [0x20, 0]);
    frame.splice(SUM..SUM + 2, sum);
    frame
}
