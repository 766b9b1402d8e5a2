//! The files that dracut's modules look for: the marks of an interface that is set up, and the
//! variables that its script for dhclient writes.

use std::net::Ipv4Addr;

use super::quoted;
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ipv4::netmask;
use wireboot_proto::packet::option::code;

/// The files of an interface.
const WHAT: [&str; 5] = ["gw", "hostname", "resolv.conf", "up", "did-setup"];

/// Returns the names of all files that there may be.
pub(super) fn names(interface: &str) -> Vec<String> {
    let mut names: Vec<_> = WHAT.iter().map(|what| name(interface, what)).collect();
    names.push(options_name(interface));
    names
}

fn name(interface: &str, what: &str) -> String {
    format!("tmp/net.{interface}.{what}")
}

fn options_name(interface: &str) -> String {
    format!("tmp/dhclient.{interface}.dhcpopts")
}

/// Returns the files, by name and content.
pub(super) fn files(interface: &str, lease: &Lease) -> Vec<(String, String)> {
    let gateway = lease.routes.iter().find(|route| route.prefix_len == 0);
    let gateway = gateway.and_then(|route| route.gateway).map(|gateway| {
        let interface = quoted(interface);
        // dracut's setup_net runs this file; `add` would fail, since the route is set already.
        format!("ip route replace default via '{gateway}' dev {interface}\n")
    });
    let host_name = lease.host_name.as_ref();
    let host_name =
        // Run by the same function of dracut's net-lib.sh, so it is a command and not a name.
        host_name.map(|name| format!("echo {} > /proc/sys/kernel/hostname\n", quoted(name)));
    let has_resolvers = !lease.dns.is_empty() || lease.domain.is_some();
    let resolvers = has_resolvers.then(|| super::resolvers(lease));
    // did-setup is last, since it says that the others are there.
    let contents = [
        gateway,
        host_name,
        resolvers,
        Some(String::new()),
        Some(String::new()),
    ];
    let mut files = vec![(options_name(interface), options(lease))];
    for (what, content) in WHAT.into_iter().zip(contents) {
        files.extend(content.map(|content| (name(interface, what), content)));
    }
    files
}

/// Returns the variables of dhclient(8) that scripts read.
fn options(lease: &Lease) -> String {
    let list = |addresses: &[Ipv4Addr]| {
        let addresses: Vec<_> = addresses.iter().map(Ipv4Addr::to_string).collect();
        addresses.join(" ")
    };
    let routers = lease.routes.iter().filter(|route| route.prefix_len == 0);
    let routers: Vec<_> = routers.filter_map(|route| route.gateway).collect();
    let seconds = |time: Option<std::time::Duration>| {
        time.map_or_else(String::new, |time| time.as_secs().to_string())
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let broadcast = lease
        .broadcast
        .map_or_else(String::new, |it| it.to_string());
    let mtu = lease
        .mtu_octets
        .map_or_else(String::new, |mtu| mtu.to_string());
    let root_path = lease.options.text(code::ROOT_PATH).unwrap_or_default();
    let server = lease.server.map_or_else(String::new, |it| it.to_string());
    let next_server = lease
        .next_server
        .map_or_else(String::new, |it| it.to_string());
    [
        ("new_ip_address", lease.address.to_string()),
        ("new_subnet_mask", netmask(lease.prefix_len).to_string()),
        ("new_broadcast_address", broadcast),
        ("new_routers", list(&routers)),
        ("new_domain_name_servers", list(&lease.dns)),
        ("new_domain_name", text(&lease.domain)),
        ("new_domain_search", lease.search.join(" ")),
        ("new_host_name", text(&lease.host_name)),
        ("new_interface_mtu", mtu),
        ("new_root_path", root_path.to_owned()),
        ("new_next_server", next_server),
        ("new_filename", text(&lease.boot_file)),
        ("new_dhcp_server_identifier", server),
        (
            "new_dhcp_lease_time",
            seconds(lease.times.map(|times| times.lease)),
        ),
        (
            "new_dhcp_renewal_time",
            seconds(lease.times.map(|times| times.renewal)),
        ),
        (
            "new_dhcp_rebinding_time",
            seconds(lease.times.map(|times| times.rebinding)),
        ),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| format!("{name}={}\n", quoted(&value)))
    .collect()
}
