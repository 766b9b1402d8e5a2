//! An address that the kernel's command line gives, in a network namespace without any server.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may fail by panicking"
)]

mod common;

use std::process::Command;

use common::client::{has_carrier, ipv4_addresses, is_as_it_was, json, route};
use common::far::Far;
use common::{in_new_namespace, wait_until};

const WORDS: &str = "ip=192.0.2.10::192.0.2.1:24::near:none:1400 \
                     rd.route=198.51.100.0/24:192.0.2.254 nameserver=192.0.2.53\n";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_without_dhcp_is_set_with_its_routes_and_mtu_as_soon_as_there_is_a_carrier() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip link set far down");
        let client = wireboot(&far, &[]).spawn().expect("it was built");
        wait_until("near is raised", || {
            common::ip("link show near").contains("UP")
        });
        assert!(!has_carrier());
        assert_eq!(addresses(), []);
        far.run("ip link set far up");
        let output = client.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("near: 192.0.2.10/24 as given\n"), "{text}");
        assert_eq!(addresses(), [("192.0.2.10".to_owned(), 24)]);
        assert_eq!(json("-j address show near")[0]["mtu"], 1400);
        let routes = json("-4 -j route show");
        let routes = routes.as_array().expect("a list").iter().map(route);
        let mut found: Vec<_> = routes.collect();
        found.sort_unstable();
        let expected = [
            ("192.0.2.0/24", None, "near"),
            ("198.51.100.0/24", Some("192.0.2.254"), "near"),
            ("default", Some("192.0.2.1"), "near"),
        ];
        assert_eq!(found, expected);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_dry_run_leaves_the_interface_as_it_was() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let output = wireboot(&far, &["--dry-run"]).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        is_as_it_was();
    });
}

fn wireboot(far: &Far, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args([
        "lease",
        "--kernel-command-line",
        &far.write("cmdline", WORDS),
    ]);
    command.args(more).stdout(std::process::Stdio::piped());
    command
}

fn addresses() -> Vec<(String, i64)> {
    let link = &json("-j address show near")[0];
    let addresses = ipv4_addresses(link).into_iter();
    addresses
        .map(|(address, len)| (address.to_owned(), len))
        .collect()
}
