//! The filter language against libpcap and against the kernel: the same verdict on every frame.

use std::cell::RefCell;
use std::process::Command;

use crate::common::{in_new_namespace, pair};
use wireboot::capture::language;
use wireboot::sys::filter::{FilterInput, FilterProgram};
use wireboot::sys::packet::PacketSocket;
use wireboot::sys::ring::{Layout, Ring, Version};
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Random;

const FRAMES: usize = 4_000;

const EXPRESSIONS: &[&str] = &[
    "arp",
    "rarp",
    "ip",
    "ip6",
    "icmp",
    "icmp6",
    "tcp",
    "udp",
    "ether host 52:54:00:00:00:01",
    "ether src host 52:54:00:00:00:01",
    "ether dst host 52:54:00:00:00:02",
    "host 192.0.2.1",
    "src host 192.0.2.1",
    "dst 192.0.2.2",
    "ip host 192.0.2.1",
    "arp host 192.0.2.2",
    "rarp src host 192.0.2.1",
    "host 2001:db8::1",
    "ip6 dst host 2001:db8::2",
    "port 67",
    "src port 67",
    "dst port 68",
    "udp port 69",
    "tcp port 80",
    "tcp src port 80",
    "portrange 67-69",
    "udp dst portrange 60-68",
    "not udp",
    "not port 67",
    "not (arp or icmp or icmp6)",
    "arp or ip and udp",
    "udp and (port 67 or port 68) and not ether host 52:54:00:00:00:01",
    "udp port 67 and src host 192.0.2.1 or tcp dst port 80",
    "! tcp && ! host 192.0.2.1",
    "vlan",
    "vlan 5",
    "vlan and udp port 67",
    "vlan 5 and not host 192.0.2.1",
    "vlan and vlan 5 and arp",
    "udp port 67 or (vlan and udp port 67)",
    "port 67 or 68",
    "src host 192.0.2.1 or 192.0.2.2",
    "host (192.0.2.1 or 192.0.2.3) and udp",
    "port (67 or 68 or 80)",
    "src or dst port 67",
    "src and dst host 192.0.2.1",
    "ether src 52:54:00:00:00:01",
    "ether proto 0x0806",
    "ether proto \\arp",
    "vlan and ether proto 0x86dd",
    "ether proto 0x42",
    "stp",
    "stp or arp",
    "ip proto 17",
    "ip proto \\udp",
    "ip6 proto 58",
    "proto 6",
    "proto \\udp",
    "igmp",
    "sctp",
    "broadcast",
    "ether multicast",
    "multicast and not broadcast",
    "ip multicast",
    "ip6 multicast",
    "net 192.0.2.0/30",
    "src net 192.0.2.0/31",
    "net 192.0.2",
    "net 192 and arp",
    "dst net 192.0.2.2 mask 255.255.255.254",
    "arp net 192.0.2.0/31",
    "ip6 net 2001:db8::/32",
    "net 2001:db8::/127",
    "greater 80",
    "less 80",
    "len > 100",
    "len <= 60",
    "100 > len",
    "tcp[13] & 2 != 0",
    "tcp[tcpflags] & (tcp-syn|tcp-ack) != 0",
    "tcp[0:2] = 80",
    "udp[0:2] > 66 and udp[2:2] <= 68",
    "udp[8:4] == 0x55555555",
    "icmp[icmptype] = icmp-echo or icmp[0] != 8",
    "icmp6[0] = 0",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff = 0",
    "ip[9] = 17 || ip[9] = 6",
    "ip[2:2] - 1 = 79",
    "(ip[0] & 0xf) * 4 > 20",
    "ip[8] >> 4 = 4",
    "ip[0] % 7 = 6",
    "ip[0] ^ 0x45 = 0",
    "ip6[6] = 17",
    "arp[6:2] = 1",
    "rarp[14:4] = 0xc0000201",
    "ether[0] & 1 = 1",
    "ether[12:2] = 0x0800",
    "not tcp[13] = 0x55",
    "tcp and (tcp[13] & 1 != 0 or tcp[2:2] = 80)",
    "vlan and tcp[0:2] = 80",
    "vlan 5 and ip[9] = 17",
    "ip[2:2] - 79 = ip[4:2]",
    "ether[0:4] = ether[6:4]",
    "udp&&port 67",
    "udp and (port 67||port 68)",
    "greater 0x50",
    "ether host 525400000001 or ether src 5254.0000.0002",
    "portrange 67",
    "port 0x43",
    "len > ip[2:2] + 14",
    "ip[2:2] - ((ip[0] & 0xf) << 2) < 60",
    "2 * (ip[0] & 0xf) > 10",
    "len - ip[0] = 1",
    "ip[ip[0] & 0xf] = 64",
    "udp[0:2] = udp[2:2] or udp[udp[1] - 60] > 60",
    "tcp[(tcp[12] >> 2):2] != 0x5555",
    "ip6[ip6[6] & 3] > 0x5f",
    "- len < -60",
    "100 - len > 20",
    "len % 7 + 1 = 4",
    "ip[8] ^ ip[9] = 81",
    "ip[1 + 1 * 7] << 1 >= 128",
    "ether[6:4] != ether[0:4] and len >> (ip[0] & 3) > 9",
    "icmp[icmptype] != icmp-timxceed and icmp[icmpcode] > icmp-tstampreply",
    "icmp6[icmp6type] = icmp6-routeradvert or icmp6[0] < icmp6-parameterproblem",
    "length > 80",
    "link[6:4] = 0x52540000",
    "link host 52:54:00:00:00:01",
    "sctp port 67",
    "sctp src portrange 67-69 or igrp",
    "llc",
    "not llc and not decnet",
    "vlan and llc",
];

