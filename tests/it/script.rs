//! `wireboot lease --script` through the life of a lease.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::far::{Far, Server};
use crate::common::machine::{mount_over_usr, shell};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, ip, wait_until};
use nix::sys::signal::Signal;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_script_hears_of_the_lease_its_renewal_and_its_end() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "--dhcp-option=15,example.org");
        let script = Script::new(&far);
        let client = client(&script, "--keep");
        wait_until("bound", || script.events() == ["deconfig", "bound"]);
        assert!(script.said("bound near 192.0.2.100 255.255.255.0 192.0.2.1 example.org"));
        client.signal(Signal::SIGHUP);
        wait_until("renewed", || {
            script.events() == ["deconfig", "bound", "renew"]
        });
        client.signal(Signal::SIGUSR2);
        wait_until("given back", || {
            script.events() == ["deconfig", "bound", "renew", "deconfig"]
        });
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_script_hears_of_a_refusal_and_of_what_is_taken_instead() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let script = Script::new(&far);
        let first = dnsmasq(&far, "");
        let client = client(&script, "--keep");
        wait_until("bound", || script.events() == ["deconfig", "bound"]);
        far.run("ip link set far down");
        client.wait_for("the carrier is gone");
        drop(first);
        far.run("ip address flush dev far");
        far.run("ip address add 198.51.100.1/24 dev far");
        let range = "--dhcp-range=198.51.100.100,198.51.100.100,255.255.255.0,1h";
        let _second = dnsmasq(&far, &format!("--dhcp-authoritative {range}"));
        far.run("ip link set far up");
        wait_until("bound again", || {
            script.events() == ["deconfig", "bound", "nak", "deconfig", "bound"]
        });
        assert!(script.said("bound near 198.51.100.100"));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_script_hears_that_a_later_command_has_given_the_lease_back() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let script = Script::new(&far);
        for (more, last) in [("", "bound"), ("--release", "deconfig")] {
            assert_eq!(client(&script, more).exit_code(), Some(0));
            assert_eq!(script.events().pop().as_deref(), Some(last));
        }
        assert_eq!(script.events(), ["deconfig", "bound", "deconfig"]);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_server_the_script_and_the_account_hear_that_there_is_no_lease() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let account = "/run/wireboot/account.txt";
        for family in ["4", "6", "either"] {
            let script = Script::new(&far);
            let _ = fs::remove_file(&script.notes);
            let _ = fs::remove_file(account);
            let mut client = client(&script, &format!("--timeout 1 --family {family}"));
            assert_eq!(client.exit_code(), Some(3), "{family}");
            assert_eq!(script.events(), ["leasefail"], "{family}");
            let account = fs::read_to_string(account).unwrap();
            assert!(account.contains("near: no "), "{family}: {account}");
        }
    });
}

/// A script that notes what it is told.
struct Script {
    path: PathBuf,
    notes: PathBuf,
}

impl Script {
    fn new(far: &Far) -> Self {
        let path = far.folder.join("script");
        let notes = far.folder.join("notes");
        let text = format!(
            "#!/bin/sh\necho \"$1 $interface $ip $subnet $router $domain\" >> {}\n",
            notes.display()
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path, notes }
    }

    fn notes(&self) -> String {
        fs::read_to_string(&self.notes).unwrap_or_default()
    }

    fn events(&self) -> Vec<String> {
        let notes = self.notes();
        let events = notes
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        events.map(str::to_owned).collect()
    }

    fn said(&self, start: &str) -> bool {
        self.notes().lines().any(|line| line.starts_with(start))
    }
}

