//! `wireboot lease`: acquires a lease and configures the interface; keeps it, or gives it back.

use std::io::Write;
use std::net::Ipv4Addr;

use serde::Serialize;

use super::flags::{Arguments, COMMON_HELP, Common, Flag};
use super::{options, receive_signals};
use crate::account;
use crate::acquire::{self, Session};
use crate::config::Config;
use crate::dhcp::json::Fields;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::link::{self, Found, Link};
use crate::recorder;
use crate::script::{self, Event};
use crate::sys::signal::Signals;
use crate::wire::option::known;
use crate::wire::safe::Safe;

const HELP: &str = "\
usage: wireboot lease [FLAG]…

Acquires a DHCP lease and configures address, routes and MTU. Without -i every Ethernet
interface with a device behind it is tried at once; the first lease wins.

  --keep                stay and renew the lease; SIGHUP renews now, SIGTERM ends and leaves the
                        lease, SIGUSR2 gives it back
  --release             give back the lease that an earlier command took, and its address
  --inform ADDRESS      ask only for the options that go with this address
  --no-lease-file       do not ask for the address of the last time first
  --lease-dir DIR       keep what is known of the last time in DIR (/var/lib/wireboot if there is
                        such a directory, else /run/wireboot, which a restart empties)
  --script FILE         run FILE when something becomes of the lease, as udhcpc does: the event
                        (deconfig, bound, renew, nak, leasefail) is its argument, the rest is in
                        variables; addresses and routes are set before it is run
  --hand-over TO,…      write files for those who go on with the lease: dracut, networkd (the unit
                        keeps the address, with the same client identifier), network-manager
  --json                print the lease as JSON, with all options that came
  --dry-run             ask for offers only, and print what the best one would set; neither the
                        interface nor a lease that it has is changed
";

/// What is done about the lease.
#[derive(Default)]
struct Wish {
    keep: bool,
    release: bool,
    dry_run: bool,
    json: bool,
    shows_options: bool,
    inform: Option<Ipv4Addr>,
}

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut common = Common::default();
    let mut wish = Wish::default();
    while let Some(flag) = arguments.next()? {
        match &flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}{COMMON_HELP}");
                return Ok(());
            }
            Flag::Long(name) if name == "keep" => wish.keep = true,
            Flag::Long(name) if name == "release" => wish.release = true,
            Flag::Long(name) if name == "dry-run" => wish.dry_run = true,
            Flag::Long(name) if name == "script" => {
                common.config.script = Some(arguments.value()?.into());
            }
            Flag::Long(name) if name == "json" => wish.json = true,
            Flag::Long(name) if name == "inform" => {
                wish.inform = Some(arguments.parse("an IPv4 address")?);
            }
            Flag::Long(name) if name == "hand-over" => {
                common.config.hand_over =
                    arguments.parse("a list of dracut, networkd and network-manager")?;
            }
            Flag::Long(name) if name == "lease-dir" => {
                common.config.lease_directory = Some(arguments.value()?.into());
            }
            Flag::Long(name) if name == "no-lease-file" => common.config.uses_lease_file = false,
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => {
                common.take(&flag, &mut arguments)?
            }
        }
    }
    wish.shows_options = common.is_verbose();
    let config = common.finish()?;
    recorder::save_after(config.record.as_deref(), follow(&wish, &config))
}

fn follow(wish: &Wish, config: &Config) -> Result<(), Error> {
    if usize::from(wish.keep) + usize::from(wish.release) + usize::from(wish.dry_run) > 1 {
        return Err(Error::Usage(
            "--keep, --release and --dry-run exclude each other".to_owned(),
        ));
    }
    if wish.dry_run && wish.inform.is_some() {
        return Err(Error::Usage(
            "--inform sets its address before it asks, which --dry-run must not: give one of them"
                .to_owned(),
        ));
    }
    if wish.release {
        return release(config);
    }
    if let Some(lease) = Lease::without_dhcp(&config.given) {
        return without_dhcp(wish, config, lease);
    }
    account::begin();
    let found = link::find(config)?;
    let signals = receive_signals()?;
    if wish.dry_run {
        let (session, lease) = acquire::preview(found, config, Some(&signals))?;
        print(wish, config, session.link(), Some(&session), &lease);
        return Ok(());
    }
    let script = config.script.as_deref();
    let names: Vec<_> = found.links.iter().map(|link| link.name.clone()).collect();
    let session = acquire(wish, found, config, &signals).inspect_err(|_| {
        for name in &names {
            script::tell(script, name, Event::LeaseFail);
        }
    })?;
    let name = session.link().name.clone();
    script::tell(script, &name, Event::Deconfig);
    account::extend(session.moments().iter().cloned());
    let (session, lease) = acquire::configure(session)?;
    account::note("address and routes are set");
    account::done("lease");
    account::save();
    script::tell(script, &name, Event::Bound(&lease));
    print(wish, config, session.link(), Some(&session), &lease);
    match wish.keep {
        true => acquire::keep(session, config, &signals),
        false => {
            session.outlive();
            Ok(())
        }
    }
}

fn acquire(
    wish: &Wish,
    found: Found,
    config: &Config,
    signals: &Signals,
) -> Result<Session, Error> {
    match wish.inform {
        Some(address) => acquire::inform(found, address, config, Some(signals)),
        None => acquire::lease(found, config, Some(signals)),
    }
}

/// Sets an address that the kernel's command line gives; there is nothing to keep about it.
fn without_dhcp(wish: &Wish, config: &Config, lease: Lease) -> Result<(), Error> {
    let (link, lease) = match wish.dry_run {
        true => (link::first_up(config)?, lease),
        false => acquire::without_dhcp(config, lease)?,
    };
    print(wish, config, &link, None, &lease);
    if wish.dry_run {
        link.restore();
    }
    Ok(())
}

fn release(config: &Config) -> Result<(), Error> {
    match acquire::release_saved(link::find(config)?.links, config)? {
        0 => Err(Error::Usage(
            "there is no lease to give back: none is on file (--lease-dir says where)".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// A lease for programs; the README documents the fields.
#[derive(Serialize)]
struct Report<'a> {
    interface: &'a str,
    mac: String,
    client_id: Option<String>,
    #[serde(flatten)]
    lease: Fields<'a>,
}

fn print(wish: &Wish, config: &Config, link: &Link, session: Option<&Session>, lease: &Lease) {
    let text = if wish.json {
        let report = Report {
            interface: &link.name,
            mac: link.mac.to_string(),
            client_id: session.map(|session| known::hex(&session.client_id())),
            lease: Fields::from(lease),
        };
        // Strings, numbers and lists of them always have a form in JSON.
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    } else if config.quiet {
        return;
    } else {
        text(wish, &link.name, lease)
    };
    // Whoever reads may close the pipe; the lease is there all the same.
    let _ = write!(std::io::stdout(), "{text}");
}

fn text(wish: &Wish, interface: &str, lease: &Lease) -> String {
    let would = if wish.dry_run { "would set " } else { "" };
    let mut text = format!("{interface}: {would}{lease}\n");
    for route in &lease.routes {
        let via = route
            .gateway
            .map_or_else(String::new, |gateway| format!(" via {gateway}"));
        let (destination, prefix_len) = (route.destination, route.prefix_len);
        text.push_str(&format!(
            "{interface}: {would}route {destination}/{prefix_len}{via}\n"
        ));
    }
    if let Some(file) = &lease.boot_file {
        text.push_str(&format!("{interface}: boot file {}\n", Safe::name(file)));
    }
    if wish.shows_options {
        text.push_str(&options::text(lease));
    }
    text
}
