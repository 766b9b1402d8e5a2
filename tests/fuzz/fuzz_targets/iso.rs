#![no_main]
use wireboot_fuzz::budget;
use wireboot_proto::format::iso9660::{Extent, Found, IsoError, IsoVolume};

/// The most that is read to find one file, in bytes.
const MAX_READ: u64 = 32 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| budget::within(1 << 30, || find(data)));

fn find(data: &[u8]) {
    let Ok(Some(volume)) = IsoVolume::decode(data) else {
        return;
    };
    let cut = |part: Extent| {
        let (start, end) = (part.start as usize, part.end as usize);
        data.get(start..end.min(data.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let mut read_len = 0;
    let mut read = |part: Extent| {
        read_len += part.end - part.start;
        assert!(read_len <= 23 * MAX_READ, "{read_len} bytes are read");
        assert!(part.end <= volume.len(), "{part:?} is outside");
        Ok::<_, IsoError>(cut(part))
    };
    let mut paths = vec![
        "/".to_owned(),
        "/casper/vmlinuz".to_owned(),
        "/far".to_owned(),
    ];
    if let Ok(Some(Found::Directory(names))) = volume.find("/", &mut read) {
        paths.extend(names.into_iter().take(20));
    }
    for path in paths {
        if let Ok(Some(Found::File(parts))) = volume.find(&path, &mut read) {
            assert!(
                parts
                    .iter()
                    .all(|part| part.start < part.end && part.end <= volume.len())
            );
        }
    }
}
