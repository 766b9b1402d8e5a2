use proptest::prelude::*;

use super::*;

// Made by genisoimage 1.1.11.
const ROCK_RIDGE: &[u8] = include_bytes!("../../../../tests/fuzz/seeds/iso/rock-ridge.iso");
const JOLIET: &[u8] = include_bytes!("../../../../tests/fuzz/seeds/iso/joliet.iso");
const PLAIN: &[u8] = include_bytes!("../../../../tests/fuzz/seeds/iso/plain.iso");

#[test]
fn rock_ridge_names_links_and_moved_directories_are_followed() {
    let long = format!("casper/{}", "long".repeat(60));
    for (path, expected) in [
        ("/casper/vmlinuz", "kernel"),
        ("casper//./vmlinuz", "kernel"),
        ("/CASPER/VmLinuz", "kernel"),
        ("/../casper/../casper/vmlinuz", "kernel"),
        ("/link", "kernel"),
        ("/far", "kernel"),
        ("/absolute/vmlinuz", "kernel"),
        ("/deep/1/2/3/4/5/6/7/8/9/file", "deep"),
        (&long, "long"),
        ("/casper/Grüße aus dem Süden.txt", "Name mit Ä"),
        ("/empty", ""),
    ] {
        assert_eq!(
            content(ROCK_RIDGE, path).unwrap(),
            Some(expected.into()),
            "{path}"
        );
    }
    let initrd = content(ROCK_RIDGE, "/casper/up").unwrap().unwrap();
    assert!(initrd.len() == 5000 && initrd.bytes().all(|byte| byte == b'i'));
    for path in [
        "/casper/none",
        "/broken",
        "/empty/x",
        "/link/x",
        "/casper/vmlinuz/..",
    ] {
        assert_eq!(content(ROCK_RIDGE, path).unwrap(), None, "{path}");
    }
    assert_eq!(content(ROCK_RIDGE, "/a"), Err(IsoError::Endless));
}

#[test]
fn directories_are_listed() {
    let root = [
        "a",
        "absolute",
        "b",
        "broken",
        "casper/",
        "deep/",
        "empty",
        "far",
        "link",
        "rr_moved/",
    ];
    assert_eq!(
        find(ROCK_RIDGE, "/"),
        Ok(Some(Found::Directory(root.map(str::to_owned).into())))
    );
    let sixth = find(ROCK_RIDGE, "/deep/1/2/3/4/5/6").unwrap();
    assert_eq!(sixth, Some(Found::Directory(vec!["7/".to_owned()])));
}

#[test]
fn joliet_and_plain_names_are_read_where_there_is_nothing_better() {
    let name = "/casper/Grüße aus dem Süden.txt";
    assert_eq!(content(JOLIET, name).unwrap().unwrap(), "Name mit Ä");
    assert_eq!(
        content(JOLIET, "/casper/vmlinuz").unwrap().unwrap(),
        "kernel"
    );
    assert_eq!(
        content(PLAIN, "/casper/vmlinuz").unwrap().unwrap(),
        "kernel"
    );
    let names = find(PLAIN, "/").unwrap();
    let expected = ["casper/", "p.a", "p.b"].map(str::to_owned);
    assert_eq!(names, Some(Found::Directory(expected.into())));
}

#[test]
fn a_file_in_several_parts_is_one() {
    let mut image = PLAIN.to_vec();
    let at = |name: &[u8]| {
        PLAIN
            .windows(name.len())
            .position(|part| part == name)
            .unwrap()
    };
    // As a file over 4 GiB: a record for each part, and a flag in all but the last.
    let (first, second) = (at(b"P.A;1"), at(b"P.B;1"));
    image[first - 8] |= 0x80;
    image[second + 2] = b'A';
    let expected = "a".repeat(2048) + "tail";
    assert_eq!(content(&image, "/p.a").unwrap(), Some(expected));
    assert!(matches!(find(&image, "/p.a").unwrap(), Some(Found::File(parts)) if parts.len() == 1));
    let names = find(&image, "/").unwrap();
    assert_eq!(
        names,
        Some(Found::Directory(vec![
            "casper/".to_owned(),
            "p.a".to_owned()
        ]))
    );
    // The last part is missing.
    image[second - 8] |= 0x80;
    assert!(content(&image, "/p.a").is_err());
}

