//! `wireboot lease` over IPv4: acquires a lease and configures the interface; renews or releases it.

use std::net::IpAddr;

use serde::Serialize;

use crate::acquire::{self, Session};
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::link::{self, Link};
use crate::recorder::Recorder;
use crate::report;
use crate::script::Event;
use crate::settings::options::Settings;
use crate::sys::signal::Signals;
use crate::sys::terminal;
use crate::timeline::Timeline;
use wireboot_proto::dhcp::json::LeaseFields;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::known::{self, OptionValue};
use wireboot_proto::text::safe::Safe;

pub(super) fn follow(
    settings: &Settings,
    config: &Config,
    recorder: &Recorder,
) -> Result<(), Error> {
    let options = &settings.lease;
    if options.release {
        let links = link::find(&config.link, recorder, None)?.links;
        return released(acquire::release_saved(links, &config.dhcp)?);
    }
    if let Some(lease) = Lease::without_dhcp(&config.dhcp.given) {
        return without_dhcp(settings, config, lease);
    }
    let prints_lines = options.keep && report::service::begin(settings.json);
    let timeline = Timeline::begin();
    let signals = Signals::open().map_err(Reason::no_signals)?;
    let found = link::find(&config.link, recorder, Some(&signals))?;
    if options.dry_run {
        let (session, lease) = acquire::preview(found, config, Some(&signals))?;
        print(settings, session.link(), Some(&session), &lease);
        return Ok(());
    }
    if let Some(address) = options.inform {
        let IpAddr::V4(address) = address else {
            return Err(Box::new(Reason::Usage(format!(
                "--inform {address}: an address of IPv6 takes --family 6"
            ))));
        };
        let session = acquire::inform(found, address, config, Some(&signals))?;
        if let Some(lease) = session.lease() {
            print(settings, session.link(), Some(&session), lease);
        }
        session.restore();
        return Ok(());
    }
    let names = found.names();
    let session = acquire::lease(found, config, Some(&signals), &timeline);
    let session = session.inspect_err(|error| failed(error, &names, &timeline))?;
    hold(settings, session, &signals, &timeline, prints_lines)
}

/// Tells the script, for each interface, and the account of a lease that could not be acquired.
pub(super) fn failed(error: &Error, names: &[String], timeline: &Timeline) {
    timeline.broken_off(error.chain());
    timeline.save();
    for name in names {
        report::change(name, Event::LeaseFail);
    }
}

/// Configures the interface of a session with a lease, and does with it what is asked for.
pub(super) fn hold(
    settings: &Settings,
    session: Session,
    signals: &Signals,
    timeline: &Timeline,
    prints_lines: bool,
) -> Result<(), Error> {
    let (options, config) = (&settings.lease, &settings.config);
    let name = session.link().name.clone();
    // udhcpc calls deconfig before the first lease, and its scripts raise and clear the interface
    // there.
    report::change(&name, Event::Deconfig("PREINIT"));
    let (mut session, mut lease) = acquire::configure(session)?;
    timeline.note("address and routes are set");
    if !options.keep {
        (session, lease) = acquire::listen_on(session, lease, config, signals)?;
    }
    timeline.done("lease");
    timeline.save();
    report::change(&name, Event::Bound(&lease));
    if !prints_lines {
        print(settings, session.link(), Some(&session), &lease);
    }
    if options.keep {
        return acquire::keep(session, signals, config);
    }
    session.outlive();
    Ok(())
}

/// Sets an address from the kernel's command line, which needs no renewal.
fn without_dhcp(settings: &Settings, config: &Config, lease: Lease) -> Result<(), Error> {
    let link = if settings.lease.dry_run {
        link::first_up(&config.link, None)?
    } else {
        acquire::without_dhcp(config, &lease, None)?.0
    };
    print(settings, &link, None, &lease);
    if settings.lease.dry_run {
        link.restore();
    }
    Ok(())
}

/// Says so if there was no lease to release.
pub(super) fn released(count: usize) -> Result<(), Error> {
    match count {
        0 => Err(Box::new(Reason::Usage(
            "no lease to release: none is stored in the lease directory (--lease-dir)".to_owned(),
        ))),
        _ => Ok(()),
    }
}

/// The JSON output; the reference documents the fields.
#[derive(Serialize)]
struct LeaseReport<'a> {
    interface: &'a str,
    mac: String,
    client_id: Option<String>,
    #[serde(flatten)]
    lease: LeaseFields<'a>,
}

fn print(settings: &Settings, link: &Link, session: Option<&Session>, lease: &Lease) {
    let text = if settings.json {
        let report = LeaseReport {
            interface: &link.name,
            mac: link.mac.to_string(),
            client_id: session.map(|session| known::hex(&session.client_id())),
            lease: LeaseFields::from(lease),
        };
        // Strings, numbers and lists of them always have a form in JSON.
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    } else if settings.config.output.quiet {
        return;
    } else {
        text(settings, &link.name, lease)
    };
    terminal::print(&text);
}

fn text(settings: &Settings, interface: &str, lease: &Lease) -> String {
    let would = if settings.lease.dry_run || settings.lease.inform.is_some() {
        "would set "
    } else {
        ""
    };
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
    if settings.verbosity > 0 {
        text.push_str(&options(lease));
    }
    text
}

/// Returns a line for each option, and one for each option that is ignored.
pub(super) fn options(lease: &Lease) -> String {
    let mut text = String::new();
    for (code, bytes) in lease.options.iter() {
        let (name, value) = (known::name(code), OptionValue::read(code, bytes));
        text.push_str(&format!("  {code:>3}  {name:<28}  {value}\n"));
    }
    for (code, why) in &lease.ignored {
        text.push_str(&format!("  {code:>3}  not used as sent: it {why}\n"));
    }
    text
}
