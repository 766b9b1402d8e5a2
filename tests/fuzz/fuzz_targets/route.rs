#![no_main]
use wireboot_proto::netlink::message::frames;
use wireboot_proto::netlink::route::RouteMessage;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for frame in frames(data).flatten() {
        let _ = RouteMessage::decode(&frame);
    }
});
