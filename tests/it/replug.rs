//! A card that is unplugged and plugged in again: another index, the same name and hardware address.

use std::process::{Command, Stdio};

use crate::common::client::{addresses, is_configured, json, keep, last_line, lease, succeeds};
use crate::common::far::Far;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip, wait_until};

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_kept_lease_is_on_the_card_again_when_that_has_returned() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("192.0.2.100/24");
        wait_until("it is configured", || addresses() == ["192.0.2.100"]);
        let mac = hardware_address();
        drop(server);
        let mut fars = vec![far];
        for round in 1..=2 {
            ip("link delete near");
            wait_until("it is missed", || client.count("has been removed") == round);
            fars.push(plug_in_as(&mac));
            // Without a server: the lease is not over.
            wait_until("the address is back", || addresses() == ["192.0.2.100"]);
            let server = fars.last().map(|far| dnsmasq(far, "")).unwrap();
            server.wait_for("DHCPACK(far) 192.0.2.100");
            wait_until("it is confirmed", || {
                client.count("192.0.2.100/24") == round + 1
            });
            is_configured();
        }
        assert_eq!(client.count("cannot"), 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_card_that_returns_while_servers_are_asked_is_asked_on() {
    for command in ["lease -i near --timeout 30", "discover -i near --wait 5"] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let mac = hardware_address();
            let client = Command::new(env!("CARGO_BIN_EXE_wireboot"))
                .args(command.split(' '))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("it was built");
            is_asked_on();
            ip("link delete near");
            drop(far);
            let far = plug_in_as(&mac);
            let _server = dnsmasq(&far, "");
            succeeds(client);
            if command.starts_with("lease") {
                is_configured();
            }
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_card_that_does_not_return_or_is_another_one_is_said_to_be_removed() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let client = lease("3");
        is_asked_on();
        ip("link delete near");
        drop(far);
        let far = plug_in_as("02:00:00:00:00:99");
        let _server = dnsmasq(&far, "");
        let output = client.wait_with_output().unwrap();
        let said = last_line(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let expected = "the interface was removed and did not return";
        assert!(said.contains(expected), "{said}");
    });
}

/// Waits until `near` has a carrier, and so is asked on.
fn is_asked_on() {
    wait_until("it asks", || ip("-o link show near").contains("LOWER_UP"));
}

fn hardware_address() -> String {
    let mac = json("-j link show near")[0]["address"].clone();
    mac.as_str().expect("text").to_owned()
}

/// Plugs in a card with this hardware address, which has another index than any before.
fn plug_in_as(mac: &str) -> Far {
    let far = Far::plug_in();
    ip(&format!("link set near address {mac}"));
    far
}
