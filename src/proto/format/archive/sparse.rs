//! Sparse files in tar archives: GNU's old format (type `S`), and its formats 0.0, 0.1 and 1.0 of pax
//! (GNU tar manual, Storing Sparse Files), which bsdtar writes too.
//!
//! All of them say where the stored content belongs, by pairs of an offset and a length.

use super::{ArchiveError, BLOCK_LEN, Decoder, Entry, Next, State, Text, number, tar_padding};
use crate::prelude::*;

/// Numbers that a file may have for its parts, two for each: some 65,000 parts.
const MAX_NUMBERS: usize = 1 << 17;

/// Where a header of the old format has its first pairs, and how many bytes of pairs are in a block that
/// follows; behind both is a byte that says whether another block follows.
const PAIRS_AT: usize = 386;
const PAIRS_LEN: usize = 4 * 24;
const BLOCK_PAIRS_LEN: usize = 21 * 24;

/// A hole, and the content behind it, each in bytes.
pub(super) type Run = (u64, u64);

/// A sparse file of which is not known yet where its content belongs.
#[derive(Debug)]
pub(super) struct Pending {
    entry: Entry,
    /// What is stored of it, in bytes.
    stored: u64,
    /// Offsets and lengths, by turns.
    numbers: Vec<u64>,
    map: Map,
}

/// Where the numbers are.
#[derive(Debug)]
pub(super) enum Map {
    /// In the header of pax.
    Header,
    /// In binary fields, as GNU's old format has them.
    Old,
    /// In decimals at the beginning of the content: how many pairs, and the pairs. The digits of the
    /// number that is read.
    Decimal(Option<u64>),
}

impl Decoder {
    /// Begins a file of `len` bytes, by the end of its header.
    pub(super) fn sparse(
        &mut self,
        mut entry: Entry,
        len: Option<u64>,
        numbers: Vec<u64>,
        map: Map,
        header: &[u8],
    ) -> Result<Option<Entry>, ArchiveError> {
        let (len, first) = match map {
            Map::Header | Map::Decimal(_) => (len, &[][..]),
            Map::Old => {
                let pairs = header.get(PAIRS_AT..=PAIRS_AT + PAIRS_LEN);
                let len = header.get(483..495).and_then(number);
                (len, pairs.unwrap_or_default())
            }
        };
        let stored = core::mem::replace(&mut entry.len, len.unwrap_or_default());
        let pending = Pending {
            entry,
            stored,
            numbers,
            map,
        };
        self.sparse_block(pending, first)
    }

    /// Reads a block with numbers, and waits for the next one or begins the content.
    pub(super) fn sparse_block(
        &mut self,
        mut pending: Pending,
        block: &[u8],
    ) -> Result<Option<Entry>, ArchiveError> {
        match pending.read(block) {
            Some(false) if pending.numbers.len() <= MAX_NUMBERS => {
                self.state = State::Text(Text::Map(pending), BLOCK_LEN);
                return Ok(None);
            }
            Some(true) => {
                if let Some(runs) = runs(&pending.numbers, pending.stored, pending.entry.len) {
                    self.state = State::Content {
                        runs,
                        padding: tar_padding(pending.stored),
                        then: Next::Tar,
                    };
                    return Ok(Some(pending.entry));
                }
            }
            Some(false) | None => {}
        }
        Err(self.fault("the holes of a sparse file are damaged, or too many"))
    }
}

