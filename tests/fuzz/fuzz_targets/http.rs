#![no_main]
use std::time::Duration;

use wireboot_fuzz::budget;
use wireboot_proto::http::{Config, Get, Resume};
use wireboot_proto::time::{Instant, SpeedLimit};

const MAX_LEN: u64 = 1 << 20;
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// More than heads and trailers, and the lines of chunks, may have in all.
const MAX_OVERHEAD: usize = 1 << 20;

// The first octet says how the answer that follows is cut, and how long each piece takes.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [cut, answer @ ..] = data else { return };
    // Half of them are slow: a piece a second.
    let pause = Duration::from_millis(if *cut & 0x80 == 0 { 0 } else { 1000 });
    budget::linear(data.len(), 4096, || get(*cut & 0x7f, pause, answer));
    endless(*cut, pause, answer);
});

fn config(cut: u8) -> Config {
    let resume = Resume {
        len: 3,
        end: cut.is_multiple_of(5).then_some(20),
        validator: Some("x".to_owned()),
    };
    Config {
        url: "http://192.0.2.1/".parse().unwrap(),
        stall_timeout: STALL_TIMEOUT,
        speed: SpeedLimit::default(),
        max_len: MAX_LEN,
        resume: cut.is_multiple_of(2).then_some(resume),
        window: cut.is_multiple_of(3).then_some(7..99),
        proxy: None,
    }
}

fn get(cut: u8, pause: Duration, answer: &[u8]) {
    let mut now = Instant::ZERO;
    let mut get = Get::new(config(cut), now).unwrap();
    let (mut start, mut end, mut body) = (0, 0, 0);
    while end < answer.len() {
        end = (end + usize::from(cut) + 1).min(answer.len());
        loop {
            let taken = get.handle_input(&answer[start..end], now);
            body += taken.body.len();
            start += taken.consumed;
            if taken.consumed == 0 || start == end {
                break;
            }
        }
        now += pause;
        get.handle_timeout(now);
    }
    assert!(body <= answer.len() && body as u64 <= MAX_LEN);
    get.handle_close(true);
    while get.poll_event().is_some() {}
    assert_eq!(get.poll_timeout(), None);
}

/// A server that says the same over and over comes to an end: by the length of the file, by the limit of
/// what is not of it, or, slow, by the least rate.
fn endless(cut: u8, pause: Duration, answer: &[u8]) {
    let [first, again @ ..] = answer else { return };
    let (head, again) = again.split_at(usize::from(*first).min(again.len()));
    if again.is_empty() {
        return;
    }
    // A head is read anew with each piece, which time limits, and not the number of pieces.
    let again = again.repeat(if pause.is_zero() {
        4096 / again.len() + 1
    } else {
        1
    });
    let mut now = Instant::ZERO;
    let mut get = Get::new(config(cut), now).unwrap();
    let mut waiting = head.to_vec();
    let mut received = 0;
    while get.poll_timeout().is_some() {
        let taken = get.handle_input(&waiting, now).consumed;
        waiting.drain(..taken);
        if taken == 0 {
            assert!(
                waiting.len() <= MAX_OVERHEAD,
                "{} bytes wait",
                waiting.len()
            );
            received += again.len();
            assert!(received <= 4 * MAX_OVERHEAD, "an answer without end");
            assert!(
                now <= Instant::ZERO + Duration::from_secs(3600),
                "a slow answer without end"
            );
            waiting.extend_from_slice(&again);
            now += pause;
            get.handle_timeout(now);
        }
        while get.poll_event().is_some() {}
    }
}