#[test]
fn what_an_image_cannot_be_is_refused() {
    assert_eq!(IsoVolume::decode(&ROCK_RIDGE[..0x8000]), Ok(None));
    assert_eq!(IsoVolume::decode(&[0; 0x9000]), Ok(None));
    let mut image = ROCK_RIDGE.to_vec();
    image[0x8000 + 80] = 10;
    // The volume is shorter than where its root directory is said to be.
    assert!(IsoVolume::decode(&image).is_err());
    let mut image = ROCK_RIDGE.to_vec();
    image[0x8000 + 129] = 0;
    assert!(IsoVolume::decode(&image).is_err());
    let mut image = ROCK_RIDGE.to_vec();
    // The length of the root directory.
    image[0x8000 + 156 + 12] = 0x20;
    assert!(find(&image, "/").is_err());
}

#[test]
fn continuation_areas_that_all_records_share_and_that_lead_in_a_circle_end() {
    let mut image = ROCK_RIDGE.to_vec();
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let continuation = |block: usize| {
        let mut field = b"CE\x1c\x01".to_vec();
        for value in [block, 0, 2048] {
            // The other order is not read.
            field.extend(number(value));
            field.extend([0; 4]);
        }
        field
    };
    image.resize(image.len().next_multiple_of(2048), 0);
    let area = image.len() / 2048;
    image.extend(continuation(area));
    image.resize((area + 1) * 2048, 0);
    // The root directory again, its first record with as many more as fit.
    let root = u32::from_le_bytes(image[0x8000 + 158..0x8000 + 162].try_into().unwrap());
    let root = usize::try_from(root).unwrap() * 2048;
    let first = image[root..root + usize::from(image[root])].to_vec();
    let mut record = first[..34].to_vec();
    record[32..34].copy_from_slice(b"\x01x");
    record.extend(continuation(area));
    record[0] = u8::try_from(record.len()).unwrap();
    for sector in 0..512 {
        let mut records = vec![];
        if sector == 0 {
            records.extend(&first);
        }
        while records.len() + record.len() <= 2048 {
            records.extend(&record);
        }
        records.resize(2048, 0);
        image.extend(records);
    }
    let blocks = image.len() / 2048;
    image[0x8000 + 80..][..4].copy_from_slice(&number(blocks));
    image[0x8000 + 158..][..4].copy_from_slice(&number(area + 1));
    image[0x8000 + 166..][..4].copy_from_slice(&number(1 << 20));
    assert_eq!(find(&image, "/vmlinuz"), Err(IsoError::TooLong));
}

proptest! {
    #[test]
    fn no_image_leads_outside_of_its_volume(
        changes in proptest::collection::vec((0x8000..ROCK_RIDGE.len(), any::<u8>()), 0..200),
        has_rock_ridge in any::<bool>(),
        path in "(/(casper|link|far|a|deep|absolute|[.][.])){0,6}",
    ) {
        let mut image = if has_rock_ridge { ROCK_RIDGE } else { JOLIET }.to_vec();
        for (at, byte) in changes {
            if let Some(place) = image.get_mut(at) {
                *place = byte;
            }
        }
        let _ = content(&image, &path);
    }
}

/// Returns the content of a file; none for a directory or a missing file.
fn content(image: &[u8], path: &str) -> Result<Option<String>, IsoError> {
    match find(image, path)? {
        Some(Found::File(parts)) => {
            let bytes = parts.into_iter().map(|part| cut(image, part));
            let bytes: Vec<_> = bytes.collect();
            Ok(Some(String::from_utf8_lossy(&bytes.concat()).into_owned()))
        }
        Some(Found::Directory(_)) | None => Ok(None),
    }
}

fn find(image: &[u8], path: &str) -> Result<Option<Found>, IsoError> {
    let Some(volume) = IsoVolume::decode(image)? else {
        return Ok(None);
    };
    let mut read = 0;
    volume.find(path, &mut |part: Extent| {
        assert!(part.end <= volume.len());
        read += part.end - part.start;
        assert!(read <= MAX_READ_LEN);
        Ok(cut(image, part))
    })
}

fn cut(image: &[u8], part: Extent) -> Vec<u8> {
    let index = |place: u64| usize::try_from(place).unwrap();
    let (start, end) = (index(part.start), index(part.end));
    image
        .get(start..end.min(image.len()))
        .unwrap_or_default()
        .to_vec()
}
