//! What a lease makes of a switch port that does not forward yet.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::client::{keep, wireboot};
use crate::common::dhcp::{ScriptedDhcp, framed, grant};
use crate::common::far::Far;
use crate::common::{in_new_namespace, wait_until};
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::{PacketSocket, SocketConfig};
use wireboot_proto::packet::ethernet::MacAddress;

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_port_in_the_spanning_tree_is_told_of_and_asked_through_again_and_again() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let bridge = far.enter(move || {
            let index = nix::net::if_::if_nametoindex("far").unwrap();
            let sender = PacketSocket::open(index, &FilterProgram::nothing()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                // Fails while the near end is down.
                let _ = sender.send(&bpdu(LEARNING));
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_wireboot"))
            .args(["lease", "-i", "near", "--timeout", "6", "-v"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said: Vec<_> = BufReader::new(child.stderr.take().unwrap())
            .lines()
            .map(Result::unwrap)
            .collect();
        stop.store(true, Ordering::Relaxed);
        bridge.join().expect("the bridge sends");
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let told = said
            .iter()
            .filter(|line| line.contains("the port is in STP learning"))
            .filter(|line| !line.contains("no answer yet"));
        assert_eq!(told.count(), 2, "once, and at the end: {said:#?}");
        assert!(said.last().unwrap().contains("s to go"), "{said:#?}");
        // Alone, the delays of 0.5, 1, 2 and 4 s make it four.
        let discovers = said.iter().filter(|line| line.contains("DISCOVER to"));
        assert!(discovers.count() > 8, "{said:#?}");
    });
}

/// The flags of a designated port that listens, and of one that learns.
pub(crate) const LISTENING: u8 = 0x0c;
const LEARNING: u8 = 0x1c;

/// What a rapid bridge sends from a designated port in the state of these flags (IEEE 802.1D §9.3.3).
pub(crate) fn bpdu(flags: u8) -> Vec<u8> {
    let mut frame = vec![
        0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 39, 0x42, 0x42, 3,
    ];
    frame.extend([0, 0, 2, 2, flags]);
    frame.extend([0; 8 + 4 + 8 + 2 + 2]);
    frame.extend([20, 0, 2, 0, 15, 0, 0]);
    frame.resize(60, 0);
    frame
}

/// A switch's port that is a member of a link aggregation group drops everything until its partner is
/// there, and again once that is silent.
#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_port_that_waits_for_lacp_is_answered_until_it_forwards_and_beyond() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let port = Arc::new(Mutex::new(Partner::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, stopped) = (Arc::clone(&port), Arc::clone(&stop));
        let speaker = far.enter(move || speak_lacp(&theirs, &stopped));
        let theirs = Arc::clone(&port);
        let server = ScriptedDhcp::start(&far, move |question| {
            let is_open = theirs.lock().unwrap().is_open();
            let answer = grant(question).filter(|_| is_open);
            answer
                .map(|answer| framed(&answer, 67))
                .into_iter()
                .collect()
        });
        let client = keep(&["-v", "--timeout", "20"]);
        client.wait_for("LACP is not up");
        client.wait_for("LACP is up, and the port forwards");
        client.wait_for("192.0.2.100/24 from");
        assert!(server.asked().len() > 2);
        port.lock().unwrap().answers = 0;
        wait_until("it is answered while the lease is kept", || {
            port.lock().unwrap().answers > 2
        });
        wait_until("a marker is answered", || port.lock().unwrap().markers > 0);
        stop.store(true, Ordering::Relaxed);
        speaker.join().expect("the switch speaks");
        let Partner { sent, answered, .. } = *port.lock().unwrap();
        assert!(answered <= sent, "{answered} answers to {sent} frames");
    });
}

/// What a switch's port knows of its partner.
#[derive(Default, Clone, Copy)]
struct Partner {
    /// Right LACPDUs, without a gap.
    answers: u32,
    markers: u32,
    sent: u32,
    answered: u32,
}

impl Partner {
    fn is_open(&self) -> bool {
        self.answers > 0
    }
}

