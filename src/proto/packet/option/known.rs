//! The table of options: names, titles and formats, for output and for lists of options in settings.
//!
//! Names are those of `dhcp-options(5)` and dnsmasq, titles those of tshark. An option that is not in
//! the table has the name `option-N`, and its value is shown as bytes.

use crate::prelude::*;
use core::fmt;
use core::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use super::{ClasslessRoute, Options, text};
use crate::text::safe::Safe;

/// The format of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    /// One address.
    Address,
    /// A list of addresses.
    Addresses,
    Text,
    /// A number of one, two or four bytes.
    Number,
    /// Numbers of one byte.
    Codes,
    /// 0 or 1.
    Flag,
    /// Present or not; the value does not matter.
    Presence,
    /// Destinations with their routers (RFC 3442).
    Routes,
    /// Domain names, compressed (RFC 3397).
    Names,
    /// Encapsulated options.
    Nested,
    Bytes,
}

use ValueForm::{
    Address, Addresses, Bytes, Codes, Flag, Names, Nested, Number, Presence, Routes, Text,
};

/// Defines the table of options. A named row has the code, the name
/// in configurations and JSON, tshark's title, the form, and busybox udhcpc's variable where that is
/// another name and holds the option as it is. A titled row has no name and shows as bytes.
macro_rules! options {
    (
        named { $($code:literal $name:literal $title:literal $form:ident $($udhcpc:literal)?;)* }
        titled { $($other:literal $other_title:literal;)* }
    ) => {
        const FORMS: &[(u8, ValueForm)] = &[$(($code, $form)),*];

        // One string for each column: an array of strings takes 20 bytes more for each.
        const NAMES: &str = concat!($("|", $code, ":", $name,)*);
        // Names of dhcp_option_strings in networking/udhcp/common.c of busybox.
        const UDHCPC: &str = concat!($($("|", $code, ":", $udhcpc,)?)*);
        const TITLES: &str = concat!(
            $("|", $code, ":", $title,)*
            $("|", $other, ":", $other_title,)*
        );
    };
}

