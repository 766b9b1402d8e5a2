//! Listens to what the switch says of the port, beside the path: by a socket of its own, whose
//! filter passes only frames to the groups that switches speak to.

use std::os::fd::{AsFd, BorrowedFd};

use super::listener::MAX_FRAME_LEN;
use crate::link::Link;
use crate::recorder::Recorder;
use crate::sys::SyscallError;
use crate::sys::filter::ready::from_switch;
use crate::sys::packet::{Options, PacketSocket};
use wireboot_proto::packet::neighbour::{GROUPS, Word};
use wireboot_proto::switch::{Statement, Switch};
use wireboot_proto::time::Instant;

/// The port that an interface is plugged into.
#[derive(Debug)]
pub(super) struct Port {
    socket: PacketSocket,
    recorder: Recorder,
    switch: Switch,
}

impl Port {
    /// Begins to listen; the carrier has been there since `up_at`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(link: &Link, up_at: Instant) -> Result<Self, SyscallError> {
        let program = from_switch();
        let options = Options {
            groups: &GROUPS,
            ..Options::new(link.index, &program)
        };
        Ok(Self {
            socket: options.open()?,
            recorder: link.recorder.clone(),
            switch: Switch::new(up_at),
        })
    }

    /// Takes what the switch has said; returns whether that is a reason to ask again at once.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn receive(&mut self, name: &str, now: Instant) -> Result<bool, SyscallError> {
        let mut buf = [0; MAX_FRAME_LEN];
        let mut heard = false;
        while let Some(received) = self.socket.recv(&mut buf)? {
            let octets = buf.get(..received.len).unwrap_or_default();
            self.recorder.received(name, octets, &received.metadata);
            match Word::decode(octets) {
                Ok(word) => self.switch.handle_input(word, now),
                Err(error) => log::debug!("{name}: a frame of the switch was discarded: {error}"),
            }
            heard = true;
        }
        Ok(heard && self.switch.is_blocked())
    }

    /// Takes notice of the time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.switch.handle_timeout(now);
    }

    /// Returns the next thing to tell.
    pub(super) fn poll_event(&mut self) -> Option<Statement> {
        self.switch.poll_event()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.switch.poll_timeout()
    }

    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
