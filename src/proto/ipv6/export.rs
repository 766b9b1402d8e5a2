//! What IPv6 has given for other programs: as fields of JSON, and as variables of scripts.

use crate::prelude::*;
use core::fmt::Display;

use serde::{Serialize, Serializer};

use super::identity::Identity;
use super::lease::{FOREVER, Lease6, Origin};
use crate::packet::ethernet::MacAddress;
use crate::packet::option::known;

/// The fields of a lease. Names and units are documented in the reference and stay; a field that has no value
/// is there and null.
#[derive(Serialize)]
pub struct Lease6Fields<'a> {
    /// The change that led to it; left out where only the lease is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
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
    ntp: Vec<String>,
    search: &'a [String],
    nat64: Option<Text<'a>>,
    captive_portal: Option<&'a str>,
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

impl<'a> Lease6Fields<'a> {
    /// Returns the fields of the lease of an interface, of an event if there is one.
    pub fn new(
        event: Option<&'a str>,
        (interface, mac): (&'a str, &'a MacAddress),
        identity: Option<&Identity>,
        lease: &'a Lease6,
    ) -> Self {
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
                    Origin::Given => "static",
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
        Self {
            event,
            family: 6,
            interface,
            mac: Text(mac),
            duid: identity.map(|identity| known::hex(&identity.duid)),
            iaid: identity.map(|identity| known::hex(&identity.iaid)),
            addresses,
            routes,
            server: lease.server.as_ref().map(|server| Text(server)),
            mtu: lease.mtu_octets,
            dns: lease.dns_on(interface),
            ntp: lease.time_servers.iter().map(ToString::to_string).collect(),
            search: &lease.search,
            nat64: lease.nat64.as_ref().map(|prefix| Text(prefix)),
            captive_portal: lease.captive_portal.as_deref(),
            boot_file: lease.boot_file.as_deref(),
            boot_parameters: &lease.boot_parameters,
        }
    }

    /// Returns them as an object of JSON in several lines.
    pub fn json(&self) -> String {
        // Strings, numbers and lists of them always have a form in JSON.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

/// Returns the names and values of busybox's udhcpc6, of dhcpcd and of dhclient; what has no value is left
/// out. Nothing is quoted.
pub fn variables(
    interface: &str,
    identity: Option<&Identity>,
    lease: &Lease6,
) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut set = |names: &[&str], value: &dyn Display| {
        let value = value.to_string();
        for name in names {
            if !value.is_empty() {
                list.push(((*name).to_owned(), value.clone()));
            }
        }
    };
    if let Some(identity) = identity {
        let iaid = identity.iaid.map(|byte| format!("{byte:02x}"));
        set(&["new_dhcp6_client_id"], &known::hex(&identity.duid));
        set(&["new_dhcp6_ia_na1_iaid"], &iaid.concat());
        set(&["new_iaid"], &iaid.join(":"));
    }
    set(&["new_dhcp6_server_id"], &known::hex(&lease.server_id));
    // The first one, for scripts that know a single address.
    if let Some(first) = lease.addresses.first() {
        set(&["ipv6", "new_ip6_address"], &first.address);
        set(&["lease", "new_max_life"], &first.valid);
        set(&["new_ip6_prefixlen"], &first.prefix_len());
        set(&["new_preferred_life"], &first.preferred);
    }
    let (mut granted, mut formed) = (0, 0);
    for given in &lease.addresses {
        if given.origin == Origin::Server {
            granted += 1;
            let name = format!("new_dhcp6_ia_na1_ia_addr{granted}");
            set(&[&name], &given.address);
            set(&[&(name.clone() + "_pltime")], &given.preferred);
            set(&[&(name + "_vltime")], &given.valid);
        } else {
            formed += 1;
            set(
                &[&format!("nd1_addr{formed}")],
                &format_args!("{}/{}", given.address, given.prefix_len()),
            );
        }
    }
    if let Some(router) = lease.gateway() {
        set(&["nd1_from"], &router);
    }
    if let Some(mtu) = lease.mtu_octets {
        set(&["nd1_mtu"], &mtu);
    }
    let servers = lease.dns_on(interface).join(" ");
    set(&["dns", "new_dhcp6_name_servers"], &servers);
    let search = lease.search.join(" ");
    set(&["search", "new_dhcp6_domain_search"], &search);
    let servers: Vec<_> = lease.time_servers.iter().map(ToString::to_string).collect();
    set(&["new_dhcp6_sntp_servers"], &servers.join(" "));
    if let Some(file) = &lease.boot_file {
        set(&["bootfile_url", "new_dhcp6_bootfile_url"], file);
    }
    let parameters = lease.boot_parameters.join(" ");
    set(&["bootfile_param", "new_dhcp6_bootfile_param"], &parameters);
    list
}
