#![no_main]
use wireboot_proto::packet::udp::Datagram;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = Datagram::decode_frame(data, true);
    let _ = Datagram::decode_frame(data, false);
});
