//! Replies that are unusual, and what the client makes of them, in network namespaces.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::net::Ipv4Addr;

use common::client::{addresses, wireboot};
use common::dhcp::{ScriptedDhcp, framed, grant};
use common::far::Far;
use common::in_new_namespace;
use wireboot::wire::dhcp::MessageType;
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
