//! Record of what happened on one interface: log lines, the moments of the timeline, and what the
//! error says when there is no lease.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::diagnosis::Diagnosis;
use super::listener::close;
use super::switch_port::{SwitchPort, TaggedFrames};
use crate::error::Error;
use crate::link::Link;
use crate::sys;
use crate::timeline::Moment;
use wireboot_proto::dhcp::{Event, Loss, Notice, StateName};
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::packet::option::code;
use wireboot_proto::switch::SwitchEvent;
use wireboot_proto::time::{Instant, Seconds};

/// DISCOVERs that are moments each.
// A port that is blocked is asked through with each frame of the switch.
const MAX_DISCOVERS: u32 = 16;

/// Observer of one interface, its DHCP messages and its switch port.
#[derive(Debug)]
pub(super) struct Witness {
    link: Arc<Link>,
    pub(super) diagnosis: Diagnosis,
    /// Each for the first time.
    moments: Vec<Moment>,
    carrier_at: Instant,
    /// Nothing has been sent since the carrier came.
    is_carrier_new: bool,
    /// Requests to extend the lease that were sent since the last answer, while it is extended.
    extensions: Option<u32>,
    /// Whether servers do not answer requests to extend the lease.
    is_unanswered: bool,
    /// Opened once the first DISCOVER is not answered: most boots never need it.
    switch_port: Option<SwitchPort>,
    /// Another session of the same port has it.
    shares_switch_port: bool,
    /// Opened at the same time.
    tagged: Option<TaggedFrames>,
}

