//! The files about IPv6 for the programs that come later: resolvers, and klibc's variables as
//! initramfs-tools and cloud-init read them.

use std::path::PathBuf;

use super::earlier::warn_of_error;
use super::initramfs::quoted;
use super::place::here;
use super::resolv_conf;
use crate::sys::file::EVERYBODY;
use crate::sys::files;
use wireboot_proto::ipv6::lease::{Lease6, Origin};

/// Writes the files about `lease` of an interface; in a network namespace other than the machine's only
/// the resolvers, where there is a file for them.
pub fn write6(interface: &str, lease: &Lease6) {
    let place = here();
    if let Some(path) = &place.resolv_conf {
        warn_of_error(path, resolv_conf::replace6(path, interface, lease));
    }
    if place.is_machine {
        let path = place.root.join(file_name(interface));
        let text = net_conf(interface, lease);
        warn_of_error(&path, files::replace(&path, text.as_bytes(), EVERYBODY));
    }
}

/// Removes the files of [`write6`], and its lines in `/etc/resolv.conf`.
pub fn remove6(interface: &str) {
    let place = here();
    if let Some(path) = &place.resolv_conf {
        warn_of_error(path, resolv_conf::replace_own_lines(path, None));
    }
    if place.is_machine {
        // Mostly there is none.
        let _ = files::remove(&place.root.join(file_name(interface)));
    }
}

/// Returns the paths of the files of [`write6`].
pub fn paths6(interface: &str) -> Vec<PathBuf> {
    let place = here();
    let mut paths: Vec<_> = place.resolv_conf.iter().cloned().collect();
    if place.is_machine {
        paths.push(place.root.join(file_name(interface)));
    }
    paths
}

fn file_name(interface: &str) -> String {
    format!("run/net6-{interface}.conf")
}

/// Returns the variables that initramfs-tools writes for IPv6, which cloud-init reads.
fn net_conf(interface: &str, lease: &Lease6) -> String {
    let address = lease.addresses.first();
    let proto = match address.map(|given| given.origin) {
        Some(Origin::Server) => "dhcp6",
        Some(Origin::Given) => "static",
        Some(Origin::Prefix) | None => "auto6",
    };
    let mut text = String::new();
    let mut put = |name, value: &str| {
        text.push_str(name);
        text.push('=');
        text.push_str(&quoted(value));
        text.push('\n');
    };
    put("DEVICE6", interface);
    put("IPV6PROTO", proto);
    if let Some(given) = address {
        put("IPV6ADDR", &given.address.to_string());
        put("IPV6NETMASK", &given.prefix_len().to_string());
    }
    if let Some(gateway) = lease.gateway() {
        put("IPV6GATEWAY", &gateway.to_string());
    }
    for (name, server) in ["IPV6DNS0", "IPV6DNS1"]
        .into_iter()
        .zip(lease.dns_on(interface))
    {
        put(name, &server);
    }
    put("IPV6DOMAINSEARCH", &lease.search.join(" "));
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    use wireboot_proto::ipv6::lease::{LeasedAddress, Route6};
    use wireboot_proto::packet::neighbor::Preference;

    fn lease() -> Lease6 {
        let through = |gateway: &str, preference| Route6 {
            destination: "::".parse().unwrap(),
            prefix_len: 0,
            gateway: Some(gateway.parse().unwrap()),
            preference,
            lifetime: 9,
        };
        Lease6 {
            addresses: vec![LeasedAddress {
                address: "2001:db8::7".parse().unwrap(),
                preferred: 1,
                valid: 2,
                origin: Origin::Server,
            }],
            routes: vec![
                through("fe80::1", Preference::Low),
                through("fe80::2", Preference::High),
                through("fe80::3", Preference::High),
            ],
            dns: vec!["fe80::53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
            search: vec!["lab.example".to_owned()],
            ..Lease6::default()
        }
    }

    #[test]
    fn the_variables_have_the_preferred_router_and_resolvers_with_their_interface() {
        let text = net_conf("eth0", &lease());
        for line in [
            "DEVICE6='eth0'",
            "IPV6PROTO='dhcp6'",
            "IPV6ADDR='2001:db8::7'",
            "IPV6NETMASK='128'",
            "IPV6GATEWAY='fe80::2'",
            "IPV6DNS0='fe80::53%eth0'",
            "IPV6DNS1='2001:db8::53'",
            "IPV6DOMAINSEARCH='lab.example'",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }

    #[test]
    fn resolvers_are_written_with_their_interface_and_removed() {
        let root = std::env::temp_dir().join(format!("wireboot-resolv6-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        let path = root.join(resolv_conf::RESOLV_CONF);
        resolv_conf::replace6(&path, "eth0", &lease()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("search lab.example\nnameserver fe80::53%eth0\n"),
            "{text}"
        );
        resolv_conf::replace6(&path, "eth0", &Lease6::default()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(text, "");
    }
}
