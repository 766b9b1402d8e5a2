//! The dialogue of one interface with its DHCP servers: a client from the first carrier on, and
//! queues of what it wants sent and has to report.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use wireboot_proto::dhcp::config::Config as ClientConfig;
use wireboot_proto::dhcp::{Client, Discard, Event, RequestCounts, StateName, Transmit};
use wireboot_proto::packet::arp;
use wireboot_proto::packet::ipv4::Datagram;
use wireboot_proto::time::{Instant, Timestamp};

/// First exchange of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstExchange {
    /// DISCOVER: any address.
    Discover,
    /// REQUEST for the address of an earlier lease (INIT-REBOOT).
    Reboot(Ipv4Addr),
    /// INFORM: only the options for an address that the interface already has.
    Inform(Ipv4Addr),
}

/// A client and its first exchange; received datagrams go in, messages and events come out.
///
/// The queues are filled after every datagram, so that one is answered in the state it was received
/// in, however many the kernel delivers together.
#[derive(Debug)]
pub(super) struct Dialogue {
    config: ClientConfig,
    first: FirstExchange,
    /// Offers are compared with those on other interfaces, and requested only by
    /// [`Dialogue::accept`].
    defers_choice: bool,
    /// None before the first carrier: the client's times count from there.
    client: Option<Client>,
    /// State in the last event returned.
    state: StateName,
    messages: VecDeque<(Transmit, Vec<u8>)>,
    arp_packets: VecDeque<arp::ArpPacket>,
    /// Events, with the kernel's receive timestamp of the datagram that caused them.
    events: VecDeque<(Option<Timestamp>, Event)>,
}

impl Dialogue {
    pub(super) fn new(config: ClientConfig, first: FirstExchange) -> Self {
        Self {
            config,
            first,
            defers_choice: false,
            client: None,
            state: StateName::Init,
            messages: VecDeque::new(),
            arp_packets: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins with another exchange; without effect once there has been a carrier.
    pub(super) const fn set_first_exchange(&mut self, first: FirstExchange) {
        self.first = first;
    }

    /// Stops servers from committing a lease in answer to the DISCOVER.
    pub(super) const fn forbid_rapid_commit(&mut self) {
        self.config.rapid_commit = false;
    }

    pub(super) const fn set_defers_choice(&mut self, defers: bool) {
        self.defers_choice = defers;
        if let Some(client) = &mut self.client {
            client.set_defers_choice(defers);
        }
    }

    /// Starts the client, or has a running one repeat its question, since the network may be
    /// another one.
    pub(super) fn handle_carrier(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            // RFC 2131 §3.7: a client that may be on another network confirms its address first.
            return client.link_up(now);
        }
        let mut client = Client::new(self.config.clone(), now);
        match self.first {
            FirstExchange::Discover => {}
            FirstExchange::Reboot(address) => client.reboot(address, now),
            FirstExchange::Inform(address) => client.inform(address, now),
        }
        client.set_defers_choice(self.defers_choice);
        self.client = Some(client);
    }

    /// Repeats the question at once while there is no lease: the switch port may just have opened.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.with_client(None, |client| {
            if client.lease().is_none() {
                client.link_up(now);
            }
        });
    }

    /// Handles a datagram to port 68, which the kernel received at `at`.
    ///
    /// # Errors
    /// The reason why the client ignores it.
    pub(super) fn handle_input(
        &mut self,
        datagram: Datagram<'_>,
        at: Timestamp,
        now: Instant,
    ) -> Result<(), Discard> {
        let handled = self.with_client(Some(at), |client| client.handle_input(datagram, now));
        handled.unwrap_or(Ok(()))
    }

    pub(super) fn handle_arp(&mut self, packet: &arp::ArpPacket, now: Instant) {
        self.with_client(None, |client| client.handle_arp(packet, now));
    }

    /// Drives the client's timers. `count` reads how many requests other machines have sent, and is
    /// called only when a message is due.
    pub(super) fn handle_timeout(&mut self, count: impl FnOnce() -> RequestCounts, now: Instant) {
        self.with_client(None, |client| {
            if client.poll_timeout().is_some_and(|at| now >= at) {
                // Reading PACKET_STATISTICS resets them, so it waits until the count is used.
                client.handle_contention(count(), now);
            }
            client.handle_timeout(now);
        });
    }

    /// Requests the best offer.
    pub(super) fn accept(&mut self, now: Instant) {
        self.with_client(None, |client| client.accept(now));
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.with_client(None, |client| client.renew(now));
    }

    /// Ends with a RELEASE of what was granted; with `withdraws` also of what was only requested.
    pub(super) fn release(&mut self, withdraws: bool, now: Instant) {
        self.with_client(None, |client| {
            if withdraws {
                client.withdraw(now);
            } else {
                client.release(now);
            }
        });
    }

    /// Calls `act` on the client, if there is one, and queues what it has to send and to report.
    fn with_client<T>(
        &mut self,
        at: Option<Timestamp>,
        act: impl FnOnce(&mut Client) -> T,
    ) -> Option<T> {
        let client = self.client.as_mut()?;
        let result = act(client);
        let mut payload = Vec::new();
        while let Some(transmit) = client.poll_transmit(&mut payload) {
            let message = (transmit, std::mem::take(&mut payload));
            self.messages.push_back(message);
        }
        self.arp_packets
            .extend(std::iter::from_fn(|| client.poll_arp()));
        self.events
            .extend(std::iter::from_fn(|| Some((at, client.poll_event()?))));
        Some(result)
    }

    pub(super) fn poll_message(&mut self) -> Option<(Transmit, Vec<u8>)> {
        self.messages.pop_front()
    }

    pub(super) fn poll_arp(&mut self) -> Option<arp::ArpPacket> {
        self.arp_packets.pop_front()
    }

    /// Returns the next event and the state that the client was in before it.
    pub(super) fn poll_event(&mut self) -> Option<(Option<Timestamp>, StateName, Event)> {
        let (at, event) = self.events.pop_front()?;
        let before = self.state;
        if let Event::Entered(state) = event {
            self.state = state;
        }
        Some((at, before, event))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.client.as_ref()?.poll_timeout()
    }

    /// Returns the client, which exists from the first carrier on.
    pub(super) const fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    pub(super) const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Returns whether only options are asked for.
    pub(super) const fn is_inform(&self) -> bool {
        matches!(self.first, FirstExchange::Inform(_))
    }
}
