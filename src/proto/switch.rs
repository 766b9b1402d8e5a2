//! State of the switch port, from the frames that the switch sends: a machine without clock and
//! sockets.
//!
//! A port that is a member of a link aggregation group drops everything until LACP is up. Each LACPDU is
//! answered, as iPXE does (`eth_slow.c`), by which the one port of this machine becomes such a group. Who
//! listens late may have missed those that a port sends at first, and would wait half a minute for the
//! next, or without end where the port is passive: [`Switch::solicit`] asks for one.
//!
//! A port that has just come up forwards nothing until the spanning tree has listened and learned,
//! twice the forward delay (IEEE 802.1D-2004 §17.17). Bridges of before 2001 do not send the
//! state of the port, so it is counted from the carrier.

#![forbid(unsafe_code)]

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

use crate::packet::ethernet::MacAddress;
use crate::packet::switch_frame::{
    LacpActor, PortState, SlowFrame, SwitchFrame, encode_marker_answer, encode_solicitation,
};
use crate::time::{Instant, earliest};

/// Change of the port, or a fact about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchEvent {
    /// Nothing of ours gets through for about this long.
    Blocked {
        /// Whether it is in the second half, learning.
        learning: bool,
        /// Until it forwards, at most.
        left: Duration,
    },
    /// The port has become open.
    Forwarding,
    /// The port waits for an LACP partner to join its bundle.
    LacpDown,
    /// The port has joined it.
    LacpUp,
    /// The port asks for 802.1X authentication.
    Authentication,
    /// Where we are plugged in.
    Neighbour {
        /// The switch.
        system: String,
        /// Its port.
        port: String,
        /// The VLAN of frames without a tag there.
        vlan: Option<u16>,
    },
}

impl fmt::Display for SwitchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked { learning, left } => {
                let state = if *learning { "learning" } else { "listening" };
                let seconds = left.as_millis().div_ceil(1_000);
                write!(f, "the port is in STP {state}, about {seconds} s to go")
            }
            Self::Forwarding => f.write_str("the port forwards now"),
            Self::LacpDown => f.write_str(
                "LACP is not up: the switch has this port in a bundle, and may forward nothing",
            ),
            Self::LacpUp => f.write_str("LACP is up, and the port forwards"),
            Self::Authentication => f.write_str("the port asks for 802.1X, which is not supported"),
            Self::Neighbour { system, port, vlan } => {
                write!(f, "plugged into port {port} of {system}")?;
                vlan.map_or(Ok(()), |vlan| write!(f, ", VLAN {vlan}"))
            }
        }
    }
}

impl SwitchEvent {
    /// Returns what lets frames through; empty where nothing is in the way.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Blocked { .. } => {
                "wait longer (--timeout), or make it an edge port (\"portfast\") on the switch"
            }
            Self::LacpDown => "take it out of the bundle on the switch, or let that fall back",
            Self::Authentication => "exempt this hardware address on the switch (MAB)",
            Self::Forwarding | Self::LacpUp | Self::Neighbour { .. } => "",
        }
    }
}

/// LACPDUs in a second (IEEE 802.1AX §6.4.16).
const MAX_LACPDUS: u32 = 3;
/// Frames of slow protocols in a second (IEEE 802.3 §57A.2).
const MAX_SLOW_FRAMES: u32 = 10;

/// Model of the port that an interface is plugged into.
#[derive(Debug)]
pub struct Switch {
    mac: MacAddress,
    /// Number of our port in LACP.
    number: u16,
    up_at: Instant,
    blocked_until: Option<Instant>,
    /// Events returned already: switches repeat their frames every few seconds.
    reported: Vec<SwitchEvent>,
    events: VecDeque<SwitchEvent>,
    /// Whether LACP is up, once the port has sent an LACPDU.
    lacp: Option<bool>,
    /// When the port is asked for an LACPDU, if it has sent none.
    solicits_at: Option<Instant>,
    answers: Vec<Vec<u8>>,
    /// When the current second of answers began, and how many they are.
    answered: (Instant, u32),
}

