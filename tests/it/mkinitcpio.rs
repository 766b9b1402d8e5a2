//! The two files for mkinitcpio, without mkinitcpio, which Debian does not have: each is run by the
//! shell that would run it, with the functions and variables that mkinitcpio documents.

use std::path::Path;
use std::process::Command;

use crate::common::far::Far;
use crate::common::in_new_namespace;
use crate::common::servers::dnsmasq;

#[test]
fn the_install_hook_takes_in_the_client_drivers_and_the_hook() {
    let asked = said(Command::new("bash").args(["-euc", INSTALL, file("install").as_str()]));
    let expected = [
        "add_checked_modules /drivers/net/",
        "add_module af_packet",
        "add_binary /usr/local/sbin/wireboot /usr/bin/wireboot",
        "add_runscript",
    ];
    for line in expected {
        assert!(asked.lines().any(|asked| asked == line), "{line}: {asked}");
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_hook_takes_a_lease_and_mounts_what_the_command_line_or_the_lease_names() {
    for (words, mounted) in [
        (
            "ip=near:dhcp root=/dev/nfs",
            "-o nolock,ro,vers=4 192.0.2.9:/srv/lease /new_root",
        ),
        (
            "ip=near:dhcp root=/dev/nfs nfsroot=/srv/line,tcp rwopt=rw",
            "-o nolock,rw,tcp 192.0.2.1:/srv/line /new_root",
        ),
        (
            "ip=near:dhcp nfsroot=192.0.2.8:/srv/line",
            "-o nolock,ro 192.0.2.8:/srv/line /new_root",
        ),
    ] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = dnsmasq(&far, "--dhcp-option=17,192.0.2.9:/srv/lease,vers=4");
            let lines = run_hook(&far, words);
            assert_eq!(lines, format!("root=nfs\nnfsmount {mounted}\n"), "{words}");
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_hook_leaves_a_machine_alone_that_needs_no_network() {
    for words in ["root=/dev/sda1", "ip=off root=/dev/sda1"] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let server = dnsmasq(&far, "");
            let lines = run_hook(&far, words);
            assert_eq!(lines, "root=/dev/sda1\ndefault_mount_handler /new_root\n");
            assert_eq!(server.count("DHCPDISCOVER"), 0);
        });
    }
}

/// Sources the file and calls `build`, which says what it asks for.
const INSTALL: &str = r#"
    for name in add_checked_modules add_module add_binary add_runscript; do
        eval "$name() { echo $name \"\$@\"; }"
    done
    . "$0"
    build
    help >/dev/null
"#;

/// As `init` of mkinitcpio does: words of the command line become variables, the hook is sourced and
/// called, and then the handler with the place for the root.
const HOOK: &str = r#"
    mount -o bind "$1" /proc/cmdline
    for word in $(cat /proc/cmdline); do eval "$word"; done
    mount_handler=default_mount_handler
    default_mount_handler() { echo default_mount_handler "$@"; }
    nfsmount() { echo nfsmount "$@"; }
    . "$0"
    run_hook
    echo "root=$root"
    "$mount_handler" /new_root
"#;

fn run_hook(far: &Far, words: &str) -> String {
    let command_line = far.write("cmdline", words);
    let program = Path::new(env!("CARGO_BIN_EXE_wireboot"));
    let folder = program.parent().expect("it is in a folder").display();
    let path = std::env::var("PATH").expect("there is one");
    let lines = said(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["busybox", "ash", "-ec", HOOK, &file("hook"), &command_line])
            .env("PATH", format!("{folder}:{path}")),
    );
    // What the client tells comes first.
    lines
        .find("root=")
        .map(|at| lines[at..].to_owned())
        .expect("the hook came to its end")
}

fn file(name: &str) -> String {
    format!("{}/initramfs/mkinitcpio/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("the shell is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}
