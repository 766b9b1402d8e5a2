//! Slow, refusing and contradicting servers, scripted, in network namespaces.

use crate::common::client::{addresses, wireboot};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use wireboot_proto::packet::dhcp::MessageType::{Discover, Request};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn where_only_broadcasts_arrive_a_lease_is_granted_and_at_once_if_they_are_asked_for() {
    for (arguments, discovers) in [(&["--timeout", "10"][..], 3), (&["--broadcast"], 1)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = ScriptedDhcp::start(&far, |question| {
                let answer = grant(question).filter(|_| question.broadcast);
                answer
                    .map(|answer| framed(&answer, 67))
                    .into_iter()
                    .collect()
            });
            let (code, said) = wireboot(arguments);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(addresses(), ["192.0.2.100"]);
            let asked = server.asked();
            // The kernel drops what is sent before it has noticed the carrier.
            let count = |wanted| asked.iter().filter(|it| **it == wanted).count();
            assert!(count(Discover) <= discovers, "{asked:?}");
            assert_eq!(count(Request), 1);
        });
    }
}
