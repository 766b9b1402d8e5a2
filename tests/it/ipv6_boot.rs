//! `wireboot boot --family 6`: the boot file of a router's or server's word, fetched over IPv6.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;

use crate::common::client::output;
use crate::common::far::{Far, Server};
use crate::common::machine::{Served, Setup};
use crate::common::servers::{DNSMASQ, nginx_with};
use crate::common::{in_new_namespace, ip, wait_until};
use crate::ipv6::{FORMED, LINK_LOCAL, ROUTER, is_as_found, kea, radvd};

/// Makes a folder with a kernel and a script that starts it.
fn served(far: &Far) -> PathBuf {
    let folder = far.folder.join("served");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("kernel"), bz_image()).unwrap();
    std::fs::write(folder.join("initrd"), "an archive").unwrap();
    let script = "#!ipxe\nkernel kernel six=${ip6}/${net0/len6} by=${gateway6} dns=${dns6} four=${ip}.\n\
                  initrd initrd\nboot\n";
    std::fs::write(folder.join("boot.ipxe"), script).unwrap();
    std::fs::create_dir(folder.join("conf")).unwrap();
    let menu = "DEFAULT x\nLABEL x\nKERNEL kernel\nAPPEND from=menu\n";
    std::fs::write(folder.join("conf/menu"), menu).unwrap();
    folder
}

/// dnsmasq with routers' advertisements, DHCPv6, DNS and TFTP.
fn dnsmasq(far: &Far, folder: &Path, range: &str, url: &str) -> Server {
    let (folder, dnsmasq) = (folder.display(), DNSMASQ.replace("--port=0", "--port=53"));
    let command = format!(
        "{dnsmasq} --no-resolv --no-hosts --address=/boot.example/2001:db8:1::1
        --enable-ra --dhcp-range={range} --enable-tftp --tftp-root={folder}
        --dhcp-option=option6:bootfile-url,{url}"
    );
    far.serve(&command, "router advertisement")
}

/// A server of TFTP on all addresses, the link-local one too.
fn tftpd(far: &Far, folder: &Path) -> Server {
    let server = far.start(&format!(
        "in.tftpd -L -6 -u root -a [::]:69 -s {}",
        folder.display()
    ));
    let is_there = || {
        far.output("ss --listening --udp --numeric")
            .contains(":69 ")
    };
    wait_until("a server of TFTP", is_there);
    server
}

/// Runs the boot up to `stage`; returns its exit code, and what it printed on both outputs.
fn boot(more: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    output(
        command
            .args(["boot", "-i", "near", "-v"])
            .args(more)
            .stdin(Stdio::null()),
    )
}

