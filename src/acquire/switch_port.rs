//! Receiver of the frames by which a switch describes its port, beside the path: a socket of its own,
//! whose filter passes only frames to the multicast groups of those protocols.

use std::os::fd::{AsFd, BorrowedFd};

use super::listener::MAX_FRAME_LEN;
use crate::link::Link;
use crate::recorder::Recorder;
use crate::sys::SyscallError;
use crate::sys::filter::ready::from_switch;
use crate::sys::packet::{PacketSocket, SocketConfig};
use wireboot_proto::packet::switch_frame::{GROUPS, SwitchFrame};
use wireboot_proto::switch::{Switch, SwitchEvent};
use wireboot_proto::time::Instant;

/// The port that an interface is plugged into.
#[derive(Debug)]
pub(super) struct SwitchPort {
    socket: PacketSocket,
    recorder: Recorder,
    switch: Switch,
}

impl SwitchPort {
    /// Begins to listen; the carrier has been there since `up_at`.
    pub(super) fn open(link: &Link, up_at: Instant) -> Result<Self, SyscallError> {
        let program = from_switch();
        let options = SocketConfig {
            // A card drops frames to groups that nobody has joined.
            groups: &GROUPS,
            ..SocketConfig::new(link.index(), &program)
        };
        Ok(Self {
            socket: options.open()?,
            recorder: link.recorder.clone(),
            switch: Switch::new(up_at),
        })
    }

    /// Reads the frames received; returns whether they are a reason to ask servers again at once.
    pub(super) fn receive(&mut self, name: &str, now: Instant) -> Result<bool, SyscallError> {
        let mut buf = [0; MAX_FRAME_LEN];
        let mut is_any = false;
        while let Some(received) = self.socket.recv(&mut buf)? {
            let octets = buf.get(..received.len).unwrap_or_default();
            self.recorder.received(name, octets, &received.metadata);
            match SwitchFrame::decode(octets) {
                Ok(frame) => self.switch.handle_input(frame, now),
                Err(error) => log::debug!("{name}: a frame of the switch was discarded: {error}"),
            }
            is_any = true;
        }
        Ok(is_any && self.switch.is_blocked())
    }

    /// Drives the timers.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.switch.handle_timeout(now);
    }

    /// Returns the next event.
    pub(super) fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.switch.poll_event()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.switch.poll_timeout()
    }

    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
