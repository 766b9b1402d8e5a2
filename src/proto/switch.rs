//! State of the switch port, from the frames that the switch sends: a machine without clock and
//! sockets.
//!
//! A port that has just come up forwards nothing until the spanning tree has listened and learned,
//! twice the forward delay (IEEE 802.1D-2004 §17.17). Bridges of before 2001 do not send the
//! state of the port, so it is counted from the carrier.

#![forbid(unsafe_code)]

use crate::prelude::*;
use alloc::collections::VecDeque;
use core::fmt;
use core::time::Duration;

use crate::packet::switch_frame::{PortState, SwitchFrame};
use crate::time::Instant;

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
    /// The port asks for 802.1X authentication.
    Authentication,
    /// Where we are plugged in.
    Neighbour {
        /// The switch.
        system: String,
        /// Its port.
        port: String,
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
            Self::Authentication => f.write_str("the port asks for 802.1X, which is not supported"),
            Self::Neighbour { system, port } => write!(f, "plugged into port {port} of {system}"),
        }
    }
}

/// Model of the port that an interface is plugged into.
#[derive(Debug)]
pub struct Switch {
    up_at: Instant,
    blocked_until: Option<Instant>,
    /// Events returned already: switches repeat their frames every few seconds.
    reported: Vec<SwitchEvent>,
    events: VecDeque<SwitchEvent>,
}

impl Switch {
    /// Starts with a carrier since `up_at`.
    pub const fn new(up_at: Instant) -> Self {
        Self {
            up_at,
            blocked_until: None,
            reported: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Handles a frame of the switch.
    pub fn handle_input(&mut self, frame: SwitchFrame, now: Instant) {
        match frame {
            SwitchFrame::Bpdu {
                port,
                forward_delay,
            } => self.handle_bpdu(port, forward_delay, now),
            SwitchFrame::Lacp { is_up: false } => self.report(SwitchEvent::LacpDown),
            SwitchFrame::Authentication => self.report(SwitchEvent::Authentication),
            SwitchFrame::Lldp { system, port } => {
                self.report(SwitchEvent::Neighbour { system, port })
            }
            SwitchFrame::Lacp { is_up: true } | SwitchFrame::Other => {}
        }
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

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.events.pop_front()
    }

    /// Returns when the port should forward.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.blocked_until
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

    const DELAY: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn events(switch: &mut Switch) -> Vec<String> {
        std::iter::from_fn(|| switch.poll_event())
            .map(|statement| statement.to_string())
            .collect()
    }

    fn bpdu(port: Option<PortState>) -> SwitchFrame {
        SwitchFrame::Bpdu {
            port,
            forward_delay: DELAY,
        }
    }

    #[test]
    fn a_bridge_that_does_not_send_its_state_is_counted_from_the_carrier() {
        let mut switch = Switch::new(at(10));
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
        let mut switch = Switch::new(at(0));
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
        let mut open = Switch::new(at(0));
        open.handle_input(bpdu(Some(PortState::Forwarding)), at(1));
        assert_eq!(events(&mut open), [""; 0]);
    }

    #[test]
    fn every_event_is_reported_once() {
        let mut switch = Switch::new(at(0));
        for _ in 0..2 {
            switch.handle_input(SwitchFrame::Lacp { is_up: false }, at(1));
            switch.handle_input(SwitchFrame::Authentication, at(1));
        }
        assert_eq!(events(&mut switch).len(), 2);
    }
}
