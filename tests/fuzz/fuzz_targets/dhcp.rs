#![no_main]
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::dhcp::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::decode(data) {
        let _ = Lease::read(&message, [192, 0, 2, 1].into());
        let _ = message.options.domain_search();
        let _ = message.encode(&mut Vec::new());
    }
});
