//! What becomes of a lease after wireboot has ended: systemd-networkd goes on with it.

use std::fs;
use std::process::Command;

use crate::common::client::{at_home, ipv4_addresses, json};
use crate::common::far::{Far, Server};
use crate::common::{in_new_namespace, wait_until};

/// networkd takes no notice of interfaces that udev has not handled, unless there is no udev: it
/// tells by /sys, which nobody may write then.
const WITHOUT_UDEV: &str = "mount -t sysfs -o ro sysfs /sys";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn networkd_keeps_the_address_and_renews_it_as_the_same_client() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let leases = far.write("leases", "");
        let server = far.serve(
            &format!(
                "dnsmasq --conf-file=/dev/null --no-daemon --user=root --port=0 --pid-file= --no-ping
                --interface=far --bind-interfaces --dhcp-leasefile={leases}
                --dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,2m
                --dhcp-option=option:T1,6 --dhcp-option=option:T2,90"
            ),
            "DHCP, IP range",
        );
        let client = at_home()
            .args(["lease", "-i", "near", "--hand-over", "networkd"])
            .output()
            .unwrap();
        assert!(client.status.success(), "{client:?}");
        let address = only_address();
        let granted = server.count("DHCPACK");

        let mounted = Command::new("sh").args(["-c", WITHOUT_UDEV]).status();
        assert!(mounted.unwrap().success());
        let changes = Server::start(Command::new("ip").args(["-4", "monitor", "address"]));
        let networkd = Server::start(
            Command::new("/lib/systemd/systemd-networkd")
                .env("SYSTEMD_LOG_LEVEL", "debug")
                .env("SYSTEMD_LOG_TARGET", "console"),
        );
        wait_until("networkd has asked for the address, and renewed it", || {
            server.count("DHCPACK") >= granted + 2
        });
        networkd.wait_for("DHCPv4 client: REQUEST (renewing)");
        wait_until("networkd has both answers", || {
            networkd.count("DHCPv4 client: ACK") >= 2
        });
        assert_eq!(only_address(), address);
        assert_eq!(
            changes.count("Deleted"),
            0,
            "the address was gone for a while"
        );
        let leases = fs::read_to_string(leases).unwrap();
        let [lease] = leases.lines().collect::<Vec<_>>()[..] else {
            panic!("{leases}");
        };
        let mac = json("-j link show near")[0]["address"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(lease.contains(&address), "{lease}");
        assert!(lease.ends_with(&format!(" 01:{mac}")), "{lease}");
    });
}

fn only_address() -> String {
    let link = &json("-j address show near")[0];
    let [(address, 24)] = ipv4_addresses(link)[..] else {
        panic!("{link}");
    };
    address.to_owned()
}
