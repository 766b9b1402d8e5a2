#![no_main]
use wireboot_proto::format::kernel_image::classify;
use wireboot_proto::format::uki::{Uki, Zboot};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let len = data.len() as u64;
    for profile in 0..3 {
        if let Ok(Some(uki)) = Uki::decode(data, len, profile) {
            assert!(uki.linux.end <= len && uki.initrds.iter().all(|part| part.end <= len));
        }
    }
    if let Ok(Some(zboot)) = Zboot::decode(data, len) {
        assert!(zboot.payload.end <= len);
    }
    classify(data);
});
