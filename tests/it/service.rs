//! `wireboot lease --keep` as a service: what it tells the service manager and programs that read its lines,
//! and the unit that starts it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::common::far::{Far, Server};
use crate::common::folder::Folder;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, wait_until};
use crate::ipv6;

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/initramfs/service/wireboot@.service"
);

const OPENRC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/initramfs/service/openrc");

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_service_stays_where_no_server_is_and_tells_its_manager_and_readers_of_each_change() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let service = Service::start(&far, &[]);
        let _server = dnsmasq(&far, "");
        service.wait_for("READY=1\nSTATUS=near: 192.0.2.100/24 from 192.0.2.1 for 3600 s");
        assert_eq!(service.count("WATCHDOG=1"), 0);
        let events = service.renew_and_end();
        let names = events.iter().map(|event| event["event"].as_str().unwrap());
        let names: Vec<_> = names.skip_while(|name| *name == "leasefail").collect();
        assert_eq!(names, ["deconfig", "bound", "renew", "deconfig"]);
        assert_eq!(events[0]["event"], "leasefail");
        let bound = bound(&events);
        assert_eq!(bound["interface"], "near");
        assert_eq!(bound["address"], "192.0.2.100");
        assert_eq!(events[0].get("address"), None);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_service_of_ipv6_stays_and_tells_of_each_change_too() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let service = Service::start(&far, &["WATCHDOG_USEC=400000", "--family", "6"]);
        service.assert_alive();
        let _server = ipv6::dnsmasq(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        service.wait_for("READY=1\nSTATUS=near: 2001:db8:1::100/128 from a server for ");
        service.assert_alive();
        let events = service.renew_and_end();
        let bound = bound(&events);
        assert_eq!(
            (&bound["family"], &bound["interface"]),
            (&6.into(), &"near".into())
        );
        assert_eq!(bound["addresses"][0]["address"], "2001:db8:1::100");
        assert_eq!(events.last().unwrap()["event"], "deconfig");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_watchdog_hears_of_a_service_with_a_lease_and_without_one() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let service = Service::start(&far, &["WATCHDOG_USEC=400000"]);
        service.assert_alive();
        let _server = dnsmasq(&far, "");
        service.wait_for("192.0.2.100/24");
        service.assert_alive();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and strace"]
fn the_unit_is_without_fault_and_allows_what_the_service_does() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let unit = fs::read_to_string(UNIT).unwrap();
        // Where it is not installed, neither its program nor its manual is there.
        let documented = unit.replace("Documentation=man:wireboot-lease(8)\n", "");
        let installed = documented.replace("/usr/sbin/wireboot", env!("CARGO_BIN_EXE_wireboot"));
        assert_eq!(installed.matches(env!("CARGO_BIN_EXE_wireboot")).count(), 1);
        let path = folder.path("wireboot@near.service");
        fs::write(&path, installed).unwrap();
        let path = path.display().to_string();
        assert_eq!(analyze(&["verify", &path]), "");
        let figure = analyze(&["security", "--offline=true", "--threshold=29", &path]);
        println!("{figure}");

        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let filter = unit
            .lines()
            .find_map(|line| line.strip_prefix("SystemCallFilter="));
        let (groups, single): (Vec<_>, Vec<_>) = filter
            .unwrap()
            .split(' ')
            .partition(|word| word.starts_with('@'));
        let mut allowed: BTreeSet<_> = groups.into_iter().flat_map(allowed_calls).collect();
        allowed.extend(single.into_iter().map(str::to_owned));
        // strace cannot read the call of a thread that the end of the process kills ("???").
        let mut traces = (0..10).map(|_| calls_made(&folder.path("calls")));
        let made = traces.find(|made| !made.contains("???"));
        let made = made.expect("a trace of which every call is known");
        assert!(
            made.contains("sendto") && made.contains("socket"),
            "{made:?}"
        );
        let refused: Vec<_> = made.difference(&allowed).collect();
        assert_eq!(refused, [""; 0]);
    });
}

