//! Decompresses kernels and modules, with the feature `unpack`. The caller knows the format; it is
//! not guessed.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

pub use wireboot_proto::format::uki::Packing;

/// Writes the decompressed content to `to`, and returns its length in bytes.
///
/// # Errors
/// Damaged data; [`io::ErrorKind::FileTooLarge`] beyond `max_len` bytes, some of which may have
/// been written; [`io::ErrorKind::Unsupported`] without the feature.
pub fn unpack(
    mut packed: impl Read,
    packing: Packing,
    max_len: u64,
    to: &mut impl Write,
) -> io::Result<u64> {
    // One byte more shows whether it is too long. One copy of the code is for all types.
    let len = copy(&mut packed, packing, max_len.saturating_add(1), to)?;
    if len > max_len {
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it decompresses to more than {max_len} bytes"),
        ))
    } else {
        Ok(len)
    }
}

#[cfg(feature = "unpack")]
fn copy(packed: &mut dyn Read, packing: Packing, most: u64, to: &mut dyn Write) -> io::Result<u64> {
    match packing {
        Packing::Gzip => gzip::copy(packed, most, to),
        Packing::Zstd => zstd::copy(packed, most, to),
        Packing::Xz => xz::copy(packed, most, to),
    }
}

#[cfg(not(feature = "unpack"))]
fn copy(_: &mut dyn Read, _: Packing, _: u64, _: &mut dyn Write) -> io::Result<u64> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this wireboot was built without the feature \"unpack\"",
    ))
}

#[cfg(feature = "unpack")]
fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The frames of zstd (RFC 8878 §3.1), of which there may be several, as pzstd writes them.
#[cfg(feature = "unpack")]
mod zstd {
    use std::io::{self, BufRead, BufReader, Read, Write};

    use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
    use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

    use super::damaged;

    /// Bytes decoded at a time, at least: a block has up to 128 KiB (§3.1.1.2.4).
    const STEP: usize = 128 << 10;

    /// Writes at most `most` bytes of what the frames have. The errors of the crate have a text for each
    /// way to be damaged, 5 KiB, that nobody could act on.
    pub(super) fn copy(packed: &mut dyn Read, most: u64, to: &mut dyn Write) -> io::Result<u64> {
        let mut packed = BufReader::new(packed);
        let mut decoder = FrameDecoder::new();
        let mut len = 0;
        loop {
            match decoder.reset(&mut packed) {
                Ok(()) => {}
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut packed.by_ref().take(length), &mut io::sink())? < length {
                        return Err(damaged("it ends inside of a zstd frame"));
                    }
                }
                Err(_) => return Err(damaged("it has no zstd frame where one should begin")),
            }
            while !decoder.is_finished() && len < most {
                let decoded =
                    decoder.decode_blocks(&mut packed, BlockDecodingStrategy::UptoBytes(STEP));
                decoded.map_err(|_| damaged("a zstd block in it is damaged or cut off"))?;
                len += io::copy(&mut decoder.by_ref().take(most - len), to)?;
            }
            if len == most || packed.fill_buf()?.is_empty() {
                return Ok(len);
            }
        }
    }
}

/// The streams of xz (the .xz file format 1.2.1), of which there may be several.
#[cfg(feature = "unpack")]
mod xz {
    use std::io::{self, BufRead, BufReader, Read, Write};

    use xz4rust::{XzDecoder, XzError, XzNextBlockResult};

    use super::damaged;

    /// Bytes decoded at a time.
    const STEP: usize = 64 << 10;
    /// The largest dictionary, in bytes: that of `xz -9`.
    const MAX_DICTIONARY: usize = 64 << 20;

