//! The files about IPv6 for the programs that come later: resolvers, and klibc's variables as
//! initramfs-tools and cloud-init read them; and the same client for systemd-networkd and NetworkManager.

use std::path::PathBuf;

use super::files::{EarlierFiles, add, here, warn_of_error, write_all};
use super::initramfs::{dracut_files6, net_conf6_name, quoted};
use super::managers::{HandOverIdentity, duid_lines, hex, keyfile_of, line, unit};
use super::resolv_conf;
use crate::config::HandOver;
use crate::sys::file::EVERYBODY;
use wireboot_proto::ipv6::identity::Identity;
use wireboot_proto::ipv6::lease::{Lease6, Origin};

/// Writes the files about `lease` of this interface and client, whose address is given if it has no identity;
/// in a network namespace other than the machine's only the resolvers, where there is a file for them.
pub fn write6(
    holder: &HandOverIdentity<'_>,
    identity: Option<&Identity>,
    lease: &Lease6,
    to: HandOver,
) {
    let place = here();
    let interface = holder.interface;
    if let Some(path) = &place.resolv_conf {
        warn_of_error(path, resolv_conf::replace6(path, interface, lease));
    }
    if !place.is_machine {
        return;
    }
    let text = net_conf(interface, lease);
    let mut files = vec![(net_conf6_name(interface), text, EVERYBODY)];
    if to.dracut {
        let more = dracut_files6(interface, identity, lease);
        add(&mut files, more, EVERYBODY);
    }
    let unit = networkd_unit(holder, identity, lease);
    let keyfile = keyfile_of(holder, "ipv6", &method(identity, lease));
    write_all(place, holder, to, files, Ok(unit), keyfile);
}

/// Reads the files of [`write6`], as others have left them, for [`restore`](super::restore).
pub fn read6(holder: &HandOverIdentity<'_>) -> EarlierFiles {
    EarlierFiles::none6(here(), holder).read(here())
}

/// Removes the files of [`write6`], and its lines in `/etc/resolv.conf`.
pub fn remove6(holder: &HandOverIdentity<'_>) {
    EarlierFiles::none6(here(), holder).restore(here());
}

/// Returns the paths of the files of [`write6`].
pub fn paths6(holder: &HandOverIdentity<'_>) -> Vec<PathBuf> {
    EarlierFiles::none6(here(), holder).paths(here())
}

/// Returns the unit of systemd-networkd by which it asks for the same addresses as the same client.
fn networkd_unit(
    holder: &HandOverIdentity<'_>,
    identity: Option<&Identity>,
    lease: &Lease6,
) -> String {
    let mut text = unit(holder);
    // Another client's addresses would be formed otherwise (IPv6Token=eui64 is the default there).
    text.push_str("LinkLocalAddressing=ipv6\n");
    let Some(identity) = identity else {
        text.push_str("IPv6AcceptRA=no\n");
        for given in &lease.addresses {
            line(&mut text, "Address", &format_args!("{}/128", given.address));
        }
        for server in &lease.dns {
            line(&mut text, "DNS", server);
        }
        for route in &lease.routes {
            let to = format!("{}/{}", route.destination, route.prefix_len);
            text.push_str("\n[Route]\n");
            line(&mut text, "Destination", &to);
            if let Some(gateway) = route.gateway {
                line(&mut text, "Gateway", &gateway);
            }
        }
        return text;
    };
    // A server is asked as routers say, and where it has granted an address in any case.
    let has_grant = lease.server.is_some();
    let dhcp = if has_grant { "ipv6" } else { "no" };
    line(&mut text, "DHCP", &dhcp);
    text.push_str("IPv6AcceptRA=yes\n\n[DHCPv6]\n");
    duid_lines(&mut text, identity.iaid, &identity.duid);
    text.push_str("UseDelegatedPrefix=no\n");
    if has_grant {
        text.push_str("WithoutRA=solicit\n");
    }
    text
}