impl Pending {
    /// Reads numbers; returns whether they are all there, or none for such that are none.
    fn read(&mut self, block: &[u8]) -> Option<bool> {
        match &mut self.map {
            Map::Header => return Some(true),
            Map::Old => {
                let (pairs, flag) = block
                    .split_at_checked(block.len().min(BLOCK_PAIRS_LEN + 1).saturating_sub(1))?;
                // A field that begins with a zero has no number.
                let fields = pairs.chunks(12).filter(|field| field.first() != Some(&0));
                for field in fields {
                    self.numbers.push(number(field)?);
                }
                return Some(flag.first() == Some(&0));
            }
            Map::Decimal(digits) => {
                self.stored = self.stored.checked_sub(block.len() as u64)?;
                for byte in block {
                    let Some(digit) = char::from(*byte).to_digit(10) else {
                        self.numbers.push(digits.take().filter(|_| *byte == b'\n')?);
                        let (pairs, rest) = self.numbers.split_first()?;
                        if pairs.checked_mul(2) == Some(rest.len() as u64) {
                            self.numbers.remove(0);
                            return Some(true);
                        }
                        continue;
                    };
                    let number = digits.unwrap_or_default().checked_mul(10)?;
                    *digits = Some(number.checked_add(digit.into())?);
                }
            }
        }
        Some(false)
    }
}

