//! A lease of IPv6 as variables: those of busybox's udhcpc6, of dhcpcd and of dhclient.

use crate::prelude::*;
use core::fmt::Display;

use super::identity::Identity;
use super::lease::{Lease6, Origin};
use crate::packet::option::known;

/// Returns the names and values; what has no value is left out. Nothing is quoted.
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
