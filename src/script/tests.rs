use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::runner::MAX_TIME;
use super::*;
use crate::sys;
use wireboot_proto::packet::dhcp::Message;
use wireboot_proto::packet::option::Options;

#[test]
fn a_lease_is_told_in_the_variables_of_udhcpc_and_dhcpcd_and_no_others() {
    let script = Probe::new("env > out; echo $# $1 >> out");
    script.run(Event::Bound(&lease(&[
        (1, &[255, 255, 255, 0]),
        (6, &[192, 0, 2, 53]),
        (15, b"example.org"),
        (17, b"/srv/root"),
        (42, &[192, 0, 2, 4, 192, 0, 2, 5]),
        (51, &[0, 0, 14, 16]),
        (67, b"boot/a b.ipxe"),
        (121, &[24, 198, 51, 100, 192, 0, 2, 2, 0, 192, 0, 2, 1]),
        (130, b"xy"),
    ])));
    let said = script.said();
    for line in [
        "interface=near",
        "reason=BOUND",
        "ip=192.0.2.100",
        "subnet=255.255.255.0",
        "mask=24",
        "serverid=192.0.2.1",
        "lease=3600",
        "router=192.0.2.1",
        "dns=192.0.2.53",
        "domain=example.org",
        "rootpath=/srv/root",
        "ntpsrv=192.0.2.4 192.0.2.5",
        "boot_file=boot/a b.ipxe",
        "bootfile=boot/a b.ipxe",
        "staticroutes=198.51.100.0/24 192.0.2.2 0.0.0.0/0 192.0.2.1",
        "opt130=7879",
        "new_ip_address=192.0.2.100",
        "new_subnet_mask=255.255.255.0",
        "new_domain_name_servers=192.0.2.53",
        "new_dhcp_lease_time=3600",
        "1 bound",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    #[cfg(feature = "hand")]
    for line in [
        "protocol=dhcp",
        "if_up=true",
        "if_down=false",
        "if_configured=true",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    assert!(
        !said.contains("CARGO"),
        "our environment is not its:\n{said}"
    );
}

#[test]
fn hostile_text_reaches_no_script() {
    let script = Probe::new("env > out");
    for hostile in [
        "$(poweroff)",
        "`poweroff`",
        "a'b",
        "a\"b",
        "a\nip=6.6.6.6",
        "a\\",
        "a\x1b[2J",
        "x\r;poweroff",
    ] {
        let hostile = hostile.as_bytes();
        let codes = [12, 15, 17, 40, 66, 67, 100, 209, 210, 252];
        let options: Vec<_> = codes.iter().map(|code| (*code, hostile)).collect();
        let lease = lease(&options);
        script.run(Event::Renew(&lease));
        let said = script.said();
        let names: Vec<_> = said
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        for unwanted in [
            "hostname",
            "rootpath",
            "nisdomain",
            "sname",
            "boot_file",
            "tzstr",
            "pxeconffile",
            "pathprefix",
            "wpad",
            "new_host_name",
            "new_bootfile_name",
        ] {
            assert!(!names.contains(&unwanted), "{unwanted}:\n{said}");
        }
        assert!(
            !said.contains("6.6.6.6") && !said.contains("poweroff"),
            "{said}"
        );
        // Of several words in option 15 those that are names are taken.
        let mut domains = said.lines().filter_map(|line| line.strip_prefix("domain="));
        assert!(domains.all(|domain| ["a", "x"].contains(&domain)), "{said}");
        assert!(said.contains("ip=192.0.2.100"), "{said}");
        assert!(!ScriptVariables::of(&lease).dropped.is_empty() || !lease.ignored.is_empty());
    }
}

#[test]
fn events_without_a_lease_have_their_names_and_a_refusal_its_text() {
    let script = Probe::new("echo $1 $reason $interface $message \"[$ip]\" > out");
    for (event, expected) in [
        (Event::Deconfig("EXPIRE"), "deconfig EXPIRE near []\n"),
        (Event::Nak("wrong net"), "nak NAK near wrong net []\n"),
        (Event::Nak("$(reboot)"), "nak NAK near []\n"),
        (Event::LeaseFail, "leasefail FAIL near []\n"),
    ] {
        script.run(event);
        assert_eq!(script.said(), expected);
    }
}

#[test]
fn a_script_that_hangs_is_killed_with_all_that_it_started() {
    let script = Probe::new("sleep 1000 & echo $! > out; wait");
    let began_at = sys::now();
    let run = describe("near", Event::Deconfig("STOP"));
    runner::execute(&script.path, &run, Duration::from_millis(300));
    assert!(sys::now().since(began_at) < Duration::from_secs(20));
    let child = script.said();
    let status = format!("/proc/{}/stat", child.trim());
    // Nobody of ours waits for it, so it may be seen as a zombie until init has.
    let is_gone = || {
        let stat = fs::read_to_string(&status).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ") || !stat.contains("(sleep)")
    };
    let deadline = sys::now() + Duration::from_secs(20);
    while !is_gone() {
        assert!(sys::now() < deadline, "it still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_script_that_is_not_there_or_fails_costs_nothing() {
    let run = describe("near", Event::Deconfig("STOP"));
    runner::execute(Path::new("/nonexistent/script"), &run, MAX_TIME);
    let script = Probe::new("exit 7");
    script.run(Event::Deconfig("STOP"));
    // There is none.
    super::run("near", Event::Deconfig("STOP"));
}

/// A script in a folder of its own, where it leaves what it heard in `out`.
struct Probe {
    folder: PathBuf,
    path: PathBuf,
}

impl Probe {
    fn new(text: &str) -> Self {
        let id = std::thread::current().id();
        let name = format!("wireboot-script-{}-{id:?}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("script");
        let text = format!(
            "#!/bin/sh\ncd {}\n{text}\n",
            folder
                .display()
                .to_string()
                .replace('(', "\\(")
                .replace(')', "\\)")
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, path }
    }

    fn run(&self, event: Event<'_>) {
        let (_runner, connection) = runner::start(self.path.clone()).unwrap();
        runner::request(&connection, &describe("near", event)).unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.folder.join("out")).unwrap()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn lease(set: &[(u8, &[u8])]) -> Lease {
    let mut options = Options::default();
    for (code, value) in set {
        options.set(*code, *value);
    }
    let message = Message::reply(Ipv4Addr::new(192, 0, 2, 100), options);
    Lease::read(&message, Ipv4Addr::new(192, 0, 2, 1))
}
