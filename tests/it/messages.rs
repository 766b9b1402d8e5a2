//! What a person reads: while there is no answer, when there is one, and where it stays.

use std::fs;
use std::process::Command;

use crate::common::in_new_namespace;

const WIREBOOT: &str = env!("CARGO_BIN_EXE_wireboot");

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