    /// Writes at most `most` bytes of what the streams have.
    pub(super) fn copy(packed: &mut dyn Read, most: u64, to: &mut dyn Write) -> io::Result<u64> {
        let mut packed = BufReader::new(packed);
        // A dictionary as large as the one that a block asks for takes the place of the first.
        let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(0, MAX_DICTIONARY);
        let mut decoded = vec![0; STEP];
        let mut len = 0;
        while len < most {
            let bytes = packed.fill_buf()?;
            let step = decoder.decode(bytes, &mut decoded).map_err(refusal)?;
            packed.consume(step.input_consumed());
            let produced = decoded.get(..step.output_produced()).unwrap_or_default();
            let part = to_u64(produced.len()).min(most - len);
            io::copy(&mut produced.take(part), to)?;
            len += part;
            match step {
                XzNextBlockResult::EndOfStream(..) => {
                    skip_padding(&mut packed)?;
                    if packed.fill_buf()?.is_empty() {
                        return Ok(len);
                    }
                    decoder.reset();
                }
                XzNextBlockResult::NeedMoreData(..) => {}
            }
        }
        Ok(len)
    }

    /// Skips the zeros between streams (§2.2).
    fn skip_padding(packed: &mut impl BufRead) -> io::Result<()> {
        let mut padding = 0;
        loop {
            let bytes = packed.fill_buf()?;
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let is_all = zeros == bytes.len() && zeros > 0;
            packed.consume(zeros);
            padding += zeros % 4;
            if !is_all {
                break;
            }
        }
        if padding % 4 == 0 {
            Ok(())
        } else {
            Err(damaged(
                "between its xz streams are zeros that are no multiple of four",
            ))
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of thirty ways to be damaged nobody could act on one"
    )]
    fn refusal(error: XzError) -> io::Error {
        match error {
            XzError::DictionaryTooLarge(_) => {
                damaged("its xz dictionary has more than 64 MiB; pack it by xz -9 or less")
            }
            XzError::NeedsLargerInputBuffer => damaged("it ends inside of an xz stream"),
            XzError::Sha256NotSupported => {
                damaged("its xz check is a SHA-256; pack it with --check=crc64")
            }
            XzError::UnsupportedBcjFilter(_) | XzError::UnsupportedBlockHeaderOption => {
                damaged("it has a filter of xz that is not known; pack it without")
            }
            _ => damaged("an xz block in it is damaged or cut off"),
        }
    }

    fn to_u64(len: usize) -> u64 {
        u64::try_from(len).unwrap_or(u64::MAX)
    }
}

/// The members of gzip (RFC 1952) around the deflated bytes. flate2 has it too, but with a checksum
/// whose tables are 20 KiB; this one has 1 KiB.
#[cfg(feature = "unpack")]
mod gzip {
    use std::io::{self, BufRead, BufReader, Read, Write};

    use flate2::bufread::DeflateDecoder;

    use super::damaged;

    /// Bits of the header's flags (§2.3.1): a checksum, more fields, a name and a comment follow.
    const FHCRC: u8 = 1 << 1;
    const FEXTRA: u8 = 1 << 2;
    const FNAME: u8 = 1 << 3;
    const FCOMMENT: u8 = 1 << 4;

    /// Writes at most `most` bytes of what the members of `packed` have (§2.2), and checks the length and
    /// checksum of each that is read to its end. What is behind the last one is ignored, as by gzip(1).
    pub(super) fn copy(packed: &mut dyn Read, most: u64, to: &mut dyn Write) -> io::Result<u64> {
        let mut packed = BufReader::new(packed);
        let mut all = 0;
        loop {
            skip_header(&mut packed)?;
            let mut summed = Summed {
                deflated: DeflateDecoder::new(&mut packed),
                crc: !0,
            };
            let len = io::copy(&mut summed.by_ref().take(most - all), to)?;
            let crc = !summed.crc;
            all += len;
            if all == most {
                return Ok(all);
            }
            let mut trailer = [0; 8];
            packed.read_exact(&mut trailer)?;
            // The length is modulo 2^32 (§2.3.1).
            let [a, b, c, d, ..] = (len & 0xffff_ffff).to_le_bytes();
            let [e, f, g, h] = crc.to_le_bytes();
            if trailer != [e, f, g, h, a, b, c, d] {
                return Err(damaged("its checksum is another than the one at its end"));
            }
            if packed.fill_buf()?.first() != Some(&0x1f) {
                return Ok(all);
            }
        }
    }

