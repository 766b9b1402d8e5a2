#![no_main]
use wireboot_proto::http::{Config, Get, Resume};
use wireboot_proto::time::Instant;

// The first octet says how the answer that follows is cut.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [cut, answer @ ..] = data else { return };
    let resume = Resume {
        len: 3,
        validator: Some("x".to_owned()),
    };
    let config = Config {
        url: "http://192.0.2.1/".parse().unwrap(),
        stall_timeout: std::time::Duration::from_secs(15),
        speed: Default::default(),
        max_len: 1 << 20,
        resume: (*cut % 2 == 0).then_some(resume),
        window: (*cut % 3 == 0).then_some(7..99),
        proxy: None,
    };
    let mut get = Get::new(config, Instant::ZERO).unwrap();
    let (mut start, mut end) = (0, 0);
    while end < answer.len() {
        end = (end + usize::from(*cut) + 1).min(answer.len());
        loop {
            let consumed = get
                .handle_input(&answer[start..end], Instant::ZERO)
                .consumed;
            start += consumed;
            if consumed == 0 || start == end {
                break;
            }
        }
    }
    get.handle_close(true);
    while get.poll_event().is_some() {}
    assert_eq!(get.poll_timeout(), None);
});
