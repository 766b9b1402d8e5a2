//! `wireboot lease --family 6`: acquires addresses of IPv6, and configures the interface.

use std::fmt::Display;

use serde::{Serialize, Serializer};

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
    mac: Text<'a>,
    /// Null without a carrier.
    duid: Option<String>,
    iaid: Option<String>,
    addresses: Vec<AddressFields<'a>>,
    routes: Vec<RouteFields6<'a>>,
    server: Option<Text<'a>>,
    mtu: Option<u32>,
    dns: Vec<String>,
    search: &'a [String],
    boot_file: Option<&'a str>,
    boot_parameters: &'a [String],
}

#[derive(Serialize)]
struct AddressFields<'a> {
    address: Text<'a>,
    prefix_length: u8,
    origin: &'static str,
    preferred_seconds: Option<u32>,
    valid_seconds: Option<u32>,
}

#[derive(Serialize)]
struct RouteFields6<'a> {
    destination: String,
    router: Option<Text<'a>>,
    seconds: Option<u32>,
}

/// What stands as text. Without a type for each kind, the code is half as long.
struct Text<'a>(&'a dyn Display);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

fn print(settings: &Settings, bound: &Bound6, lease: &Lease6) {
    let text = if settings.json {
        json(bound, lease)
    } else if settings.config.output.quiet {
        return;
    } else {
        lines(&bound.session().link().name, lease)
    };
    terminal::print(&text);
}

fn json(bound: &Bound6, lease: &Lease6) -> String {
    let link = bound.session().link();
    let identity = bound.session().identity();
    // Null for what has no end.
    let seconds = |seconds: u32| Some(seconds).filter(|seconds| *seconds != FOREVER);
    let mut addresses = Vec::new();
    for given in &lease.addresses {
        addresses.push(AddressFields {
            address: Text(&given.address),
            prefix_length: given.prefix_len(),
            origin: match given.origin {
                Origin::Server => "server",
                Origin::Prefix => "prefix",
            },
            preferred_seconds: seconds(given.preferred),
            valid_seconds: seconds(given.valid),
        });
    }
    let mut routes = Vec::new();
    for route in &lease.routes {
        routes.push(RouteFields6 {
            destination: format!("{}/{}", route.destination, route.prefix_len),
            router: route.gateway.as_ref().map(|gateway| Text(gateway)),
            seconds: seconds(route.lifetime),
        });
    }
    let report = Lease6Report {
        family: 6,
        interface: &link.name,
        mac: Text(&link.mac),
        duid: identity.map(|identity| known::hex(&identity.duid)),
        iaid: identity.map(|identity| known::hex(&identity.iaid)),
        addresses,
        routes,
        server: lease.server.as_ref().map(|server| Text(server)),
        mtu: lease.mtu_octets,
        dns: lease.dns_on(&link.name),
        search: &lease.search,
        boot_file: lease.boot_file.as_deref(),
        boot_parameters: &lease.boot_parameters,
    };
    // Strings, numbers and lists of them always have a form in JSON.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

fn lines(interface: &str, lease: &Lease6) -> String {
    let mut text = String::new();
    let mut put = |what: &dyn Display| text.push_str(&format!("{interface}: {what}\n"));
    for address in &lease.addresses {
        put(address);
    }
    for route in &lease.routes {
        put(route);
    }
    for server in lease.dns_on(interface) {
        put(&format_args!("resolver {server}"));
    }
    if let Some(file) = &lease.boot_file {
        put(&format_args!("boot file {}", Safe::name(file)));
    }
    text
}
