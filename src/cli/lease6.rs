//! `wireboot lease --family 6`: acquires addresses of IPv6, and configures the interface.

use serde::Serialize;

use crate::acquire::{ipv6, ipv6::Bound6};
use crate::config::Config;
use crate::error::Error;
use crate::link;
use crate::recorder::Recorder;
use crate::settings::options::Settings;
use crate::sys::signal::Signals;
use crate::sys::terminal;
use crate::timeline::Timeline;
use wireboot_proto::ipv6::lease::{FOREVER, Lease6, Origin};
use wireboot_proto::packet::option::known;
use wireboot_proto::text::safe::Safe;

pub(super) fn follow(
    settings: &Settings,
    config: &Config,
    recorder: &Recorder,
) -> Result<(), Error> {
    let options = &settings.lease;
    let is_for_ipv4 = [
        (options.release, "--release"),
        (options.dry_run, "--dry-run"),
        (options.inform.is_some(), "--inform"),
        (config.dhcp.script.is_some(), "--script"),
    ];
    if let Some((_, flag)) = is_for_ipv4.iter().find(|(is_set, _)| *is_set) {
        return Err(Error::Usage(format!(
            "{flag} is for IPv4: leave it out, or --family 6"
        )));
    }
    let timeline = Timeline::begin();
    let found = link::find(&config.link, recorder, None)?;
    let signals = Signals::open().map_err(Error::no_signals)?;
    let (mut bound, mut lease) = ipv6::lease(found, config, Some(&signals))?;
    timeline.note("addresses and routes are set");
    if !options.keep {
        (bound, lease) = ipv6::listen_on(bound, lease, config, &signals)?;
    }
    timeline.done("lease");
    timeline.save();
    print(settings, &bound, &lease);
    if options.keep {
        return ipv6::keep(bound, &signals);
    }
    Ok(())
}

/// The JSON output; the reference documents the fields.
#[derive(Serialize)]
struct Lease6Report<'a> {
    family: u8,
    interface: &'a str,
    mac: String,
    /// Null without a carrier.
    duid: Option<String>,
    iaid: Option<String>,
    addresses: Vec<AddressFields>,
    routes: Vec<RouteFields6>,
    server: Option<String>,
    mtu: Option<u32>,
    dns: Vec<String>,
    search: &'a [String],
    boot_file: Option<&'a str>,
    boot_parameters: &'a [String],
}

#[derive(Serialize)]
struct AddressFields {
    address: String,
    prefix_length: u8,
    origin: &'static str,
    preferred_seconds: Option<u32>,
    valid_seconds: Option<u32>,
}

#[derive(Serialize)]
struct RouteFields6 {
    destination: String,
    router: Option<String>,
    seconds: Option<u32>,
}

fn print(settings: &Settings, bound: &Bound6, lease: &Lease6) {
    let link = bound.session().link();
    let interface = &link.name;
    if settings.json {
        let identity = bound.session().identity();
        // Null for what has no end.
        let seconds = |seconds: u32| Some(seconds).filter(|seconds| *seconds != FOREVER);
        let report = Lease6Report {
            family: 6,
            interface,
            mac: link.mac.to_string(),
            duid: identity.map(|identity| known::hex(&identity.duid)),
            iaid: identity.map(|identity| known::hex(&identity.iaid)),
            addresses: lease
                .addresses
                .iter()
                .map(|given| AddressFields {
                    address: given.address.to_string(),
                    prefix_length: given.prefix_len(),
                    origin: match given.origin {
                        Origin::Server => "server",
                        Origin::Prefix => "prefix",
                    },
                    preferred_seconds: seconds(given.preferred),
                    valid_seconds: seconds(given.valid),
                })
                .collect(),
            routes: lease
                .routes
                .iter()
                .map(|route| RouteFields6 {
                    destination: format!("{}/{}", route.destination, route.prefix_len),
                    router: route.gateway.map(|gateway| gateway.to_string()),
                    seconds: seconds(route.lifetime),
                })
                .collect(),
            server: lease.server.map(|server| server.to_string()),
            mtu: lease.mtu_octets,
            dns: lease.dns_on(interface),
            search: &lease.search,
            boot_file: lease.boot_file.as_deref(),
            boot_parameters: &lease.boot_parameters,
        };
        // Strings, numbers and lists of them always have a form in JSON.
        terminal::print(&(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"));
        return;
    }
    if settings.config.output.quiet {
        return;
    }
    let mut lines: Vec<_> = lease.addresses.iter().map(ToString::to_string).collect();
    lines.extend(lease.routes.iter().map(ToString::to_string));
    lines.extend(
        lease
            .dns_on(interface)
            .iter()
            .map(|server| format!("resolver {server}")),
    );
    if let Some(file) = &lease.boot_file {
        lines.push(format!("boot file {}", Safe::name(file)));
    }
    let text: String = lines
        .iter()
        .map(|line| format!("{interface}: {line}\n"))
        .collect();
    terminal::print(&text);
}
