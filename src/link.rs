//! Network interfaces: finds those to boot from, raises them, waits for their carrier, and gives
//! the chosen one from its lease.
//!
//! Every change is remembered with its inverse, so that [`Link::restore`] leaves the machine as
//! it was found.

#![forbid(unsafe_code)]

mod configure;
mod select;
mod state;
mod vlan;
mod watch;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use crate::config::LinkConfig;
use crate::error::Error;
use crate::recorder::Recorder;
use crate::sys::netlink::RouteSocket;
use crate::sys::signal::Signals;
use crate::sys::{self, SyscallError};
use wireboot_proto::netlink::route::{LinkInfo, NetlinkRequest};
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::time::Seconds;

use configure::To;
use state::addresses;
pub use watch::{Change, Watch};

/// An Ethernet interface that the boot may use.
#[derive(Debug)]
pub struct Link {
    /// Its number, which stays when it is renamed.
    pub index: u32,
    /// Its name at the time it was found.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddress,
    /// Where frames that cross it by a packet socket are recorded.
    pub recorder: Recorder,
    /// Whether it was switched on when it was found.
    was_up: bool,
    changes: Mutex<configure::Changes>,
}

/// What [`find`] has found.
#[derive(Debug)]
pub struct Found {
    /// The interfaces.
    pub links: Vec<Link>,
    /// Tells the state of all interfaces, and then what changes.
    pub watch: Watch,
}

/// Finds the interfaces, raises them and waits until one of them has a carrier; returns them
/// all, since the others may still get theirs.
///
/// # Errors
/// As [`find`] and [`raise`], and [`Error::NoCarrier`] when none has a carrier within the
/// `timeout` of `config`; what was raised is lowered again then.
pub fn up(config: &LinkConfig, signals: Option<&Signals>) -> Result<Vec<Link>, Error> {
    raised(config, signals).map(|(found, _)| found.links)
}

/// As [`up`], but returns only the first interface with a carrier; the others are left as they
/// were found.
///
/// # Errors
/// As [`up`].
pub fn first_up(config: &LinkConfig, signals: Option<&Signals>) -> Result<Link, Error> {
    let (Found { mut links, .. }, first) = raised(config, signals)?;
    let link = links.swap_remove(first);
    links.iter().for_each(Link::restore);
    Ok(link)
}

/// Returns the interfaces, raised, and the place of the first with a carrier.
fn raised(config: &LinkConfig, signals: Option<&Signals>) -> Result<(Found, usize), Error> {
    let mut found = find(config, &Recorder::default(), signals)?;
    let Found { links, watch } = &mut found;
    match raise(&*links).and_then(|()| wait(links, watch, config.timeout, signals)) {
        Ok(first) => Ok((found, first)),
        Err(error) => {
            found.links.iter().for_each(Link::restore);
            Err(error)
        }
    }
}

/// Finds the interfaces that `config` asks for, and waits up to its `timeout` for them to
/// appear.
///
/// Named interfaces go first, then the one with the address in `BOOTIF`; without either, every
/// Ethernet interface with a device behind it. Of several named ones those that are there must do
/// when the time is over.
///
/// # Errors
/// [`Error::NoInterface`] with what was found and why each was of no use, [`Error::Interrupted`] by
/// one of `signals`.
pub fn find(
    config: &LinkConfig,
    recorder: &Recorder,
    signals: Option<&Signals>,
) -> Result<Found, Error> {
    let deadline = sys::now() + config.timeout;
    // A VLAN needs its parent, which is not named.
    let is_named = config.vlan.is_none();
    let names = is_named.then_some(&*config.interfaces);
    let mut watch = Watch::open_for(names.unwrap_or_default())?;
    let mut present = BTreeMap::new();
    let mut vlan = vlan::RequestedVlan::new(config);
    let mut is_told = false;
    loop {
        while let Some(change) = watch.next_change()? {
            if change.gone {
                present.remove(&change.link.index);
            } else {
                present.insert(change.link.index, change.link);
            }
        }
        vlan.make(present.values())?;
        let selection = select::select(config, present.values(), select::facts);
        let over = sys::now() >= deadline;
        if selection.is_complete() || (over && !selection.chosen.is_empty()) {
            for missing in &selection.missing {
                log::warn!("{missing}: no such interface; going on without it");
            }
            let links = selection
                .chosen
                .into_iter()
                .map(|info| Link::new(info, recorder));
            let links = links.inspect(|link| vlan.hand_over(link)).collect();
            watch.repeat();
            return Ok(Found { links, watch });
        }
        if over {
            return Err(Error::NoInterface(selection.explain(config)));
        }
        if !std::mem::replace(&mut is_told, true) {
            let seconds = Seconds(config.timeout);
            log::info!("waiting up to {seconds:.0} s for a network interface to appear");
        }
        watch.wait(deadline, signals)?;
    }
}

