//! VLANs whose tags are on the wire, for the error message where nobody answers without a tag.

use crate::link::Link;
use crate::sys::SyscallError;
use crate::sys::filter::ready::tagged;
use crate::sys::packet::{PacketSocket, SocketConfig};
use wireboot_proto::packet::ethernet::ETHERTYPE_VLAN;

/// Most VLANs that are told of.
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
