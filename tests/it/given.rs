//! An address that the kernel's command line gives, in a network namespace without any server.

use std::process::Command;

use crate::common::client::{addresses, has_carrier, is_as_it_was, is_configured_as};
use crate::common::far::Far;
use crate::common::{in_new_namespace, wait_until};

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
            crate::common::ip("link show near").contains("UP")
        });
        assert!(!has_carrier());
        assert!(addresses().is_empty());
        far.run("ip link set far up");
        let output = client.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("near: 192.0.2.10/24 as given\n"), "{text}");
        is_configured_as("192.0.2.10", "192.0.2.254");
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
