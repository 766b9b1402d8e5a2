//! A model of a server, and of a link between it and the machine that loses packets.

use alloc::collections::VecDeque;

use super::*;

/// A path of the server's packets with a rate and a queue, as a token bucket has it.
pub(super) struct Path {
    /// How long a full packet takes.
    per_packet: Duration,
    /// How many packets wait at most; more are lost.
    queue_len: usize,
    /// How many packets pass at once when none has passed for long.
    bucket: u32,
    /// When the packets sent so far have passed.
    free_at: Instant,
    /// When the packets under way arrive.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    /// Packets lost at the queue.
    pub(super) overflowed: usize,
}

impl Path {
    pub(super) fn new(per_packet: Duration, queue_len: usize, bucket: u32) -> Self {
        Self {
            per_packet,
            queue_len,
            bucket,
            free_at: Instant::ZERO,
            under_way: VecDeque::new(),
            overflowed: 0,
        }
    }

    /// Sends packets, which arrive a millisecond after they have passed.
    fn send(&mut self, packets: Vec<Vec<u8>>, now: Instant) {
        for packet in packets {
            let saved = self.per_packet * self.bucket;
            let waiting = self.free_at.since(now).as_nanos() / self.per_packet.as_nanos();
            if waiting >= self.queue_len as u128 {
                self.overflowed += 1;
                continue;
            }
            let earliest = Instant::ZERO + now.since(Instant::ZERO + saved);
            let full = u32::try_from(1468 + 4).unwrap();
            let len = u32::try_from(packet.len()).unwrap();
            self.free_at = self.free_at.max(earliest) + self.per_packet * len / full;
            let passed_at = self.free_at.max(now);
            let arrives_at = passed_at + Duration::from_millis(1);
            self.under_way.push_back((arrives_at, packet));
        }
    }
}

/// Machine and server with a millisecond between them.
pub(super) struct Link {
    pub(super) server: Server,
    pub(super) terms: Terms,
    pub(super) have: ByteRanges,
    pub(super) last_received_at: Option<Instant>,
    pub(super) max_len: u64,
    pub(super) loss_percent: u64,
    /// A path that is slower than the server; none where packets only take their millisecond.
    pub(super) path: Option<Path>,
    /// Acknowledgments sent.
    pub(super) acknowledgments: usize,
    pub(super) random: Random,
    pub(super) now: Instant,
    pub(super) get: Option<Get>,
    pub(super) received: Vec<u8>,
}

impl Link {
    pub(super) fn new(len: usize) -> Self {
        Self {
            server: Server::new(len),
            terms: Terms::best(1500, &address(REQUESTS_TO)),
            have: ByteRanges::default(),
            last_received_at: None,
            max_len: u64::MAX,
            loss_percent: 0,
            path: None,
            acknowledgments: 0,
            random: Random::new(9),
            now: Instant::ZERO,
            get: None,
            received: Vec::new(),
        }
    }

    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let (mut get, _) = fresh();
        get.config.terms = self.terms;
        get.config.received = self.have.clone();
        get.config.max_len = self.max_len;
        get.config.last_received_at = self.last_received_at;
        let mut get = Get::new(get.config, self.now);
        let result = self.exchange(&mut get);
        self.have = get.config.received.clone();
        self.last_received_at = get.config.last_received_at;
        self.get = Some(get);
        result
    }

    fn exchange(&mut self, get: &mut Get) -> Result<(), Failure> {
        let mut packet = Vec::new();
        for _ in 0..5_000_000 {
            while get.poll_transmit(&mut packet).is_some() {
                self.acknowledgments += usize::from(packet.starts_with(&[0, 4]));
                if !self.is_lost() {
                    self.server.now = self.now;
                    self.server.handle(&packet);
                }
            }
            let sent = core::mem::take(&mut self.server.outgoing);
            if let Some(path) = &mut self.path {
                path.send(sent, self.now);
            } else {
                self.server.outgoing = sent;
            }
            while let Some(event) = get.poll_event() {
                match event {
                    Event::Started { .. } => {}
                    Event::Done => return Ok(()),
                    Event::Failed(failure) => return Err(failure),
                }
            }
            let arrived = self.arrived(get.poll_timeout().unwrap());
            if let Some(packet) = arrived {
                if !self.is_lost()
                    && let Ok(piece) = get.handle_input(address(TRANSFER), &packet, self.now)
                {
                    let at = usize::try_from(piece.at).unwrap();
                    let end = at + piece.bytes.len();
                    self.received.resize(self.received.len().max(end), 0);
                    self.received[at..end].copy_from_slice(piece.bytes);
                }
            } else {
                let deadline = get.poll_timeout().unwrap();
                match self.server.repeats_at() {
                    Some(at) if at < deadline => {
                        self.now = self.now.max(at);
                        self.server.now = self.now;
                        self.server.send_window();
                    }
                    _ => {
                        self.now = deadline;
                        get.handle_timeout(self.now);
                        let next = get.poll_timeout();
                        assert!(next.is_none_or(|at| at > self.now) || get.due.is_some());
                    }
                }
            }
        }
        panic!("no end");
    }

    /// Returns the next packet that arrives before `deadline` and before the server repeats.
    fn arrived(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        let repeats_at = self.server.repeats_at().unwrap_or(deadline);
        if let Some(path) = &mut self.path {
            let due = |at: Instant| at <= deadline.min(repeats_at.max(self.now));
            let (at, packet) = path.under_way.pop_front_if(|(at, _)| due(*at))?;
            self.now = self.now.max(at);
            return Some(packet);
        }
        let outgoing = &mut self.server.outgoing;
        let packet = (!outgoing.is_empty()).then(|| outgoing.remove(0))?;
        if outgoing.is_empty() {
            self.now += Duration::from_millis(1);
        }
        Some(packet)
    }

    fn is_lost(&mut self) -> bool {
        self.random.next_u64() % 100 < self.loss_percent
    }
}

