//! The first process of an emulated machine, by Debian's own kernels: which cards it finds, and
//! when. The servers are QEMU's built-in ones, but behind a port that forwards late.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;

use crate::common::far::Far;
use crate::common::machine::{CARD, Machine, Served, Setup, shell};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip};

const LEASE: &str = "10.0.2.15/24 from 10.0.2.2";
const NETWORK: &str = "-netdev user,id=net";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_card_that_is_plugged_in_late_gets_its_driver_and_a_lease() {
    let mut machine = start(NETWORK, "ip=dhcp");
    machine.says(&["waiting up to 30 s for a network interface to appear"]);
    machine.monitor(&format!("device_add {CARD}"));
    machine.says(&[LEASE, "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_carrier_that_comes_late_is_waited_for() {
    let devices = format!("{NETWORK} -device {CARD} -S");
    let mut machine = start(&devices, "ip=dhcp");
    machine.monitor("set_link card off");
    machine.monitor("cont");
    machine.says(&["eth0: up"]);
    machine.monitor("set_link card on");
    machine.says(&[LEASE, "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn of_two_cards_the_one_with_an_answer_wins() {
    let devices = format!(
        "-netdev hubport,id=silent,hubid=7 -device virtio-net-pci,netdev=silent \
         {NETWORK} -device {CARD}"
    );
    let mut machine = start(&devices, "ip=dhcp");
    machine.says(&[&format!("eth1: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_port_that_forwards_late_is_told_of_and_asked_through_until_it_does() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let setup = until_lease("ip=dhcp").on_tap(&["near"]);
        // Each half of the time until a port forwards, in hundredths of a second.
        ip("link set bridge0 type bridge stp_state 1 forward_delay 750");
        ip("link set tap0 down");
        let mut machine = setup.start();
        machine.says(&["eth0: up"]);
        ip("link set tap0 up");
        machine.says(&["the port is in STP listening, about 1"]);
        machine.says(&["the port is in STP learning", "the port forwards now"]);
        machine.says(&["192.0.2.100/24 from 192.0.2.1", "Power down"]);
        let said = machine.ends();
        let place = |text: &str| said.find(text).expect("it was said");
        let blocked = place("STP listening")..place("the port forwards now");
        let discovers = said[blocked].matches("DISCOVER to").count();
        // Without knowing of the port it would be seven.
        assert!(discovers > 15, "{discovers}:\n{said}");
    });
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn modules_that_the_kernel_does_not_unpack_are_unpacked_or_told_of() {
    for (packer, suffix) in [
        ("gzip", "gz"),
        ("zstd -q --rm", "zst"),
        ("xz --check=crc32", "xz"),
    ] {
        let own = Served::empty(suffix);
        let mut machine = start_packed(&own, packer, suffix);
        machine.says(&[&format!("virtio_net.ko.{suffix}"), LEASE, "Power down"]);
    }
    let own = Served::empty("sha256");
    let mut machine = start_packed(&own, "xz --check=sha256", "xz");
    machine.says(&[
        "virtio_pci.ko.xz: neither the kernel nor wireboot can decompress it: its xz check",
        "no usable network interface",
        "Power down",
    ]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_card_of_bootif_is_the_one_that_is_used() {
    let devices = format!(
        "-netdev user,id=other -device virtio-net-pci,netdev=other,mac=52:54:00:12:34:57 \
         {NETWORK} -device {CARD}"
    );
    let words = "BOOTIF=01-52-54-00-12-34-56 wireboot.typo=1";
    let mut machine = start(&devices, words);
    machine.says(&["\"wireboot.typo=1\" on the kernel command line is ignored"]);
    machine.says(&[&format!("eth1: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn the_account_has_the_moments_of_process_1_by_the_clock_of_the_kernel() {
    let own = Served::empty("account");
    let archive = own.archive_with_shell("");
    let words = "ip=dhcp wireboot.stop-after=lease wireboot.on-failure=shell";
    let devices = format!("{NETWORK} -device {CARD}");
    let setup = Setup::new(words).initramfs(&archive).with(&devices);
    let mut machine = setup.start();
    machine.says(&["starting /bin/busybox"]);
    machine.types("/init account\n");
    let modules = [
        "module virtio_pci",
        "module net_failover",
        "module virtio_net",
    ];
    machine.says(&["process 1 begins"]);
    machine.says(&modules);
    machine.says(&["wireboot begins", "DISCOVER", "ACK"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_tagged_vlan_is_made_and_booted_over() {
    let devices = card_on_vlan(7);
    let mut machine = start(&devices, "vlan=lan7:eth0");
    machine.says(&[&format!("lan7: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_tagged_vlan_gives_an_address_of_ipv6() {
    let devices = card_on_vlan(7);
    let mut machine = start(&devices, "vlan=lan7:eth0 wireboot.family=6");
    // QEMU's own router advertises fec0::/64.
    machine.says(&["lan7: fec0::5054:ff:fe12:3456/64 in a prefix of a router"]);
    machine.says(&["Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn of_the_vlans_to_try_the_one_that_answers_stays_and_the_others_go() {
    let devices = card_on_vlan(7);
    let own = Served::empty("try");
    let archive = own.archive_with_shell("");
    let words = "vlan=try:5,7 wireboot.stop-after=lease wireboot.on-failure=shell";
    let setup = Setup::new(words).initramfs(&archive).with(&devices);
    let mut machine = setup.start();
    machine.says(&["trying eth0.5 eth0.7", &format!("eth0.7: {LEASE}")]);
    machine.says(&["starting /bin/busybox"]);
    machine.types("for link in /sys/class/net/*; do echo is-there-${link##*/}; done\n");
    machine.says(&["is-there-eth0"]);
    machine.says_next("is-there-eth0.7");
    machine.says_next("is-there-lo");
    machine.types("read up </sys/class/net/eth0.7/carrier; echo carrier-$up\n");
    machine.says(&["carrier-1"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn an_answer_without_a_tag_leaves_the_vlans_untried() {
    let devices = format!("{NETWORK} -device {CARD}");
    let mut machine = start(&devices, "vlan=try:5,7");
    machine.says(&[&format!("eth0: {LEASE}"), "Power down"]);
    assert!(!machine.ends().contains("trying"));
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_vlan_on_which_nobody_answers_is_taken_away_again() {
    let own = Served::empty("silent");
    let archive = own.archive_with_shell("");
    let words = "vlan=lan7:eth0 wireboot.timeout=2 wireboot.on-failure=shell WIREBOOT_LOG=debug";
    let devices = format!("-netdev hubport,id=net,hubid=7 -device {CARD}");
    let setup = Setup::new(words).initramfs(&archive).with(&devices);
    let mut machine = setup.start();
    machine.says(&["lan7: carrier", "lan7: no lease", "starting /bin/busybox"]);
    machine.types("for link in /sys/class/net/*; do echo is-there-${link##*/}; done\n");
    machine.says(&["is-there-eth0"]);
    // They are in the order of their names.
    machine.says_next("is-there-lo");
    machine.types("read up </sys/class/net/eth0/flags; echo flags-$up\n");
    machine.says(&["flags-0x1002"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn without_any_card_the_end_says_so_and_the_first_process_lives_on() {
    let mut machine = start("", "wireboot.link-timeout=1");
    machine.says(&["no usable network interface: none appeared within 1.0 s; found lo"]);
    machine.says(&["boot failed", "Power down"]);
}

/// Starts a machine with the QEMU arguments `devices`, which stops after the lease.
fn start(devices: &str, words: &str) -> Machine {
    until_lease(words).with(devices).start()
}

/// A machine that is switched off after the lease, or without one.
fn until_lease(words: &str) -> Setup {
    Setup::new(&format!(
        "{words} wireboot.stop-after=lease wireboot.on-failure=poweroff WIREBOOT_LOG=debug"
    ))
}

/// Starts a machine whose modules are packed, each by itself.
fn start_packed(own: &Served, packer: &str, suffix: &str) -> Machine {
    let archive = own.folder.join("initramfs");
    shell(&format!(
        "plain=$(\"$root/initramfs/build\" --modules 'virtio_pci virtio_net' --output {archive}.plain)
        mkdir {archive}.stage
        cd {archive}.stage
        zcat $plain | cpio -id --quiet
        find lib/modules -name '*.ko' -exec {packer} {{}} +
        sed -i 's/\\.ko/.ko.{suffix}/g' lib/modules/*/modules.dep
        find . | cpio -o -H newc --quiet | gzip >{archive}",
        archive = archive.display()
    ));
    let setup = until_lease("ip=dhcp wireboot.link-timeout=5").initramfs(&archive);
    setup.with(&format!("{NETWORK} -device {CARD}")).start()
}

/// Returns QEMU's devices of a card on a port where its own network has the VLAN with this identifier.
fn card_on_vlan(id: u16) -> String {
    let (machine_port, network_port) = trunk(id);
    format!(
        "-netdev socket,id=net,{machine_port} -device {CARD}
        -netdev user,id=server -netdev hubport,id=one,hubid=1,netdev=server
        -netdev socket,id=trunk,{network_port} -netdev hubport,id=two,hubid=1,netdev=trunk"
    )
}

/// A switch with a trunk port to the machine, on which only VLAN `id` is carried, and an access port
/// to the network of its servers; returns where QEMU finds each. It lasts as long as the test
/// program.
fn trunk(id: u16) -> (String, String) {
    let tag = [[0x81, 0x00], id.to_be_bytes()].concat();
    let [trunk, access] = [(); 2].map(|()| Port::open());
    let found = (trunk.for_qemu(), access.for_qemu());
    let others = (trunk.clone(), access.clone());
    let expected = tag.clone();
    thread::spawn(move || {
        trunk.forward(&access, |mut frame| {
            let is_ours = frame.get(12..16) == Some(&expected[..]);
            is_ours.then(|| frame.drain(12..16).count());
            is_ours.then_some(frame)
        });
    });
    thread::spawn(move || {
        let (trunk, access) = others;
        access.forward(&trunk, |mut frame| {
            frame.splice(12..12, tag.iter().copied());
            Some(frame)
        });
    });
    found
}

/// A socket that a card of QEMU speaks to, a frame in each datagram.
#[derive(Clone)]
struct Port {
    socket: Arc<UdpSocket>,
    card: SocketAddr,
}

impl Port {
    fn open() -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        // QEMU takes over the port of a socket that is closed.
        let card = bind().local_addr().expect("it is bound");
        let socket = Arc::new(bind());
        Self { socket, card }
    }

    fn for_qemu(&self) -> String {
        let ours = self.socket.local_addr().expect("it is bound");
        format!("udp={ours},localaddr={}", self.card)
    }

    /// Sends what comes to this port to `other`, changed.
    fn forward(&self, other: &Self, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) {
        let mut buf = [0; 2048];
        loop {
            // QEMU, which is not there yet, or no longer, is no error.
            let Ok(len) = self.socket.recv(&mut buf) else {
                continue;
            };
            let frame = buf.get(..len).filter(|frame| frame.len() >= 14);
            if let Some(frame) = frame.and_then(|frame| change(frame.to_vec())) {
                let _ = other.socket.send_to(&frame, other.card);
            }
        }
    }
}
