//! Replies of servers, and the search for an offer that is granted: SELECTING and REQUESTING.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use super::Client;
use super::state::{ActiveLease, Event, Loss, Notice, Requested, State};
use crate::dhcp::lease::{self, Lease};
use crate::dhcp::offer::{self, Offer, Offers, PassedOver, Standing};
use crate::dhcp::reply::{self, Discard, Reply};
use crate::dhcp::resend::Resend;
use crate::packet::dhcp::{Message, MessageType};
use crate::packet::ipv4::Datagram;
use crate::packet::option::code;
use crate::time::Instant;

/// Shortest time without DHCP on a network for IPv6 (RFC 8925 §3.4, MIN_V6ONLY_WAIT).
const MIN_V6ONLY_WAIT: Duration = Duration::from_secs(300);

impl Client {
    pub(super) fn handle_datagram(&mut self, datagram: &Datagram<'_>) -> Result<(), Discard> {
        let reply = reply::read(datagram, self.xid, &self.config)?;
        match reply.message_type {
            MessageType::Offer => self.handle_offer(reply),
            MessageType::Ack => self.handle_ack(reply),
            MessageType::Nak => self.handle_nak(&reply),
            other @ (MessageType::Discover
            | MessageType::Request
            | MessageType::Decline
            | MessageType::Release
            | MessageType::Inform) => Err(Discard::Unexpected(other)),
        }
    }

    fn handle_offer(&mut self, reply: Reply) -> Result<(), Discard> {
        let now = self.now;
        self.note_contradiction(&reply);
        let (offers, decide_at, requested) = match &mut self.state {
            State::Selecting {
                offers, decide_at, ..
            } => (offers, Some(decide_at), None),
            // For when the one that is requested is not granted.
            State::Requesting { offer, offers, .. } => (offers, None, Some(offer.server)),
            State::Init { .. }
            | State::Rebooting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => return Err(Discard::Unexpected(MessageType::Offer)),
        };
        // All other clients take it without, and a server that does not name itself does not mind either.
        let server = reply.server_or(None)?;
        if requested == Some(server) {
            return Err(Discard::Unexpected(MessageType::Offer));
        }
        let wait = ipv6_only(&self.config.requested, &reply.message);
        let mut offer = Offer::read(reply.message, server, reply.source);
        if !offer.is_proxy() {
            if let (Some(wait), None) = (wait, requested) {
                self.leave_to_ipv6(server, wait);
                return Ok(());
            }
            usable(&offer.message, server)?;
            // From the first offer on: later ones must not make the wait for a proxy longer.
            if let Some(decide_at @ None) = decide_at {
                *decide_at = Some(now + self.config.boot_file_wait());
                self.notice_at = Some(now + self.config.proxy_wait);
            }
            match self.passed_over.hold(offer, now) {
                Some(other) => offer = other,
                None => return Ok(()),
            }
        }
        self.events
            .push_back(Event::Offered(Box::new(offer.clone())));
        offers.add(offer, &mut self.random);
        self.decide();
        Ok(())
    }

    /// Compares an offer with the one that is requested, or with the lease.
    fn note_contradiction(&mut self, reply: &Reply) {
        let lease = if let State::Requesting { offer, .. } = &self.state {
            offer.lease()
        } else if let Some(active) = self.state.active().filter(|active| !active.is_own) {
            (*active.lease).clone()
        } else {
            return;
        };
        if let Some(server) = reply
            .server
            .filter(|_| reply::is_host(reply.message.yiaddr))
        {
            self.compare(&Lease::read(&reply.message, server), &lease);
        }
    }

