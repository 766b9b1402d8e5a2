#![no_main]
use wireboot_proto::format::pcap::CaptureReader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut file, mut rest) = (CaptureReader::default(), data);
    while let Ok(Some((_, len))) = file.next(rest) {
        assert!(len > 0);
        rest = &rest[len..];
    }
});
