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

mod layout;
mod mapping;
mod transmit;
mod walk;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::SyscallError;
use super::filter::FilterProgram;
use super::packet::{PacketSocket, SocketConfig, Statistics, read_metadata, stamp};
use super::rcu::{self, Lengthy};
pub use layout::{Layout, Version};
use mapping::Mapping;
pub use transmit::TransmitRing;
use walk::Walk;
pub use walk::{Batch, RingFrame};

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
        opened
            .map_err(|(_, why)| SyscallError::of("setsockopt(packet ring)", io::Error::other(why)))
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
        let mapping = map(&layout, &fd, options, waits)?;
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

/// Sets up and maps a receive ring; unless `waits`, only where that takes no time.
fn map(
    layout: &Layout,
    fd: &OwnedFd,
    options: &SocketConfig<'_>,
    waits: bool,
) -> Result<Result<Mapping, Lengthy>, SyscallError> {
    let set = || layout.set(fd, libc::PACKET_RX_RING);
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
