//! What a person reads: while there is no answer, when there is one, and where it stays.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::common::client::{keep, lease};
use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::dnsmasq;
use crate::common::terminal::{Screen, Terminal};

const WIREBOOT: &str = env!("CARGO_BIN_EXE_wireboot");

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn who_waits_reads_what_was_sent_how_long_it_takes_and_what_is_on_the_wire() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let client = lease("11");
        // A question by ARP that nobody answers.
        far.run("sleep 1");
        let script = far.write("question", "echo > /dev/udp/192.0.2.77/9");
        far.run(&format!("bash {script}"));
        let output = client.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        let lines = text.lines().filter(|line| !line.contains("the last "));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].starts_with("wireboot: near: carrier"), "{text}");
        assert!(lines[0].ends_with("; DISCOVER sent"), "{text}");
        assert!(
            lines[1].starts_with("wireboot: near: no answer yet, 8 s left: ")
                && lines[1].contains(" DISCOVERs sent; frames seen: ")
                && lines[1].contains(" (ARP "),
            "{text}"
        );
        assert!(lines[2].contains(" yet, 1 s left: "), "{text}");
        let error = "wireboot: error: near: no lease in 11.0 s; ";
        assert!(lines[3].starts_with(error), "{text}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn on_a_terminal_one_line_is_rewritten_and_an_error_is_red_unless_somebody_minds() {
    in_new_namespace(|| {
        let _far = Far::plug_in();
        for (variable, red) in [("PAGER", true), ("NO_COLOR", false)] {
            let mut command = Command::new(WIREBOOT);
            command.args(["lease", "-i", "near", "--timeout", "4"]);
            command
                .env("TERM", "xterm")
                .env_remove("NO_COLOR")
                .env(variable, "1");
            let (mut screen, mut seen, mut all) = (Screen::default(), Vec::new(), String::new());
            let code = Terminal::start(command).watch(|text| {
                all.push_str(text);
                screen.feed(text);
                seen.extend(screen.rows().get(1).cloned());
            });
            assert_eq!(code, Some(3));
            for left in [3, 2, 1] {
                // All of it at 40 columns.
                let left = format!("wireboot: near: no answer yet, {left} s left");
                assert!(left.len() <= 40);
                assert!(
                    seen.iter().any(|row| row.starts_with(&left)),
                    "{left}: {seen:?}"
                );
            }
            let mut rows = screen.rows();
            rows.retain(|row| !row.contains("the last "));
            assert_eq!(rows.len(), 2, "{rows:?}");
            assert!(rows[0].contains("near: carrier"), "{rows:?}");
            assert!(
                rows[1].starts_with("wireboot: error: near: no lease"),
                "{rows:?}"
            );
            assert_eq!(
                all.contains("wireboot: \x1b[1;31merror:\x1b[0m near"),
                red,
                "{all:?}"
            );
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and dnsmasq"]
fn who_keeps_a_lease_says_that_it_is_renewed_and_what_is_not_answered() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let server = dnsmasq(&far, "");
        let client = keep(&[]);
        client.wait_for("192.0.2.100/24 from 192.0.2.1 for ");
        client.wait_for("near: carrier");
        client.signal(Signal::SIGHUP);
        client.wait_for("near: renewing the lease");
        client.wait_for("near: renewed 192.0.2.100/24 from 192.0.2.1 for ");
        drop(server);
        client.signal(Signal::SIGHUP);
        client.signal(Signal::SIGHUP);
        client.signal(Signal::SIGTERM);
        client.wait_for("near: exiting, lease kept");
    });
}

/// Process 1 gives its boot this variable, and whoever has it writes to the kernel's log.
const OF_FIRST: &str = "WIREBOOT_MOMENTS";

#[test]
#[ignore = "needs CAP_SYS_ADMIN"]
fn what_process_1_and_its_boot_say_is_in_the_kernels_log_with_its_level() {
    // What the kernel's log lets processes write, the level of its console, and whether the kernel shows an
    // error and a remark itself.
    for (devkmsg, printk, error, remark) in [
        ("on", "7 4 1 7", true, true),
        ("on", "4 4 1 7", true, false),
        ("ratelimit", "7 4 1 7", false, false),
    ] {
        in_new_namespace(move || {
            let files = std::path::Path::new("/run/log");
            fs::create_dir(files).unwrap();
            for (name, target, text) in [
                ("kmsg", "/dev/kmsg", ""),
                ("devkmsg", "/proc/sys/kernel/printk_devkmsg", devkmsg),
                ("printk", "/proc/sys/kernel/printk", printk),
            ] {
                let file = files.join(name);
                fs::write(&file, text).unwrap();
                let bound = Command::new("mount")
                    .arg("--bind")
                    .args([file.as_path(), target.as_ref()])
                    .status();
                assert!(bound.unwrap().success(), "{target}");
            }
            // A container leaves the setting as it is.
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--kill-child", WIREBOOT]);
            command
                .args(["boot", "-i", "nothing", "--link-timeout", "1"])
                .env(OF_FIRST, "");
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let log = fs::read_to_string(files.join("kmsg")).unwrap();
            assert!(
                log.contains("<6>wireboot: waiting up to 1 s for nothing to appear"),
                "{log}"
            );
            assert!(
                log.contains("<3>wireboot: error: no usable network interface: "),
                "{log}"
            );
            assert_eq!(
                !said.contains("error: no usable network interface"),
                error,
                "{said}"
            );
            assert_eq!(!said.contains("waiting up to 1 s"), remark, "{said}");
        });
    }
}
