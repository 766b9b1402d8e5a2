//! Drives [`wireboot_proto::tftp::Get`] over UDP: a new socket for each request, with other options
//! until one works.
//!
//! The socket waits with few system calls, and returns all datagrams that have arrived at once. It sleeps
//! while a window arrives: waking up for each packet costs the receiver, and a sender on the same machine,
//! more than the packet itself.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::access::{ServerAccess, is_gone};
use super::download::Attempt;
use super::failure::{Failure, no_address, other, text_of};
use super::rotation::FIRST_PATIENCE;
use super::sink::Sink;
use crate::sys;
use wireboot_proto::packet::tftp::{DATA_HEADER_LEN, ErrorCode};
use wireboot_proto::text::url::Url;
use wireboot_proto::tftp::{ByteRanges, Config, Event, Failure as TransferFailure, Get, Terms};
use wireboot_proto::time::Instant;

/// The MTU of Ethernet, for when the kernel knows no route.
const ETHERNET_MTU: u16 = 1500;
/// How long all addresses of a server together may be silent: with 5 s for each, 48 would take four
/// minutes.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(30);
/// How many requests in a row may bring nothing new: at 50 % loss of a last block, 8 fail in 1 of
/// 256 cases.
const MAX_FRUITLESS: u32 = 8;

/// Fetches the file into `sink`, which is empty, from the first address of the server that answers.
pub(super) fn get(attempt: &Attempt<'_>, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let servers = attempt.access.resolve(attempt.url, attempt.patience);
    let mut servers = servers.map_err(Failure::Passing)?.into_iter();
    let mut failure = no_address(attempt.url);
    let deadline = sys::now() + ADDRESSES_TIMEOUT;
    // Each has its part of the time for all of them.
    let part = ADDRESSES_TIMEOUT / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
    let is_alone = servers.len() == 1;
    while let Some(server) = servers.next() {
        let left = deadline.since(sys::now());
        let patience = match servers.len() {
            _ if is_alone => attempt.patience,
            0 => attempt.patience.min(left),
            _ => attempt.patience.min(FIRST_PATIENCE).min(part).min(left),
        };
        if patience.is_zero() {
            break;
        }
        match get_from(attempt, server, patience, sink) {
            Err(AddressFailure::NoAnswer(why)) => failure = silent(attempt, why),
            Err(AddressFailure::Final(why)) => return Err(why),
            Ok(()) => return Ok(()),
        }
    }
    Err(failure)
}

/// The failure of one address, by whether another address of the server may answer.
enum AddressFailure {
    NoAnswer(TransferFailure),
    Final(Failure),
}

