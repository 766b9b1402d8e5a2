//! `wireboot lease --family 6`: acquires addresses of IPv6, and configures the interface.

use std::fmt::Display;

use crate::acquire::{ipv6, ipv6::Bound6};
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::link;
use crate::recorder::Recorder;
use crate::report;
use crate::script::Event;
use crate::settings::options::Settings;
use crate::sys::signal::Signals;
use crate::sys::terminal;
use crate::timeline::Timeline;
use wireboot_proto::ipv6::lease::Lease6;
use wireboot_proto::text::safe::Safe;

pub(super) fn follow(
    settings: &Settings,
    config: &Config,
    recorder: &Recorder,
) -> Result<(), Error> {
    let options = &settings.lease;
    let is_for_ipv4 = [
        (options.release, "--release"),
        (options.inform.is_some(), "--inform"),
        (config.dhcp.script.is_some(), "--script"),
    ];
    if let Some((_, flag)) = is_for_ipv4.iter().find(|(is_set, _)| *is_set) {
        return Err(Box::new(Reason::Usage(format!(
            "{flag} is for IPv4: leave it out, or --family 6"
        ))));
    }
    let prints_lines = options.keep && report::service::begin(settings.json);
    let timeline = Timeline::begin();
    let found = link::find(&config.link, recorder, None)?;
    let signals = Signals::open().map_err(Reason::no_signals)?;
    if options.dry_run {
        let (bound, lease) = ipv6::preview(found, config, &signals)?;
        print(settings, &bound, &lease);
        bound.restore();
        return Ok(());
    }
    let names: Vec<_> = found.links.iter().map(|link| link.name.clone()).collect();
    let leased = ipv6::lease(found, config, Some(&signals));
    let (mut bound, mut lease) = leased.inspect_err(|_| {
        for name in &names {
            report::change(name, Event::LeaseFail);
        }
    })?;
    timeline.note("addresses and routes are set");
    if !options.keep {
        (bound, lease) = ipv6::listen_on(bound, lease, config, &signals)?;
    }
    timeline.done("lease");
    timeline.save();
    if !prints_lines {
        print(settings, &bound, &lease);
    }
    if options.keep {
        return ipv6::keep(bound, &lease, &signals, config);
    }
    bound.outlive();
    Ok(())
}

fn print(settings: &Settings, bound: &Bound6, lease: &Lease6) {
    let text = if settings.json {
        bound.session().fields(None, lease).json() + "\n"
    } else if settings.config.output.quiet {
        return;
    } else {
        let would = if settings.lease.dry_run {
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
    if let Some(file) = &lease.boot_file {
        put(&format_args!("boot file {}", Safe::name(file)));
    }
    text
}
