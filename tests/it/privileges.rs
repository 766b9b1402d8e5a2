//! What each process may do, by the table of the chapter on architecture and by the kernel.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::common::client::keep;
use crate::common::far::{Far, Server};
use crate::common::folder::Folder;
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, wait_until};
use crate::ipv6;
#[cfg(feature = "root")]
use crate::live_root::Site;

const CHAPTER: &str = include_str!("../../src/manual/architecture.md");
const CAPABILITIES: [(&str, u64); 8] = [
    ("chown", 1 << 0),
    ("dac_override", 1 << 1),
    ("fowner", 1 << 3),
    ("fsetid", 1 << 4),
    ("net_bind_service", 1 << 10),
    ("net_admin", 1 << 12),
    ("net_raw", 1 << 13),
    ("setfcap", 1 << 31),
];

#[test]
fn each_row_of_the_table_has_its_test() {
    let tests = include_str!("privileges.rs");
    let names: Vec<_> = rows().map(|[name, ..]| name).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("\"{name}\"")), "{name}");
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn each_process_has_the_privileges_of_the_table_and_no_others() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let script = far.write(
            "script",
            "#!/bin/sh\ngrep NoNewPrivs /proc/self/status\nulimit -c\n",
        );
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new("sh");
        // More than wireboot leaves to itself.
        let words = "ulimit -c 77; exec \"$@\"";
        command.args(["-c", words, "sh", env!("CARGO_BIN_EXE_wireboot")]);
        command.args(["lease", "-i", "near", "--keep", "--script", &script]);
        let kept = Server::start(&mut command);
        kept.wait_for("77");
        // Of the script, which may have sudo.
        kept.wait_for("NoNewPrivs:\t0");
        wait_until("bound", || is_as_in("`lease --keep`, bound", kept.pid()));
        // In the order of their begin.
        let [runner, writer] = children(kept.pid())[..] else {
            panic!("{:?}", children(kept.pid()));
        };
        has_row("the runner of `lease --script`", runner);
        has_row("the process that writes its files", writer);
        let limits = fs::read_to_string(format!("/proc/{}/limits", kept.pid())).unwrap();
        for limit in [
            "core file size 0 0",
            "open files 4096 4096",
            "file size 4294967296 4294967296",
        ] {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_it = |line: &str| words(line).contains(limit);
            assert!(limits.lines().any(is_it), "{limit}\n{limits}");
        }
        kept.signal(Signal::SIGTERM);
        drop(kept);
        for child in [runner, writer] {
            wait_until("its processes end", || {
                fs::metadata(format!("/proc/{child}")).is_err()
            });
        }

        let _silent = far.serve_silence();
        let fetch = start(&["fetch", "-o", "/dev/null", "http://192.0.2.1:81/x"]);
        wait_until("fetch", || is_as_in("`fetch`", fetch.pid()));
        let row = "the worker that fetches files";
        wait_until(row, || {
            children(fetch.pid()).iter().any(|pid| is_as_in(row, *pid))
        });
        drop(fetch);
        let image = start(&["fetch", "-o", "/dev/null", "http://192.0.2.1:81/x.iso#/x"]);
        for row in [row, "the worker that reads ISO images"] {
            wait_until(row, || {
                let workers = children(image.pid());
                workers.len() == 2 && workers.iter().all(|pid| is_as_in(row, *pid))
            });
        }
        drop(image);

        let boot = start(&[
            "boot",
            "-i",
            "near",
            "--boot-file",
            "http://192.0.2.1:81/x",
            "--stop-after",
            "plan",
        ]);
        for row in [row, "the worker that follows the boot file"] {
            wait_until(row, || {
                let workers = children(boot.pid());
                workers.len() == 2 && workers.iter().all(|pid| is_as_in(row, *pid))
            });
        }
        wait_until("boot", || is_as_in("`boot`", boot.pid()));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_kept_lease_of_ipv6_has_the_privileges_of_the_table_and_lives_with_them() {
    in_new_namespace(|| {
        let far = Far::plug_in_ipv6();
        let server = ipv6::dnsmasq(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        let mut kept = keep(&["--family", "6", "-vv"]);
        let row = "`lease --keep --family 6`, bound";
        wait_until("bound", || is_as_in(row, kept.pid()));
        let [writer] = children(kept.pid())[..] else {
            panic!("{:?}", children(kept.pid()));
        };
        // It is not waited for.
        let row = "the process that writes its files";
        wait_until("it has given up the rest, too", || is_as_in(row, writer));
        kept.signal(Signal::SIGHUP);
        server.wait_for("DHCPRENEW(far)");
        // Its port is bound, and the kernel's ways are switched off, once more.
        kept.forget();
        crate::common::ip("link delete near");
        wait_until("it is missed", || kept.count("has been removed") == 1);
        let far = Far::plug_in_ipv6();
        let server = ipv6::dnsmasq(&far, "2001:db8:1::100,2001:db8:1::100,64,10m");
        let is_set =
            || crate::common::ip("-6 address show dev near").contains("2001:db8:1::100/128");
        wait_until("the address is back", is_set);
        kept.signal(Signal::SIGUSR2);
        server.wait_for("DHCPRELEASE(far)");
        assert_eq!(kept.exit_code(), Some(0));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_capture_has_no_privilege_once_its_files_and_rings_are_open() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let live = start(&["capture", "-i", "near", "-w", "/dev/null"]);
        wait_until("mapped", || is_as_in("`capture`, rings mapped", live.pid()));
        let folder = Folder::new();
        let file = folder.path("f").display().to_string();
        let files = start(&["capture", "-i", "near", "-C", "1M", "-w", &file]);
        wait_until("mapped", || {
            is_as_in("`capture`, rings mapped", files.pid())
        });
        let [creator] = children(files.pid())[..] else {
            panic!("{:?}", children(files.pid()));
        };
        has_row(
            "the process that creates the files of `capture -C` and `-G`",
            creator,
        );
        // A pipe that nothing comes through.
        let mut read = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        read.args(["capture", "-r", "-"]).stdin(Stdio::piped());
        let mut read = read.spawn().unwrap();
        wait_until("open", || is_as_in("`capture -r`", read.id()));
        read.kill().unwrap();
        read.wait().unwrap();
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_the_sandbox_a_kept_lease_and_a_capture_keep_all_and_say_so() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = dnsmasq(&far, "");
        let kept = keep(&["--sandbox", "off"]);
        kept.wait_for("the sandbox is off (--sandbox off): the kept lease keeps all privileges");
        assert!(is_as_in("`lease`, not bound yet", kept.pid()));
        let live = start(&[
            "capture",
            "-i",
            "near",
            "-w",
            "/dev/null",
            "--sandbox",
            "off",
        ]);
        live.wait_for("the sandbox is off (--sandbox off): the capture keeps all privileges");
        assert!(is_as_in("`lease`, not bound yet", live.pid()));
        let _silent = far.serve_silence();
        let url = "http://192.0.2.1:81/x";
        for command in [
            &["fetch", "-o", "/dev/null", url][..],
            &["boot", "-i", "near", "--boot-file", url],
        ] {
            let whole = start(&[command, &["--sandbox", "off"]].concat());
            whole.wait_for("warning: the sandbox is off (--sandbox off): what the network sends");
            assert!(is_as_in("`fetch`", whole.pid()));
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and python3"]
fn where_the_kernel_lacks_landlock_or_seccomp_the_rest_holds_and_one_line_says_so() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _dhcp = dnsmasq(&far, "");
        let _silent = far.serve_silence();
        far.write("f", "default a\nlabel a\nkernel k\n");
        let _web = far.serve_web(&far.folder);
        let lacks = "lacks a part of its sandbox: landlock_create_ruleset failed";
        let both = "(os error 38); prctl(PR_SET_SECCOMP) failed: Invalid argument";
        let lacking = |what: &str, arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.args(["-c", LACKING, what, env!("CARGO_BIN_EXE_wireboot")]);
            Server::start(command.args(arguments))
        };
        // A filter of its own is the second, behind the one that lets the calls fail.
        let is_row = |row: &str, pid: u32, filters: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            is_as_in(row, pid) && field_of(&status, "Seccomp_filters:") == filters
        };
        let has_workers = |parent: &Server, count: usize, rows: &[&str], filters: &str| {
            wait_until(rows[0], || {
                let workers = children(parent.pid());
                let is_it = |pid: &u32| rows.iter().any(|row| is_row(row, *pid, filters));
                workers.len() == count && workers.iter().all(is_it)
            });
        };
        let boot = ["boot", "-i", "near", "--stop-after", "plan", "--boot-file"];
        let fetch = ["fetch", "-o", "/dev/null"];
        let rows = [
            "the worker that fetches files",
            "the worker that follows the boot file",
        ];

        let kept = lacking("seccomp", &["lease", "-i", "near", "--keep"]);
        let row = "`lease --keep`, bound";
        wait_until(row, || is_row(row, kept.pid(), "1"));
        kept.wait_for(both);
        // The process that writes its files has none of both anyway.
        assert_eq!(kept.count(lacks), 1);
        let capture = lacking("seccomp", &["capture", "-i", "near", "-w", "/dev/null"]);
        let row = "`capture`, rings mapped";
        wait_until(row, || is_row(row, capture.pid(), "1"));
        capture.wait_for(both);
        assert_eq!(capture.count(lacks), 1);
        for (what, filters) in [("landlock", "2"), ("seccomp", "1")] {
            let silent = lacking(what, &[&fetch[..], &["http://192.0.2.1:81/x"]].concat());
            has_workers(&silent, 1, &rows[..1], filters);
            silent.wait_for(lacks);
            assert_eq!(silent.count(both) == 1, what == "seccomp");
            let mut whole = lacking(what, &[&fetch[..], &["http://192.0.2.1/f"]].concat());
            assert_eq!(whole.exit_code(), Some(0));
            whole.wait_for(lacks);
            assert_eq!(whole.count(lacks), 1);
        }
        drop(kept);
        let silent = lacking("seccomp", &[&boot[..], &["http://192.0.2.1:81/x"]].concat());
        has_workers(&silent, 2, &rows, "1");
        drop(silent);
        let mut whole = lacking("seccomp", &[&boot[..], &["http://192.0.2.1/f"]].concat());
        assert_eq!(whole.exit_code(), Some(0));
        // One for each worker.
        whole.wait_for("the worker for following the boot file lacks a part of its sandbox");
        whole.wait_for("kernel        http://192.0.2.1/k");
        assert_eq!((whole.count(both), whole.count(lacks)), (2, 2));
    });
}