impl Switch {
    /// Starts with a carrier since `up_at` at the interface with this hardware address, which is port
    /// `number` of this machine.
    pub const fn new(mac: MacAddress, number: u16, up_at: Instant) -> Self {
        Self {
            mac,
            number,
            up_at,
            lacp: None,
            solicits_at: None,
            answers: Vec::new(),
            answered: (up_at, 0),
            blocked_until: None,
            reported: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Asks the port for an LACPDU, once, if it sends none within a second from now: as often one would come
    /// of itself while it seeks a partner.
    pub fn solicit(&mut self, now: Instant) {
        self.solicits_at = Some(now + Duration::from_secs(1));
    }

    /// Handles a frame of the switch.
    pub fn handle_input(&mut self, frame: SwitchFrame, now: Instant) {
        match frame {
            SwitchFrame::Bpdu {
                port,
                forward_delay,
            } => self.handle_bpdu(port, forward_delay, now),
            SwitchFrame::Slow(SlowFrame::Lacp(actor)) => self.handle_lacp(&actor, now),
            SwitchFrame::Slow(SlowFrame::Marker(marker)) => {
                if self.may_answer(MAX_SLOW_FRAMES, now) {
                    self.answers.push(encode_marker_answer(marker, self.mac));
                }
            }
            SwitchFrame::Authentication => self.report(SwitchEvent::Authentication),
            SwitchFrame::Lldp { system, port, vlan } => {
                self.report(SwitchEvent::Neighbour { system, port, vlan })
            }
            SwitchFrame::Slow(SlowFrame::Other) | SwitchFrame::Other => {}
        }
    }

    fn handle_lacp(&mut self, actor: &LacpActor, now: Instant) {
        // On a cable with both ends here, or behind a loop.
        if actor.system() == self.mac {
            return;
        }
        self.solicits_at = None;
        let before = self.lacp.replace(actor.is_up());
        if !actor.is_up() {
            self.report(SwitchEvent::LacpDown);
        } else if before == Some(false) {
            self.report(SwitchEvent::LacpUp);
        }
        if self.may_answer(MAX_LACPDUS, now) {
            self.answers
                .push(actor.encode_answer(self.mac, self.number));
        }
    }

    /// Counts an answer, unless `most` have been given within a second: others that only answer, as
    /// on a hub, must not keep each other going.
    fn may_answer(&mut self, most: u32, now: Instant) -> bool {
        let (since, count) = &mut self.answered;
        if now.since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        let may = *count < most;
        *count += u32::from(may);
        may
    }

    fn handle_bpdu(&mut self, port: Option<PortState>, delay: Duration, now: Instant) {
        let listened_at = self.up_at + delay;
        let (until, learning) = match port {
            Some(PortState::Forwarding) => (now, true),
            Some(PortState::Learning) => (now + delay, true),
            // Rapid bridges go on sooner; this is the most that IEEE 802.1D lets it take.
            Some(PortState::Discarding) => (now + delay * 2, false),
            None => (listened_at + delay, now >= listened_at),
        };
        if until <= now {
            return self.open();
        }
        // The state that it began with is known; the end only comes nearer.
        // A BPDU is sent every 2 s by default, and each would start the wait anew.
        let until = self.blocked_until.map_or(until, |known| known.min(until));
        let known = self.reported.iter().any(
            |said| matches!(said, SwitchEvent::Blocked { learning: said, .. } if *said == learning),
        );
        self.blocked_until = Some(until);
        if !known {
            let left = until.since(now);
            self.report(SwitchEvent::Blocked { learning, left });
        }
    }

    /// Drives the timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.blocked_until.is_some_and(|until| until <= now) {
            self.open();
        }
        if self.solicits_at.take_if(|at| *at <= now).is_some() {
            let frame = encode_solicitation(self.mac, self.number);
            self.answers.push(frame);
        }
    }

    fn open(&mut self) {
        if self.blocked_until.take().is_some() {
            self.events.push_back(SwitchEvent::Forwarding);
        }
    }

    /// Returns whether the port lets nothing through, as far as is known.
    pub const fn is_blocked(&self) -> bool {
        self.blocked_until.is_some()
    }

    /// Returns whether the port's partner is lost once its LACPDUs are not answered any longer.
    pub const fn has_lacp(&self) -> bool {
        self.lacp.is_some()
    }

