//! Rings: frames in memory which the kernel and we both map.
//!
//! * [`Version::V2`]: one slot a frame, readable the moment it arrives. For DHCP, where the
//!   reply is waited for.
//! * [`Version::V3`]: blocks of frames of any length, handed over when full or after the retire
//!   time. For capturing, where blocks save wake-ups.
//!
//! A [`TransmitRing`] sends: one system call for a burst of frames. The boot path sends too few
//! frames to need it; it is for other users of this library, and for the benchmarks.
//!
//! [`Ring::next_batch`] lends a slot or block. Its frames are lent one by one, and dropping it
//! returns the memory to the kernel. A header that points outside of its slot invalidates that slot
//! (V3: the rest of the block) and is counted in [`Ring::damaged`].
//!
//! Setting up a ring waits for an RCU grace period of the kernel (`packet_set_ring` calls
//! `synchronize_net`), and closing one for two: 9 and 14 µs where these are short (see [`rcu`]), 13 to
//! 16 and 28 ms elsewhere. There a [`Ring`] can be opened in another thread and handed over, while a
//! plain [`PacketSocket`] with the same filter is read.
//!
//! A burst through the loopback interface; without CAP_NET_RAW it says so and ends:
//!
//! ```
//! use nix::errno::Errno;
//! use wireboot::sys::filter::{Condition, Load, Size, WHOLE_FRAME};
//! use wireboot::sys::ring::{Layout, Ring, TransmitRing};
//! use wireboot::sys::{now, wait_readable};
//! use std::os::fd::AsFd;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let loopback = nix::net::if_::if_nametoindex("lo")?;
//! // EtherType 0x88b5 is reserved for experiments (IEEE 802).
//! let ethertype = Load::Frame { size: Size::Half, offset: 12 };
//! let program = Condition::equal(ethertype, 0x88b5).compile(WHOLE_FRAME)?;
//!
//! let mut ring = match Ring::open(loopback, &program, Layout::SMALL) {
//!     Err(error) if error.is(Errno::EPERM) => {
//!         eprintln!("not run: a packet socket needs CAP_NET_RAW");
//!         return Ok(());
//!     }
//!     ring => ring?,
//! };
//! let mut sender = TransmitRing::open(loopback, 1514, 64 * 1024)?;
//! for number in 0..3 {
//!     let mut frame = [0; 60];
//!     frame[12..15].copy_from_slice(&[0x88, 0xb5, number]);
//!     assert!(sender.put(&frame)?, "the ring has room for 16 frames");
//! }
//! match sender.flush() {
//!     Err(error) if error.is(Errno::ENETDOWN) => {
//!         eprintln!("not run: lo is down");
//!         return Ok(());
//!     }
//!     lost => assert_eq!(lost?, 0),
//! }
//!
//! let mut numbers: Vec<u8> = Vec::new();
//! while numbers.len() < 3 {
//!     let deadline = now() + Duration::from_secs(10);
//!     let [readable] = wait_readable(&[ring.as_fd()], Some(deadline))?[..] else { unreachable!() };
//!     assert!(readable, "frames arrive within 10 s");
//!     // Every batch is used up and dropped before the next wait.
//!     while let Some(mut batch) = ring.next_batch() {
//!         while let Some(frame) = batch.next() {
//!             numbers.extend(frame.octets().get(14));
//!         }
//!     }
//! }
//! assert_eq!(numbers, [0, 1, 2]);
//! assert_eq!(ring.damaged(), 0);
//! # Ok(())
//! # }
//! ```

mod mapping;
mod slot;
mod transmit;
mod walk;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};

use super::SyscallError;
use super::filter::FilterProgram;
use super::packet::{
    Metadata, PacketSocket, SocketConfig, Statistics, read_metadata, set_packet_option, stamp,
};
use super::rcu::{self, Lengthy};
use mapping::{Geometry, Mapping};
pub use transmit::TransmitRing;
pub use walk::Batch;
use walk::Walk;
use wireboot_proto::packet::ethernet::VlanTag;
use wireboot_proto::time::Timestamp;

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

    /// Sets up and maps a receive ring; unless `waits`, only where that takes no time.
    fn map(
        &self,
        fd: &OwnedFd,
        options: &SocketConfig<'_>,
        waits: bool,
    ) -> Result<Result<Mapping, Lengthy>, SyscallError> {
        let set = || self.set(fd, libc::PACKET_RX_RING);
        let geometry = match rcu::expedited(set) {
            Ok(geometry) => geometry?,
            Err(_) if waits => set()?,
            Err(why) => return read_metadata(fd).map(|()| Err(why)),
        };
        if options.stamps_early {
            stamp(fd)?;
        }
        Mapping::new(fd, geometry).map(Ok)
    }

    /// Sets up the ring that `option` names; returns what its mapping will look like.
    fn set(&self, fd: &OwnedFd, option: libc::c_int) -> Result<Geometry, SyscallError> {
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
                (block_len, slot_len, Duration::ZERO, slot::V2_STATUS_AT)
            }
            Version::V3 {
                block_len,
                retire_time,
            } => {
                // packet_set_ring refuses blocks that are no whole pages (EINVAL).
                let block_len = block_len.max(page_len).next_multiple_of(page_len);
                (block_len, block_len, retire_time, slot::V3_STATUS_AT)
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
        blocks.checked_mul(block_len).map(|_| (request, geometry))
    }
}