/// Executes its arguments behind the first where `landlock_create_ruleset` fails with ENOSYS, and for
/// "seccomp" that call and `prctl(PR_SET_SECCOMP)` with EINVAL, by a filter of system calls.
const LACKING: &str = r"
import ctypes, os, platform, struct, sys
seccomp, prctl = (317, 157) if platform.machine() == 'x86_64' else (277, 167)
load, equal, end = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0), (equal, 0, 1, 444), (end, 0, 0, 0x50026)]
if sys.argv[1] == 'seccomp':
    steps += [(equal, 2, 0, seccomp), (equal, 0, 3, prctl), (load, 0, 0, 16), (equal, 0, 1, 22),
              (end, 0, 0, 0x50016)]
steps += [(end, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack('HP', len(steps), ctypes.addressof(code)))
assert ctypes.CDLL(None).prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_lease_is_waited_for_with_the_privileges_to_set_it() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        let client = keep(&["--timeout", "60"]);
        wait_until("hardened", || {
            is_as_in("`lease`, not bound yet", client.pid())
        });
    });
}

#[test]
#[cfg(feature = "root")]
#[ignore = "needs CAP_SYS_ADMIN, zstd and nginx"]
fn process_1_and_the_workers_that_unpack_a_root_have_the_privileges_of_the_table() {
    in_new_namespace(|| {
        let site = Site::new();
        // Zeros that take seconds to unpack.
        site.make(
            "truncate -s 2G zeros; zstd -q zeros -o a.zst
            tar -c zeros | zstd -q -o a.tar.zst; rm zeros",
        );
        for (name, row, workers) in [
            ("a.zst", "the worker that unpacks a root image", 2),
            (
                "a.tar.zst",
                "the worker that unpacks an archive as a root",
                1,
            ),
        ] {
            let machine = site.start(&format!("root=http://192.0.2.1/{name}"));
            let process_1 = || machine.first_process().parse().unwrap_or_default();
            wait_until(row, || {
                let boots = children(process_1()).into_iter();
                let mut boots = boots.filter(|boot| is_as_in("`boot`", *boot));
                boots.any(|boot| {
                    let found = children(boot);
                    found.len() == workers && found.iter().all(|pid| is_as_in(row, *pid))
                })
            });
            has_row("process 1", process_1());
        }
    });
}

