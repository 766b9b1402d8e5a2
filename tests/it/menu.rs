//! The menu at a terminal: `wireboot boot` on a pty, in a namespace with a real server, up to the
//! plan that it prints.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcgetattr;
use nix::unistd::Pid;

use crate::common::client::{addresses, json};
use crate::common::far::{Far, Server};
use crate::common::servers::dnsmasq;
use crate::common::terminal::Terminal;
use crate::common::{in_new_namespace, ip};
use wireboot_proto::format::kernel_image::fixture::bz_image;

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
        let before = tcgetattr(boot.near()).unwrap();
        boot.shows(&["starts in"]);
        boot.types("\x1b");
        boot.shows(&["the menu was left by a key"]);
        assert_eq!(boot.child.wait().unwrap().code(), Some(6));
        let after = tcgetattr(boot.near()).unwrap();
        assert_eq!(after.local_flags, before.local_flags);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_signal_in_a_menu_leaves_network_and_terminal_as_they_were() {
    for (signal, more) in [
        (Signal::SIGINT, ""),
        (Signal::SIGQUIT, ""),
        (Signal::SIGTERM, "--kernel-command-line words"),
    ] {
        in_new_namespace(move || {
            let far = Far::plug_in();
            let _server = serve(&far, MENU);
            ip("link set near up");
            ip("address add 192.0.2.100/24 dev near valid_lft 5000 preferred_lft 4000");
            ip("address add 203.0.113.9/32 dev near");
            ip("route add default via 192.0.2.9 dev near metric 7");
            let network = || {
                (
                    set_addresses(),
                    ip("-4 route show"),
                    ip("-d link show near"),
                )
            };
            let before = network();
            let words =
                "ip=192.0.2.10:192.0.2.1:192.0.2.1:24::near:none wireboot.boot-file=pxelinux.0";
            let words = far.write("words", words);
            let mut boot = start_with(&more.replace("words", &words));
            let settings = tcgetattr(boot.near()).unwrap();
            boot.shows(&["Machines", "starts in"]);
            assert_ne!(network(), before);
            let pid = i32::try_from(boot.child.id()).unwrap();
            kill(Pid::from_raw(pid), signal).unwrap();
            boot.shows(&["wireboot: interrupted"]);
            let code = boot.child.wait().unwrap().code();
            assert_eq!(code, Some(128 + signal as i32));
            assert_eq!(network(), before);
            let after = tcgetattr(boot.near()).unwrap();
            assert_eq!(after.local_flags, settings.local_flags);
        });
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_signal_ends_a_script_that_waits() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, MENU);
        let script = "#!ipxe\necho it waits\nsleep 3600\n";
        far.write("script.ipxe", script);
        for sandbox in ["on", "off"] {
            let flags = format!("--boot-file tftp://192.0.2.1/script.ipxe --sandbox {sandbox}");
            let mut boot = start_with(&flags);
            boot.shows(&["it waits"]);
            let pid = i32::try_from(boot.child.id()).unwrap();
            kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
            boot.shows(&["wireboot: interrupted"]);
            assert_eq!(boot.child.wait().unwrap().code(), Some(130));
            assert_eq!(addresses(), [""; 0]);
        }
    });
}

/// The addresses of `near`, each with its time to the full hundred seconds.
fn set_addresses() -> Vec<(String, u64)> {
    let link = &json("-4 -j address show near")[0];
    let addresses = link["addr_info"].as_array().unwrap().iter();
    let described = addresses.map(|address| {
        let time = address["valid_life_time"].as_u64().unwrap();
        (address["local"].to_string(), time.next_multiple_of(100))
    });
    described.collect()
}

const PROMPT: &str = "default first\nprompt 1\ntimeout 600\nsay Type a label.\n\
    label first\nkernel k1\nappend word=one\nlabel rescue\nkernel k2\nappend word=two\n";

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_label_is_typed_at_the_prompt() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, PROMPT);
        std::fs::write(far.folder.join("k2"), bz_image()).unwrap();
        let mut boot = start();
        boot.shows(&["Type a label.", "boot: "]);
        boot.types("\t");
        boot.shows(&["first rescue", "boot: "]);
        boot.types("rescu\r");
        boot.shows(&["Could not find kernel image: rescu", "boot: "]);
        boot.types("x");
        boot.shows(&["boot: x"]);
        boot.types("\x1b");
        boot.shows(&["boot: "]);
        boot.types("rescue single\r");
        plans(boot, "/k2", "BOOT_IMAGE=k2 word=two single");

        let mut boot = start();
        boot.shows(&["boot: "]);
        boot.types("\r");
        plans(boot, "/k1", "BOOT_IMAGE=k1 word=one");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn function_keys_show_their_files_and_hot_keys_move_the_bar() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, &format!("{PROMPT}display hello.msg\nf1 help.msg\n"));
        far.write("hello.msg", "\x0cWelcome to this rack.\n");
        far.write("help.msg", "Ask the operator.\n");
        std::fs::write(far.folder.join("k2"), bz_image()).unwrap();
        let mut boot = start();
        boot.shows(&["Welcome to this rack.", "boot: "]);
        boot.types("\x1bOP");
        boot.shows(&["Ask the operator.", "boot: "]);
        // Ctrl-U.
        boot.types("first x\x15rescue y\r");
        plans(boot, "/k2", "BOOT_IMAGE=k2 word=two y");

        let entries = MENU.replace("label third\n", "label third\nmenu label T^hird\n");
        far.write("pxelinux.cfg/default", &format!("{entries}f1 help.msg\n"));
        let mut boot = start();
        boot.shows(&["starts in"]);
        boot.types("h");
        boot.shows(&["\x1b[7m  3 Third", "Enter starts, Tab edits"]);
        boot.types("\x1bOP");
        boot.shows(&["Ask the operator.", "Press a key for the menu"]);
        boot.types(" ");
        boot.shows(&["1 first"]);
        boot.types("h\r");
        plans(boot, "/k3", "BOOT_IMAGE=k3 word=three");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_prompt_boots_the_default_in_time_unless_a_key_is_pressed() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, &PROMPT.replace("timeout 600", "timeout 10"));
        let mut boot = start();
        boot.shows(&["boot: "]);
        plans(boot, "/k1", "BOOT_IMAGE=k1 word=one");
        plans(start_with("--unattended"), "/k1", "BOOT_IMAGE=k1 word=one");

        std::fs::write(far.folder.join("k2"), bz_image()).unwrap();
        let mut boot = start();
        boot.shows(&["boot: "]);
        boot.types("rescue");
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        boot.types("\r");
        plans(boot, "/k2", "BOOT_IMAGE=k2 word=two");
    });
}

