#![no_main]
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::switch_frame::SwitchFrame;
use wireboot_proto::switch::Switch;
use wireboot_proto::time::Instant;

// Frames of a switch, each behind its length and the seconds since the one before.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = SwitchFrame::decode(data);
    let mut now = Instant::ZERO;
    let mut switch = Switch::new(MacAddress([2, 0, 0, 0, 0, 1]), 1, now);
    switch.solicit(now);
    let mut rest = data;
    while let [len, seconds, after @ ..] = rest {
        let (frame, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        now += std::time::Duration::from_secs(u64::from(*seconds));
        if let Ok(word) = SwitchFrame::decode(frame) {
            switch.handle_input(word, now);
        }
        switch.handle_timeout(now);
        while switch.poll_event().is_some() {}
        // Each frame has one answer at most, and a port that sends nothing is asked once.
        assert!(core::iter::from_fn(|| switch.poll_transmit()).count() <= 2);
        assert!(switch.poll_timeout().is_none_or(|at| at > now));
    }
});
