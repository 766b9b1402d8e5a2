//! A lease as the environment of a script: the variables of busybox's udhcpc, and those of dhcpcd
//! that follow from the names of options.

use std::net::Ipv4Addr;

use wireboot_proto::dhcp::lease::{Lease, StaticRoute};
use wireboot_proto::packet::ipv4::netmask;
use wireboot_proto::packet::option::code;
use wireboot_proto::packet::option::known::{self, OptionValue};
use wireboot_proto::text::names;

/// Options whose text is a name.
const NAMES: [u8; 4] = [
    code::HOST_NAME,
    code::DOMAIN_NAME,
    40,
    code::TFTP_SERVER_NAME,
];

/// Variables, and the options that were left out of them.
#[derive(Debug, Default)]
pub(super) struct ScriptVariables {
    pub(super) list: Vec<(String, String)>,
    pub(super) dropped: Vec<u8>,
}

impl ScriptVariables {
    /// Returns the variables of `lease`.
    pub(super) fn of(lease: &Lease) -> Self {
        let mut variables = Self::default();
        variables.add_udhcpc(lease);
        variables.add_options(lease);
        variables
    }

    /// Sets a variable; leaves out unsafe text, and notes the option.
    fn set(&mut self, code: u8, name: &str, value: String) {
        if !names::is_shell_safe(&value) {
            if !self.dropped.contains(&code) {
                self.dropped.push(code);
            }
        } else if !value.is_empty() {
            self.list.push((name.to_owned(), value));
        }
    }

    fn add_udhcpc(&mut self, lease: &Lease) {
        let mask = netmask(lease.prefix_len);
        let address =
            |address: Option<Ipv4Addr>| address.map_or_else(String::new, |a| a.to_string());
        let words = |addresses: &[Ipv4Addr]| {
            let words: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            words.join(" ")
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let routers = lease.routes.iter().filter(|route| route.prefix_len == 0);
        let routers: Vec<_> = routers.filter_map(|route| route.gateway).collect();
        let static_routes: Vec<_> = lease.routes.iter().map(static_route).collect();
        let is_classless = lease.options.classless_routes().is_some();
        let seconds = lease
            .times
            .map_or(u64::from(u32::MAX), |times| times.lease.as_secs());
        let mtu = lease
            .mtu_octets
            .map_or_else(String::new, |mtu| mtu.to_string());
        for (code, name, value) in [
            (code::PAD, "ip", lease.address.to_string()),
            (code::PAD, "subnet", mask.to_string()),
            (code::PAD, "mask", lease.prefix_len.to_string()),
            (code::PAD, "serverid", address(lease.server)),
            (code::PAD, "lease", seconds.to_string()),
            (code::PAD, "broadcast", address(lease.broadcast)),
            (code::PAD, "router", words(&routers)),
            (code::PAD, "dns", words(&lease.dns)),
            (code::PAD, "mtu", mtu),
            (code::PAD, "siaddr", address(lease.next_server)),
            (code::DOMAIN_NAME, "domain", text(&lease.domain)),
            (code::DOMAIN_SEARCH, "search", lease.search.join(" ")),
            (code::HOST_NAME, "hostname", text(&lease.host_name)),
            // udhcpc has sname and boot_file for the header's fields, tftp and bootfile for options
            // 66 and 67.
            (code::TFTP_SERVER_NAME, "sname", text(&lease.server_name)),
            (code::TFTP_SERVER_NAME, "tftp", text(&lease.server_name)),
            (code::BOOT_FILE_NAME, "boot_file", text(&lease.boot_file)),
            (code::BOOT_FILE_NAME, "bootfile", text(&lease.boot_file)),
        ] {
            self.set(code, name, value);
        }
        if is_classless {
            let code = code::CLASSLESS_STATIC_ROUTE;
            self.set(code, "staticroutes", static_routes.join(" "));
        }
    }

    /// Adds each option received, under dhcpcd's name and udhcpc's if that is another; unknown ones as
    /// `optN`, in hexadecimal digits.
    fn add_options(&mut self, lease: &Lease) {
        let ignored = |code| lease.ignored.iter().any(|(ignored, _)| *ignored == code);
        for (code, bytes) in lease.options.iter() {
            if ignored(code) {
                continue;
            }
            let value = OptionValue::read(code, bytes);
            let is_name = matches!(value, OptionValue::Text(_)) && NAMES.contains(&code);
            let words = value.words();
            if is_name && !names::is_host_name(&words) {
                self.dropped.push(code);
                continue;
            }
            if let Some(name) = known::udhcpc_name(code) {
                self.set(code, name, words.clone());
            }
            if known::is_known(code) {
                self.set(code, &dhcpcd_name(code), words);
            } else {
                self.set(code, &format!("opt{code}"), words);
            }
        }
        for (name, value) in [
            ("new_ip_address", lease.address.to_string()),
            ("new_subnet_cidr", lease.prefix_len.to_string()),
        ] {
            self.set(code::PAD, name, value);
        }
    }
}

fn static_route(route: &StaticRoute) -> String {
    let gateway = route.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED);
    format!("{}/{} {gateway}", route.destination, route.prefix_len)
}

/// Adds what the hooks of dhcpcd ask; they run most values as commands.
#[cfg(feature = "hand")]
#[inline(never)]
pub(super) fn add_hooks(variables: &mut Vec<(String, String)>, protocol: &str, is_up: bool) {
    let [up, down] = [is_up, !is_up].map(|is_so| if is_so { "true" } else { "false" });
    for (name, value) in [
        ("protocol", protocol),
        ("if_up", up),
        ("if_down", down),
        ("if_oneup", up),
        ("if_ipwaiting", down),
        // Hooks do nothing without.
        ("if_configured", "true"),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
}

/// dhcpcd marks the options of the protocol itself.
fn dhcpcd_name(code: u8) -> String {
    let name = known::name(code).replace('-', "_");
    match code {
        50..=59 => format!("new_dhcp_{name}"),
        _ => format!("new_{name}"),
    }
}

/// Sets a variable to a value: what is passed on means itself within quotes of either kind.
#[cfg(fuzzing)]
pub fn fuzz(value: &str) {
    let mut variables = ScriptVariables::default();
    variables.set(code::HOST_NAME, "name", value.to_owned());
    for (_, value) in variables.list {
        // POSIX.1-2017, Shell Command Language, §2.2; a script may write it into a file.
        let special = ['$', '`', '"', '\\', '\'', '\n', '\0'];
        assert!(!value.contains(special));
    }
}
