//! GUID partition tables (UEFI specification 2.10 §5.3), read to find the root partition of a disk
//! image by its type, as the discoverable partitions specification has it.
//!
//! Both checksums are verified, and the copy at the end of the disk is read where the table at its
//! beginning is damaged. Sectors may have 512 or 4,096 bytes.

use core::fmt;
use core::ops::Range;

use crate::packet::option::known::parse_hex;
use crate::prelude::*;

/// Lengths of sectors, in bytes.
const SECTOR_LENS: [u64; 2] = [512, 4096];
/// The longest table that is read, in bytes: eight times what partitioning tools make.
const MAX_TABLE_LEN: u64 = 128 << 10;
/// The shortest header and entry (§5.3.2, §5.3.3).
const HEADER_LEN: usize = 92;
const ENTRY_LEN: usize = 128;

/// The type of root partitions for the processor that this is built for, as it is on the disk: the
/// first three fields are in little-endian order.
const ROOT: Guid = if cfg!(target_arch = "x86_64") {
    guid(0x4f68_bce3, 0xe8cd, 0x4db1, 0x96e7_fbca_f984_b709)
} else if cfg!(target_arch = "aarch64") {
    guid(0xb921_b045, 0x1df0, 0x41c3, 0xaf44_4c6f_280d_3fae)
} else if cfg!(target_arch = "riscv64") {
    guid(0x72ec_70a6, 0xcf74, 0x40e6, 0xbd49_4bda_08e8_f224)
} else {
    guid(0x4447_9540, 0xf297, 0x41b2, 0x9af7_d131_d5f0_458a)
};
/// The type of their trees of hashes (dm-verity).
const ROOT_VERITY: Guid = if cfg!(target_arch = "x86_64") {
    guid(0x2c73_57ed, 0xebd2, 0x46d9, 0xaec1_23d4_37ec_2bf5)
} else if cfg!(target_arch = "aarch64") {
    guid(0xdf33_00ce, 0xd69f, 0x4c92, 0x978c_9bfb_0f38_d820)
} else if cfg!(target_arch = "riscv64") {
    guid(0xb6ed_5582, 0x440b, 0x4209, 0xb8da_5ff7_c419_ea3d)
} else {
    guid(0xd13c_5d3b, 0xb5d1, 0x422a, 0xb29f_9454_fdc8_9d76)
};
/// Any file system of Linux.
const LINUX: Guid = guid(0x0fc6_3daf, 0x8483, 0x4772, 0x8e79_3d69_d847_7de4);

type Guid = [u8; 16];

const fn guid(a: u32, b: u16, c: u16, rest: u64) -> Guid {
    let value = (a.swap_bytes() as u128) << 96
        | (b.swap_bytes() as u128) << 80
        | (c.swap_bytes() as u128) << 64
        | rest as u128;
    value.to_be_bytes()
}

/// The attribute "no-auto" of the discoverable partitions specification.
const NO_AUTO: u64 = 1 << 63;

/// The reason why a disk has no root partition that can be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoot {
    /// It has no partition table of this kind.
    NoTable,
    /// Its tables are damaged.
    Damaged,
    /// So many partitions of Linux, and none of the type for this processor's root.
    Partitions(usize),
    /// The partition is not within the disk.
    Outside,
}

impl fmt::Display for NoRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTable => f.write_str("it has no GUID partition table"),
            Self::Damaged => f.write_str("its GUID partition tables are damaged"),
            Self::Partitions(count) => write!(
                f,
                "none of its partitions has the type of a root for this processor, and {count} have \
                 the type of any file system of Linux; one is needed"
            ),
            Self::Outside => f.write_str(
                "its root partition reaches beyond the end of the image, which may be cut off",
            ),
        }
    }
}

/// The partitions that a root is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// The bytes of its file system.
    pub root: Range<u64>,
    /// Those of its tree of hashes (dm-verity), if there is one.
    pub hashes: Option<Range<u64>>,
}