/// What only the kernel can tell; alone, and with tags.
const OF_KERNEL: &[&str] = &[
    "inbound and udp",
    "outbound or arp",
    "not inbound or arp",
    "ifindex 1 or udp",
    "vlan and inbound and udp",
];

#[test]
#[ignore = "needs tcpdump"]
fn every_expression_has_the_verdicts_of_libpcap_on_frames_from_files() {
    let frames = frames();
    for text in EXPRESSIONS {
        let ours = language::parse(text).unwrap().compile_for_files().unwrap();
        let (theirs, plain) = (libpcap(text), libpcap_as_written(text));
        let mut passed = 0;
        for frame in &frames {
            let verdict = theirs.run(frame);
            // Of a frame that ends early, libpcap's optimizer may read less than what is written says.
            let is_same = [verdict, plain.run(frame)].contains(&ours.run(frame));
            assert!(is_same, "{text}\n{ours}\n{frame:02x?}");
            passed += usize::from(verdict != 0);
        }
        assert!(
            (1..FRAMES).contains(&passed),
            "{text} tells no frames apart"
        );
    }
}

#[test]
#[ignore = "needs tcpdump"]
fn random_expressions_have_the_verdicts_of_libpcap_too() {
    let frames = frames();
    let mut random = Random::new(20);
    let (mut compared, mut refused) = (0, 0);
    for _ in 0..RANDOM {
        let text = expression(&mut random, 2);
        let [theirs, plain] = ["", "-O"].map(|flag| {
            let arguments = ["-y", "EN10MB", flag, "-ddd", "--", &text];
            let program = tcpdump(&arguments);
            program.and_then(|text| FilterProgram::parse(&text).map_err(|error| error.to_string()))
        });
        let Ok(plain) = plain else {
            refused += 1;
            continue;
        };
        // Its optimizer refuses what no frame passes, and makes errors of its own.
        let theirs = theirs.unwrap_or_else(|_| plain.clone());
        let ours = match language::parse(&text) {
            Ok(expression) => expression.compile_for_files().unwrap(),
            // Of numbers alone, which libpcap finds out when it runs.
            Err(error) if error.what == "this has no result" => continue,
            Err(error) => panic!("{error}"),
        };
        for frame in frames.iter().step_by(5) {
            let verdicts = [theirs.run(frame), plain.run(frame)];
            assert!(
                verdicts.contains(&ours.run(frame)),
                "{text}\n{ours}\n{frame:02x?}"
            );
        }
        compared += 1;
    }
    assert!(compared > 5 * refused, "{compared} {refused}");
}

/// Number of random expressions: two runs of tcpdump each.
const RANDOM: usize = 300;

/// Writes an expression, of tests and comparisons up to this depth.
fn expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 || below(random, 3) == 0 {
        if below(random, 3) == 0 {
            return pick(random, EXPRESSIONS).to_owned();
        }
        let (left, right) = (value(random, 3), value(random, 2));
        let test = pick(random, &["=", "==", "!=", "<", "<=", ">", ">="]);
        return format!("{left} {test} {right}");
    }
    let (left, right) = (expression(random, depth - 1), expression(random, depth - 1));
    match below(random, 4) {
        0 => format!("not ({left})"),
        1 => format!("({left}) or ({right})"),
        2 => format!("({left}) and ({right})"),
        _ => format!("{left} and {right}"),
    }
}

