//! The files that scripts of an initramfs read: klibc's variables of an interface; for dracut's modules
//! the marks of an interface that is set up, and the variables that its script for dhclient writes.

use std::net::Ipv4Addr;

use super::resolv_conf::{resolvers, resolvers6};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::ipv6::export::variables;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::{Lease6, Origin};
use wireboot_proto::packet::ipv4::netmask;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::names;

/// Option 40, the domain of the Network Information Service (RFC 2132 §8.1).
pub(super) const NIS_DOMAIN: u8 = 40;

/// Returns the name of the file about IPv6, for initramfs-tools and cloud-init.
pub(super) fn net_conf6_name(interface: &str) -> String {
    format!("run/net6-{interface}.conf")
}

/// Returns the name of the file of klibc.
pub(super) fn net_conf_name(interface: &str) -> String {
    format!("run/net-{interface}.conf")
}

/// Returns the variables that klibc's `ipconfig` writes.
pub(super) fn net_conf(interface: &str, lease: &Lease, uptime_seconds: u64) -> String {
    let address = |address: Option<Ipv4Addr>| address.unwrap_or(Ipv4Addr::UNSPECIFIED).to_string();
    let netmask = netmask(lease.prefix_len);
    let broadcast = lease.address | !netmask;
    let gateway = lease.routes.iter().find(|route| route.prefix_len == 0);
    let mut dns = lease.dns.iter().copied();
    let option = |code, fits: fn(&str) -> bool| {
        let text = lease.options.text(code).filter(|text| fits(text));
        text.unwrap_or_default().to_owned()
    };
    let lease_time = lease
        .times
        // 0xffffffff is a lease without end (RFC 2131 §3.3).
        .map_or(u64::from(u32::MAX), |times| times.lease.as_secs());
    let mut search = lease.search.join(" ");
    if search.is_empty() {
        search = lease.domain.clone().unwrap_or_default();
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let proto = if lease.is_without_dhcp() {
        "none"
    } else {
        "dhcp"
    };
    [
        ("DEVICE", interface.to_owned()),
        ("PROTO", proto.to_owned()),
        ("IPV4ADDR", lease.address.to_string()),
        (
            "IPV4BROADCAST",
            address(lease.broadcast.or(Some(broadcast))),
        ),
        ("IPV4NETMASK", netmask.to_string()),
        (
            "IPV4GATEWAY",
            address(gateway.and_then(|route| route.gateway)),
        ),
        ("IPV4DNS0", address(dns.next())),
        // klibc's ipconfig has two name servers, and scripts read these two names.
        ("IPV4DNS1", address(dns.next())),
        ("HOSTNAME", text(&lease.host_name)),
        ("DNSDOMAIN", text(&lease.domain)),
        ("NISDOMAIN", option(NIS_DOMAIN, names::is_host_name)),
        ("ROOTSERVER", address(lease.next_server.or(lease.server))),
        ("ROOTPATH", option(code::ROOT_PATH, names::is_path)),
        ("filename", text(&lease.boot_file)),
        ("UPTIME", uptime_seconds.to_string()),
        ("DHCPLEASETIME", lease_time.to_string()),
        ("DOMAINSEARCH", search),
    ]
    .map(|(name, value)| format!("{name}={}\n", quoted(&value)))
    .concat()
}

/// The files of dracut for an interface.
const DRACUT_FILES: [&str; 5] = ["gw", "hostname", "resolv.conf", "up", "did-setup"];

/// Returns the names of all files that dracut may have.
pub(super) fn dracut_names(interface: &str) -> Vec<String> {
    let mut names: Vec<_> = DRACUT_FILES
        .iter()
        .map(|what| dracut_name(interface, what))
        .collect();
    names.push(options_name(interface));
    names
}

fn dracut_name(interface: &str, what: &str) -> String {
    format!("tmp/net.{interface}.{what}")
}

fn options_name(interface: &str) -> String {
    format!("tmp/dhclient.{interface}.dhcpopts")
}

/// Returns the files of dracut, by name and content.
pub(super) fn dracut_files(interface: &str, lease: &Lease) -> Vec<(String, String)> {
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
    let resolvers = has_resolvers.then(|| resolvers(lease));
    let mut files = vec![(options_name(interface), dhclient_variables(lease))];
    add_marks(&mut files, interface, [gateway, host_name, resolvers]);
    files
}

/// Adds the files of dracut for a router, a host name and resolvers, and its marks.
fn add_marks(files: &mut Vec<(String, String)>, interface: &str, what_is: [Option<String>; 3]) {
    // did-setup is last, since it says that the others are there.
    let marks = [Some(String::new()), Some(String::new())];
    let contents = what_is.into_iter().chain(marks);
    for (what, content) in DRACUT_FILES.into_iter().zip(contents) {
        files.extend(content.map(|content| (dracut_name(interface, what), content)));
    }
}

/// Returns the files of dracut for a lease of IPv6, as its scripts `ifup` and `dhclient-script` write them:
/// the router where the address is given, since the kernel has those of advertisements, and the variables
/// where a server has granted an address.
pub(super) fn dracut_files6(
    interface: &str,
    identity: Option<&Identity>,
    lease: &Lease6,
) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let address = lease.addresses.first();
    let has_origin = |wanted| address.is_some_and(|given| given.origin == wanted);
    if has_origin(Origin::Server) {
        let mut text = String::new();
        for (name, value) in variables(interface, identity, lease) {
            // What `set` shows of dhclient's.
            if name.starts_with("new_") {
                text.push_str(&format!("{name}={}\n", quoted(&value)));
            }
        }
        files.push((options_name(interface), text));
    }
    let is_given = has_origin(Origin::Given);
    let gateway = lease.gateway().filter(|_| is_given).map(|gateway| {
        let interface = quoted(interface);
        format!("ip route replace default via '{gateway}' dev {interface}\n")
    });
    let has_resolvers = !lease.dns.is_empty() || !lease.search.is_empty();
    let resolvers = has_resolvers.then(|| resolvers6(interface, lease));
    add_marks(&mut files, interface, [gateway, None, resolvers]);
    files
}

