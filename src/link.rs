//! Network interfaces: finds those to boot from, sets them up, waits for their carrier, and configures
//! the chosen one.
//!
//! Every change is stored with its inverse, so that [`Link::restore`] undoes all of them.

#![forbid(unsafe_code)]

#[cfg(feature = "bond")]
mod bond;
mod changes;
mod interface;
mod ipv6;
mod made;
mod requested;
mod select;
#[cfg(feature = "root")]
mod standing;
mod state;
mod watch;

use std::path::Path;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

use crate::config::{LinkConfig, Vlan, interface_name};
use crate::error::{Error, Reason};
use crate::recorder::Recorder;
use crate::sys;
use crate::sys::netlink::RouteSocket;
use crate::sys::signal::Signals;
use wireboot_proto::netlink::route::LinkInfo;
use wireboot_proto::sorted::SortedMap;
use wireboot_proto::time::Seconds;

pub use interface::{EarlierLease, Link, Presence};
pub use ipv6::Ipv6Settings;
#[cfg(feature = "root")]
pub use standing::StaticInterface;
#[cfg(feature = "arping")]
pub use state::all_addresses;
use state::{addresses, open_socket, set_up};
pub use watch::{Change, Watch};

/// The result of [`find`].
#[derive(Debug)]
pub struct Found {
    /// The interfaces.
    pub links: Vec<Link>,
    /// The monitor that reports their state and changes.
    pub watch: Watch,
}

impl Found {
    /// Returns the names of the interfaces.
    pub fn names(&self) -> Vec<String> {
        self.links.iter().map(|link| link.name.clone()).collect()
    }
}

/// Finds the interfaces, raises them and waits until one of them has a carrier; returns them
/// all, since the others may still get theirs.
///
/// # Errors
/// As [`find`] and [`raise`], and [`Reason::NoCarrier`] when none has a carrier within the
/// `timeout` of `config`; interfaces that were set up are set down again then.
pub fn up(config: &LinkConfig, signals: Option<&Signals>) -> Result<Vec<Link>, Error> {
    raised(config, signals).map(|(found, _)| found.links)
}

/// As [`up`], but returns only the first interface with a carrier; the others are
/// restored.
///
/// # Errors
/// As [`up`].
pub fn first_up(config: &LinkConfig, signals: Option<&Signals>) -> Result<Link, Error> {
    let (Found { mut links, .. }, first) = raised(config, signals)?;
    let link = links.swap_remove(first);
    links.iter().for_each(Link::restore);
    Ok(link)
}

/// Returns the interfaces, set up, and the index of the first with a carrier.
fn raised(config: &LinkConfig, signals: Option<&Signals>) -> Result<(Found, usize), Error> {
    let mut found = find(config, &Recorder::default(), signals)?;
    let Found { links, watch } = &mut found;
    let up = raise(&*links).and_then(|()| {
        let first = wait(links, watch, config.timeout, signals)?;
        links.get(first).map_or(Ok(()), |link| {
            wait_for_partner(link, watch, config.timeout, signals)
        })?;
        Ok(first)
    });
    match up {
        Ok(first) => Ok((found, first)),
        Err(error) => {
            found.links.iter().for_each(Link::restore);
            Err(error)
        }
    }
}