options! {
    named {
        1 "subnet-mask" "Subnet Mask" Address;
        2 "time-offset" "Time Offset" Number "timezone";
        3 "routers" "Router" Addresses;
        4 "time-servers" "Time Server" Addresses "timesrv";
        5 "name-servers" "Name Server" Addresses "namesrv";
        6 "domain-name-servers" "Domain Name Server" Addresses;
        7 "log-servers" "Log Server" Addresses "logsrv";
        8 "cookie-servers" "Quotes Server" Addresses "cookiesrv";
        9 "lpr-servers" "LPR Server" Addresses "lprsrv";
        12 "host-name" "Host Name" Text;
        13 "boot-size" "Boot File Size" Number "bootsize";
        15 "domain-name" "Domain Name" Text;
        16 "swap-server" "Swap Server" Address "swapsrv";
        17 "root-path" "Root Path" Text "rootpath";
        18 "extensions-path" "Extensions Path" Text;
        19 "ip-forwarding" "IP Forwarding" Flag;
        23 "default-ip-ttl" "Default IP Time-to-Live" Number "ipttl";
        26 "interface-mtu" "Interface MTU" Number;
        28 "broadcast-address" "Broadcast Address" Address;
        31 "router-discovery" "Perform Router Discover" Flag;
        33 "static-routes" "Static Route" Addresses;
        40 "nis-domain" "Network Information Service Domain" Text "nisdomain";
        41 "nis-servers" "Network Information Service Servers" Addresses "nissrv";
        42 "ntp-servers" "Network Time Protocol Servers" Addresses "ntpsrv";
        43 "vendor-encapsulated-options" "Vendor-Specific Information" Nested;
        44 "netbios-name-servers" "NetBIOS over TCP/IP Name Server" Addresses "wins";
        46 "netbios-node-type" "NetBIOS over TCP/IP Node Type" Number;
        47 "netbios-scope" "NetBIOS over TCP/IP Scope" Text;
        50 "requested-address" "Requested IP Address" Address;
        51 "lease-time" "IP Address Lease Time" Number;
        52 "option-overload" "Option Overload" Number;
        53 "message-type" "DHCP Message Type" Number;
        54 "server-identifier" "DHCP Server Identifier" Address;
        55 "parameter-request-list" "Parameter Request List" Codes;
        56 "message" "Message" Text "message";
        57 "max-message-size" "Maximum DHCP Message Size" Number;
        58 "renewal-time" "Renewal Time Value" Number;
        59 "rebinding-time" "Rebinding Time Value" Number;
        60 "vendor-class-identifier" "Vendor class identifier" Text;
        61 "client-identifier" "Client identifier" Bytes;
        66 "tftp-server-name" "TFTP Server Name" Text;
        67 "bootfile-name" "Bootfile name" Text;
        69 "smtp-servers" "SMTP Server" Addresses;
        70 "pop-servers" "POP3 Server" Addresses;
        77 "user-class" "User Class Information" Bytes;
        80 "rapid-commit" "Rapid commit" Presence;
        81 "client-fqdn" "Client Fully Qualified Domain Name" Bytes;
        82 "relay-agent-information" "Agent Information Option" Nested;
        93 "client-architecture" "Client System Architecture" Number;
        94 "client-interface-id" "Client Network Device Interface" Bytes;
        97 "client-machine-id" "UUID/GUID-based Client Identifier" Bytes;
        100 "tz-posix" "PCode" Text "tzstr";
        101 "tz-database" "TCode" Text "tzdbstr";
        108 "ipv6-only-preferred" "IPv6-Only Preferred" Number;
        114 "captive-portal" "DHCP Captive-Portal" Text;
        116 "auto-configure" "DHCP Auto-Configuration" Number;
        118 "subnet-selection" "Subnet Selection Option" Address;
        119 "domain-search" "Domain Search" Names;
        120 "sip-servers" "SIP Servers" Bytes;
        121 "classless-static-routes" "Classless Static Route" Routes;
        124 "vendor-class" "V-I Vendor Class" Bytes;
        125 "vendor-specific" "V-I Vendor-specific Information" Bytes;
        150 "tftp-server-address" "TFTP Server Address" Addresses;
        175 "ipxe-encapsulated" "Etherboot" Nested;
        208 "pxelinux-magic" "PXELINUX Magic" Bytes;
        209 "config-file" "PXE Configuration file" Text "pxeconffile";
        210 "path-prefix" "PXE Path Prefix" Text "pathprefix";
        211 "reboot-time" "Reboot Time" Number "reboottime";
        249 "ms-classless-static-routes" "Classless Static Route (Microsoft)" Routes;
        252 "wpad" "Proxy autodiscovery" Text "wpad";
    }
    titled {
        10 "Impress Server";
        11 "Resource Location Server";
        14 "Merit Dump File";
        20 "Non-Local Source Routing";
        21 "Policy Filter";
        22 "Maximum Datagram Reassembly Size";
        24 "Path MTU Aging Timeout";
        25 "Path MTU Plateau Table";
        27 "All Subnets are Local";
        29 "Perform Mask Discovery";
        30 "Mask Supplier";
        32 "Router Solicitation Address";
        34 "Trailer Encapsulation";
        35 "ARP Cache Timeout";
        36 "Ethernet Encapsulation";
        37 "TCP Default TTL";
        38 "TCP Keepalive Interval";
        39 "TCP Keepalive Garbage";
        45 "NetBIOS over TCP/IP Datagram Distribution Name Server";
        48 "X Window System Font Server";
        49 "X Window System Display Manager";
        62 "Novell/Netware IP domain";
        63 "Novell Options";
        64 "Network Information Service+ Domain";
        65 "Network Information Service+ Servers";
        68 "Mobile IP Home Agent";
        71 "NNTP Server";
        72 "Default WWW Server";
        73 "Default Finger Server";
        74 "Default IRC Server";
        75 "StreetTalk Server";
        76 "StreetTalk Directory Assistance Server";
        78 "Directory Agent Information";
        79 "Service Location Agent Scope";
        83 "iSNS";
        85 "Novell Directory Services Servers";
        86 "Novell Directory Services Tree Name";
        87 "Novell Directory Services Context";
        88 "BCMCS Controller Domain Name";
        89 "BCMCS Controller IPv4 address";
        90 "Authentication";
        91 "Client last transaction time";
        92 "Associated IP option";
        95 "LDAP";
        98 "Open Group's User Authentication";
        99 "Civic Addresses Configuration";
        112 "NetInfo Parent Server Address";
        113 "NetInfo Parent Server Tag";
        117 "Name Service Search";
        122 "CableLabs Client Configuration";
        123 "Coordinate-based Location Configuration";
        128 "DOCSIS full security server IP";
        136 "PANA Authentication Agent";
        137 "LoST Server Domain Name";
        138 "CAPWAP Access Controllers";
        139 "IPv4 Address-MoS";
        140 "IPv4 FQDN-MoS";
        141 "SIP UA Configuration Domains";
        142 "IPv4 Address ANDSF";
        143 "Zerotouch Redirect";
        144 "Geospatial Location";
        145 "Forcerenew Nonce Capable";
        146 "RDNSS Selection";
        151 "Leasequery Status code";
        152 "Leasequery Base Time";
        153 "Leasequery Start Time of State";
        154 "Leasequery Query Start Time";
        155 "Leasequery Query End Time";
        156 "Leasequery Dhcp State";
        157 "Leasequery Data Source";
        158 "PCP Server";
        159 "Portparams";
        161 "Manufacturer Usage Description";
        176 "IP Telephone";
        177 "Etherboot";
        212 "6RD";
        213 "V4 Access Domain";
        220 "Subnet Allocation";
        221 "Virtual Subnet Selection";
        242 "Avaya IP Telephone";
    }
}