/// Returns the variables of dhclient(8) that scripts read.
fn dhclient_variables(lease: &Lease) -> String {
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

/// Quotes for a POSIX shell: within single quotes nothing has a meaning but their end. Control
/// characters go, since a reader by lines would take what follows one for a line of its own.
pub(super) fn quoted(value: &str) -> String {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// Writes the files for a lease of an ACK with these options, and reads them as a shell does: lines
/// `NAME=VALUE`, or commands, of words that mean themselves. A shell is only a model here: what stands
/// within single quotes, a backslash before a quote, and letters that have no meaning.
#[cfg(fuzzing)]
pub fn fuzz(lease: &Lease) {
    let files = dracut_files("eth0", lease);
    let conf = net_conf("eth0", lease, 7);
    let all = files
        .iter()
        .filter(|(name, _)| !name.ends_with("resolv.conf"));
    for line in all.flat_map(|(_, text)| text.lines()).chain(conf.lines()) {
        let mut is_quoted = false;
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            match character {
                '\'' => is_quoted = !is_quoted,
                _ if is_quoted => assert!(!character.is_control()),
                '\\' => assert_eq!(characters.next(), Some('\'')),
                // The redirection is of the command that sets the name.
                ' ' | '>' | '/' | '_' | '=' | '.' => {}
                other => assert!(other.is_ascii_alphanumeric()),
            }
        }
        assert!(!is_quoted);
    }
    let host_name = lease.host_name.clone().unwrap_or_default();
    assert_eq!(unquoted(&quoted(&host_name)), host_name);
    for line in resolvers(lease).lines() {
        let is_known = ["nameserver ", "search "]
            .iter()
            .any(|word| line.starts_with(word));
        assert!(is_known && !line.contains(char::is_control));
    }
}

/// Returns the value of one quoted word.
#[cfg(fuzzing)]
fn unquoted(word: &str) -> String {
    let inner = word
        .strip_prefix('\'')
        .and_then(|word| word.strip_suffix('\''));
    inner.unwrap_or_default().replace("'\\''", "'")
}
