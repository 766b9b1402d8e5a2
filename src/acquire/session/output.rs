//! What a client puts out, and what becomes of it: sent, told, or handed on.

use std::time::Duration;

use super::{Session, Turn};
use crate::acquire::listener::close;
use crate::acquire::port::Port;
use crate::sys;
use crate::timeline::Moment;
use wireboot_proto::dhcp::{Client, Event, Loss, StateName, Transmit};
use wireboot_proto::packet::arp;
use wireboot_proto::packet::dhcp::MessageType;
use wireboot_proto::time::Timestamp;

/// What a client has put out.
#[derive(Default)]
pub(super) struct Output {
    messages: Vec<(Transmit, Vec<u8>)>,
    packets: Vec<arp::Packet>,
    /// What has come of a message, and when the kernel had that.
    events: Vec<(Option<Timestamp>, Event)>,
}

impl Output {
    pub(super) fn drain(&mut self, client: &mut Client, at: Option<Timestamp>) {
        let mut payload = Vec::new();
        while let Some(transmit) = client.poll_transmit(&mut payload) {
            self.messages.push((transmit, std::mem::take(&mut payload)));
        }
        self.packets
            .extend(std::iter::from_fn(|| client.poll_arp()));
        self.events
            .extend(std::iter::from_fn(|| Some((at, client.poll_event()?))));
    }
}

impl Session {
    /// Sends messages first, since servers take longest; then the ear for ARP is opened, and then
    /// ARP is sent.
    pub(super) fn put_out(&mut self, output: Output) {
        for (transmit, payload) in output.messages {
            if !self.has_carrier {
                let kind = transmit.message_type;
                log::debug!("{}: no carrier for a {kind}", self.link.name);
                continue;
            }
            if transmit.message_type == MessageType::Discover {
                self.diagnosis.discovers += 1;
                if self.diagnosis.discovers > 1 && self.port.is_none() {
                    let port = Port::open(&self.link, self.carrier_at);
                    self.port = port.inspect_err(|error| log::debug!("{error}")).ok();
                }
            }
            let name = transmit.message_type.to_string();
            // Before it is sent, since the answer may be there first.
            self.note(&name, sys::up_time());
            self.station.send(transmit, &payload);
        }
        self.station
            .watch(self.client.as_ref().and_then(Client::watched));
        for packet in output.packets.iter().filter(|_| self.has_carrier) {
            self.station.send_arp(packet);
        }
        for (at, event) in output.events {
            let at = at.map_or_else(sys::up_time, sys::up_time_at);
            self.handle_event(event, at);
        }
    }

    /// Notes what happened for the first time on the way to the lease.
    pub(super) fn note(&mut self, what: &str, at: Duration) {
        if self.moments.iter().all(|moment| moment.what() != what) {
            self.moments.push(Moment::new(what, at));
        }
    }

    fn handle_event(&mut self, event: Event, at: Duration) {
        let name = &self.link.name;
        match event {
            Event::Entered(state) => {
                log::debug!("{name}: {state}");
                self.state = state;
            }
            Event::Offered(offer) => {
                let lease = &offer.lease;
                log::debug!("{name}: {} offers {}", lease.server, lease.address);
                self.diagnosis.offered_by = Some(lease.server);
                self.note("OFFER", at);
            }
            Event::Bound(lease) => {
                for (code, why) in &lease.ignored {
                    log::warn!("{name}: option {code} of {} {why}; ignored", lease.server);
                }
                self.station.leave_crowd();
                if let Some(port) = self.port.take() {
                    close(Box::new(port));
                }
                self.note("ACK", at);
                self.turns.push_back(Turn::Bound(lease));
            }
            Event::Failed(loss) => {
                // Of the address on file, which an earlier process may have left on the interface.
                if self.state == StateName::Rebooting && matches!(loss, Loss::Refused { .. }) {
                    self.remove_saved();
                }
                self.tell(loss);
            }
            Event::Lost(loss) => {
                self.tell(loss);
                self.turns.push_back(Turn::Lost);
            }
            Event::Ipv6Only { server, wait } => {
                let seconds = wait.as_secs();
                log::warn!(
                    "{name}: {server} says that this network is for IPv6; it is left alone for {seconds} s"
                );
                self.diagnosis.ipv6_only = Some(server);
            }
        }
    }

    fn tell(&mut self, loss: Loss) {
        let name = &self.link.name;
        match loss {
            Loss::Refused { server, reason } => {
                let turn = Turn::Refused(reason.clone().unwrap_or_default());
                self.turns.push_back(turn);
                let reason = reason.unwrap_or_else(|| "without a reason".to_owned());
                let text = format!("{name}: {server} refused the address: {reason}");
                log::warn!("{text}");
                self.diagnosis.refusal = Some(text);
            }
            Loss::Unanswered { server } => {
                log::warn!("{name}: {server} does not answer requests for what it offered");
            }
            Loss::Expired => log::warn!("{name}: the lease has expired"),
            Loss::Conflict { address, holder } => {
                let text = format!("{name}: {address} was granted, but {holder} uses it");
                log::warn!("{text}; declined");
                self.diagnosis.refusal = Some(text);
            }
        }
    }
}
