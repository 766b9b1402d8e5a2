//! The receiver on one interface: a mapped ring of a filtered packet socket.
//!
//! Setting a ring up waits for the kernel, and so does closing any packet socket, but not where grace
//! periods can be made short (see [`rcu`]): some 10 µs each. Elsewhere it takes 13 to 28 ms, and a whole
//! exchange on a quiet network less than one. There a plain socket is read at first, and a ring made
//! only when there is time for it, as when a carrier is waited for, on a thread; and sockets are closed
//! on one.

use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::link::Link;
use crate::sys::SyscallError;
use crate::sys::filter::ready::{
    counted, dhcp_replies_and_arp_about, dhcp_requests, stray_replies,
};
use crate::sys::filter::{FilterProgram, dhcp_replies};
use crate::sys::packet::{ETH_P_ALL, Metadata, PacketSocket, SocketConfig, Statistics};
use crate::sys::rcu;
use crate::sys::ring::{Layout, Ring};
use wireboot_proto::dhcp::RequestCounts;
use wireboot_proto::packet::ethernet::MacAddress;
#[cfg(feature = "hand")]
use wireboot_proto::packet::ethernet::{ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use wireboot_proto::packet::icmpv6::ALL_NODES;

/// Longer than any message we ask for.
pub(super) const MAX_FRAME_LEN: usize = 2048;

/// Receives the DHCP replies for one interface, and sends frames on it.
#[derive(Debug)]
pub(super) struct Listener {
    receiver: Receiver,
    interface: u32,
    mac: MacAddress,
    program: FilterProgram,
    /// The filter can be replaced no more.
    is_locked: bool,
    counters: Option<Counters>,
    /// Receives what says why there is no reply, for the exchange with this xid.
    strays: Option<(u32, PacketSocket)>,
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

/// A ring that is made on a thread, off the path.
#[derive(Debug)]
enum Preparation {
    Begun,
    Ready(Ring),
    /// Nobody waits for it any longer.
    Late,
}

impl Listener {
    /// Begins to listen. The filter knows our hardware address and not the `xid`, which changes
    /// with each exchange while the filter is locked.
    pub(super) fn open(link: &Link) -> Result<Self, SyscallError> {
        let program = dhcp_replies(None, Some(link.mac));
        let mut options = SocketConfig::new(link.index(), &program);
        // Open for one replacement: ARP joins later and needs no second socket.
        options.locked = false;
        // The kernel changes its own code for it, on each processor and back.
        options.stamps_early = false;
        let receiver = match Ring::open_at_once(&options, Layout::SMALL)? {
            Ok(ring) => Receiver::Mapped(ring),
            Err((socket, why)) => {
                log::debug!("{}: no ring at first: {why}", link.name);
                Receiver::Plain(socket)
            }
        };
        Ok(Self {
            receiver,
            is_locked: false,
            interface: link.index(),
            mac: link.mac,
            program,
            counters: None,
            strays: None,
            preparation: None,
            bypasses_queues: false,
        })
    }

    /// Receives ARP about `address` too from now on; false when that takes a socket of its own, since
    /// the filter is locked or a ring is made with it.
    pub(super) fn watch_arp(&mut self, address: Ipv4Addr) -> bool {
        if self.is_locked || self.preparation.is_some() {
            return false;
        }
        let program = dhcp_replies_and_arp_about(self.mac, address);
        let replaced = self.socket().map(|socket| socket.replace_filter(&program));
        self.is_locked = matches!(replaced, Some(Ok(())));
        if self.is_locked {
            self.program = program;
        }
        self.is_locked
    }

    /// Prepares for a long wait: has a ring made, if there is none, and counts what others ask for, since
    /// whoever has no answer yet may be one of many.
    pub(super) fn settle(&mut self) {
        let counters = Counters::open(self.interface);
        let counters = counters.inspect_err(|error| log::debug!("{}", error.chain()));
        self.counters = counters.ok();
        let Receiver::Plain(_) = self.receiver else {
            return;
        };
        let preparation = Arc::new(Mutex::new(Preparation::Begun));
        self.preparation = Some(Arc::clone(&preparation));
        let (index, program) = (self.interface, self.program.clone());
        thread::spawn(move || match Ring::open(index, &program, Layout::SMALL) {
            // What is ready too late is closed here.
            Ok(ring) => drop(exchange(&preparation, Preparation::Ready(ring))),
            Err(error) => log::debug!("{}", error.chain()),
        });
    }

    /// Hands every frame that has arrived on `interface` to `take`.
    pub(super) fn receive(
        &mut self,
        interface: &str,
        mut take: impl FnMut(&[u8], Metadata),
    ) -> Result<(), SyscallError> {
        if let Receiver::Plain(socket) = &self.receiver {
            // Read before the ring, which only has what came after its bind: the order of arrival
            // stays.
            let mut buf = [0; MAX_FRAME_LEN];
            while let Some(received) = socket.recv(&mut buf)? {
                if let Some(octets) = buf.get(..received.len) {
                    log::trace!("{interface}: {} bytes from a plain socket", received.len);
                    take(octets, received.metadata);
                }
            }
        }
        let ready = self.preparation.as_deref();
        let ready = ready.map(|preparation| exchange(preparation, Preparation::Begun));
        if let Some(Preparation::Ready(ring)) = ready {
            ring.socket().bypass_queues(self.bypasses_queues)?;
            self.is_locked = true;
            let plain = mem::replace(&mut self.receiver, Receiver::Mapped(ring));
            close(Box::new(plain));
        }
        // A frame that both socket and ring received is handled twice; the client ignores the second.
        if let Receiver::Mapped(ring) = &mut self.receiver {
            while let Some(mut batch) = ring.next_batch() {
                while let Some(frame) = batch.next() {
                    log::trace!("{interface}: {} bytes from the ring", frame.octets().len());
                    take(frame.octets(), frame.metadata());
                }
            }
        }
        Ok(())
    }

    /// Returns what other machines have asked for since the last time.
    pub(super) fn request_counts(&self) -> RequestCounts {
        self.counters
            .as_ref()
            .map_or_else(RequestCounts::default, Counters::requests)
    }

    /// Returns how many frames of each of [`KINDS`] have arrived since the last time.
    pub(super) fn kind_counts(&self) -> [u32; KINDS.len()] {
        let counters = self.counters.as_ref();
        counters.map_or_else(Default::default, Counters::kinds)
    }

    /// Receives from now on what says why there is no reply in the exchange `xid`.
    pub(super) fn watch_strays(&mut self, xid: u32) {
        if self.strays.as_ref().is_some_and(|(known, _)| *known == xid) {
            return;
        }
        let program = stray_replies(xid, self.mac);
        let options = SocketConfig {
            // A card drops frames to groups that nobody has joined.
            groups: &[ALL_NODES],
            ..SocketConfig::new(self.interface, &program)
        };
        let opened = options.open();
        let opened = opened.inspect_err(|error| log::debug!("{}", error.chain()));
        let strays = opened.ok().map(|socket| (xid, socket));
        if let Some(old) = mem::replace(&mut self.strays, strays) {
            close(Box::new(old));
        }
    }

    /// Hands every such frame that has arrived to `take`, with the exchange's xid.
    pub(super) fn receive_strays(
        &self,
        take: &mut dyn FnMut(u32, &[u8], Metadata),
    ) -> Result<(), SyscallError> {
        let Some((xid, socket)) = &self.strays else {
            return Ok(());
        };
        let mut buf = [0; MAX_FRAME_LEN];
        // No more at a time than the socket's buffer holds, lest a flood keep us here.
        for _ in 0..MAX_STRAYS {
            let Some(received) = socket.recv(&mut buf)? else {
                break;
            };
            let octets = buf.get(..received.len).unwrap_or_default();
            take(*xid, octets, received.metadata);
        }
        Ok(())
    }

    /// Stops counting what others ask for, and waits for no better receiver.
    pub(super) fn stop_counting(&mut self) {
        let preparation = self.preparation.take();
        let ready = preparation.map(|preparation| exchange(&preparation, Preparation::Late));
        let others = (self.counters.take(), self.strays.take());
        if ready.is_some() || others.0.is_some() || others.1.is_some() {
            close(Box::new((ready, others)));
        }
    }

    /// Closes the sockets.
    pub(super) fn close(&mut self) {
        self.stop_counting();
        let receiver = mem::replace(&mut self.receiver, Receiver::Closed);
        if !matches!(receiver, Receiver::Closed) {
            close(Box::new(receiver));
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
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let strays = self.strays.as_ref().map(|(_, socket)| socket);
        [self.socket(), strays]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
    }

    const fn socket(&self) -> Option<&PacketSocket> {
        match &self.receiver {
            Receiver::Plain(socket) => Some(socket),
            Receiver::Mapped(ring) => Some(ring.socket()),
            Receiver::Closed => None,
        }
    }
}

/// About what the buffer of a socket holds by default (net.core.rmem_default, 208 KiB).
const MAX_STRAYS: u32 = 256;

/// The kinds of frames that are counted while there is no answer: what they are called, and their
/// EtherType; that of STP stands for frames without one (`ETH_P_802_2`).
#[cfg(feature = "hand")]
pub(super) const KINDS: [(&str, u16); 4] = [
    ("ARP", ETHERTYPE_ARP),
    ("IPv4", ETHERTYPE_IPV4),
    ("IPv6", ETHERTYPE_IPV6),
    ("STP", 4),
];
/// None, in a build that has no room for them.
#[cfg(not(feature = "hand"))]
pub(super) const KINDS: [(&str, u16); 0] = [];

/// The counting sockets of one interface.
#[derive(Debug)]
struct Counters {
    discovers: PacketSocket,
    requests: PacketSocket,
    kinds: Vec<PacketSocket>,
}

impl Counters {
    /// Begins to count on the interface with this index.
    fn open(index: u32) -> Result<Self, SyscallError> {
        let open = |program: &FilterProgram, protocol| {
            let mut options = SocketConfig::new(index, program);
            options.protocol = protocol;
            let socket = options.open()?;
            // The kernel counts what passes the filter even when nothing is ever read.
            socket.count_only().map(|()| socket)
        };
        let mut kinds = Vec::new();
        for (name, protocol) in KINDS {
            kinds.push(open(&counted(name == "STP"), protocol)?);
        }
        Ok(Self {
            discovers: open(&dhcp_requests(true), ETH_P_ALL)?,
            requests: open(&dhcp_requests(false), ETH_P_ALL)?,
            kinds,
        })
    }

    /// Returns the counts of requests since the last call.
    fn requests(&self) -> RequestCounts {
        RequestCounts {
            discovers: count(&self.discovers),
            requests: count(&self.requests),
        }
    }

    fn kinds(&self) -> [u32; KINDS.len()] {
        let mut counts = [0; KINDS.len()];
        for (to, socket) in counts.iter_mut().zip(&self.kinds) {
            *to = count(socket);
        }
        counts
    }
}

fn count(socket: &PacketSocket) -> u32 {
    let statistics = socket.statistics();
    // Without counts the client takes itself to be alone.
    let packets = statistics.map_or(0, |Statistics { packets, .. }| packets);
    u32::try_from(packets).unwrap_or(u32::MAX)
}

/// Puts `next` in the place of what is prepared, and returns that; `next`, once that is too late.
fn exchange(preparation: &Mutex<Preparation>, next: Preparation) -> Preparation {
    let mut preparation = preparation.lock().unwrap_or_else(PoisonError::into_inner);
    if let Preparation::Late = *preparation {
        return next;
    }
    mem::replace(&mut preparation, next)
}

/// Closes sockets; where that takes long, where nobody waits for it.
pub(super) fn close(sockets: Box<dyn Send>) {
    let mut sockets = Some(sockets);
    if rcu::expedited(|| drop(sockets.take())).is_err() {
        thread::spawn(move || drop(sockets));
    }
}
