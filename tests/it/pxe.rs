//! `wireboot boot` up to its plan, with boot services of real servers.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Output};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::common::client::has_carrier;
use crate::common::far::{Far, Server};
use crate::common::servers::{DNSMASQ, dhcpd, dnsmasq, kea};
use crate::common::{in_new_namespace, ip, wait_until};
use serde_json::Value;
use wireboot_proto::format::kernel_image::fixture::bz_image;
use wireboot_proto::packet::dhcp::{Message, Op};
use wireboot_proto::packet::option::{Options, code};
use wireboot_proto::packet::pxe::BootItem;

/// The host beside that of the DHCP server.
const BOOT_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
const SCRIPT: &str = "#!ipxe\nkernel vmlinuz from=";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_first_entry_of_a_menu_is_asked_for_when_nobody_chooses() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let served = serve_files(&far, &["first.ipxe", "second.ipxe"]);
        let services = service("First", "first.ipxe") + &service("Second", "second.ipxe");
        let server = dnsmasq(&far, &format!("{served} {services} --pxe-prompt=Boot,1"));
        assert_eq!(planned(&boot()), "kernel from=first.ipxe");
        server.wait_for("PXE(far)");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_local_disk_has_an_exit_code_of_its_own_and_its_entry_is_named() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let services = service("Disk", "0") + &service("Second", "second.ipxe");
        let _server = dnsmasq(&far, &format!("{services} --pxe-prompt=Boot,1"));
        let output = boot();
        assert_eq!(output.status.code(), Some(10), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("\"Disk\" was chosen"), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_proxy_beside_a_plain_server_brings_the_boot_file() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let proxy = far.beside(3);
        ip("link set near up");
        wait_until("near has a carrier", has_carrier);
        let _kea = kea(&far);
        let served = serve_files(&proxy, &["proxy.ipxe"]);
        let services = service("Only", "proxy.ipxe");
        let server = dnsmasq_proxy(&proxy, &format!("{served} {services}"));
        assert_eq!(planned(&boot()), "kernel from=proxy.ipxe");
        server.wait_for("proxy.ipxe");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_menu_of_a_proxy_leads_to_its_boot_server() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let proxy = far.beside(3);
        let _dhcpd = dhcpd(&far, "");
        let served = serve_files(&proxy, &["first.ipxe", "second.ipxe"]);
        let services = service("First", "first.ipxe") + &service("Second", "second.ipxe");
        let _proxy = dnsmasq_proxy(&proxy, &format!("{served} {services} --pxe-prompt=Boot,1"));
        assert_eq!(planned(&boot()), "kernel from=first.ipxe");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_server_is_found_by_the_group_that_the_menu_names() {
    let group = Ipv4Addr::new(239, 255, 1, 2);
    // Multicast only.
    let control = [&[6, 1, 1, 7, 4][..], &group.octets()].concat();
    is_booted_from_boot_server(&control, 4011, Some(group));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_server_is_found_by_broadcast_which_the_dhcp_server_hears_too() {
    // Broadcast only.
    is_booted_from_boot_server(&[6, 1, 2], 67, None);
}

/// The DHCP server brings a menu of one, to be looked for as `control` says; a boot server listens on
/// `port` of a host of its own.
fn is_booted_from_boot_server(control: &[u8], port: u16, group: Option<Ipv4Addr>) {
    let menu = b"\x09\x09\x80\x00\x06Rescue\x0a\x07\x00Rescue\xff";
    let vendor: Vec<_> = control
        .iter()
        .chain(menu)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let vendor = vendor.join(":");
    in_new_namespace(move || {
        let far = Far::plug_in();
        let other = far.beside(3);
        let _dhcpd = dhcpd(
            &far,
            &format!(
                "option vendor-class-identifier \"PXEClient\";
                option vendor-encapsulated-options {vendor};"
            ),
        );
        let served = serve_files(&other, &["rescue.ipxe"]);
        let _tftp = other.serve(&format!("{DNSMASQ} {served}"), "TFTP root is");
        let (listens, listening) = channel();
        let server = other.enter(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            if let Some(group) = group {
                socket.join_multicast_v4(&group, &BOOT_SERVER).unwrap();
            }
            listens.send(()).unwrap();
            answer_boot_request(&socket);
        });
        listening.recv().unwrap();
        assert_eq!(planned(&boot()), "kernel from=rescue.ipxe");
        server.join().unwrap();
    });
}

/// Answers the first question for the entry of the menu as a boot server does.
fn answer_boot_request(socket: &UdpSocket) {
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut buf = [0; 2048];
    let item = BootItem {
        kind: 0x8000,
        layer: 0,
    };
    let mut message = loop {
        let (len, _) = socket.recv_from(&mut buf).expect("it is asked");
        let message = Message::decode(&buf[..len]).unwrap();
        // The DISCOVER comes here too, when it is asked by broadcast.
        if message.options.get(code::VENDOR_SPECIFIC) == Some(&item.encode()[..]) {
            break message;
        }
    };
    message.op = Op::BootReply;
    message.siaddr = BOOT_SERVER;
    message.file = b"rescue.ipxe".to_vec();
    message.options = Options::default();
    message.options.set(code::MESSAGE_TYPE, [5]);
    message
        .options
        .set(code::SERVER_IDENTIFIER, BOOT_SERVER.octets());
    message.options.set(code::VENDOR_CLASS, *b"PXEClient");
    message.options.set(code::VENDOR_SPECIFIC, item.encode());
    let mut answer = Vec::new();
    message.encode(&mut answer).unwrap();
    socket.send_to(&answer, (message.ciaddr, 68)).unwrap();
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_service_that_does_not_answer_ends_the_boot_with_its_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _dhcpd = dhcpd(&far, "option vendor-class-identifier \"PXEClient\";");
        let output = boot();
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = "192.0.2.1 says that it boots, and does not answer on port 4011";
        assert!(text.contains(expected), "{text}");
    });
}

