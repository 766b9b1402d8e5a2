//! What a client that stays does when servers and other programs do not do their part, against real
//! servers, each test in network namespaces of its own.

use crate::common::client::{boot, keep, slow_kernel};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::{dhcpd, nginx};

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
            crate::common::wait_until("it is renewed", || server.count("DHCPACK") > granted);
            for told in ["no server extends", "answers: the lease goes on"] {
                assert_eq!(client.count(told), 1, "{told}");
            }
            assert_eq!(client.count("the lease has expired"), 0);
        });
    }
}