    fn handle_ack(&mut self, mut reply: Reply) -> Result<(), Discard> {
        let commits_at_once = reply.message.options.get(code::RAPID_COMMIT).is_some();
        let asked_at = self.state.resend().map(|resend| resend.sent_at());
        if let State::Informing { address, .. } = &self.state {
            // RFC 2131 §4.3.5: the answer to an INFORM should leave `yiaddr` empty.
            reply.message.yiaddr = *address;
        }
        let previous = self.previous.as_ref();
        let asked = previous.map(|active| active.server);
        let asked = self.state.granted().map(|(_, server)| server).or(asked);
        let is_selecting = matches!(self.state, State::Selecting { .. });
        let requested = self.requested.as_ref().filter(|_| is_selecting);
        let asked = asked.or(requested.and_then(|requested| requested.server));
        let server = reply.server_or(asked)?;
        let (ack, address) = (&reply.message, reply.message.yiaddr);
        if !matches!(self.state, State::Informing { .. }) {
            usable(ack, server)?;
        }
        // From a slow server, which has been given up.
        let late = requested.filter(|requested| {
            requested.address == address && requested.server.is_none_or(|asked| asked == server)
        });
        // RFC 2131 §4.4.1: a lease ends its duration after the REQUEST was sent, not after the ACK
        // came.
        let since = late.map(|requested| requested.sent_at).or(asked_at);
        let since = since.unwrap_or(self.now);
        let mut lease = match &self.state {
            State::Selecting { offers, .. } if self.config.rapid_commit && commits_at_once => {
                // Nobody was chosen before it, so only the ACK can say who must be asked for a
                // renewal.
                reply.named_server()?;
                Lease::granted(ack, server, offers.proxy().map(|proxy| &proxy.boot))
            }
            State::Selecting { .. } if late.is_some() => {
                let boots = late.iter().flat_map(|requested| &requested.boots);
                Lease::granted(ack, server, boots)
            }
            State::Requesting {
                offer: chosen,
                proxy,
                offers,
                ..
            } => {
                // A failover partner may answer in place of who offered, under its own name, or
                // a server that names itself in the OFFER only.
                let is_by_who_offered = reply.server == Some(chosen.server);
                if !is_by_who_offered && chosen.address != address {
                    return Err(Discard::WrongServer(server));
                }
                let offered = [Some(chosen), proxy.as_ref()].into_iter().flatten();
                let mut lease = Lease::granted(ack, server, offered.map(|offer| &offer.boot));
                if let Some(service) = &lease.boot_service {
                    lease.other_services = offers.services_but(service.server);
                }
                lease
            }
            State::Rebooting { address: known, .. } => {
                if reply.server.is_none() && *known != address {
                    return Err(Discard::WrongAddress(address));
                }
                if let Some(wait) = ipv6_only(&self.config.requested, ack) {
                    self.leave_to_ipv6(server, wait);
                    return Ok(());
                }
                Lease::read(ack, server)
            }
            // Any server may extend: one that took over, or moved, names itself.
            State::Renewing { active, .. } | State::Rebinding { active, .. } => {
                if active.lease.address != address {
                    return Err(Discard::WrongAddress(address));
                }
                Lease::read(ack, server)
            }
            State::Informing { .. } => Lease::read(ack, server),
            State::Init { .. }
            | State::Selecting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Stopped => return Err(Discard::Unexpected(MessageType::Ack)),
        };
        let asked = self.state.asked_for().unwrap_or(address);
        // As dhclient, dhcpcd and networkd: what the server has is what it grants.
        if asked != address {
            self.events.push_back(Event::OtherAddress {
                server,
                asked,
                granted: address,
            });
        }
        let is_own = matches!(self.state, State::Informing { .. });
        if !is_own && ack.options.u32(code::LEASE_TIME) == Some(0) {
            // No address to use, and the server would be asked for another without end.
            let reason = Some("it grants the address for 0 s".to_owned());
            self.handle_refusal(server, reason);
            return Ok(());
        }
        if is_own {
            // The address is not the server's, and so it has no end.
            lease.times = None;
        }
        self.grant(ActiveLease {
            lease: Box::new(lease),
            since,
            server,
            source: reply.source,
            is_own,
        });
        Ok(())
    }

    fn handle_nak(&mut self, reply: &Reply) -> Result<(), Discard> {
        // One that does not name its server counts when its source is that of the server's last
        // message, so that nobody else ends the exchange.
        let is_of = |server: Ipv4Addr, source: Ipv4Addr| match reply.server {
            Some(named) => named == server,
            None => [server, source].contains(&reply.source),
        };
        let was_asked = match &self.state {
            State::Requesting { offer, .. } => is_of(offer.server, offer.source),
            State::Renewing { active, .. } if reply.server.is_none() => {
                is_of(active.server, active.source)
            }
            // Everybody was asked, or a server that may have been moved.
            State::Rebooting { .. } | State::Renewing { .. } | State::Rebinding { .. } => true,
            State::Init { .. }
            | State::Selecting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Informing { .. }
            | State::Stopped => return Err(Discard::Unexpected(MessageType::Nak)),
        };
        let server = reply.server_or(None)?;
        if !was_asked {
            return Err(Discard::WrongServer(server));
        }
        // RFC 2132 §9.9: a server says there why it refuses.
        let text = reply.message.options.text(code::MESSAGE);
        self.handle_refusal(server, text.map(str::to_owned));
        Ok(())
    }

