//! Counts what other machines ask for on the same wire, without being woken for it.
//!
//! Two sockets whose filters pass only such requests are never read: the kernel drops what passes
//! and counts it.

use crate::sys::SyscallError;
use crate::sys::filter::ready::dhcp_requests;
use crate::sys::packet::{PacketSocket, Statistics};
use wireboot_proto::dhcp::RequestCounts;

/// The counting sockets of one interface.
#[derive(Debug)]
pub(super) struct RequestCounters {
    discovers: PacketSocket,
    requests: PacketSocket,
}

impl RequestCounters {
    /// Begins to count on the interface with this index.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(index: u32) -> Result<Self, SyscallError> {
        let open = |are_discovers| {
            let socket = PacketSocket::open(index, &dhcp_requests(are_discovers))?;
            socket.count_only().map(|()| socket)
        };
        Ok(Self {
            discovers: open(true)?,
            requests: open(false)?,
        })
    }

    /// Returns what was heard since the last time.
    pub(super) fn read(&self) -> RequestCounts {
        let count = |socket: &PacketSocket| {
            let packets = socket
                .statistics()
                .map_or(0, |Statistics { packets, .. }| packets);
            u32::try_from(packets).unwrap_or(u32::MAX)
        };
        RequestCounts {
            discovers: count(&self.discovers),
            requests: count(&self.requests),
        }
    }
}