/// With the answers of one server or the other first, or the boot file last.
#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_interface_with_a_boot_file_wins_in_whatever_order_the_answers_come() {
    in_new_namespace(|| {
        let plain = Far::plug_in();
        let booting = Far::plug_in_as("boots");
        let served = serve_files(&booting, &["boot.ipxe"]);
        for run in 0..runs() {
            // dnsmasq's delay is in whole seconds.
            let (first, second) = [("", ""), ("", "--dhcp-reply-delay=1")][run % 2];
            let _plain = dnsmasq(&plain, first);
            let _booting = dnsmasq(
                &booting,
                &format!("{served} --dhcp-boot=boot.ipxe {second}"),
            );
            let order = [["near", "boots"], ["boots", "near"]][run / 2 % 2];
            // It delays everything that comes meanwhile too.
            let output = boot_on(&order, "8");
            assert_eq!(planned(&output), "kernel from=boot.ipxe", "run {run}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_boot_file_still_wins_when_the_first_answers_to_its_request_are_lost() {
    in_new_namespace(|| {
        let plain = Far::plug_in();
        let booting = Far::plug_in_as("boots");
        // dnsmasq puts option 53 first.
        let rules = "table inet filter {
            chain output {
                type filter hook output priority 0;
                udp sport 67 @th,1984,24 0x350105 numgen inc mod 1000 < 2 drop
            }
        }";
        booting.run(&format!("nft -f {}", booting.write("rules", rules)));
        let served = serve_files(&booting, &["boot.ipxe"]);
        let _plain = dnsmasq(&plain, "");
        let server = dnsmasq(&booting, &format!("{served} --dhcp-boot=boot.ipxe"));
        let output = boot_on(&["near", "boots"], "0.3");
        assert_eq!(planned(&output), "kernel from=boot.ipxe");
        assert!(server.count("DHCPACK") >= 3);
    });
}

/// Fifty take minutes; a few show the same.
fn runs() -> usize {
    let runs = std::env::var("WIREBOOT_RUNS").ok();
    runs.map_or(4, |runs| runs.parse().expect("a number of runs"))
}

fn boot() -> Output {
    boot_on(&["near"], "1")
}

fn boot_on(interfaces: &[&str], proxy_wait: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args([
        "boot",
        "--identify",
        "pxe",
        "--timeout",
        "20",
        "--unattended",
    ]);
    command.args(["--stop-after", "plan", "--json", "--proxy-wait", proxy_wait]);
    for interface in interfaces {
        command.args(["-i", interface]);
    }
    let output = command.output().unwrap();
    for interface in interfaces {
        ip(&format!("address flush dev {interface}"));
        ip(&format!("link set {interface} down"));
    }
    output
}

/// Returns the name of the kernel and its command line.
fn planned(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    format!("kernel {}", plan["command_line"].as_str().unwrap())
}

/// Writes scripts that tell which one is booted, and returns what makes dnsmasq serve them.
fn serve_files(far: &Far, names: &[&str]) -> String {
    // As much of a kernel as a plan looks at.
    std::fs::write(far.folder.join("vmlinuz"), bz_image()).unwrap();
    for name in names {
        far.write(name, &format!("{SCRIPT}{name}\nboot\n"));
    }
    format!("--enable-tftp --tftp-root={}", far.folder.display())
}

/// A line of dnsmasq's boot menu, for machines with any firmware that the tests run on.
fn service(text: &str, file: &str) -> String {
    let kinds = ["x86PC", "BC_EFI", "X86-64_EFI", "ARM64_EFI"];
    kinds
        .map(|kind| format!(" --pxe-service={kind},{text},{file}"))
        .concat()
}

fn dnsmasq_proxy(far: &Far, more: &str) -> Server {
    let command = format!("{DNSMASQ} --log-dhcp --dhcp-range=192.0.2.0,proxy {more}");
    far.serve(&command, "DHCP, proxy")
}