/// Returns holes and content, the last first; none unless `stored` bytes make a file of `len` of them.
fn runs(numbers: &[u64], stored: u64, len: u64) -> Option<Vec<Run>> {
    let (mut runs, mut end, mut content) = (Vec::new(), 0_u64, 0_u64);
    if numbers.len() > MAX_NUMBERS {
        return None;
    }
    for pair in numbers.chunks(2) {
        let &[offset, part] = pair else {
            return None;
        };
        runs.push((offset.checked_sub(end)?, part));
        end = offset.checked_add(part)?;
        content = content.checked_add(part)?;
    }
    runs.push((len.checked_sub(end)?, 0));
    runs.reverse();
    (content == stored).then_some(runs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{members, octal, sign, tar, with_end};
    use super::super::{ArchiveError, BLOCK_LEN};
    use crate::prelude::*;

    /// Thirty bytes behind a hole of ten each, and a hole at the end.
    const PARTS: u64 = 30;
    const LEN: u64 = PARTS * 40 + 7;

    fn pairs() -> Vec<(u64, u64)> {
        let parts = (0..PARTS).map(|part| (part * 40 + 10, 30));
        // GNU tar adds the end.
        parts.chain([(LEN, 0)]).collect()
    }

    fn stored() -> Vec<u8> {
        (0..PARTS * 30).map(|at| at.to_le_bytes()[0] | 1).collect()
    }

    fn whole() -> Vec<u8> {
        let mut all = Vec::new();
        for part in stored().chunks(30) {
            all.extend([0; 10]);
            all.extend(part);
        }
        all.resize(usize::try_from(LEN).unwrap(), 0);
        all
    }

    /// The old format, with the pairs that do not fit into the header in blocks behind it.
    fn old(pairs: &[(u64, u64)], len: u64, content: &[u8]) -> Vec<u8> {
        let mut member = tar("file", b'S', "", content);
        let put = |block: &mut [u8], at: usize, pairs: &[(u64, u64)]| {
            for (place, (offset, len)) in pairs.iter().enumerate() {
                octal(block, at + place * 24, 12, *offset);
                octal(block, at + place * 24 + 12, 12, *len);
            }
        };
        let (first, rest) = pairs.split_at(pairs.len().min(4));
        put(&mut member, 386, first);
        member[482] = (!rest.is_empty()).into();
        octal(&mut member, 483, 12, len);
        member[257..265].copy_from_slice(b"ustar  \0");
        sign(&mut member);
        let mut blocks = vec![0; rest.len().div_ceil(21) * BLOCK_LEN];
        for (number, (block, pairs)) in blocks
            .chunks_mut(BLOCK_LEN)
            .zip(rest.chunks(21))
            .enumerate()
        {
            put(block, 0, pairs);
            block[504] = (number + 1 < rest.len().div_ceil(21)).into();
        }
        member.splice(BLOCK_LEN..BLOCK_LEN, blocks);
        member
    }

    fn pax(records: &[(&str, String)], content: &[u8]) -> Vec<u8> {
        let mut text = String::new();
        for (key, value) in records {
            let rest = format!(" GNU.sparse.{key}={value}\n");
            let len = (rest.len()..).find(|len| len.to_string().len() + rest.len() == *len);
            text.push_str(&format!("{}{rest}", len.unwrap()));
        }
        let header = tar("pax", b'x', "", text.as_bytes());
        [header, tar("GNUSparseFile.7/file", b'0', "", content)].concat()
    }

    fn decimals(count: &str, pairs: &[(u64, u64)]) -> Vec<u8> {
        let mut text = format!("{count}\n");
        for (offset, len) in pairs {
            text.push_str(&format!("{offset}\n{len}\n"));
        }
        let mut map = text.into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK_LEN), 0);
        map
    }

    fn inner(map: Vec<u8>, len: u64, content: &[u8]) -> Vec<u8> {
        let records = [
            ("major", "1".to_owned()),
            ("minor", "0".to_owned()),
            ("name", "file".to_owned()),
            ("realsize", len.to_string()),
        ];
        pax(&records, &[&map, content].concat())
    }

    #[test]
    fn sparse_files_of_each_format_are_read_with_their_holes() {
        let name = ("name", "file".to_owned());
        let size = ("size", LEN.to_string());
        let mut first = vec![name.clone(), size.clone()];
        for (offset, len) in pairs() {
            first.push(("offset", offset.to_string()));
            first.push(("numbytes", len.to_string()));
        }
        let numbers = pairs().into_iter().flat_map(|(offset, len)| [offset, len]);
        let numbers: Vec<_> = numbers.map(|number| number.to_string()).collect();
        let second = [name, size, ("map", numbers.join(","))];
        let map = decimals(&pairs().len().to_string(), &pairs());
        for member in [
            old(&pairs(), LEN, &stored()),
            pax(&first, &stored()),
            pax(&second, &stored()),
            inner(map, LEN, &stored()),
        ] {
            let archive = with_end(&[member, tar("next", b'0', "", b"12345")]);
            for step in [1, 7, 511, archive.len()] {
                let read = members(&archive, step).unwrap();
                let [(file, content), (next, other)] = &read[..] else {
                    panic!("{read:?}");
                };
                assert_eq!((&file.path[..], file.len), (&b"file"[..], LEN));
                assert_eq!(*content, whole());
                assert_eq!((&next.path[..], &other[..]), (&b"next"[..], &b"12345"[..]));
            }
            for len in (0..archive.len() - 2 * BLOCK_LEN + 1).step_by(100) {
                assert_eq!(members(&archive[..len], 512), Err(ArchiveError::CutOff));
            }
        }
        // All of it is a hole, as bsdtar has it and as GNU tar has it.
        for map in [decimals("1", &[(9, 0)]), decimals("0", &[])] {
            let read = members(&with_end(&[inner(map, 9, b"")]), 512).unwrap();
            assert_eq!(read[0].1, [0; 9]);
        }
    }

    #[test]
    fn maps_that_fit_no_content_are_refused() {
        let content = [7; 20];
        for pairs in [
            &[(0, 10), (5, 10)][..],
            &[(10, 10), (0, 10)],
            &[(0, 10), (90, 20)],
            &[(0, 10)],
            &[(0, 10), (20, 11)],
            &[(1 << 32, 20)],
        ] {
            let whole = decimals(&pairs.len().to_string(), pairs);
            for member in [inner(whole, 100, &content), old(pairs, 100, &content)] {
                let why = members(&with_end(&[member]), 512).unwrap_err().to_string();
                assert!(why.contains("holes of a sparse file"), "{pairs:?}: {why}");
            }
        }
        for map in [
            decimals("x", &[]),
            decimals("", &[]),
            decimals("-1", &[]),
            decimals("99999999999999999999", &[]),
            decimals("3", &[(0, 10), (20, 10)]),
            Vec::new(),
            decimals("9999", &vec![(0, 0); 600]),
            decimals("99999999", &vec![(0, 0); 70_000]),
        ] {
            let said = members(&with_end(&[inner(map, 100, &content)]), 512);
            let said = said.unwrap_err().to_string();
            assert!(said.contains("holes of a sparse file"), "{said}");
        }
        let many = vec![("offset", "0".to_owned()), ("numbytes", "20".to_owned())];
        let without_length = members(&with_end(&[pax(&many, &content)]), 512);
        without_length.unwrap_err();
    }
}