/// System priority, system, key, port priority and port of the switch.
const ACTOR: [u8; 14] = [0x80, 0, 2, 0, 0, 0, 0, 9, 0, 7, 0x80, 1, 0, 3];
const SLOW: [u8; 14] = [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0x09];

/// Sends LACPDUs and markers from `far`, and takes the answers, until it is stopped.
fn speak_lacp(port: &Mutex<Partner>, stop: &AtomicBool) {
    let index = nix::net::if_::if_nametoindex("far").unwrap();
    let all = FilterProgram::everything();
    let mut options = SocketConfig::new(index, &all);
    let groups = [MacAddress([1, 0x80, 0xc2, 0, 0, 2])];
    (options.protocol, options.groups) = (0x8809, &groups);
    let socket = options.open().unwrap();
    while !stop.load(Ordering::Relaxed) {
        let is_open = port.lock().unwrap().is_open();
        // Active, aggregatable and of a short timeout; in sync, collecting and distributing once it has
        // a partner.
        let state = if is_open { 0x3f } else { 0x47 };
        let mut lacpdu = [&SLOW[..], &[1, 1, 1, 20], &ACTOR, &[state, 0, 0, 0, 2, 20]].concat();
        lacpdu.resize(124, 0);
        let mut marker = [
            &SLOW[..],
            &[2, 1, 1, 16, 0, 3, 2, 0, 0, 0, 0, 9, 1, 2, 3, 4],
        ]
        .concat();
        marker.resize(124, 0);
        // Fails while the near end is down.
        let frames = [lacpdu, marker.clone()];
        let sent = frames.iter().filter(|frame| socket.send(frame).is_ok());
        port.lock().unwrap().sent += u32::try_from(sent.count()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let mut buf = [0; 256];
        while let Some(received) = socket.recv(&mut buf).unwrap() {
            let frame = &buf[..received.len];
            let mut port = port.lock().unwrap();
            port.answered += 1;
            if frame[14] == 2 {
                marker[16] = 2;
                assert_eq!(frame[14..], marker[14..]);
                port.markers += 1;
                continue;
            }
            assert_eq!((frame.len(), &frame[..6], frame[14]), (124, &SLOW[..6], 1));
            // The system is the sender's, and its port in sync, collecting and distributing.
            assert_eq!(frame[6..12], frame[20..26]);
            assert_eq!(frame[32], 0x3e);
            // Our own words, as its partner.
            assert_eq!(frame[38..52], ACTOR);
            assert!([0x47, 0x3f].contains(&frame[52]), "{:#x}", frame[52]);
            port.answers += 1;
        }
    }
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn vlans_on_the_wire_are_told_of_where_nobody_answers_without_a_tag() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let trunk = far.enter(move || {
            let index = nix::net::if_::if_nametoindex("far").unwrap();
            let sender = PacketSocket::open(index, &FilterProgram::nothing()).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                // A priority alone is no VLAN, and a provider's tag none that could be made here.
                for (kind, tag) in [
                    (0x8100, 12),
                    (0x8100, 0xe007),
                    (0x8100, 0xe000),
                    (0x88a8, 9_u16),
                ] {
                    let mut frame = vec![0xff; 6];
                    frame.extend([2, 0, 0, 0, 0, 9]);
                    frame.extend(u16::to_be_bytes(kind));
                    frame.extend(tag.to_be_bytes());
                    frame.extend([0x88, 0xb5]);
                    frame.resize(60, 0);
                    let _ = sender.send(&frame);
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let (code, said) = wireboot(&["--timeout", "4"]);
        let discovered = at_near(&["discover", "-i", "near", "--wait", "2"]);
        stop.store(true, Ordering::Relaxed);
        trunk.join().expect("the trunk sends");
        assert_eq!(code, Some(3));
        for said in [said, discovered] {
            assert!(
                said.contains("frames of VLAN 7,12 are seen (try them with vlan=try:7,12)"),
                "{said}"
            );
        }
    });
}

/// Runs wireboot and returns what it said.
fn at_near(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let output = command.args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}
