//! Modelled servers: DHCP with a finite queue and a limited rate, and ProxyDHCP.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use wireboot_proto::packet::dhcp::{CLIENT_PORT, Message, MessageType, Op, SERVER_PORT};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::packet::option::{Options, code};
use wireboot_proto::time::Instant;

/// What a server offers, and how fast.
#[derive(Debug, Clone)]
pub struct Service {
    pub address: Ipv4Addr,
    /// The first address it grants; none for a ProxyDHCP server.
    pub first_address: Option<Ipv4Addr>,
    pub boot_file: Option<&'static str>,
    pub lease_time: Duration,
    pub answers_per_second: u64,
    /// Requests that wait; what comes when it is full is lost, as with a socket's buffer.
    pub queue_len: usize,
    /// When it hears and answers.
    pub runs: std::ops::Range<Instant>,
    /// When it neither hears nor answers, and forgets nothing.
    pub is_silent: std::ops::Range<Instant>,
    /// Refuses this many requests before it grants one.
    pub refusals: u32,
    /// How long each answer takes, beside the others.
    pub latency: Duration,
    /// Does not answer a REQUEST that extends a lease.
    pub never_renews: bool,
    /// Never answers a REQUEST.
    pub never_confirms: bool,
    /// Goes before each of its offers with this many of servers that do not exist, always others, each
    /// with a boot file.
    pub bogus_offers: u32,
}

impl Service {
    /// A server at `address` that grants what is asked for, at once.
    pub fn dhcp(address: Ipv4Addr) -> Self {
        Self {
            address,
            first_address: Some(Ipv4Addr::from(u32::from(address) + 1000)),
            boot_file: None,
            lease_time: Duration::from_secs(3600),
            answers_per_second: 100_000,
            // The kernel's usual buffer of 208 KiB holds about as many.
            queue_len: 256,
            runs: Instant::ZERO..Instant::from_millis(u64::MAX),
            is_silent: Instant::ZERO..Instant::ZERO,
            refusals: 0,
            latency: Duration::ZERO,
            never_confirms: false,
            never_renews: false,
            bogus_offers: 0,
        }
    }

    /// A server that names a boot file and grants no address.
    pub fn proxy(address: Ipv4Addr, boot_file: &'static str) -> Self {
        Self {
            first_address: None,
            boot_file: Some(boot_file),
            ..Self::dhcp(address)
        }
    }
}

pub struct Server {
    pub service: Service,
    pub leases: BTreeMap<MacAddress, Ipv4Addr>,
    /// Requests that found the queue full.
    pub overflows: u64,
    pub answered: u64,
    bogus: u32,
    queue: VecDeque<(u64, Message)>,
    /// When the answer before was ready, in microseconds.
    free_at_us: u64,
    /// Frames, and when each is to be sent.
    outgoing: VecDeque<(Instant, Vec<u8>)>,
    now: Instant,
}

impl Server {
    pub fn new(service: Service) -> Self {
        Self {
            service,
            leases: BTreeMap::new(),
            overflows: 0,
            answered: 0,
            bogus: 0,
            queue: VecDeque::new(),
            free_at_us: 0,
            outgoing: VecDeque::new(),
            now: Instant::ZERO,
        }
    }

    pub fn mac(&self) -> MacAddress {
        mac_of(self.service.address)
    }

