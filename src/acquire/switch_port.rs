//! Receivers of what a switch sends to its port beside the path, each a socket of its own: the frames by
//! which it describes the port, whose filter passes only frames to the multicast groups of those protocols,
//! and which answers LACP; and frames with the tags of VLANs, for the error message where nobody answers
//! without a tag.

use std::os::fd::{AsFd, BorrowedFd};

use super::listener::MAX_FRAME_LEN;
use crate::link::Link;
use crate::recorder::Recorder;
use crate::sys::SyscallError;
use crate::sys::filter::ready::{from_switch, tagged};
use crate::sys::packet::{PacketSocket, SocketConfig};
use wireboot_proto::packet::ethernet::ETHERTYPE_VLAN;
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
        let (mac, index) = (link.mac, link.port());
        let options = SocketConfig {
            // A card drops frames to groups that nobody has joined.
            groups: &GROUPS,
            ..SocketConfig::new(index, &program)
        };
        let socket = options.open()?;
        // The kernel's queues drop for up to a second after a carrier, which is when LACP begins.
        if let Err(error) = socket.bypass_queues(true) {
            log::debug!("{}: {}", link.name, error.chain());
        }
        // The low 16 bits tell the few ports of one machine apart.
        let [_, _, high, low] = index.to_be_bytes();
        let mut switch = Switch::new(mac, u16::from_be_bytes([high, low]), up_at);
        // The members of a bond speak for themselves.
        if !link.may_be_bond {
            switch.solicit(crate::sys::now());
        }
        Ok(Self {
            socket,
            recorder: link.recorder.clone(),
            switch,
        })
    }

    /// Reads the frames received, and answers them; returns whether they are a reason to ask servers again
    /// at once.
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
            self.send(name);
        }
        Ok(is_any && self.switch.is_blocked())
    }

    /// Returns whether it must be kept open for the switch to forward.
    pub(super) const fn has_lacp(&self) -> bool {
        self.switch.has_lacp()
    }

    /// Drives the timers.
    pub(super) fn handle_timeout(&mut self, name: &str, now: Instant) {
        self.switch.handle_timeout(now);
        self.send(name);
    }

    fn send(&mut self, name: &str) {
        while let Some(frame) = self.switch.poll_transmit() {
            self.recorder.sent(name, &frame);
            if let Err(error) = self.socket.send(&frame) {
                log::debug!("{name}: {}", error.chain());
            }
        }
    }

    /// Returns the next event.
    pub(super) fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.switch.poll_event()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.switch.poll_timeout()
    }

    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Most VLANs that are reported.
const MAX_VLANS: usize = 16;
/// More than the buffer of a socket holds: others cannot keep us reading.
const MAX_FRAMES: usize = 1000;

/// Receiver of frames with tags, which never wakes anybody.
#[derive(Debug)]
pub(super) struct TaggedFrames {
    socket: PacketSocket,
    seen: Vec<u16>,
}

impl TaggedFrames {
    pub(super) fn open(link: &Link) -> Result<Self, SyscallError> {
        let program = tagged();
        let options = SocketConfig {
            // A card drops the frames of VLANs that nobody has joined (NETIF_F_HW_VLAN_CTAG_FILTER),
            // unless it is promiscuous.
            promiscuous: true,
            ..SocketConfig::new(link.index(), &program)
        };
        Ok(Self {
            socket: options.open()?,
            seen: Vec::new(),
        })
    }

    /// Reads what has arrived; returns the VLANs seen so far, in their order.
    pub(super) fn read(&mut self) -> &[u16] {
        for _ in 0..MAX_FRAMES {
            let Ok(Some(received)) = self.socket.recv(&mut [0; 1]) else {
                break;
            };
            // Of a provider's tag (802.1ad) no interface here could be made.
            let tag = received.metadata.vlan;
            let Some(tag) = tag.filter(|tag| tag.tpid == ETHERTYPE_VLAN) else {
                continue;
            };
            if let Err(place) = self.seen.binary_search(&tag.vid())
                && self.seen.len() < MAX_VLANS
            {
                self.seen.insert(place, tag.vid());
            }
        }
        &self.seen
    }
}
