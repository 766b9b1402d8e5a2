#![no_main]
use wireboot::capture::line::{dump, line};
use wireboot_proto::time::Timestamp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = line(Timestamp::from_nanos(1), data, 60, true);
    assert!(!text.contains(|c: char| c.is_control() && !"\n\t".contains(c)));
    let _ = dump(data, true);
});
