//! The ear on one interface: a filtered packet socket at once, a mapped ring as soon as there is
//! one.
//!
//! Mapping a ring waits for the kernel (about 11 ms), a whole exchange on a quiet network takes
//! one. So the ring is made on a thread while the plain socket is read, and sockets are closed on
//! one.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

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
    bypasses_queues: bool,
}

#[derive(Debug)]
enum Ear {
    Plain {
        socket: PacketSocket,
        /// Brings the ring; gone when there will be none.
        ring: Option<Receiver<Ring>>,
    },
    Mapped(Ring),
    Closed,
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
        let (sender, receiver) = channel();
        let (index, name) = (link.index, link.name.clone());
        thread::spawn(move || match Ring::open(index, &program, Layout::SMALL) {
            // When nobody waits any longer, the ring is closed here, off the path.
            Ok(ring) => drop(sender.send(ring)),
            Err(error) => log::debug!("{name}: no ring: {error}: {}", error.source),
        });
        Ok(Self {
            ear: Ear::Plain {
                socket,
                ring: Some(receiver),
            },
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
        if let Ear::Plain { socket, ring } = &mut self.ear {
            let mut buf = [0; MAX_FRAME_LEN];
            while let Some(received) = socket.recv(&mut buf)? {
                if let Some(octets) = buf.get(..received.len) {
                    take(octets, received.metadata);
                }
            }
            match ring.as_ref().map(Receiver::try_recv) {
                Some(Ok(ring)) => {
                    ring.socket().bypass_queues(self.bypasses_queues)?;
                    self.replace(Ear::Mapped(ring));
                }
                Some(Err(TryRecvError::Disconnected)) => *ring = None,
                Some(Err(TryRecvError::Empty)) | None => {}
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
            Ear::Plain { socket, .. } => Some(socket),
            Ear::Mapped(ring) => Some(ring.socket()),
            Ear::Closed => None,
        }
    }

    /// Closes the old ear where nobody waits for it.
    fn replace(&mut self, ear: Ear) {
        let old = std::mem::replace(&mut self.ear, ear);
        thread::spawn(move || drop(old));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.replace(Ear::Closed);
    }
}