    /// Handles that `server` has refused what was asked for.
    fn handle_refusal(&mut self, server: Ipv4Addr, reason: Option<String>) {
        let loss = Loss::Refused { server, reason };
        match &self.state {
            State::Requesting { .. } => self.refuse(loss),
            State::Selecting { .. } => {
                let pause = self.pass_over(server);
                self.fail(loss, self.now + pause);
            }
            State::Init { .. }
            | State::Rebooting { .. }
            | State::Probing { .. }
            | State::Bound { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. }
            | State::Informing { .. }
            | State::Stopped => self.lose(loss, self.now),
        }
    }
}

/// Checks that the address which `server` offers or grants can be that of a host.
fn usable(message: &Message, server: Ipv4Addr) -> Result<(), Discard> {
    let address = message.yiaddr;
    if !reply::is_host(address) {
        return Err(Discard::UnusableAddress(address));
    }
    if address == server {
        return Err(Discard::AddressOfServer(address));
    }
    let prefix_len = lease::prefix_len(address, &message.options, &mut Vec::new());
    if !lease::is_host_of_network(address, prefix_len) {
        return Err(Discard::AddressOfNetwork(address, prefix_len));
    }
    Ok(())
}

/// Returns how long a client that asked for option 108 sends nothing (RFC 8925 §3.2).
fn ipv6_only(requested: &[u8], message: &Message) -> Option<Duration> {
    let seconds = message.options.u32(code::IPV6_ONLY_PREFERRED)?;
    requested
        .contains(&code::IPV6_ONLY_PREFERRED)
        .then(|| Duration::from_secs(seconds.into()).max(MIN_V6ONLY_WAIT))
}

/// How often a REQUEST is sent before another offer is requested: about 8.5 s where that one is worth less,
/// and 2.5 s where it is as good.
const MAX_REQUESTS: u32 = 8;
const MAX_EQUAL_REQUESTS: u32 = 4;
/// How long an offer is requested before servers are asked for others, if there is no other.
// RFC 2131 §3.1 suggests four REQUESTs in 60 s, which is long for a machine that boots. An ACK that comes
// later still counts.
const REQUEST_TIME: Duration = Duration::from_secs(16);
/// A server may take twice as long for the ACK as for the OFFER, but no longer than this.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(30);
/// After this many servers in a row that did not grant their offers, any offer may be the next.
const MAX_FAILURES: u32 = 3;
/// Maximum number of servers that are reported to contradict the one chosen: any number may be made up.
const MAX_CONTRADICTING: usize = 4;

impl Client {
    /// Returns what the offers are worth that there are to choose from.
    pub fn standing(&self) -> Option<Standing> {
        let State::Selecting {
            offers, decide_at, ..
        } = &self.state
        else {
            return None;
        };
        offers.standing(self.config.wants_boot_file, *decide_at)
    }

    /// Leaves SELECTING when the offers are good enough, or the wait for better ones is over.
    pub(super) fn decide(&mut self) {
        let is_ripe = |standing: Standing| standing.is_ripe(self.now);
        if !self.defers_choice && self.standing().is_some_and(is_ripe) {
            self.request_best();
        }
    }

    /// Returns the best offer, when there is one, and the boot that a ProxyDHCP server adds.
    pub(super) fn best(&self) -> Option<(&Offer, Option<&Offer>)> {
        let State::Selecting { offers, .. } = &self.state else {
            return None;
        };
        Some((offers.best()?, offers.proxy()))
    }

    /// Asks for the best offer, when there is one.
    pub(super) fn request_best(&mut self) {
        let State::Selecting {
            offers, decide_at, ..
        } = &mut self.state
        else {
            return;
        };
        // A flood of offers that nobody stands behind may outdo a good one for ever.
        let taken = if self.passed_over.in_row() < MAX_FAILURES {
            offers.take_best()
        } else {
            offers.take_any(&mut self.random)
        };
        let Some(offer) = taken else { return };
        let (proxy, offers) = (
            offers.proxy().cloned().map(Box::new),
            core::mem::take(offers),
        );
        let (decide_at, server, address) = (*decide_at, offer.server, offer.address);
        if let Some(of) = self.passed_over.take_last().filter(|last| *last != server) {
            self.events.push_back(Event::Notice(Notice::Instead {
                server,
                address,
                of,
            }));
        }
        let chosen = offer.lease();
        for other in offers.leases() {
            self.compare(&other, &chosen);
        }
        self.watch(address);
        self.enter(State::Requesting {
            offer: Box::new(offer),
            proxy,
            offers,
            decide_at,
            requested_at: self.now,
            resend: Resend::new(self.now),
        });
    }

