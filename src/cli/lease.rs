//! `wireboot lease`: acquires a lease and configures the interface; renews or releases it.

use serde::Serialize;

use crate::acquire::{self, Session};
use crate::config::Config;
#[cfg(feature = "ipv6")]
use crate::config::Family;
use crate::error::{Error, Reason};
#[cfg(feature = "hand")]
use crate::handover;
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
    #[cfg(feature = "ipv6")]
    let follow = match config.dhcp.family {
        None | Some(Family::V4) => follow,
        Some(Family::V6) => super::lease6::follow,
        Some(Family::Either) => {
            let what = "--family either is for boot: a lease is of one family, 4 or 6";
            return Err(Box::new(Reason::Usage(what.to_owned())));
        }
    };
    let result = follow(&settings, config, &recorder);
    recorder.save_after(config.output.record.as_deref(), result)
}

fn follow(settings: &Settings, config: &Config, recorder: &Recorder) -> Result<(), Error> {
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
    if options.release {
        return release(config, recorder);
    }
    if let Some(lease) = Lease::without_dhcp(&config.dhcp.given) {
        return without_dhcp(settings, config, lease);
    }
    let prints_lines = options.keep && report::service::begin(settings.json);
    let timeline = Timeline::begin();
    let found = link::find(&config.link, recorder, None)?;
    let signals = Signals::open().map_err(Reason::no_signals)?;
    if options.dry_run {
        let (session, lease) = acquire::preview(found, config, Some(&signals))?;
        print(settings, session.link(), Some(&session), &lease);
        return Ok(());
    }
    if let Some(address) = options.inform {
        let session = acquire::inform(found, address, config, Some(&signals))?;
        if let Some(lease) = session.lease() {
            print(settings, session.link(), Some(&session), lease);
        }
        session.restore();
        return Ok(());
    }
    let names: Vec<_> = found.links.iter().map(|link| link.name.clone()).collect();
    let session = acquire::lease(found, config, Some(&signals), &timeline);
    let session = session.inspect_err(|error| {
        timeline.broken_off(error.chain());
        timeline.save();
        for name in &names {
            report::change(name, Event::LeaseFail);
        }
    })?;
    let name = session.link().name.clone();
    // udhcpc calls deconfig before the first lease, and its scripts raise and clear the interface
    // there.
    report::change(&name, Event::Deconfig("PREINIT"));
    let (mut session, mut lease) = acquire::configure(session)?;
    timeline.note("address and routes are set");
    if !options.keep {
        (session, lease) = acquire::listen_on(session, lease, config, &signals)?;
    }
    timeline.done("lease");
    timeline.save();
    report::change(&name, Event::Bound(&lease));
    if !prints_lines {
        print(settings, session.link(), Some(&session), &lease);
    }
    if options.keep {
        return acquire::keep(session, &signals, config);
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

fn release(config: &Config, recorder: &Recorder) -> Result<(), Error> {
    match acquire::release_saved(
        link::find(&config.link, recorder, None)?.links,
        &config.dhcp,
    )? {
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
