//! The transmit ring: a burst of frames that one system call sends.

#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use libc::{TP_STATUS_AVAILABLE, TP_STATUS_SEND_REQUEST, TP_STATUS_WRONG_FORMAT, tpacket2_hdr};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, send};

use super::layout::{Layout, Version};
use super::mapping::Mapping;
use crate::sys::SyscallError;
use crate::sys::filter::FilterProgram;
use crate::sys::packet::{PacketSocket, SocketConfig};
use crate::sys::rcu;

/// Bytes of a slot before the frame: `tpacket_fill_skb` reads it from where a received slot has its
/// `sockaddr_ll`.
const HEADER_LEN: usize = libc::TPACKET2_HDRLEN - size_of::<libc::sockaddr_ll>();
/// Bytes of the status word, which the lent bytes of a slot follow.
const STATUS_LEN: usize = size_of::<u32>();
// As offsets in the lent bytes, which begin behind the status word.
const LEN_AT: usize = offset_of!(tpacket2_hdr, tp_len) - STATUS_LEN;
const FRAME_AT: usize = HEADER_LEN - STATUS_LEN;

/// Timeout while the kernel has no room, milliseconds; a working driver frees some within a few.
const BUSY_MILLIS: u16 = 1_000;

/// A socket with a mapped ring of slots (TPACKET_V2) for frames to be sent.
#[derive(Debug)]
pub struct TransmitRing {
    slots: Slots,
    socket: PacketSocket,
}

impl TransmitRing {
    /// Opens a ring of `memory` bytes on the interface with this index, for frames of up to
    /// `frame_len` bytes, Ethernet header included. It receives nothing.
    ///
    /// # Errors
    /// As [`super::Ring::open`].
    pub fn open(interface: u32, frame_len: u32, memory: u32) -> Result<Self, SyscallError> {
        let slot_len = u32::try_from(HEADER_LEN)
            .ok()
            .and_then(|header_len| {
                frame_len
                    .checked_add(header_len)?
                    .checked_next_power_of_two()
            })
            .ok_or_else(|| SyscallError::new("size of the packet ring", Errno::EINVAL))?;
        let layout = Layout {
            version: Version::V2 { slot_len },
            memory,
        };
        let nothing = FilterProgram::nothing();
        let options = SocketConfig {
            protocol: 0,
            ..SocketConfig::new(interface, &nothing)
        };
        let fd = options.begin()?;
        let geometry = rcu::hastened(|| layout.set(&fd, libc::PACKET_TX_RING))?;
        let mapping = Mapping::new(&fd, geometry)?;
        let socket = options.finish(fd)?;
        let slots = Slots::new(mapping);
        Ok(Self { slots, socket })
    }

    /// Puts a frame into the next slot; false when that is still in use, so that what is there has
    /// to be sent first.
    ///
    /// # Errors
    /// EMSGSIZE for a frame that no slot holds.
    pub fn put(&mut self, frame: &[u8]) -> Result<bool, SyscallError> {
        self.slots
            .put(frame)
            .map_err(|errno| SyscallError::new("frame for the packet ring", errno))
    }

    /// Hands all frames that were put to the driver, and returns how many of them are lost: those
    /// that its queue had no room for, and one that is longer than the interface allows together
    /// with all behind it.
    ///
    /// # Errors
    /// ENETDOWN and other errors of `send`; unsent frames are tried again by the next call.
    pub fn flush(&mut self) -> Result<usize, SyscallError> {
        let fd = self.socket.as_fd();
        self.slots
            .flush(|_| {
                loop {
                    // The bytes are in the ring.
                    match send(fd.as_raw_fd(), &[], MsgFlags::empty()) {
                        Ok(_) => return Ok(()),
                        Err(Errno::EINTR) => {}
                        Err(Errno::EAGAIN) => {
                            let mut room = [PollFd::new(fd, PollFlags::POLLOUT)];
                            if poll(&mut room, BUSY_MILLIS)? == 0 {
                                return Err(Errno::EAGAIN);
                            }
                        }
                        Err(errno) => return Err(errno),
                    }
                }
            })
            .map_err(|errno| SyscallError::new("send(PACKET_TX_RING)", errno))
    }
}

/// The slots, of which the kernel sends one after the other.
#[derive(Debug)]
struct Slots {
    mapping: Mapping,
    /// The slot that is filled next; the kernel sends next the one `filled` slots before it.
    next: usize,
    filled: usize,
}

impl Slots {
    const fn new(mapping: Mapping) -> Self {
        let (next, filled) = (0, 0);
        Self {
            mapping,
            next,
            filled,
        }
    }

