#![no_main]
use std::time::Duration;

use wireboot_fuzz::budget;
use wireboot_proto::packet::tftp::TftpPacket;
use wireboot_proto::tftp::{ByteRanges, Config, Get, Terms};
use wireboot_proto::time::Instant;

const MAX_LEN: u64 = 1 << 20;
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

// Packets of a server, each behind its length and the milliseconds since the one before.
libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::linear(data.len(), 4096, || get(data)));

fn get(data: &[u8]) {
    let _ = TftpPacket::decode(data);
    let server = ([192, 0, 2, 1], 69).into();
    let mut received = ByteRanges::default();
    received.insert(0..100);
    let config = Config {
        server,
        file: String::new(),
        terms: Terms::best(1500, &server),
        stall_timeout: STALL_TIMEOUT,
        speed: Default::default(),
        max_len: MAX_LEN,
        received,
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    let mut now = Instant::ZERO;
    let mut get = Get::new(config, now);
    let mut produced = 0;
    let mut rest = data;
    while let [len, millis, after @ ..] = rest {
        let (packet, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += Duration::from_millis(u64::from(*millis) * 16);
        if let Ok(chunk) = get.handle_input(server, packet, now) {
            assert!(chunk.bytes.is_empty() || chunk.at + chunk.bytes.len() as u64 <= MAX_LEN);
            produced += chunk.bytes.len();
        }
        drain(&mut get);
        get.handle_timeout(now);
        drain(&mut get);
        assert!(get.poll_timeout().is_none_or(|at| at > now));
    }
    // What is written is what was received, within the limit.
    assert!(produced <= data.len());
    // A server that is silent from now on is given up.
    let last = now;
    while let Some(at) = get.poll_timeout() {
        now = at;
        assert!(now <= last + STALL_TIMEOUT * 4, "it waits for ever");
        get.handle_timeout(now);
        drain(&mut get);
    }
}

/// Takes all packets and events of a transfer.
fn drain(get: &mut Get) {
    let mut packets = 0;
    while get.poll_transmit(&mut Vec::new()).is_some() {
        packets += 1;
        assert!(packets < 100, "packets without end");
    }
    while get.poll_event().is_some() {}
}
