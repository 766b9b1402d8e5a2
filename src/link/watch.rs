//! Monitors interfaces: new, carrier up or down, removed.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::state::unreadable;
use crate::error::{Error, Reason};
use crate::sys::netlink::{LinkSubscription, Notifications};
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::route::{LinkInfo, RouteMessage};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::sorted::SortedMap;
use wireboot_proto::time::Instant;

/// A change of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The interface as it is now, or as it was before removal.
    pub link: LinkInfo,
    /// Whether it has been removed.
    pub gone: bool,
}

/// A monitor of all interfaces: reports the state of each once, and then every change. Its descriptor
/// is readable if there may be one.
///
/// If the socket's buffer overflows, the state is read again, so that no lasting change is missed.
#[derive(Debug)]
pub struct Watch {
    subscription: LinkSubscription,
    // Boxed, since a machine may have thousands.
    known: SortedMap<u32, Box<LinkInfo>>,
    pending: VecDeque<Change>,
    /// Whether the interfaces that are not in `known` have been requested too.
    is_complete: bool,
    /// Whether there may be notifications to read.
    is_readable: bool,
    /// Whether an interface may have lost an address or a route of a DHCP client.
    may_lack_setting: bool,
}

impl Watch {
    /// Opens a monitor of the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Reason::System`] when the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        Self::open_for(&[])
    }

    /// Returns the interfaces that there are.
    ///
    /// # Errors
    /// As [`Watch::open`] and [`Watch::next_change`].
    #[cfg(any(feature = "arping", feature = "capture"))]
    pub fn list() -> Result<Vec<LinkInfo>, Error> {
        let mut watch = Self::open()?;
        let mut links = Vec::new();
        while let Some(Change { link, .. }) = watch.next_change()? {
            links.push(link);
        }
        Ok(links)
    }

    /// As [`Watch::open`], but when all of these interfaces exist, and none has a master, their state
    /// alone is reported at first: a machine may have thousands.
    ///
    /// # Errors
    /// As [`Watch::open`].
    pub fn open_for(names: &[String]) -> Result<Self, Error> {
        let mut watch = Self {
            subscription: LinkSubscription::open().map_err(unwatchable)?,
            known: SortedMap::new(),
            pending: VecDeque::new(),
            is_complete: false,
            is_readable: false,
            may_lack_setting: false,
        };
        // After the subscription, so that no change is missed.
        for name in names {
            // If it is refused, all are requested.
            let messages = watch.subscription.link(name).unwrap_or_default();
            messages
                .into_iter()
                .for_each(|message| watch.handle_message(message));
        }
        let is_known = |name: &String| watch.known.values().any(|link| link.name == *name);
        // A port is named together with its bridge or bond.
        let has_port = watch.known.values().any(|link| link.master.is_some());
        if names.is_empty() || has_port || !names.iter().all(is_known) {
            watch.read_all()?;
        }
        Ok(watch)
    }

    /// Notes that the descriptor is readable: [`Watch::next_change`] reads notifications only then.
    pub const fn set_readable(&mut self) {
        self.is_readable = true;
    }

    /// Returns the next change, or none when there is none now; never blocks.
    ///
    /// # Errors
    /// [`Reason::System`] when the socket fails.
    pub fn next_change(&mut self) -> Result<Option<Change>, Error> {
        while self.pending.is_empty() && self.is_readable {
            match self.subscription.take().map_err(unwatchable)? {
                Notifications::Nothing => self.is_readable = false,
                Notifications::Lost => {
                    self.may_lack_setting = true;
                    self.read_all()?;
                }
                Notifications::Changes(messages) => messages.into_iter().for_each(|message| {
                    self.handle_message(message);
                }),
            }
        }
        Ok(self.pending.pop_front())
    }

    /// Reports the state of every interface once more, in place of pending changes.
    pub fn repeat(&mut self) {
        self.pending.retain(|change| change.gone);
        let all = self.known.values().map(|link| Change {
            link: LinkInfo::clone(link),
            gone: false,
        });
        self.pending.extend(all);
    }

    /// Subscribes to changes of addresses and routes too, for [`Watch::take_loss`].
    pub fn follow_settings(&mut self) -> Result<(), Error> {
        // One may have been removed before the subscription.
        self.may_lack_setting = true;
        let added = self.subscription.add_addresses_and_routes();
        added.map_err(unwatchable)
    }

    /// Returns whether an interface may have lost an address or a route of a DHCP client since the
    /// last time, as of the last call of [`Watch::next_change`].
    pub const fn take_loss(&mut self) -> bool {
        std::mem::replace(&mut self.may_lack_setting, false)
    }

    /// Asks whether an interface is a bond whose LACP has found a partner; none for any other interface.
    ///
    /// # Errors
    /// [`Reason::System`] when the kernel refuses to say.
    pub fn has_partner(&mut self, index: u32) -> Result<Option<bool>, Error> {
        if !self.is_complete {
            self.read_all()?;
        }
        let Some(name) = self.known.get(&index).map(|link| link.name.clone()) else {
            return Ok(None);
        };
        for message in self.subscription.link(&name).map_err(unreadable)? {
            self.handle_message(message);
        }
        Ok(self.known.get(&index).and_then(|link| link.has_partner))
    }

    /// Returns whether an interface of this machine has the address.
    pub fn is_ours(&mut self, mac: MacAddress) -> bool {
        if !self.is_complete
            && let Err(error) = self.read_all()
        {
            log::debug!("{}", error.chain());
        }
        self.known.values().any(|link| link.mac == Some(mac))
    }

    /// Waits until there may be a change, or `deadline` has passed.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] by one of `signals`, [`Reason::System`] when `poll` fails.
    pub fn wait(&mut self, deadline: Instant, signals: Option<&Signals>) -> Result<(), Error> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        let mut sources = vec![self.as_fd()];
        sources.extend(signals.map(AsFd::as_fd));
        let readable = sys::wait_readable(&sources, Some(deadline)).map_err(unwatchable)?;
        self.is_readable |= readable.first() == Some(&true);
        let signal = signals.map(Signals::take).transpose();
        match signal.map_err(unwatchable)?.flatten() {
            Some(signal) => Err(Box::new(Reason::Interrupted(signal))),
            None => Ok(()),
        }
    }

    /// Waits until one of the interfaces with these indices has a carrier; returns its position
    /// among them, or none after `timeout`.
    ///
    /// # Errors
    /// As [`Watch::wait`].
    pub(super) fn wait_for_carrier(
        &mut self,
        interfaces: &[u32],
        timeout: Duration,
        signals: Option<&Signals>,
    ) -> Result<Option<usize>, Error> {
        let deadline = sys::now() + timeout;
        loop {
            while let Some(Change { link, gone }) = self.next_change()? {
                let place = interfaces.iter().position(|index| *index == link.index);
                if let (Some(place), true, false) = (place, link.carrier, gone) {
                    log::debug!("{}: carrier", link.name);
                    return Ok(Some(place));
                }
            }
            if sys::now() >= deadline {
                return Ok(None);
            }
            self.wait(deadline, signals)?;
        }
    }

    fn read_all(&mut self) -> Result<(), Error> {
        let messages = self.subscription.dump().map_err(unreadable)?;
        self.is_complete = true;
        let mut before = std::mem::take(&mut self.known);
        for message in messages {
            let index = match &message {
                RouteMessage::NewLink(link) | RouteMessage::DelLink(link) => link.index,
                RouteMessage::NewAddress(_)
                | RouteMessage::DelAddress(_)
                | RouteMessage::NewRoute(_)
                | RouteMessage::DelRoute(_)
                | RouteMessage::Ack(_)
                | RouteMessage::Done
                | RouteMessage::Other => continue,
                RouteMessage::NewAddress6(_) => continue,
            };
            if let Some(link) = before.remove(&index) {
                self.known.insert(index, link);
            }
            self.handle_message(message);
        }
        for (_, link) in before {
            let link = *link;
            self.pending.push_back(Change { link, gone: true });
        }
        Ok(())
    }

    fn handle_message(&mut self, message: RouteMessage) {
        let change = match message {
            RouteMessage::NewLink(link) => {
                let before = self.known.insert(link.index, Box::new(link.clone()));
                if before.is_some_and(|before| before.is_same_state(&link)) {
                    return;
                }
                // One that was set down has lost its routes, which nobody tells (fib_disable_ip).
                self.may_lack_setting |= link.up;
                Change { link, gone: false }
            }
            RouteMessage::DelLink(link) => {
                if self.known.remove(&link.index).is_none() {
                    return;
                }
                Change { link, gone: true }
            }
            RouteMessage::DelAddress(_) => {
                self.may_lack_setting = true;
                return;
            }
            // Others come and go by the thousand on a router.
            RouteMessage::DelRoute(route) => {
                self.may_lack_setting |= route.is_of_dhcp();
                return;
            }
            RouteMessage::NewAddress(_)
            | RouteMessage::NewRoute(_)
            | RouteMessage::Ack(_)
            | RouteMessage::Done
            | RouteMessage::Other => return,
            RouteMessage::NewAddress6(_) => return,
        };
        self.pending.push_back(change);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.subscription.as_fd()
    }
}

fn unwatchable(source: SyscallError) -> Error {
    Box::new(Reason::System {
        doing: "cannot watch the network interfaces".to_owned(),
        source,
    })
}
