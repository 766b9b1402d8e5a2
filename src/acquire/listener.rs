//! The ear on one interface: a filtered packet socket at once, a mapped ring as soon as there is
//! one.
//!
//! Mapping a ring waits for the kernel (about 11 ms), a whole exchange on a quiet network takes
//! one. So the ring is made on a thread while the plain socket is read, and sockets are closed on
//! one.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::crowd::Counters;
use crate::dhcp::Heard;
use crate::link::Link;
use crate::sys::SyscallError;
use crate::sys::filter::dhcp_replies;
use crate::sys::packet::{Metadata, PacketSocket};
use crate::sys::ring::{Layout, Ring};

/// Longer than any message we ask for.
pub(super) const MAX_FRAME_LEN: usize = 2048;

/// Receives the DHCP replies for one interface, and sends frames on it.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Ear,
    counters: Option<Counters>,
    /// Brings a better ear.
    coming: Option<Receiver<Coming>>,
    is_waiting: Arc<AtomicBool>,
    bypasses_queues: bool,
}

#[derive(Debug)]
enum Ear {
    Plain(PacketSocket),
    Mapped(Ring),
    Closed,
}

/// What is made on a thread, off the path.
#[derive(Debug)]
enum Coming {
    Ring(Ring),
    Counters(Counters),
}

impl Listener {
    /// Begins to listen. The filter knows our hardware address and not the `xid`, which changes
    /// with each exchange while the filter is locked.
    ///
    /// # Errors
    /// What the kernel says to the plain socket.
    pub(super) fn open(link: &Link) -> Result<Self, SyscallError> {
        let program = dhcp_replies(None, Some(link.mac));
        let socket = PacketSocket::open(link.index, &program)?;
        let (sender, coming) = channel();
        let is_waiting = Arc::new(AtomicBool::new(true));
        let (index, name, waiting) = (link.index, link.name.clone(), Arc::clone(&is_waiting));
        thread::spawn(move || {
            let made = Ring::open(index, &program, Layout::SMALL).and_then(|ring| {
                // When nobody waits any longer, what was made is closed here.
                let is_heard = sender.send(Coming::Ring(ring)).is_ok();
                // Whoever has no answer by now may be one of many.
                if is_heard && waiting.load(Ordering::Relaxed) {
                    drop(sender.send(Coming::Counters(Counters::open(index)?)));
                }
                Ok(())
            });
            if let Err(error) = made {
                log::debug!("{name}: {error}: {}", error.source);
            }
        });
        Ok(Self {
            ear: Ear::Plain(socket),
            counters: None,
            coming: Some(coming),
            is_waiting,
            bypasses_queues: false,
        })
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
        while let Some(Ok(coming)) = self.coming.as_ref().map(Receiver::try_recv) {
            match coming {
                Coming::Ring(ring) => {
                    ring.socket().bypass_queues(self.bypasses_queues)?;
                    let plain = std::mem::replace(&mut self.ear, Ear::Mapped(ring));
                    close(Box::new(plain));
                }
                Coming::Counters(counters) => self.counters = Some(counters),
            }
        }
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

    /// Returns what other machines have asked for since the last time.
    pub(super) fn heard(&self) -> Heard {
        self.counters
            .as_ref()
            .map_or_else(Heard::default, Counters::read)
    }

    /// Stops counting what others ask for.
    pub(super) fn leave_crowd(&mut self) {
        self.is_waiting.store(false, Ordering::Relaxed);
        if let Some(counters) = self.counters.take() {
            close(Box::new(counters));
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
        if std::mem::replace(&mut self.bypasses_queues, bypass) == bypass {
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
        let ear = std::mem::replace(&mut self.ear, Ear::Closed);
        close(Box::new((ear, self.coming.take(), self.counters.take())));
    }
}

/// Closes sockets where nobody waits for it.
pub(super) fn close(sockets: Box<dyn Send>) {
    thread::spawn(move || drop(sockets));
}