/// Switches the interfaces on, and remembers which were off.
///
/// # Errors
/// [`Error::Configure`] when none of them could be switched on; one that cannot is only logged
/// while there are others.
pub fn raise<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<(), Error> {
    let (off, on): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| !link.was_up);
    if off.is_empty() {
        return Ok(());
    }
    let mut socket = open_socket()?;
    let mut failed = Vec::new();
    let mut any_up = !on.is_empty();
    for link in off {
        match set_up(&mut socket, link.index, true) {
            Ok(()) => {
                log::debug!("{}: raised", link.name);
                link.changes().raised = true;
                any_up = true;
            }
            Err(source) => failed.push(link.refused("it up", source)),
        }
    }
    for error in failed {
        if !any_up {
            return Err(error);
        }
        log::warn!("{}", error.chain());
    }
    Ok(())
}

/// Waits until one of the interfaces has a carrier; returns its place among them.
fn wait(
    links: &[Link],
    watch: &mut Watch,
    timeout: Duration,
    signals: Option<&Signals>,
) -> Result<usize, Error> {
    let start = sys::now();
    let deadline = start + timeout;
    loop {
        while let Some(Change { link, gone }) = watch.next_change()? {
            let place = links.iter().position(|ours| ours.index == link.index);
            if let (Some(place), true, false) = (place, link.carrier, gone) {
                log::debug!("{}: carrier", link.name);
                return Ok(place);
            }
        }
        if sys::now() >= deadline {
            let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            return Err(Error::NoCarrier {
                interface: names.join(" "),
                waited: sys::now().since(start),
            });
        }
        watch.wait(deadline, signals)?;
    }
}

/// Switches the loopback interface on, as a machine without any other init has to.
pub fn raise_loopback() -> Result<(), Error> {
    let mut socket = open_socket()?;
    // The kernel makes it first in every namespace, under this number.
    set_up(&mut socket, 1, true).map_err(|source| Error::System {
        doing: "cannot raise lo".to_owned(),
        source,
    })
}

/// Returns whether the interface has an IPv4 address; true when that cannot be read.
pub fn has_address(interface: &str) -> bool {
    let Ok(index) = if_nametoindex(interface) else {
        return false;
    };
    let addresses = RouteSocket::open().and_then(|mut socket| addresses(&mut socket, index));
    addresses.map_or(true, |addresses| !addresses.is_empty())
}

impl Link {
    fn new(info: LinkInfo, recorder: &Recorder) -> Self {
        Self {
            index: info.index,
            name: info.name,
            mac: info.mac.unwrap_or_default(),
            recorder: recorder.clone(),
            was_up: info.up,
            changes: Mutex::default(),
        }
    }

    /// Takes back everything that was set on the interface, and lowers it if it was raised here.
    ///
    /// Failures – the interface may be gone – are logged.
    pub fn restore(&self) {
        self.undo(To::Found, true);
    }

    /// Removes what was set on the interface, an address that an earlier process had set for the same
    /// lease too, since the lease is over or released; leaves the interface switched on.
    pub fn clear(&self) {
        self.undo(To::End, false);
    }

    /// As [`Link::clear`], and lowers the interface if it was raised here.
    pub fn clear_and_lower(&self) {
        self.undo(To::End, true);
    }

    /// Switches the interface off, so that the card writes to no memory that will be another
    /// kernel's. One that cannot be is logged: the card's driver is told to stop too.
    pub fn quiesce(&self) {
        let lowered = open_socket().map(|mut socket| set_up(&mut socket, self.index, false));
        match lowered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("{}: {}", self.name, error.chain()),
            Err(error) => log::debug!("{}: not switched off: {}", self.name, error.chain()),
        }
    }

    fn undo(&self, to: To, lower: bool) {
        let mut changes = self.changes();
        if changes.is_empty() {
            return;
        }
        let mut socket = match open_socket() {
            Ok(socket) => socket,
            Err(error) => return log::warn!("{}: not restored: {}", self.name, error.chain()),
        };
        changes.undo(to, self.index, &mut socket);
        if !lower {
            return;
        }
        // Last: the kernel removes every route of an interface that goes down (fib_disable_ip).
        if std::mem::take(&mut changes.raised)
            && let Err(error) = set_up(&mut socket, self.index, false)
        {
            log::warn!("{}: {}", self.name, error.chain());
        }
        if let Some(made) = changes.made.take() {
            made.undo(self.index, &mut socket);
        }
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, configure::Changes> {
        // The list is whole even when another thread panicked while it held it.
        match self.changes.lock() {
            Ok(changes) => changes,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn refused(&self, what: impl Into<String>, source: SyscallError) -> Error {
        Error::Configure {
            interface: self.name.clone(),
            what: what.into(),
            source,
        }
    }
}

fn set_up(socket: &mut RouteSocket, index: u32, up: bool) -> Result<(), SyscallError> {
    socket.change(&NetlinkRequest::SetUp { index, up })
}

fn open_socket() -> Result<RouteSocket, Error> {
    RouteSocket::open().map_err(|source| Error::System {
        doing: "cannot open a route socket".to_owned(),
        source,
    })
}

fn unreadable(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot list the network interfaces".to_owned(),
        source,
    }
}