#[test]
fn the_script_for_openrc_needs_no_other_service_and_an_interface_in_its_name() {
    // What OpenRC has for a script, so far as this one asks for it.
    let script = "need() { echo \"needs $*\"; }; use() { :; }; after() { :; }; provide() { :; }
        eerror() { echo \"error: $*\"; }
        . \"$0\"; depend; start_pre && echo \"$command $command_args\"";
    let said = |name: &str| {
        let mut sh = Command::new("sh");
        sh.args(["-uc", script, OPENRC]).env("RC_SVCNAME", name);
        String::from_utf8(sh.output().unwrap().stdout).unwrap()
    };
    assert_eq!(
        said("wireboot.eth0"),
        "/usr/sbin/wireboot lease --keep --interface eth0 \n"
    );
    assert_eq!(
        said("wireboot"),
        "error: link this script to a name with the interface, such as wireboot.eth0\n"
    );
}

/// Keeps a lease on `near` until SIGTERM, traced into the file `calls`; returns the names of all calls.
fn calls_made(calls: &Path) -> BTreeSet<String> {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(calls);
    command.arg(env!("CARGO_BIN_EXE_wireboot"));
    command.args(["lease", "--keep", "-i", "near", "-v"]);
    let mut client = Server::start(&mut command);
    client.wait_for("192.0.2.100/24 from");
    // strace itself does not pass the signal on.
    let children = format!("/proc/{pid}/task/{pid}/children", pid = client.pid());
    let traced = fs::read_to_string(children).unwrap();
    let traced = Pid::from_raw(traced.trim().parse().unwrap());
    kill(traced, Signal::SIGTERM).unwrap();
    assert_eq!(client.exit_code(), Some(0));
    let made = fs::read_to_string(calls).unwrap();
    made.lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(call, _)| call.to_owned())
        .filter(|call| !call.starts_with('<'))
        .collect()
}

/// Runs systemd-analyze, which must succeed, and returns what it said.
fn analyze(arguments: &[&str]) -> String {
    let mut command = Command::new("systemd-analyze");
    let output = command.arg("--no-pager").args(arguments).output();
    let output = output.expect("systemd is installed");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

/// Returns the calls of a set of systemd's, with those of the sets in it.
fn allowed_calls(set: &str) -> BTreeSet<String> {
    let text = analyze(&["syscall-filter", set]);
    let names = text.lines().skip(1).map(str::trim);
    let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
    let each = names.flat_map(|name| {
        if name.starts_with('@') {
            allowed_calls(name)
        } else {
            BTreeSet::from([name.to_owned()])
        }
    });
    each.collect()
}

/// Returns the event of the lease.
fn bound(events: &[Value]) -> &Value {
    let bound = events.iter().find(|event| event["event"] == "bound");
    bound.unwrap()
}

/// A service on `near` with lines for programs in a file, and the end of its service manager.
struct Service {
    client: Server,
    lines: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts it where no server is, with these variables and flags, and waits until it says that it runs.
    fn start(far: &Far, more: &[&str]) -> Self {
        let (notify, lines) = (far.folder.join("notify"), far.folder.join("lines"));
        let socket = UnixDatagram::bind(&notify).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&heard);
        // Ends with the test program.
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(len) = socket.recv(&mut buf) {
                let text = String::from_utf8_lossy(&buf[..len]).into_owned();
                own.lock().unwrap().push(text);
            }
        });
        // By a shell, for the file: what the program logs is for the test's own log.
        let mut command = Command::new("sh");
        let script = "lines=$1; shift; exec \"$@\" >\"$lines\"";
        command.args(["-c", script, "-"]).arg(&lines);
        command.arg(env!("CARGO_BIN_EXE_wireboot"));
        command.args(["lease", "--keep", "--json", "-i", "near", "--timeout", "1"]);
        command.env("NOTIFY_SOCKET", &notify);
        for word in more {
            match word.split_once('=') {
                Some((name, value)) => command.env(name, value),
                None => command.arg(word),
            };
        }
        let client = Server::start(&mut command);
        let service = Self {
            client,
            lines,
            heard,
        };
        // It comes up without a lease, as a machine without a server should, and goes on.
        service.wait_for("READY=1\nSTATUS=near: no lease; still asking");
        service
    }

    /// Returns how often the manager was told this.
    fn count(&self, text: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|said| said.contains(text)).count()
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.count(text) > 0);
    }

    fn assert_alive(&self) {
        let before = self.count("WATCHDOG=1");
        wait_until("alive", || self.count("WATCHDOG=1") > before + 3);
    }

    /// Returns the lines for programs so far.
    fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.lines).unwrap();
        let parsed = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line));
        parsed.collect()
    }

    /// Lets it renew the lease and then end; returns all of its lines.
    fn renew_and_end(mut self) -> Vec<Value> {
        self.client.signal(Signal::SIGHUP);
        wait_until("renewed", || {
            self.events().last().unwrap()["event"] == "renew"
        });
        self.client.signal(Signal::SIGUSR2);
        assert_eq!(self.client.exit_code(), Some(0));
        self.wait_for("STATUS=near: no lease yet");
        self.events()
    }
}
