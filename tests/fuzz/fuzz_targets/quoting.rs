#![no_main]
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::dhcp::Message;

// The options of an ACK, and a text for a script.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        wireboot::fuzzing::script_value(text);
    }
    let mut ack = vec![0; 236];
    ack[..4].copy_from_slice(&[2, 1, 6, 0]);
    ack[16..20].copy_from_slice(&[192, 0, 2, 9]);
    ack.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, 5, 54, 4, 192, 0, 2, 1]);
    ack.extend_from_slice(data);
    if let Ok(message) = Message::decode(&ack) {
        wireboot::fuzzing::hand_over(&Lease::read(&message, [192, 0, 2, 1].into()));
    }
});
