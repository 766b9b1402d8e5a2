//! A UDP socket that waits in few calls to the kernel, and hands over all that has come at once.
//!
//! While a window comes it sleeps: to be woken by each packet costs the receiver, and a sender on the
//! same machine, more than the packet itself.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::pace::Pace;
use crate::fetch::address::is_gone;
use crate::fetch::{Failure, Fetcher, bind_to, other};
use crate::sys;
use wireboot_proto::packet::tftp::DATA_HEADER_LEN;
use wireboot_proto::tftp::Terms;
use wireboot_proto::time::Instant;

/// Room for several windows, so that a busy machine loses none.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Room for a block where the server takes no option, and for what it says of an error.
const LEAST_ROOM: u16 = 512;
/// The most octets of datagrams that are handed over at once.
const MAX_BATCH_LEN: usize = 512 << 10;

pub(super) struct Socket {
    udp: UdpSocket,
    /// The address that the kernel sends from; none where it knew no route.
    local: Option<SocketAddr>,
    /// How long the kernel waits for a datagram, as it was told.
    wait_time: Duration,
    /// So many waits from now are exact.
    exact: u32,
    pace: Pace,
    /// Room for datagrams, one beside the other.
    room: Vec<u8>,
    datagram_len: usize,
    /// The source and length of what is in that room.
    come: Vec<(SocketAddr, usize)>,
}

/// The kernel waits for a datagram in ticks, mostly of 4 ms; `poll` is exact and one call more. After
/// a wait in vain, which is the sign of losses, so many waits are exact.
const EXACT_AFTER_LOSS: u32 = 4000;
/// When the kernel itself waits, it may be for longer than was asked for.
const SHORTEST_WAIT: Duration = Duration::from_millis(4);
/// So long the kernel is not left to wait by itself, since it would go on to wait so long.
const EXACT_ABOVE: Duration = Duration::from_millis(50);

impl Socket {
    /// Opens a socket for what `server` may send on a request for `terms`.
    pub(super) fn open(
        fetcher: &Fetcher,
        server: SocketAddr,
        terms: &Terms,
    ) -> Result<Self, Failure> {
        let udp = open(fetcher, server).map_err(other)?;
        // Who may not have more than others are allowed gets that.
        let _ = setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&udp, sockopt::RcvBuf, &RECEIVE_BUFFER));
        // One octet more than fits shows what does not.
        let datagram_len = usize::from(terms.block_len.max(LEAST_ROOM) + DATA_HEADER_LEN) + 1;
        let batch = (MAX_BATCH_LEN / datagram_len).clamp(1, terms.window.into());
        let route = connected(fetcher, server);
        Ok(Self {
            udp,
            local: route.and_then(|udp| udp.local_addr()).ok(),
            wait_time: Duration::ZERO,
            exact: 0,
            pace: Pace::default(),
            room: vec![0; batch * datagram_len],
            datagram_len,
            come: Vec::with_capacity(batch),
        })
    }

    /// Returns whether the address that the server answers to is no longer this machine's.
    pub(super) fn has_lost_address(&self, fetcher: &Fetcher) -> bool {
        self.local.map_or_else(|| !fetcher.has_address(), is_gone)
    }

    pub(super) fn send(&self, octets: &[u8], destination: SocketAddr) -> io::Result<()> {
        self.udp.send_to(octets, destination).map(drop)
    }

    /// Waits for datagrams until about `deadline`, and takes those that have come, up to the `due` that
    /// are said to be under way. Returns false when none has: that time has come, or may have. It was
    /// `now` a moment ago.
    pub(super) fn receive(
        &mut self,
        due: u16,
        deadline: Option<Instant>,
        now: Instant,
    ) -> io::Result<bool> {
        self.come.clear();
        let due = usize::from(due.max(1)).min(self.room.len() / self.datagram_len);
        match self.pace.nap(due) {
            Some(nap) => {
                let slept = sleep(nap);
                self.take_all(due)?;
                self.pace.learn(slept, due, self.come.len());
            }
            None if !self.wait(deadline, now)? => self.exact = EXACT_AFTER_LOSS,
            None if !self.take()? => self.exact = EXACT_AFTER_LOSS,
            None => self.pace.goes_on(),
        }
        Ok(!self.come.is_empty())
    }

    /// Returns what the last call of [`Socket::receive`] has brought.
    pub(super) fn come(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let rooms = self.room.chunks_exact(self.datagram_len);
        let filled = rooms.zip(&self.come);
        filled.map(|(room, (source, len))| (*source, room.get(..*len).unwrap_or_default()))
    }

    /// Waits until something has come or `deadline` is there, or leaves waiting to the kernel; returns
    /// false when nothing has come.
    fn wait(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<bool> {
        let left = deadline.map_or(Duration::MAX, |at| at.since(now));
        if self.exact > 0 || left > EXACT_ABOVE {
            self.exact = self.exact.saturating_sub(1);
            let ready = sys::wait_readable(&[self.udp.as_fd()], deadline);
            return Ok(ready.map_err(|error| error.source)?.contains(&true));
        } else if left > self.wait_time {
            self.wait_time = left.max(SHORTEST_WAIT);
            self.udp.set_read_timeout(Some(self.wait_time))?;
        }
        Ok(true)
    }

    /// Takes one datagram, and waits for it as long as the kernel has been told to; returns false when
    /// there was none.
    fn take(&mut self) -> io::Result<bool> {
        let at = self.come.len() * self.datagram_len;
        let room = self.room.get_mut(at..at + self.datagram_len);
        match self.udp.recv_from(room.unwrap_or_default()) {
            Ok((len, source)) => {
                self.come.push((source, len));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the `due` datagrams, as far as they have come.
    fn take_all(&mut self, due: usize) -> io::Result<()> {
        self.udp.set_nonblocking(true)?;
        let mut taken = Ok(true);
        while self.come.len() < due && matches!(taken, Ok(true)) {
            taken = self.take();
        }
        self.udp.set_nonblocking(false)?;
        taken.map(drop)
    }
}

/// Opens a socket for packets to and from `server`.
fn open(fetcher: &Fetcher, server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let udp = UdpSocket::bind(any)?;
    bind_to(&udp, fetcher.interface.as_deref()).map_err(io::Error::other)?;
    Ok(udp)
}

/// Opens a socket that the kernel has found the way to `server` for.
pub(super) fn connected(fetcher: &Fetcher, server: SocketAddr) -> io::Result<UdpSocket> {
    let udp = open(fetcher, server)?;
    udp.connect(server).map(|()| udp)
}

/// Returns for how long it really was.
fn sleep(time: Duration) -> Duration {
    let before = sys::up_time();
    std::thread::sleep(time);
    sys::up_time().saturating_sub(before)
}