fn client(script: &Script, more: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["lease", "-i", "near", "--script"]);
    command.arg(&script.path).args(more.split_whitespace());
    Server::start(&mut command)
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn what_is_left_to_the_script_is_set_by_it_alone() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "--dhcp-option=26,1400");
        let bare = Script::new(&far);
        assert_eq!(client(&bare, "--script-only").exit_code(), Some(0));
        assert_eq!(bare.events(), ["deconfig", "bound"]);
        let shown = || ip("address show near") + &ip("-4 route show");
        assert!(!shown().contains("192.0.2."), "{}", shown());
        assert!(shown().contains("mtu 1500"), "{}", shown());
        let mut lines = fs::read_to_string(&bare.path).unwrap();
        lines.push_str("[ $1 != bound ] || ip address add $ip/$mask dev $interface\n");
        fs::write(&bare.path, lines).unwrap();
        assert_eq!(client(&bare, "--script-only").exit_code(), Some(0));
        assert!(shown().contains("inet 192.0.2.100/24"), "{}", shown());
        let mut alone = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        let alone = alone
            .args(["lease", "-i", "near", "--script-only"])
            .output();
        assert_eq!(alone.unwrap().status.code(), Some(1));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn the_hooks_of_dhcpcd_are_told_what_they_ask() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let script = Script::new(&far);
        let text = format!(
            "#!/bin/sh\nis() {{ if $1; then echo $2; fi; }}\n\
             echo $reason $protocol $(is $if_up up) $(is $if_down down) $(is $if_configured configured) \
             $new_ip_address >> {}\n",
            script.notes.display()
        );
        fs::write(&script.path, text).unwrap();
        let mut kept = client(&script, "--keep");
        wait_until("bound", || script.events().len() == 2);
        kept.signal(Signal::SIGHUP);
        wait_until("renewed", || script.events().len() == 3);
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
        assert_eq!(
            script.notes(),
            "PREINIT dhcp down configured\nBOUND dhcp up configured 192.0.2.100\n\
             RENEW dhcp up configured 192.0.2.100\nRELEASE dhcp down configured\n"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq, busybox and apt"]
fn udhcpcs_script_of_debian_sets_and_unsets_all_by_itself() {
    let path = shell("echo \"$(debian_package udhcpc)/etc/udhcpc/default.script\"");
    in_new_namespace(move || {
        let far = Far::plug_in();
        let options = "--dhcp-option=6,192.0.2.53 --dhcp-option=15,example.com";
        let _server = dnsmasq(&far, options);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.args([
            "lease",
            "-i",
            "near",
            "--keep",
            "--script-only",
            "--script",
            &path,
        ]);
        let mut kept = Server::start(&mut command);
        let is_set = || {
            let shown = ip("address show near") + &ip("-4 route show");
            let parts = ["inet 192.0.2.100/24", "default via 192.0.2.1", "mtu 1400"];
            parts.iter().all(|part| shown.contains(part))
        };
        wait_until("all is set", is_set);
        let resolvers = || fs::read_to_string("/etc/resolv.conf").unwrap();
        wait_until("the resolvers are set", || {
            resolvers().contains("domain example.com\nnameserver 192.0.2.53\n")
        });
        kept.signal(Signal::SIGHUP);
        kept.wait_for("near: renewed");
        assert!(is_set());
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
        assert!(!ip("address show near").contains("inet 192.0.2.100"));
        assert_is_clean(&kept);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, dnsmasq, overlayfs and apt"]
fn the_hooks_of_debians_dhcpcd_run_and_write_resolv_conf() {
    let package = shell("debian_package dhcpcd-base");
    in_new_namespace(move || {
        // Their paths are absolute.
        mount_over_usr(&package);
        let far = Far::plug_in();
        let options = "--dhcp-option=6,192.0.2.53 --dhcp-option=15,example.com";
        let _server = dnsmasq(&far, options);
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        let hooks = "/usr/lib/dhcpcd/dhcpcd-run-hooks";
        command.args(["lease", "-i", "near", "--keep", "--script", hooks]);
        // What wireboot writes itself.
        command.args(["--resolv-conf", "/run/own.conf"]);
        let mut kept = Server::start(&mut command);
        let resolvers = || fs::read_to_string("/etc/resolv.conf").unwrap();
        let expected = "domain example.com\nnameserver 192.0.2.53\n";
        wait_until("the hook has written", || resolvers().contains(expected));
        assert!(
            resolvers().starts_with("# Generated by dhcpcd from near.dhcp\n"),
            "{}",
            resolvers()
        );
        kept.signal(Signal::SIGHUP);
        kept.wait_for("near: renewed");
        kept.signal(Signal::SIGUSR2);
        assert_eq!(kept.exit_code(), Some(0));
        assert!(!resolvers().contains("192.0.2.53"), "{}", resolvers());
        assert_is_clean(&kept);
    });
}

/// Asserts that neither the script nor the client complains.
fn assert_is_clean(client: &Server) {
    // Its lines are read by threads, which end with the pipe.
    std::thread::sleep(Duration::from_millis(200));
    for word in [
        "warning",
        "error",
        "not found",
        "cannot",
        "No such",
        "Usage",
        "failed",
    ] {
        assert_eq!(client.count(word), 0, "{word}");
    }
}
