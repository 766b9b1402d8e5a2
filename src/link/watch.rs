//! Changes of interfaces as they happen: appeared, carrier up or down, gone.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};

use super::unreadable;
use crate::error::Error;
use crate::sys::netlink::{LinkNews, News};
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::route::{LinkInfo, Message};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::time::Instant;

/// The state that an interface has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The interface as it is now, or as it was last.
    pub link: LinkInfo,
    /// Whether it has been removed.
    pub gone: bool,
}

/// Tells the state of every interface once, and then every change; readable when there may be
/// one.
///
/// When the kernel had more news than the socket could hold, the state is read anew, so nothing
/// that lasts is ever missed.
#[derive(Debug)]
pub struct Watch {
    news: LinkNews,
    known: BTreeMap<u32, LinkInfo>,
    pending: VecDeque<Change>,
    /// An address of some interface is gone, or may be.
    may_lack_address: bool,
}

impl Watch {
    /// Begins to watch the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses the socket.
    pub fn open() -> Result<Self, Error> {
        let mut watch = Self {
            news: LinkNews::open().map_err(unwatchable)?,
            known: BTreeMap::new(),
            pending: VecDeque::new(),
            may_lack_address: false,
        };
        // After the subscription, so that nothing happens in between.
        watch.read_all()?;
        Ok(watch)
    }

    /// Returns the next change, or none when there is none now; never blocks.
    ///
    /// # Errors
    /// [`Error::System`] when the socket fails.
    pub fn next_change(&mut self) -> Result<Option<Change>, Error> {
        while self.pending.is_empty() {
            match self.news.take().map_err(unwatchable)? {
                News::Nothing => return Ok(None),
                News::Lost => {
                    self.may_lack_address = true;
                    self.read_all()?;
                }
                News::Changes(messages) => messages.into_iter().for_each(|message| {
                    self.hear(message);
                }),
            }
        }
        Ok(self.pending.pop_front())
    }

    /// Has the state of every interface told once more, in place of what is still to be told.
    pub fn repeat(&mut self) {
        self.pending.retain(|change| change.gone);
        let all = self.known.values().cloned();
        self.pending
            .extend(all.map(|link| Change { link, gone: false }));
    }

    /// Has addresses be watched too, for [`Watch::take_address_loss`].
    ///
    /// # Errors
    /// [`Error::System`] when the kernel refuses.
    pub fn follow_addresses(&mut self) -> Result<(), Error> {
        self.may_lack_address = true;
        self.news.add_addresses().map_err(unwatchable)
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

    /// Waits until there may be a change, or `deadline` has come.
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

    fn read_all(&mut self) -> Result<(), Error> {
        let mut before = std::mem::take(&mut self.known);
        for message in self.news.dump().map_err(unreadable)? {
            let index = match &message {
                Message::NewLink(link) | Message::DelLink(link) => link.index,
                Message::NewAddress(_)
                | Message::DelAddress(_)
                | Message::NewRoute(_)
                | Message::Ack(_)
                | Message::Done
                | Message::Other => continue,
            };
            self.known
                .extend(before.remove(&index).map(|link| (index, link)));
            self.hear(message);
        }
        for link in before.into_values() {
            self.pending.push_back(Change { link, gone: true });
        }
        Ok(())
    }

    fn hear(&mut self, message: Message) {
        let change = match message {
            Message::NewLink(link) => {
                let before = self.known.insert(link.index, link.clone());
                if before.is_some_and(|before| before.is_same_state(&link)) {
                    return;
                }
                Change { link, gone: false }
            }
            Message::DelLink(link) => {
                if self.known.remove(&link.index).is_none() {
                    return;
                }
                Change { link, gone: true }
            }
            Message::DelAddress(_) => {
                self.may_lack_address = true;
                return;
            }
            Message::NewAddress(_)
            | Message::NewRoute(_)
            | Message::Ack(_)
            | Message::Done
            | Message::Other => return,
        };
        self.pending.push_back(change);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}

fn unwatchable(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot watch the network interfaces".to_owned(),
        source,
    }
}
