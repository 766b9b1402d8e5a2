//! Memory shared with the kernel, in units that one side owns at a time.
//!
//! A unit is a slot (V2) or a block (V3). Its status word says who owns it: the kernel sets
//! `TP_STATUS_USER` when it has filled the unit and touches it no more until we store
//! `TP_STATUS_KERNEL`.

#![allow(
    unsafe_code,
    reason = "maps the kernel's memory and lends it as slices"
)]

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::sys::SyscallError;

/// Division of a mapping into units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Number of units, 1 or more.
    pub(super) units: usize,
    /// Bytes of one, a multiple of 8.
    pub(super) unit_len: usize,
    /// Offset of the status word in a unit: a multiple of 4.
    pub(super) status_at: usize,
}

impl Geometry {
    /// Bytes of a status word.
    const STATUS_LEN: usize = size_of::<u32>();

    const fn len(&self) -> usize {
        self.units * self.unit_len
    }

    /// Where the bytes begin that [`Unit::octets`] lends.
    #[inline(always)]
    pub(super) const fn octets_at(&self) -> usize {
        self.status_at + Self::STATUS_LEN
    }
}

/// The mapped memory; unmapped when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    /// INVARIANT: the beginning of `geometry.len()` readable and writable bytes, aligned to 8,
    /// which this value owns.
    base: NonNull<u8>,
    geometry: Geometry,
    #[cfg(test)]
    on_heap: bool,
}

// SAFETY: the memory belongs to this value alone (and to the kernel, which knows no threads);
// no part of it is bound to the thread that mapped it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the ring that was set up on `fd` with this geometry.
    pub(super) fn new(fd: &OwnedFd, geometry: Geometry) -> Result<Self, SyscallError> {
        assert!(geometry.octets_at() <= geometry.unit_len && geometry.unit_len.is_multiple_of(8));
        let len = NonZeroUsize::new(geometry.len())
            .ok_or_else(|| SyscallError::new("mmap(AF_PACKET)", Errno::EINVAL))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // packet_mmap maps the pages at once, and they stay in memory without MAP_LOCKED.
        // SAFETY: a new mapping at an address of the kernel's choice; it aliases nothing.
        let base = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(|errno| SyscallError::new("mmap(AF_PACKET)", errno))?
            .cast();
        Ok(Self {
            base,
            geometry,
            #[cfg(test)]
            on_heap: false,
        })
    }

    #[inline(always)]
    pub(super) const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns unit number `index` if the kernel has handed it over (receive rings).
    ///
    /// The exclusive borrow makes sure that a unit is lent once at a time, and that nobody
    /// reads one while it is given back.
    #[inline(always)]
    pub(super) fn claim(&mut self, index: usize) -> Option<Unit<'_>> {
        let octets_at = self.geometry.octets_at();
        let (word, octets) = self.unit(index)?;
        // Pairs with the smp_wmb before the kernel sets the status (`__packet_set_status`, and
        // `prb_close_block` for V3): what it wrote before is seen behind this load.
        let status = word.load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the bytes are within the mapping, and no other slice covers them as long as
        // `self` is borrowed. The kernel has handed the unit over and writes to it no more until
        // `give_back`, which consumes the `Unit`.
        let octets = unsafe { octets.as_ref() };
        Some(Unit {
            status,
            word,
            octets,
            octets_at,
        })
    }

    /// Returns unit number `index` if the kernel has no more use for it (transmit rings).
    pub(super) fn vacancy(&mut self, index: usize) -> Option<Vacancy<'_>> {
        let (word, mut octets) = self.unit(index)?;
        // Pairs with the smp_wmb before the kernel sets the status: its reads have ended.
        if word.load(Ordering::Acquire) & UNSENT_OR_SENDING != libc::TP_STATUS_AVAILABLE {
            return None;
        }
        // SAFETY: as in `claim`, and the kernel reads none of it until `hand_over`, which consumes
        // the `Vacancy`.
        let octets = unsafe { octets.as_mut() };
        Some(Vacancy { word, octets })
    }

    /// Returns the status word of unit number `index`.
    pub(super) fn status(&mut self, index: usize) -> Option<&AtomicU32> {
        self.unit(index).map(|(word, _)| word)
    }

    /// Returns the status word of unit number `index`, and the bytes behind it.
    #[inline(always)]
    fn unit(&mut self, index: usize) -> Option<(&AtomicU32, NonNull<[u8]>)> {
        let Geometry {
            units,
            unit_len,
            status_at,
        } = self.geometry;
        if index >= units {
            return None;
        }
        // SAFETY: `index` is less than `units`, so the unit lies within the mapping.
        let unit = unsafe { self.base.add(index * unit_len) };
        // SAFETY: `status_at` is within the unit (checked in `new`).
        let word = unsafe { unit.add(status_at) };
        // SAFETY: aligned, since units and `status_at` are; valid as long as `self` is
        // borrowed; and no slice covers it, since those begin behind it.
        let word = unsafe { AtomicU32::from_ptr(word.cast().as_ptr()) };
        let octets_at = self.geometry.octets_at();
        // SAFETY: `octets_at` is within the unit (checked in `new`).
        let octets = unsafe { unit.add(octets_at) };
        let octets = NonNull::slice_from_raw_parts(octets, unit_len - octets_at);
        Some((word, octets))
    }
}

