#![no_main]
use wireboot::wire::netlink::frames;
use wireboot::wire::route::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for frame in frames(data).flatten() {
        let _ = Message::decode(&frame);
    }
});
