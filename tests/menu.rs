//! The menu at a terminal: `wireboot boot` on a pty, in a namespace with a real server, up to the
//! plan that it prints.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::fs;
use std::process::Command;

use common::far::{Far, Server};
use common::in_new_namespace;
use common::servers::dnsmasq;
use common::terminal::Terminal;

const MENU: &str = "menu title Machines\nui menu.c32\ntimeout 600\n\
    label first\nmenu default\nkernel k1\nappend word=one\n\
    menu separator\n\
    label second\nkernel k2\nappend word=two\n\
    label third\nkernel k3\nappend word=three\n";

const DOWN: &str = "\x1b[B";
const UP: &str = "\x1b[A";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn arrows_digits_and_edited_command_lines_choose_what_is_booted() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, MENU);
        // The separator is passed over, and the ends are ends.
        let keys = [DOWN, DOWN, DOWN, UP, "\r"].concat();
        let mut boot = start();
        boot.shows(&["Machines", "1 first", "2 second", "3 third", "starts in"]);
        boot.types(&keys);
        plans(boot, "/k2", "BOOT_IMAGE=k2 word=two");

        let mut boot = start();
        boot.shows(&["starts in"]);
        boot.types("3");
        // A digit only moves the bar, and ends the countdown.
        boot.shows(&["Enter starts, Tab edits"]);
        boot.types("\t");
        boot.shows(&["> word=three"]);
        boot.types("\x7f\x7f\x7f\x7f\x7fother\r");
        plans(boot, "/k3", "BOOT_IMAGE=k3 word=other");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_key_the_countdown_ends_in_the_default() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, &MENU.replace("timeout 600", "timeout 20"));
        let mut boot = start();
        boot.shows(&["starts in 2 s", "starts in 1 s"]);
        plans(boot, "/k1", "BOOT_IMAGE=k1 word=one");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn escape_leaves_the_menu_and_the_terminal_is_as_it_was() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, MENU);
        let mut boot = start();
        let before = nix::sys::termios::tcgetattr(boot.near()).unwrap();
        boot.shows(&["starts in"]);
        boot.types("\x1b");
        boot.shows(&["nothing was chosen from the menu"]);
        assert_eq!(boot.child.wait().unwrap().code(), Some(6));
        let after = nix::sys::termios::tcgetattr(boot.near()).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
    });
}

/// dnsmasq, which offers a pxelinux configuration.
fn serve(far: &Far, configuration: &str) -> Server {
    fs::create_dir(far.folder.join("pxelinux.cfg")).unwrap();
    far.write("pxelinux.cfg/default", configuration);
    let root = far.folder.display();
    let more = format!("--enable-tftp --tftp-root={root} --dhcp-boot=pxelinux.0");
    dnsmasq(far, &more)
}

/// Starts `wireboot boot` at a terminal.
fn start() -> Terminal {
    let arguments = "boot -i near --stop-after plan --timeout 20";
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(arguments.split(' '));
    Terminal::start(command)
}

/// Waits for the plan to be printed, and for the end.
fn plans(mut boot: Terminal, kernel: &str, command_line: &str) {
    boot.shows(&["kernel  ", kernel, "command line", command_line]);
    boot.shows(&["stopped after plan"]);
    assert!(boot.child.wait().unwrap().success());
}