/// Returns the children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Starts wireboot with these arguments.
fn start(arguments: &[&str]) -> Server {
    Server::start(Command::new(env!("CARGO_BIN_EXE_wireboot")).args(arguments))
}

/// Returns whether a process has the privileges of a row, which is printed then.
fn is_as_in(name: &str, pid: u32) -> bool {
    let found = status(pid);
    let is_it = row(name) == found;
    if is_it {
        // The kernel gives root what /proc has of a process that is not dumpable (proc(5)), so that no other of
        // this user traces it.
        let owner = fs::metadata(format!("/proc/{pid}/mem")).map(|data| data.uid());
        assert_eq!(owner.unwrap(), 0, "{name} is dumpable");
        println!("| {name} | {} |", found.join(" | "));
    }
    is_it
}

/// Waits until the process has given up what it does not need.
fn has_row(name: &str, pid: u32) {
    wait_until(&format!("{name}: {:?}", row(name)), || is_as_in(name, pid));
}

/// Returns the rows of the table.
fn rows() -> impl Iterator<Item = [&'static str; 5]> {
    let section = CHAPTER
        .split("\n## ")
        .find(|text| text.starts_with("Processes and privileges"));
    section
        .expect("the chapter has it")
        .lines()
        .filter_map(cells)
}

/// Returns the row of the table with this name: user, capabilities, NoNewPrivs and Seccomp.
fn row(name: &str) -> [String; 4] {
    let row = rows().find(|[process, ..]| *process == name);
    let [_, row @ ..] = row.expect("the table has a row of this name");
    row.map(str::to_owned)
}

