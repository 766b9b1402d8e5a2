//! `wireboot capture` as it is run, beside tcpdump and tshark.

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::folder::Folder;
use crate::common::{in_new_namespace, ip, pair, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;
use wireboot_proto::packet::dhcp::{Message, Op};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::option::Options;

fn broadcast(ethertype: u16, number: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x52, 0x54, 0, 1, 2, 3]);
    frame.extend(ethertype.to_be_bytes());
    frame.resize(60, number);
    frame
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_written_capture_opens_in_tshark_with_every_frame_until_sigterm() {
    in_new_namespace(|| {
        let (near, far) = pair();
        for ring in ["v2", "v3"] {
            // Of several sockets the kernel serves the oldest last.
            let watcher = PacketSocket::open(near, &FilterProgram::everything()).unwrap();
            let file = Temporary::new("pcapng", &[]);
            let filter = "ether host 52:54:00:01:02:03 and not ip";
            let child = capture(&["-i", "near", "--ring", ring, "-w", &file.0, filter]);
            wait_until("the ring is bound", || {
                ip("-d link show near").contains("promiscuity 1")
            });
            let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
            for number in 0..50 {
                sender.send(&broadcast(0x88b5, number)).unwrap();
                sender.send(&broadcast(0x0800, number)).unwrap();
            }
            let mut tagged = broadcast(0x88b5, 50);
            tagged.splice(12..12, [0x81, 0, 0, 5]);
            sender.send(&tagged).unwrap();
            let arrived = Cell::new(0);
            wait_until("all have arrived", || {
                arrived.set(arrived.get() + watcher.statistics().unwrap().packets);
                arrived.get() == 101
            });
            kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            let counts = String::from_utf8(output.stderr).unwrap();
            assert!(
                counts.contains("\n51 packets captured\n51 packets received by filter\n0 packets dropped by kernel\n"),
                "{counts}"
            );
            let mut expected = "60\t\n".repeat(50);
            expected.push_str("64\t5\n");
            let fields = ["-e", "frame.len", "-e", "vlan.id"];
            assert_eq!(tshark(&file, &fields), expected);
        }
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_letters_of_tcpdump_mean_what_they_mean_there() {
    in_new_namespace(|| {
        let (_, far) = pair();
        let mut frame = broadcast(0x0806, 0);
        frame.splice(
            14..42,
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1],
        );
        frame.splice(32..32, [0, 0, 0, 0, 0, 0, 192, 0, 2, 2]);
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let shown = |program: &str, arguments: &str| {
            let mut command = Command::new(program);
            if program != "tcpdump" {
                command.arg("capture");
            }
            command.args(arguments.split(' ')).arg("arp");
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
            // What a program that starts tcpdump waits for.
            assert!(said.any(|line| line.unwrap().contains("listening on")));
            sender.send(&frame).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{arguments}");
            let counts: Vec<_> = said.map(Result::unwrap).collect();
            let last: Vec<_> = counts
                .iter()
                .map(|line| line.split_once(' ').unwrap().1)
                .collect();
            let expected = [
                "packet captured",
                "packet received by filter",
                "packets dropped by kernel",
            ];
            for (line, expected) in last.iter().rev().zip(expected.iter().rev()) {
                assert_eq!(
                    line.replace("packets", "packet"),
                    expected.replace("packets", "packet")
                );
            }
            String::from_utf8(output.stdout).unwrap()
        };
        let wireboot = env!("CARGO_BIN_EXE_wireboot");
        let head = "52:54:00:01:02:03 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length ";
        let padded = frame.len() - 14;
        let line = shown(wireboot, "-i near -l -n -nn -t -e -s 0 -U -c 1");
        assert!(
            line.starts_with(&format!(
                "{head}{}: Request who-has 192.0.2.2 tell 192.0.2.1, length {padded}",
                frame.len()
            )),
            "{line}"
        );
        let any = shown(wireboot, "-i any -n -tttt -q -c 1");
        // Whichever of both ends is read first.
        let is_named = ["near 20", "far 20"].map(|begin| any.starts_with(begin));
        assert!(is_named.contains(&true), "{any}");
        for letters in ["-x", "-X", "-xx", "-XX"] {
            let arguments = format!("-i near -n -t {letters} -c 1");
            let bytes = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            let (ours, theirs) = (shown(wireboot, &arguments), shown("tcpdump", &arguments));
            assert_eq!(bytes(&ours), bytes(&theirs), "{letters}");
        }
        for letters in [
            "-Q in",
            "-Q inout -K -S -O -u --micro",
            "-# -Z root -y EN10MB -j host",
        ] {
            let arguments = format!("-i near -n -t {letters} --immediate-mode -c 1");
            let (ours, theirs) = (shown(wireboot, &arguments), shown("tcpdump", &arguments));
            assert_eq!(ours, theirs, "{letters}");
        }
        for (letters, begin) in [("-Q out", "far "), ("-Q in", "near ")] {
            let seen = shown(wireboot, &format!("-i near -i far -n -t {letters} -c 1"));
            assert!(seen.starts_with(begin), "{letters}: {seen}");
        }
        let first = shown(wireboot, "-n -t -c 1");
        assert!(first.starts_with("ARP, "), "without -i: {first}");
        let cut = shown(wireboot, "-i near -t -s 30 -c 1");
        assert!(cut.contains("(30 captured)"), "{cut}");
        assert!(
            run(&["-D"]).contains(".near [Up, Running]"),
            "{}",
            run(&["-D"])
        );
        ip("link set near down");
        let child = capture(&["-i", "near"]);
        wait_until("the ring is bound", || {
            ip("-d link show near").contains("promiscuity 1")
        });
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
        let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(
            said.contains("warning: near: the interface is down"),
            "{said}"
        );
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN and tcpdump"]
fn a_script_that_captures_and_searches_finds_the_same_in_place_of_tcpdump() {
    // As tests of networks do it: capture in the background, send, end, read back and count.
    const SCRIPT: &str = "set -e; rm -f $1 $1.said; \
        tcpdump -e -n -Q in -i near -s 65535 -B 32768 -Z root -U -w $1 2> $1.said & \
        until grep -qs 'listening on near' $1.said; do sleep 0.1; done; \
        $2 arping -q -c 3 -i 0.1 -U -I far 192.0.2.9; \
        until [ \"$(tcpdump -r $1 2> /dev/null | wc -l)\" -ge 3 ]; do sleep 0.1; done; kill $!; wait $! || true; \
        tcpdump -e -n -t -r $1 'arp and ether dst ff:ff:ff:ff:ff:ff' 2> /dev/null | \
        grep -c '> ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: .*who-has 192.0.2.9 .*192.0.2.9'; \
        tail -n 3 $1.said; tcpdump -nn -tttt -c 1 -r $1 arp 2> /dev/null | cut -d ' ' -f 3-";
    in_new_namespace(|| {
        pair();
        let folder = Folder::new();
        let (wireboot, file) = (env!("CARGO_BIN_EXE_wireboot"), folder.path("frames"));
        let stand_in = folder.path("tcpdump");
        std::fs::write(
            &stand_in,
            format!("#!/bin/sh\nexec {wireboot} capture \"$@\"\n"),
        )
        .unwrap();
        std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = |path: &str| {
            let mut script = Command::new("timeout");
            let script = script
                .args(["60", "bash", "-c", SCRIPT, "script"])
                .arg(&file)
                .arg(wireboot);
            let output = script.env("PATH", path).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let path = std::env::var("PATH").unwrap();
        let theirs = found(&path);
        assert!(theirs.starts_with("3\n"), "{theirs}");
        let ours = found(&format!("{}:{path}", folder.path("").display()));
        assert_eq!(ours, theirs);
    });
}

#[test]
#[ignore = "needs tcpdump"]
fn lines_are_those_of_tcpdump_with_its_flags() {
    let file = Temporary::new("pcap", &pcap(&common_frames()));
    for flags in [
        "-n -S -t",
        "-nn -S -# --nano -Z root",
        "-n -S -e -K --micro -O",
        "-n -S -tt --time-stamp-precision=nano -u",
        "-n -S -ttt --micro -N",
        "-n -S -tttt --micro -b",
        "-n -S -ttttt --nano -xx",
        "-n -S -t -e -XX -H",
    ] {
        let arguments: Vec<_> = flags.split(' ').chain(["-r", &file.0]).collect();
        let mut theirs = Command::new("tcpdump");
        let theirs = theirs.args(&arguments).env("TZ", "UTC").output().unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        assert_eq!(run(&arguments), theirs, "{flags}");
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn several_interfaces_are_captured_into_one_stream() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let child = capture(&["-i", "near", "-i", "far", "-c", "2", "-w", "-", "arp"]);
        wait_until("the second ring is bound", || {
            ip("-d link show far").contains("promiscuity 1")
        });
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        sender.send(&broadcast(0x0806, 1)).unwrap();
        let output = child.wait_with_output().unwrap();
        let counts = String::from_utf8(output.stderr).unwrap();
        for name in ["near", "far"] {
            let counted = format!("{name}: 1 frames captured, 1 received by filter");
            assert!(counts.contains(&counted), "{counts}");
        }
        let file = Temporary::new("pcapng", &output.stdout);
        let fields = [
            "-e",
            "frame.interface_name",
            "-e",
            "frame.packet_flags_direction",
        ];
        let mut seen: Vec<_> = tshark(&file, &fields).lines().map(str::to_owned).collect();
        seen.sort();
        assert_eq!(seen, ["far\t0x00000002", "near\t0x00000001"]);
        let _ = near;
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_file_of_tcpdump_is_shown_frame_by_frame_with_its_times() {
    in_new_namespace(|| {
        let (_, far) = pair();
        for precision in ["micro", "nano"] {
            let file = Temporary::new("pcap", &[]);
            let mut tcpdump = Command::new("tcpdump")
                .args(["-Z", "root", "-U", "-i", "near", "-c", "40", "-w", &file.0])
                .arg(format!("--time-stamp-precision={precision}"))
                .arg("ether host 52:54:00:01:02:03")
                .stderr(Stdio::piped())
                .spawn()
                .expect("tcpdump is installed");
            let mut said = BufReader::new(tcpdump.stderr.take().unwrap()).lines();
            assert!(said.any(|line| line.unwrap().contains("listening on")));
            let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
            for number in 0..20 {
                sender.send(&broadcast(0x88b5, number)).unwrap();
                sender.send(&broadcast(0x0806, number)).unwrap();
            }
            assert!(tcpdump.wait().unwrap().success());
            let shown = run(&["-e", "-r", &file.0]);
            let shown: Vec<_> = shown
                .lines()
                .map(|line| {
                    let (time, rest) = line.split_once(' ').unwrap();
                    let (_, rest) = rest.split_once("length ").unwrap();
                    let (len, _) = rest.split_once(':').unwrap();
                    format!("{}\t{len}", seconds_of_day(time))
                })
                .collect();
            let theirs = tshark(&file, &["-e", "frame.time_epoch", "-e", "frame.len"]);
            let theirs: Vec<_> = theirs
                .lines()
                .map(|line| {
                    let (time, len) = line.split_once('\t').unwrap();
                    let (seconds, fraction) = time.split_once('.').unwrap();
                    let seconds: u64 = seconds.parse().unwrap();
                    format!("{}.{fraction}\t{len}", seconds % 86_400)
                })
                .collect();
            assert_eq!(shown.len(), 40);
            assert_eq!(shown, theirs);
            let arp = run(&["-r", &file.0, "-c", "15", "arp"]);
            assert_eq!(arp.lines().count(), 15);
        }
    });
}

#[test]
#[ignore = "needs tshark"]
fn dhcp_options_have_the_names_that_tshark_gives_them() {
    let mut frames = Vec::new();
    for code in (1..=254).filter(|code| ![43, 52, 53, 60].contains(code)) {
        let mut options = Options::default();
        // In front of what tshark may give up at.
        options.set(53, [2]);
        options.set(code, [192, 0, 2, 1]);
        frames.push(offer(options));
    }
    for sub_code in (1..=12).chain([71]) {
        let mut options = Options::default();
        options.set(53, [2]);
        options.set(60, *b"PXEClient");
        options.set(43, [sub_code, 4, 0, 0, 0, 0, 255]);
        frames.push(offer(options));
    }
    let file = Temporary::new("pcap", &pcap(&frames));
    let ours = run(&["-v", "-r", &file.0]);
    let theirs = run_of("tshark", &["-V", "-r", &file.0]);
    let mut theirs: Vec<_> = theirs
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let sub_option = line.strip_prefix("Option 43 Suboption: (");
            let rest = sub_option.or_else(|| line.strip_prefix("Option: ("))?;
            let (code, name) = rest.split_once(") ")?;
            let code: u8 = code.parse().unwrap();
            (![0, 255].contains(&code)).then(|| (sub_option.is_some(), code, name.to_lowercase()))
        })
        .collect();
    let mut ours: Vec<_> = ours
        .lines()
        .filter_map(|line| {
            let (head, _) = line.strip_prefix('\t')?.split_once("): ")?;
            let (name, code) = head.rsplit_once(" (")?;
            let code = code.parse().unwrap();
            Some((name.starts_with('\t'), code, name.trim().to_lowercase()))
        })
        .collect();
    theirs.sort();
    ours.sort();
    let codes = |list: &[(bool, u8, String)]| -> Vec<_> {
        list.iter()
            .map(|(is_sub_option, code, _)| (*is_sub_option, *code))
            .collect()
    };
    assert_eq!(codes(&ours), codes(&theirs));
    assert_eq!(ours.len(), 250 * 2 + 13 * 4);
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (is_sub_option, code, name) = ours;
        let theirs = theirs.2.trim_start_matches("private/");
        let theirs = if *is_sub_option {
            theirs.trim_start_matches("pxe ")
        } else {
            theirs
        };
        if name == "option" {
            let unnamed = ["assigned", "private", "- undefined"];
            assert!(
                unnamed.iter().any(|word| theirs.contains(word)),
                "{code}: {theirs}"
            );
        } else {
            let rest = theirs.strip_prefix(name.as_str());
            let rest = rest.unwrap_or_else(|| panic!("{code}: \"{name}\" is {theirs}"));
            assert!(rest.is_empty() || rest.starts_with(" (") || rest.starts_with(" ["));
        }
    }
}

fn capture(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wireboot"))
        .arg("capture")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs `wireboot capture` to its end and returns what it printed.
fn run(arguments: &[&str]) -> String {
    let wireboot = env!("CARGO_BIN_EXE_wireboot");
    run_of(wireboot, &[&["capture"], arguments].concat())
}

fn run_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.expect("it is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Reads fields of every frame with tshark, which must not complain.
fn tshark(file: &Temporary, fields: &[&str]) -> String {
    let read = Command::new("tshark")
        .args(["-T", "fields"])
        .args(fields)
        .args(["-r", &file.0])
        .output()
        .expect("tshark is installed");
    let complaints = String::from_utf8(read.stderr).unwrap();
    let mut complaints = complaints
        .lines()
        .filter(|line| !line.starts_with("Running as user") && !line.is_empty());
    assert_eq!(complaints.next(), None);
    String::from_utf8(read.stdout).unwrap()
}

/// A file that goes when dropped.
struct Temporary(String);

impl Temporary {
    fn new(extension: &str, content: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wireboot-{}-{count}.{extension}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path.to_str().unwrap().to_owned())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Turns `01:00:02.5` into `3602.5`.
fn seconds_of_day(time: &str) -> String {
    let (whole, fraction) = time.split_once('.').unwrap();
    let seconds = whole
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
    format!("{seconds}.{fraction}")
}

/// An OFFER with these options, in a frame.
fn offer(options: Options) -> Vec<u8> {
    let message = Message {
        op: Op::BootReply,
        xid: 1,
        secs: 0,
        broadcast: false,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(192, 0, 2, 5),
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        chaddr: MacAddress([2, 0, 0, 0, 0, 1]),
        sname: Vec::new(),
        file: Vec::new(),
        options,
    };
    let mut payload = Vec::new();
    message.encode(&mut payload).unwrap();
    let datagram = Datagram {
        source: SocketAddrV4::new([192, 0, 2, 1].into(), 67),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 68),
        payload: &payload,
    };
    let sender = MacAddress([2, 0, 0, 0, 0, 2]);
    datagram
        .encode_frame(sender, MacAddress::BROADCAST)
        .unwrap()
}

/// Frames of ARP, ICMP, UDP and TCP.
fn common_frames() -> Vec<Vec<u8>> {
    let packet = |protocol: u8, payload: &[u8]| {
        let len = u16::try_from(20 + payload.len()).unwrap();
        let mut header = vec![0x45, 0];
        header.extend(len.to_be_bytes());
        header.extend([
            0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
        ]);
        let sum = header.chunks(2).fold(0, |sum, pair| {
            sum + u32::from(u16::from_be_bytes([pair[0], pair[1]]))
        });
        let sum = u16::try_from(sum % 0xffff).unwrap();
        header[10..12].copy_from_slice(&(!sum).to_be_bytes());
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend(header);
        frame.extend(payload);
        frame
    };
    let arp = |operation: u8, target: [u8; 6], padding: usize| {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([2, 0, 0, 0, 0, 1, 192, 0, 2, 1]);
        frame.extend(target);
        frame.extend([192, 0, 2, 2]);
        frame.resize(frame.len() + padding, 0);
        frame
    };
    let segment = |flags: u8, data: &[u8]| {
        let mut segment = vec![0x30, 0x39, 0x20, 0xfb, 0, 0, 0, 9, 0, 0, 0, 5, 0x50, flags];
        segment.extend([0xfa, 0xf0, 0, 0, 0, 0]);
        segment.extend(data);
        packet(6, &segment)
    };
    let mut refused = vec![3, 3, 0, 0, 0, 0, 0, 0];
    refused.extend(&packet(17, &[0x30, 0x39, 0x20, 0xfb, 0, 9, 0, 0, 7])[14..]);
    vec![
        arp(1, [0; 6], 18),
        arp(1, [0xff; 6], 0),
        arp(2, [2, 0, 0, 0, 0, 2], 0),
        packet(1, &[8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4]),
        packet(1, &[0, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4]),
        packet(1, &refused),
        packet(17, &[0x30, 0x39, 0x20, 0xfb, 0, 10, 0, 0, 7, 7]),
        segment(0x02, b""),
        segment(0x12, b""),
        segment(0x10, b""),
        segment(0x18, b"data"),
        segment(0x11, b""),
    ]
}

/// A pcap file of these frames.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let words =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 262_144, 1]);
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[1, 2, len, len]));
        file.extend_from_slice(frame);
    }
    file
}
