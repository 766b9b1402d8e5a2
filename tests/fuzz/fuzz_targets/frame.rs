#![no_main]
use wireboot::wire::frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = frame::decode(data, true);
    let _ = frame::decode(data, false);
});