/// Finds the interfaces that `config` asks for, and waits up to its `timeout` for them to
/// appear; not for any that is there and cannot be used, nor outside an initramfs for cards where only
/// virtual interfaces are.
///
/// Named interfaces go first, then the one with the address in `BOOTIF`; without either, every
/// Ethernet interface with a device behind it. If some of several named
/// ones are missing at the timeout, the others are used.
///
/// # Errors
/// [`Reason::NoInterface`] with the interfaces found and why none was usable, [`Reason::Interrupted`]
/// by one of `signals`.
pub fn find(
    config: &LinkConfig,
    recorder: &Recorder,
    signals: Option<&Signals>,
) -> Result<Found, Error> {
    let deadline = sys::now() + config.timeout;
    // What is made needs its parts, which are not named.
    let is_named = config.made_last().is_none();
    let names = is_named.then_some(&*config.interfaces);
    let mut watch = Watch::open_for(names.unwrap_or_default())?;
    let mut present = SortedMap::new();
    let mut requested = requested::RequestedLinks::new(config);
    let mut is_reported = false;
    loop {
        while let Some(change) = watch.next_change()? {
            if change.gone {
                present.remove(&change.link.index);
            } else {
                present.insert(change.link.index, Box::new(change.link));
            }
        }
        let links: Vec<&LinkInfo> = present.values().map(AsRef::as_ref).collect();
        let is_timeout = sys::now() >= deadline;
        if requested.make(&links, is_timeout)? {
            // It is announced by now.
            watch.set_readable();
            continue;
        }
        let selection = select::select(config, links.into_iter(), select::facts);
        if selection.is_complete() || (is_timeout && !selection.chosen.is_empty()) {
            for missing in &selection.missing {
                log::warn!("{missing}: no such interface; continuing without it");
            }
            for unusable in &selection.unusable {
                log::warn!("{unusable}; continuing without it");
            }
            let links = selection.chosen.into_iter().map(|info| {
                let mut link = Link::new(info, recorder);
                let (made, of) = requested.take_made(&link.name);
                link.changes().made = made;
                link.made_of = of;
                link
            });
            let links = links.collect();
            watch.repeat();
            return Ok(Found { links, watch });
        }
        let is_hopeless = selection.is_hopeless(config, !is_initramfs());
        if is_timeout || is_hopeless {
            let waited = (!is_hopeless).then_some(config.timeout);
            return Err(Box::new(Reason::NoInterface(
                selection.explain(config, waited),
            )));
        }
        if !std::mem::replace(&mut is_reported, true) {
            let seconds = Seconds(config.timeout);
            let missing = match &selection.missing[..] {
                [] => "a network interface".to_owned(),
                missing => missing.join(" and "),
            };
            let found = selection.found(config);
            let places = usize::from(config.timeout.subsec_millis() > 0);
            log::info!("waiting up to {seconds:.places$} s for {missing} to appear; {found}");
        }
        watch.wait(deadline, signals)?;
    }
}

/// Returns whether this is an initramfs, where drivers may still be loaded.
fn is_initramfs() -> bool {
    // Its files are in a rootfs, which is one of tmpfs where the kernel has that (init/do_mounts.c).
    // One of systemd is marked, whatever it is in.
    let root = statfs("/").map(|root| root.filesystem_type());
    root.is_ok_and(|kind| [RAMFS_MAGIC, TMPFS_MAGIC].contains(&kind))
        || Path::new("/etc/initrd-release").exists()
}

/// The file system of a rootfs without tmpfs (linux/magic.h).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Sets the interfaces up, and stores which were down.
///
/// # Errors
/// [`Reason::Configure`] if none of them could be set up; otherwise a failure is only logged.
pub fn raise<'a>(links: impl IntoIterator<Item = &'a Link>) -> Result<(), Error> {
    raise_all(links.into_iter().collect())
}

