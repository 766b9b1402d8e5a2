//! An interface with its address for as long as a boot needs it: beside fetching, menus and pauses
//! a thread renews the lease.
//!
//! The thread alone has the session: its sockets, the client and what is set on the interface. What
//! fetches sees of it only what the kernel shows, that an address came or went, so that it may as
//! well run in another process.

use std::io::{PipeWriter, Write, pipe};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::client_config::holder;
use super::ipv6::Bound6;
use super::keep::Renewal;
use super::keep6::Renewal6;
use super::session::Session;
use super::switch_port::SwitchPort;
use crate::error::{Error, Reason};
use crate::gate::{Exit, Gate};
use crate::handover::{self, EarlierFiles};
use crate::link::Link;
use crate::sys::signal::{Signal, Signals};
use crate::sys::terminal::Terminal;
use crate::sys::{self, SyscallError};

/// An interface that has its address, from a lease or without DHCP.
#[derive(Debug)]
pub struct Binding {
    link: Arc<Link>,
    /// The address that was set first.
    address: Ipv4Addr,
    lease: Leased,
}

/// Origin of the address.
#[derive(Debug)]
enum Leased {
    /// Set without DHCP: there is nothing to renew. The files for other programs were such before.
    Static(Arc<EarlierFiles>),
    /// From a server, and not renewed at the moment.
    Idle(Kept),
    /// From a server, and renewed by a thread until a byte is in its pipe.
    Renewed(JoinHandle<Kept>, PipeWriter),
    /// Nobody knows any longer: its thread has panicked.
    Gone,
}

impl Binding {
    /// Takes over a configured session, with its address of IPv4 if it has one.
    pub(super) fn leased(kept: Kept, address: Ipv4Addr) -> Self {
        Self {
            link: kept.shared_link(),
            address,
            lease: Leased::Idle(kept),
        }
    }

    /// Takes over an interface with an address that was given without DHCP.
    pub fn fixed(link: Link, address: Ipv4Addr, earlier: EarlierFiles) -> Self {
        Self {
            link: Arc::new(link),
            address,
            lease: Leased::Static(Arc::new(earlier)),
        }
    }

    /// The interface.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Returns the address that was set last: another one than at first when the lease could not be
    /// renewed and a server has granted another.
    pub fn address(&self) -> Ipv4Addr {
        self.link.configured_address().unwrap_or(self.address)
    }

    /// Warns when a command line names the address that was set first, and another has taken its
    /// place since the line was made.
    pub fn check_address_in(&self, command_line: &str) {
        let (first, address) = (self.address, self.address());
        let mut words = command_line.split(|c: char| !c.is_ascii_digit() && c != '.');
        if address != first && words.any(|word| word.parse() == Ok(first)) {
            log::warn!(
                "the command line names {first}, which is no longer this machine's address: that is \
                 {address}"
            );
        }
    }

    /// Begins to renew the lease, if there is one, and to wait for `signals`: one ends the process,
    /// with the interface as it was found and the records of `gate` saved, until [`Binding::settle`].
    ///
    /// # Errors
    /// [`Reason::System`] when a call fails that every machine should allow.
    pub fn renew(&mut self, signals: Signals, gate: Gate) -> Result<(), Error> {
        let kept = match std::mem::replace(&mut self.lease, Leased::Gone) {
            Leased::Idle(kept) => kept,
            Leased::Static(earlier) => {
                self.lease = Leased::Static(Arc::clone(&earlier));
                let link = Arc::clone(&self.link);
                thread::spawn(move || {
                    sys::wait_beside();
                    // A port in LACP forwards only while that is answered.
                    let port = SwitchPort::open(&link, sys::now());
                    let mut port = port.inspect_err(|error| log::debug!("{error}")).ok();
                    loop {
                        let mut sources = vec![signals.as_fd()];
                        sources.extend(port.as_ref().map(SwitchPort::source));
                        let until = port.as_ref().and_then(SwitchPort::poll_timeout);
                        if sys::wait_readable(&sources, until).is_err() {
                            break;
                        }
                        if let Ok(Some(signal)) = signals.take() {
                            restore_static(&link, &earlier);
                            exit_interrupted(gate, signal);
                        }
                        let answered = port.as_mut().map(|port| {
                            let now = sys::now();
                            port.handle_timeout(&link.name, now);
                            port.receive(&link.name, now)?;
                            while let Some(event) = port.poll_event() {
                                log::info!("{}: {event}", link.name);
                            }
                            Ok::<_, SyscallError>(())
                        });
                        if let Some(Err(error)) = answered {
                            log::debug!("{error}");
                            port = None;
                        }
                    }
                });
                return Ok(());
            }
            other @ (Leased::Renewed(..) | Leased::Gone) => {
                self.lease = other;
                return Ok(());
            }
        };
        let failed = |source| {
            Box::new(Reason::System {
                doing: "cannot renew the lease beside the boot".to_owned(),
                source: SyscallError::of("pipe", source),
            })
        };
        // A pipe, since the thread sleeps in poll, which no flag or channel ends.
        let (stop, stopper) = pipe().map_err(failed)?;
        let mut renewal = KeptRenewal::begin(kept)?;
        let thread = thread::spawn(move || {
            sys::wait_beside();
            let name = renewal.link_name();
            let end = loop {
                if let Err(error) = renewal.handle_events() {
                    break Err(error);
                }
                match renewal.wait(&[stop.as_fd(), signals.as_fd()]) {
                    Ok([true, _]) => break Ok(()),
                    Ok([false, false]) => {}
                    Ok([false, true]) => {
                        if let Ok(Some(signal)) = signals.take() {
                            renewal.end().restore();
                            exit_interrupted(gate, signal);
                        }
                    }
                    Err(error) => break Err(error),
                }
            };
            if let Err(error) = end {
                log::error!(
                    "{name}: the lease is not renewed any longer: {}",
                    error.chain()
                );
            }
            renewal.end()
        });
        self.lease = Leased::Renewed(thread, stopper);
        Ok(())
    }

