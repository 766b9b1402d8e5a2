//! Flags, words and help, as whoever starts the program sees them.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::process::{Command, Output};

use common::folder::Folder;

#[test]
fn flags_win_over_a_file_of_words_and_later_files_over_earlier_ones() {
    let folder = Folder::new();
    let file = |name: &str, text: &str| {
        let path = folder.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let first = file(
        "first",
        "wireboot.link-timeout=0.5 wireboot.interface=none0\n",
    );
    let second = file("second", "wireboot.link-timeout=0.3 ip=none1:dhcp\n");
    let files = [
        "--kernel-command-line",
        &first,
        "--kernel-command-line",
        &second,
    ];
    for (flags, expected) in [
        (
            &["--link-timeout", "0.1", "-i", "none2"][..],
            "interface: none2 did not appear within 0.1 s",
        ),
        (
            &["--link-timeout", "0.1"],
            "interface: none0 and none1 did not appear within 0.1 s",
        ),
        (
            &["-i", "none2"],
            "interface: none2 did not appear within 0.3 s",
        ),
    ] {
        for arguments in [[&files[..], flags].concat(), [flags, &files].concat()] {
            let text = fails(&[&["lease"], &arguments[..]].concat());
            assert!(text.contains(expected), "{arguments:?}: {text}");
        }
    }
}

#[test]
fn what_is_wrong_with_the_arguments_is_said_in_a_line_that_names_the_flag_and_the_help() {
    for (arguments, expected) in [
        ("", "no command is given; 'wireboot help' lists them"),
        (
            "lese",
            "unknown command 'lese' (did you mean 'lease'?); 'wireboot help' lists the commands",
        ),
        (
            "lease eth0",
            "unexpected argument 'eth0' (did you mean '-i eth0'?); see 'wireboot lease --help'",
        ),
        (
            "account x",
            "unexpected argument 'x'; see 'wireboot account --help'",
        ),
        (
            "lease --timeout abc",
            "invalid value 'abc' for '--timeout SECS': not a number of seconds from 0 to a year; see \
             'wireboot lease --help'",
        ),
        (
            "boot --timeout=",
            "a value is missing for '--timeout SECS'; see 'wireboot boot --help'",
        ),
        (
            "boot -i",
            "a value is missing for '--interface IF'; see 'wireboot boot --help'",
        ),
        (
            "lease --keep=no",
            "'--keep' takes no value; see 'wireboot lease --help'",
        ),
        ("lease -Z", "unknown flag '-Z'; see 'wireboot lease --help'"),
        (
            "boot --stop-after lunch",
            "invalid value 'lunch' for '--stop-after STEP': none of link, lease, plan, image, load; see \
             'wireboot boot --help'",
        ),
        ("fetch", "no URL is given; see 'wireboot fetch --help'"),
        (
            "fetch --parallel 0 http://192.0.2.1/a",
            "invalid value '0' for '--parallel N': not a number from 1 to 65535; see 'wireboot fetch \
             --help'",
        ),
        (
            "fetch --mtu 67 http://192.0.2.1/a",
            "invalid value '67' for '--mtu OCTETS': not a number from 68 to 65535; see 'wireboot fetch \
             --help'",
        ),
        (
            "fetch -i a,b http://192.0.2.1/a",
            "files are fetched over one interface, and -i names several; see 'wireboot fetch --help'",
        ),
        (
            "capture -c 0 -i lo",
            "invalid value '0' for '--count N': not a number from 1 to 18446744073709551615; see \
             'wireboot capture --help'",
        ),
        (
            "capture",
            "no interface is given (-i IF), and no file (-r FILE); see 'wireboot capture --help'",
        ),
        (
            "help nonsense",
            "there is no help on 'nonsense'; 'wireboot help' lists the commands",
        ),
    ] {
        let text = fails(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            text,
            format!("wireboot: error: {expected}\n"),
            "{arguments}"
        );
    }
    for (value, expected) in [
        (
            "v7:eth0 wireboot.link-timeout=0.2",
            "not the name of an interface: \"eth0 wireboot",
        ),
        ("v7", "not the VLAN's interface, a colon and"),
        ("v4095:eth0", "does not end with its number, 1 to 4094"),
        ("v7:", "not the name of an interface: \"\""),
    ] {
        let text = fails(&[
            "lease",
            "-i",
            "none0",
            "--link-timeout",
            "0",
            "--vlan",
            value,
        ]);
        let start = format!("wireboot: error: invalid value '{value}' for '--vlan NAME:IF': ");
        assert!(
            text.starts_with(&start) && text.contains(expected),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let text = fails(&["lease", "--request", "3,rooter"]);
    assert!(
        text.contains("'--request LIST'") && text.contains("\"rooter\""),
        "{text}"
    );
    assert!(
        text.contains("'wireboot help options' lists the names"),
        "{text}"
    );
    assert!(says(&["help", "options"]).contains("\n    3  routers\n"));
}

#[test]
fn help_is_the_same_by_flag_and_by_command_and_fits_a_console() {
    for command in [
        "lease", "discover", "boot", "fetch", "capture", "account", "explain", "help",
    ] {
        let text = says(&["help", command]);
        assert!(
            text.starts_with(&format!("usage: wireboot {command}")),
            "{text}"
        );
        assert_eq!(text, says(&[command, "--help"]));
        assert_eq!(text, says(&[command, "-h"]));
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(long, None, "{command}");
    }
    assert_eq!(says(&["help"]), says(&["--help"]));
}

fn wireboot(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    command.args(arguments).output().expect("it was built")
}

/// Returns what a command prints that succeeds.
fn says(arguments: &[&str]) -> String {
    let output = wireboot(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what a command says that fails.
fn fails(arguments: &[&str]) -> String {
    let output = wireboot(arguments);
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}
