#![no_main]
use wireboot::wire::pcap::File;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (mut file, mut rest) = (File::default(), data);
    while let Ok(Some((_, len))) = file.next(rest) {
        assert!(len > 0);
        rest = &rest[len..];
    }
});