    /// Ends the renewal and leaves the lease in force: nothing is sent or set from now on.
    pub fn settle(&mut self) {
        let lease = std::mem::replace(&mut self.lease, Leased::Gone);
        self.lease = match lease {
            Leased::Renewed(thread, mut stopper) => {
                // The thread has the other end for as long as it runs.
                let _ = stopper.write_all(&[0]);
                thread.join().map_or(Leased::Gone, Leased::Idle)
            }
            other @ (Leased::Static(_) | Leased::Idle(_) | Leased::Gone) => other,
        };
    }

    /// Ends the renewal and puts the interface back as it was found.
    pub fn restore(mut self) {
        self.settle();
        match self.lease {
            Leased::Idle(kept) => kept.restore(),
            Leased::Static(earlier) => restore_static(&self.link, &earlier),
            Leased::Renewed(..) | Leased::Gone => {
                handover::remove(&holder(&self.link, &[]));
                self.link.restore();
            }
        }
    }
}

fn restore_static(link: &Link, earlier: &EarlierFiles) {
    handover::restore(earlier);
    link.restore();
}

/// Ends the process at once: the other threads may be in a fetch, a menu or a pause, each with waits
/// of its own.
fn exit_interrupted(gate: Gate, signal: Signal) -> ! {
    Terminal::restore();
    let ended = gate.close_after(Exit::Failed(Box::new(Reason::Interrupted(signal))));
    let error = ended.err().unwrap_or(Box::new(Reason::Interrupted(signal)));
    // What must be put back is put back by now; destructors of other threads do not run.
    std::process::exit(error.print().into())
}

/// A configured session, which is not renewed at the moment.
#[derive(Debug)]
pub(super) enum Kept {
    /// Of DHCP.
    V4(Box<Session>),
    /// Of routers and DHCPv6.
    V6(Box<Bound6>),
}

impl Kept {
    /// The interface, for a user beside the session.
    pub(super) fn shared_link(&self) -> Arc<Link> {
        match self {
            Self::V4(session) => session.shared_link(),
            Self::V6(bound) => bound.shared_link(),
        }
    }

    /// Puts the interface back as it was found.
    pub(super) fn restore(self) {
        match self {
            Self::V4(session) => session.restore(),
            Self::V6(bound) => bound.restore(),
        }
    }
}

/// A session that is renewed.
#[derive(Debug)]
pub(super) enum KeptRenewal {
    /// Of DHCP.
    V4(Box<Renewal>),
    /// Of routers and DHCPv6.
    V6(Box<Renewal6>),
}

impl KeptRenewal {
    /// Begins to keep the lease.
    ///
    /// # Errors
    /// `Reason::System` when a call fails that every machine should allow.
    pub(super) fn begin(kept: Kept) -> Result<Self, Error> {
        Ok(match kept {
            Kept::V4(session) => Self::V4(Box::new(Renewal::begin(*session)?)),
            Kept::V6(bound) => Self::V6(Box::new(Renewal6::begin(*bound)?)),
        })
    }

    /// The interface's name.
    pub(super) fn link_name(&self) -> String {
        match self {
            Self::V4(renewal) => renewal.link_name(),
            Self::V6(renewal) => renewal.link_name(),
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// As [`keep`](super::keep::keep).
    pub(super) fn handle_events(&mut self) -> Result<(), Error> {
        match self {
            Self::V4(renewal) => renewal.handle_events(),
            Self::V6(renewal) => renewal.handle_events(),
        }
    }

    /// Waits until something is due, or one of `others`, two at most, is readable; returns which are.
    ///
    /// # Errors
    /// `Reason::System` when `poll` fails.
    pub(super) fn wait(&mut self, others: &[BorrowedFd<'_>]) -> Result<[bool; 2], Error> {
        match self {
            Self::V4(renewal) => renewal.wait(others),
            Self::V6(renewal) => renewal.wait(others),
        }
    }

    /// Ends the renewal and leaves the lease in force.
    pub(super) fn end(self) -> Kept {
        match self {
            Self::V4(renewal) => Kept::V4(Box::new(renewal.end())),
            Self::V6(renewal) => Kept::V6(Box::new(renewal.end())),
        }
    }
}
