//! The facts that a plan depends on: the lease, the configuration, and this machine.

use std::net::Ipv4Addr;

use crate::config::{BootConfig, Config, Identify};
use crate::error::{Error, Reason, chain_of};
use crate::sys::firmware::{self, Processor};
use crate::sys::{self, machine};
use wireboot_proto::boot::{Facts, expand_settings};
use wireboot_proto::dhcp::boot_service;
use wireboot_proto::dhcp::lease::Lease;
#[cfg(feature = "root")]
use wireboot_proto::oci::Reference;
use wireboot_proto::packet::ethernet::MacAddress;
use wireboot_proto::packet::option::code;
use wireboot_proto::text::safe::Quoted;
use wireboot_proto::text::url::{Url, UrlError};

/// SMBIOS strings that configurations use, by their names in `/sys/class/dmi/id`.
const SMBIOS: [&str; 16] = [
    "product_uuid",
    "sys_vendor",
    "product_name",
    "product_version",
    "product_serial",
    "product_sku",
    "product_family",
    "board_vendor",
    "board_name",
    "board_version",
    "board_serial",
    "board_asset_tag",
    "chassis_asset_tag",
    "chassis_type",
    "bios_vendor",
    "bios_version",
];

/// Collects the facts that a plan depends on.
///
/// # Errors
/// [`Reason::NothingBootable`] when neither lease nor configuration has a boot file, or its name is
/// not a valid URL.
pub fn facts(
    config: &Config,
    interface: &str,
    mac: MacAddress,
    lease: &Lease,
) -> Result<Facts, Error> {
    let name = boot_file(&config.boot, lease)?;
    let next_server = lease.next_server.filter(|ip| !ip.is_unspecified());
    let dhcp_server = lease.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let server = next_server.unwrap_or(dhcp_server);
    // The address may depend on all the other facts.
    let unexpanded = Url::tftp(&server.to_string(), "/").map_err(invalid_url)?;
    let mut facts = Facts::new(unexpanded, mac, lease.address, server);
    interface.clone_into(&mut facts.interface);
    name.clone_into(&mut facts.boot_file_name);
    facts.prefix_len = lease.prefix_len;
    let default = lease.routes.iter().find(|route| route.prefix_len == 0);
    facts.gateway = default.and_then(|route| route.gateway);
    facts.dhcp_server = dhcp_server;
    facts.dns.clone_from(&lease.dns);
    if let Some(ipv6) = &lease.ipv6 {
        facts.prefix_len = ipv6.addresses.first().map_or(0, |first| first.prefix_len());
        facts.ipv6 = Some(ipv6.clone());
    }
    facts.domain.clone_from(&lease.domain);
    facts.host_name.clone_from(&lease.host_name);
    let options = lease.options.iter();
    facts.options = options
        .map(|(code, value)| (code, value.to_vec()))
        .collect();
    add_machine(&mut facts);
    // iPXE expands settings in the name that a server gives it (fetch_next_server_and_filename).
    let is_ipxe = config.boot.file.is_none() && config.dhcp.identify == Identify::Ipxe;
    let name = if is_ipxe {
        let expanded = expand_settings(name, &facts);
        expanded.map_err(|what| {
            Box::new(Reason::NothingBootable {
                what: format!("the boot file {} cannot be expanded: {what}", Quoted(name)),
                source: None,
            })
        })?
    } else {
        name.to_owned()
    };
    // What an artifact leads to is known once its manifest is.
    #[cfg(feature = "root")]
    let is_artifact = Reference::parse(&name).is_some();
    #[cfg(not(feature = "root"))]
    let is_artifact = false;
    if !is_artifact {
        facts.boot_file = url_of(&name, lease)?;
    }
    if next_server.is_none()
        && let Ok(address) = facts.boot_file.host().parse()
    {
        // For HTTP boot the server is only known from the address.
        facts.boot_server = address;
    }
    facts.append.clone_from(&config.boot.append);
    for name in &config.boot.initrds {
        let url = facts.boot_file.join(name).map_err(|error| {
            let what = format!("the initrd is not a valid URL: {error}");
            Box::new(Reason::Usage(what))
        })?;
        facts.initrds.push(url);
    }
    Ok(facts)
}

/// Returns the name of the boot file.
fn boot_file<'a>(config: &'a BootConfig, lease: &'a Lease) -> Result<&'a str, Error> {
    let name = config.file.as_ref().or(lease.boot_file.as_ref());
    let name = name.ok_or_else(|| {
        Box::new(Reason::NothingBootable {
            what: if is_ipv6(lease) {
                "neither a router nor a DHCPv6 server names a boot file (option 59); configure one \
             there, or use --boot-file"
                    .to_owned()
            } else if lease.is_without_dhcp() {
                "without DHCP there is no boot file; use --boot-file".to_owned()
            } else if let Some(bytes) = sent(code::BOOT_FILE_NAME, lease) {
                format!(
                    "the boot file of {} (option 67) is {}, which is no file name",
                    lease.server_text(),
                    Quoted(&String::from_utf8_lossy(bytes))
                )
            } else {
                format!(
                    "the server {} names no boot file (option 67); configure one there, or use \
                 --boot-file",
                    lease.server_text()
                )
            },
            source: None,
        })
    })?;
    Ok(name)
}