/// Returns the bytes of the root partition of a disk of `len` bytes; `read` returns bytes of it, or
/// those of them that there are. With a root hash those whose identifiers it has come first.
///
/// It is the first partition of the type for this processor that is not marked "no-auto", or the only
/// one of the type for any file system of Linux.
///
/// # Errors
/// Why there is none, or that of `read`.
pub fn root_partition<E>(
    len: u64,
    root_hash: Option<&str>,
    read: &mut dyn FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Result<Partitions, NoRoot>, E> {
    let mut why = NoRoot::NoTable;
    for sector in SECTOR_LENS {
        // The first header is in sector 1, its copy in the last one (UEFI §5.3.2).
        for at in [sector, (len / sector).saturating_sub(1) * sector] {
            let header = read(at..at + sector)?;
            if !header.starts_with(b"EFI PART") {
                continue;
            }
            why = NoRoot::Damaged;
            let Some(table) = Table::decode(&header) else {
                continue;
            };
            let Some(start) = table.first.checked_mul(sector) else {
                continue;
            };
            let Some(end) = start.checked_add(table.len) else {
                continue;
            };
            let entries = read(start..end)?;
            if entries.len() as u64 == table.len && crc32(&entries) == table.sum {
                return Ok(choose(&entries, table.entry_len, sector, len, root_hash));
            }
        }
    }
    Ok(Err(why))
}

/// Place of the entries.
struct Table {
    /// The number of their first sector.
    first: u64,
    /// Their length, in bytes.
    len: u64,
    entry_len: usize,
    sum: u32,
}

impl Table {
    /// Decodes a header whose checksum is right.
    fn decode(sector: &[u8]) -> Option<Self> {
        let header_len = usize::try_from(u32_at(sector, 12)?).ok()?;
        let mut header = sector.get(..header_len)?.to_vec();
        // The sum is over the header with zeros in its place.
        header.get_mut(16..20)?.fill(0);
        if header_len < HEADER_LEN || crc32(&header) != u32_at(sector, 16)? {
            return None;
        }
        let entry_len = u32_at(sector, 84)?;
        // NumberOfPartitionEntries times SizeOfPartitionEntry.
        let len = u64::from(u32_at(sector, 80)?).checked_mul(entry_len.into())?;
        let entry_len = usize::try_from(entry_len).ok()?;
        (entry_len >= ENTRY_LEN && len <= MAX_TABLE_LEN).then_some(Self {
            first: u64_at(sector, 72)?,
            len,
            entry_len,
            sum: u32_at(sector, 88)?,
        })
    }
}

/// Chooses the root partition among the entries.
fn choose(
    entries: &[u8],
    entry_len: usize,
    sector: u64,
    disk_len: u64,
    root_hash: Option<&str>,
) -> Result<Partitions, NoRoot> {
    let of_type = |kind: Guid| {
        let all = entries.chunks_exact(entry_len);
        all.filter(move |entry| {
            let is_left_out = u64_at(entry, 48).is_none_or(|flags| flags & NO_AUTO != 0);
            entry.starts_with(&kind) && !is_left_out
        })
    };
    // The identifiers of both are the halves of the hash that they have together.
    let hash = root_hash.and_then(parse_hex).unwrap_or_default();
    let half = |end: usize| {
        let half = hash.get(end.checked_sub(16)?..end)?;
        let &[a, b, c, d, e, f, g, h, ..] = half else {
            return None;
        };
        let rest = half.get(8..)?;
        Some([&[d, c, b, a, f, e, h, g][..], rest].concat())
    };
    let of_root = |kind: Guid, end: usize| {
        let name = half(end);
        let is_named = |entry: &&[u8]| entry.get(16..32) == name.as_deref();
        of_type(kind)
            .find(is_named)
            .or_else(|| of_type(kind).next())
    };
    let hashes = of_root(ROOT_VERITY, hash.len());
    let chosen = of_root(ROOT, 16);
    let chosen = chosen.or_else(|| {
        let mut generic = of_type(LINUX);
        generic.next().filter(|_| generic.next().is_none())
    });
    let Some(entry) = chosen else {
        return Err(NoRoot::Partitions(of_type(LINUX).count()));
    };
    let bytes = |entry: &[u8]| {
        // The last sector belongs to it (§5.3.3).
        let start = u64_at(entry, 32)?.checked_mul(sector)?;
        let end = u64_at(entry, 40)?.checked_add(1)?.checked_mul(sector)?;
        (start < end && end <= disk_len).then_some(start..end)
    };
    Ok(Partitions {
        root: bytes(entry).ok_or(NoRoot::Outside)?,
        hashes: hashes.and_then(bytes),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*field))
}

/// The checksum of §5.3.2, bit by bit: a table is 16 KiB long.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use proptest::collection;
    use proptest::prelude::*;

    const SECTORS: u64 = 100;

    /// Makes a disk with these partitions: types, flags, and first and last sectors.
    fn disk(sector: u64, partitions: &[(Guid, u64, u64, u64)]) -> Vec<u8> {
        let len = usize::try_from(sector).unwrap();
        let mut disk = vec![0; len * usize::try_from(SECTORS).unwrap()];
        let mut entries = vec![0; 128 * 128];
        for (entry, (kind, flags, first, last)) in entries.chunks_mut(128).zip(partitions) {
            entry[..16].copy_from_slice(kind);
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
            entry[48..56].copy_from_slice(&flags.to_le_bytes());
        }
        for (at, table) in [(1, 2), (SECTORS - 1, 60)] {
            let mut header = vec![0; HEADER_LEN];
            header[..8].copy_from_slice(b"EFI PART");
            header[12] = 92;
            header[72..80].copy_from_slice(&u64::to_le_bytes(table));
            header[80] = 128;
            header[84] = 128;
            header[88..].copy_from_slice(&crc32(&entries).to_le_bytes());
            let sum = crc32(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            let at = usize::try_from(at).unwrap() * len;
            disk[at..at + HEADER_LEN].copy_from_slice(&header);
            let table = usize::try_from(table).unwrap() * len;
            disk[table..table + entries.len()].copy_from_slice(&entries);
        }
        disk
    }

    fn root_of(disk: &[u8]) -> Result<Range<u64>, NoRoot> {
        partitions_of(disk, None).map(|found| found.root)
    }

    fn partitions_of(disk: &[u8], root_hash: Option<&str>) -> Result<Partitions, NoRoot> {
        let found = root_partition(disk.len() as u64, root_hash, &mut |part| {
            let [start, end] = [part.start, part.end].map(|at| usize::try_from(at).unwrap());
            let end = end.min(disk.len());
            Ok::<_, Infallible>(disk.get(start..end).unwrap_or_default().to_vec())
        });
        found.unwrap()
    }

    #[test]
    fn the_types_are_in_the_order_of_bytes_on_the_disk() {
        let efi_system = guid(0xc12a_7328, 0xf81f, 0x11d2, 0xba4b_00a0_c93e_c93b);
        let expected = [
            0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9,
            0x3b,
        ];
        assert_eq!(efi_system, expected);
    }

    #[test]
    fn the_partition_of_the_type_for_root_is_found_with_sectors_of_any_length() {
        for sector in SECTOR_LENS {
            let partitions = [
                (LINUX, 0, 34, 35),
                (ROOT, NO_AUTO, 36, 37),
                (ROOT, 0, 38, 40),
                (ROOT, 0, 41, 42),
            ];
            let mut disk = disk(sector, &partitions);
            assert_eq!(root_of(&disk), Ok(38 * sector..41 * sector));
            // The copy at its end is as good.
            disk[usize::try_from(sector).unwrap() + 17] ^= 1;
            assert_eq!(root_of(&disk), Ok(38 * sector..41 * sector));
            disk[usize::try_from(sector * (SECTORS - 1)).unwrap() + 17] ^= 1;
            assert_eq!(root_of(&disk), Err(NoRoot::Damaged));
        }
    }

    #[test]
    fn the_only_partition_of_linux_will_do_and_of_two_neither_is_guessed() {
        let one = disk(512, &[([7; 16], 0, 34, 35), (LINUX, 0, 36, 37)]);
        assert_eq!(root_of(&one), Ok(36 * 512..38 * 512));
        let two = disk(512, &[(LINUX, 0, 34, 35), (LINUX, 0, 36, 37)]);
        assert_eq!(root_of(&two), Err(NoRoot::Partitions(2)));
        assert_eq!(root_of(&disk(512, &[])), Err(NoRoot::Partitions(0)));
    }

    #[test]
    fn a_root_hash_chooses_the_partitions_that_have_its_halves() {
        let partitions = [
            (ROOT, 0, 34, 35),
            (ROOT_VERITY, 0, 36, 37),
            (ROOT, 0, 38, 40),
            (ROOT_VERITY, 0, 41, 42),
        ];
        let mut disk = disk(512, &partitions);
        let hash = format!(
            "{:032x}{:032x}",
            0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128, 7
        );
        let at = |index: usize| 1024 + 128 * index + 16;
        disk[at(2)..at(2) + 8].copy_from_slice(&[0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]);
        for (place, byte) in
            (at(2) + 8..at(2) + 16).zip([0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff])
        {
            disk[place] = byte;
        }
        disk[at(3) + 15] = 7;
        let sum = crc32(&disk[1024..1024 + 128 * 128]).to_le_bytes();
        disk[512 + 88..512 + 92].copy_from_slice(&sum);
        disk[512 + 16..512 + 20].fill(0);
        let sum = crc32(&disk[512..512 + HEADER_LEN]).to_le_bytes();
        disk[512 + 16..512 + 20].copy_from_slice(&sum);
        let sectors = |first: u64, last: u64| 512 * first..512 * (last + 1);
        for (hash, root, hashes) in [
            (Some(hash.as_str()), sectors(38, 40), sectors(41, 42)),
            (None, sectors(34, 35), sectors(36, 37)),
            (Some("ff"), sectors(34, 35), sectors(36, 37)),
        ] {
            let expected = Partitions {
                root,
                hashes: Some(hashes),
            };
            assert_eq!(partitions_of(&disk, hash), Ok(expected));
        }
    }

    #[test]
    fn what_is_outside_of_the_disk_or_no_table_is_refused() {
        for (first, last) in [(38, 100), (38, u64::MAX), (u64::MAX, 3), (40, 38)] {
            let disk = disk(512, &[(ROOT, 0, first, last)]);
            assert_eq!(root_of(&disk), Err(NoRoot::Outside), "{first} {last}");
        }
        assert_eq!(root_of(&[]), Err(NoRoot::NoTable));
        assert_eq!(root_of(&[0; 5000]), Err(NoRoot::NoTable));
        let whole = disk(512, &[(ROOT, 0, 38, 40)]);
        for len in [512, 513, 600, 700, 5000] {
            assert!(root_of(&whole[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn no_header_or_entry_leads_outside_of_the_disk(
            changes in collection::vec((0usize..1536, any::<u8>()), 0..8),
            is_summed in any::<bool>(),
        ) {
            let mut disk = disk(512, &[(ROOT, 0, 38, 40), (LINUX, 0, 41, 42)]);
            for (at, byte) in changes {
                disk[at] = byte;
            }
            if is_summed {
                let entries = crc32(&disk[1024..1024 + 128 * 128]);
                disk[512 + 88..512 + 92].copy_from_slice(&entries.to_le_bytes());
                disk[512 + 16..512 + 20].fill(0);
                let sum = crc32(&disk[512..512 + HEADER_LEN]);
                disk[512 + 16..512 + 20].copy_from_slice(&sum.to_le_bytes());
            }
            if let Ok(part) = root_of(&disk) {
                assert!(part.start < part.end && part.end <= disk.len() as u64);
            }
        }
    }
}
