use super::*;
use crate::dhcp::lease::Route;
use crate::wire::dhcp::Message;
use crate::wire::option::Options;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn resolvers_go_in_front_and_the_lines_of_others_stay() {
    let others = "# by hand\nnameserver 198.51.100.53\noptions edns0\n";
    let first = resolv_conf(others, Some(&lease()));
    assert_eq!(
        first,
        format!(
            "{BEGIN}\nsearch boot.example\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n{END}\n\
             {others}"
        )
    );
    assert_eq!(resolv_conf(&first, Some(&lease())), first);
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
    hostile.options.set(ROOT_PATH, *b"/srv\nPATH=/tmp");
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
    let text = resolv_conf("", Some(&lease));
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
    write_files(&root.0, "eth0", &lease());
    let bare = Lease {
        dns: Vec::new(),
        domain: None,
        ..lease()
    };
    write_files(&root.0, "eth0", &bare);
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
    write_files(&root.0, "eth0", &lease());
    let resolv_conf = fs::read_to_string(root.0.join(RESOLV_CONF)).unwrap();
    assert!(resolv_conf.contains("nameserver 192.0.2.53\n"));
    assert!(root.0.join("run/net-eth0.conf").exists());
    remove_files(&root.0, "eth0");
    assert_eq!(fs::read_to_string(root.0.join(RESOLV_CONF)).unwrap(), "");
    assert_eq!(fs::read_dir(root.0.join("run")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.0.join("etc")).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_place_of_the_file_is_left_to_who_made_it() {
    let root = Directory::new("link");
    fs::create_dir(root.0.join("etc")).unwrap();
    let path = root.0.join(RESOLV_CONF);
    std::os::unix::fs::symlink("../run/stub-resolv.conf", &path).unwrap();
    write_files(&root.0, "eth0", &lease());
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(!root.0.join("run/stub-resolv.conf").exists());
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

fn lease() -> Lease {
    let mut options = Options::default();
    options.set(ROOT_PATH, "/srv/root");
    Lease {
        server: Ipv4Addr::new(192, 0, 2, 1),
        routes: vec![Route {
            destination: Ipv4Addr::UNSPECIFIED,
            prefix_len: 0,
            gateway: Some(Ipv4Addr::new(192, 0, 2, 1)),
        }],
        dns: vec![Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)],
        domain: Some("boot.example".to_owned()),
        host_name: Some("client".to_owned()),
        next_server: Some(Ipv4Addr::new(192, 0, 2, 2)),
        boot_file: Some("menu.ipxe".to_owned()),
        lease_time: Some(Duration::from_secs(3600)),
        renewal_time: Some(Duration::from_secs(1800)),
        rebinding_time: Some(Duration::from_secs(3150)),
        options,
        ..Lease::fixed(Ipv4Addr::new(192, 0, 2, 10), 24)
    }
}