/// Returns the plan of a boot, which must succeed.
fn plan(more: &[&str]) -> Value {
    let (code, report, log) =
        boot(&[&["--family", "6", "--stop-after", "plan", "--json"], more].concat());
    assert_eq!(code, Some(0), "{log}");
    serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}\n{log}"))
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_stateless_network_boots_by_tftp() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let url = "tftp://[2001:db8:1::1]/boot.ipxe";
        let server = dnsmasq(&far, &folder, "2001:db8:1::,ra-stateless", url);
        let made = plan(&[]);
        assert_eq!(made["kernel"]["url"], "tftp://[2001:db8:1::1]/kernel");
        assert_eq!(
            made["command_line"],
            format!("six={FORMED}/64 by={ROUTER} dns={ROUTER} four=.")
        );
        is_as_found();
        // All files, by the workers and without them.
        for sandbox in ["on", "off"] {
            let (code, _, log) = boot(&[
                "--family",
                "6",
                "--stop-after",
                "image",
                "--sandbox",
                sandbox,
            ]);
            assert_eq!(code, Some(0), "{log}");
            is_as_found();
        }
        // A kernel alone, with its words in option 60 beside a size.
        drop(server);
        let range =
            "2001:db8:1::,ra-stateless --dhcp-option=option6:bootfile-param,17,root=/dev/nfs,a=b";
        let _server = dnsmasq(&far, &folder, range, "tftp://[2001:db8:1::1]/kernel");
        assert_eq!(plan(&[])["command_line"], "root=/dev/nfs a=b");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_managed_network_boots_by_http_from_a_name() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let _web = nginx_with(&far, &folder, "listen 192.0.2.1:80; listen [::]:80;");
        let range = "2001:db8:1::100,2001:db8:1::100,64,10m";
        let _server = dnsmasq(&far, &folder, range, "http://boot.example/boot.ipxe");
        let (code, _, log) = boot(&["--family", "6", "--stop-after", "image"]);
        assert_eq!(code, Some(0), "{log}");
        let plan = plan(&[]);
        assert_eq!(plan["kernel"]["url"], "http://boot.example/kernel");
        is_as_found();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_server_on_the_link_boots_a_machine_without_an_address() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let url = format!("tftp://[{ROUTER}]/boot.ipxe");
        let options = format!(
            r#""option-data": [ {{ "name": "bootfile-url", "data": "{url}" }} ],
            "subnet6": [ {{ "id": 1, "subnet": "2001:db8:1::/64", "interface": "far", "pools": [ ] }} ]"#
        );
        let _kea = kea(&far, &options);
        let _tftp = tftpd(&far, &folder);
        let boots = || {
            let (code, _, log) = boot(&["--family", "6", "--stop-after", "image"]);
            assert_eq!(code, Some(0), "{log}");
            assert!(!log.contains(LINK_LOCAL), "{log}");
            is_as_found();
        };
        boots();
        // Routers speak of no address either.
        let _router = radvd(&far, "AdvOtherConfigFlag on;");
        boots();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_given_address_of_ipv6_boots_and_so_does_that_of_the_link() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let _server = tftpd(&far, &folder);
        let words = "ip=[2001:db8:1::5]::[2001:db8:1::1]:64::near:none nameserver=[2001:db8:1::53]";
        for (words, url, command_line) in [
            (
                words,
                "tftp://[2001:db8:1::1]/boot.ipxe".to_owned(),
                "six=2001:db8:1::5/128 by=2001:db8:1::1 dns=2001:db8:1::53 four=.",
            ),
            (
                "ip=near:link6",
                format!("tftp://[{ROUTER}%25near]/boot.ipxe"),
                "six=/ by= dns= four=.",
            ),
        ] {
            let words = far.write("cmdline", words);
            let (code, report, log) = boot(&[
                "--kernel-command-line",
                &words,
                "--boot-file",
                &url,
                "--stop-after",
                "plan",
                "--json",
            ]);
            assert_eq!(code, Some(0), "{log}");
            let plan: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(plan["command_line"], command_line, "{log}");
            is_as_found();
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_file_by_another_server_than_that_of_the_address_is_found() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        // The router gives the address, and a server that is not spoken of the file.
        let _router = radvd(&far, "prefix 2001:db8:1::/64 { };");
        let _kea = kea(
            &far,
            r#""option-data": [
                { "name": "bootfile-url", "data": "tftp://[2001:db8:1::1]/pxelinux.0" },
                { "name": "bootfile-param", "data": "quiet=1,conf/menu" } ],
            "subnet6": [ { "id": 1, "subnet": "2001:db8:1::/64", "interface": "far", "pools": [ ] } ]"#,
        );
        let folder = folder.display();
        let _tftp = far.serve(
            &format!("{DNSMASQ} --enable-tftp --tftp-root={folder}"),
            "TFTP root",
        );
        let plan = plan(&[]);
        assert_eq!(plan["command_line"], "BOOT_IMAGE=kernel from=menu");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_boot_file_it_says_whose_it_should_be() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let _router = radvd(&far, "prefix 2001:db8:1::/64 { };");
        let (code, _, log) = boot(&["--family", "6", "--stop-after", "plan", "--timeout", "6"]);
        assert_eq!(code, Some(6), "{log}");
        assert!(
            log.contains("neither a router nor a DHCPv6 server names a boot file"),
            "{log}"
        );
        is_as_found();
        // The user's own needs no server.
        let folder = served(&far);
        let _web = nginx_with(&far, &folder, "listen 192.0.2.1:80; listen [::]:80;");
        let plan = plan(&["--boot-file", "http://[2001:db8:1::1]/boot.ipxe"]);
        assert_eq!(plan["kernel"]["url"], "http://[2001:db8:1::1]/kernel");
    });
}

/// A router that radvd is from version 2.20 on alone: with the prefix of a translator (RFC 8781).
const TRANSLATING_ROUTER: &str = r"
import socket, time
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
s.setsockopt(41, 18, 255)
prefix = bytes.fromhex('030440c00000ffff0000ffff0000000020010db8000100000000000000000000')
translator = bytes.fromhex('260202580064ff9b0000000000000000')
message = bytes.fromhex('860000004000070800000000') + bytes(4) + prefix + translator
while True:
    s.sendto(message, ('ff02::1', 0, 0, socket.if_nametoindex('far')))
    time.sleep(0.2)
";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_literal_of_ipv4_is_reached_through_a_translator() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let _web = nginx_with(&far, &folder, "listen 192.0.2.1:80; listen [::]:80;");
        // What a translator does behind these prefixes, for 192.0.2.1 alone.
        for translated in ["64:ff9b::c000:201", "2001:db8:ff:0:c0:2:100::"] {
            far.run(&format!("ip address add {translated}/128 dev lo"));
        }
        let url = ["--boot-file", "http://192.0.2.1/boot.ipxe"];
        let kernel = "http://192.0.2.1/kernel";
        {
            let script = far.write("router.py", TRANSLATING_ROUTER);
            let _router = far.start(&format!("python3 {script}"));
            assert_eq!(plan(&url)["kernel"]["url"], kernel);
        }
        // By resolvers (RFC 7050), with a prefix of another length.
        let dnsmasq = DNSMASQ.replace("--port=0", "--port=53");
        let command = format!(
            "{dnsmasq} --no-resolv --no-hosts --enable-ra --dhcp-range=2001:db8:1::,ra-stateless"
        );
        {
            let translated = "--address=/ipv4only.arpa/2001:db8:ff:0:c0:0:aa00:0";
            let _server = far.serve(&format!("{command} {translated}"), "router advertisement");
            assert_eq!(plan(&url)["kernel"]["url"], kernel);
        }
    });
}