/// A server with windows, which goes back to the block that was acknowledged.
pub(super) struct Server {
    pub(super) file: Vec<u8>,
    pub(super) knows: &'static [&'static str],
    pub(super) after_65535: u64,
    pub(super) dies_after: Option<u64>,
    /// A server without windows that answers no second acknowledgment, and repeats by itself.
    pub(super) repeats_after: Option<Duration>,
    /// A server that sends the next block whatever is acknowledged, and nothing after the last.
    pub(super) goes_on: bool,
    /// Longer packets do not get through.
    pub(super) longest: usize,
    pub(super) sent_at: Instant,
    pub(super) now: Instant,
    /// A block that is lost the first time.
    pub(super) loses_once: Option<u64>,
    /// How many packets of a burst get through.
    pub(super) queue_len: Option<usize>,
    pub(super) block_len: usize,
    pub(super) window: u64,
    pub(super) acknowledged: u64,
    pub(super) outgoing: Vec<Vec<u8>>,
}

impl Server {
    pub(super) fn new(len: usize) -> Self {
        let mut random = Random::new(len as u64);
        Self {
            file: (0..len)
                .map(|_| random.next_u64().to_le_bytes()[0])
                .collect(),
            knows: &[BLKSIZE, TSIZE, TIMEOUT, WINDOWSIZE],
            after_65535: 0,
            dies_after: None,
            repeats_after: None,
            goes_on: false,
            longest: usize::MAX,
            sent_at: Instant::ZERO,
            now: Instant::ZERO,
            loses_once: None,
            queue_len: None,
            block_len: 512,
            window: 1,
            acknowledged: 0,
            outgoing: Vec::new(),
        }
    }

    fn handle(&mut self, packet: &[u8]) {
        match TftpPacket::decode(packet).unwrap() {
            TftpPacket::ReadRequest { options, .. } => {
                (self.block_len, self.window, self.acknowledged) = (512, 1, 0);
                let mut taken = Vec::new();
                for (name, value) in options.iter() {
                    let name = std::str::from_utf8(name).unwrap();
                    let mut value: usize = std::str::from_utf8(value).unwrap().parse().unwrap();
                    if !self.knows.contains(&name) {
                        continue;
                    }
                    match name {
                        BLKSIZE => self.block_len = value,
                        WINDOWSIZE => self.window = value as u64,
                        TSIZE => value = self.file.len(),
                        _ => {}
                    }
                    TftpOptions::encode(name, &value.to_string(), &mut taken);
                }
                self.outgoing.clear();
                if taken.is_empty() {
                    self.send_window();
                } else {
                    self.outgoing.push([&[0, 6], &taken[..]].concat());
                }
            }
            TftpPacket::Acknowledgment { .. } if self.goes_on => {
                self.send_window();
                self.acknowledged += 1;
            }
            TftpPacket::Acknowledgment { block } => {
                let first = self.acknowledged + u64::from(self.repeats_after.is_some());
                // The acknowledgment of the options begins the first window.
                let first = if self.acknowledged == 0 { 0 } else { first };
                let acknowledged = (first..=self.acknowledged + self.window)
                    .find(|count| self.number(*count) == block);
                if let Some(count) = acknowledged {
                    self.acknowledged = count;
                    self.send_window();
                }
            }
            TftpPacket::Error { .. } => self.outgoing.clear(),
            TftpPacket::WriteRequest { .. }
            | TftpPacket::Data { .. }
            | TftpPacket::OptionAcknowledgment { .. } => panic!("a client sends none of these"),
        }
    }

    fn number(&self, count: u64) -> u16 {
        let number = match (self.after_65535, count) {
            (1, 1..) => (count - 1) % 65_535 + 1,
            _ => count % 65_536,
        };
        u16::try_from(number).unwrap()
    }

    fn repeats_at(&self) -> Option<Instant> {
        Some(self.sent_at + self.repeats_after?)
    }

    fn send_window(&mut self) {
        if self.window > 1 {
            self.outgoing.clear();
        }
        self.sent_at = self.now;
        if self.loses_once == Some(self.acknowledged + 1) {
            self.loses_once = None;
            return;
        }
        for count in self.acknowledged + 1..=self.acknowledged + self.window {
            if self.dies_after.is_some_and(|last| count > last) {
                break;
            }
            let start = (usize::try_from(count).unwrap() - 1) * self.block_len;
            if start > self.file.len() {
                break;
            }
            let end = (start + self.block_len).min(self.file.len());
            let mut packet = vec![0, 3];
            packet.extend_from_slice(&self.number(count).to_be_bytes());
            packet.extend_from_slice(&self.file[start..end]);
            if packet.len() <= self.longest {
                self.outgoing.push(packet);
            }
        }
        // What does not fit into the queue is lost, but for the last, which comes late.
        if let Some(len) = self.queue_len
            && self.outgoing.len() > len
        {
            self.outgoing.drain(len..self.outgoing.len() - 1);
        }
    }
}
