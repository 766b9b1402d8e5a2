//! The lease file: what a start makes of the one before, when the machine was restarted in between,
//! too; against a real server, each test in network namespaces of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::client::{addresses, is_configured, wireboot};
use crate::common::far::{Far, Server};
use crate::common::folder::Folder;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip, wait_until};

const MAC: &str = "02:00:5e:10:20:30";
const FILE: &str = "02:00:5e:10:20:30.lease";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn after_a_restart_the_same_address_is_asked_for_in_a_single_exchange() {
    let folder = Folder::new();
    let directory = folder.path("leases");
    let start = |seeks: bool| {
        let directory = directory.clone();
        // Another machine as far as the kernel remembers anything, with an empty /run.
        in_new_namespace(move || {
            let (_far, server) = network();
            lease_in(&directory);
            is_configured();
            assert_eq!(is_sought(&server), seeks);
        });
    };
    start(true);
    start(false);
    let names: Vec<_> = fs::read_dir(&directory).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_directory_that_the_administrator_has_made_is_used_by_itself() {
    in_new_namespace(|| {
        let lasting = Path::new("/var/lib/wireboot");
        run("mount -t tmpfs none /var/lib");
        let (_far, server) = network();
        assert_eq!(wireboot(&[]).0, Some(0));
        assert!(is_sought(&server));
        let until_restart = Path::new("/run/wireboot").join(FILE);
        assert!(until_restart.exists() && !lasting.exists());
        // What an initramfs left in /run counts, and moves.
        fs::create_dir(lasting).unwrap();
        assert_eq!(wireboot(&[]).0, Some(0));
        assert!(!is_sought(&server));
        assert!(!until_restart.exists() && lasting.join(FILE).exists());
        assert_eq!(wireboot(&[]).0, Some(0));
        assert!(!is_sought(&server));
        // A disk that cannot be written to does not cost the lease of this run.
        run("mount -o remount,ro /var/lib");
        let (code, text) = wireboot(&[]);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("is not written: Read-only file system"),
            "{text}"
        );
        assert!(until_restart.exists());
        run("mount -o remount,rw /var/lib");
        assert_eq!(wireboot(&["--release"]).0, Some(0));
        server.wait_for("DHCPRELEASE(far) 192.0.2.100");
        assert_eq!(addresses(), Vec::<String>::new());
        assert!(!until_restart.exists() && !lasting.join(FILE).exists());
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_from_before_a_restart_can_be_given_back() {
    let folder = Folder::new();
    let directory = folder.path("leases");
    let taken = directory.clone();
    in_new_namespace(move || {
        let _network = network();
        lease_in(&taken);
    });
    in_new_namespace(move || {
        let (_far, server) = network();
        let directory = directory.to_str().unwrap();
        let release = ["--release", "--lease-dir", directory];
        // As the server granted it before.
        assert_eq!(wireboot(&["--lease-dir", directory]).0, Some(0));
        ip("address flush dev near");
        assert_eq!(wireboot(&release).0, Some(0));
        server.wait_for("DHCPRELEASE(far) 192.0.2.100");
        let (code, text) = wireboot(&release);
        assert_eq!(code, Some(1), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_that_is_over_is_not_asked_for_unless_its_clock_did_not_know_the_time() {
    in_new_namespace(|| {
        let (_far, server) = network();
        let directory = PathBuf::from("/run/kept");
        lease_in(&directory);
        assert!(is_sought(&server));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for (expires, seeks) in [(now.as_secs() - 1, true), (3_600, false)] {
            change(&directory, "expires", &expires.to_string());
            lease_in(&directory);
            assert_eq!(is_sought(&server), seeks, "{expires}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_damaged_file_is_told_and_replaced() {
    in_new_namespace(|| {
        let (_far, server) = network();
        let directory = PathBuf::from("/run/kept");
        lease_in(&directory);
        assert!(is_sought(&server));
        for (key, value) in [
            ("address", "192.0.2.256/24"),
            ("server", "0.0.0.0"),
            ("mac", "02:00:5e:10:20:31"),
        ] {
            change(&directory, key, value);
            let text = lease_in(&directory);
            let expected = format!("/run/kept/{FILE}: is no lease of {MAC}; ignored");
            assert!(text.contains(&expected), "{text}");
            assert!(is_sought(&server), "{key}");
            is_configured();
        }
        // Half a file, as a disk without power may leave it.
        let path = directory.join(FILE);
        let text = fs::read(&path).unwrap();
        fs::write(&path, text.get(..text.len() / 2).unwrap()).unwrap();
        assert!(lease_in(&directory).contains("ignored"));
        assert!(is_sought(&server));
        lease_in(&directory);
        assert!(!is_sought(&server));
    });
}

/// A cable with a server that takes any machine's word for an address that is free, and the same
/// hardware address at the near end each time.
fn network() -> (Far, Server) {
    let far = Far::plug_in();
    ip(&format!("link set near address {MAC}"));
    let server = dnsmasq(&far, "--dhcp-authoritative");
    (far, server)
}

/// Takes a lease with its file in `directory`; returns what was said.
fn lease_in(directory: &Path) -> String {
    let directory = directory.to_str().unwrap();
    let (code, text) = wireboot(&["--lease-dir", directory]);
    assert_eq!(code, Some(0), "{text}");
    text
}

/// Returns whether an address was sought by a DISCOVER before the server acknowledged one, since the
/// last time.
fn is_sought(server: &Server) -> bool {
    wait_until("it is acknowledged", || server.count("DHCPACK") > 0);
    let is_sought = server.count("DHCPDISCOVER") > 0;
    server.forget();
    is_sought
}

/// Gives a line of the lease file another value.
fn change(directory: &Path, key: &str, value: &str) {
    let path = directory.join(FILE);
    let text = fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((name, _)) if name == key => format!("{key}={value}\n"),
        _ => format!("{line}\n"),
    });
    let changed: String = lines.collect();
    assert_ne!(changed, text);
    fs::write(&path, changed).unwrap();
}

fn run(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}
