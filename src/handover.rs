//! Files for the programs that take over the network after this one: resolvers in `/etc/resolv.conf`, the host
//! name, and klibc's `/run/net-INTERFACE.conf`, which scripts of an initramfs read; to whom it is
//! asked for, the files of dracut, systemd-networkd and NetworkManager.
//!
//! Files are replaced whole, so that nobody ever reads half of one. A file that cannot be written
//! costs a warning and never the boot. Values come from the network and go into a file that a
//! shell runs, so they are quoted there whatever they hold.

#![forbid(unsafe_code)]

mod dracut;
mod network_manager;
mod networkd;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::config::HandOver;
use crate::sys::file::{self, EVERYBODY, OWNER};
use crate::sys::{self, machine};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::ipv4::netmask;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::validation;

const RESOLV_CONF: &str = "etc/resolv.conf";
const BEGIN: &str = "# wireboot: from here";
const END: &str = "# wireboot: to here";
/// Option 40, the domain of the Network Information Service (RFC 2132 §8.1).
const NIS_DOMAIN: u8 = 40;

/// Interface and client that a lease belongs to.
#[derive(Debug, Clone, Copy)]
pub struct HandOverIdentity<'a> {
    /// The interface's name.
    pub interface: &'a str,
    /// Its hardware address.
    pub mac: MacAddress,
    /// As whom the lease was asked for (option 61); empty without DHCP.
    pub client_id: &'a [u8],
}

/// Leaves what `lease` says about its holder's interface, and sets the host name where there is none.
///
/// In a network namespace that is not the machine's own it does nothing: the files describe the
/// machine's network.
pub fn write(holder: &HandOverIdentity<'_>, lease: &Lease, to: HandOver) {
    if !is_at_home() {
        log::debug!("in another network namespace: no resolver and no host name is set");
        return;
    }
    write_files(Path::new("/"), holder, lease, to);
    if let Some(name) = &lease.host_name
        && is_unnamed(&fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default())
        && let Err(error) = machine::set_host_name(name)
    {
        log::warn!("{}", error.chain());
    }
}

/// Takes back what [`write()`] left in files.
pub fn remove(interface: &str) {
    if is_at_home() {
        remove_files(Path::new("/"), interface);
    }
}

fn is_at_home() -> bool {
    let namespace = |process| fs::read_link(format!("/proc/{process}/ns/net"));
    // thread-self, since each thread may be in a namespace of its own (setns(2)).
    namespace("1").is_ok_and(|machine| namespace("thread-self").is_ok_and(|ours| machine == ours))
}

fn write_files(root: &Path, holder: &HandOverIdentity<'_>, lease: &Lease, to: HandOver) {
    // A lease that says nothing takes away what the one before it said.
    let has_resolvers = !lease.dns.is_empty() || lease.domain.is_some() || !lease.search.is_empty();
    warn_of_error(
        RESOLV_CONF,
        replace_resolv_conf(root, Some(lease).filter(|_| has_resolvers)),
    );
    let interface = holder.interface;
    let text = net_conf(interface, lease, sys::now().as_millis() / 1000);
    let mut files = vec![(net_conf_name(interface), text, EVERYBODY)];
    if to.networkd {
        match networkd::unit(holder, lease) {
            Ok(unit) => files.push((networkd::name(interface), unit, EVERYBODY)),
            Err(why) => log::warn!("systemd-networkd will not keep the address: {why}"),
        }
    }
    if to.network_manager {
        let text = network_manager::keyfile(holder, lease);
        // NetworkManager reads no connection that others could.
        files.push((network_manager::name(interface), text, OWNER));
    }
    if to.dracut {
        let all = dracut::files(interface, lease).into_iter();
        files.extend(all.map(|(name, text)| (name, text, EVERYBODY)));
    }
    for (name, text, mode) in files {
        warn_of_error(
            &name,
            file::replace(&root.join(&name), text.as_bytes(), mode),
        );
    }
}

fn remove_files(root: &Path, interface: &str) {
    warn_of_error(RESOLV_CONF, replace_resolv_conf(root, None));
    let mut names = vec![
        net_conf_name(interface),
        networkd::name(interface),
        network_manager::name(interface),
    ];
    names.extend(dracut::names(interface));
    for name in names {
        if let Err(error) = fs::remove_file(root.join(&name))
            && error.kind() != io::ErrorKind::NotFound
        {
            warn_of_error(&name, Err(error));
        }
    }
}

fn warn_of_error(file: &str, result: io::Result<()>) {
    if let Err(error) = result {
        log::warn!("/{file} is not written: {error}");
    }
}

fn net_conf_name(interface: &str) -> String {
    format!("run/net-{interface}.conf")
}

/// Linux calls a machine `(none)` until it is named, and distributions `localhost`.
fn is_unnamed(name: &str) -> bool {
    matches!(
        name.trim(),
        "" | "(none)" | "localhost" | "localhost.localdomain"
    )
}

fn replace_resolv_conf(root: &Path, lease: Option<&Lease>) -> io::Result<()> {
    let path = root.join(RESOLV_CONF);
    // Somebody who makes it a link looks after it; a file in its place would cut that off.
    if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
        return match lease {
            Some(_) => Err(io::Error::other(
                "it is a link that another service looks after",
            )),
            None => Ok(()),
        };
    }
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        before => before?,
    };
    let after = resolv_conf(&before, lease);
    if after == before {
        return Ok(());
    }
    file::replace(&path, after.as_bytes(), EVERYBODY)
}

/// Returns `before` with the lines of ours replaced by those of `lease`, which go first, since
/// resolvers beyond the third are not asked.
fn resolv_conf(before: &str, lease: Option<&Lease>) -> String {
    let mut text = String::new();
    if let Some(lease) = lease {
        text = format!("{BEGIN}\n{}{END}\n", resolvers(lease));
    }
    let mut is_ours = false;
    for line in before.lines() {
        match line {
            BEGIN => is_ours = true,
            END => is_ours = false,
            line if !is_ours => text.push_str(&format!("{line}\n")),
            _ => {}
        }
    }
    text
}

/// Returns the lines of a resolver's configuration.
fn resolvers(lease: &Lease) -> String {
    let mut text = String::new();
    let mut domains = lease.search.clone();
    if domains.is_empty() {
        domains.extend(lease.domain.clone());
    }
    if !domains.is_empty() {
        // Of `search` and `domain` the last one counts (resolv.conf(5)), so that only one is
        // written.
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    for server in &lease.dns {
        text.push_str(&format!("nameserver {server}\n"));
    }
    text
}

/// Returns the variables that klibc's `ipconfig` writes.
fn net_conf(interface: &str, lease: &Lease, uptime_seconds: u64) -> String {
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
        ("NISDOMAIN", option(NIS_DOMAIN, validation::is_host_name)),
        ("ROOTSERVER", address(lease.next_server.or(lease.server))),
        ("ROOTPATH", option(code::ROOT_PATH, validation::is_path)),
        ("filename", text(&lease.boot_file)),
        ("UPTIME", uptime_seconds.to_string()),
        ("DHCPLEASETIME", lease_time.to_string()),
        ("DOMAINSEARCH", search),
    ]
    .map(|(name, value)| format!("{name}={}\n", quoted(&value)))
    .concat()
}

/// Returns two digits for each octet, with colons between them.
fn hex(octets: &[u8]) -> String {
    let digits: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.join(":")
}

/// Quotes for a POSIX shell: within single quotes nothing has a meaning but their end. Control
/// characters go, since a reader by lines would take what follows one for a line of its own.
fn quoted(value: &str) -> String {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
