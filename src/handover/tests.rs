#[cfg(feature = "bond")]
use super::below::{below_keyfiles, below_units};
use super::initramfs::NIS_DOMAIN;
use super::resolv_conf::{BEGIN, END, RESOLV_CONF, resolv_conf, resolvers};
use super::*;
use crate::config::MadeOf;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wireboot_proto::dhcp::lease::{LeaseTimes, StaticRoute};
use wireboot_proto::packet::dhcp::Message;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::{Options, code};

#[test]
fn resolvers_go_in_front_and_the_lines_of_others_stay() {
    let others = "# by hand\nnameserver 198.51.100.53\noptions edns0\n";
    let own = resolvers(&lease());
    let first = resolv_conf(others, Some(&own));
    assert_eq!(
        first,
        format!(
            "{BEGIN}\nsearch boot.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n{END}\n\
             {others}"
        )
    );
    assert_eq!(resolv_conf(&first, Some(&own)), first);
    assert_eq!(resolv_conf(&first, None), others);
}

#[test]
fn klibc_finds_every_variable_it_knows() {
    assert_eq!(
        net_conf("eth0", &lease(), 7),
        "DEVICE='eth0'\nPROTO='dhcp'\nIPV4ADDR='192.0.2.10'\nIPV4BROADCAST='192.0.2.255'\n\
         IPV4NETMASK='255.255.255.0'\nIPV4GATEWAY='192.0.2.1'\nIPV4DNS0='192.0.2.53'\n\
         IPV4DNS1='192.0.2.54'\nHOSTNAME='client'\nDNSDOMAIN='boot.example'\nNISDOMAIN=''\n\
         ROOTSERVER='192.0.2.2'\nROOTPATH='/srv/root'\nfilename='menu.ipxe'\nUPTIME='7'\n\
         DHCPLEASETIME='3600'\nDOMAINSEARCH='boot.example'\n"
    );
}

#[test]
fn nothing_from_the_network_is_run_by_the_shell_that_reads_it() {
    let hostile = Lease {
        boot_file: Some("a'; touch /tmp/x; '$(id)`id`\nPATH=/tmp".to_owned()),
        ..lease()
    };
    let text = net_conf("eth0", &hostile, 7);
    let script = format!("{text}printf %s \"$filename\"");
    let shell = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let read = String::from_utf8(shell.stdout).unwrap();
    assert_eq!(read, "a'; touch /tmp/x; '$(id)`id`PATH=/tmp");
}

#[test]
fn names_and_paths_that_are_none_are_left_out() {
    let mut hostile = lease();
    hostile.options.set(code::ROOT_PATH, *b"/srv\nPATH=/tmp");
    hostile.options.set(NIS_DOMAIN, *b"$(reboot)");
    let text = net_conf("eth0", &hostile, 7);
    assert!(
        text.contains("ROOTPATH=''\n") && text.contains("NISDOMAIN=''\n"),
        "{text}"
    );
    hostile.options.set(NIS_DOMAIN, *b"nis.example");
    assert!(net_conf("eth0", &hostile, 7).contains("NISDOMAIN='nis.example'\n"));
}

#[test]
fn a_search_list_with_lines_in_it_adds_no_resolver() {
    let mut options = Options::default();
    options.set(
        119,
        *b"\x15a\nnameserver 6.6.6.6 \x00\x03eng\x07example\x00",
    );
    let lease = Lease::read(
        &Message::reply(Ipv4Addr::new(192, 0, 2, 10), options),
        Ipv4Addr::new(192, 0, 2, 1),
    );
    assert_eq!(lease.search, ["eng.example"]);
    assert_eq!(
        lease
            .ignored
            .iter()
            .filter(|(code, _)| *code == 119)
            .count(),
        1
    );
    let text = resolv_conf("", Some(&resolvers(&lease)));
    assert_eq!(text, format!("{BEGIN}\nsearch eng.example\n{END}\n"));
}

