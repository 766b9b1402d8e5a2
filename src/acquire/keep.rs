//! Stays with a lease: renews it, follows the carrier, and does what signals say.

use std::os::fd::AsFd;

use super::session::{Session, Turn};
use crate::config::DhcpConfig;
use crate::error::Error;
use crate::script::{self, Event};
use crate::sys::alarm::Alarm;
use crate::sys::signal::{Signal, Signals};
use crate::sys::{self, SyscallError};

/// Keeps the lease of a configured session until a signal ends it.
///
/// SIGHUP renews. SIGTERM and SIGINT end and leave the lease and its configuration, which the
/// kernel takes away when the lease is over; SIGUSR2 gives both back. While there is no lease the
/// interface has no address, and a new one is asked for. The script is told of every change, but
/// not of an end that leaves the lease.
///
/// # Errors
/// [`Error::NoInterface`] when the interface has been removed; [`Error::System`] when a call fails
/// that every machine should allow.
pub fn keep(mut session: Session, config: &DhcpConfig, signals: &Signals) -> Result<(), Error> {
    let script = config.script.as_deref();
    let mut is_bound = true;
    session.take_port();
    let name = session.link().name.clone();
    let mut watch = session.watch()?;
    let alarm = Alarm::open().map_err(cannot_wait)?;
    loop {
        let now = sys::now();
        match signals.take().map_err(cannot_wait)? {
            Some(Signal::Hangup) => session.renew(now),
            Some(Signal::End) => {
                log::info!("{name}: ends, and leaves the lease as it is");
                return Ok(());
            }
            Some(Signal::User2) => {
                session.release();
                script::tell(script, &name, Event::Deconfig);
                log::info!("{name}: the lease is given back");
                return Ok(());
            }
            None => {}
        }
        while let Some(change) = watch.next_change()? {
            if change.link.index != session.link().index {
                continue;
            }
            if change.gone {
                return Err(Error::NoInterface(format!("{name} has been removed")));
            }
            session.handle_link(&change, now);
        }
        session.handle_input(&watch, now)?;
        session.handle_timeout(now);
        while let Some(turn) = session.next_turn() {
            match turn {
                Turn::Bound(lease) => {
                    log::info!("{name}: {lease}");
                    match session.configure() {
                        Ok(lease) if is_bound => script::tell(script, &name, Event::Renew(&lease)),
                        Ok(lease) => script::tell(script, &name, Event::Bound(&lease)),
                        Err(error) => log::error!("{}", error.chain()),
                    }
                    is_bound = true;
                }
                Turn::Refused(reason) => script::tell(script, &name, Event::Nak(&reason)),
                Turn::Lost => {
                    session.clear();
                    script::tell(script, &name, Event::Deconfig);
                    is_bound = false;
                }
            }
        }
        alarm.set(session.poll_timeout()).map_err(cannot_wait)?;
        let mut sources = vec![signals.as_fd(), watch.as_fd(), alarm.as_fd()];
        sources.extend(session.sources());
        sys::wait_readable(&sources, None).map_err(cannot_wait)?;
    }
}

fn cannot_wait(source: SyscallError) -> Error {
    Error::System {
        doing: "cannot wait for what comes".to_owned(),
        source,
    }
}