const NAMELESS: &str = "option-";

/// Returns the rows of a column, each a code with its text.
fn rows(column: &'static str) -> impl Iterator<Item = (u8, &'static str)> {
    column.split('|').filter_map(|row| {
        let (code, text) = row.split_once(':')?;
        Some((code.parse().ok()?, text))
    })
}

fn find(column: &'static str, code: u8) -> Option<&'static str> {
    let mut rows = rows(column);
    rows.find_map(|(known, text)| (known == code).then_some(text))
}

/// Returns the name of an option.
pub fn name(code: u8) -> String {
    find(NAMES, code).map_or_else(|| format!("{NAMELESS}{code}"), str::to_owned)
}

/// Returns tshark's title of an option, if it has one.
pub fn title(code: u8) -> Option<&'static str> {
    find(TITLES, code)
}

/// Returns udhcpc's variable for an option, if its name is another than the option's.
pub fn udhcpc_name(code: u8) -> Option<&'static str> {
    find(UDHCPC, code)
}

/// Returns whether an option is in the table.
pub fn is_known(code: u8) -> bool {
    find(NAMES, code).is_some()
}

/// Parses the number of an option, or its name with hyphens or underscores.
pub fn parse_code(text: &str) -> Option<u8> {
    let text = text.to_ascii_lowercase().replace('_', "-");
    let number = text.strip_prefix(NAMELESS).unwrap_or(&text).parse().ok();
    let named = || Some(rows(NAMES).find(|(_, name)| *name == text)?.0);
    number
        .or_else(named)
        // 0 is padding and 255 the end; neither has a value.
        .filter(|code| (1..=254).contains(code))
}

/// The decoded value of an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// One address.
    Address(Ipv4Addr),
    /// A list of addresses.
    Addresses(Vec<Ipv4Addr>),
    /// Text, unchecked.
    Text(String),
    /// A number.
    Number(u32),
    /// Codes of options.
    Codes(Vec<u8>),
    /// On or off.
    Flag(bool),
    /// Routes: destinations with prefix lengths and routers.
    Routes(Vec<ClasslessRoute>),
    /// Domain names.
    Names(Vec<String>),
    /// Encapsulated options.
    Nested(Options),
    /// Unknown, or malformed.
    Bytes(Vec<u8>),
}

impl OptionValue {
    /// Decodes the bytes of an option.
    pub fn read(code: u8, bytes: &[u8]) -> Self {
        let mut forms = FORMS.iter();
        let form = forms.find_map(|(known, form)| (*known == code).then_some(*form));
        let form = form.unwrap_or(Bytes);
        Self::of_form(form, code, bytes).unwrap_or_else(|| Self::Bytes(bytes.to_vec()))
    }

