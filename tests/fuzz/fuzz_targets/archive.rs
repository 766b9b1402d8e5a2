#![no_main]
use wireboot_fuzz::budget;
use wireboot_proto::format::archive::{Decoder, Event, Kind, MAX_PATH_LEN};

fn check(path: &[u8]) {
    assert!(path.len() < MAX_PATH_LEN && !path.starts_with(b"/"));
    assert!(!path.split(|byte| *byte == b'/').any(|part| part == b".."));
}

// A first octet for the length of the pieces that are received.
libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::linear(data.len(), 4096, || decode(data)));

fn decode(data: &[u8]) {
    let Some((step, archive)) = data.split_first() else {
        return;
    };
    let mut decoder = Decoder::default();
    let mut content_len = 0;
    for mut piece in archive.chunks(usize::from(*step) * 8 + 1) {
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(Event::Entry(entry))) => {
                    check(&entry.path);
                    if let Kind::HardLink(target) = &entry.kind {
                        check(target);
                    }
                }
                Ok(Some(Event::Content(content))) => content_len += content.len(),
                Ok(Some(Event::Hole(len))) => assert!(len > 0),
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(piece.is_empty());
    }
    assert!(content_len <= archive.len());
    let _ = decoder.finish();
}
