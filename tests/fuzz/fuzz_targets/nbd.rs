#![no_main]
use wireboot_proto::nbd::{self, Handshake};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut handshake = Handshake::new("debian".to_owned());
    let mut rest = data;
    let mut steps = 0;
    loop {
        let _ = handshake.poll_transmit();
        let wanted = handshake.wanted();
        assert_eq!(wanted == 0, handshake.export().is_some());
        if wanted == 0 {
            break;
        }
        // A server that says all that it may ends the handshake.
        steps += 1;
        assert!(
            wanted <= 1 << 16 && steps < 200,
            "{wanted} bytes in step {steps}"
        );
        let Some((bytes, more)) = rest.split_at_checked(wanted) else {
            break;
        };
        rest = more;
        if handshake.handle_input(bytes).is_err() {
            break;
        }
    }
    if let Some(export) = handshake.export() {
        let _ = nbd::connect_request(7, export, 3);
    }
    // What the kernel answers.
    let _ = (nbd::family(data), nbd::device(data));
});
