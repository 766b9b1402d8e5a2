//! Messages of the client.

use core::net::Ipv4Addr;

use super::state::{State, Transmit};
use super::transitions::Client;
use crate::dhcp::message;
use crate::packet::dhcp::{Message, MessageType};

impl Client {
    /// Returns the message of the state, when it is due.
    pub(super) fn due(&mut self) -> Option<(Transmit, Message)> {
        self.broadcast |= match &self.state {
            State::Selecting { offers, resend, .. } => offers.is_empty() && resend.lacks_answer(),
            State::Rebooting { resend, .. } => resend.lacks_answer(),
            State::Init { .. }
            | State::Requesting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => false,
        };
        let (now, exchange) = (self.now, self.exchange());
        let (random, config) = (&mut self.random, &self.config);
        let everyone = Ipv4Addr::BROADCAST;
        match &mut self.state {
            State::Init { .. } | State::Probing { .. } | State::Bound { .. } | State::Stopped => {
                None
            }
            State::Selecting { resend, .. } => resend.take(now, random).then(|| {
                let message = message::discover(config, exchange);
                (Transmit::broadcast(MessageType::Discover), message)
            }),
            State::Requesting { offer, resend, .. } => resend.take(now, random).then(|| {
                let (address, server) = (offer.address, offer.server);
                if let Some(guard) = &mut self.guard {
                    guard.probe(now);
                }
                // RFC 2131 §3.1: by broadcast, so that the servers that were not chosen learn of
                // it.
                let message = message::request_offered(config, exchange, address, server);
                (Transmit::broadcast(MessageType::Request), message)
            }),
            State::Rebooting { address, resend } => resend.take(now, random).then(|| {
                if let Some(guard) = &mut self.guard {
                    guard.probe(now);
                }
                let message = message::request_known(config, exchange, *address);
                (Transmit::broadcast(MessageType::Request), message)
            }),
            State::Renewing { active, resend } => {
                resend.take_halving(now, active.rebind_at()).then(|| {
                    let (address, server) = (active.lease.address, active.server);
                    // RFC 2131 §4.4.5: renewals go to the server that granted the lease, not
                    // through relays.
                    let message = message::request_extension(config, exchange, address);
                    (
                        Transmit::unicast(address, server, MessageType::Request),
                        message,
                    )
                })
            }
            State::Rebinding { active, resend } => {
                resend.take_halving(now, active.expires_at()).then(|| {
                    // RFC 2131 §4.4.5: at T2 everybody is asked, since the server may be gone.
                    let address = active.lease.address;
                    let message = message::request_extension(config, exchange, address);
                    (
                        Transmit::unicast(address, everyone, MessageType::Request),
                        message,
                    )
                })
            }
            State::Informing { address, resend } => resend.take(now, random).then(|| {
                let message = message::inform(config, exchange, *address);
                (
                    Transmit::unicast(*address, everyone, MessageType::Inform),
                    message,
                )
            }),
        }
    }
}
