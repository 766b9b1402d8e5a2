//! `wireboot fetch` from servers that have names, by the resolvers of a lease: with the C library of
//! the machine, and with the one in the static binary.

#![expect(clippy::expect_used, reason = "a test may fail by panicking")]

mod common;

use std::process::Command;

use common::client::at_home;
use common::far::Far;
use common::folder::Folder;
use common::machine::shell;
use common::servers::dnsmasq;
use common::{in_new_namespace, ip};

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq and python3"]
fn a_name_is_looked_up_where_the_lease_says_and_each_of_its_addresses_is_tried() {
    let programs = [
        env!("CARGO_BIN_EXE_wireboot").to_owned(),
        shell("static_binary --no-default-features"),
    ];
    in_new_namespace(move || {
        let far = Far::plug_in();
        far.run("ip address add fd00::1/64 dev far nodad");
        let folder = Folder::new();
        folder.offer("file", 100_000);
        let options = "--dhcp-option=6,192.0.2.1 --dhcp-option=15,boot.example";
        let _leases = dnsmasq(&far, options);
        let _names = far.serve(
            "dnsmasq --conf-file=/dev/null --no-daemon --user=root --pid-file= --no-resolv --no-hosts
             --local=/boot.example/
             --host-record=four.boot.example,192.0.2.1
             --host-record=six.boot.example,fd00::1
             --host-record=both.boot.example,192.0.2.1,fd00::1
             --host-record=dead.boot.example,192.0.2.77,fd00::1
             --host-record=gone.boot.example,fd00::77,192.0.2.1
             --host-record=many.boot.example,192.0.2.77
             --host-record=many.boot.example,192.0.2.1
             --cname=alias.boot.example,four.boot.example",
            "started",
        );
        let served = folder.served();
        let _web = far.serve(
            &format!("python3 -u -m http.server -b :: -d {} 80", served.display()),
            "Serving HTTP",
        );
        let client = at_home().args(["lease", "-i", "near"]).output().unwrap();
        assert!(client.status.success(), "{client:?}");
        ip("address add fd00::9/64 dev near nodad");

        for program in &programs {
            let fetch = |host: &str| {
                let mut command = Command::new(program);
                let url = format!("http://{host}/file");
                command.args(["fetch", "-o"]).arg(folder.path("come"));
                command.arg(url).output().unwrap()
            };
            for host in [
                "four.boot.example",
                "six.boot.example",
                "both.boot.example",
                "dead.boot.example",
                "gone.boot.example",
                "many.boot.example",
                "alias.boot.example",
                // By the domain of the lease.
                "four",
            ] {
                let output = fetch(host);
                assert!(output.status.success(), "{program} {host}: {output:?}");
                folder.is_whole("come", "file");
                std::fs::remove_file(folder.path("come")).unwrap();
            }
            let output = fetch("nobody.boot.example");
            assert_eq!(output.status.code(), Some(7), "{output:?}");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("http://nobody.boot.example/file: "), "{text}");
        }
    });
}
