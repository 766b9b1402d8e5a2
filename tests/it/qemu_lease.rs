//! A boot in an emulated machine that takes several times as long as its lease: it is renewed, or
//! another one is acquired, while a kernel comes over a slow network that then greets.

use crate::common::far::{Far, Server};
use crate::common::machine::{Machine, Served, Setup};
use crate::common::servers::{DNSMASQ, dhcpd, nginx};
use crate::common::{in_new_namespace, wait_until};

const TEN_SECONDS: &str = "max-lease-time 10; min-lease-time 10;";
/// How long the kernel takes, seconds.
const FETCH_SECONDS: u64 = 40;

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_lease_of_ten_seconds_is_renewed_six_times_while_the_kernel_comes() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dhcpd(&far, TEN_SECONDS);
        let served = Served::new("renewed");
        let _http = nginx(&far, &served.folder);
        let mut machine = boots_slowly(&far, &served);
        machine.says(&["eth0: 192.0.2.100/24 from 192.0.2.1 for 10 s"]);
        let granted = server.count("DHCPACK on 192.0.2.100");
        let discovers = server.count("DHCPDISCOVER");
        machine.says(&["wireboot: starting"]);
        let renewals = server.count("DHCPACK on 192.0.2.100") - granted;
        assert!(renewals >= 6, "{renewals}");
        assert_eq!(server.count("DHCPDISCOVER"), discovers);
        greets(machine);
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_kernel_comes_to_its_end_though_another_server_refuses_the_address_meanwhile() {
    comes_from_another_address("refused", "--dhcp-authoritative", |machine, second| {
        machine.says(&["eth0: 192.0.2.9 refused the address"]);
        assert_eq!(second.count("DHCPNAK(far) 192.0.2.100"), 1);
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_kernel_comes_to_its_end_though_another_server_knows_nothing_of_the_lease() {
    // Without --dhcp-authoritative dnsmasq is silent to who asks for a lease that it does not know.
    comes_from_another_address("expired", "", |machine, second| {
        machine.says(&["eth0: the lease has expired"]);
        assert_eq!(second.count("DHCPNAK"), 0);
    });
}

/// Replaces the DHCP server while a kernel comes by another one, dnsmasq with `more` arguments, whose
/// address and pool are others; `lost` sees how the lease ends.
fn comes_from_another_address(
    name: &'static str,
    more: &'static str,
    lost: impl FnOnce(&mut Machine, &Server) + Send + 'static,
) {
    in_new_namespace(move || {
        let far = Far::plug_in();
        let other = far.beside(9);
        let first = dhcpd(&far, TEN_SECONDS);
        let served = Served::new(name);
        let _http = nginx(&far, &served.folder);
        let mut machine = boots_slowly(&far, &served);
        machine.says(&["eth0: 192.0.2.100/24 from 192.0.2.1 for 10 s"]);
        let granted = first.count("DHCPACK on 192.0.2.100");
        let renewals = || first.count("DHCPACK on 192.0.2.100") - granted;
        wait_until("it is renewed twice", || renewals() >= 2);
        drop(first);
        let range = "--dhcp-range=192.0.2.150,192.0.2.150,255.255.255.0,1h";
        let command = format!("{DNSMASQ} {range} --dhcp-option=3,192.0.2.1 {more}");
        let second = other.serve(&command, "DHCP, IP range");
        machine.says(&["eth0: no server extends the lease"]);
        lost(&mut machine, &second);
        machine.says(&[
            "eth0: 192.0.2.150/24 from 192.0.2.9 for 3600 s",
            "the command line names 192.0.2.100, which is no longer this machine's address",
            "wireboot: starting",
        ]);
        assert_eq!(second.count("DHCPACK(far) 192.0.2.150"), 1);
        // It went on where it stood.
        let log = std::fs::read_to_string(far.folder.join("access.log")).unwrap();
        let kernel = log.lines().filter(|line| line.contains("GET /vmlinuz"));
        let kernel: Vec<_> = kernel.collect();
        assert!(
            kernel.iter().any(|line| line.contains("\" 206 ")),
            "{kernel:#?}"
        );
        greets(machine);
    });
}

/// Switches on a machine whose kernel takes [`FETCH_SECONDS`], and whose next one is told its address.
fn boots_slowly(far: &Far, served: &Served) -> Machine {
    let script = "#!ipxe\nkernel vmlinuz console=ttyS0 quiet panic=-1 word=quince from=${ip}\n\
                  initrd greeting\nboot\n";
    served.put("script", script);
    let kernel = std::fs::metadata(served.folder.join("vmlinuz")).unwrap();
    let rate = kernel.len() * 8 / FETCH_SECONDS;
    far.run(&format!(
        "tc qdisc add dev far root tbf rate {rate}bit burst 8kb latency 400ms"
    ));
    Setup::new("ip=dhcp wireboot.boot-file=http://192.0.2.1/script")
        .on_tap(&["near"])
        .start()
}

/// Waits for what the fetched kernel says.
fn greets(mut machine: Machine) {
    machine.says(&["Greetings from the second kernel.", "word=quince"]);
    machine.ends();
}