const ALIGNMENT: u32 = 16;
const _: () = assert!(libc::TPACKET_ALIGNMENT == 16);

/// A socket with a mapped ring.
#[derive(Debug)]
pub struct Ring {
    walk: Walk,
    socket: PacketSocket,
    statistics: Statistics,
    /// The last call found no frame.
    idle: bool,
}

impl Ring {
    /// Opens a ring with the usual [`SocketConfig`].
    ///
    /// # Errors
    /// As [`SocketConfig::open`]; also what the kernel says to the ring's size and its mapping.
    pub fn open(index: u32, program: &FilterProgram, layout: Layout) -> Result<Self, SyscallError> {
        Self::open_with(&SocketConfig::new(index, program), layout)
    }

    /// Opens a ring on a socket with these options.
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub fn open_with(options: &SocketConfig<'_>, layout: Layout) -> Result<Self, SyscallError> {
        let opened = Self::open_or_not(options, layout, true)?;
        opened.map_err(|(_, why)| SyscallError {
            call: "setsockopt(packet ring)",
            source: io::Error::other(why),
        })
    }

    /// Opens a ring where setting it up takes no longer than the rest, or else a plain socket with the
    /// same options and the reason.
    ///
    /// # Errors
    /// As [`Ring::open`].
    pub fn open_at_once(
        options: &SocketConfig<'_>,
        layout: Layout,
    ) -> Result<Result<Self, (PacketSocket, Lengthy)>, SyscallError> {
        Self::open_or_not(options, layout, false)
    }

    fn open_or_not(
        options: &SocketConfig<'_>,
        layout: Layout,
        waits: bool,
    ) -> Result<Result<Self, (PacketSocket, Lengthy)>, SyscallError> {
        let fd = options.begin()?;
        let mapping = layout.map(&fd, options, waits)?;
        let socket = options.finish(fd)?;
        Ok(match mapping {
            Ok(mapping) => Ok(Self::new(socket, mapping, layout.version)),
            Err(why) => Err((socket, why)),
        })
    }

    fn new(socket: PacketSocket, mapping: Mapping, version: Version) -> Self {
        Self {
            walk: Walk::new(mapping, version),
            socket,
            statistics: Statistics::default(),
            idle: false,
        }
    }

    /// Lends the next received frames; none when there are none yet.
    ///
    /// When it returns none the caller waits until the ring is readable, as in the example above.
    pub fn next_batch(&mut self) -> Option<Batch<'_>> {
        if !self.walk.has_next() {
            self.found_none();
            return None;
        }
        self.idle = false;
        self.walk.next()
    }

    #[cold]
    fn found_none(&mut self) {
        // Woken twice for nothing: an error is pending (the interface went down) and would
        // wake us again and again until it is taken.
        if std::mem::replace(&mut self.idle, true)
            && let Some(errno) = self.socket.take_error()
        {
            log::debug!("packet ring: {}", errno.desc());
        }
    }

    /// Returns the socket, for sending.
    pub const fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// Returns the kernel's counters since the ring was opened.
    pub fn statistics(&mut self) -> Result<Statistics, SyscallError> {
        self.statistics += self.socket.statistics()?;
        Ok(self.statistics)
    }

    /// Returns the number of slots (V3: rests of blocks) with a header that pointed outside of them.
    pub const fn damaged(&self) -> u64 {
        self.walk.damaged()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A frame in the ring.
#[derive(Debug, Clone, Copy)]
pub struct RingFrame<'a> {
    octets: &'a [u8],
    metadata: Metadata,
}

impl RingFrame<'_> {
    /// Returns the bytes, cut off when they did not fit.
    #[inline(always)]
    pub const fn octets(&self) -> &[u8] {
        self.octets
    }

    /// Returns the kernel's metadata of the frame.
    #[inline(always)]
    pub const fn metadata(&self) -> Metadata {
        self.metadata
    }

    /// Returns how many bytes the frame had on the wire.
    #[inline(always)]
    pub const fn original_len(&self) -> u32 {
        self.metadata.original_len
    }

    /// Returns when it arrived by the kernel's wall clock.
    #[inline(always)]
    pub const fn timestamp(&self) -> Timestamp {
        self.metadata.timestamp
    }

    /// Returns the outermost tag, which the kernel took out of the bytes.
    #[inline(always)]
    pub const fn vlan(&self) -> Option<VlanTag> {
        self.metadata.vlan
    }

    /// Returns whether the checksum is filled in; see [`Metadata::checksum_ready`].
    #[inline(always)]
    pub const fn checksum_ready(&self) -> bool {
        self.metadata.checksum_ready
    }
}

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
