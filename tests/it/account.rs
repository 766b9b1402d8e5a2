//! `wireboot account` after a lease in a network namespace.

use std::process::Command;

use crate::common::client::{lease, succeeds};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::dnsmasq;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_leaves_an_account_of_its_moments_in_their_order() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        succeeds(lease("30"));
        let text = account(&[]);
        let moments: Vec<_> = text
            .lines()
            .filter_map(|line| line.split("  ").last())
            .collect();
        let steps = [
            "wireboot begins",
            "carrier",
            "DISCOVER",
            "OFFER",
            "REQUEST",
            "ACK",
            "address and routes are set",
        ];
        assert_eq!(moments[..steps.len()], steps, "{text}");
        assert!(text.lines().last().unwrap().starts_with("lease "), "{text}");

        let json: serde_json::Value = serde_json::from_str(&account(&["--json"])).unwrap();
        let mut times = json["moments"].as_array().unwrap().iter().map(|moment| {
            let at = moment["at_us"].as_u64();
            at.unwrap()
        });
        assert!(times.all(|at| at > 0), "{json}");
    });
}

fn account(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.arg("account").args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
