#![no_main]
use wireboot::fuzzing::{Packing, unpack};
use wireboot_fuzz::budget;

const MOST: u64 = 16 << 20;

// A first octet for the format. What a kernel of a few KiB unpacks to is bounded by the caller.
// The windows of both formats, and the content twice as long as it grows.
libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::within(256 << 20, || unpacked(data)));

fn unpacked(data: &[u8]) {
    let Some((first, packed)) = data.split_first() else {
        return;
    };
    let packing = match first % 3 {
        0 => Packing::Gzip,
        1 => Packing::Zstd,
        _ => Packing::Xz,
    };
    let mut content = Vec::new();
    match unpack(packed, packing, MOST, &mut content) {
        Ok(len) => assert!(len == content.len() as u64 && len <= MOST),
        Err(_) => assert!(content.len() as u64 <= MOST + 1),
    }
}