/// What would clear the screen, name the window, ring, begin a sequence by one character (C1), and
/// turn text around.
const ACTIVE: [&str; 5] = ["\x1b[5m", "\x1b]0;x", "\x07", "\u{9b}2J", "\u{202e}"];

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_reasons_of_a_plan_are_shown_once_wherever_the_log_goes() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _server = serve(&far, "default first\nlabel first\nkernel k1\n");
        let reason = "default:1: is the default";
        for flags in ["--explain", "--explain --quiet"] {
            let mut boot = start_with(flags);
            boot.shows(&["command line  BOOT_IMAGE=k1"]);
            assert_eq!(boot.written().matches(reason).count(), 1, "{flags}");
            assert!(boot.child.wait().unwrap().success());
        }
        let output = command("--explain").output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.matches(reason).count(), 1, "{shown}");
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn what_comes_from_the_network_cannot_steer_the_terminal() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let bad = ACTIVE.concat();
        let configuration = format!(
            "menu title T{bad}T\nui menu.c32\nsay S{bad}S\ntimeout 600\nlabel a{bad}a\n\
             menu label L{bad}L\nkernel k1\nappend A{bad}A\ntext help\nH{bad}H\nendtext\n"
        );
        let _server = serve(&far, &configuration);
        let mut boot = start_with("--explain");
        boot.shows(&[
            "S\\u{1b}[5m\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{202e}S",
            "T\\u{1b}",
            "L\\u{1b}",
        ]);
        boot.types("\t");
        boot.shows(&["> A\\u{1b}[5m", "A\x1b[7m \x1b[0m"]);
        boot.types("\x1b");
        boot.shows(&["H\\u{1b}[5m"]);
        boot.types("\t\r");
        boot.shows(&[
            "label a\\u{1b}[5m",
            "command line  BOOT_IMAGE=k1 A\\u{1b}[5m",
        ]);
        boot.shows(&["stopped after plan"]);
        assert!(boot.child.wait().unwrap().success());
        is_clean(&boot);
        let mut boot = start_with("--json");
        boot.shows(&["L\\u{1b}"]);
        boot.types("\r");
        boot.shows(&["BOOT_IMAGE=k1 A\\u001b[5m\\u001b]0;x\\u0007\\u009b2J\\u202eA\""]);
        assert!(boot.child.wait().unwrap().success());
        is_clean(&boot);
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn prompts_and_texts_of_scripts_cannot_steer_the_terminal() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let mut script = String::from("#!ipxe\n");
        for (number, octets) in [
            "1b:5b:35:6d",
            "1b:5d:30:3b:78",
            "07",
            "c2:9b:32:4a",
            "e2:80:ae",
        ]
        .into_iter()
        .enumerate()
        {
            script.push_str(&format!("set b{number}:hex {octets}\n"));
        }
        script.push_str(
            "set bad ${b0:string}${b1:string}${b2:string}${b3:string}${b4:string}\n\
             echo E${bad}E\nset field D${bad}D\nprompt P${bad}P ||\nread field\n\
             kernel gone${bad} || kernel k${bad}\nboot\n",
        );
        far.write("boot.ipxe", &script);
        let root = far.folder.display();
        let more = format!("--enable-tftp --tftp-root={root} --dhcp-boot=boot.ipxe");
        let _server = dnsmasq(&far, &more);
        let mut boot = start();
        boot.shows(&["E\\u{1b}[5m", "P\\u{1b}[5m"]);
        boot.types("x");
        boot.shows(&["field: D\\u{1b}[5m", "D\x1b[7m"]);
        boot.types("\r");
        // Neither is an address, and the errors say so with the names.
        boot.shows(&["error:\u{1b}[0m nothing to boot", "k\\u{1b}[5m"]);
        assert_eq!(boot.child.wait().unwrap().code(), Some(6));
        is_clean(&boot);
    });
}

fn is_clean(boot: &Terminal) {
    for active in ACTIVE {
        let written = boot.written();
        assert!(!written.contains(active), "{active:?} in {written:?}");
    }
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
    start_with("")
}

fn start_with(flags: &str) -> Terminal {
    Terminal::start(command(flags))
}

fn command(flags: &str) -> Command {
    let arguments = format!("boot -i near --stop-after plan --timeout 20 {flags}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(arguments.split_whitespace());
    command
}

/// Waits for the plan to be printed, and for the end.
fn plans(mut boot: Terminal, kernel: &str, command_line: &str) {
    boot.shows(&["kernel  ", kernel, "command line", command_line]);
    boot.shows(&["stopped after plan"]);
    assert!(boot.child.wait().unwrap().success());
}
