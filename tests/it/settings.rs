//! Flags, words, help, manual pages and completions, as whoever starts the program sees them.

use std::process::{Command, Output, Stdio};

use crate::common::folder::Folder;

#[test]
fn output_that_cannot_be_written_is_an_error_and_a_reader_that_is_gone_is_none() {
    let run = |arguments: &str, output: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        let command = command.args(arguments.split(' ')).stdout(output);
        let output = command.stderr(Stdio::piped()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for arguments in ["help", "--version", "explain ip=dhcp", "capture -d udp"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let (code, said) = run(arguments, full.unwrap().into());
        assert_eq!(code, Some(13), "{arguments}: {said}");
        let why = "error: cannot write standard output: No space left on device";
        assert!(said.contains(why), "{arguments}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(
            run(arguments, writer.into()),
            (Some(0), String::new()),
            "{arguments}"
        );
    }
}

#[test]
fn the_help_on_the_program_fits_a_console() {
    let output = Command::new(env!("CARGO_BIN_EXE_wireboot"))
        .arg("help")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // With the line that asks for it, and the one for the next command.
    assert!(text.lines().count() <= 22, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

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
fn octets_that_are_no_utf_8_cost_only_the_words_that_have_them() {
    let folder = Folder::new();
    let path = folder.path("cmdline");
    let words: &[u8] = b"label=caf\xe9 wireboot.interface=none7 wireboot.boot-file=caf\xe9 \
        bootdev=\xff\xfe ip=\"\xc3 :dhcp\" wireboot.link-timeout=0.2\n";
    std::fs::write(&path, words).unwrap();
    let text = fails(&["boot", "--kernel-command-line", path.to_str().unwrap()]);
    assert!(
        text.contains("interface: none7 did not appear within 0.2 s"),
        "{text}"
    );
    for word in [
        "wireboot.boot-file=caf\u{fffd}",
        "bootdev=\u{fffd}\u{fffd}",
        "ip=\u{fffd} :dhcp",
    ] {
        let refusal = format!("\"{word}\" on the kernel command line is ignored: it is not valid");
        assert!(text.contains(&refusal), "{text}");
    }
    assert!(!text.contains("label"), "{text}");
}

#[test]
fn what_is_wrong_with_the_arguments_is_said_in_a_line_that_names_the_flag_and_the_help() {
    for (arguments, expected) in [
        ("", "no command given; 'wireboot help' lists them"),
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
            "missing value for '--timeout SECS'; see 'wireboot boot --help'",
        ),
        (
            "boot -i",
            "missing value for '-i, --interface IF'; see 'wireboot boot --help'",
        ),
        (
            "lease --keep=no",
            "'--keep' takes no value; see 'wireboot lease --help'",
        ),
        ("lease -Z", "unknown flag '-Z'; see 'wireboot lease --help'"),
        ("lease -é", "unknown flag '-é'; see 'wireboot lease --help'"),
        (
            "boot --stop-after lunch",
            "invalid value 'lunch' for '--stop-after STEP': none of link, lease, plan, image, load; see \
             'wireboot boot --help'",
        ),
        ("fetch", "no URL given; see 'wireboot fetch --help'"),
        (
            "fetch --parallel 0 http://192.0.2.1/a",
            "invalid value '0' for '--parallel N': not a number from 1 to 65535; see 'wireboot fetch \
             --help'",
        ),
        (
            "fetch --mtu 67 http://192.0.2.1/a",
            "invalid value '67' for '--mtu BYTES': not a number from 68 to 65535; see 'wireboot fetch \
             --help'",
        ),
        (
            "fetch -i a,b http://192.0.2.1/a",
            "fetch uses one interface, but -i names several; see 'wireboot fetch --help'",
        ),
        (
            "capture -c 0 -i lo",
            "invalid value '0' for '-c, --count N': not a number of 1 or more; see \
             'wireboot capture --help'",
        ),
        (
            "-v lease",
            "'-v' stands before the command: wireboot COMMAND -v; 'wireboot help' lists the commands",
        ),
        (
            "capture -z gzip",
            "tcpdump's '-z' is not supported: a script may compress the files that are complete; see \
             'wireboot capture --help'",
        ),
        (
            "capture -y RAW",
            "tcpdump's '-y' is not supported: only EN10MB; see 'wireboot capture --help'",
        ),
        (
            "capture --print",
            "tcpdump's '--print' is not supported: use -U -w - | tee FILE | wireboot capture -r -; see \
             'wireboot capture --help'",
        ),
        (
            "help nonsense",
            "no help on 'nonsense'; 'wireboot help' lists the commands",
        ),
    ] {
        let text = fails(&arguments.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            text,
            format!("wireboot: error: {expected} (wireboot-troubleshooting(7): usage)\n"),
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
        let start =
            format!("wireboot: error: invalid value '{value}' for '--vlan NAME:IF|try:ID,…': ");
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
fn files_that_are_named_are_read_before_anything_is_touched() {
    let folder = Folder::new();
    let garbage = folder.path("garbage").display().to_string();
    std::fs::write(&garbage, "not what was meant\n").unwrap();
    let gone = "gone: No such file or directory (os error 2)";
    let quoted = format!("{garbage}: ");
    for (arguments, expected) in [
        (
            "boot --key gone",
            format!("cannot read the key {gone}, and it is not a key"),
        ),
        (
            "boot --policy gone",
            format!("cannot read the policy {gone}"),
        ),
        (
            "boot --ca gone",
            format!("cannot read the authorities in {gone}"),
        ),
        (
            "boot --certificate gone",
            format!("cannot read the certificate and key in {gone}"),
        ),
        (
            "lease --script gone",
            format!("cannot run the script {gone}"),
        ),
        (
            "lease --script /etc/passwd",
            "the script /etc/passwd: it is not executable".to_owned(),
        ),
        (
            "lease --release --script /etc",
            "cannot run the script /etc: it is not a file".to_owned(),
        ),
        ("boot --mirror nonsense", "bad mirror: ".to_owned()),
        (
            "boot --key GARBAGE",
            format!("{quoted}not a minisign public key"),
        ),
        ("boot --policy GARBAGE", format!("{quoted}line 1: ")),
        (
            "boot --ca GARBAGE",
            format!("{quoted}it contains no certificate"),
        ),
        (
            "boot --certificate GARBAGE",
            format!("the certificate and key in {quoted}"),
        ),
        (
            "boot --require-signature",
            "no key is configured".to_owned(),
        ),
        (
            "fetch --key gone",
            format!("cannot read the key {gone}, and it is not a key"),
        ),
        (
            "fetch --ca gone",
            format!("cannot read the authorities in {gone}"),
        ),
        (
            "fetch --cert GARBAGE",
            format!("the certificate and key in {quoted}"),
        ),
    ] {
        let mut arguments = arguments.replace("GARBAGE", &garbage);
        // An interface that is not there, and a server that does not answer, would be told otherwise.
        arguments.push_str(if arguments.starts_with("fetch") {
            " --stall-timeout 0.1 tftp://127.0.0.1:9/f"
        } else {
            " -i none0 --link-timeout 0"
        });
        let output = wireboot(&arguments.split(' ').collect::<Vec<_>>());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments}: {text}");
        assert!(
            text.contains(&expected) && text.lines().count() == 1,
            "{arguments}: {text}"
        );
    }
}

#[test]
fn help_is_the_same_by_flag_and_by_command_and_fits_a_console() {
    for command in [
        "lease", "discover", "boot", "fetch", "capture", "account", "arping", "explain", "help",
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
    assert!(says(&["help", "words"]).contains("wireboot.link-timeout=SECS\n"));
}

#[test]
fn the_version_names_commit_target_and_features() {
    let text = says(&["--version"]);
    let inside = text.strip_prefix(concat!("wireboot ", env!("CARGO_PKG_VERSION"), " (commit "));
    let inside = inside.and_then(|text| text.strip_suffix(")\n"));
    let fields: Vec<_> = inside
        .unwrap_or_else(|| panic!("{text}"))
        .split(", ")
        .collect();
    let [_commit, target, features @ ..] = &fields[..] else {
        panic!("{text}");
    };
    let expected = format!("{}-linux", std::env::consts::ARCH);
    assert!(target.starts_with(&expected), "{text}");
    assert_eq!(
        features,
        [
            "arping", "attended", "bond", "capture", "discover", "firmware", "grub", "hand", "iso",
            "manual", "report", "root", "sandbox", "service", "tls", "unpack"
        ]
    );
    assert_eq!(text, says(&["-V"]));
}

#[test]
#[ignore = "needs man"]
fn manual_pages_are_rendered_without_a_warning() {
    for topic in [
        "", "lease", "discover", "boot", "fetch", "capture", "account", "arping", "explain",
        "help", "words",
    ] {
        let arguments = ["help", "--man", topic];
        let page = says(arguments.split_at(if topic.is_empty() { 2 } else { 3 }).0);
        let (shown, complaints) = filter("man", &["--warnings", "-l", "-"], &page);
        assert_eq!(complaints, "", "{topic}");
        for expected in ["NAME", "DESCRIPTION", "wireboot"] {
            assert!(shown.contains(expected), "{topic}: {shown}");
        }
        if topic == "lease" {
            assert!(shown.contains("-i, --interface IF"), "{shown}");
        }
    }
}

#[test]
#[ignore = "needs bash"]
fn what_is_installed_has_its_manual_and_is_taken_away_whole() {
    let folder = Folder::new();
    let target = folder.path("root").display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/initramfs/install");
    let install = |arguments: &[&str]| {
        let status = Command::new(script).args(arguments).status().unwrap();
        assert!(status.success());
        let found = Command::new("find")
            .args([&target, "-type", "f"])
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    let binary = ["--binary", env!("CARGO_BIN_EXE_wireboot")];
    for tool in ["mkinitcpio", "binary"] {
        let into = [tool, "--root", &target];
        let files = install(&[&into[..], &binary].concat());
        for name in [
            "man8/wireboot.8",
            "man8/wireboot-lease.8",
            "man7/wireboot.cmdline.7",
            "/_wireboot",
        ] {
            assert!(files.contains(name), "{tool}, {name}: {files}");
        }
        let has_unit = files.contains("/usr/local/lib/systemd/system/wireboot@.service\n");
        assert_eq!(has_unit, tool == "binary", "{files}");
        assert_eq!(install(&[&into[..], &["--remove"]].concat()), "", "{tool}");
    }
    let alone = format!("{target}/bin");
    let files = install(&[&["binary", "--to", &alone], &binary[..]].concat());
    assert_eq!(files, format!("{alone}/wireboot\n"));
    assert_eq!(install(&["binary", "--to", &alone, "--remove"]), "");
}

#[test]
#[ignore = "needs bash, zsh and fish"]
fn completions_work_in_each_shell() {
    let bash =
        "export PATH=$1:$PATH; eval \"$(wireboot help --completion bash)\"; complete -p wireboot
        for line in 'wireboot l' 'wireboot lease --link' 'wireboot boot --stop-after ' \\
            'wireboot lease --interface l' 'wireboot boot --acd = ov' 'wireboot help wo' \\
            'wireboot fetch -o /etc/hostna'; do
            read -ra COMP_WORDS <<<\"$line\"; [[ $line != *' ' ]] || COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _wireboot; echo \"$line: ${COMPREPLY[*]}\"
        done";
    assert_eq!(
        run("bash", &["--norc", "-euc", bash, "-", &folder_of_binary()]),
        "complete -F _wireboot wireboot\n\
         wireboot l: lease\n\
         wireboot lease --link: --link-timeout\n\
         wireboot boot --stop-after : link lease plan image load\n\
         wireboot lease --interface l: lo\n\
         wireboot boot --acd = ov: overlapped\n\
         wireboot help wo: words\n\
         wireboot fetch -o /etc/hostna: /etc/hostname\n"
    );
    let fish = "set PATH $argv[1] $PATH; wireboot help --completion fish | source
        for line in 'wireboot le' 'wireboot lease --link' 'wireboot boot --stop-after i'
            complete -C $line
        end";
    let shown = run("fish", &["--no-config", "-c", fish, &folder_of_binary()]);
    let names: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["lease", "--link-timeout", "image"], "{shown}");
    // In a terminal, since zsh completes only what is typed; Ctrl-X writes down what a line has become.
    let zsh = r#"export PATH=$1:$PATH; mkdir $2; wireboot help --completion zsh >$2/_wireboot
        zsh -n $2/_wireboot || exit
        cat >$2/setup <<END
fpath=($2 \$fpath); autoload -Uz compinit; compinit -u -d $2/dump
write-down() { print -r -- "\$BUFFER" >>$2/lines; BUFFER= }
zle -N write-down; bindkey '^X' write-down; setopt no_beep
END
        zmodload zsh/zpty; zpty shell zsh -f -i; zpty -w shell ". $2/setup"
        lines=('wireboot le' 'wireboot lease --link' 'wireboot boot --stop-after im')
        for line in $lines; do zpty -w -n shell $line$'\t\x18'; done
        repeat 100; do
            [[ -e $2/lines && $(wc -l <$2/lines) -ge $#lines ]] && break; sleep 0.1
        done
        zpty -d shell; cat $2/lines"#;
    let folder = Folder::new();
    let own = folder.path("zsh").display().to_string();
    let shown = run("zsh", &["-f", "-c", zsh, "-", &folder_of_binary(), &own]);
    let lines: Vec<_> = shown.lines().map(str::trim_end).collect();
    let expected = [
        "wireboot lease",
        "wireboot lease --link-timeout",
        "wireboot boot --stop-after image",
    ];
    assert_eq!(lines, expected);
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

fn folder_of_binary() -> String {
    let path = std::path::Path::new(env!("CARGO_BIN_EXE_wireboot"));
    path.parent().unwrap().display().to_string()
}

fn run(program: &str, arguments: &[&str]) -> String {
    let (shown, complaints) = filter(program, arguments, "");
    assert_eq!(complaints, "", "{program}");
    shown
}

/// Returns what a program prints, and what it complains of.
fn filter(program: &str, arguments: &[&str], input: &str) -> (String, String) {
    use std::io::Write;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb")
        .env("MANWIDTH", "100");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    let text = |octets| String::from_utf8(octets).unwrap();
    (text(output.stdout), text(output.stderr))
}
