//! `wireboot account` after a lease in a network namespace.

use std::process::{Command, Stdio};

use crate::common::client::{lease, succeeds};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::machine::Served;
use crate::common::servers::{dnsmasq, nginx};

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
            // A busy machine may ask twice.
            .filter(|what| !what.starts_with("DISCOVER "))
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
        let bars = text
            .lines()
            .filter(|line| line.starts_with("lease") && line.contains('#'));
        assert_eq!(bars.count(), 1, "{text}");
        assert!(account(&["--svg", "-"]).starts_with("<svg "));
        // A pipe or device is written to, and not replaced by a file.
        let pipe = far.folder.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = Command::new("timeout");
        let reader = reader.args(["20", "cat"]).arg(&pipe).stdout(Stdio::piped());
        let reader = reader.spawn().unwrap();
        account(&["--svg", pipe.to_str().unwrap()]);
        assert!(
            reader
                .wait_with_output()
                .unwrap()
                .stdout
                .starts_with(b"<svg ")
        );

        let json: serde_json::Value = serde_json::from_str(&account(&["--json"])).unwrap();
        let mut times = json["moments"].as_array().unwrap().iter().map(|moment| {
            let at = moment["at_us"].as_u64();
            at.unwrap()
        });
        assert!(times.all(|at| at > 0), "{json}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_file_is_hashed_by_the_time_that_the_next_one_is_there() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let served = Served::empty("hashed");
        let mut kernel = vec![7; 1 << 20];
        // The signature of a bzImage, in the Linux boot protocol 2.15.
        kernel[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
        kernel[0x238..0x23c].copy_from_slice(&2047_u32.to_le_bytes());
        served.put("kernel", kernel);
        served.put("initrd", vec![8; 1 << 20]);
        served.put("script", "#!ipxe\nkernel kernel\ninitrd initrd\nboot\n");
        let _http = nginx(&far, &served.folder);
        let _leases = dnsmasq(&far, "--dhcp-boot=http://192.0.2.1/script");
        // The initrd takes a second.
        far.run("tc qdisc add dev far root tbf rate 8mbit burst 32kb latency 200ms");
        // With --explain somebody asks for the hashes, on one processor too.
        let flags = "boot -i near --stop-after load --explain";
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        // The kernel is none, whatever kexec says about that.
        let output = command.args(flags.split(' ')).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");

        let account = account(&["--json"]);
        let json: serde_json::Value = serde_json::from_str(&account).unwrap();
        let at = |begin: &str, end: &str| {
            let moments = json["moments"].as_array().unwrap();
            let moment = moments.iter().find(|moment| {
                let what = moment["what"].as_str().unwrap();
                what.starts_with(begin) && what.ends_with(end)
            });
            let at = moment.and_then(|moment| moment["at_us"].as_u64());
            at.unwrap_or_else(|| panic!("no {begin}…{end} in {json}"))
        };
        // sha256sum of the file.
        let sum = "f734fd153f0107e14acaff3ebd022929744147b00b7b07df96a50489818f0229";
        let hashed = at("kernel: SHA-256 ", sum);
        assert!(
            hashed < at("http://192.0.2.1/initrd", ": complete"),
            "{json}"
        );
        assert!(at("initrd: SHA-256 ", "") > hashed, "{json}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_that_is_not_granted_has_every_discover_in_its_account_and_the_time_it_took() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let output = lease("2").wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = account(&[]);
        for what in ["DISCOVER", "DISCOVER 2", "DISCOVER 3"] {
            assert!(
                text.lines()
                    .any(|line| line.ends_with(&format!("  {what}"))),
                "{text}"
            );
        }
        let steps = text.lines().last().unwrap();
        let lease = steps
            .strip_prefix("lease ")
            .and_then(|rest| rest.split(' ').next());
        let lease: u64 = lease.unwrap().parse().unwrap();
        assert!(lease >= 2_000, "{steps}");
        let total = steps.rsplit_once("total ").unwrap().1.strip_suffix(" ms");
        assert!(total.unwrap().parse::<u64>().unwrap() >= 2_000, "{steps}");
    });
}

fn account(flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.arg("account").args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