    fn of_form(form: ValueForm, code: u8, bytes: &[u8]) -> Option<Self> {
        // The decoders take options from a list.
        let alone = || {
            let mut options = Options::default();
            options.set(code, bytes);
            options
        };
        Some(match form {
            ValueForm::Address => Self::Address(alone().address(code)?),
            ValueForm::Addresses if !bytes.is_empty() && bytes.len().is_multiple_of(4) => {
                Self::Addresses(alone().addresses(code))
            }
            ValueForm::Text => Self::Text(text(bytes)?.to_owned()),
            ValueForm::Number => Self::Number(match bytes.len() {
                1 => alone().u8(code)?.into(),
                2 => alone().u16(code)?.into(),
                _ => alone().u32(code)?,
            }),
            ValueForm::Codes => Self::Codes(bytes.to_vec()),
            ValueForm::Flag => Self::Flag(alone().u8(code)? != 0),
            ValueForm::Presence => Self::Flag(true),
            ValueForm::Routes => Self::Routes(super::read_classless_routes(bytes).0),
            ValueForm::Names => {
                Self::Names(Some(alone().domain_search()).filter(|l| !l.is_empty())?)
            }
            ValueForm::Nested => {
                let mut options = Options::default();
                options.read_encapsulated(bytes).ok()?;
                Self::Nested(options)
            }
            ValueForm::Addresses | ValueForm::Bytes => return None,
        })
    }

    /// Returns the value for a shell script: lists are separated by spaces.
    pub fn words(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Addresses(addresses) => joined(addresses),
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Codes(codes) => joined(codes),
            Self::Flag(flag) => u8::from(*flag).to_string(),
            Self::Routes(routes) => {
                joined(routes.iter().map(|(network, prefix_len, router)| {
                    format!("{network}/{prefix_len} {router}")
                }))
            }
            Self::Names(names) => names.join(" "),
            Self::Nested(options) => joined(
                options
                    .iter()
                    .map(|(code, bytes)| format!("{code}:{}", hex(bytes))),
            ),
            Self::Bytes(bytes) => hex(bytes),
        }
    }
}

/// One line of text, without control characters.
impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Safe::line(self.words()))
    }
}

impl Serialize for OptionValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Codes(codes) => codes.serialize(serializer),
            Self::Names(names) => names.serialize(serializer),
            Self::Addresses(addresses) => serializer.collect_seq(texts(addresses)),
            Self::Routes(routes) => {
                serializer.collect_seq(routes.iter().map(|(network, prefix_len, router)| {
                    RouteValue {
                        destination: format!("{network}/{prefix_len}"),
                        router: router.to_string(),
                    }
                }))
            }
            Self::Nested(options) => {
                serializer.collect_seq(options.iter().map(|(code, bytes)| SubOption {
                    code,
                    hex: hex(bytes),
                }))
            }
            Self::Address(_) | Self::Text(_) | Self::Bytes(_) => {
                serializer.serialize_str(&self.words())
            }
        }
    }
}

#[derive(Serialize)]
struct RouteValue {
    destination: String,
    router: String,
}

#[derive(Serialize)]
struct SubOption {
    code: u8,
    hex: String,
}

/// Returns bytes as pairs of hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses pairs of hexadecimal digits, optionally separated by colons.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in text.split(':') {
        let (pairs, []) = part.as_bytes().as_chunks::<2>() else {
            return None;
        };
        for [high, low] in pairs {
            bytes.push(hex_byte(*high, *low)?);
        }
    }
    Some(bytes)
}

