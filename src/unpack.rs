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
    packed: impl Read,
    packing: Packing,
    max_len: u64,
    to: &mut impl Write,
) -> io::Result<u64> {
    // One byte more shows whether it is too long.
    let len = copy(packed, packing, max_len.saturating_add(1), to)?;
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
fn copy(packed: impl Read, packing: Packing, most: u64, to: &mut impl Write) -> io::Result<u64> {
    match packing {
        Packing::Gzip => io::copy(&mut flate2::read::GzDecoder::new(packed).take(most), to),
        Packing::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed);
            let decoder = decoder.map_err(|error| io::Error::other(error.to_string()))?;
            io::copy(&mut decoder.take(most), to)
        }
    }
}

#[cfg(not(feature = "unpack"))]
fn copy(_: impl Read, _: Packing, _: u64, _: &mut impl Write) -> io::Result<u64> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this wireboot was built without the feature \"unpack\"",
    ))
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
            for len in 0..packed.len() {
                let cut = unpack(&packed[..len], packing, 1_000, &mut io::sink());
                assert!(cut.is_err(), "{packing:?} cut to {len}: {cut:?}");
            }
        }
    }
}
