#![no_main]
use wireboot_proto::sntp::{Config, PORT, Query};
use wireboot_proto::time::Instant;

// Packets of a server, each behind its length and the milliseconds since the one before, with the
// number of the request put in where it belongs.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let server = [192, 0, 2, 1].into();
    let config = Config {
        servers: vec![server, [192, 0, 2, 2].into()],
        not_before: std::time::Duration::from_secs(1_800_000_000),
        not_after: std::time::Duration::from_secs(4_000_000_000),
        seed: 1,
    };
    let mut now = Instant::ZERO;
    let mut query = Query::new(config, now);
    let mut request = Vec::new();
    let mut rest = data;
    while let [len, millis, after @ ..] = rest {
        let mut next = Vec::new();
        if query.poll_transmit(&mut next).is_some() {
            request = next;
        }
        let (packet, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += std::time::Duration::from_millis(u64::from(*millis) * 4);
        let mut packet = packet.to_vec();
        if let (Some(to), Some(from)) = (packet.get_mut(24..32), request.get(40..48)) {
            to.copy_from_slice(from);
        }
        let _ = query.handle_input((server, PORT).into(), &packet, now);
        query.handle_timeout(now);
        let _ = query.poll_event();
        assert!(query.poll_timeout().is_none_or(|at| at > now));
    }
});
