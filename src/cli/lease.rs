//! `wireboot lease`: acquires a lease of one family or of the first that has one, and configures the
//! interface; renews, keeps or releases it.

use std::fmt::Display;
use std::net::IpAddr;

use serde::Serialize;

use crate::acquire::{self, Session, Winner, ipv6, ipv6::Bound6};
use crate::config::{Config, Family};
use crate::error::{Error, Reason};
#[cfg(feature = "hand")]
use crate::handover;
use crate::link::{self, Link};
use crate::notify;
use crate::recorder::Recorder;
use crate::script::Event;
use crate::settings::options::Settings;
use crate::sys::signal::Signals;
use crate::sys::terminal;
use crate::timeline::Timeline;
use wireboot_proto::dhcp::json::LeaseFields;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::packet::option::known::{self, OptionValue};
use wireboot_proto::text::safe::Safe;

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let config = &settings.config;
    let recorder = Recorder::default();
    if config.dhcp.script_only && config.dhcp.script.is_none() {
        return Err(Box::new(Reason::Usage(
            "--script-only: no --script".to_owned(),
        )));
    }
    #[cfg(feature = "hand")]
    if let Some(path) = &settings.lease.resolv_conf {
        handover::set_resolv_conf(path.clone());
    }
    let options = &settings.lease;
    let kinds = [
        options.keep,
        options.release,
        options.dry_run,
        options.inform.is_some(),
    ];
    if kinds.into_iter().filter(|is_set| *is_set).count() > 1 {
        return Err(Box::new(Reason::Usage(
            "--keep, --release, --dry-run and --inform exclude each other".to_owned(),
        )));
    }
    let follow = match (config.dhcp.family, options.inform) {
        (None | Some(Family::Either), Some(IpAddr::V6(_))) | (Some(Family::V6), _) => follow6,
        (None | Some(Family::V4), _) | (Some(Family::Either), Some(IpAddr::V4(_))) => follow4,
        (Some(Family::Either), None) => follow_either,
    };
    let result = follow(&settings, config, &recorder);
    recorder.save_after(config.output.record.as_deref(), result)
}

fn follow4(settings: &Settings, config: &Config, recorder: &Recorder) -> Result<(), Error> {
    let options = &settings.lease;
    if options.release {
        let links = link::find(&config.link, recorder, None)?.links;
        return released(acquire::release_saved(links, &config.dhcp)?);
    }
    if let Some(lease) = Lease::without_dhcp(&config.dhcp.given) {
        return without_dhcp(settings, config, lease);
    }
    let prints_lines = options.keep && notify::begin(settings.json);
    let timeline = Timeline::begin();
    let signals = Signals::open().map_err(Reason::no_signals)?;
    let found = link::find(&config.link, recorder, Some(&signals))?;
    if options.dry_run {
        let (session, lease) = acquire::preview(found, config, Some(&signals))?;
        print4(settings, session.link(), Some(&session), &lease);
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
            print4(settings, session.link(), Some(&session), lease);
        }
        session.restore();
        return Ok(());
    }
    let names = found.names();
    let session = acquire::lease(found, config, Some(&signals), &timeline);
    let session = session.inspect_err(|error| failed(error, &names, &timeline))?;
    hold4(settings, session, &signals, &timeline, prints_lines)
}

/// Tells the script, for each interface, and the account of a lease that could not be acquired.
fn failed(error: &Error, names: &[String], timeline: &Timeline) {
    timeline.broken_off(error.chain());
    timeline.save();
    for name in names {
        notify::change(name, Event::LeaseFail);
    }
}

