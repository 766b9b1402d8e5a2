//! The receiver on one interface: a filtered packet socket at once, a mapped ring for a long wait.
//!
//! Mapping a ring waits for the kernel (about 11 ms, and 20 to close it), a whole exchange on a quiet
//! network takes less than one. So a ring is made only when there is time for it, as when a carrier is
//! waited for, on a thread, while the plain socket is read; and sockets are closed on one.

use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::link::Link;
use crate::sys::SyscallError;
use crate::sys::filter::ready::{dhcp_replies_and_arp_about, dhcp_requests};
use crate::sys::filter::{FilterProgram, dhcp_replies};
use crate::sys::packet::{Metadata, PacketSocket, SocketConfig, Statistics};
use crate::sys::ring::{Layout, Ring};
use wireboot_proto::dhcp::RequestCounts;
use wireboot_proto::packet::ethernet::MacAddress;

/// Longer than any message we ask for.
pub(super) const MAX_FRAME_LEN: usize = 2048;

/// Receives the DHCP replies for one interface, and sends frames on it.
#[derive(Debug)]
pub(super) struct Listener {
    receiver: Receiver,
    interface: u32,
    mac: MacAddress,
    program: FilterProgram,
    counters: Option<RequestCounters>,
    /// Brings a better receiver, once one is made.
    preparation: Option<Arc<Mutex<Preparation>>>,
    bypasses_queues: bool,
}

#[derive(Debug)]
enum Receiver {
    Plain(PacketSocket),
    Mapped(Ring),
    Closed,
}

/// What is made on a thread, off the path.
#[derive(Debug, Default)]
struct Preparation {
    ring: Option<Ring>,
    counters: Option<RequestCounters>,
    /// Nobody waits for it any longer.
    is_late: bool,
}

impl Listener {
    /// Begins to listen. The filter knows our hardware address and not the `xid`, which changes
    /// with each exchange while the filter is locked.
    pub(super) fn open(link: &Link) -> Result<Self, SyscallError> {
        let program = dhcp_replies(None, Some(link.mac));
        let mut options = SocketConfig::new(link.index, &program);
        // Open for one replacement: ARP joins later and needs no second socket (each costs 7 ms to
        // close).
        options.locked = false;
        let socket = options.open()?;
        Ok(Self {
            receiver: Receiver::Plain(socket),
            interface: link.index,
            mac: link.mac,
            program,
            counters: None,
            preparation: None,
            bypasses_queues: false,
        })
    }

    /// Receives ARP about `address` too from now on; false when that takes a socket of its own, since
    /// the filter is locked or a ring has it.
    pub(super) fn watch_arp(&mut self, address: Ipv4Addr) -> bool {
        let Receiver::Plain(socket) = &self.receiver else {
            return false;
        };
        let program = dhcp_replies_and_arp_about(self.mac, address);
        let is_set = self.preparation.is_none() && socket.replace_filter(&program).is_ok();
        if is_set {
            self.program = program;
        }
        is_set
    }

    /// Prepares for a long wait: has a ring made, and then what others ask for counted, since
    /// whoever has no answer yet may be one of many.
    pub(super) fn settle(&mut self) {
        let preparation = Arc::new(Mutex::new(Preparation::default()));
        self.preparation = Some(Arc::clone(&preparation));
        let (index, program) = (self.interface, self.program.clone());
        thread::spawn(move || {
            let make = || {
                // 11 ms in synchronize_net (Linux 6.18), several times a whole exchange on a quiet
                // LAN.
                let ring = Ring::open(index, &program, Layout::SMALL)?;
                // What is ready too late is closed here.
                if !update(&preparation, |preparation| preparation.ring = Some(ring)) {
                    return Ok(());
                }
                let counters = RequestCounters::open(index)?;
                update(&preparation, |preparation| {
                    preparation.counters = Some(counters)
                });
                Ok::<_, SyscallError>(())
            };
            if let Err(error) = make() {
                log::debug!("{}", error.chain());
            }
        });
    }

