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
        for (packing, packed) in [(Packing::Gzip, &gzip[..]), (Packing::Zstd, &zstd)] {
            let mut bytes = Vec::new();
            assert_eq!(unpack(packed, packing, 1_000, &mut bytes).unwrap(), 1_000);
            assert_eq!(bytes, [7; 1_000]);
            let error = unpack(packed, packing, 999, &mut io::sink()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
            if packing == Packing::Gzip {
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
