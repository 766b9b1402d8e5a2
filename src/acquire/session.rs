//! One interface with its DHCP client, from before the carrier until the lease is released.
//!
//! A session joins four parts that know nothing of each other: the [`Station`] has the sockets, the
//! [`Dialogue`] the client, the [`AddressSetup`] sets what a lease says, and the [`Witness`] records
//! what happens.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::address_setup::AddressSetup;
use super::client_config::{client_config, client_id, holder};
use super::diagnosis::LeaseProgress;
use super::dialogue::{Dialogue, FirstExchange};
use super::station::{Reception, Station};
use super::witness::Witness;
use crate::config::DhcpConfig;
use crate::error::{Error, Reason};
use crate::handover;
use crate::link::{Change, Link, PARTNER_INTERVAL, Presence, Watch};
use crate::sys::{self, rcu};
use crate::timeline::Moment;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::dhcp::offer::{Rank, Standing};
use wireboot_proto::dhcp::{Client, Event, Loss, StateName};
use wireboot_proto::time::{Instant, earliest};

/// An interface in dialogue with its DHCP servers.
#[derive(Debug)]
pub struct Session {
    link: Arc<Link>,
    station: Station,
    dialogue: Dialogue,
    setup: AddressSetup,
    witness: Witness,
    has_carrier: bool,
    /// When a bond is asked again whether it has a partner.
    partner_at: Option<Instant>,
    /// It had none the last time.
    awaits_partner: bool,
    /// Reports changes of the interface, once the session outlives those of other interfaces.
    link_monitor: Option<Watch>,
}

impl Session {
    /// Opens the sockets on `link`, which may be down.
    ///
    /// # Errors
    /// [`Reason::Configure`] without CAP_NET_RAW.
    pub(super) fn open(link: Arc<Link>, config: &DhcpConfig) -> Result<Self, Error> {
        let station = Station::open(&link)?;
        let client = client_config(&link, config);
        let setup = AddressSetup::new(Arc::clone(&link), config);
        // INIT-REBOOT asks one server for one address: it hears no proxy, and no second offer to compare.
        let is_plain = config.proxy_wait.is_none();
        let saved = setup
            .saved_before()
            .filter(|_| is_plain && config.uses_lease_file)
            .filter(|saved| saved.is_valid_for(&client_id(&client), sys::since_1970()));
        let first = saved.map_or(FirstExchange::Discover, |saved| {
            FirstExchange::Reboot(saved.address)
        });
        Ok(Self {
            station,
            dialogue: Dialogue::new(client, first),
            setup,
            witness: Witness::new(Arc::clone(&link)),
            has_carrier: false,
            partner_at: None,
            awaits_partner: false,
            link_monitor: None,
            link,
        })
    }

    /// Makes it one beside that of the parent of its VLAN, which has the switch port.
    pub(super) const fn share_switch_port(&mut self) {
        self.witness.share_switch_port();
    }

    /// Takes over from the session of the parent of this VLAN what must outlive that.
    pub(super) fn take_over(&mut self, parent: &mut Self) {
        self.link.take_over(&parent.link);
        self.witness.take_over(&mut parent.witness);
    }

    /// Asks only for the options of `address`, which is the interface's own.
    pub(super) fn inform(&mut self, address: Ipv4Addr) {
        self.dialogue
            .set_first_exchange(FirstExchange::Inform(address));
        self.station.bind_client_port();
    }

    /// Sends DISCOVERs only, to which no server commits a lease.
    pub(super) fn only_discover(&mut self) {
        self.dialogue.set_first_exchange(FirstExchange::Discover);
        self.dialogue.forbid_rapid_commit();
        self.set_defers_choice(true);
    }

    /// Whether offers are requested by [`Session::accept`] only.
    pub(super) const fn set_defers_choice(&mut self, defers: bool) {
        self.dialogue.set_defers_choice(defers);
    }

    /// Offers are requested by [`Session::accept`] only, and IPv6 is asked for beside.
    pub(super) const fn set_beside_ipv6(&mut self) {
        self.set_defers_choice(true);
        self.witness.diagnosis.is_with_ipv6 = true;
    }

    pub(super) fn set_link_monitor(&mut self, monitor: Watch) {
        self.link_monitor = Some(monitor);
    }

    /// Returns the link monitor, a new one if there is none.
    ///
    /// # Errors
    /// [`Reason::System`] when the kernel refuses a netlink socket.
    pub(super) fn take_link_monitor(&mut self) -> Result<Watch, Error> {
        self.link_monitor.take().map_or_else(Watch::open, Ok)
    }

    /// Binds port 68 in the kernel too; for a session that stays.
    pub(super) fn bind_client_port(&mut self) {
        self.station.bind_client_port();
    }