/// Returns the lines of NetworkManager about IPv6.
fn method(identity: Option<&Identity>, lease: &Lease6) -> String {
    if let Some(identity) = identity {
        let (duid, iaid) = (hex(&identity.duid), hex(&identity.iaid));
        return format!("method=auto\naddr-gen-mode=eui64\ndhcp-duid={duid}\ndhcp-iaid={iaid}\n");
    }
    if lease.addresses.is_empty() {
        return "method=link-local\naddr-gen-mode=eui64\n".to_owned();
    }
    let mut text = "method=manual\naddr-gen-mode=eui64\n".to_owned();
    for (number, given) in (1..).zip(&lease.addresses) {
        text.push_str(&format!("address{number}={}/128\n", given.address));
    }
    for (number, route) in (1..).zip(&lease.routes) {
        text.push_str(&format!(
            "route{number}={}/{}",
            route.destination, route.prefix_len
        ));
        if let Some(gateway) = route.gateway {
            text.push_str(&format!(",{gateway}"));
        }
        text.push('\n');
    }
    text.push_str("dns=");
    for server in &lease.dns {
        text.push_str(&format!("{server};"));
    }
    text.push('\n');
    text
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
    use crate::config::MadeOf;
    use crate::handover::files::FileLocations;
    use wireboot_proto::dhcp::lease::Lease;
    use wireboot_proto::ipv6::lease::{LeasedAddress, Route6};
    use wireboot_proto::packet::icmpv6::Preference;

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
    fn dracut_finds_what_its_own_scripts_write_for_ipv6() {
        let names = |files: &[(String, String)]| -> Vec<_> {
            files.iter().map(|(name, _)| name.clone()).collect()
        };
        let marks = ["resolv.conf", "up", "did-setup"].map(|what| format!("tmp/net.eth0.{what}"));
        let mut lease = lease();
        // Of a server; the kernel has the routers.
        let files = dracut_files6("eth0", Some(&identity()), &lease);
        let options = "tmp/dhclient.eth0.dhcpopts".to_owned();
        assert_eq!(names(&files), [&[options][..], &marks].concat());
        for line in [
            "new_ip6_address='2001:db8::7'",
            "new_ip6_prefixlen='128'",
            "new_max_life='2'",
            "new_preferred_life='1'",
            "new_iaid='00:12:34:56'",
            "new_dhcp6_name_servers='fe80::53%eth0 2001:db8::53'",
            "new_dhcp6_domain_search='lab.example'",
        ] {
            assert!(files[0].1.lines().any(|known| known == line), "{line}");
        }
        assert!(files[0].1.lines().all(|line| line.starts_with("new_")));
        let resolvers = "search lab.example\nnameserver fe80::53%eth0\nnameserver 2001:db8::53\n";
        assert_eq!(files[1].1, resolvers);
        assert_eq!((&*files[2].1, &*files[3].1), ("", ""));
        // Formed in a prefix, as `auto6`.
        lease.addresses[0].origin = Origin::Prefix;
        let files = dracut_files6("eth0", Some(&identity()), &lease);
        assert_eq!(names(&files), marks);
        // Given, as by `ip=[…]`.
        lease.addresses[0].origin = Origin::Given;
        (lease.dns, lease.search) = (Vec::new(), Vec::new());
        let files = dracut_files6("eth0", None, &lease);
        assert_eq!(
            names(&files),
            ["gw", "up", "did-setup"].map(|what| format!("tmp/net.eth0.{what}"))
        );
        assert_eq!(
            files[0].1,
            "ip route replace default via 'fe80::2' dev 'eth0'\n"
        );
    }

    fn identity() -> Identity {
        Identity {
            duid: vec![0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56],
            iaid: [0, 0x12, 0x34, 0x56],
            options: Vec::new(),
        }
    }

    fn holder(made_of: &MadeOf) -> HandOverIdentity<'_> {
        HandOverIdentity {
            made_of,
            interface: "eth0",
            index: 7,
            mac: "52:54:00:12:34:56".parse().unwrap(),
            client_id: &[],
        }
    }

    #[test]
    fn managers_are_the_same_client_or_have_the_given_address() {
        let made_of = MadeOf::default();
        let holder = holder(&made_of);
        let mut lease = lease();
        lease.server = Some("fe80::1".parse().unwrap());
        assert_eq!(
            networkd_unit(&holder, Some(&identity()), &lease),
            "[Match]\nMACAddress=52:54:00:12:34:56\nType=ether\n\n\
             [Network]\nKeepConfiguration=yes\nLinkLocalAddressing=ipv6\nDHCP=ipv6\nIPv6AcceptRA=yes\n\n\
             [DHCPv6]\nIAID=1193046\nDUIDType=link-layer\nDUIDRawData=00:01:52:54:00:12:34:56\nUseDelegatedPrefix=no\nWithoutRA=solicit\n"
        );
        let text = keyfile_of(&holder, "ipv6", &method(Some(&identity()), &lease));
        assert!(
            text.ends_with(
                "\n[ipv6]\nmethod=auto\naddr-gen-mode=eui64\ndhcp-duid=00:03:00:01:52:54:00:12:34:56\n\
                 dhcp-iaid=00:12:34:56\nmay-fail=false\n"
            ),
            "{text}"
        );
        lease.routes.truncate(1);
        let text = networkd_unit(&holder, None, &lease);
        let end = "IPv6AcceptRA=no\nAddress=2001:db8::7/128\nDNS=fe80::53\nDNS=2001:db8::53\n\n\
                   [Route]\nDestination=::/0\nGateway=fe80::1\n";
        assert!(text.ends_with(end), "{text}");
        assert_eq!(
            method(None, &lease),
            "method=manual\naddr-gen-mode=eui64\naddress1=2001:db8::7/128\nroute1=::/0,fe80::1\n\
             dns=fe80::53;2001:db8::53;\n"
        );
        assert!(method(None, &Lease6::default()).starts_with("method=link-local\n"));
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

    #[test]
    fn resolvers_of_both_families_stand_beside_each_other_and_go_alone() {
        let root = std::env::temp_dir().join(format!("wireboot-both-{}", std::process::id()));
        fs::create_dir_all(root.join("etc")).unwrap();
        let path = root.join(resolv_conf::RESOLV_CONF);
        let text = || fs::read_to_string(&path).unwrap();
        fs::write(&path, "nameserver 198.51.100.53\n").unwrap();
        let place = FileLocations::below(&root);
        let made_of = MadeOf::default();
        let earlier = EarlierFiles::none6(&place, &holder(&made_of)).read(&place);
        let four = Lease {
            dns: vec!["192.0.2.53".parse().unwrap()],
            search: vec!["four.example".to_owned(), "lab.example".to_owned()],
            ..crate::handover::tests::lease()
        };
        let servers6 = "nameserver fe80::53%eth0\nnameserver 2001:db8::53\n";
        let both = |domains: &str| {
            format!(
                "{}\nsearch {domains}\n{servers6}nameserver 192.0.2.53\n{}\nnameserver 198.51.100.53\n",
                resolv_conf::BEGIN,
                resolv_conf::END
            )
        };
        // Whoever comes last, those of IPv6 are first, and a renewal changes nothing.
        resolv_conf::replace6(&path, "eth0", &lease()).unwrap();
        resolv_conf::replace(&path, Some(&four)).unwrap();
        assert_eq!(text(), both("four.example lab.example"));
        resolv_conf::replace6(&path, "eth0", &lease()).unwrap();
        assert_eq!(text(), both("lab.example four.example"));
        resolv_conf::replace(&path, Some(&four)).unwrap();
        assert_eq!(text(), both("four.example lab.example"));
        // Neither takes the other's away: a lease that ends, without resolvers, or is undone.
        resolv_conf::replace6(&path, "eth0", &Lease6::default()).unwrap();
        assert!(!text().contains(servers6) && text().contains("192.0.2.53\n"));
        resolv_conf::replace6(&path, "eth0", &lease()).unwrap();
        resolv_conf::replace(&path, None).unwrap();
        assert!(text().contains(servers6) && !text().contains("192.0.2.53\n"));
        resolv_conf::replace(&path, Some(&four)).unwrap();
        earlier.restore(&place);
        assert!(
            !text().contains(servers6) && text().contains("192.0.2.53\n"),
            "{}",
            text()
        );
        resolv_conf::replace6(&path, "eth0", &lease()).unwrap();
        EarlierFiles::none(&place, &holder(&made_of)).restore(&place);
        assert!(
            text().contains(servers6) && !text().contains("192.0.2.53\n"),
            "{}",
            text()
        );
        EarlierFiles::none6(&place, &holder(&made_of)).restore(&place);
        let left = text();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(left, "nameserver 198.51.100.53\n");
    }
}