impl From<Failure> for AddressFailure {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Returns a final failure when the server was silent for the whole stall timeout; a temporary one
/// when it had less time.
fn silent(attempt: &Attempt<'_>, failure: TransferFailure) -> Failure {
    if attempt.patience < attempt.stall_timeout {
        Failure::Passing(text_of(&failure))
    } else {
        Failure::Other(text_of(&failure))
    }
}

fn get_from(
    attempt: &Attempt<'_>,
    server: SocketAddr,
    patience: Duration,
    sink: &mut Sink<'_>,
) -> Result<(), AddressFailure> {
    let (access, url) = (attempt.access, attempt.url);
    let mut config = Config {
        server,
        file: url.tftp_file().to_owned(),
        terms: Terms::best(path_mtu(access, server), &server),
        stall_timeout: patience,
        speed: attempt.speed,
        max_len: attempt.max_len,
        received: ByteRanges::default(),
        expected_len: None,
        last_received_at: None,
        rate: None,
    };
    let mut fruitless = 0;
    loop {
        let before = config.received.count();
        let (rest, end) = transfer(access, config, sink)?;
        config = rest;
        let failure = match end {
            TftpEnd::Done => return Ok(()),
            // The server identifies a transfer by our address too (RFC 1350 §4), so a new request
            // fetches the rest.
            TftpEnd::AddressLost if access.await_address() => {
                say_again(url, &"the address has changed", &config);
                continue;
            }
            TftpEnd::AddressLost => {
                let why = "the local address is gone";
                return Err(Failure::Passing(why.into()).into());
            }
            TftpEnd::Failed(failure) => failure,
        };
        fruitless = if config.received.count() > before {
            0
        } else {
            fruitless + 1
        };
        let next = config.terms.after(&failure);
        let Some(terms) = next.filter(|_| fruitless < MAX_FRUITLESS) else {
            return Err(if is_missing(&failure) {
                Failure::Missing(text_of(&failure)).into()
            } else if matches!(failure, TransferFailure::NoAnswer { .. }) {
                AddressFailure::NoAnswer(failure)
            } else if matches!(failure, TransferFailure::Stalled { .. }) {
                silent(attempt, failure).into()
            } else if matches!(failure, TransferFailure::TooSlow { .. }) {
                Failure::Passing(text_of(&failure)).into()
            } else {
                Failure::Other(text_of(&failure)).into()
            });
        };
        if let TransferFailure::Holes { .. } = failure {
            say_again(url, &failure, &config);
        } else {
            log::debug!("{url}: {failure}; asking again with {terms}");
        }
        config.terms = terms;
    }
}

/// Tells people why the progress stands still: a server sends all of a file again, since no TFTP
/// option begins in the middle of one.
fn say_again(url: &Url, why: &dyn Display, config: &Config) {
    let received = config.received.count();
    log::info!("{url}: {why}; asking again for the file, of which {received} bytes are here");
}

/// Returns the largest packet to ask the server for. The MTU is mostly the same in both directions,
/// so the route to the server decides; where it is not, large blocks do not arrive, and smaller
/// ones are requested.
fn path_mtu(access: &ServerAccess, server: SocketAddr) -> u16 {
    let by_route = || {
        let udp = connected(access, server).ok()?;
        sys::udp::path_mtu(&udp, &server).ok()
    };
    access.path_mtu.or_else(by_route).unwrap_or(ETHERNET_MTU)
}

const fn is_missing(failure: &TransferFailure) -> bool {
    matches!(
        failure,
        TransferFailure::Refused {
            code: ErrorCode::FILE_NOT_FOUND,
            ..
        }
    )
}

/// The end of one request.
enum TftpEnd {
    /// The file is complete.
    Done,
    /// The local address has been removed.
    AddressLost,
    Failed(TransferFailure),
}

/// Runs one request to its end, with the received bytes in `sink`; returns the configuration for a
/// request that continues.
fn transfer(
    access: &ServerAccess,
    config: Config,
    sink: &mut Sink<'_>,
) -> Result<(Config, TftpEnd), Failure> {
    // A new port is a new transfer identifier (RFC 1350 §4): late packets of the last one are
    // strangers.
    let mut socket = Socket::open(access, config.server, &config.terms)?;
    let now = sys::now();
    let mut get = Get::new(config, now);
    let end = exchange(access, &mut socket, &mut get, sink, now)?;
    Ok((get.into_config(), end))
}

fn exchange(
    access: &ServerAccess,
    socket: &mut Socket,
    get: &mut Get,
    sink: &mut Sink<'_>,
    mut now: Instant,
) -> Result<TftpEnd, Failure> {
    let mut outgoing = Vec::new();
    let mut write_error: Option<io::Error> = None;
    loop {
        transmit(socket, get, &mut outgoing);
        // The ERROR packet to the server has been sent by now.
        if let Some(error) = write_error {
            return Err(other(error));
        }
        while let Some(event) = get.poll_event() {
            match event {
                Event::Started { server, len, terms } => {
                    let tsize = len.map_or_else(|| "unknown".to_owned(), |len| len.to_string());
                    log::debug!("{server}: {terms}, tsize {tsize}");
                    if let Err(error) = sink.expect(len) {
                        get.abort("no room");
                        write_error = Some(error);
                    }
                }
                Event::Done => return Ok(TftpEnd::Done),
                Event::Failed(failure) => return Ok(TftpEnd::Failed(failure)),
            }
        }
        if write_error.is_some() {
            continue;
        }
        let received = socket.receive(get.packets_under_way(), get.poll_timeout(), now);
        // Read once for each batch: reading the clock costs a tenth of what a packet does.
        now = sys::now();
        let mut chunks = Vec::new();
        match received {
            Ok(false) if socket.has_lost_address(access) => return Ok(TftpEnd::AddressLost),
            Ok(_) => {}
            // An ICMP error about an earlier datagram; the timeouts decide.
            Err(error) => log::debug!("receiving: {error}"),
        }
        // Acknowledged before writing, so that the server sends meanwhile.
        for (source, payload) in socket.received() {
            match get.handle_input(source, payload, now) {
                Ok(chunk) => chunks.push(chunk),
                Err(discard) => log::trace!("{source}: {discard}"),
            }
            transmit(socket, get, &mut outgoing);
        }
        for chunk in chunks {
            if let Err(error) = sink.write_at(chunk.at, chunk.bytes) {
                get.abort("no room");
                write_error = Some(error);
                break;
            }
        }
        // Also while packets arrive, since they may all be discarded.
        if get.poll_timeout().is_some_and(|at| now >= at) {
            get.handle_timeout(now);
        }
        sink.show(now);
    }
}

/// Sends all packets that are due.
fn transmit(socket: &Socket, get: &mut Get, outgoing: &mut Vec<u8>) {
    while let Some(transmit) = get.poll_transmit(outgoing) {
        // Treated like a lost datagram, which is repeated in time.
        if let Err(error) = socket.send(outgoing, transmit.destination) {
            log::debug!("sending to {}: {error}", transmit.destination);
        }
    }
}

/// Receive buffer of the kernel: nearly three windows of 367 KiB, so that a busy machine loses no
/// packet.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Room for a block of a server without options, or for an error message.
const LEAST_ROOM: u16 = 512;
/// The largest batch of datagrams, in bytes: one window of 367 KiB fits.
const MAX_BATCH_LEN: usize = 512 << 10;

struct Socket {
    udp: UdpSocket,
    /// The local address by the kernel's route; none without a route.
    local: Option<SocketAddr>,
    /// The read timeout set on the socket.
    wait_time: Duration,
    /// Number of further waits that use `poll`.
    exact: u32,
    pace: PacketPace,
    /// Slots for datagrams, side by side.
    buffer: Vec<u8>,
    datagram_len: usize,
    /// Source and length of the datagrams in these slots.
    received: Vec<(SocketAddr, usize)>,
}

/// SO_RCVTIMEO is counted in ticks, mostly of 4 ms; `poll` is exact but one more call. After a
/// timeout, which means losses, this number of waits uses `poll`.
const EXACT_AFTER_LOSS: u32 = 4000;
/// The shortest read timeout, a tick of a kernel with 250 Hz.
const SHORTEST_WAIT: Duration = Duration::from_millis(4);
/// Longer waits use `poll`, since a longer read timeout would also apply to the waits after it.
const EXACT_ABOVE: Duration = Duration::from_millis(50);

impl Socket {
    /// Opens a socket with room for what `server` may send on a request with `terms`.
    fn open(access: &ServerAccess, server: SocketAddr, terms: &Terms) -> Result<Self, Failure> {
        let udp = open(access, server).map_err(other)?;
        // Without it a nap is 50 µs longer, a twentieth of what a window takes (prctl(2)).
        let _ = nix::sys::prctl::set_timerslack(1);
        // Without CAP_NET_ADMIN the limit of net.core.rmem_max applies.
        let _ = setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&udp, sockopt::RcvBuf, &RECEIVE_BUFFER));
        // One byte more shows datagrams that are too long.
        let datagram_len = usize::from(terms.block_len.max(LEAST_ROOM) + DATA_HEADER_LEN) + 1;
        let batch = (MAX_BATCH_LEN / datagram_len).clamp(1, terms.window.into());
        let route = connected(access, server);
        Ok(Self {
            udp,
            local: route.and_then(|udp| udp.local_addr()).ok(),
            wait_time: Duration::ZERO,
            exact: 0,
            pace: PacketPace::default(),
            buffer: vec![0; batch * datagram_len],
            datagram_len,
            received: Vec::with_capacity(batch),
        })
    }

    /// Returns whether this machine has lost the address that the server answers to.
    fn has_lost_address(&self, access: &ServerAccess) -> bool {
        self.local.map_or_else(|| !access.has_address(), is_gone)
    }

    fn send(&self, bytes: &[u8], destination: SocketAddr) -> io::Result<()> {
        self.udp.send_to(bytes, destination).map(drop)
    }

    /// Waits for datagrams until about `deadline` and reads those that have arrived, up to the
    /// `due` that are expected. Returns false when none has, at the deadline or a little earlier.
    /// `now` is the time of the last clock reading.
    fn receive(&mut self, due: u16, deadline: Option<Instant>, now: Instant) -> io::Result<bool> {
        self.received.clear();
        let due = usize::from(due.max(1)).min(self.buffer.len() / self.datagram_len);
        match self.pace.nap(due) {
            Some(nap) => {
                let slept = sleep(nap);
                self.receive_ready(due)?;
                self.pace.note_nap(nap, slept);
                self.pace.learn(slept, due, self.received.len());
            }
            None if !self.wait(deadline, now)? => self.exact = EXACT_AFTER_LOSS,
            None if !self.receive_one()? => self.exact = EXACT_AFTER_LOSS,
            None => self.pace.note_single(),
        }
        Ok(!self.received.is_empty())
    }

    /// Returns the datagrams of the last call of [`Socket::receive`].
    fn received(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let slots = self.buffer.chunks_exact(self.datagram_len);
        let filled = slots.zip(&self.received);
        filled.map(|(slot, (source, len))| (*source, slot.get(..*len).unwrap_or_default()))
    }

    /// Waits until a datagram has arrived or `deadline` is reached, or leaves waiting to the read
    /// timeout; returns false at the deadline.
    fn wait(&mut self, deadline: Option<Instant>, now: Instant) -> io::Result<bool> {
        let left = deadline.map_or(Duration::MAX, |at| at.since(now));
        if self.exact > 0 || left > EXACT_ABOVE {
            self.exact = self.exact.saturating_sub(1);
            let ready = sys::wait_readable(&[self.udp.as_fd()], deadline);
            return Ok(ready
                .map_err(sys::SyscallError::into_source)?
                .contains(&true));
        } else if left > self.wait_time {
            self.wait_time = left.max(SHORTEST_WAIT);
            self.udp.set_read_timeout(Some(self.wait_time))?;
        }
        Ok(true)
    }

    /// Reads one datagram, waiting up to the read timeout; returns false when there was none.
    fn receive_one(&mut self) -> io::Result<bool> {
        let at = self.received.len() * self.datagram_len;
        let slot = self.buffer.get_mut(at..at + self.datagram_len);
        match self.udp.recv_from(slot.unwrap_or_default()) {
            Ok((len, source)) => {
                self.received.push((source, len));
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads up to `due` datagrams that have already arrived.
    fn receive_ready(&mut self, due: usize) -> io::Result<()> {
        // MSG_DONTWAIT would do, but the standard library passes no flags.
        self.udp.set_nonblocking(true)?;
        let mut taken = Ok(true);
        // recvmmsg saves nothing that can be measured for a window, and costs more for a single
        // packet.
        while self.received.len() < due && matches!(taken, Ok(true)) {
            taken = self.receive_one();
        }
        self.udp.set_nonblocking(false)?;
        taken.map(drop)
    }
}

/// Opens a socket for packets to and from `server`.
fn open(access: &ServerAccess, server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let udp = UdpSocket::bind(any)?;
    sys::udp::bind_to(&udp, access.interface.as_deref()).map_err(io::Error::other)?;
    Ok(udp)
}

/// Opens a socket that is connected to `server`, so that the kernel has looked up the route.
fn connected(access: &ServerAccess, server: SocketAddr) -> io::Result<UdpSocket> {
    let udp = open(access, server)?;
    udp.connect(server).map(|()| udp)
}

/// Sleeps, and returns for how long it really was.
fn sleep(time: Duration) -> Duration {
    let before = sys::up_time();
    std::thread::sleep(time);
    sys::up_time().saturating_sub(before)
}

/// Shorter naps do not pay: a call takes some microseconds, and timers have 50 µs of slack
/// (prctl(2)).
const SHORTEST: Duration = Duration::from_micros(20);
/// Longer naps would delay the timers of the transfer, half a millisecond and more.
const LONGEST: Duration = Duration::from_millis(1);

/// A nap that ends this much later was delayed by other programs: a slice of the scheduler is 3 ms.
const LATE: Duration = Duration::from_micros(500);
/// For how many packets no nap is tried then, eight windows.
const AWAKE: u32 = 2048;

/// Estimates how far apart the packets of a window are.
///
/// Where the kernel sleeps much longer than it is asked to, naps become shorter until there are none.
#[derive(Debug)]
struct PacketPace {
    per_packet: Duration,
    /// Nothing arrived during the last nap; the next packet is waited for.
    is_stalled: bool,
    /// How many packets are waited for one by one, since the machine is busy.
    awake: u32,
}

impl Default for PacketPace {
    /// Begins faster than a gigabit, where a full packet takes 12 µs.
    fn default() -> Self {
        Self {
            per_packet: Duration::from_micros(4),
            is_stalled: false,
            awake: 0,
        }
    }
}

impl PacketPace {
    /// Returns how long to sleep when `due` packets are expected; none when few would arrive.
    fn nap(&self, due: usize) -> Option<Duration> {
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        let nap = self.per_packet.saturating_mul(due).min(LONGEST);
        let is_worth_it = nap >= SHORTEST && self.per_packet <= LONGEST / 4;
        let is_asleep = !self.is_stalled && self.awake == 0;
        (due > 1 && is_worth_it && is_asleep).then_some(nap)
    }

    /// Learns from a nap in which `arrived` of the `due` packets arrived.
    fn learn(&mut self, slept: Duration, due: usize, arrived: usize) {
        let is_all = arrived >= due;
        let arrived = u32::try_from(arrived).unwrap_or(u32::MAX);
        self.per_packet = match slept.checked_div(arrived) {
            None => (self.per_packet * 2).min(LONGEST),
            // All may have been there long before the end of the nap.
            Some(most) if is_all => self.per_packet.min(most) * 7 / 8,
            Some(apart) => apart,
        };
        self.is_stalled = arrived == 0;
    }

    /// Notes how long a nap was. Where other programs want the processor it ends late, by what the
    /// scheduler lets them run; a packet that is waited for comes with the sender's turn.
    fn note_nap(&mut self, asked: Duration, slept: Duration) {
        if slept > asked + LATE {
            self.awake = AWAKE;
        }
    }

    /// Notes a packet that was waited for; a sender that was slow may be fast again.
    fn note_single(&mut self) {
        self.is_stalled = false;
        if self.awake > 0 {
            self.awake -= 1;
            return;
        }
        self.per_packet = self.per_packet * 15 / 16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives windows of `window` packets, `apart` from each other, with a kernel that sleeps
    /// `longer` than it is asked to; returns how often it slept or waited in the last window and how
    /// late the end of that was noticed.
    fn last_window(window: usize, apart: Duration, longer: Duration) -> (usize, Duration) {
        let mut pace = PacketPace::default();
        let mut last = (0, Duration::ZERO);
        for _ in 0..100 {
            let (mut arrived, mut now, mut calls) = (1, Duration::ZERO, 1);
            while arrived < window {
                calls += 1;
                let due = window - arrived;
                let sent = |now: Duration| {
                    let sent = usize::try_from(now.as_nanos() / apart.as_nanos()).unwrap();
                    window.min(1 + sent)
                };
                match pace.nap(due) {
                    Some(nap) => {
                        let slept = nap + longer;
                        now += slept;
                        let new = sent(now) - arrived;
                        pace.learn(slept, due, new);
                        arrived += new;
                    }
                    None => {
                        now = now.max(apart * u32::try_from(arrived).unwrap());
                        arrived = sent(now);
                        pace.note_single();
                    }
                }
            }
            let end = apart * u32::try_from(window - 1).unwrap();
            last = (calls, now - end);
        }
        last
    }

    #[test]
    fn few_naps_end_about_when_a_window_does() {
        for (apart, longer) in [(4, 0), (4, 60), (12, 60), (120, 60), (1200, 60)] {
            let [apart, longer] = [apart, longer].map(Duration::from_micros);
            for window in [64, 256] {
                let (calls, late) = last_window(window, apart, longer);
                let whole = apart * u32::try_from(window).unwrap();
                assert!(late <= whole / 4 + longer, "{apart:?} {window}: {late:?}");
                let expected = 16 + usize::try_from(whole.as_millis()).unwrap() * 2;
                // Where packets are further apart than a nap is long, few naps are in vain.
                let most = expected.min(window * 9 / 8);
                assert!(calls <= most, "{apart:?} {window}: {calls}");
            }
        }
    }

    #[test]
    fn a_sender_that_was_held_up_is_slept_for_again() {
        let mut pace = PacketPace::default();
        (0..20).for_each(|_| pace.learn(LONGEST, 255, 0));
        pace.note_single();
        assert_eq!(pace.nap(255), None);
        (0..30).for_each(|_| pace.note_single());
        assert_eq!(pace.nap(255), Some(LONGEST));
        pace.learn(LONGEST, 255, 255);
        assert!(pace.nap(255).unwrap() < LONGEST);
    }

    #[test]
    fn where_a_nap_ends_late_packets_are_waited_for_one_by_one_for_a_while() {
        let mut pace = PacketPace::default();
        let nap = pace.nap(255).unwrap();
        pace.note_nap(nap, nap + LATE);
        assert_eq!(pace.nap(255), Some(nap));
        pace.note_nap(nap, Duration::from_millis(4));
        for _ in 0..AWAKE {
            assert_eq!(pace.nap(255), None);
            pace.note_single();
        }
        assert_eq!(pace.nap(255), Some(nap));
    }

    #[test]
    fn a_kernel_that_sleeps_in_ticks_is_not_asked_to() {
        let (apart, tick) = (Duration::from_micros(4), Duration::from_millis(4));
        let (_, late) = last_window(64, apart, tick);
        assert_eq!(late, Duration::ZERO);
    }
}