    /// Hands every frame that has arrived to `take`.
    pub(super) fn receive(
        &mut self,
        mut take: impl FnMut(&[u8], Metadata),
    ) -> Result<(), SyscallError> {
        if let Receiver::Plain(socket) = &self.receiver {
            // Read before the ring, which only has what came after its bind: the order of arrival
            // stays.
            let mut buf = [0; MAX_FRAME_LEN];
            while let Some(received) = socket.recv(&mut buf)? {
                if let Some(octets) = buf.get(..received.len) {
                    take(octets, received.metadata);
                }
            }
        }
        let (ring, counters) = self.take_ready();
        if let Some(ring) = ring {
            ring.socket().bypass_queues(self.bypasses_queues)?;
            let plain = mem::replace(&mut self.receiver, Receiver::Mapped(ring));
            close(Box::new(plain));
        }
        self.counters = counters.or_else(|| self.counters.take());
        // A frame that both socket and ring received is handled twice; the client ignores the second.
        if let Receiver::Mapped(ring) = &mut self.receiver {
            while let Some(mut batch) = ring.next_batch() {
                while let Some(frame) = batch.next() {
                    take(frame.octets(), frame.metadata());
                }
            }
        }
        Ok(())
    }

    /// Returns what has been made meanwhile.
    fn take_ready(&self) -> (Option<Ring>, Option<RequestCounters>) {
        let (mut ring, mut counters) = (None, None);
        if let Some(preparation) = &self.preparation {
            update(preparation, |preparation| {
                (ring, counters) = (preparation.ring.take(), preparation.counters.take());
            });
        }
        (ring, counters)
    }

    /// Returns what other machines have asked for since the last time.
    pub(super) fn request_counts(&self) -> RequestCounts {
        self.counters
            .as_ref()
            .map_or_else(RequestCounts::default, RequestCounters::read)
    }

    /// Stops counting what others ask for, and waits for no better receiver.
    pub(super) fn stop_counting(&mut self) {
        let preparation = self.preparation.take();
        if let Some(preparation) = &preparation {
            update(preparation, |preparation| preparation.is_late = true);
        }
        let counters = self.counters.take();
        if preparation.is_some() || counters.is_some() {
            close(Box::new((preparation, counters)));
        }
    }

    /// Sends a frame as it is.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), SyscallError> {
        self.socket().map_or(Ok(()), |socket| socket.send(frame))
    }

    /// As [`PacketSocket::bypass_queues`].
    pub(super) fn bypass_queues(&mut self, bypass: bool) -> Result<(), SyscallError> {
        // Link notifications come in bursts, and each would be a system call.
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
        match &self.receiver {
            Receiver::Plain(socket) => Some(socket),
            Receiver::Mapped(ring) => Some(ring.socket()),
            Receiver::Closed => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop_counting();
        close(Box::new(mem::replace(&mut self.receiver, Receiver::Closed)));
    }
}

/// The counting sockets of one interface.
#[derive(Debug)]
pub(super) struct RequestCounters {
    discovers: PacketSocket,
    requests: PacketSocket,
}

impl RequestCounters {
    /// Begins to count on the interface with this index.
    pub(super) fn open(index: u32) -> Result<Self, SyscallError> {
        let open = |are_discovers| {
            let socket = PacketSocket::open(index, &dhcp_requests(are_discovers))?;
            // The kernel counts what passes the filter even when nothing is ever read.
            socket.count_only().map(|()| socket)
        };
        Ok(Self {
            discovers: open(true)?,
            requests: open(false)?,
        })
    }

    /// Returns the counts since the last call.
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

/// Calls `change` on what is being prepared, unless nobody waits for it any longer; returns whether it
/// was called.
fn update(preparation: &Mutex<Preparation>, change: impl FnOnce(&mut Preparation)) -> bool {
    let mut preparation = preparation.lock().unwrap_or_else(PoisonError::into_inner);
    if preparation.is_late {
        return false;
    }
    change(&mut preparation);
    true
}

/// Closes sockets where nobody waits for it.
pub(super) fn close(sockets: Box<dyn Send>) {
    // packet_release waits for an RCU grace period: 7 ms for a plain socket, 20 ms for a ring
    // (Linux 6.18).
    thread::spawn(move || drop(sockets));
}