/// Writes a value with operations up to this depth.
fn value(random: &mut Random, depth: usize) -> String {
    if depth == 0 || below(random, 3) == 0 {
        return match below(random, 4) {
            0 => "len".to_owned(),
            1 => pick(random, &["0", "1", "2", "14", "64", "0x1fff", "0x55555555"]).to_owned(),
            _ => field(random, depth),
        };
    }
    let (left, right) = (value(random, depth - 1), value(random, depth - 1));
    match below(random, 6) {
        0 => format!("- ({left})"),
        1 => format!("({left})"),
        2 => format!(
            "{left} {} {}",
            pick(random, &["<<", ">>", "/", "%"]),
            1 + below(random, 9)
        ),
        _ => {
            let operator = pick(
                random,
                &["+", "-", "*", "&", "|", "^", "/", "%", "<<", ">>"],
            );
            format!("{left} {operator} {right}")
        }
    }
}

fn field(random: &mut Random, depth: usize) -> String {
    let layers = [
        "ether", "ip", "ip", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp",
    ];
    let layer = pick(random, &layers);
    let offset = match below(random, 5) {
        0 if depth > 0 => format!("({}) & 15", value(random, depth - 1)),
        _ => below(random, 20).to_string(),
    };
    let size = pick(random, &["", "", ":1", ":2", ":4"]);
    format!("{layer}[{offset}{size}]")
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn every_expression_has_the_same_verdicts_in_the_kernel() {
    in_new_namespace(|| {
        let (near, far) = pair();
        let sender = PacketSocket::open(far, &FilterProgram::nothing()).unwrap();
        let frames: Vec<_> = frames()
            .into_iter()
            // The kernel drops what ends in a tag before any filter sees it.
            .filter(|frame| frame.len() >= 22)
            .take(2_000)
            .collect();
        let layout = Layout {
            version: Version::V2 { slot_len: 512 },
            memory: 2 * 1024 * 1024,
        };
        let captured = captured(near, &sender, &frames, layout);
        for text in EXPRESSIONS.iter().chain(OF_KERNEL) {
            let expression = language::parse(text).unwrap();
            let ours = expression.compile_for_files().unwrap();
            let (theirs, plain) = (libpcap(text), libpcap_as_written(text));
            for frame in &captured {
                let verdicts = [theirs.run(frame), plain.run(frame)];
                assert!(verdicts.contains(&ours.run(frame)), "{text} {frame:02x?}");
            }
            let program = expression.compile_for_kernel().unwrap();
            let ring = Ring::open(near, &program, layout).unwrap();
            let expected: Vec<_> = frames
                .iter()
                .map(|frame| without_tag(frame))
                .filter(|(octets, vlan)| {
                    let vlan = *vlan;
                    let packet = FilterInput::new(octets);
                    program.run_with(&FilterInput { vlan, ..packet }) != 0
                })
                .collect();
            for frame in &frames {
                sender.send(frame).unwrap();
            }
            let ring = RefCell::new(ring);
            crate::common::wait_until("all frames have come", || {
                let packets = ring.borrow_mut().statistics().unwrap().packets;
                packets >= u64::try_from(expected.len()).unwrap()
            });
            let mut ring = ring.into_inner();
            let mut seen = Vec::new();
            while let Some(mut batch) = ring.next_batch() {
                while let Some(frame) = batch.next() {
                    seen.push((frame.octets().to_vec(), frame.vlan()));
                }
            }
            assert!(
                seen == expected,
                "{text}: {} passed, not {}",
                seen.len(),
                expected.len()
            );
        }
    });
}

/// Sends the frames and returns them as they were captured, with their tags put back.
fn captured(
    interface: u32,
    sender: &PacketSocket,
    frames: &[Vec<u8>],
    layout: Layout,
) -> Vec<Vec<u8>> {
    let ring = RefCell::new(Ring::open(interface, &FilterProgram::everything(), layout).unwrap());
    for frame in frames {
        sender.send(frame).unwrap();
    }
    let seen = RefCell::new(Vec::new());
    crate::common::wait_until("all frames are captured", || {
        let mut ring = ring.borrow_mut();
        while let Some(mut batch) = ring.next_batch() {
            while let Some(frame) = batch.next() {
                let octets = frame.octets();
                let tagged = frame.vlan().map(|tag| tag.put_back(octets));
                seen.borrow_mut()
                    .push(tagged.unwrap_or_else(|| octets.to_vec()));
            }
        }
        seen.borrow().len() == frames.len()
    });
    seen.into_inner()
}

fn libpcap(text: &str) -> FilterProgram {
    compiled(&["-y", "EN10MB", "-ddd", "--", text])
}

/// Returns libpcap's program before its optimizer.
fn libpcap_as_written(text: &str) -> FilterProgram {
    compiled(&["-y", "EN10MB", "-O", "-ddd", "--", text])
}

fn compiled(arguments: &[&str]) -> FilterProgram {
    let text = tcpdump(arguments).unwrap_or_else(|why| panic!("{arguments:?}: {why}"));
    FilterProgram::parse(&text).unwrap()
}

/// Returns what tcpdump prints, or else what it says.
fn tcpdump(arguments: &[&str]) -> Result<String, String> {
    let arguments = arguments.iter().filter(|argument| !argument.is_empty());
    let output = Command::new("tcpdump").args(arguments).output();
    let output = output.expect("tcpdump is installed");
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(String::from_utf8(output.stdout).unwrap())
}

/// Takes the outermost tag out, as the kernel does with a frame that arrives.
fn without_tag(frame: &[u8]) -> (Vec<u8>, Option<VlanTag>) {
    let mut octets = frame.to_vec();
    let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    let tpid = half(12);
    if ![0x8100, 0x88a8].contains(&tpid) {
        return (octets, None);
    }
    octets.drain(12..16);
    let tci = half(14);
    (octets, Some(VlanTag { tpid, tci }))
}

/// Frames of all the kinds that expressions speak of: with IP options, fragments, tags, extension
/// headers, and every fourth cut off anywhere.
fn frames() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    (0..FRAMES)
        .map(|number| {
            let mut frame = frame(&mut random);
            if number % 4 == 0 {
                let len = below(&mut random, frame.len());
                frame.truncate(len);
            }
            frame
        })
        .collect()
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.next_u32()).unwrap() % end
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[below(random, choices.len())]
}

fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = Vec::new();
    for _ in 0..2 {
        let last = pick(random, &[1, 2, 3]);
        frame.extend([0x52, 0x54, 0, 0, 0, last]);
    }
    match pick(random, &[0, 0, 0, 1, 2]) {
        1 => frame[..6].fill(0xff),
        2 => frame[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, 0]),
        _ => {}
    }
    for _ in 0..pick(random, &[0, 0, 0, 1, 2]) {
        let tpid = pick(random, &[0x8100_u16, 0x8100, 0x88a8]);
        frame.extend(tpid.to_be_bytes());
        frame.extend([pick(random, &[0, 0x60]), pick(random, &[0, 5, 6])]);
    }
    match pick(random, &[0, 0, 0, 0, 1, 1, 2, 3, 4, 5]) {
        0 => ipv4(random, &mut frame),
        1 => ipv6(random, &mut frame),
        2 => arp(random, &mut frame, 0x0806),
        3 => arp(random, &mut frame, 0x8035),
        // A BPDU, and another frame with a length.
        4 => frame.extend([
            0,
            38,
            pick(random, &[0x42, 0xaa]),
            0x42,
            3,
            0,
            0,
            2,
            2,
            0x3c,
            1,
            2,
            3,
            4,
        ]),
        _ => frame.extend([0x88, 0xcc, 2, 7, 4, 1, 2, 3, 4, 5, 6]),
    }
    frame
}

fn address(random: &mut Random) -> [u8; 4] {
    [
        pick(random, &[192, 192, 192, 192, 224]),
        0,
        2,
        pick(random, &[1, 2, 3]),
    ]
}

fn ipv4(random: &mut Random, frame: &mut Vec<u8>) {
    let words = pick(random, &[5_u8, 5, 5, 6, 9, 15]);
    let fragment = pick(random, &[0_u16, 0, 0x4000, 0x2000, 0x2001, 0x00b9]);
    let protocol = pick(random, &[17, 17, 6, 1, 132, 2]);
    frame.extend([0x08, 0x00, 0x40 | words, 0, 0, 80, 0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    frame.extend(address(random));
    frame.extend(address(random));
    frame.resize(frame.len() + usize::from(words - 5) * 4, 1);
    ports(random, frame);
}

fn ipv6(random: &mut Random, frame: &mut Vec<u8>) {
    let next_header = pick(random, &[17, 6, 58, 132, 44, 0]);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 40, next_header, 64]);
    for _ in 0..2 {
        let first = pick(random, &[0x20, 0x20, 0x20, 0xff]);
        frame.extend([first, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        frame.push(pick(random, &[1, 2]));
    }
    if next_header == 44 {
        frame.extend([pick(random, &[17, 6, 58]), 0, 0, 1, 0, 0, 0, 1]);
    }
    ports(random, frame);
}

fn ports(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..2 {
        frame.extend([0, pick(random, &[59_u8, 60, 67, 68, 69, 70, 80])]);
    }
    let len = frame.len() + below(random, 40) + 8;
    frame.resize(len, pick(random, &[0x55, 0x12]));
}

fn arp(random: &mut Random, frame: &mut Vec<u8>, ethertype: u16) {
    frame.extend(ethertype.to_be_bytes());
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0, 0, 1]);
    frame.extend(address(random));
    frame.extend([0; 6]);
    frame.extend(address(random));
    frame.extend([0; 18]);
}