    /// The interface.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The interface, for a user beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// The client identifier (option 61).
    pub fn client_id(&self) -> Vec<u8> {
        client_id(self.dialogue.config())
    }

    /// What happened on the way to the lease.
    pub fn moments(&self) -> &[Moment] {
        self.witness.moments()
    }

    /// The lease, when there is one.
    pub fn lease(&self) -> Option<&Lease> {
        self.dialogue.client().and_then(Client::lease)
    }

    /// Returns the paths of all files that [`Session::configure`] may write, and the others remove.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.setup.paths()
    }

    /// Returns how much time has passed since the lease was requested.
    fn lease_age(&self) -> Duration {
        let since = self.dialogue.client().and_then(Client::lease_since);
        since.map_or(Duration::ZERO, |since| sys::now().since(since))
    }

    /// Returns how good the offers here are.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.dialogue.client().and_then(Client::standing)
    }

    /// Returns whether a lease has been requested that is worth waiting for beside an offer of the
    /// rank `other` elsewhere.
    pub(super) fn is_worth_awaiting(&self, other: Option<Rank>) -> bool {
        let client = self.dialogue.client();
        client.is_some_and(|client| client.is_worth_awaiting(other))
    }

    /// Returns the lease of the best offer, as it would be configured.
    pub(super) fn preview(&self) -> Option<Lease> {
        let mut lease = self.dialogue.client()?.preview()?;
        self.setup.amend(&mut lease);
        Some(lease)
    }

    /// Returns whether there has been a carrier.
    pub(super) const fn has_begun(&self) -> bool {
        self.dialogue.client().is_some()
    }

    /// Returns whether a server has answered whose offer may become a lease.
    pub(super) fn has_answer(&self) -> bool {
        // INFORM is about an address of this interface.
        self.standing().is_some() || self.is_worth_awaiting(None) || self.dialogue.is_inform()
    }

    /// Returns whether no lease can be expected here for minutes.
    pub(super) const fn is_hopeless(&self) -> bool {
        self.witness.diagnosis.ipv6_only.is_some()
    }

    /// Returns the error of an interface without a lease after `waited`; `received` is its counter of
    /// frames now.
    pub(super) fn failure(&mut self, waited: Duration, received: Option<u64>) -> Error {
        self.witness.failure(waited, received)
    }

    /// Returns how the interface without a lease stands, with the time `left` for one; `received` is its
    /// counter of frames now.
    pub(super) fn waiting(&mut self, left: Duration, received: Option<u64>) -> String {
        if self.has_begun() {
            self.witness.diagnosis.kinds.add(self.station.kind_counts());
        }
        self.witness
            .diagnosis
            .waiting(&self.link.name, left, received)
    }

    /// Returns how far the interface got on the way to a lease, for comparison with others.
    pub(super) const fn progress(&self) -> LeaseProgress {
        self.witness.diagnosis.progress()
    }

    /// Handles a change of the interface; none if it is one of another.
    pub(super) fn handle_link(&mut self, change: &Change, now: Instant) -> Option<Presence> {
        let presence = self.link.follow(change)?;
        self.station.follow(&self.link, presence);
        self.witness.diagnosis.note_link(change, presence);
        if presence != Presence::Same {
            self.witness.handle_removal();
            self.has_carrier = false;
        }
        // carrier is IFF_LOWER_UP, which comes up to a second before IFF_RUNNING.
        let carrier = change.link.carrier && !change.gone;
        // IFF_RUNNING follows the carrier by up to 1 s (linkwatch), and until then noop_qdisc drops
        // what is sent.
        self.station.set_running(change.link.running);
        if carrier && !self.has_carrier {
            self.witness.handle_carrier(now);
            self.dialogue.handle_carrier(now);
            // The carrier of a bond is that of its first member, whatever LACP has found.
            self.partner_at = (cfg!(feature = "bond") && self.link.may_be_bond).then_some(now);
        } else if !carrier && self.has_carrier {
            log::warn!("{}: the carrier is gone", self.link.name);
        }
        self.has_carrier = carrier;
        Some(presence)
    }

    /// Handles the frames received. ARP of this machine's own interfaces is ignored: two on one
    /// network answer for each other.
    ///
    /// # Errors
    /// [`Reason::System`] when the kernel fails to deliver them.
    pub(super) fn handle_input(&mut self, monitor: &mut Watch, now: Instant) -> Result<(), Error> {
        if !self.has_begun() {
            return Ok(());
        }
        let name = &self.link.name;
        let (dialogue, diagnosis) = (&mut self.dialogue, &mut self.witness.diagnosis);
        let received = self.station.receive(&mut |reception| match reception {
            Reception::Arp(packet) if monitor.is_ours(packet.sha) => {}
            Reception::Arp(packet) => dialogue.handle_arp(&packet, now),
            Reception::Datagram { datagram, at, .. } => {
                let source = *datagram.source.ip();
                if let Err(discard) = dialogue.handle_input(datagram, at, now) {
                    diagnosis.discards.note(name, source, discard);
                }
            }
            Reception::Discarded { source, why } => diagnosis.discards.note(name, source, why),
            Reception::Router(router) => diagnosis.note_router(name, router),
        });
        received.map_err(|source| {
            Box::new(Reason::System {
                doing: format!("cannot read from {name}"),
                source,
            })
        })?;
        self.send();
        let has_partner = self.find_partner(monitor, now)?;
        if self.witness.handle_switch(now) || has_partner {
            self.dialogue.ask_again(now);
            self.send();
        }
        Ok(())
    }

    /// Looks whether the bond below has found its partner in LACP since the last time: what was sent
    /// before is lost, unless the switch serves machines without LACP too.
    fn find_partner(&mut self, monitor: &mut Watch, now: Instant) -> Result<bool, Error> {
        if !cfg!(feature = "bond") || self.partner_at.is_none_or(|at| at > now) {
            return Ok(false);
        }
        let found = monitor.has_partner(self.link.port())?;
        self.partner_at = (found == Some(false)).then(|| now + PARTNER_INTERVAL);
        let is_new = found == Some(true) && self.awaits_partner;
        self.awaits_partner = self.partner_at.is_some();
        if is_new {
            log::info!("{}: LACP has found a partner", self.link.name);
        }
        Ok(is_new)
    }

    /// Drives the timers, and sends what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let xid = self.dialogue.client().map(Client::xid);
        self.station.handle_timeout(xid, now);
        let station = &self.station;
        self.dialogue
            .handle_timeout(|| station.request_counts(), now);
        self.send();
    }

    /// Requests the best offer.
    pub(super) fn accept(&mut self, now: Instant) {
        self.dialogue.accept(now);
        self.send();
    }

    /// Renews the lease now.
    pub(super) fn renew(&mut self, now: Instant) {
        self.dialogue.renew(now);
        self.send();
    }

    /// Sends what is queued: messages first, since servers take longest; then the socket for ARP is
    /// opened, and then ARP is sent, so that no answer is missed.
    fn send(&mut self) {
        while let Some((transmit, payload)) = self.dialogue.poll_message() {
            if !self.has_carrier {
                let kind = transmit.message_type;
                log::debug!("{}: no carrier for a {kind}", self.link.name);
                continue;
            }
            // Before it is sent, since the answer may arrive first.
            let client = self.dialogue.client();
            self.witness.diagnosis.requested = client
                .and_then(Client::requested)
                .or(self.witness.diagnosis.requested);
            let message_type = transmit.message_type;
            self.witness.handle_transmit(message_type);
            self.station.send(transmit, &payload);
            self.witness.handle_sent(message_type);
        }
        let watched = self.dialogue.client().and_then(Client::conflict_watch);
        let watched = watched.filter(|_| self.link.index() != 0);
        self.station.set_conflict_watch(watched);
        while let Some(packet) = self.dialogue.poll_arp() {
            if self.has_carrier {
                self.station.send_arp(&packet);
            }
        }
    }

    /// Returns the next event of the client. What it means for the sockets and for the lease file has
    /// been done; the interface is the caller's to change.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let (at, state, event) = self.dialogue.poll_event()?;
        let at = at.map_or_else(sys::up_time, sys::up_time_at);
        self.witness.handle_event(&event, at);
        match &event {
            Event::Bound(_) => {
                self.station.stop_counting();
                self.partner_at = None;
            }
            // A NAK in INIT-REBOOT says that the address on file is wrong for this network (RFC
            // 2131 §4.3.2), and an earlier process may have left it on the interface.
            Event::Failed(Loss::Refused { .. }) if state == StateName::Rebooting => {
                if let Err(error) = self.setup.remove_saved() {
                    log::warn!("{}", error.chain());
                }
            }
            Event::Entered(_)
            | Event::Offered(_)
            | Event::Failed(_)
            | Event::Lost(_)
            | Event::OtherAddress { .. }
            | Event::Unanswered { .. }
            | Event::Notice(_)
            | Event::Ipv6Only { .. } => {}
        }
        Some(event)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = [
            self.dialogue.poll_timeout(),
            self.witness.poll_timeout(),
            self.station.poll_timeout(),
            self.partner_at.filter(|_| self.has_begun()),
        ];
        earliest(&timeouts)
    }

    /// Returns the descriptors to wait on.
    pub(super) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.station.sources().chain(self.witness.source())
    }

    /// Configures the interface as its lease says, and writes the files; returns the lease.
    ///
    /// # Errors
    /// [`Reason::Configure`] with what the kernel refused.
    pub(super) fn configure(&self) -> Result<Lease, Error> {
        let over = || {
            Box::new(Reason::NoOffer(format!(
                "{}: the lease is over",
                self.link.name
            )))
        };
        let mut lease = self.lease().cloned().ok_or_else(over)?;
        let (age, client_id) = (self.lease_age(), self.client_id());
        self.setup.amend(&mut lease);
        self.setup.configure(&lease, age, &client_id)?;
        // No server could be asked to extend or to release what INFORM brought.
        if !self.dialogue.is_inform() {
            let next_hop = self.station.next_hop();
            self.setup.save(&lease, age, client_id, next_hop);
        }
        Ok(lease)
    }

    /// Configures the interface again, if somebody has removed the address or a route of the lease.
    pub(super) fn reconfigure(&self) {
        if let Some(missing) = self.missing() {
            let name = &self.link.name;
            // What is removed with its interface is reported ahead of it.
            if self.set_again() {
                log::warn!("{name}: somebody has removed {missing}, which is set again");
            }
        }
    }

    /// Configures an interface that has returned without what the lease says.
    pub(super) fn configure_returned(&self) {
        if self.missing().is_some() {
            self.set_again();
        }
    }

    /// Returns whether it is set.
    fn set_again(&self) -> bool {
        let configured = self.configure();
        match &configured {
            Ok(_) => {}
            // It is being removed, which the kernel will report.
            Err(error) => {
                if !matches!(&**error, Reason::Configure { source, .. } if source.is(Errno::ENODEV))
                {
                    log::error!("{}", error.chain());
                }
            }
        }
        configured.is_ok()
    }

    /// Returns the address or route of the lease that the interface does not have; none while the
    /// interface itself is missing.
    fn missing(&self) -> Option<String> {
        let mut lease = self.lease().filter(|_| self.link.index() != 0)?.clone();
        self.setup.amend(&mut lease);
        self.setup.missing(&lease, self.lease_age())
    }

    /// Returns until when neighbours may answer the last probe for the address.
    pub(super) fn probe_answered_by(&self) -> Option<Instant> {
        self.dialogue.client()?.probe_answered_by()
    }

    /// Returns whether the interface has the address of the lease.
    pub(super) fn has_address(&self) -> bool {
        self.lease()
            .is_some_and(|lease| self.setup.has_address(lease))
    }

    /// Removes what [`Session::configure`] set.
    pub(super) fn clear(&self) {
        self.setup.clear();
    }

    /// Releases what was granted, and removes from the interface what was set for it.
    pub fn release(self) {
        self.end(false);
    }

    /// As [`Session::release`]; with `withdraws` also what a server may just be granting, since another
    /// session has the lease.
    #[inline(never)]
    pub(super) fn end(mut self, withdraws: bool) {
        let has_lease = self.lease().is_some();
        // RELEASE goes out while the address is still set (RFC 2131 §4.4.6).
        self.dialogue.release(withdraws, sys::now());
        self.send();
        self.link.clear_and_lower();
        if has_lease {
            self.setup.remove_files();
        }
    }

    /// Releases what was granted, and what a server may just be granting, since a session of IPv6 has the
    /// interface, on which nothing was set here.
    pub(super) fn withdraw(mut self) {
        self.dialogue.release(true, sys::now());
        self.send();
        // The boot over IPv6 waits for it.
        rcu::hastened(|| self.station.close());
    }

    /// Puts the interface and the lease file back as they were found, without a RELEASE: another
    /// client may have the same lease.
    pub fn restore(self) {
        self.setup.restore();
    }

    /// Leaves the lease in force, and closes the packet sockets; where that takes long, they are left to
    /// the end of the process, which takes as long and needs no threads.
    pub fn outlive(mut self) {
        // Nothing else that is open needs an end of its own.
        let _ = rcu::expedited(|| self.station.close());
        std::mem::forget(self);
    }
}

/// Releases the lease in the file of `link`, and removes from the interface what was set for it; false
/// when there is no such lease.
///
/// # Errors
/// [`Reason::Configure`] without CAP_NET_RAW, or with what the kernel refused.
pub(super) fn release_saved(link: Link, config: &DhcpConfig) -> Result<bool, Error> {
    let link = Arc::new(link);
    let setup = AddressSetup::new(Arc::clone(&link), config);
    let Some(saved) = setup.saved_before() else {
        return Ok(false);
    };
    let mut station = Station::open(&link)?;
    station.set_next_hop(saved.next_hop);
    station.bind_client_port();
    let mut client = Client::new(client_config(&link, config), sys::now());
    client.give_back(saved.address, saved.server, sys::now());
    let mut payload = Vec::new();
    while let Some(transmit) = client.poll_transmit(&mut payload) {
        station.send(transmit, &payload);
    }
    handover::remove(&holder(&link, &[]));
    setup.remove_saved()?;
    log::info!("{}: released {}", link.name, saved.address);
    Ok(true)
}
