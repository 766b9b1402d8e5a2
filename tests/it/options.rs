//! What is told to real servers, and what becomes of the options they send.

use std::process::Command;

use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::{dhcpd, dnsmasq};
use serde_json::Value;
use wireboot_proto::packet::option::known;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_hears_the_name_the_identifier_the_classes_and_the_wishes() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "--log-dhcp");
        let lease = lease(
            "--hostname node7.example --client-id 00:ab:cd --vendor-class lab-vendor
            --user-class lab-user --request tz-posix,252 --no-request 42",
        );
        assert_eq!(lease["client_id"], "00abcd");
        for said in [
            "client provides name: node7.example",
            "vendor class: lab-vendor",
            "user class: lab-user",
            "252",
        ] {
            server.wait_for(said);
        }
        assert_eq!(server.count("42:ntp-server"), 0);
        assert!(server.count("100") > 0);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_duid_is_what_isc_dhcpd_gives_the_lease_to() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dhcpd(&far, "");
        let lease = lease("--client-id duid --no-lease-file");
        let client_id = lease["client_id"].as_str().unwrap();
        assert!(client_id.starts_with("ff"), "{client_id}");
        // dhcpd's file has the printable octets as such, and the others in octal.
        let mut expected = String::new();
        for octet in known::parse_hex(client_id).unwrap() {
            match char::from(octet) {
                c @ ('"' | '\\') => expected.push_str(&format!("\\{c}")),
                c @ ' '..='~' => expected.push(c),
                _ => expected.push_str(&format!("\\{octet:03o}")),
            }
        }
        let leases = std::fs::read_to_string(far.folder.join("leases")).unwrap();
        assert!(leases.contains(&format!("uid \"{expected}\"")), "{leases}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn every_option_that_came_is_in_the_json_however_long() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        // Long enough to be split; dnsmasq overloads `sname` and `file` when it must.
        let long = "x".repeat(250);
        let _server = dnsmasq(
            &far,
            &format!(
                "--dhcp-option-force=130,{long} --dhcp-option-force=209,{long}
                --dhcp-option-force=175,b0:01:01 --dhcp-option-force=224,01:02
                --dhcp-option-force=119,eng.example,sales.example
                --dhcp-option-force=67,{long}",
            ),
        );
        let lease = lease("--request 175,224");
        let value = |code: u64| {
            let options = lease["options"].as_array().unwrap().iter();
            let mut found = options.filter(|option| option["code"] == code);
            found.next().map(|option| option["value"].clone())
        };
        assert_eq!(value(130), Some(Value::from(known::hex(long.as_bytes()))));
        assert_eq!(value(209), Some(Value::from(long.as_str())));
        assert_eq!(value(224), Some(Value::from("0102")));
        assert_eq!(value(175).unwrap()[0]["code"], 176);
        assert_eq!(lease["boot_file"], long.as_str());
        assert_eq!(lease["search"][1], "sales.example");
        assert_eq!(lease["routes"][1]["router"], "192.0.2.1");
        assert_eq!(lease["mtu"], 1400);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn options_of_fixed_length_that_a_server_sends_twice_count_once() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        // dnsmasq sends these beside its own; of others it sends the given value alone.
        let _server = dnsmasq(
            &far,
            "--dhcp-option-force=54,192.0.2.7 --dhcp-option-force=53,06:
            --dhcp-option-force=51,9",
        );
        let lease = lease("");
        assert_eq!(lease["server"], "192.0.2.1", "{lease}");
        assert_eq!(lease["address"], "192.0.2.100");
        assert_eq!(lease["lease_seconds"], 3600);
        assert_eq!(lease["renewal_seconds"], 1800);
    });
}

fn lease(arguments: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
        .args(["lease", "-i", "near", "--timeout", "20", "--json"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}
