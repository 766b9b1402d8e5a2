//! The files of `wireboot capture -C`, `-W` and `-G`, beside those of tcpdump.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;

use crate::common::folder::Folder;
use crate::common::{in_new_namespace, ip, pair, wait_until};

const WIREBOOT: &str = env!("CARGO_BIN_EXE_wireboot");
const FRAME_LEN: usize = 1_000;

#[test]
#[ignore = "needs tcpdump and tshark"]
fn files_of_a_size_have_the_names_of_tcpdump_and_every_frame() {
    let folder = Folder::new();
    let all = folder.path("all");
    let mut file: Vec<u8> = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1_u32]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let len = u32::try_from(FRAME_LEN).unwrap();
    for _ in 0..4_500 {
        file.extend(
            [1, 2, len, len]
                .iter()
                .flat_map(|word: &u32| word.to_le_bytes()),
        );
        file.extend(frame());
    }
    fs::write(&all, file).unwrap();
    for (flags, count) in [
        ("-C 1", 4_500),
        ("-C 3 -W 1", 0),
        ("-C 1 -W 2", 0),
        ("-C 1 -W 12", 4_500),
        ("-C 1 -W 12 -G 3600", 4_500),
        ("-C 1000 -W 3", 4_500),
        ("-G 3600 -W 3", 4_500),
    ] {
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path(name));
        for (program, folder) in [(WIREBOOT, &ours), ("tcpdump", &theirs)] {
            fs::create_dir(folder).unwrap();
            let mut command = command(program, folder, &format!("{flags} -w f%Y -r"));
            let output = command.arg(&all).output().unwrap();
            assert!(output.status.success(), "{flags}: {output:?}");
        }
        assert_eq!(names(&ours), names(&theirs), "{flags}");
        if count > 0 {
            assert_eq!(frames(&ours), count, "{flags}");
        }
        for folder in [ours, theirs] {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and tcpdump"]
fn files_of_a_time_end_with_their_number_as_those_of_tcpdump() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let folder = Folder::new();
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path(name));
        let flags = "-i near -G 1 -W 3 -w f-%Y%m%d-%s.pcap";
        let mut running = [(WIREBOOT, &ours), ("tcpdump", &theirs)].map(|(program, folder)| {
            fs::create_dir(folder).unwrap();
            start(command(program, folder, flags))
        });
        for child in &mut running {
            // Each file is ended by the frame behind it.
            while child.try_wait().unwrap().is_none() {
                sender.send(&frame()).unwrap();
                sleep(Duration::from_millis(50));
            }
        }
        let said = running.into_iter().map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        });
        for said in said {
            assert!(said.contains("Maximum file limit reached: 3\n"), "{said}");
            assert!(said.contains(" packets captured\n"), "{said}");
        }
        for folder in [&ours, &theirs] {
            let names = names(folder);
            assert_eq!(names.len(), 3, "{names:?}");
            for name in names {
                let seconds = name.strip_prefix("f-20").unwrap();
                let (_, seconds) = seconds.split_once('-').unwrap();
                let seconds = seconds.strip_suffix(".pcap").unwrap();
                assert!(seconds.parse::<u64>().is_ok(), "{name}");
            }
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and tcpdump"]
fn a_running_capture_begins_files_with_and_without_its_sandbox() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let folder = Folder::new();
        for more in ["", " --sandbox off"] {
            let path = folder.path("files");
            fs::create_dir(&path).unwrap();
            let child = start(command(
                WIREBOOT,
                &path,
                &format!("-i near -C 100k -w f{more}"),
            ));
            for _ in 0..1_000 {
                sender.send(&frame()).unwrap();
            }
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(names(&path).len(), 11, "{:?}", names(&path));
            assert_eq!(frames(&path), 1_000);
            fs::remove_dir_all(&path).unwrap();
        }
        // The folder goes: the next file cannot be made.
        let path = folder.path("gone");
        fs::create_dir(&path).unwrap();
        let child = start(command(WIREBOOT, &path, "-i near -C 100k -w f"));
        fs::remove_dir_all(&path).unwrap();
        for _ in 0..200 {
            sender.send(&frame()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(13), "{said}");
        assert!(
            said.contains("error: cannot write f1: No such file"),
            "{said}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn an_interface_has_a_number_and_one_without_ethernet_is_refused() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        ip("tuntap add tunnel mode tun");
        ip("link set tunnel up");
        let said = |flags: &str| {
            let output = command(WIREBOOT, Path::new("/"), flags).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            (
                output.status.code(),
                said + &String::from_utf8(output.stdout).unwrap(),
            )
        };
        let (code, text) = said("-i tunnel -c 1");
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains("tunnel: its frames have no Ethernet header"),
            "{text}"
        );
        assert!(said("-i 0").1.contains("0: no such interface"));
        let list = said("-D").1;
        let number = list.lines().find(|line| line.contains(".near ")).unwrap();
        let number = number.split_once('.').unwrap().0;
        for (name, all) in [(number, "near"), ("any", "lo, near, far")] {
            let child = start(command(
                WIREBOOT,
                Path::new("/"),
                &format!("-i {name} -c 1"),
            ));
            sender.send(&frame()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let mut names: Vec<_> = all.split(", ").collect();
            let listed = said
                .lines()
                .next()
                .unwrap()
                .strip_prefix("listening on ")
                .unwrap();
            let (listed, rest) = listed.split_once(", link-type ").unwrap();
            let mut listed: Vec<_> = listed.split(", ").collect();
            names.sort_unstable();
            listed.sort_unstable();
            assert_eq!(listed, names, "{said}");
            assert_eq!(rest, "EN10MB (Ethernet), snapshot length 262144 bytes");
            assert!(said.contains("\n1 packet captured\n"), "{said}");
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn signals_print_counters_and_write_what_is_buffered_as_with_tcpdump() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        for (program, flags) in [(WIREBOOT, "--ring v2"), ("tcpdump", "--immediate-mode")] {
            let mut child = start(command(
                program,
                Path::new("/"),
                &format!("-i near {flags} -e"),
            ));
            let pid = Pid::from_raw(child.id().cast_signed());
            let mut said = BufReader::new(child.stderr.take().unwrap())
                .lines()
                .map(Result::unwrap);
            assert!(
                said.any(|line| line.starts_with("listening on") || line.contains(": listening"))
            );
            for signal in [Signal::SIGUSR2, Signal::SIGUSR1] {
                sender.send(&frame()).unwrap();
                kill(pid, signal).unwrap();
            }
            let words = [
                "packet",
                "captured,",
                "received by filter,",
                "dropped by kernel",
            ];
            assert!(said.any(|line| words.iter().all(|word| line.contains(word))));
            kill(pid, Signal::SIGINT).unwrap();
            assert!(said.any(|line| line.ends_with("dropped by kernel") && !line.contains(',')));
            assert!(child.wait().unwrap().success());
        }
    });
}

#[test]
fn a_filter_that_is_not_understood_is_shown_with_the_place() {
    let output = command(WIREBOOT, &std::env::temp_dir(), "-d udp prot 67").output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    let expected =
        "  udp prot 67\n      ^\nwireboot: error: the filter: \"prot\" is not expected here (";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn what_rotates_needs_a_file_and_a_size_or_a_time() {
    for (flags, why) in [
        ("-i lo -C 1", "-C and -G go with -w FILE"),
        ("-i lo -G 1 -w -", "-C and -G go with -w FILE"),
        ("-i lo -W 3 -w f", "-W goes with -C or -G"),
        ("-i lo -C 1x -w f", "not a size such as"),
        ("-i lo -C 0 -w f", "not a size such as"),
        ("-i lo -G 0 -w f", "not a number of 1 or more"),
        ("-i lo -G 1 -w f%Q", "%Q in the name is not supported"),
    ] {
        let output = command(WIREBOOT, &std::env::temp_dir(), flags).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flags}: {said}");
        assert!(said.contains(why), "{flags}: {said}");
    }
}

fn frame() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x52, 0x54, 0, 1, 2, 3, 0x88, 0xb5]);
    frame.resize(FRAME_LEN, 0);
    frame
}

fn command(program: &str, folder: &Path, flags: &str) -> Command {
    let mut command = Command::new(program);
    if program == WIREBOOT {
        command.arg("capture");
    } else {
        command.args(["-Z", "root"]);
    }
    command.args(flags.split(' ')).current_dir(folder);
    command.env("TZ", "UTC");
    command
}

/// Starts a capture on `near`, and waits until it captures.
fn start(mut command: Command) -> Child {
    let before = promiscuity();
    command.stderr(Stdio::piped()).stdout(Stdio::null());
    let child = command.spawn().unwrap();
    wait_until("the ring is bound", || promiscuity() > before);
    child
}

fn promiscuity() -> u32 {
    let text = ip("-d link show near");
    let (_, rest) = text.split_once("promiscuity ").unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Counts the frames in all files of a folder, which tshark must read without complaint.
fn frames(folder: &Path) -> usize {
    let counts = names(folder).into_iter().map(|name| {
        let mut command = Command::new("tshark");
        command.args(["-T", "fields", "-e", "frame.len", "-r"]);
        let output = command.arg(folder.join(name)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().count()
    });
    counts.sum()
}
