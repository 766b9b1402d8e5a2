//! The menu at a terminal: `wireboot boot` on a pty, in a namespace with a real server, up to the
//! plan that it prints.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, openpty};

use common::far::{Far, Server};
use common::in_new_namespace;
use common::servers::dnsmasq;

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
        let mut boot = Boot::start();
        boot.shows(&["Machines", "1 first", "2 second", "3 third", "starts in"]);
        boot.types(&keys);
        boot.plans("/k2", "BOOT_IMAGE=k2 word=two");

        let mut boot = Boot::start();
        boot.shows(&["starts in"]);
        boot.types("3");
        // A digit only moves the bar, and ends the countdown.
        boot.shows(&["Enter starts, Tab edits"]);
        boot.types("\t");
        boot.shows(&["> word=three"]);
        boot.types("\x7f\x7f\x7f\x7f\x7fother\r");
        boot.plans("/k3", "BOOT_IMAGE=k3 word=other");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn without_a_key_the_countdown_ends_in_the_default() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, &MENU.replace("timeout 600", "timeout 20"));
        let mut boot = Boot::start();
        boot.shows(&["starts in 2 s", "starts in 1 s"]);
        boot.plans("/k1", "BOOT_IMAGE=k1 word=one");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn escape_leaves_the_menu_and_the_terminal_is_as_it_was() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, MENU);
        let mut boot = Boot::start();
        let before = nix::sys::termios::tcgetattr(&boot.near).unwrap();
        boot.shows(&["starts in"]);
        boot.types("\x1b");
        boot.shows(&["nothing was chosen from the menu"]);
        assert_eq!(boot.child.wait().unwrap().code(), Some(6));
        let after = nix::sys::termios::tcgetattr(&boot.near).unwrap();
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

/// `wireboot boot` at a terminal.
struct Boot {
    child: Child,
    /// The person's end.
    terminal: File,
    /// The program's end.
    near: File,
    shown: String,
}

impl Boot {
    fn start() -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let near = File::from(slave);
        let own = || near.try_clone().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args([
                "boot",
                "-i",
                "near",
                "--stop-after",
                "plan",
                "--timeout",
                "20",
            ])
            .stdin(own())
            .stdout(own())
            .stderr(own())
            .spawn()
            .unwrap();
        Self {
            child,
            terminal: File::from(master),
            near,
            shown: String::new(),
        }
    }

    /// Waits until these have been shown, in this order.
    fn shows(&mut self, expected: &[&str]) {
        for text in expected {
            while !self.shown.contains(text) {
                self.read(text);
            }
            let at = self.shown.find(text).unwrap();
            self.shown.replace_range(..at + text.len(), "");
        }
    }

    fn read(&mut self, awaited: &str) {
        let mut ready = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        let count = poll(&mut ready, PollTimeout::from(30_000_u16)).unwrap();
        assert_eq!(count, 1, "no \"{awaited}\" in {:?}", self.shown);
        let mut octets = [0; 4096];
        let len = self.terminal.read(&mut octets).unwrap();
        let text = String::from_utf8_lossy(octets.get(..len).unwrap());
        self.shown.push_str(&text);
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for the plan to be printed, and for the end.
    fn plans(mut self, kernel: &str, command_line: &str) {
        self.shows(&["kernel  ", kernel, "command line", command_line]);
        self.shows(&["stopped after Plan"]);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
