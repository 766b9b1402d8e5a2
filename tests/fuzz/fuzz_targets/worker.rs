#![no_main]
use wireboot_proto::worker::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = Message::decode(data) {
        let again = message.encode();
        assert_eq!(Message::decode(&again).as_ref(), Ok(&message));
        assert_eq!(again, data);
    }
});