impl Witness {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            diagnosis: Diagnosis::default(),
            moments: Vec::new(),
            carrier_at: Instant::ZERO,
            is_carrier_new: false,
            extensions: None,
            is_unanswered: false,
            switch_port: None,
            shares_switch_port: false,
            tagged: None,
        }
    }

    /// Leaves the switch port to another session.
    pub(super) const fn share_switch_port(&mut self) {
        self.shares_switch_port = true;
    }

    /// Takes over the switch port of `other`.
    pub(super) fn take_over(&mut self, other: &mut Self) {
        self.switch_port = other.switch_port.take_if(|port| port.has_lacp());
        self.shares_switch_port = false;
    }

    /// Records a carrier. The port may be another one, so the next one is opened anew.
    pub(super) fn handle_carrier(&mut self, now: Instant) {
        log::debug!("{}: carrier", self.link.name);
        self.note("carrier", sys::up_time());
        // Spanning tree counts its two forward delays (15 s each by default) from here.
        self.carrier_at = now;
        self.is_carrier_new = true;
        self.switch_port = None;
    }

    /// Records that the interface was removed, and maybe returned: its sockets receive nothing any more.
    pub(super) fn handle_removal(&mut self) {
        self.switch_port = None;
    }

    /// Records a message that is about to be sent.
    pub(super) fn handle_transmit(&mut self, message_type: MessageType) {
        self.diagnosis.count(message_type);
        if message_type == MessageType::Discover {
            // Most DISCOVERs are answered and need no second packet socket.
            let is_silent = self.diagnosis.asked > 1 && !self.shares_switch_port;
            if is_silent && self.switch_port.is_none() {
                let port = SwitchPort::open(&self.link, self.carrier_at);
                self.switch_port = port.inspect_err(|error| log::debug!("{error}")).ok();
            }
            if cfg!(feature = "bond") && is_silent && self.tagged.is_none() {
                let tagged = TaggedFrames::open(&self.link);
                self.tagged = tagged.inspect_err(|error| log::debug!("{error}")).ok();
            }
            self.read_tags();
        }
        let mut what = message_type.to_string();
        let asked = self.diagnosis.asked;
        // Those without an answer are moments too, as many as a minute has.
        if message_type == MessageType::Discover && (2..=MAX_DISCOVERS).contains(&asked) {
            what += &format!(" {asked}");
        }
        self.note(&what, sys::up_time());
    }

    /// Says what was sent where a person waits for it: first on a carrier, and again for a lease.
    pub(super) fn handle_sent(&mut self, message_type: MessageType) {
        let name = &self.link.name;
        if std::mem::take(&mut self.is_carrier_new) {
            // Reading the speed may wait for the driver, which the message has not had to.
            let speed = self.link.speed();
            log::info!("{name}: carrier{speed}; {message_type} sent");
        } else if let Some(sent) = &mut self.extensions {
            *sent += 1;
            if *sent > 1 {
                log::info!("{name}: no answer; {message_type} sent again");
            }
        }
    }

    /// Records an event of the client, of a message that was received at `at`.
    pub(super) fn handle_event(&mut self, event: &Event, at: Duration) {
        let name = &self.link.name;
        match event {
            Event::Entered(state) => {
                let is_extended = matches!(state, StateName::Renewing | StateName::Rebinding);
                self.extensions = is_extended.then_some(0);
                let level = if is_extended {
                    Level::Info
                } else {
                    Level::Debug
                };
                log::log!(level, "{name}: {state}");
            }
            Event::Offered(offer) => {
                log::debug!("{name}: {} offers {}", offer.server, offer.address);
                self.diagnosis.note_offer(offer);
                self.note("OFFER", at);
            }
            Event::Bound(lease) => {
                let server = lease.server_text();
                for (code, why) in &lease.ignored {
                    log::warn!("{name}: option {code} of {server} is not used as sent: it {why}");
                }
                let has_time = lease.options.u32(code::LEASE_TIME).is_some();
                if let Some(times) = lease.times.filter(|_| !has_time) {
                    let seconds = times.lease.as_secs();
                    log::warn!(
                        "{name}: {server} sends no lease time (option 51); {seconds} s assumed"
                    );
                }
                let port = self.switch_port.take_if(|port| !port.has_lacp());
                let tagged = self.tagged.take();
                if port.is_some() || tagged.is_some() {
                    close(Box::new((port, tagged)));
                }
                if std::mem::take(&mut self.is_unanswered) {
                    log::info!("{name}: {} answers: the lease goes on", lease.server_text());
                }
                self.note("ACK", at);
            }
            Event::OtherAddress {
                server,
                asked,
                granted,
            } => log::warn!(
                "{name}: {server} grants {granted} and not {asked}, which it was asked for"
            ),
            Event::Failed(loss) => self.handle_loss(loss),
            Event::Lost(loss) => {
                self.is_unanswered = false;
                self.handle_loss(loss);
            }
            Event::Unanswered { left } => {
                let end = left.map_or_else(
                    || "has no end".to_owned(),
                    |left| format!("ends in {:.0} s", Seconds(left)),
                );
                log::warn!("{name}: no server extends the lease, which {end}; asking on");
                self.is_unanswered = true;
            }
            Event::Notice(notice) => {
                log::warn!("{name}: {notice}");
                if let Notice::ProxyArp { .. } = notice {
                    self.diagnosis.refusal = Some(format!("{name}: {notice}"));
                }
            }
            Event::Ipv6Only { server, wait } => {
                let seconds = wait.as_secs();
                log::warn!(
                    "{name}: {server} says that this network is for IPv6 (option 108); no DHCP for \
                     {seconds} s"
                );
                self.diagnosis.ipv6_only = Some(*server);
            }
        }
    }

    fn handle_loss(&mut self, loss: &Loss) {
        let name = &self.link.name;
        match loss {
            Loss::Refused { server, reason } => {
                let reason = reason.as_deref().unwrap_or("without a reason");
                let text = format!("{name}: {server} refused the address: {reason}");
                log::warn!("{text}");
                self.diagnosis.refusal = Some(text);
            }
            Loss::Unanswered { server } => {
                log::warn!("{name}: {server} does not answer requests for what it offered");
            }
            Loss::Expired => log::warn!("{name}: the lease has expired"),
            Loss::Conflict { address, owner } => {
                let text = format!("{name}: {address} was granted, but {owner} uses it");
                log::warn!("{text}; declined");
                self.diagnosis.refusal = Some(text);
            }
        }
    }

    /// Reads the frames of the switch, and drives its timers. Returns whether servers are to be asked
    /// again at once: with each frame while the port is blocked, lest the growing delay outlast it,
    /// and when it opens.
    pub(super) fn handle_switch(&mut self, now: Instant) -> bool {
        let Some(port) = &mut self.switch_port else {
            return false;
        };
        let name = &self.link.name;
        port.handle_timeout(name, now);
        let mut ask = port.receive(name, now).unwrap_or_else(|error| {
            log::debug!("{name}: {}", error.chain());
            false
        });
        while let Some(event) = port.poll_event() {
            log::info!("{name}: {event}");
            ask |= matches!(event, SwitchEvent::Forwarding | SwitchEvent::LacpUp);
            self.diagnosis.note_switch(event);
        }
        ask
    }

    /// Notes what happened for the first time on the way to the lease.
    fn note(&mut self, what: &str, at: Duration) {
        if self.moments.iter().all(|moment| moment.what() != what) {
            self.moments.push(Moment::new(what, at));
        }
    }

    pub(super) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// Reads which VLANs there are on the wire.
    fn read_tags(&mut self) {
        let tagged = self.tagged.as_mut().filter(|_| cfg!(feature = "bond"));
        let Some(tagged) = tagged else {
            return;
        };
        let (name, is_first) = (&self.link.name, self.diagnosis.vlans.is_empty());
        self.diagnosis.vlans = tagged.read().to_vec();
        if let (true, [first, ..]) = (is_first, &self.diagnosis.vlans[..]) {
            log::info!("{name}: the port carries frames with tags, of VLAN {first}");
        }
    }

    /// Returns the error of an interface without a lease after `waited`; `received` is its counter of
    /// frames now.
    pub(super) fn failure(&mut self, waited: Duration, received: Option<u64>) -> Error {
        self.read_tags();
        self.diagnosis.failure(&self.link, waited, received)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.switch_port.as_ref()?.poll_timeout()
    }

    /// Returns the descriptor to wait on for frames of the switch.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.switch_port.as_ref().map(SwitchPort::source)
    }
}