/// Returns whether a lease is of IPv6.
const fn is_ipv6(lease: &Lease) -> bool {
    lease.address.is_unspecified()
}

/// Adds to a failed fetch what option 66 has where that names no server, and so the DHCP server was asked.
pub fn beside_server_name(mut error: Error, lease: &Lease) -> Error {
    let is_named = lease.server_name.is_some() || lease.next_server.is_some();
    if let Reason::Fetch { source, .. } = &mut *error
        && let Some(bytes) = sent(code::TFTP_SERVER_NAME, lease)
        && !is_named
    {
        let name = String::from_utf8_lossy(bytes);
        let name = Quoted(&name);
        let why = chain_of(&**source);
        *source = format!("{why}; option 66 is {name}, which names no server").into();
    }
    error
}

/// Returns the bytes of an option that is not empty.
fn sent(code: u8, lease: &Lease) -> Option<&[u8]> {
    lease.options.get(code).filter(|bytes| !bytes.is_empty())
}

/// Returns the URL of the boot file on the first of the servers that may have it.
fn url_of(name: &str, lease: &Lease) -> Result<Url, Error> {
    let servers = lease.file_servers();
    let server = servers.first().map_or("", String::as_str);
    boot_service::url_of(name, server).map_err(invalid_url)
}

fn invalid_url(error: UrlError) -> Error {
    Box::new(Reason::NothingBootable {
        what: "the boot file is not a valid URL".to_owned(),
        source: Some(error.into()),
    })
}

/// Adds what the kernel reports about this machine.
fn add_machine(facts: &mut Facts) {
    let smbios = |name| Some((str::to_owned(name), firmware::smbios(name)?));
    facts.smbios = SMBIOS.into_iter().filter_map(smbios).collect();
    let processor = Processor::first();
    let field = |name| processor.field(name).to_owned();
    facts.processor = (field("vendor_id"), field("model name"));
    let flags = processor.field("flags").split_whitespace();
    facts.cpu_flags = flags.map(str::to_owned).collect();
    facts.processors = machine::processors();
    facts.memory_mib = machine::total_memory().unwrap_or(0) >> 20;
    facts.unix_time = sys::since_1970().as_secs();
    facts.card = firmware::pci_card(&facts.interface).map(|card| (card.id, card.driver));
    facts.is_efi = firmware::is_efi();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_in_the_boot_file_of_a_lease_are_expanded_for_ipxe_alone() {
        let address = [192, 0, 2, 2].into();
        let mut lease = Lease::fixed(address, 24);
        lease.server = Some([192, 0, 2, 1].into());
        lease.host_name = Some("node 7".to_owned());
        lease
            .options
            .set(17, *b"nfs://${next-server}/${mac:hexraw}");
        let facts_of = |name: &str, config: &Config| {
            let mut lease = lease.clone();
            lease.boot_file = Some(name.to_owned());
            facts(config, "eth0", MacAddress([0x52, 0x54, 0, 1, 2, 3]), &lease)
        };
        let ipxe = Config::for_boot();
        for (name, expected) in [
            (
                "http://${next-server}/ipxe/${mac:hexhyp}?name=${hostname:uristring}&none=${17.1}",
                "http://192.0.2.1/ipxe/52-54-00-01-02-03?name=node%207&none=",
            ),
            (
                "${net0/mac:hex}.ipxe",
                "tftp://192.0.2.1/52:54:00:01:02:03.ipxe",
            ),
            ("at/${ip}/${open", "tftp://192.0.2.1/at/192.0.2.2/${open"),
            ("${root-path}/x", "nfs://192.0.2.1/525400010203"),
            ("plain$.0", "tftp://192.0.2.1/plain$.0"),
        ] {
            match facts_of(name, &ipxe) {
                Ok(facts) => {
                    assert_eq!(facts.boot_file.to_string(), expected);
                    assert_eq!(facts.boot_file_name, name);
                }
                Err(error) => assert!(error.chain().contains(expected), "{}", error.chain()),
            }
        }
        let mut other = Config::for_boot();
        for identify in [Identify::Pxe, Identify::Http, Identify::Plain] {
            other.dhcp.identify = identify;
            let facts = facts_of("/${mac:hexhyp}", &other).unwrap();
            assert_eq!(
                facts.boot_file.to_string(),
                "tftp://192.0.2.1//${mac:hexhyp}"
            );
        }
        // A name given by the user is not expanded.
        other.dhcp.identify = Identify::Ipxe;
        other.boot.file = Some("a${mac}".to_owned());
        let facts = facts_of("x", &other).unwrap();
        assert_eq!(facts.boot_file.to_string(), "tftp://192.0.2.1/a${mac}");
    }
}
