//! Bonds and VLANs of an emulated machine, and LACP on a single card. The switch is a second machine by
//! Debian's kernel, whose ports are the other ends of the cables.

use std::net::{Ipv4Addr, UdpSocket};

use crate::common::machine::{Machine, Served, Setup, shell};

/// What the switch grants.
const LEASE: &str = "192.0.2.20/24 from 192.0.2.1";

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_bond_with_lacp_is_made_and_booted_over_with_a_vlan_on_it() {
    let cables = cables(2);
    let lan = "ip link add link bond0 name lan type vlan id 7";
    let mut switch = Switch::with_lacp(&cables, lan);
    switch.machine.says(&["the switch is ready"]);
    let words = "bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast:1400 vlan=bond0.7:bond0";
    let own = Served::empty("lacp");
    let archive = own.archive_with_shell("");
    let mut machine = plugged(
        &format!(
            "{words} wireboot.timeout=180 wireboot.stop-after=lease wireboot.on-failure=shell \
             WIREBOOT_LOG=debug"
        ),
        &cables,
    )
    .initramfs(&archive)
    .start();
    switch
        .machine
        .says(&["ports: 2, partner: 52:54:00:00:00:00"]);
    machine.says(&[
        "bond0.7: LACP has found a partner",
        &format!("bond0.7: {LEASE}"),
    ]);
    machine.says(&["starting /bin/busybox"]);
    machine.types("cat /sys/class/net/bond0/bonding/slaves /sys/class/net/bond0/mtu\n");
    machine.says(&["eth0 eth1", "1400"]);
    // The module makes none by itself.
    machine.types("for link in /sys/class/net/*; do echo is-there-${link##*/}; done\n");
    machine.says(&["is-there-bond0"]);
    machine.says_next("is-there-bond0.7");
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_single_card_is_answered_by_a_port_that_waits_for_lacp() {
    let cables = cables(1);
    let mut switch = Switch::with_lacp(&cables, "");
    switch.machine.says(&["the switch is ready"]);
    let words =
        "ip=dhcp wireboot.timeout=180 wireboot.stop-after=lease wireboot.on-failure=poweroff";
    let mut machine = plugged(words, &cables).start();
    switch
        .machine
        .says(&["ports: 1, partner: 52:54:00:00:00:00"]);
    machine.says(&[
        "LACP is up, and the port forwards",
        &format!("eth0: {LEASE}"),
        "Power down",
    ]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn of_an_active_backup_bond_the_card_with_a_carrier_is_used() {
    let cables = cables(2);
    let mut switch = Switch::with_bridge(&cables);
    switch.machine.says(&["the switch is ready"]);
    let words = "wireboot.bond=bond0:eth0,eth1:mode=active-backup,primary=eth0 \
                 wireboot.stop-after=lease wireboot.on-failure=poweroff";
    let mut machine = plugged(words, &cables).with("-S").start();
    machine.monitor("set_link card0 off");
    machine.monitor("cont");
    machine.says(&[&format!("bond0: {LEASE}"), "Power down"]);
}

#[test]
#[ignore = "needs qemu-system-x86_64"]
fn a_bond_on_which_nobody_answers_is_taken_apart_again() {
    let own = Served::empty("silent-bond");
    let archive = own.archive_with_shell("");
    let words = "bond=bond0:eth0,eth1:mode=802.3ad vlan=try:7 wireboot.timeout=3 \
                 wireboot.on-failure=shell WIREBOOT_LOG=debug";
    let mut machine = plugged(words, &cables(2)).initramfs(&archive).start();
    machine.says(&[
        "trying bond0.7",
        "bond0.7: no lease",
        "starting /bin/busybox",
    ]);
    machine.types("for link in /sys/class/net/*; do echo is-there-${link##*/}; done\n");
    machine.says(&["is-there-eth0"]);
    machine.says_next("is-there-eth1");
    machine.says_next("is-there-lo");
    machine.types("for eth in eth0 eth1; do read up </sys/class/net/$eth/flags; read mac </sys/class/net/$eth/address; echo is-$up-$mac; done\n");
    machine.says(&["is-0x1002-52:54:00:00:00:00"]);
    machine.says_next("is-0x1002-52:54:00:00:00:01");
}

/// A machine on the near ends of the cables.
fn plugged(words: &str, cables: &[(u16, u16)]) -> Setup {
    let mut setup = Setup::new(words);
    for (place, (near, far)) in cables.iter().enumerate() {
        setup = setup.with(&card(place, (*near, *far), "52:54:00:00:00"));
    }
    setup
}

/// A card with a speed, without which the kernel takes it for one without a carrier in LACP.
fn card(place: usize, (ours, theirs): (u16, u16), oui: &str) -> String {
    format!(
        "-netdev socket,id=net{place},udp=127.0.0.1:{theirs},localaddr=127.0.0.1:{ours}
        -device virtio-net-pci,id=card{place},netdev=net{place},mac={oui}:{place:02x},speed=1000,duplex=full"
    )
}

/// Returns the UDP ports of both ends of cables, which QEMU takes over when they are closed.
fn cables(count: usize) -> Vec<(u16, u16)> {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let sockets: Vec<_> = (0..count).map(|_| (bind(), bind())).collect();
    let port = |socket: &UdpSocket| socket.local_addr().expect("it is bound").port();
    let ports = sockets.iter().map(|(near, far)| (port(near), port(far)));
    ports.collect()
}

/// A machine with one port for each cable, and a DHCP server.
struct Switch {
    machine: Machine,
    /// Goes with the machine, which may not have read it yet.
    _files: Served,
}

impl Switch {
    /// Its ports are a link aggregation group, and its server begins once they have a partner; it serves
    /// on the interface `lan` if `lan` makes one.
    fn with_lacp(cables: &[(u16, u16)], lan: &str) -> Self {
        let ports = cables.len();
        let script = format!(
            "modprobe bonding max_bonds=0
            ip link add bond0 type bond
            cd /sys/class/net/bond0/bonding
            echo 802.3ad >mode; echo 100 >miimon; echo fast >lacp_rate
            for eth in /sys/class/net/eth*; do echo +${{eth##*/}} >slaves; done
            ip link set bond0 up
            {lan}
            [ -e /sys/class/net/lan ] && lan=lan || lan=bond0
            echo the switch is ready
            seconds=0
            while sleep 1; do
                read count <ad_num_ports
                read partner <ad_partner_mac
                [ $count = {ports} ] && [ $partner != 00:00:00:00:00:00 ] && break
                # A port that comes up sends LACPDUs each second, but after three only each half minute.
                seconds=$((seconds + 1))
                [ $((seconds % 6)) != 0 ] || for eth in /sys/class/net/eth*; do
                    ip link set ${{eth##*/}} down
                    ip link set ${{eth##*/}} up
                done
            done
            echo ports: $count, partner: $partner
            serve $lan"
        );
        Self::new(cables, &script)
    }

    /// Its ports are those of a bridge.
    fn with_bridge(cables: &[(u16, u16)]) -> Self {
        Self::new(
            cables,
            "ip link add lan type bridge
            for eth in /sys/class/net/eth*; do
                ip link set ${eth##*/} master lan
                ip link set ${eth##*/} up
            done
            ip link set lan up
            echo the switch is ready
            serve lan",
        )
    }

    fn new(cables: &[(u16, u16)], script: &str) -> Self {
        let (first, _) = cables[0];
        let files = Served::empty(&format!("switch-{first}"));
        files.put(
            "init",
            format!(
                "#!/bin/busybox sh
                export PATH=/bin
                /bin/busybox --install -s /bin
                mount -t proc proc /proc
                mount -t sysfs sysfs /sys
                mount -t devtmpfs devtmpfs /dev
                serve() {{
                    ip addr add 192.0.2.1/24 dev $1
                    ip link set $1 up
                    printf 'start 192.0.2.20\\nend 192.0.2.20\\nlease_file /tmp/leases\\n' >/tmp/conf
                    printf 'interface %s\\noption subnet 255.255.255.0\\n' $1 >>/tmp/conf
                    touch /tmp/leases
                    udhcpd -f /tmp/conf
                }}
                for module in virtio_pci virtio_net 8021q bridge; do modprobe $module; done
                {script}
                sleep 1000"
            ),
        );
        let archive = files.folder.join("switch");
        shell(&format!(
            "\"$root/initramfs/build\" --init {} --modules 'virtio_pci virtio_net bonding 8021q bridge' \
             --add \"$(debian_package busybox-static)/bin/busybox=bin/busybox\" --output {}",
            files.folder.join("init").display(),
            archive.display()
        ));
        let mut setup = Setup::new("").initramfs(&archive);
        for (place, (near, far)) in cables.iter().enumerate() {
            setup = setup.with(&card(place, (*far, *near), "52:54:00:00:01"));
        }
        Self {
            machine: setup.start(),
            _files: files,
        }
    }
}