    fn skip_header(packed: &mut impl BufRead) -> io::Result<()> {
        let mut header = [0; 10];
        packed.read_exact(&mut header)?;
        let [0x1f, 0x8b, 8, flags, ..] = header else {
            return Err(damaged("it has no gzip header"));
        };
        if flags & FEXTRA != 0 {
            let mut len = [0; 2];
            packed.read_exact(&mut len)?;
            skip(packed, u16::from_le_bytes(len).into())?;
        }
        for text in [FNAME, FCOMMENT] {
            if flags & text != 0 {
                packed.skip_until(0)?;
            }
        }
        if flags & FHCRC != 0 {
            skip(packed, 2)?;
        }
        Ok(())
    }

    fn skip(packed: &mut impl Read, len: u64) -> io::Result<()> {
        io::copy(&mut packed.take(len), &mut io::sink()).map(drop)
    }

    /// Sums what is read.
    struct Summed<R> {
        deflated: DeflateDecoder<R>,
        /// The checksum so far, inverted (§8).
        crc: u32,
    }

    impl<R: BufRead> Read for Summed<R> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            let len = self.deflated.read(bytes)?;
            for byte in bytes.iter().take(len) {
                let [low, ..] = self.crc.to_le_bytes();
                let step = TABLE.get(usize::from(low ^ byte)).copied();
                self.crc = step.unwrap_or_default() ^ (self.crc >> 8);
            }
            Ok(len)
        }
    }

    /// What each byte does to the checksum (§8).
    static TABLE: [u32; 256] = table();

    #[allow(
        clippy::indexing_slicing,
        reason = "at build time, where it would be an error"
    )]
    const fn table() -> [u32; 256] {
        let mut table = [0; 256];
        let mut index = 0;
        let mut byte = 0;
        while index < table.len() {
            let mut crc = byte;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
                bit += 1;
            }
            table[index] = crc;
            index += 1;
            byte += 1;
        }
        table
    }
}

