//! The shape of a ring, and the request to the kernel for one.

#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::os::fd::OwnedFd;
use std::time::Duration;

use libc::{tpacket_block_desc, tpacket_hdr_v1, tpacket2_hdr};
use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};

use super::mapping::Geometry;
use crate::sys::SyscallError;
use crate::sys::packet::set_packet_option;

/// The ring's version, which decides how the kernel hands frames over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Each in a slot of its own, at once. A frame longer than `slot_len` less about 80 bytes
    /// is cut off.
    V2 {
        /// Bytes of a slot: a multiple of 16 that divides the page size, or a multiple of it.
        slot_len: u32,
    },
    /// In blocks.
    V3 {
        /// Bytes of a block: a multiple of the page size.
        block_len: u32,
        /// A block that is not full is handed over after this time, 1 ms or more.
        retire_time: Duration,
    },
}

/// The shape of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The ring's version, which decides how the kernel hands frames over.
    pub version: Version,
    /// Memory for all of them, in bytes; rounded down to whole slots or blocks, at least one.
    pub memory: u32,
}

impl Layout {
    /// 16 slots of 2 KiB, for the few frames of a DHCP exchange.
    pub const SMALL: Self = Self {
        // V2: a reply wakes after 63 µs; V3 takes 0.56 ms with its shortest retire time (Linux
        // 6.18).
        version: Version::V2 { slot_len: 2048 },
        memory: 32 * 1024,
    };

    /// Sets up the ring that `option` names; returns what its mapping will look like.
    pub(super) fn set(&self, fd: &OwnedFd, option: libc::c_int) -> Result<Geometry, SyscallError> {
        let page_len = sysconf(SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|len| u32::try_from(len).ok())
            .unwrap_or(4096);
        let (request, geometry) = self
            .request(page_len)
            .ok_or_else(|| SyscallError::new("size of the packet ring", Errno::EINVAL))?;
        // enum tpacket_versions counts from 0: V2 is 1 and V3 is 2.
        let version: libc::c_int = match self.version {
            Version::V2 { .. } => 1,
            Version::V3 { .. } => 2,
        };
        // Before the ring: with one, the kernel answers EBUSY.
        set_packet_option(fd, libc::PACKET_VERSION, &version)
            .map_err(|errno| SyscallError::new("setsockopt(PACKET_VERSION)", errno))?;
        let set = match self.version {
            Version::V2 { .. } => {
                let request = libc::tpacket_req {
                    tp_block_size: request.tp_block_size,
                    tp_block_nr: request.tp_block_nr,
                    tp_frame_size: request.tp_frame_size,
                    tp_frame_nr: request.tp_frame_nr,
                };
                set_packet_option(fd, option, &request)
            }
            Version::V3 { .. } => set_packet_option(fd, option, &request),
        };
        set.map_err(|errno| SyscallError::new("setsockopt(packet ring)", errno))?;
        Ok(geometry)
    }

    /// Returns the request to the kernel and what the mapping will look like.
    fn request(&self, page_len: u32) -> Option<(libc::tpacket_req3, Geometry)> {
        let (block_len, slot_len, retire_time, status_at) = match self.version {
            Version::V2 { slot_len } => {
                // packet_set_ring refuses slots that are no multiple of TPACKET_ALIGNMENT (EINVAL).
                let slot_len = slot_len.next_multiple_of(ALIGNMENT);
                let fits = slot_len <= page_len && page_len.is_multiple_of(slot_len);
                let block_len = if fits {
                    page_len
                } else {
                    slot_len.next_multiple_of(page_len)
                };
                let slot_len = if fits { slot_len } else { block_len };
                (block_len, slot_len, Duration::ZERO, V2_STATUS_AT)
            }
            Version::V3 {
                block_len,
                retire_time,
            } => {
                // packet_set_ring refuses blocks that are no whole pages (EINVAL).
                let block_len = block_len.max(page_len).next_multiple_of(page_len);
                (block_len, block_len, retire_time, V3_STATUS_AT)
            }
        };
        let blocks = (self.memory / block_len).max(1);
        let slots = blocks.checked_mul(block_len / slot_len)?;
        let request = libc::tpacket_req3 {
            tp_block_size: block_len,
            tp_block_nr: blocks,
            tp_frame_size: slot_len,
            tp_frame_nr: slots,
            // With 0 the kernel makes a time up from the link's speed (prb_calc_retire_blk_tmo).
            tp_retire_blk_tov: u32::try_from(retire_time.as_millis()).ok()?.max(1),
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        let geometry = Geometry {
            units: usize::try_from(slots).ok()?,
            unit_len: usize::try_from(slot_len).ok()?,
            status_at,
        };
        // The whole is the length of the mapping, and must not overflow either.
        blocks.checked_mul(block_len).map(|_| (request, geometry))
    }
}

/// Offset of the status word in a V2 slot.
pub(super) const V2_STATUS_AT: usize = offset_of!(tpacket2_hdr, tp_status);
/// Offset of the status word in a V3 block.
pub(super) const V3_STATUS_AT: usize =
    offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, block_status);

// libc has it as usize, and lengths in requests are u32.
const ALIGNMENT: u32 = 16;
const _: () = assert!(libc::TPACKET_ALIGNMENT == 16);
// As slots are read.
const _: () = assert!(V2_STATUS_AT == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_fill_pages_on_every_page_size() {
        for (page_len, blocks, slots) in [(4096, 8, 16), (65536, 1, 32)] {
            let (request, geometry) = Layout::SMALL.request(page_len).unwrap();
            assert_eq!(request.tp_block_size, page_len);
            assert_eq!((request.tp_block_nr, request.tp_frame_nr), (blocks, slots));
            assert_eq!((geometry.units, geometry.unit_len), (slots as usize, 2048));
        }
        let large = Layout {
            version: Version::V2 { slot_len: 9_100 },
            memory: 100_000,
        };
        let (request, geometry) = large.request(4096).unwrap();
        assert_eq!(
            (request.tp_block_size, request.tp_frame_size),
            (12_288, 12_288)
        );
        assert_eq!((geometry.units, geometry.unit_len), (8, 12_288));
    }

    #[test]
    fn a_v3_ring_has_blocks_of_whole_pages() {
        let layout = Layout {
            version: Version::V3 {
                block_len: 5_000,
                retire_time: Duration::ZERO,
            },
            memory: 1,
        };
        let (request, geometry) = layout.request(4096).unwrap();
        assert_eq!(request.tp_retire_blk_tov, 1);
        assert_eq!((geometry.units, geometry.unit_len), (1, 8_192));
    }
}