    fn put(&mut self, frame: &[u8]) -> Result<bool, Errno> {
        let units = self.mapping.geometry().units;
        let Some(slot) = self.mapping.vacancy(self.next) else {
            return Ok(false);
        };
        let place = FRAME_AT..FRAME_AT + frame.len();
        slot.octets
            .get_mut(place)
            .ok_or(Errno::EMSGSIZE)?
            .copy_from_slice(frame);
        let len = u32::try_from(frame.len()).map_err(|_| Errno::EMSGSIZE)?;
        slot.octets
            .get_mut(LEN_AT..LEN_AT + size_of::<u32>())
            .ok_or(Errno::EMSGSIZE)?
            .copy_from_slice(&len.to_ne_bytes());
        slot.hand_over();
        self.next = (self.next + 1) % units;
        self.filled += 1;
        Ok(true)
    }

    /// Calls `send` until it has gone past every slot that is filled; returns how many frames it
    /// went past without sending them.
    fn flush(
        &mut self,
        mut send: impl FnMut(&mut Mapping) -> Result<(), Errno>,
    ) -> Result<usize, Errno> {
        loop {
            let before = self.unsent();
            if before == 0 {
                self.filled = 0;
                return Ok(0);
            }
            let result = send(&mut self.mapping);
            if self.unsent() == before {
                // Nothing left for the kernel, yet something left over: it does not come back to
                // a frame that its queue refused, nor get past one that is malformed.
                result?;
                return Ok(self.give_up());
            }
        }
    }

    /// Returns how many filled slots are not on their way.
    fn unsent(&mut self) -> usize {
        let status = TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT;
        self.filled_slots()
            .filter(|index| self.has(*index, status))
            .count()
    }

    /// Reclaims the slots that the kernel will not send, and returns their number.
    fn give_up(&mut self) -> usize {
        let mut lost = 0;
        let mut stuck_at = None;
        for index in self.filled_slots() {
            if self.has(index, TP_STATUS_WRONG_FORMAT) {
                stuck_at = Some(index);
            }
            if self.has(index, TP_STATUS_SEND_REQUEST | TP_STATUS_WRONG_FORMAT) {
                lost += 1;
                if let Some(status) = self.mapping.status(index) {
                    status.store(TP_STATUS_AVAILABLE, Ordering::Release);
                }
            }
        }
        self.next = stuck_at.unwrap_or(self.next);
        self.filled = 0;
        lost
    }