fn raise_all(links: Vec<&Link>) -> Result<(), Error> {
    let (off, on): (Vec<_>, Vec<_>) = links.into_iter().partition(|link| !link.was_up());
    if off.is_empty() {
        return Ok(());
    }
    let mut socket = open_socket()?;
    let mut failed = Vec::new();
    let mut any_up = !on.is_empty();
    for link in off {
        match set_up(&mut socket, link.index(), true) {
            Ok(()) => {
                log::debug!("{}: up", link.name);
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

/// Waits until one of the interfaces has a carrier; returns its index.
fn wait(
    links: &[Link],
    watch: &mut Watch,
    timeout: Duration,
    signals: Option<&Signals>,
) -> Result<usize, Error> {
    let start = sys::now();
    let indices: Vec<_> = links.iter().map(Link::index).collect();
    let place = watch.wait_for_carrier(&indices, timeout, signals)?;
    place.ok_or_else(|| {
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        Box::new(Reason::NoCarrier {
            interface: names.join(" "),
            waited: sys::now().since(start),
        })
    })
}

/// How long a bond waits for its partner in LACP. A port begins with LACPDUs in each second
/// (IEEE 802.1AX §6.4.13), of which three may be lost; one that serves machines without LACP too lets
/// frames through then.
const PARTNER_TIME: Duration = Duration::from_secs(10);
/// How often it is asked for, since the kernel announces nothing.
pub const PARTNER_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until LACP has found a partner, where an interface is a bond that speaks it.
fn wait_for_partner(
    link: &Link,
    watch: &mut Watch,
    timeout: Duration,
    signals: Option<&Signals>,
) -> Result<(), Error> {
    let until = sys::now() + timeout.min(PARTNER_TIME);
    while cfg!(feature = "bond")
        && link.may_be_bond
        && watch.has_partner(link.port())? == Some(false)
    {
        let now = sys::now();
        if now >= until {
            log::warn!("{}: no partner in LACP", link.name);
            break;
        }
        watch.wait(until.min(now + PARTNER_INTERVAL), signals)?;
        // Read away, since only the partner matters here.
        while watch.next_change()?.is_some() {}
    }
    Ok(())
}

/// Makes VLANs with these identifiers on those of `parents` that are none themselves, and sets them up;
/// existing ones are used as they are. The parents are up.
///
/// # Errors
/// [`Reason::Configure`] when none can be made, [`Reason::System`] without a route socket.
pub fn add_vlans<'a>(
    parents: impl IntoIterator<Item = &'a Link>,
    ids: &[u16],
) -> Result<Vec<Link>, Error> {
    let mut socket = open_socket()?;
    let mut wanted = Vec::new();
    for parent in parents {
        // The frames of a VLAN on a VLAN would have two tags.
        if parent.port() != parent.index() {
            continue;
        }
        for id in ids {
            let mut name = format!("{}.{id}", parent.name);
            // The name of the parent may leave no room for the number (IFNAMSIZ).
            if interface_name(&name).is_err() {
                name = format!("if{}.{id}", parent.index());
            }
            let (id, below) = (*id, parent.name.clone());
            let vlan = Vlan {
                name,
                id,
                parent: below,
            };
            let mut made = Vec::new();
            let result = made::make_vlan(&vlan, parent.index(), true, &mut socket, &mut made);
            wanted.push((parent, vlan, made, result.err()));
        }
    }
    // What cannot be listed counts as not made, and is undone.
    let present = socket.links().unwrap_or_default();
    let (mut links, mut failed) = (Vec::new(), None);
    for (parent, vlan, made, error) in wanted {
        let is_it = |link: &&LinkInfo| link.name == vlan.name && link.lower == Some(parent.index());
        if let Some(info) = present.iter().find(is_it) {
            let mut link = Link::new(info.clone(), &parent.recorder);
            link.changes().made = made;
            link.made_of = parent.made_of.clone();
            link.made_of.vlan = Some(vlan);
            links.push(link);
            continue;
        }
        made::undo(made);
        failed = error.or(failed);
    }
    if let Some(error) = failed {
        if links.is_empty() {
            return Err(error);
        }
        log::warn!("{}", error.chain());
    }
    if let Err(error) = raise(&links) {
        links.iter().for_each(Link::restore);
        return Err(error);
    }
    Ok(links)
}

/// Sets the loopback interface up, which is the task of init.
pub fn raise_loopback() -> Result<(), Error> {
    let mut socket = open_socket()?;
    // The kernel creates it first in every namespace, with this index.
    set_up(&mut socket, 1, true).map_err(|source| {
        Box::new(Reason::System {
            doing: "cannot set up lo".to_owned(),
            source,
        })
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
