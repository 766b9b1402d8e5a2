//! A lease as fields for programs. Names and units are documented in the reference and stay; a field
//! that has no value is there and null.

use crate::prelude::*;
use core::net::Ipv4Addr;
use core::time::Duration;

use serde::Serialize;

use super::lease::{Lease, StaticRoute};
use crate::packet::option::code;
use crate::packet::option::known::{self, OptionValue};

/// The fields of a lease.
#[derive(Debug, Serialize)]
pub struct LeaseFields<'a> {
    address: String,
    prefix_length: u8,
    server: Option<String>,
    routes: Vec<RouteFields>,
    broadcast: Option<String>,
    mtu: Option<u16>,
    dns: Vec<String>,
    domain: Option<&'a str>,
    search: &'a [String],
    ntp: Vec<String>,
    host_name: Option<&'a str>,
    next_server: Option<String>,
    server_name: Option<&'a str>,
    boot_file: Option<&'a str>,
    class: Option<&'a str>,
    /// Null for a lease without end.
    lease_seconds: Option<u64>,
    renewal_seconds: Option<u64>,
    rebinding_seconds: Option<u64>,
    options: Vec<OptionFields>,
    ignored: Vec<IgnoredFields>,
}

#[derive(Debug, Serialize)]
struct RouteFields {
    destination: String,
    router: Option<String>,
}

#[derive(Debug, Serialize)]
struct OptionFields {
    code: u8,
    name: String,
    value: OptionValue,
    hex: String,
}

#[derive(Debug, Serialize)]
struct IgnoredFields {
    code: u8,
    name: String,
    why: &'static str,
}

impl<'a> From<&'a Lease> for LeaseFields<'a> {
    fn from(lease: &'a Lease) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let text = |address: Option<Ipv4Addr>| address.map(|address| address.to_string());
        let texts = |addresses: Vec<Ipv4Addr>| addresses.iter().map(ToString::to_string).collect();
        Self {
            address: lease.address.to_string(),
            prefix_length: lease.prefix_len,
            server: text(lease.server),
            routes: lease.routes.iter().map(RouteFields::from).collect(),
            broadcast: text(lease.broadcast),
            mtu: lease.mtu_octets,
            dns: texts(lease.dns.clone()),
            domain: lease.domain.as_deref(),
            search: &lease.search,
            ntp: texts(lease.options.addresses(code::NTP_SERVERS)),
            host_name: lease.host_name.as_deref(),
            next_server: text(lease.next_server),
            server_name: lease.server_name.as_deref(),
            boot_file: lease.boot_file.as_deref(),
            class: lease.options.text(code::VENDOR_CLASS),
            lease_seconds: seconds(lease.times.map(|times| times.lease)),
            renewal_seconds: seconds(lease.times.map(|times| times.renewal)),
            rebinding_seconds: seconds(lease.times.map(|times| times.rebinding)),
            options: lease
                .options
                .iter()
                .map(|(code, octets)| OptionFields {
                    code,
                    name: known::name(code),
                    value: OptionValue::read(code, octets),
                    hex: known::hex(octets),
                })
                .collect(),
            ignored: lease
                .ignored
                .iter()
                .map(|(code, why)| IgnoredFields {
                    code: *code,
                    name: known::name(*code),
                    why,
                })
                .collect(),
        }
    }
}

impl From<&StaticRoute> for RouteFields {
    fn from(route: &StaticRoute) -> Self {
        Self {
            destination: format!("{}/{}", route.destination, route.prefix_len),
            router: route.gateway.map(|gateway| gateway.to_string()),
        }
    }
}
