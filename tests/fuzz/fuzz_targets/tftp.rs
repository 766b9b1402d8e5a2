#![no_main]
use wireboot_proto::packet::tftp::TftpPacket;
use wireboot_proto::tftp::{ByteRanges, Config, Get, Terms};
use wireboot_proto::time::Instant;

// Packets of a server, each behind its length and the milliseconds since the one before.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = TftpPacket::decode(data);
    let server = ([192, 0, 2, 1], 69).into();
    let mut received = ByteRanges::default();
    received.insert(0..100);
    let config = Config {
        server,
        file: String::new(),
        terms: Terms::best(1500, &server),
        stall_timeout: std::time::Duration::from_secs(15),
        speed: Default::default(),
        max_len: 1 << 20,
        received,
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    let mut now = Instant::ZERO;
    let mut get = Get::new(config, now);
    let mut rest = data;
    while let [len, millis, after @ ..] = rest {
        let (packet, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += std::time::Duration::from_millis(u64::from(*millis) * 16);
        let _ = get.handle_input(server, packet, now);
        while get.poll_transmit(&mut Vec::new()).is_some() {}
        get.handle_timeout(now);
        while get.poll_transmit(&mut Vec::new()).is_some() {}
        while get.poll_event().is_some() {}
        assert!(get.poll_timeout().is_none_or(|at| at > now));
    }
});
