//! What a client that stays does when servers and other programs do not do their part, against real
//! servers, each test in network namespaces of its own.

use std::time::Duration;

use crate::common::client::{address_changes, addresses, boot, keep, slow_kernel};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::Far;
use crate::common::servers::{dhcpd, nginx};
use crate::common::{in_new_namespace, wait_until};
use wireboot_proto::packet::option::code;

const TEN_SECONDS: &str = "max-lease-time 10; min-lease-time 10;";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_that_falls_silent_is_told_of_once_and_again_when_it_answers() {
    for boots in [false, true] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dhcpd(&far, TEN_SECONDS);
            let _http = nginx(&far, &slow_kernel(&far, 2_500_000));
            let client = if boots {
                boot(&["--boot-file", "http://192.0.2.1/script"])
            } else {
                keep(&[])
            };
            client.wait_for("192.0.2.100/24 from 192.0.2.1 for 10 s");
            drop(server);
            client.wait_for("near: no server extends the lease, which ends in 3 s; asking on");
            let server = dhcpd(&far, TEN_SECONDS);
            client.wait_for("near: 192.0.2.1 answers: the lease goes on");
            let granted = server.count("DHCPACK");
            wait_until("it is renewed", || server.count("DHCPACK") > granted);
            for told in ["no server extends", "answers: the lease goes on"] {
                assert_eq!(client.count(told), 1, "{told}");
            }
            assert_eq!(client.count("the lease has expired"), 0);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_of_no_time_is_kept_without_a_flood_whatever_its_t1_and_t2_are() {
    for (lease, t1, t2) in [(0_u32, 0_u32, 0_u32), (1, 9, 4), (4, 9, 9)] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = ScriptedDhcp::start(&far, move |question| {
                let answer = grant(question).map(|mut answer| {
                    for (code, seconds) in [
                        (code::LEASE_TIME, lease),
                        (code::RENEWAL_TIME, t1),
                        (code::REBINDING_TIME, t2),
                    ] {
                        answer.options.set(code, seconds.to_be_bytes());
                    }
                    framed(&answer, 67)
                });
                answer.into_iter().collect()
            });
            let changes = address_changes();
            let client = keep(&[]);
            wait_until("it has its address", || addresses() == ["192.0.2.100"]);
            server.asked();
            std::thread::sleep(Duration::from_secs(8));
            // At half of the time.
            let asked = server.asked().len();
            assert!((2..=6).contains(&asked), "{asked} for {lease} s");
            assert_eq!(changes.count("Deleted"), 0);
            assert_eq!(client.count("expired"), 0);
        });
    }
}
