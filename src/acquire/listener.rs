//! The ear on one interface: a filtered packet socket at once, a mapped ring for a long wait.
//!
//! Mapping a ring waits for the kernel (about 11 ms, and 20 to close it), a whole exchange on a quiet
//! network takes less than one. So a ring is made only when there is time for it, as when a carrier is
//! waited for, on a thread, while the plain socket is read; and sockets are closed on one.

use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::crowd::Counters;
use crate::link::Link;
use crate::sys::SyscallError;
use crate::sys::filter::ready::dhcp_replies_and_arp_about;
use crate::sys::filter::{FilterProgram, dhcp_replies};
use crate::sys::packet::{Metadata, PacketSocket, SocketConfig};
use crate::sys::ring::{Layout, Ring};
use wireboot_proto::dhcp::Heard;
use wireboot_proto::packet::ethernet::MacAddress;

/// Longer than any message we ask for.
pub(super) const MAX_FRAME_LEN: usize = 2048;

/// Receives the DHCP replies for one interface, and sends frames on it.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Ear,
    interface: u32,
    mac: MacAddress,
    program: FilterProgram,
    counters: Option<Counters>,
    /// Brings a better ear, once one is made.
    coming: Option<Arc<Mutex<Coming>>>,
    bypasses_queues: bool,
}

#[derive(Debug)]
enum Ear {
    Plain(PacketSocket),
    Mapped(Ring),
    Closed,
}

/// What is made on a thread, off the path.
#[derive(Debug, Default)]
struct Coming {
    ring: Option<Ring>,
    counters: Option<Counters>,
    /// Nobody waits for it any longer.
    is_late: bool,
}

impl Listener {
    /// Begins to listen. The filter knows our hardware address and not the `xid`, which changes
    /// with each exchange while the filter is locked.
    ///
    /// # Errors
    /// What the kernel says to the plain socket.
    pub(super) fn open(link: &Link) -> Result<Self, SyscallError> {
        let program = dhcp_replies(None, Some(link.mac));
        let mut options = SocketConfig::new(link.index, &program);
        options.locked = false;
        let socket = options.open()?;
        Ok(Self {
            ear: Ear::Plain(socket),
            interface: link.index,
            mac: link.mac,
            program,
            counters: None,
            coming: None,
            bypasses_queues: false,
        })
    }

    /// Hears ARP about `address` too from now on; false when that takes a socket of its own, since
    /// the filter is locked or a ring has it.
    pub(super) fn hear_arp(&mut self, address: Ipv4Addr) -> bool {
        let Ear::Plain(socket) = &self.ear else {
            return false;
        };
        let program = dhcp_replies_and_arp_about(self.mac, address);
        let is_heard = self.coming.is_none() && socket.replace_filter(&program).is_ok();
        if is_heard {
            self.program = program;
        }
        is_heard
    }

    /// Prepares for a long wait: has a ring made, and then what others ask for counted, since
    /// whoever has no answer yet may be one of many.
    pub(super) fn settle(&mut self) {
        let coming = Arc::new(Mutex::new(Coming::default()));
        self.coming = Some(Arc::clone(&coming));
        let (index, program) = (self.interface, self.program.clone());
        thread::spawn(move || {
            let make = || {
                let ring = Ring::open(index, &program, Layout::SMALL)?;
                // What comes too late is closed here.
                if !hand_over(&coming, |coming| coming.ring = Some(ring)) {
                    return Ok(());
                }
                let counters = Counters::open(index)?;
                hand_over(&coming, |coming| coming.counters = Some(counters));
                Ok::<_, SyscallError>(())
            };
            if let Err(error) = make() {
                log::debug!("{}", error.chain());
            }
        });
    }

    /// Hands every frame that has arrived to `take`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn receive(
        &mut self,
        mut take: impl FnMut(&[u8], Metadata),
    ) -> Result<(), SyscallError> {
        if let Ear::Plain(socket) = &self.ear {
            let mut buf = [0; MAX_FRAME_LEN];
            while let Some(received) = socket.recv(&mut buf)? {
                if let Some(octets) = buf.get(..received.len) {
                    take(octets, received.metadata);
                }
            }
        }
        let (ring, counters) = self.come();
        if let Some(ring) = ring {
            ring.socket().bypass_queues(self.bypasses_queues)?;
            let plain = mem::replace(&mut self.ear, Ear::Mapped(ring));
            close(Box::new(plain));
        }
        self.counters = counters.or_else(|| self.counters.take());
        // What came to the socket and to the ring is seen twice; the second is not expected.
        if let Ear::Mapped(ring) = &mut self.ear {
            while let Some(mut batch) = ring.next_batch() {
                while let Some(frame) = batch.next() {
                    take(frame.octets(), frame.metadata());
                }
            }
        }
        Ok(())
    }

    /// Returns what has been made meanwhile.
    fn come(&self) -> (Option<Ring>, Option<Counters>) {
        let (mut ring, mut counters) = (None, None);
        if let Some(coming) = &self.coming {
            hand_over(coming, |coming| {
                (ring, counters) = (coming.ring.take(), coming.counters.take());
            });
        }
        (ring, counters)
    }

    /// Returns what other machines have asked for since the last time.
    pub(super) fn heard(&self) -> Heard {
        self.counters
            .as_ref()
            .map_or_else(Heard::default, Counters::read)
    }

    /// Stops counting what others ask for, and waits for no better ear.
    pub(super) fn leave_crowd(&mut self) {
        let coming = self.coming.take();
        if let Some(coming) = &coming {
            hand_over(coming, |coming| coming.is_late = true);
        }
        let counters = self.counters.take();
        if coming.is_some() || counters.is_some() {
            close(Box::new((coming, counters)));
        }
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), SyscallError> {
        self.socket().map_or(Ok(()), |socket| socket.send(frame))
    }

    /// As [`PacketSocket::bypass_queues`].
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn bypass_queues(&mut self, bypass: bool) -> Result<(), SyscallError> {
        if mem::replace(&mut self.bypasses_queues, bypass) == bypass {
            return Ok(());
        }
        let socket = self.socket();
        socket.map_or(Ok(()), |socket| socket.bypass_queues(bypass))
    }

    /// What to wait on for frames.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.socket().map(AsFd::as_fd)
    }

    const fn socket(&self) -> Option<&PacketSocket> {
        match &self.ear {
            Ear::Plain(socket) => Some(socket),
            Ear::Mapped(ring) => Some(ring.socket()),
            Ear::Closed => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.leave_crowd();
        close(Box::new(mem::replace(&mut self.ear, Ear::Closed)));
    }
}

/// Has `give` change what comes, unless that is too late; returns whether it was not.
fn hand_over(coming: &Mutex<Coming>, give: impl FnOnce(&mut Coming)) -> bool {
    let mut coming = coming.lock().unwrap_or_else(PoisonError::into_inner);
    if coming.is_late {
        return false;
    }
    give(&mut coming);
    true
}

/// Closes sockets where nobody waits for it.
pub(super) fn close(sockets: Box<dyn Send>) {
    thread::spawn(move || drop(sockets));
}