/// Status bits of a unit in a transmit ring that the kernel still uses.
const UNSENT_OR_SENDING: u32 =
    libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_SENDING | libc::TP_STATUS_WRONG_FORMAT;

impl Drop for Mapping {
    fn drop(&mut self) {
        #[cfg(test)]
        if self.on_heap {
            return self.free_heap();
        }
        // SAFETY: mapped in `new` with this length, and every borrow of it has ended. Failure
        // would leave the memory mapped, which is harmless.
        let _ = unsafe { munmap(self.base.cast(), self.geometry.len()) };
    }
}

/// A unit that the kernel has handed over.
#[derive(Debug)]
pub(super) struct Unit<'a> {
    /// The status word as it was found.
    pub(super) status: u32,
    word: &'a AtomicU32,
    octets: &'a [u8],
    octets_at: usize,
}

impl<'a> Unit<'a> {
    /// Returns `len` bytes that stand `at` bytes behind the beginning of the unit; none when
    /// they reach beyond it, or into the status word and before.
    #[inline(always)]
    pub(super) fn octets(&self, at: usize, len: usize) -> Option<&'a [u8]> {
        let start = at.checked_sub(self.octets_at)?;
        self.octets.get(start..start.checked_add(len)?)
    }

    /// Gives the unit back to the kernel.
    #[inline(always)]
    pub(super) fn give_back(self) {
        // Pairs with the smp_rmb in `__packet_get_status`: our reads end before the kernel
        // sees that it may write.
        self.word.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

/// A unit of a transmit ring that waits to be filled.
#[derive(Debug)]
pub(super) struct Vacancy<'a> {
    word: &'a AtomicU32,
    /// The bytes after the status word.
    pub(super) octets: &'a mut [u8],
}

impl Vacancy<'_> {
    /// Hands the unit over to the kernel, to be sent by the next system call.
    pub(super) fn hand_over(self) {
        // Our writes end before the kernel sees that it may read.
        self.word
            .store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
    }
}

#[cfg(test)]
impl Mapping {
    /// Makes a mapping of ordinary memory, so that a test plays the kernel.
    pub(super) fn on_heap(geometry: Geometry) -> Self {
        let words = vec![0_u64; geometry.len() / 8].into_boxed_slice();
        let base = NonNull::new(Box::into_raw(words).cast()).unwrap();
        Self {
            base,
            geometry,
            on_heap: true,
        }
    }

    /// Writes as the kernel does, to any place.
    pub(super) fn write(&mut self, at: usize, octets: &[u8]) {
        assert!(at + octets.len() <= self.geometry.len());
        // SAFETY: `at` is within the mapping.
        let target = unsafe { self.base.add(at) };
        // SAFETY: as long as asserted, and the exclusive borrow rules out readers.
        unsafe { target.copy_from_nonoverlapping(NonNull::from(octets).cast(), octets.len()) };
    }

    fn free_heap(&mut self) {
        let words =
            std::ptr::slice_from_raw_parts_mut(self.base.cast().as_ptr(), self.geometry.len() / 8);
        // SAFETY: made by `Box::into_raw` in `on_heap`, with this length and type.
        drop(unsafe { Box::<[u64]>::from_raw(words) });
    }
}
