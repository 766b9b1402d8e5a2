//! The superblock of dm-verity (<https://gitlab.com/cryptsetup/cryptsetup/-/wikis/DMVerity>), which
//! veritysetup writes before the tree of hashes of a file system.

use crate::prelude::*;

/// The length of a superblock, in bytes.
pub const SUPERBLOCK_LEN: usize = 512;

/// Parameters by which a tree of hashes was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    hash_type: u32,
    algorithm: String,
    data_block_len: u32,
    hash_block_len: u32,
    data_blocks: u64,
    salt: Vec<u8>,
}

impl Superblock {
    /// Decodes the superblock at the beginning of `bytes`; none if there is none that Linux takes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"verity\0\0\x01\0\0\0")?;
        let u32_at = |at: usize| Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?));
        let name = rest.get(20..52)?.split(|byte| *byte == 0).next()?;
        let algorithm = core::str::from_utf8(name).ok()?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let salt_len = u16::from_le_bytes(*rest.get(68..)?.first_chunk()?);
        let salt = rest.get(76..76 + 256)?.get(..usize::from(salt_len))?;
        let superblock = Self {
            hash_type: u32_at(0)?,
            algorithm: algorithm.to_owned(),
            data_block_len: u32_at(52)?,
            hash_block_len: u32_at(56)?,
            data_blocks: u64::from_le_bytes(*rest.get(60..)?.first_chunk()?),
            salt: salt.to_vec(),
        };
        let is_len = |len: u32| len.is_power_of_two() && (512..=65536).contains(&len);
        let is_good = is_len(superblock.data_block_len)
            && is_len(superblock.hash_block_len)
            && superblock.hash_type <= 1
            && !algorithm.is_empty()
            && algorithm.chars().all(is_name);
        is_good.then_some(superblock)
    }

    /// Returns the length of the data that the tree is of, in bytes.
    pub fn data_len(&self) -> Option<u64> {
        self.data_blocks.checked_mul(self.data_block_len.into())
    }

    /// Returns the parameters of the kernel's target (Documentation/admin-guide/device-mapper/verity.rst of
    /// Linux), for devices that begin with the data and with the superblock.
    pub fn target(&self, data: &str, hashes: &str, root_hash: &str) -> String {
        let mut salt: String = self.salt.iter().map(|byte| format!("{byte:02x}")).collect();
        if salt.is_empty() {
            salt.push('-');
        }
        // The hashes begin with the block behind that of the superblock.
        format!(
            "{} {data} {hashes} {} {} {} 1 {} {root_hash} {salt}",
            self.hash_type,
            self.data_block_len,
            self.hash_block_len,
            self.data_blocks,
            self.algorithm
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `veritysetup format` writes it.
    fn superblock() -> Vec<u8> {
        let mut bytes = b"verity\0\0\x01\0\0\0\x01\0\0\0".to_vec();
        bytes.extend([7; 16]);
        bytes.extend(b"sha256");
        bytes.resize(64, 0);
        bytes.extend(4096u32.to_le_bytes());
        bytes.extend(1024u32.to_le_bytes());
        bytes.extend(25u64.to_le_bytes());
        bytes.extend(2u16.to_le_bytes());
        bytes.resize(88, 0);
        bytes.extend([0xab, 0x01]);
        bytes.resize(SUPERBLOCK_LEN, 0);
        bytes
    }

    #[test]
    fn a_superblock_becomes_the_parameters_of_the_target() {
        let bytes = superblock();
        let decoded = Superblock::decode(&bytes).unwrap();
        assert_eq!(decoded.data_len(), Some(25 * 4096));
        assert_eq!(
            decoded.target("/dev/loop0", "/dev/loop1", "00ff"),
            "1 /dev/loop0 /dev/loop1 4096 1024 25 1 sha256 00ff ab01"
        );
        for len in 0..344 {
            assert_eq!(Superblock::decode(&bytes[..len]), None, "{len}");
        }
        for (at, byte) in [
            (0, b'V'),
            (8, 2),
            (12, 2),
            (32, b' '),
            (32, 0),
            (64, 1),
            (69, 0),
            (81, 2),
        ] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            assert_eq!(Superblock::decode(&wrong), None, "{at}");
        }
    }
}