#[test]
fn a_later_lease_without_resolvers_takes_the_lines_away_and_the_mode_stays() {
    use std::os::unix::fs::PermissionsExt;
    let root = Directory::new("later");
    fs::create_dir(root.0.join("etc")).unwrap();
    let path = root.0.join(RESOLV_CONF);
    fs::write(&path, "nameserver 198.51.100.53\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    write_files(
        &FileLocations::below(&root.0),
        &HOLDER,
        &lease(),
        HandOver::default(),
    );
    let bare = Lease {
        dns: Vec::new(),
        domain: None,
        ..lease()
    };
    write_files(
        &FileLocations::below(&root.0),
        &HOLDER,
        &bare,
        HandOver::default(),
    );
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "nameserver 198.51.100.53\n"
    );
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn files_are_written_whole_and_taken_back_without_a_trace() {
    let root = Directory::new("whole");
    write_files(&FileLocations::below(&root.0), &HOLDER, &lease(), EVERYONE);
    let resolv_conf = fs::read_to_string(root.0.join(RESOLV_CONF)).unwrap();
    assert!(resolv_conf.contains("nameserver 192.0.2.53\n"));
    assert!(root.0.join("run/net-eth0.conf").exists());
    let keyfile = "run/NetworkManager/system-connections/wireboot-eth0.nmconnection";
    let mode = fs::metadata(root.0.join(keyfile)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let mut left = Vec::new();
    files_below(&root.0.join("run"), &mut left);
    files_below(&root.0.join("tmp"), &mut left);
    assert_eq!(left.len(), 10, "{left:?}");
    let place = FileLocations::below(&root.0);
    EarlierFiles::none(&place, &HOLDER).restore(&place);
    assert_eq!(fs::read_to_string(root.0.join(RESOLV_CONF)).unwrap(), "");
    let mut left = Vec::new();
    files_below(&root.0, &mut left);
    assert_eq!(left, [root.0.join(RESOLV_CONF)]);
}

#[test]
fn resolvers_are_put_back_to_the_last_byte_unless_others_have_changed_them() {
    let root = Directory::new("bytes");
    let path = root.0.join(RESOLV_CONF);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let boots = || {
        let earlier = EarlierFiles::none(&FileLocations::below(&root.0), &HOLDER)
            .read(&FileLocations::below(&root.0));
        write_files(
            &FileLocations::below(&root.0),
            &HOLDER,
            &lease(),
            HandOver::default(),
        );
        assert!(fs::read_to_string(&path).unwrap().contains("192.0.2.53"));
        earlier
    };
    boots().restore(&FileLocations::below(&root.0));
    assert!(!path.exists());
    // Without an end of the last line, and with one of another system.
    let text = "nameserver 192.0.2.9\r\noptions edns0";
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    boots().restore(&FileLocations::below(&root.0));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let earlier = boots();
    let changed = fs::read_to_string(&path)
        .unwrap()
        .replace("192.0.2.9", "192.0.2.8");
    fs::write(&path, changed).unwrap();
    earlier.restore(&FileLocations::below(&root.0));
    let left = fs::read_to_string(&path).unwrap();
    assert_eq!(left, "nameserver 192.0.2.8\noptions edns0\n");
}

#[test]
fn what_another_client_wrote_is_put_back_as_it_was() {
    let root = Directory::new("earlier");
    let write = |name: &str, text: &str| {
        let path = root.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let resolvers = format!("{BEGIN}\nnameserver 203.0.113.53\n{END}\nnameserver 192.0.2.9\n");
    write(RESOLV_CONF, &resolvers);
    let klibc = "DEVICE='eth0'\nPROTO='dhcp'\nIPV4ADDR='203.0.113.7'\nIPV4BROADCAST='0.0.0.0'\n";
    write("run/net-eth0.conf", klibc);
    write("tmp/net.eth0.up", "");
    // Of somebody who waits for a reader, or for a mistake.
    let fifo = root.0.join("tmp/net.eth0.gw");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let place = FileLocations::below(&root.0);
    let earlier = EarlierFiles::none(&place, &HOLDER).read(&place);
    assert_eq!(earlier.address(), Some(Ipv4Addr::new(203, 0, 113, 7)));
    write_files(&place, &HOLDER, &lease(), EVERYONE);
    let own = EarlierFiles::none(&place, &HOLDER).read(&place);
    assert_eq!(own.address(), Some(Ipv4Addr::new(192, 0, 2, 10)));
    earlier.restore(&place);
    let mut left = Vec::new();
    files_below(&root.0, &mut left);
    left.sort();
    let expected = [RESOLV_CONF, "run/net-eth0.conf", "tmp/net.eth0.up"];
    assert_eq!(left, expected.map(|name| root.0.join(name)));
    for (name, text) in expected.into_iter().zip([&*resolvers, klibc, ""]) {
        assert_eq!(fs::read_to_string(root.0.join(name)).unwrap(), text);
    }
    // Without the quotes, as a person may write it; and of no address.
    write("run/net-eth0.conf", "IPV4ADDR=192.0.2.3\n");
    let address = || EarlierFiles::none(&place, &HOLDER).read(&place).address();
    assert_eq!(address(), Some(Ipv4Addr::new(192, 0, 2, 3)));
    for text in ["IPV4ADDR=''\n", "", "\u{ff}"] {
        write("run/net-eth0.conf", text);
        assert_eq!(address(), None);
    }
}

#[test]
fn dracut_finds_its_marks_and_the_variables_of_dhclient() {
    let files = dracut_files("eth0", &lease());
    let content = |name: &str| {
        let file = files.iter().find(|file| file.0 == name);
        &file.unwrap_or_else(|| panic!("no {name} in {files:?}")).1
    };
    assert_eq!(
        content("tmp/dhclient.eth0.dhcpopts"),
        "new_ip_address='192.0.2.10'\nnew_subnet_mask='255.255.255.0'\n\
         new_routers='192.0.2.1'\nnew_domain_name_servers='192.0.2.53 192.0.2.54'\n\
         new_domain_name='boot.example'\nnew_host_name='client'\nnew_root_path='/srv/root'\n\
         new_next_server='192.0.2.2'\nnew_filename='menu.ipxe'\n\
         new_dhcp_server_identifier='192.0.2.1'\nnew_dhcp_lease_time='3600'\n\
         new_dhcp_renewal_time='1800'\nnew_dhcp_rebinding_time='3150'\n"
    );
    let gateway = "ip route replace default via '192.0.2.1' dev 'eth0'\n";
    assert_eq!(content("tmp/net.eth0.gw"), gateway);
    assert_eq!(files.last().unwrap().0, "tmp/net.eth0.did-setup");
}

#[test]
fn networkd_is_told_who_asked_for_the_lease() {
    assert_eq!(
        networkd_unit(&HOLDER, &lease()).unwrap(),
        "[Match]\nMACAddress=52:54:00:12:34:56\nType=ether\n\n\
         [Network]\nKeepConfiguration=yes\nDHCP=ipv4\n\n[DHCPv4]\nClientIdentifier=mac\n"
    );
    let by_duid = HandOverIdentity {
        client_id: &[255, 0, 0, 0, 7, 0, 4, 0xab, 0xcd],
        ..HOLDER
    };
    let unit = networkd_unit(&by_duid, &lease()).unwrap();
    let expected = "ClientIdentifier=duid\nIAID=7\nDUIDType=uuid\nDUIDRawData=ab:cd\n";
    assert!(unit.ends_with(expected), "{unit}");
    let by_name = HandOverIdentity {
        client_id: b"\0name",
        ..HOLDER
    };
    assert!(networkd_unit(&by_name, &lease()).is_err());
}

#[test]
fn an_address_without_dhcp_is_handed_over_as_it_is() {
    let given = crate::config::StaticConfig {
        address: Some((Ipv4Addr::new(192, 0, 2, 10), 24)),
        routes: vec![
            (Ipv4Addr::UNSPECIFIED, 0, Some(Ipv4Addr::new(192, 0, 2, 1))),
            (Ipv4Addr::new(198, 51, 100, 0), 24, None),
        ],
        dns: vec![Ipv4Addr::new(192, 0, 2, 53)],
        ..crate::config::StaticConfig::default()
    };
    let lease = Lease::without_dhcp(&given).unwrap();
    let holder = HandOverIdentity {
        client_id: &[],
        ..HOLDER
    };
    let unit = networkd_unit(&holder, &lease).unwrap();
    let expected = "[Network]\nKeepConfiguration=yes\nAddress=192.0.2.10/24\nDNS=192.0.2.53\n\n\
                    [StaticRoute]\nDestination=0.0.0.0/0\nGateway=192.0.2.1\n\n\
                    [StaticRoute]\nDestination=198.51.100.0/24\n";
    assert!(unit.ends_with(expected), "{unit}");
    let keyfile = keyfile(&holder, &lease);
    let expected = "[ipv4]\nmethod=manual\naddress1=192.0.2.10/24,192.0.2.1\n\
                    route1=198.51.100.0/24\ndns=192.0.2.53;\nmay-fail=false\n";
    assert!(keyfile.ends_with(expected), "{keyfile}");
    assert!(net_conf("eth0", &lease, 7).contains("PROTO='none'\n"));
}

#[test]
fn network_manager_is_told_who_asked_for_the_lease() {
    assert_eq!(
        keyfile(&HOLDER, &lease()),
        "[connection]\nid=wireboot-eth0\nuuid=77697265-626f-8f74-8000-525400123456\n\
         type=ethernet\n\n[ethernet]\nmac-address=52:54:00:12:34:56\n\n\
         [ipv4]\nmethod=auto\ndhcp-client-id=01:52:54:00:12:34:56\nmay-fail=false\n"
    );
    // And that it is in use.
    let root = Directory::new("in-use");
    let place = FileLocations::below(&root.0);
    write_files(&place, &HOLDER, &lease(), EVERYONE);
    let state = root.0.join("run/NetworkManager/devices/7");
    assert_eq!(
        fs::read_to_string(&state).unwrap(),
        "[device]\nmanaged=1\nconnection-uuid=77697265-626f-8f74-8000-525400123456\n"
    );
    EarlierFiles::none(&place, &HOLDER).restore(&place);
    assert!(!state.exists());
}

#[test]
#[cfg(feature = "bond")]
fn a_vlan_on_a_bond_is_made_by_whoever_takes_over() {
    let made_of = bonded(Some("bond0.7:bond0"));
    let holder = HandOverIdentity {
        interface: "bond0.7",
        made_of: &made_of,
        ..HOLDER
    };
    let root = Directory::new("below");
    write_files(&FileLocations::below(&root.0), &holder, &lease(), EVERYONE);
    let read = |name: &str| fs::read_to_string(root.0.join(name)).unwrap_or_default();
    for (name, expected) in [
        (
            "bond0.7.network",
            "[Match]\nName=bond0.7\n\n[Network]\nKeepConfiguration=yes\nDHCP=ipv4",
        ),
        (
            "bond0.7.netdev",
            "[NetDev]\nName=bond0.7\nKind=vlan\n\n[VLAN]\nId=7\n",
        ),
        (
            "bond0.network",
            "[Match]\nName=bond0\n\n[Network]\nVLAN=bond0.7\n",
        ),
        (
            "bond0.netdev",
            "[NetDev]\nName=bond0\nKind=bond\nMTUBytes=9000\n\n\
             [Bond]\nMode=802.3ad\nLACPTransmitRate=fast\nMIIMonitorSec=100ms\n",
        ),
        (
            "bond0:members.network",
            "[Match]\nPermanentMACAddress=52:54:00:12:34:56 52:54:00:12:34:57\nType=ether\n\n\
             [Network]\nBond=bond0\n",
        ),
    ] {
        let text = read(&format!("run/systemd/network/05-wireboot-{name}"));
        assert!(text.starts_with(expected), "{name}: {text}");
    }
    for (name, expected) in [
        (
            "bond0.7",
            "type=vlan\ninterface-name=bond0.7\n\n[vlan]\nflags=1\nid=7\nparent=bond0\n\n\
             [ipv4]\nmethod=auto\n",
        ),
        (
            "bond0",
            "type=bond\ninterface-name=bond0\n\n\
             [bond]\nmode=802.3ad\nlacp_rate=fast\nmiimon=100\n\n[ethernet]\nmtu=9000\n\n\
             [ipv4]\nmethod=disabled\n",
        ),
        (
            "eth1",
            "type=ethernet\nmaster=bond0\nslave-type=bond\n\n\
             [ethernet]\nmac-address=52:54:00:12:34:57\n",
        ),
    ] {
        let folder = "run/NetworkManager/system-connections";
        let text = read(&format!("{folder}/wireboot-{name}.nmconnection"));
        assert!(text.contains(expected), "{name}: {text}");
    }
    let mut files = Vec::new();
    files_below(
        &root.0.join("run/NetworkManager/system-connections"),
        &mut files,
    );
    let uuid = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let uuid = text.lines().find(|line| line.starts_with("uuid="));
        uuid.unwrap().to_owned()
    };
    let mut uuids: Vec<_> = files.iter().map(uuid).collect();
    uuids.sort_unstable();
    uuids.dedup();
    assert_eq!((files.len(), uuids.len()), (4, 4), "{uuids:?}");
    EarlierFiles::none(&FileLocations::below(&root.0), &holder)
        .restore(&FileLocations::below(&root.0));
    let mut left = Vec::new();
    files_below(&root.0, &mut left);
    assert_eq!(left, [root.0.join(RESOLV_CONF)]);
}

#[test]
#[cfg(feature = "bond")]
fn a_bond_alone_has_the_address_and_a_vlan_on_a_card_leaves_the_card_to_itself() {
    let made_of = bonded(None);
    let holder = HandOverIdentity {
        interface: "bond0",
        made_of: &made_of,
        ..HOLDER
    };
    let unit = networkd_unit(&holder, &lease()).unwrap();
    assert!(
        unit.starts_with("[Match]\nName=bond0\n\n[Network]\nKeep"),
        "{unit}"
    );
    let text = keyfile(&holder, &lease());
    assert!(text.contains("type=bond\ninterface-name=bond0\n"), "{text}");
    assert_eq!(below_units(&holder).len(), 2);
    let made_of = MadeOf {
        vlan: "eth0.7:eth0".parse().ok(),
        ..MadeOf::default()
    };
    let holder = HandOverIdentity {
        interface: "eth0.7",
        made_of: &made_of,
        ..HOLDER
    };
    let units = below_units(&holder);
    let (name, parent) = units.last().unwrap();
    assert_eq!(name, "run/systemd/network/05-wireboot-eth0.network");
    let expected = "[Match]\nMACAddress=52:54:00:12:34:56\nType=ether\n\n[Network]\nVLAN=eth0.7\n";
    assert!(parent.starts_with(expected), "{parent}");
    let files = below_keyfiles(&holder);
    assert!(
        files[0]
            .1
            .contains("type=ethernet\n\n[ethernet]\nmac-address=52:54:00:12:34:56\n")
    );
}

/// What a VLAN on a bond, or a bond, is made of.
#[cfg(feature = "bond")]
fn bonded(vlan: Option<&str>) -> MadeOf {
    let member = |name: &str, last| {
        (
            name.to_owned(),
            MacAddress([0x52, 0x54, 0, 0x12, 0x34, last]),
        )
    };
    MadeOf {
        vlan: vlan.map(|vlan| vlan.parse().unwrap()),
        bond: "bond0:eth0,eth1:mode=4,lacp_rate=1:9000".parse().ok(),
        members: vec![member("eth0", 0x56), member("eth1", 0x57)],
    }
}

#[test]
fn a_link_in_the_place_of_the_file_is_left_to_who_made_it() {
    let root = Directory::new("link");
    fs::create_dir(root.0.join("etc")).unwrap();
    let path = root.0.join(RESOLV_CONF);
    std::os::unix::fs::symlink("../run/stub-resolv.conf", &path).unwrap();
    write_files(
        &FileLocations::below(&root.0),
        &HOLDER,
        &lease(),
        HandOver::default(),
    );
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(!root.0.join("run/stub-resolv.conf").exists());
}

const CARD: MadeOf = MadeOf {
    vlan: None,
    #[cfg(feature = "bond")]
    bond: None,
    #[cfg(feature = "bond")]
    members: Vec::new(),
};

const HOLDER: HandOverIdentity<'_> = HandOverIdentity {
    made_of: &CARD,
    interface: "eth0",
    index: 7,
    mac: MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
    client_id: &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
};

const EVERYONE: HandOver = HandOver {
    dracut: true,
    networkd: true,
    network_manager: true,
};

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, files),
            false => files.push(path),
        }
    }
}

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("wireboot-handover-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn lease() -> Lease {
    let mut options = Options::default();
    options.set(code::ROOT_PATH, "/srv/root");
    Lease {
        server: Some(Ipv4Addr::new(192, 0, 2, 1)),
        routes: vec![StaticRoute {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len: 0,
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
        }],
        dns: vec![Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)],
        domain: Some("boot.example".to_owned()),
        host_name: Some("client".to_owned()),
        next_server: Some(Ipv4Addr::new(192, 0, 2, 2)),
        boot_file: Some("menu.ipxe".to_owned()),
        times: Some(LeaseTimes {
            lease: Duration::from_secs(3600),
            renewal: Duration::from_secs(1800),
            rebinding: Duration::from_secs(3150),
        }),
        options,
        ..Lease::fixed(Ipv4Addr::new(192, 0, 2, 10), 24)
    }
}