/// Returns the cells of a row of the table; none for any other line.
fn cells(line: &str) -> Option<[&str; 5]> {
    let cells: Vec<_> = line.split('|').map(str::trim).collect();
    let ["", process, user, capabilities, privileges, seccomp, ""] = cells[..] else {
        return None;
    };
    let is_heading = user == "user" || user.starts_with('-');
    (!is_heading).then_some([process, user, capabilities, privileges, seccomp])
}

/// Returns what the kernel says of a process, in the form of a row.
fn status(pid: u32) -> [String; 4] {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name| field_of(&text, name);
    let effective = u64::from_str_radix(&field("CapEff:"), 16).unwrap_or_default();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let all = u64::from_str_radix(own.unwrap().trim(), 16).unwrap();
    let named = CAPABILITIES.iter().filter(|(_, bit)| effective & bit != 0);
    let names: Vec<_> = named.clone().map(|(name, _)| *name).collect();
    let capabilities = match effective {
        0 => "none".to_owned(),
        _ if effective == all => "all".to_owned(),
        _ if named.map(|(_, bit)| bit).sum::<u64>() == effective => names.join(", "),
        other => format!("{other:x}"),
    };
    // What it could still take is no less; while it gives privileges up, the two differ for a moment.
    let permitted = field("CapPrm:");
    let capabilities = if permitted == field("CapEff:") {
        capabilities
    } else {
        format!("{capabilities}, permitted {permitted}")
    };
    [
        field("Uid:"),
        capabilities,
        field("NoNewPrivs:"),
        field("Seccomp:"),
    ]
}

/// Returns the first value of a line of `/proc/PID/status`.
fn field_of(status: &str, name: &str) -> String {
    let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
    let value = lines
        .next()
        .and_then(|value| value.split_whitespace().next());
    value.unwrap_or_default().to_owned()
}