/// Configures the interface of a session with a lease, and does with it what is asked for.
fn hold4(
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
    notify::change(&name, Event::Deconfig("PREINIT"));
    let (mut session, mut lease) = acquire::configure(session)?;
    timeline.note("address and routes are set");
    if !options.keep {
        (session, lease) = acquire::listen_on(session, lease, config, signals)?;
    }
    timeline.done("lease");
    timeline.save();
    notify::change(&name, Event::Bound(&lease));
    if !prints_lines {
        print4(settings, session.link(), Some(&session), &lease);
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
    print4(settings, &link, None, &lease);
    if settings.lease.dry_run {
        link.restore();
    }
    Ok(())
}

/// Says so if there was no lease to release.
fn released(count: usize) -> Result<(), Error> {
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

fn print4(settings: &Settings, link: &Link, session: Option<&Session>, lease: &Lease) {
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
        text4(settings, &link.name, lease)
    };
    terminal::print(&text);
}

fn text4(settings: &Settings, interface: &str, lease: &Lease) -> String {
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

fn follow6(settings: &Settings, config: &Config, recorder: &Recorder) -> Result<(), Error> {
    let options = &settings.lease;
    if options.release {
        let signals = Signals::open().map_err(Reason::no_signals)?;
        let found = link::find(&config.link, recorder, Some(&signals))?;
        return released(acquire::release_saved6(found, config, &signals)?);
    }
    let prints_lines = options.keep && notify::begin(settings.json);
    let timeline = Timeline::begin();
    let signals = Signals::open().map_err(Reason::no_signals)?;
    let found = link::find(&config.link, recorder, Some(&signals))?;
    let previewed = match options.inform {
        Some(_) => Some(Purpose::Information),
        None => options.dry_run.then_some(Purpose::Preview),
    };
    if let Some(purpose) = previewed {
        let (bound, lease) = ipv6::preview(found, config, purpose, &signals)?;
        print6(settings, &bound, &lease);
        bound.restore();
        return Ok(());
    }
    let names = found.names();
    let leased = ipv6::lease(found, config, Some(&signals));
    let leased = leased.inspect_err(|error| failed(error, &names, &timeline))?;
    hold6(settings, leased, &signals, &timeline, prints_lines)
}

/// As [`follow6`] for whichever family has a lease first; IPv6 waits a while for IPv4.
fn follow_either(settings: &Settings, config: &Config, recorder: &Recorder) -> Result<(), Error> {
    let options = &settings.lease;
    let signals = Signals::open().map_err(Reason::no_signals)?;
    let found = || link::find(&config.link, recorder, Some(&signals));
    if options.release {
        let count = acquire::release_saved(found()?.links, &config.dhcp)?;
        return released(count + acquire::release_saved6(found()?, config, &signals)?);
    }
    if options.dry_run {
        return Err(Box::new(Reason::Usage(
            "--dry-run shows the lease of one family: --family 4 or 6".to_owned(),
        )));
    }
    let prints_lines = options.keep && notify::begin(settings.json);
    let timeline = Timeline::begin();
    let found = found()?;
    let names = found.names();
    let winner = acquire::either(found, config, &signals, &timeline);
    match winner.inspect_err(|error| failed(error, &names, &timeline))? {
        Winner::V4(session) => hold4(settings, *session, &signals, &timeline, prints_lines),
        Winner::V6(bound) => hold6(settings, *bound, &signals, &timeline, prints_lines),
    }
}

/// Does with the lease of a configured interface what is asked for.
fn hold6(
    settings: &Settings,
    (mut bound, mut lease): (Bound6, Lease6),
    signals: &Signals,
    timeline: &Timeline,
    prints_lines: bool,
) -> Result<(), Error> {
    let (options, config) = (&settings.lease, &settings.config);
    timeline.note("addresses and routes are set");
    if !options.keep {
        (bound, lease) = ipv6::listen_on(bound, lease, config, signals)?;
    }
    timeline.done("lease");
    timeline.save();
    bound.session().report(true, &lease);
    if !prints_lines {
        print6(settings, &bound, &lease);
    }
    if options.keep {
        return acquire::keep6(bound, signals, config);
    }
    bound.outlive();
    Ok(())
}

#[inline(never)]
fn print6(settings: &Settings, bound: &Bound6, lease: &Lease6) {
    let text = if settings.json {
        bound.session().fields(None, lease).json() + "\n"
    } else if settings.config.output.quiet {
        return;
    } else {
        let would = if settings.lease.dry_run || settings.lease.inform.is_some() {
            "would set "
        } else {
            ""
        };
        lines6(&bound.session().link().name, would, lease)
    };
    terminal::print(&text);
}

fn lines6(interface: &str, would: &str, lease: &Lease6) -> String {
    let mut text = String::new();
    let mut put = |what: &dyn Display| text.push_str(&format!("{interface}: {would}{what}\n"));
    for address in &lease.addresses {
        put(address);
    }
    for route in &lease.routes {
        put(route);
    }
    for server in lease.dns_on(interface) {
        put(&format_args!("resolver {server}"));
    }
    if let Some(prefix) = lease.nat64 {
        put(&format_args!("IPv4 behind {prefix} (NAT64)"));
    }
    if let Some(uri) = &lease.captive_portal {
        put(&format_args!("captive portal {}", Safe::name(uri)));
    }
    if let Some(file) = &lease.boot_file {
        put(&format_args!("boot file {}", Safe::name(file)));
    }
    text
}
