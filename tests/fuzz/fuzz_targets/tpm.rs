#![no_main]
use wireboot_proto::format::tpm::{decode_banks, decode_done, encode_extend};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok((banks, _)) = decode_banks(data) {
        encode_extend(9, &banks, &[0; 32]);
    }
    let _ = decode_done(data);
});
