#![no_main]
use std::io::Write;

use wireboot::fuzzing::image;
use wireboot_fuzz::budget;

// An octet that says how the kernel is wrapped, and the kernel; the last octets are the initrd. Kernels
// are packed here, since no change to a packed one would leave its checksum right.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let (kernel, initrd) = rest.split_at(rest.len() - rest.len().min(usize::from(first >> 3)));
    let kernel = match first % 4 {
        0 => kernel.to_vec(),
        1 => gzip(kernel),
        2 => zboot(&gzip(kernel)),
        // A unified kernel image in zboot in gzip.
        _ => gzip(&zboot(&gzip(kernel))),
    };
    // The windows of unpackers, and copies of what is unpacked, which grows by a thousand at most.
    let most = (64 << 20) + (kernel.len() + initrd.len()) as u64 * 8192;
    if let Some((_, made)) = budget::within(most, || image(&kernel, initrd, "quiet")) {
        // The plan's own initrd is the last part, whatever an image has before it.
        assert!(made.ends_with(initrd), "{} of {}", initrd.len(), made.len());
    }
});

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(content).expect("it is in memory");
    packer.finish().expect("it is in memory")
}

fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..8].copy_from_slice(b"MZ\0\0zimg");
    file[8] = 64;
    let len = u32::try_from(payload.len()).expect("it is short");
    file[12..16].copy_from_slice(&len.to_le_bytes());
    file[24..28].copy_from_slice(b"gzip");
    file.extend(payload);
    file
}