    /// Reports what another server says that does not fit the lease chosen, once for each server.
    pub(super) fn compare(&mut self, other: &Lease, chosen: &Lease) {
        let (Some(server), Some(instead)) = (other.server, chosen.server) else {
            return;
        };
        let is_known = server == instead || self.contradicting.contains(&server);
        if is_known || self.contradicting.len() >= MAX_CONTRADICTING {
            return;
        }
        if let Some((title, says, instead_of)) = offer::contradiction(other, chosen) {
            self.contradicting.push(server);
            self.events.push_back(Event::Notice(Notice::Contradiction {
                server,
                title,
                says,
                chosen: instead,
                instead_of,
            }));
        }
    }

    /// Returns whether the REQUESTs have been waited for for long enough.
    pub(super) fn is_unanswered(&self) -> bool {
        let State::Requesting {
            offer,
            offers,
            decide_at,
            requested_at,
            resend,
            ..
        } = &self.state
        else {
            return false;
        };
        if self.now < resend.next_at() {
            return false;
        }
        let waited = self.now.since(*requested_at);
        // From the first DISCOVER to the first OFFER.
        let first_at = decide_at.map_or(*requested_at, |at| {
            self.began_at
                + at.since(self.began_at)
                    .saturating_sub(self.config.boot_file_wait())
        });
        let slowness = (first_at.since(self.began_at) * 2).min(MAX_REQUEST_TIME);
        if waited < slowness {
            return false;
        }
        match offers.best().map(Offer::rank) {
            None => waited >= REQUEST_TIME,
            Some(other) => {
                let most = if other < offer.rank() {
                    MAX_REQUESTS
                } else {
                    MAX_EQUAL_REQUESTS
                };
                // The more do not answer, the sooner the next is tried.
                resend.sent() >= (most >> self.passed_over.in_row().min(3)).max(1)
            }
        }
    }

    /// Gives up the offer that is requested, and passes over its server for a while: requests another
    /// offer, or asks all servers again after a pause. The exchange goes on, so that late offers count.
    pub(super) fn refuse(&mut self, loss: Loss) {
        let now = self.now;
        let State::Requesting {
            offer,
            proxy,
            mut offers,
            decide_at,
            resend,
            ..
        } = core::mem::replace(&mut self.state, State::Stopped)
        else {
            return;
        };
        let server = offer.server;
        if matches!(loss, Loss::Unanswered { .. }) {
            let boots = [Some(offer.clone()), proxy].into_iter().flatten();
            self.requested = Some(Requested {
                address: offer.address,
                server: Some(server),
                boots: boots.map(|offer| offer.boot).collect(),
                sent_at: resend.sent_at(),
            });
        }
        offers.remove(server);
        self.events.push_back(Event::Failed(loss));
        let pause = self.pass_over(server);
        self.search(offers, decide_at, now + pause);
    }

    /// Passes over the offers of a server for a while; returns how long to wait before all are asked
    /// again.
    pub(super) fn pass_over(&mut self, server: Ipv4Addr) -> Duration {
        let time = self.passed_over.add(server, self.now);
        let notice = Notice::PassedOver { server, time };
        self.events.push_back(Event::Notice(notice));
        PassedOver::pause(time)
    }

    /// Goes on to look for offers in the same exchange, asking at `next_at`.
    pub(super) fn search(&mut self, offers: Offers, decide_at: Option<Instant>, next_at: Instant) {
        self.unwatch();
        self.enter(State::Selecting {
            offers,
            decide_at,
            resend: Resend::later(next_at),
        });
        // Those whose time was over while another offer was requested.
        self.take_held();
        self.decide();
    }

    /// Says once that the best offer waits for a boot file, when it is unusually long.
    pub(super) fn note_wait(&mut self) {
        let Some(at) = self.notice_at.filter(|at| self.now >= *at) else {
            return;
        };
        self.notice_at = None;
        if let Some(standing) = self.standing().filter(|it| !it.is_ripe(self.now)) {
            let time = standing.decide_at.since(at);
            let notice = Notice::AwaitsBootFile { time };
            self.events.push_back(Event::Notice(notice));
        }
    }

    /// Takes the offers of servers that have been passed over for long enough.
    pub(super) fn take_held(&mut self) {
        while let Some(offer) = self.passed_over.take_due(self.now) {
            if let State::Selecting { offers, .. } = &mut self.state {
                offers.add(offer, &mut self.random);
            }
        }
    }
}
