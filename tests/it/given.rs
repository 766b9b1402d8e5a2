//! An address that the kernel's command line gives, in a network namespace without any server.

use std::process::Command;

use crate::common::client::{addresses, has_carrier, is_as_it_was, is_configured_as};
use crate::common::far::Far;
use crate::common::{in_new_namespace, ip, wait_until};
#[cfg(feature = "root")]
use wireboot_proto::format::kernel_image::fixture::bz_image;

const WORDS: &str = "ip=192.0.2.10::192.0.2.1:24::near:none:1400 \
                     rd.route=198.51.100.0/24:192.0.2.254 nameserver=192.0.2.53\n";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_address_without_dhcp_is_set_with_its_routes_and_mtu_as_soon_as_there_is_a_carrier() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.run("ip link set far down");
        let client = wireboot(&far, &[]).spawn().expect("it was built");
        wait_until("near is raised", || ip("link show near").contains("UP"));
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

#[test]
#[cfg(feature = "root")]
#[ignore = "needs CAP_NET_ADMIN and nginx"]
fn a_boot_by_hand_keeps_the_network_as_it_stands_and_gives_it_to_the_next_kernel() {
    use crate::common::servers::nginx;
    in_new_namespace(|| {
        let far = Far::plug_in();
        far.write(
            "script",
            "#!ipxe\nkernel http://192.0.2.1/kernel quiet\nboot\n",
        );
        std::fs::write(far.folder.join("kernel"), bz_image()).unwrap();
        let _http = nginx(&far, &far.folder);
        ip("link set near up");
        ip("address add 192.0.2.9/24 brd + dev near valid_lft 900 preferred_lft 900");
        ip("route add 198.51.100.0/24 via 192.0.2.2");
        std::fs::write("/etc/resolv.conf", "nameserver 192.0.2.53\n").unwrap();
        let as_it_is = || (ip("-4 route show"), ip("-o -4 address show near"));
        let run = |more: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["boot", "--keep-network", "--stop-after", "plan"]);
            command.args(["--boot-file", "http://192.0.2.1/script"]);
            command.args(more).output().unwrap()
        };
        let output = run(&[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        ip("route add default via 192.0.2.1");
        let (routes, _) = as_it_is();
        for more in [&[][..], &["-i", "near"]] {
            let output = run(more);
            let text = String::from_utf8_lossy(&output.stdout);
            for word in [
                "quiet ip=192.0.2.9::192.0.2.1:255.255.255.0:",
                ":near:none rd.route=198.51.100.0/24:192.0.2.2:near nameserver=192.0.2.53 ifname=near:",
            ] {
                assert!(text.contains(word), "{word}: {output:?}");
            }
            assert_eq!(as_it_is().0, routes);
            assert!(as_it_is().1.contains("192.0.2.9/24"));
        }
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
