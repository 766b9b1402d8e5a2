//! `wireboot lease --family 6`: acquires addresses of IPv6, and configures the interface.

use std::fmt::Display;

use super::lease::{self, released};
use crate::acquire::{self, Winner, ipv6, ipv6::Bound6};
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::link;
use crate::recorder::Recorder;
use crate::report;
use crate::settings::options::Settings;
use crate::sys::signal::Signals;
use crate::sys::terminal;
use crate::timeline::Timeline;
use wireboot_proto::ipv6::dhcp::Purpose;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::text::safe::Safe;

pub(super) fn follow(
    settings: &Settings,
    config: &Config,
    recorder: &Recorder,
) -> Result<(), Error> {
    let options = &settings.lease;
    if options.release {
        let signals = Signals::open().map_err(Reason::no_signals)?;
        let found = link::find(&config.link, recorder, Some(&signals))?;
        return released(acquire::release_saved6(found, config, &signals)?);
    }
    let prints_lines = options.keep && report::service::begin(settings.json);
    let timeline = Timeline::begin();
    let signals = Signals::open().map_err(Reason::no_signals)?;
    let found = link::find(&config.link, recorder, Some(&signals))?;
    let previewed = match options.inform {
        Some(_) => Some(Purpose::Information),
        None => options.dry_run.then_some(Purpose::Preview),
    };
    if let Some(purpose) = previewed {
        let (bound, lease) = ipv6::preview(found, config, purpose, &signals)?;
        print(settings, &bound, &lease);
        bound.restore();
        return Ok(());
    }
    let names = found.names();
    let leased = ipv6::lease(found, config, Some(&signals));
    let leased = leased.inspect_err(|error| lease::failed(error, &names, &timeline))?;
    hold(settings, leased, &signals, &timeline, prints_lines)
}

/// As [`follow`] for whichever family has a lease first; IPv6 waits a while for IPv4.
pub(super) fn follow_either(
    settings: &Settings,
    config: &Config,
    recorder: &Recorder,
) -> Result<(), Error> {
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
    let prints_lines = options.keep && report::service::begin(settings.json);
    let timeline = Timeline::begin();
    let found = found()?;
    let names = found.names();
    let winner = acquire::either(found, config, &signals, &timeline);
    match winner.inspect_err(|error| lease::failed(error, &names, &timeline))? {
        Winner::V4(session) => lease::hold(settings, *session, &signals, &timeline, prints_lines),
        Winner::V6(bound) => hold(settings, *bound, &signals, &timeline, prints_lines),
    }
}

/// Does with the lease of a configured interface what is asked for.
pub(super) fn hold(
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
        print(settings, &bound, &lease);
    }
    if options.keep {
        return acquire::keep6(bound, signals, config);
    }
    bound.outlive();
    Ok(())
}

#[inline(never)]
fn print(settings: &Settings, bound: &Bound6, lease: &Lease6) {
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
        lines(&bound.session().link().name, would, lease)
    };
    terminal::print(&text);
}

fn lines(interface: &str, would: &str, lease: &Lease6) -> String {
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
