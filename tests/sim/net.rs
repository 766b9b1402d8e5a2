//! A link with many stations, and time that jumps from one event to the next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use wireboot_proto::packet::ethernet::{EthernetHeader, MacAddress};
use wireboot_proto::time::{Instant, Random};

/// What takes part: a client, a server.
pub trait Station {
    fn mac(&self) -> MacAddress;
    /// The only UDP port it hears broadcasts on; its kernel filters the others.
    fn port(&self) -> u16;
    /// A frame has arrived, perhaps a damaged one.
    fn handle_frame(&mut self, frame: &[u8], now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    /// Takes the next frame to be sent, until there is none.
    fn poll_frame(&mut self) -> Option<Vec<u8>>;
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What the link does to a frame on its way to one station. Chances are in percent.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    pub loss: u64,
    pub duplicates: u64,
    pub damage: u64,
    /// Least and greatest; what differs by less than the difference may be reordered.
    pub delay: (Duration, Duration),
    /// Octets behind the Ethernet header; longer frames are lost.
    pub mtu: usize,
}

impl Conditions {
    pub const GOOD: Self = Self {
        loss: 0,
        duplicates: 0,
        damage: 0,
        delay: (Duration::ZERO, Duration::from_millis(1)),
        mtu: 1500,
    };
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Frame { to: usize, frame: Rc<[u8]> },
    Wake(usize),
}

/// The stations and what is on its way between them.
pub struct Network<S> {
    pub now: Instant,
    pub conditions: Conditions,
    pub stations: Vec<S>,
    random: Random,
    /// By time, then in the order they came about.
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    count: u64,
    /// For when each station is to be woken next.
    wakes: Vec<Option<Instant>>,
    by_mac: BTreeMap<MacAddress, usize>,
    by_port: BTreeMap<u16, Vec<usize>>,
}

impl<S: Station> Network<S> {
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self {
            now: Instant::ZERO,
            conditions,
            stations: Vec::new(),
            random: Random::new(seed),
            events: BinaryHeap::new(),
            count: 0,
            wakes: Vec::new(),
            by_mac: BTreeMap::new(),
            by_port: BTreeMap::new(),
        }
    }

    pub fn plug_in(&mut self, station: S) {
        let index = self.stations.len();
        self.by_mac.insert(station.mac(), index);
        self.by_port.entry(station.port()).or_default().push(index);
        self.stations.push(station);
        self.wakes.push(None);
        self.set_wake(index);
    }

    /// Lets the next thing happen that is due until `end`; returns the station that it happened to
    /// and what that sent. None when nothing more happens until then.
    pub fn step(&mut self, end: Instant) -> Option<(usize, Vec<Rc<[u8]>>)> {
        loop {
            let Reverse((at, ..)) = self.events.peek()?;
            if *at > end {
                self.now = end;
                return None;
            }
            let Reverse((at, _, event)) = self.events.pop()?;
            self.now = at;
            let index = match event {
                Event::Frame { to, frame } => {
                    self.stations[to].handle_frame(&frame, at);
                    to
                }
                // A later wake-up has been asked for since.
                Event::Wake(index) if self.wakes[index] != Some(at) => continue,
                Event::Wake(index) => {
                    self.wakes[index] = None;
                    self.stations[index].handle_timeout(at);
                    index
                }
            };
            let mut sent = Vec::new();
            while let Some(frame) = self.stations[index].poll_frame() {
                assert!(sent.len() < 1000, "station {index} sends and sends");
                let frame: Rc<[u8]> = frame.into();
                self.transmit(index, &frame);
                sent.push(frame);
            }
            self.set_wake(index);
            return Some((index, sent));
        }
    }

    fn set_wake(&mut self, index: usize) {
        let at = self.stations[index].poll_timeout();
        if let Some(at) = at
            && self.wakes[index] != Some(at)
        {
            self.push(at.max(self.now), Event::Wake(index));
        }
        self.wakes[index] = at.map(|at| at.max(self.now));
    }

    fn transmit(&mut self, from: usize, frame: &Rc<[u8]>) {
        let (header, _) = EthernetHeader::decode(frame).expect("stations send whole frames");
        if frame.len() > EthernetHeader::LEN + self.conditions.mtu {
            return;
        }
        if header.destination != MacAddress::BROADCAST {
            if let Some(to) = self.by_mac.get(&header.destination) {
                self.deliver(*to, frame);
            }
            return;
        }
        let port = u16::from_be_bytes([frame[36], frame[37]]);
        for to in self.by_port.get(&port).cloned().unwrap_or_default() {
            if to != from {
                self.deliver(to, frame);
            }
        }
    }

    fn deliver(&mut self, to: usize, frame: &Rc<[u8]>) {
        let conditions = self.conditions;
        let copies = 1 + u64::from(self.chance(conditions.duplicates));
        for _ in 0..copies {
            if self.chance(conditions.loss) {
                continue;
            }
            let mut frame = Rc::clone(frame);
            if self.chance(conditions.damage) {
                frame = self.damaged(&frame);
            }
            let (least, greatest) = conditions.delay;
            let spread = u64::try_from((greatest - least).as_millis()).expect("a delay");
            let more = Duration::from_millis(self.random.next_u64() % (spread + 1));
            self.push(self.now + least + more, Event::Frame { to, frame });
        }
    }

    /// Changes one bit, or cuts off the end.
    fn damaged(&mut self, frame: &[u8]) -> Rc<[u8]> {
        let mut frame = frame.to_vec();
        let at = usize::try_from(self.random.next_u64()).expect("64 bits") % frame.len();
        if self.chance(50) {
            frame.truncate(at);
        } else {
            frame[at] ^= 1 << (self.random.next_u64() % 8);
        }
        frame.into()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.next_u64() % 100 < percent
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }
}