    fn filled_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let units = self.mapping.geometry().units;
        let first = self.next + units - self.filled;
        (first..first + self.filled).map(move |index| index % units)
    }

    fn has(&mut self, index: usize, status: u32) -> bool {
        let word = self.mapping.status(index);
        word.is_some_and(|word| word.load(Ordering::Acquire) & status != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout;
    use super::super::mapping::Geometry;
    use super::*;

    /// Treatment of a frame by the kernel of a test.
    enum Fate {
        Sent,
        /// On its way: the slot is still read.
        Sending,
        /// Dropped by the queue.
        Refused,
        /// Longer than the interface allows.
        Malformed,
    }

    /// Sends as the kernel does, from where it stands.
    struct Kernel {
        head: usize,
        units: usize,
        sent: Vec<Vec<u8>>,
    }

    impl Kernel {
        fn send(
            &mut self,
            mapping: &mut Mapping,
            fate: impl Fn(&[u8]) -> Fate,
        ) -> Result<(), Errno> {
            loop {
                let status = mapping.status(self.head).unwrap();
                if status.load(Ordering::Acquire) != TP_STATUS_SEND_REQUEST {
                    return Ok(());
                }
                // A frame that is handed over reads as vacant for the test's sake only.
                status.store(TP_STATUS_AVAILABLE, Ordering::Release);
                let octets = mapping.vacancy(self.head).unwrap().octets.to_vec();
                let len = octets[LEN_AT..].first_chunk().copied();
                let len = usize::try_from(u32::from_ne_bytes(len.unwrap())).unwrap();
                let frame = octets[FRAME_AT..FRAME_AT + len].to_vec();
                let (status, result) = match fate(&frame) {
                    Fate::Sent => (TP_STATUS_AVAILABLE, Ok(())),
                    Fate::Sending => (libc::TP_STATUS_SENDING, Ok(())),
                    Fate::Refused => (TP_STATUS_SEND_REQUEST, Err(Errno::ENOBUFS)),
                    Fate::Malformed => (TP_STATUS_WRONG_FORMAT, Err(Errno::EMSGSIZE)),
                };
                let word = mapping.status(self.head).unwrap();
                word.store(status, Ordering::Release);
                if result != Err(Errno::EMSGSIZE) {
                    self.head = (self.head + 1) % self.units;
                }
                result?;
                self.sent.push(frame);
            }
        }
    }

    fn ring(units: usize) -> (Slots, Kernel) {
        let geometry = Geometry {
            units,
            unit_len: 64,
            status_at: layout::V2_STATUS_AT,
        };
        let kernel = Kernel {
            head: 0,
            units,
            sent: Vec::new(),
        };
        (Slots::new(Mapping::on_heap(geometry)), kernel)
    }

    /// Puts a frame for each number, and sends them.
    fn burst(
        slots: &mut Slots,
        kernel: &mut Kernel,
        numbers: &[u8],
        fate: impl Fn(&[u8]) -> Fate,
    ) -> usize {
        for number in numbers {
            assert_eq!(slots.put(&[*number; 20]), Ok(true));
        }
        slots.flush(|mapping| kernel.send(mapping, &fate)).unwrap()
    }

    fn numbers(kernel: &Kernel) -> Vec<u8> {
        kernel.sent.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn bursts_are_sent_in_order_many_times_around() {
        let (mut slots, mut kernel) = ring(5);
        for round in 0..9_u8 {
            let frames = [3 * round, 3 * round + 1, 3 * round + 2];
            assert_eq!(burst(&mut slots, &mut kernel, &frames, |_| Fate::Sent), 0);
        }
        assert_eq!(numbers(&kernel), (0..27).collect::<Vec<_>>());
        assert!(kernel.sent.iter().all(|frame| frame.len() == 20));
    }

    #[test]
    fn a_slot_is_filled_again_only_when_the_kernel_has_done_with_it() {
        let (mut slots, mut kernel) = ring(2);
        assert_eq!(
            burst(&mut slots, &mut kernel, &[1, 2], |_| Fate::Sending),
            0
        );
        assert_eq!(slots.put(&[3; 20]), Ok(false));
        let first = slots.mapping.status(0).unwrap();
        first.store(TP_STATUS_AVAILABLE, Ordering::Release);
        assert_eq!(slots.put(&[3; 20]), Ok(true));
        assert_eq!(slots.put(&[4; 20]), Ok(false));
    }

    #[test]
    fn a_frame_that_the_queue_refuses_is_counted_and_the_others_are_sent() {
        let (mut slots, mut kernel) = ring(4);
        let refuse_2 = |frame: &[u8]| match frame {
            [2, ..] => Fate::Refused,
            _ => Fate::Sent,
        };
        assert_eq!(burst(&mut slots, &mut kernel, &[1, 2, 3], refuse_2), 1);
        assert_eq!(burst(&mut slots, &mut kernel, &[4, 5, 6], refuse_2), 0);
        assert_eq!(numbers(&kernel), [1, 3, 4, 5, 6]);
    }

    #[test]
    fn a_malformed_frame_is_counted_with_those_behind_it_and_the_next_burst_is_sent() {
        let (mut slots, mut kernel) = ring(4);
        let malform_2 = |frame: &[u8]| match frame {
            [2, ..] => Fate::Malformed,
            _ => Fate::Sent,
        };
        assert_eq!(burst(&mut slots, &mut kernel, &[1, 2, 3], malform_2), 2);
        assert_eq!(burst(&mut slots, &mut kernel, &[4, 5, 6], malform_2), 0);
        assert_eq!(numbers(&kernel), [1, 4, 5, 6]);
    }

    #[test]
    fn what_an_error_kept_back_is_sent_by_the_next_flush() {
        let (mut slots, mut kernel) = ring(4);
        assert_eq!(slots.put(&[1; 20]), Ok(true));
        assert_eq!(slots.flush(|_| Err(Errno::ENETDOWN)), Err(Errno::ENETDOWN));
        assert_eq!(burst(&mut slots, &mut kernel, &[2], |_| Fate::Sent), 0);
        assert_eq!(numbers(&kernel), [1, 2]);
    }

    #[test]
    fn a_frame_that_no_slot_holds_is_refused() {
        let (mut slots, mut kernel) = ring(2);
        assert_eq!(slots.put(&[1; 33]), Err(Errno::EMSGSIZE));
        assert_eq!(slots.put(&[2; 32]), Ok(true));
        assert_eq!(
            slots.flush(|mapping| kernel.send(mapping, |_| Fate::Sent)),
            Ok(0)
        );
        assert_eq!(numbers(&kernel), [2]);
    }
}
