//! What a lease makes of a switch port that does not forward yet.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::far::Far;
use crate::common::in_new_namespace;
use wireboot::sys::filter::FilterProgram;
use wireboot::sys::packet::PacketSocket;

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
                let _ = sender.send(&bpdu());
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
            .filter(|line| line.contains("the port is in STP learning"));
        assert_eq!(told.count(), 2, "once, and at the end: {said:#?}");
        assert!(said.last().unwrap().contains("s to go"), "{said:#?}");
        // Alone, the delays of 0.5, 1, 2 and 4 s make it four.
        let discovers = said.iter().filter(|line| line.contains("DISCOVER to"));
        assert!(discovers.count() > 8, "{said:#?}");
    });
}

/// What a rapid bridge sends from a designated port that learns.
fn bpdu() -> Vec<u8> {
    let mut frame = vec![
        0x01, 0x80, 0xc2, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0, 39, 0x42, 0x42, 3,
    ];
    frame.extend([0, 0, 2, 2, 0x1c]);
    frame.extend([0; 8 + 4 + 8 + 2 + 2]);
    frame.extend([20, 0, 2, 0, 15, 0, 0]);
    frame.resize(60, 0);
    frame
}