/// Runs `wireboot boot` over either family up to the plan; returns its exit code, its output and log.
fn race(more: &[&str]) -> (Option<i32>, String, String) {
    boot(
        &[
            &["--family", "either", "--stop-after", "plan", "--json"],
            more,
        ]
        .concat(),
    )
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn either_family_boots_whose_server_has_the_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let folder = served(&far);
        let four = "--dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let six = "--enable-ra --dhcp-range=2001:db8:1::,ra-stateless";
        let four_boots = format!("{four} --dhcp-boot=boot.ipxe");
        let six_boots =
            format!("{six} --dhcp-option=option6:bootfile-url,tftp://[2001:db8:1::1]/boot.ipxe");
        for (servers, kernel) in [
            (
                format!("{four} {six_boots}"),
                "tftp://[2001:db8:1::1]/kernel",
            ),
            (six_boots, "tftp://[2001:db8:1::1]/kernel"),
            (format!("{four_boots} {six}"), "tftp://192.0.2.1/kernel"),
            (four_boots, "tftp://192.0.2.1/kernel"),
        ] {
            let folder = folder.display();
            let command = format!("{DNSMASQ} --enable-tftp --tftp-root={folder} {servers}");
            let _server = far.serve(&command, "TFTP root");
            let started = std::time::Instant::now();
            let (code, report, log) = race(&[]);
            assert_eq!(code, Some(0), "{servers}: {log}");
            let plan: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(plan["kernel"]["url"], kernel, "{servers}: {log}");
            // Nobody waits for the other family: 12 s for an offer with a boot file.
            assert!(started.elapsed().as_secs() < 10, "{servers}: {log}");
            is_as_found();
            assert_eq!(ip("-4 -o address show dev near"), "");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_network_of_neither_family_is_explained_for_both() {
    in_new_namespace(|| {
        let _far = Far::plug_in_ipv6();
        let (code, _, log) = race(&["--timeout", "2"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains("IPv6: no router advertises itself"), "{log}");
        is_as_found();
        // Where IPv6 is switched off it stays so.
        let path = "/proc/sys/net/ipv6/conf/near/disable_ipv6";
        std::fs::write(path, "1").unwrap();
        let (code, _, log) = race(&["--timeout", "1"]);
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains("going on without IPv6"), "{log}");
        assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "1");
    });
}

/// Switches a machine on, on the cable, and waits for the greeting of the kernel that it boots.
fn greets(served: &Served, words: &str, seen: &[&str]) {
    let script = "#!ipxe\nkernel vmlinuz console=ttyS0 no_timer_check quiet panic=-1 word=${ip6}\n\
                  initrd greeting\nboot\n";
    served.put("boot.ipxe", script);
    // Otherwise it is that of the machine's card.
    ip("link set near address 52:54:00:00:00:02");
    let words = format!("wireboot.on-failure=poweroff {words}");
    let mut machine = Setup::new(&words).on_tap(&["near"]).start();
    machine.says(seen);
    machine.says(&["Greetings from the second kernel.", "word=2001:db8:1:"]);
    machine.ends();
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_machine_boots_by_the_word_of_a_router_and_a_stateless_server() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let served = Served::new("stateless6");
        let url = "tftp://[2001:db8:1::1]/boot.ipxe";
        let _server = dnsmasq(&far, &served.folder, "2001:db8:1::,ra-stateless", url);
        greets(
            &served,
            "wireboot.family=6",
            &[&format!("eth0: {FORMED}/64 in a prefix")],
        );
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_machine_boots_by_http_with_the_address_of_a_server() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let served = Served::new("stateful6");
        let _web = nginx_with(&far, &served.folder, "listen 192.0.2.1:80; listen [::]:80;");
        let range = "2001:db8:1::100,2001:db8:1::100,64,10m";
        let _server = dnsmasq(&far, &served.folder, range, "http://boot.example/boot.ipxe");
        greets(
            &served,
            "wireboot.family=6",
            &["eth0: 2001:db8:1::100/128 from a server"],
        );
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_machine_boots_by_the_family_that_has_a_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let served = Served::new("either6");
        let ranges =
            "2001:db8:1::,ra-stateless --dhcp-range=192.0.2.100,192.0.2.100,255.255.255.0,1h";
        let url = "tftp://[2001:db8:1::1]/boot.ipxe";
        let _server = dnsmasq(&far, &served.folder, ranges, url);
        greets(
            &served,
            "wireboot.family=either",
            &[&format!("eth0: {FORMED}/64 in a prefix")],
        );
    });
}