#[cfg(feature = "unpack")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_file_is_unpacked_up_to_a_length() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&[7; 1_000]).unwrap();
        let gzip = packer.finish().unwrap();
        // One block of 1,000 times the same byte (RFC 8878 §3.1.1).
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xe8, 2, 0x43, 0x1f, 0, 7];
        for (packing, packed) in [
            (Packing::Gzip, &gzip[..]),
            (Packing::Zstd, &zstd),
            (Packing::Xz, &XZ),
        ] {
            let mut bytes = Vec::new();
            assert_eq!(unpack(packed, packing, 1_000, &mut bytes).unwrap(), 1_000);
            assert_eq!(bytes, [7; 1_000]);
            let error = unpack(packed, packing, 999, &mut io::sink()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
            if packing != Packing::Zstd {
                for place in [0, packed.len() - 8, packed.len() - 1] {
                    let mut damaged = packed.to_vec();
                    damaged[place] ^= 1;
                    unpack(&damaged[..], packing, 1_000, &mut io::sink()).unwrap_err();
                }
            }
            for len in 0..packed.len() {
                let cut = unpack(&packed[..len], packing, 1_000, &mut io::sink());
                assert!(cut.is_err(), "{packing:?} cut to {len}: {cut:?}");
            }
        }
    }

    /// 1,000 times the byte 7, with a CRC-32.
    const XZ: [u8; 72] = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 1, 0x69, 0x22, 0xde, 0x36, 2, 0, 0x21, 1, 0xc, 0, 0, 0,
        0x8f, 0x98, 0x41, 0x9c, 0xe0, 3, 0xe7, 0, 0xb, 0x5d, 0, 3, 0xef, 0xfb, 0xbf, 0xfe, 0xa3,
        0xb0, 0xb9, 0xa6, 0x56, 0, 0, 0, 0xdc, 0x30, 0x98, 0x45, 0, 1, 0x23, 0xe8, 7, 0, 0, 0,
        0xe2, 0x17, 0x1e, 0xc7, 0x3e, 0x30, 0xd, 0x8b, 2, 0, 0, 0, 0, 1, 0x59, 0x5a,
    ];

    #[test]
    fn xz_may_have_several_streams_and_zeros_between_them() {
        let unpacked = |zeros: usize, streams: usize| {
            let packed = [&XZ[..], &vec![0; zeros]].concat().repeat(streams);
            let mut bytes = Vec::new();
            let len = unpack(&packed[..], Packing::Xz, 5_000, &mut bytes);
            len.map(|len| (len, bytes.len()))
        };
        assert_eq!(unpacked(0, 3).unwrap(), (3_000, 3_000));
        // More than are read at once.
        assert_eq!(unpacked(20_000, 2).unwrap(), (2_000, 2_000));
        for zeros in [1, 2, 3, 8_193, 16_386] {
            let error = unpacked(zeros, 2).unwrap_err();
            assert!(error.to_string().contains("zeros"), "{error}");
        }
    }

    #[test]
    fn xz_says_what_to_pack_by() {
        // The checksum of the stream's header is of its flags (§2.1.1.2), whose second byte is the check.
        let mut checked = XZ;
        checked[7..12].copy_from_slice(&[10, 0xe1, 0xfb, 0x0c, 0xa1]);
        let error = unpack(&checked[..], Packing::Xz, 1_000, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("--check=crc64"), "{error}");
    }

    #[test]
    fn zstd_may_have_several_frames_and_some_to_skip() {
        let frame = |byte| [0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xe8, 2, 0x43, 0x1f, 0, byte];
        // RFC 8878 §3.1.2.
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let packed = [&skipped[..], &frame(7), &skipped, &frame(8)].concat();
        let mut bytes = Vec::new();
        let len = unpack(&packed[..], Packing::Zstd, 2_000, &mut bytes).unwrap();
        assert_eq!((len, bytes.len()), (2_000, 2_000));
        assert!(bytes.starts_with(&[7; 1_000]) && bytes.ends_with(&[8; 1_000]));
        let error = unpack(&packed[..], Packing::Zstd, 1_500, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        for len in [5, 10, 15, 25, 32, 40] {
            let cut = unpack(&packed[..len], Packing::Zstd, 2_000, &mut io::sink());
            assert!(cut.is_err(), "cut to {len}: {cut:?}");
        }
    }

    #[test]
    fn gzip_may_have_several_members_and_something_behind_them() {
        let member = |bytes: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        };
        let members = [member(&[7; 1_000]), member(b""), member(&[8; 1_000])].concat();
        let expected = [[7; 1_000], [8; 1_000]].concat();
        for behind in ["", "\0\0", "signature"] {
            let packed = [&members, behind.as_bytes()].concat();
            let mut bytes = Vec::new();
            let len = unpack(&packed[..], Packing::Gzip, 2_000, &mut bytes).unwrap();
            assert_eq!((len, &bytes), (2_000, &expected));
        }
        let error = unpack(&members[..], Packing::Gzip, 1_500, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        for cut in 1..20 {
            let packed = &members[..members.len() - cut];
            unpack(packed, Packing::Gzip, 2_000, &mut io::sink()).unwrap_err();
        }
    }

    #[test]
    fn a_gzip_header_may_have_more_fields() {
        let builder = flate2::GzBuilder::new().filename("vmlinuz").comment("7");
        let builder = builder.extra([1, 2, 3]);
        let mut packer = builder.write(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"kernel").unwrap();
        let packed = packer.finish().unwrap();
        let mut bytes = Vec::new();
        unpack(&packed[..], Packing::Gzip, 1_000, &mut bytes).unwrap();
        assert_eq!(bytes, b"kernel");
    }
}