/// Returns the byte of two hexadecimal digits.
pub fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn texts(items: &[Ipv4Addr]) -> impl Iterator<Item = String> {
    items.iter().map(ToString::to_string)
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_read_back_and_no_two_options_share_one() {
        for code in 1..=254 {
            assert_eq!(parse_code(&name(code)), Some(code));
            assert_eq!(parse_code(&code.to_string()), Some(code));
        }
        assert_eq!(parse_code("Domain_Name_Servers"), Some(6));
        for wrong in ["", "0", "255", "256", "-1", "option-", "routers "] {
            assert_eq!(parse_code(wrong), None, "{wrong}");
        }
        assert!(FORMS.is_sorted_by(|one, other| one.0 < other.0));
    }

    #[test]
    fn titles_and_udhcpc_names_are_found_by_code() {
        for (code, title, udhcpc) in [
            (0, None, None),
            (1, Some("Subnet Mask"), None),
            (2, Some("Time Offset"), Some("timezone")),
            (10, Some("Impress Server"), None),
            (97, Some("UUID/GUID-based Client Identifier"), None),
            (109, None, None),
            (210, Some("PXE Path Prefix"), Some("pathprefix")),
            (255, None, None),
        ] {
            assert_eq!(super::title(code), title, "{code}");
            assert_eq!(udhcpc_name(code), udhcpc, "{code}");
        }
    }

    #[test]
    fn values_are_shown_to_people_and_to_programs() {
        for (code, bytes, words, json) in [
            (
                1,
                &[255, 255, 255, 0][..],
                "255.255.255.0",
                "\"255.255.255.0\"",
            ),
            (
                3,
                &[192, 0, 2, 1, 192, 0, 2, 2],
                "192.0.2.1 192.0.2.2",
                "[\"192.0.2.1\",\"192.0.2.2\"]",
            ),
            (26, &[5, 220], "1500", "1500"),
            (51, &[0, 0, 14, 16], "3600", "3600"),
            (80, &[], "1", "true"),
            (67, b"a\x1b[2Jb", "a\\u{1b}[2Jb", "\"a\\u001b[2Jb\""),
            (119, b"\x01a\x02bc\x00", "a.bc", "[\"a.bc\"]"),
            (
                121,
                &[0, 192, 0, 2, 1],
                "0.0.0.0/0 192.0.2.1",
                "[{\"destination\":\"0.0.0.0/0\",\"router\":\"192.0.2.1\"}]",
            ),
            (
                175,
                &[176, 1, 1, 235, 2, 1, 21],
                "176:01 235:0115",
                "[{\"code\":176,\"hex\":\"01\"},{\"code\":235,\"hex\":\"0115\"}]",
            ),
            (130, b"x\0", "7800", "\"7800\""),
            // Not of the form that the option has.
            (1, &[255], "ff", "\"ff\""),
            (3, &[192, 0, 2], "c00002", "\"c00002\""),
            (43, &[6, 9, 1], "060901", "\"060901\""),
        ] {
            let value = OptionValue::read(code, bytes);
            assert_eq!(value.to_string(), words, "{code}");
            assert_eq!(serde_json::to_string(&value).unwrap(), json, "{code}");
        }
    }

    /// Options whose values dhcproto 0.15 decodes otherwise than this table, and why it is not asked
    /// for them. An update that mends one makes the test below fail.
    const FAULTS_OF_DHCPROTO: &[(&[u8], &str)] = &[
        (
            &[2],
            "signed, where JSON has had an unsigned number since the first version",
        ),
        (
            &[12, 15, 17, 18, 40, 47, 56, 100, 101, 114],
            "keeps the NUL that servers append",
        ),
        (
            &[13, 23, 26, 51, 52, 57, 58, 59],
            "reads a longer value as the number in its first bytes",
        ),
        (
            &[19, 31],
            "true for 1 alone, and for a longer value that begins so",
        ),
        (
            &[33],
            "pairs of addresses; nothing of a list whose last is alone",
        ),
        (
            &[46, 53],
            "an enumeration, which has no number of its own for unknown values",
        ),
        (&[43], "bytes, where the value is options"),
        (&[60, 66, 67], "bytes, where the value is a text"),
        (
            &[82],
            "sub-options of its own, and none of them when one is malformed",
        ),
        (&[93], "the first of several architectures (RFC 4578 §2.1)"),
        (&[108], "has it at 106, so that this one is unknown"),
        (
            &[116],
            "refuses values other than 0 and 1, and reads longer ones",
        ),
        (
            &[121],
            "bits beyond the prefix stay, and one malformed route costs all",
        ),
        (&[150], "one address, where servers send several"),
        (&[175, 209, 210, 211, 249, 252], "unknown"),
    ];
    /// Options for which a length that their RFC does not have panics in a debug build.
    const PANICS_OF_DHCPROTO: &[u8] = &[80, 81, 94];

    /// Decodes one value with dhcproto, which joins parts of the same code again.
    fn decode_one(code: u8, value: &[u8]) -> Option<dhcproto::v4::DhcpOption> {
        use dhcproto::Decodable as _;
        let mut options = Options::default();
        options.set(code, value);
        let mut bytes = Vec::new();
        options.encode(&mut bytes);
        dhcproto::v4::DhcpOption::decode(&mut dhcproto::Decoder::new(&bytes)).ok()
    }

    /// Returns the value that dhcproto decodes, in our form; none for malformed ones.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all others are decoded as something that the table has no form for"
    )]
    fn by_dhcproto(code: u8, bytes: &[u8]) -> Option<OptionValue> {
        use dhcproto::v4::DhcpOption as O;
        Some(match decode_one(code, bytes)? {
            O::SubnetMask(address)
            | O::SwapServer(address)
            | O::BroadcastAddr(address)
            | O::RequestedIpAddress(address)
            | O::ServerIdentifier(address)
            | O::SubnetSelection(address)
            | O::TFTPServerAddress(address) => OptionValue::Address(address),
            O::Router(list)
            | O::TimeServer(list)
            | O::NameServer(list)
            | O::DomainNameServer(list)
            | O::LogServer(list)
            | O::QuoteServer(list)
            | O::LprServer(list)
            | O::NisServers(list)
            | O::NtpServers(list)
            | O::NetBiosNameServers(list)
            | O::SmtpServer(list)
            | O::Pop3Server(list) => OptionValue::Addresses(list),
            O::Hostname(text)
            | O::DomainName(text)
            | O::RootPath(text)
            | O::ExtensionsPath(text)
            | O::NisDomain(text)
            | O::NetBiosScope(text)
            | O::Message(text)
            | O::TimezonePosixString(text)
            | O::TimezoneDatabaseString(text)
            | O::CaptivePortal(text) => OptionValue::Text(text),
            O::BootFileSize(number) | O::InterfaceMtu(number) | O::MaxMessageSize(number) => {
                OptionValue::Number(number.into())
            }
            O::AddressLeaseTime(number) | O::Renewal(number) | O::Rebinding(number) => {
                OptionValue::Number(number)
            }
            O::DefaultIpTtl(number) | O::OptionOverload(number) => {
                OptionValue::Number(number.into())
            }
            O::IpForwarding(flag) | O::PerformRouterDiscovery(flag) => OptionValue::Flag(flag),
            O::ParameterRequestList(codes) => {
                OptionValue::Codes(codes.into_iter().map(u8::from).collect())
            }
            O::DomainSearch(names) if !names.is_empty() => {
                let name = |name: &_| ToString::to_string(name).trim_end_matches('.').to_owned();
                OptionValue::Names(names.iter().map(name).collect())
            }
            O::ClientIdentifier(bytes)
            | O::VendorExtensions(bytes)
            | O::UserClass(bytes)
            | O::ClientMachineIdentifier(bytes) => OptionValue::Bytes(bytes),
            O::Unknown(option) => OptionValue::Bytes(option.data().to_vec()),
            _ => return None,
        })
    }

    #[test]
    fn dhcproto_decodes_all_options_as_the_table_but_those_with_a_known_fault() {
        let samples: [&[u8]; 14] = [
            &[1],
            &[2],
            &[0, 9],
            &[1, 0, 0],
            &[192, 0, 2, 1],
            &[192, 0, 2, 1, 9],
            &[192, 0, 2, 1, 192, 0, 2, 2],
            &[24, 192, 0, 2, 192, 0, 2, 1],
            &[20, 192, 0, 2, 192, 0, 2, 1, 99],
            &[1, 1, 7],
            b"name.example",
            b"name.example\0",
            b"\x04name\x07example\0\x01a\xc0\x05",
            &[0xff, 0xfe],
        ];
        let mut faulty = Vec::new();
        for (code, _) in FORMS {
            if PANICS_OF_DHCPROTO.contains(code) {
                continue;
            }
            let differs = |bytes: &&&[u8]| {
                let theirs = by_dhcproto(*code, bytes);
                let malformed = || OptionValue::Bytes(bytes.to_vec());
                OptionValue::read(*code, bytes) != theirs.unwrap_or_else(malformed)
            };
            faulty.extend(samples.iter().find(differs).map(|_| *code));
        }
        let mut expected = FAULTS_OF_DHCPROTO
            .iter()
            .flat_map(|(codes, _)| *codes)
            .copied()
            .collect::<Vec<_>>();
        expected.sort();
        assert_eq!(
            faulty, expected,
            "a new row: add what dhcproto decodes of it to by_dhcproto, or list its fault"
        );
    }

    #[test]
    fn an_option_has_one_row_named_or_titled() {
        let rows = TITLES.split('|').skip(1);
        let mut codes: Vec<_> = rows.map(|row| row.split(':').next()).collect();
        let count = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn hexadecimal_digits_may_be_parted_by_colons() {
        let bytes = Some(vec![0x01, 0xab, 0x00]);
        for good in ["01ab00", "01:AB:00", "01ab:00"] {
            assert_eq!(parse_hex(good), bytes, "{good}");
        }
        for bad in ["0", "0:1", "zz", "01:a", "+1"] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_an_option_holds_it_is_shown_on_one_line(code: u8, bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let value = OptionValue::read(code, &bytes);
            prop_assert!(!value.to_string().contains(char::is_control));
            prop_assert!(serde_json::to_string(&value).is_ok());
        }
    }
}