    pub fn handle_frame(&mut self, frame: &[u8], now: Instant) {
        self.now = now;
        if !self.service.runs.contains(&now) {
            self.queue.clear();
            self.leases.clear();
            return;
        }
        if self.service.is_silent.contains(&now) {
            return;
        }
        let Ok((_, datagram)) = Datagram::decode_frame(frame, true) else {
            return;
        };
        let Ok(message) = Message::decode(datagram.payload) else {
            return;
        };
        if message.op != Op::BootRequest || datagram.destination.port() != SERVER_PORT {
            return;
        }
        if self.queue.len() >= self.service.queue_len {
            self.overflows += 1;
            return;
        }
        self.queue.push_back((now.as_millis() * 1000, message));
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let now_us = now.as_millis() * 1000;
        while let Some(ready_at_us) = self.ready_at_us()
            && ready_at_us <= now_us
        {
            self.free_at_us = ready_at_us;
            if let Some((_, message)) = self.queue.pop_front() {
                self.answer(&message);
            }
        }
    }

    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        let (at, _) = self.outgoing.front()?;
        let is_due = *at <= self.now;
        let (_, frame) = is_due.then(|| self.outgoing.pop_front())??;
        Some(frame)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let ready_at = self
            .ready_at_us()
            .map(|at| Instant::from_millis(at.div_ceil(1000)));
        let send_at = self.outgoing.front().map(|(at, _)| *at);
        ready_at.into_iter().chain(send_at).min()
    }

    fn ready_at_us(&self) -> Option<u64> {
        let (came_at_us, _) = self.queue.front()?;
        Some(self.free_at_us.max(*came_at_us) + 1_000_000 / self.service.answers_per_second)
    }

    fn answer(&mut self, request: &Message) {
        let asked = |code| request.options.address(code);
        let is_other = |server| server != self.service.address;
        match request.message_type() {
            Some(MessageType::Discover) => {
                let address = self.address_for(request.chaddr);
                let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
                for _ in 0..self.service.bogus_offers {
                    self.bogus += 1;
                    let good = self.service.clone();
                    self.service.address = Ipv4Addr::from(0x0b00_0000 + self.bogus);
                    self.service.boot_file = Some("bogus");
                    self.reply(request, MessageType::Offer, address);
                    self.service = good;
                }
                self.reply(request, MessageType::Offer, address);
            }
            Some(MessageType::Request)
                if self.service.first_address.is_some() && !self.service.never_confirms =>
            {
                let extends = !request.ciaddr.is_unspecified();
                if asked(code::SERVER_IDENTIFIER).is_some_and(is_other)
                    || (extends && self.service.never_renews)
                {
                    return;
                }
                let wanted = asked(code::REQUESTED_ADDRESS).unwrap_or(request.ciaddr);
                if self.service.refusals > 0 || self.address_for(request.chaddr) != Some(wanted) {
                    self.service.refusals = self.service.refusals.saturating_sub(1);
                    self.reply(request, MessageType::Nak, Ipv4Addr::UNSPECIFIED);
                } else {
                    self.reply(request, MessageType::Ack, wanted);
                }
            }
            Some(MessageType::Decline | MessageType::Release) => {
                self.leases.remove(&request.chaddr);
            }
            Some(
                MessageType::Request
                | MessageType::Offer
                | MessageType::Ack
                | MessageType::Nak
                | MessageType::Inform,
            )
            | None => {}
        }
    }

    fn address_for(&mut self, chaddr: MacAddress) -> Option<Ipv4Addr> {
        let first = u32::from(self.service.first_address?);
        let next = u32::try_from(self.leases.len()).expect("few leases");
        let address = self.leases.entry(chaddr);
        Some(*address.or_insert(Ipv4Addr::from(first + next)))
    }

    fn reply(&mut self, request: &Message, message_type: MessageType, yiaddr: Ipv4Addr) {
        self.answered += 1;
        let mut options = Options::default();
        options.set(code::MESSAGE_TYPE, [u8::from(message_type)]);
        options.set(code::SERVER_IDENTIFIER, self.service.address.octets());
        if self.service.first_address.is_none() {
            options.set(code::VENDOR_CLASS, *b"PXEClient");
        } else if message_type != MessageType::Nak {
            let seconds = u32::try_from(self.service.lease_time.as_secs()).expect("a lease");
            options.set(code::LEASE_TIME, seconds.to_be_bytes());
            options.set(code::SUBNET_MASK, [255, 0, 0, 0]);
        }
        let message = Message {
            op: Op::BootReply,
            secs: 0,
            yiaddr,
            sname: Vec::new(),
            file: self.service.boot_file.unwrap_or_default().into(),
            options,
            ..request.clone()
        };
        let mut payload = Vec::new();
        message.encode(&mut payload).expect("a short message");
        let (mac, to) = match message_type == MessageType::Nak {
            // RFC 2131 §4.1: the client may not have the address it asks for.
            true => (MacAddress::BROADCAST, Ipv4Addr::BROADCAST),
            false => (request.chaddr, yiaddr),
        };
        let datagram = Datagram {
            source: SocketAddrV4::new(self.service.address, SERVER_PORT),
            destination: SocketAddrV4::new(to, CLIENT_PORT),
            payload: &payload,
        };
        let frame = datagram
            .encode_frame(self.mac(), mac)
            .expect("a short message");
        self.outgoing
            .push_back((self.now + self.service.latency, frame));
    }
}

/// The hardware address of the server at `address`.
pub fn mac_of(address: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = address.octets();
    MacAddress([2, 0, a, b, c, d])
}