    /// Returns the next frame to be sent.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.answers.pop()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.events.pop_front()
    }

    /// Returns when the port should forward, or is asked.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [self.blocked_until, self.solicits_at];
        earliest(&timeouts)
    }

    fn report(&mut self, statement: SwitchEvent) {
        if !self.reported.contains(&statement) {
            self.reported.push(statement.clone());
            self.events.push_back(statement);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::switch_frame::{SLOW_GROUP, lacpdu};

    const DELAY: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn events(switch: &mut Switch) -> Vec<String> {
        std::iter::from_fn(|| switch.poll_event())
            .map(|statement| statement.to_string())
            .collect()
    }

    const MAC: MacAddress = MacAddress([0x52, 0x54, 0, 0, 0, 1]);

    fn port_since(up_at: Instant) -> Switch {
        Switch::new(MAC, 2, up_at)
    }

    /// The LACPDU of a switch's port in this state.
    fn lacp(state: u8) -> SwitchFrame {
        slow(lacpdu(state))
    }

    fn slow(pdu: Vec<u8>) -> SwitchFrame {
        let mut frame = SLOW_GROUP.0.to_vec();
        frame.extend([2, 0, 0, 0, 0, 9, 0x88, 0x09]);
        frame.extend(pdu);
        SwitchFrame::decode(&frame).unwrap()
    }

    fn answers(switch: &mut Switch) -> usize {
        std::iter::from_fn(|| switch.poll_transmit()).count()
    }

    fn bpdu(port: Option<PortState>) -> SwitchFrame {
        SwitchFrame::Bpdu {
            port,
            forward_delay: DELAY,
        }
    }

    #[test]
    fn a_bridge_that_does_not_send_its_state_is_counted_from_the_carrier() {
        let mut switch = port_since(at(10));
        switch.handle_input(bpdu(None), at(12));
        assert_eq!(
            events(&mut switch),
            ["the port is in STP listening, about 28 s to go"]
        );
        switch.handle_input(bpdu(None), at(14));
        assert_eq!(events(&mut switch), [""; 0]);
        switch.handle_input(bpdu(None), at(27));
        assert_eq!(
            events(&mut switch),
            ["the port is in STP learning, about 13 s to go"]
        );
        assert!(switch.is_blocked());
        assert_eq!(switch.poll_timeout(), Some(at(40)));
        switch.handle_timeout(at(40));
        assert_eq!(events(&mut switch), ["the port forwards now"]);
        assert!(!switch.is_blocked() && switch.poll_timeout().is_none());
        switch.handle_input(bpdu(None), at(42));
        assert_eq!(events(&mut switch), [""; 0]);
    }

    #[test]
    fn a_rapid_bridge_opens_the_port_whenever_it_does() {
        let mut switch = port_since(at(0));
        switch.handle_input(bpdu(Some(PortState::Discarding)), at(1));
        assert_eq!(
            events(&mut switch),
            ["the port is in STP listening, about 30 s to go"]
        );
        switch.handle_input(bpdu(Some(PortState::Learning)), at(3));
        assert_eq!(
            events(&mut switch),
            ["the port is in STP learning, about 15 s to go"]
        );
        switch.handle_input(bpdu(Some(PortState::Forwarding)), at(5));
        assert_eq!(events(&mut switch), ["the port forwards now"]);
        let mut open = port_since(at(0));
        open.handle_input(bpdu(Some(PortState::Forwarding)), at(1));
        assert_eq!(events(&mut open), [""; 0]);
    }

    #[test]
    fn every_event_is_reported_once() {
        let mut switch = port_since(at(0));
        for _ in 0..2 {
            switch.handle_input(lacp(0x05), at(1));
            switch.handle_input(SwitchFrame::Authentication, at(1));
        }
        assert_eq!(events(&mut switch).len(), 2);
    }

    #[test]
    fn a_port_that_sends_nothing_is_asked_for_an_lacpdu_once() {
        let mut switch = port_since(at(0));
        switch.solicit(at(3));
        switch.handle_timeout(at(3));
        assert_eq!(
            (answers(&mut switch), switch.poll_timeout()),
            (0, Some(at(4)))
        );
        switch.handle_timeout(at(4));
        assert_eq!((answers(&mut switch), switch.poll_timeout()), (1, None));
        let mut switch = port_since(at(0));
        switch.solicit(at(3));
        switch.handle_input(lacp(0x45), at(3));
        assert_eq!(switch.poll_timeout(), None);
    }

    #[test]
    fn each_lacpdu_has_one_answer_and_the_port_opens_with_its_partner() {
        let mut switch = port_since(at(0));
        assert!(!switch.has_lacp());
        switch.handle_input(lacp(0x45), at(1));
        assert_eq!(answers(&mut switch), 1);
        assert_eq!(events(&mut switch).len(), 1);
        switch.handle_input(lacp(0x3d), at(2));
        assert_eq!(answers(&mut switch), 1);
        let up = "LACP is up, and the port forwards";
        assert_eq!(events(&mut switch), [up]);
        switch.handle_input(lacp(0x3d), at(32));
        assert_eq!((answers(&mut switch), events(&mut switch).len()), (1, 0));
        assert!(switch.has_lacp());
    }

    #[test]
    fn answers_are_three_lacpdus_and_ten_frames_a_second_at_most() {
        let mut switch = port_since(at(0));
        let mut marker = vec![2, 1, 1, 16];
        marker.resize(110, 0);
        for _ in 0..50 {
            switch.handle_input(lacp(0x3d), at(5));
        }
        assert_eq!(answers(&mut switch), 3);
        for _ in 0..50 {
            switch.handle_input(slow(marker.clone()), at(5));
        }
        assert_eq!(answers(&mut switch), 7);
        switch.handle_input(lacp(0x3d), at(6));
        assert_eq!(answers(&mut switch), 1);
    }

    #[test]
    fn an_lacpdu_of_this_machine_has_no_answer() {
        let mut own = lacpdu(0x3d);
        own[6..12].copy_from_slice(&MAC.0);
        let mut switch = port_since(at(0));
        switch.handle_input(slow(own), at(1));
        assert_eq!(answers(&mut switch), 0);
        assert!(!switch.has_lacp());
    }
}
