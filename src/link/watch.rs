//! Monitors interfaces: new, carrier up or down, removed.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::state::unreadable;
use crate::error::Error;
use crate::sys::netlink::{LinkSubscription, Notifications};
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::route::{LinkInfo, RouteMessage};
use wireboot_proto::packet::ethernet::MacAddress;
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
    known: BTreeMap<u32, LinkInfo>,
    pending: VecDeque<Change>,
    /// Whether an interface may have lost an address.
    may_lack_address: bool,
}

impl Watch {
    /// Opens a monitor of the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let mut watch = Self {
            subscription: LinkSubscription::open().map_err(unwatchable)?,
            known: BTreeMap::new(),
            pending: VecDeque::new(),
            may_lack_address: false,
        };
        // After the subscription, so that no change is missed.
        watch.read_all()?;
        Ok(watch)
    }

    /// Returns the next change, or none when there is none now; never blocks.
    ///
    /// # Errors
    /// [`Error::System`] when the socket fails.
    pub fn next_change(&mut self) -> Result<Option<Change>, Error> {
        while self.pending.is_empty() {
            match self.subscription.take().map_err(unwatchable)? {
                Notifications::Nothing => return Ok(None),
                Notifications::Lost => {
                    self.may_lack_address = true;
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
        let all = self.known.values().cloned();
        self.pending
            .extend(all.map(|link| Change { link, gone: false }));
    }

    /// Subscribes to address changes too, for [`Watch::take_address_loss`].
    pub fn follow_addresses(&mut self) -> Result<(), Error> {
        // An address may have been removed before the subscription.
        self.may_lack_address = true;
        self.subscription.add_addresses().map_err(unwatchable)
    }

    /// Returns whether an interface may have lost an address since the last time, as of the last
    /// call of [`Watch::next_change`].
    pub const fn take_address_loss(&mut self) -> bool {
        std::mem::replace(&mut self.may_lack_address, false)
    }

    /// Returns whether an interface of this machine has the address.
    pub fn is_ours(&self, mac: MacAddress) -> bool {
        self.known.values().any(|link| link.mac == Some(mac))
    }

    /// Waits until there may be a change, or `deadline` has passed.
    ///
    /// # Errors
    /// [`Error::Interrupted`] by one of `signals`, [`Error::System`] when `poll` fails.
    pub fn wait(&self, deadline: Instant, signals: Option<&Signals>) -> Result<(), Error> {
        if !self.pending.is_empty() {
            return Ok(());
        }
        let mut sources = vec![self.as_fd()];
        sources.extend(signals.map(AsFd::as_fd));
        sys::wait_readable(&sources, Some(deadline)).map_err(unwatchable)?;
        let signal = signals.map(Signals::take).transpose();
        match signal.map_err(unwatchable)?.flatten() {
            Some(_) => Err(Error::Interrupted),
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
        let mut before = std::mem::take(&mut self.known);
        for message in self.subscription.dump().map_err(unreadable)? {
            let index = match &message {
                RouteMessage::NewLink(link) | RouteMessage::DelLink(link) => link.index,
                RouteMessage::NewAddress(_)
                | RouteMessage::DelAddress(_)
                | RouteMessage::NewRoute(_)
                | RouteMessage::Ack(_)
                | RouteMessage::Done
                | RouteMessage::Other => continue,
            };
            self.known
                .extend(before.remove(&index).map(|link| (index, link)));
            self.handle_message(message);
        }
        for link in before.into_values() {
            self.pending.push_back(Change { link, gone: true });
        }
        Ok(())
    }

    fn handle_message(&mut self, message: RouteMessage) {
        let change = match message {
            RouteMessage::NewLink(link) => {
                let before = self.known.insert(link.index, link.clone());
                if before.is_some_and(|before| before.is_same_state(&link)) {
                    return;
                }
                Change { link, gone: false }
            }
            RouteMessage::DelLink(link) => {
                if self.known.remove(&link.index).is_none() {
                    return;
                }
                Change { link, gone: true }
            }
            RouteMessage::DelAddress(_) => {
                self.may_lack_address = true;
                return;
            }
            RouteMessage::NewAddress(_)
            | RouteMessage::NewRoute(_)
            | RouteMessage::Ack(_)
            | RouteMessage::Done
            | RouteMessage::Other => return,
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
    Error::System {
        doing: "cannot watch the network interfaces".to_owned(),
        source,
    }
}
