//! The boot information of a message: the file and its server, and boot services of PXE (PXE 2.1 §2.2): how
//! a server without a boot file in its offer leads to one.
//!
//! A server that sends PXEClient (option 60) and no boot file is queried for one on port 4011. If it
//! sends a menu, an entry is chosen first, and then boot servers of that type are queried, by the
//! discovery methods that option 43 allows.

use crate::prelude::*;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use crate::packet::dhcp::{Message, SERVER_PORT};
use crate::packet::option::{self, Options, code};
use crate::packet::pxe::{MenuItem, Pxe};
use crate::text::names;
use crate::text::url::{Url, UrlError};

use super::reply::is_host;

/// The port of boot services.
pub const PXE_PORT: u16 = 4011;

/// The prefix of the vendor class of a PXE server (option 60).
pub(super) const PXE_CLIENT: &[u8] = b"PXEClient";

/// The rank of an offer by its boot information, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// An address only.
    Plain,
    /// A next server, but no file.
    NextServer,
    /// A PXE menu with nothing but the local disk, as the Raspberry Pi's firmware wants one.
    LocalBoot,
    /// A PXE boot service.
    BootService,
    /// A boot file.
    BootFile,
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "an address only",
            Self::NextServer => "a server without a boot file",
            Self::LocalBoot => "a menu with the local disk only",
            Self::BootService => "a boot service",
            Self::BootFile => "a boot file",
        })
    }
}

/// The boot service of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootService {
    /// The server.
    pub server: Ipv4Addr,
    /// Its PXE options.
    pub pxe: Pxe,
}

/// The boot information of an OFFER or ACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSource {
    /// Server that sent the message.
    pub server: Ipv4Addr,
    /// Server of the boot file (`siaddr`, or option 150 where no other server is named).
    pub next_server: Option<Ipv4Addr>,
    /// Name of that server (option 66, or `sname`), with a port, scheme or folder if it has one.
    pub server_name: Option<String>,
    /// Boot file (option 67, or `file`): a path or a URL.
    pub boot_file: Option<String>,
    /// The boot service, of a PXE server (options 60 and 43).
    pub boot_service: Option<BootService>,
    /// Options for the boot file.
    pub options: Vec<(u8, Vec<u8>)>,
}

impl BootSource {
    /// Reads the boot information in `message` of `server`; options with invalid values are added to
    /// `ignored`.
    pub fn read(message: &Message, server: Ipv4Addr, ignored: &mut IgnoredOptions) -> Self {
        let options = &message.options;
        let server_name = server_name(options, ignored)
            // RFC 2132 §9.4: option 66 replaces `sname` if that field holds options.
            .or_else(|| Some(read_server(&message.sname)?.0));
        let siaddr = Some(message.siaddr).filter(|address| is_host(*address));
        // RFC 5859; some servers, such as those of switches, send only this option.
        let listed = || {
            let addresses = options.addresses(code::TFTP_SERVER_ADDRESS);
            addresses.into_iter().find(|address| is_host(*address))
        };
        let boot_file = checked_text(options, code::BOOT_FILE_NAME, names::is_path, ignored)
            // RFC 2132 §9.5: option 67 replaces `file` in the same way.
            .or_else(|| {
                let file = option::text(&message.file).and_then(|text| owned(text, names::is_path));
                if file.is_none() && message.file.iter().any(|byte| *byte != 0) {
                    ignored.push((code::BOOT_FILE_NAME, "is no path, in the field \"file\""));
                }
                file
            });
        // 43 has PXE's menu and servers; 209 and 210 are for pxelinux (RFC 5071).
        let used_with_file = [code::VENDOR_SPECIFIC, code::CONFIG_FILE, code::PATH_PREFIX];
        Self {
            server,
            next_server: siaddr.or_else(|| listed().filter(|_| server_name.is_none())),
            server_name,
            boot_file,
            boot_service: BootService::read(options, server),
            options: used_with_file
                .into_iter()
                .filter_map(|code| Some((code, options.get(code)?.to_vec())))
                .collect(),
        }
    }

    /// Returns its rank.
    pub fn rank(&self) -> Rank {
        if self.boot_file.is_some() {
            return Rank::BootFile;
        }
        match &self.boot_service {
            Some(service) if service.has_only_the_disk() => Rank::LocalBoot,
            Some(_) => Rank::BootService,
            None if self.next_server.is_some() || self.server_name.is_some() => Rank::NextServer,
            None => Rank::Plain,
        }
    }

    /// Returns the next step towards the boot file.
    pub fn next(&self) -> Next<'_> {
        next(self.boot_file.as_deref(), self.boot_service.as_ref())
    }
}

/// Reads the first server in option 66.
fn server_name(options: &Options, ignored: &mut IgnoredOptions) -> Option<String> {
    let bytes = options.get(code::TFTP_SERVER_NAME)?;
    let read = read_server(bytes);
    let why = match &read {
        Some((_, false)) => return read.map(|(name, _)| name),
        Some((_, true)) => "names several servers, and the first is asked",
        None => "names no server",
    };
    ignored.push((code::TFTP_SERVER_NAME, why));
    read.map(|(name, _)| name)
}

/// Reads the first server in `bytes`, as `host`, `host:port`, or a URL with another scheme or with a folder;
/// none if there is no such name. Returns beside it whether there are more.
///
/// RFC 2132 §9.4 has a TFTP server's name in option 66. Servers also send the four bytes of an address,
/// a URL, a port, several names, and line ends or blanks around these.
fn read_server(bytes: &[u8]) -> Option<(String, bool)> {
    let named = || {
        let names: Option<Vec<_>> = names::words(option::text(bytes)?).map(normalized).collect();
        let mut names = names?.into_iter();
        Some((names.next()?, names.next().is_some()))
    };
    // `boot` is a name though it could be 98.111.111.116; 10.49.50.51 is none though it reads as 123
    // behind a line end.
    let begins_as_text = bytes.first().is_some_and(u8::is_ascii_graphic);
    let is_text = bytes.iter().all(u8::is_ascii_graphic);
    let address = || {
        let address = Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?);
        (is_host(address) && !is_text).then(|| (address.to_string(), false))
    };
    if begins_as_text {
        named().or_else(address)
    } else {
        address().or_else(named)
    }
}

/// Returns the name of a server without what says nothing; none if it is not valid.
fn normalized(name: &str) -> Option<String> {
    let (scheme, place) = name.split_once("://").unwrap_or(("tftp", name));
    let scheme = ["tftp", "http", "https"]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))?;
    let place = place.trim_end_matches('/');
    let (authority, folder) = place.split_once('/').unwrap_or((place, ""));
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_nobodys = host.parse().is_ok_and(|address| !is_host(address));
    if is_nobodys || !names::is_host_name(host) || (host.len() < authority.len() && !is_port(port))
    {
        return None;
    }
    if scheme == "tftp" && folder.is_empty() {
        return Some(authority.to_owned());
    }
    let url = format!("{scheme}://{place}");
    // Tried with any file, so that it cannot fail later with a valid one.
    url_of("x", &url).is_ok().then_some(url)
}

/// Returns the URL of a boot file: a full URL as it is, and a path on a `server`, which is `host`,
/// `host:port`, or a URL with another scheme or with a folder.
///
/// # Errors
/// A boot file that is not valid.
pub fn url_of(boot_file: &str, server: &str) -> Result<Url, UrlError> {
    if Url::has_scheme(boot_file) {
        return boot_file.parse();
    }
    let server = match server.split_once("://") {
        Some(("tftp", place)) => place,
        Some(_) => {
            let folder: Url = format!("{server}/").parse()?;
            return folder.join(&format!("./{}", boot_file.trim_start_matches('/')));
        }
        None => server,
    };
    let (authority, folder) = server.split_once('/').unwrap_or((server, ""));
    let any: Url = format!("tftp://{authority}/x").parse()?;
    if folder.is_empty() {
        return any.with_file_name(boot_file);
    }
    any.with_file_name(&format!("{folder}/{}", boot_file.trim_start_matches('/')))
}

/// Codes of options that are not used as they were sent, each with the reason.
pub type IgnoredOptions = Vec<(u8, &'static str)>;

/// Returns the text of an option without what is left around it; an invalid one is added to `ignored`.
pub(super) fn checked_text(
    options: &Options,
    code: u8,
    fits: fn(&str) -> bool,
    ignored: &mut IgnoredOptions,
) -> Option<String> {
    options.get(code)?;
    let value = options.text(code).and_then(|text| owned(text, fits));
    if value.is_none() {
        ignored.push((code, "is not well-formed text"));
    }
    value
}

fn owned(text: &str, fits: fn(&str) -> bool) -> Option<String> {
    let text = names::trimmed(text);
    fits(text).then(|| text.to_owned())
}

/// The next step towards the boot file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// None: it is known, or no server offers one.
    Nothing,
    /// Query the service.
    Ask(&'a BootService),
    /// Choose from the menu of the service.
    Choose(&'a BootService),
}

impl BootService {
    /// Reads the boot service in the options of `server`; none if it is no PXE server.
    pub fn read(options: &Options, server: Ipv4Addr) -> Option<Self> {
        let class = options.get(code::VENDOR_CLASS)?;
        // The format of option 43 depends on the vendor class in option 60 (RFC 2132 §8.4).
        class.starts_with(PXE_CLIENT).then(|| Self {
            server,
            pxe: Pxe::read(options.get(code::VENDOR_SPECIFIC).unwrap_or_default()),
        })
    }

    /// Returns whether its menu has nothing but the local disk.
    pub fn has_only_the_disk(&self) -> bool {
        let is_disk = |item: &MenuItem| item.kind == MenuItem::LOCAL_BOOT;
        !self.pxe.menu.is_empty() && self.pxe.menu.iter().all(is_disk)
    }

    /// Returns the destinations of queries for boot servers of type `kind`: multicast group, broadcast and
    /// the listed servers, as far as the service allows it.
    pub fn destinations(&self, kind: u16) -> Vec<SocketAddrV4> {
        let control = self.pxe.discovery_control.unwrap_or_default();
        let listed = self.pxe.servers(kind).unwrap_or_default();
        let group = self.pxe.discovery_group;
        let mut destinations: Vec<_> = group
            .filter(|_| control.allows_multicast())
            .into_iter()
            .chain(listed.iter().copied())
            .map(|address| SocketAddrV4::new(address, PXE_PORT))
            .collect();
        if control.allows_broadcast() {
            // PXE 2.1: broadcasts go to DHCP's port, the others to 4011.
            destinations.push(SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT));
        }
        // All methods are ruled out and no server is listed: who sent the menu is left to be asked.
        if destinations.is_empty() {
            destinations.push(self.address());
        }
        destinations
    }

    /// Returns the servers whose answers are accepted for type `kind`; none if all are.
    pub fn believed(&self, kind: u16) -> Option<&[Ipv4Addr]> {
        let control = self.pxe.discovery_control?;
        let servers = self.pxe.servers(kind).unwrap_or_default();
        // With an empty list "only those listed" would leave nobody to believe.
        (control.only_listed() && !servers.is_empty()).then_some(servers)
    }

    /// Returns the destination of queries to the service itself.
    pub const fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.server, PXE_PORT)
    }
}

/// Returns the next step towards the boot file, given what the server sent.
pub fn next<'a>(boot_file: Option<&str>, service: Option<&'a BootService>) -> Next<'a> {
    let Some(service) = service else {
        return Next::Nothing;
    };
    let has_file = boot_file.is_some();
    let control = service.pxe.discovery_control.unwrap_or_default();
    // There is nothing to choose but what the machine does anyway after a failure.
    if has_file && (control.takes_offered_file() || service.has_only_the_disk()) {
        Next::Nothing
    } else if !service.pxe.menu.is_empty() {
        Next::Choose(service)
    } else if has_file {
        Next::Nothing
    } else {
        Next::Ask(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const EVERYBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);

    fn service(vendor: &[u8]) -> BootService {
        let mut options = Options::default();
        options.set(code::VENDOR_CLASS, *b"PXEClient");
        options.set(code::VENDOR_SPECIFIC, vendor);
        BootService::read(&options, SERVER).unwrap()
    }

    #[test]
    fn only_a_server_that_says_so_boots() {
        let mut options = Options::default();
        assert_eq!(BootService::read(&options, SERVER), None);
        options.set(code::VENDOR_CLASS, *b"MSFT 5.0");
        assert_eq!(BootService::read(&options, SERVER), None);
        options.set(code::VENDOR_CLASS, *b"PXEClient:Arch:00000");
        assert!(BootService::read(&options, SERVER).is_some());
    }

    #[test]
    fn boot_servers_are_looked_for_where_it_is_allowed() {
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 1, 2), PXE_PORT);
        let at = |address| SocketAddrV4::new(address, PXE_PORT);
        let list = [7, 4, 239, 255, 1, 2, 8, 7, 0x80, 0, 1, 192, 0, 2, 2];
        let everywhere = service(&list);
        let expected = [group, at(OTHER), EVERYBODY];
        assert_eq!(everywhere.destinations(0x8000), expected);
        assert_eq!(everywhere.destinations(1), [group, EVERYBODY]);
        assert_eq!(everywhere.believed(0x8000), None);
        let listed_only = service(&[&list[..], &[6, 1, 7]].concat());
        assert_eq!(listed_only.destinations(0x8000), [at(OTHER)]);
        assert_eq!(listed_only.believed(0x8000), Some(&[OTHER][..]));
        assert_eq!(listed_only.destinations(1), [at(SERVER)]);
        assert_eq!(listed_only.believed(1), None);
    }

    #[test]
    fn a_menu_goes_before_a_file_unless_the_service_says_not_to() {
        const MENU: [u8; 7] = [9, 5, 0, 1, 2, b'L', b'x'];
        let chooses = |vendor: &[u8], file| {
            let service = service(vendor);
            matches!(next(file, Some(&service)), Next::Choose(_))
        };
        assert!(chooses(&MENU, None));
        assert!(chooses(&MENU, Some("x")));
        let direct = [&MENU[..], &[6, 1, 8]].concat();
        assert_eq!(next(Some("x"), Some(&service(&direct))), Next::Nothing);
        assert!(chooses(&direct, None));
        let bare = service(&[]);
        assert_eq!(next(Some("x"), Some(&bare)), Next::Nothing);
        assert_eq!(next(None, Some(&bare)), Next::Ask(&bare));
        assert_eq!(next(None, None), Next::Nothing);
    }

    #[test]
    fn a_server_is_found_in_whatever_form_it_is_sent() {
        for (bytes, expected) in [
            (&b"192.0.2.7"[..], "192.0.2.7"),
            (b"boot.example", "boot.example"),
            (b"boot", "boot"),
            (b"ab\r\n", "ab"),
            (b"ab\0\0", "ab"),
            (&[192, 0, 2, 7], "192.0.2.7"),
            (&[10, 49, 50, 51], "10.49.50.51"),
            (&[65, 66, 1, 2], "65.66.1.2"),
            (b"192.0.2.7\n", "192.0.2.7"),
            (b"192.0.2.7\r\n\0", "192.0.2.7"),
            (b" 192.0.2.7 ", "192.0.2.7"),
            (b"\n192.0.2.7", "192.0.2.7"),
            (b"\"192.0.2.7\"", "192.0.2.7"),
            (b"tftp://192.0.2.7", "192.0.2.7"),
            (b"TFTP://192.0.2.7/", "192.0.2.7"),
            (b"tftp://192.0.2.7:1069//", "192.0.2.7:1069"),
            (b"192.0.2.7:1069", "192.0.2.7:1069"),
            (b"tftp://boot/pub/x/", "tftp://boot/pub/x"),
            (b"http://192.0.2.7", "http://192.0.2.7"),
            (b"HTTP://boot:8080/a%20b/", "http://boot:8080/a%20b"),
            (b"https://boot.example/\n", "https://boot.example"),
        ] {
            let found = read_server(bytes);
            assert_eq!(found, Some((expected.to_owned(), false)), "{bytes:?}");
        }
        for several in [
            &b"192.0.2.7 192.0.2.8"[..],
            b"192.0.2.7,boot",
            b"192.0.2.7, http://a\n",
        ] {
            assert_eq!(read_server(several), Some(("192.0.2.7".to_owned(), true)));
        }
        for none in [
            &b""[..],
            b"\0\0\0\0",
            b" \r\n",
            &[127, 0, 0, 1],
            &[255; 4],
            b"nfs://192.0.2.7",
            b"http://u:p@192.0.2.7",
            b"192.0.2.7:",
            b"192.0.2.7:0",
            b"192.0.2.7:99999",
            b"http://",
            b"0.0.0.0",
            b"tftp://255.255.255.255/x",
            b"a!b c",
            b"$(x)",
            b"/srv/tftp",
            &[0xc3, 0xa4, 0xff],
        ] {
            assert_eq!(read_server(none), None, "{none:?}");
        }
    }

    #[test]
    fn the_boot_file_is_below_its_server() {
        for (file, server, expected) in [
            ("pxelinux.0", "192.0.2.2", "tftp://192.0.2.2/pxelinux.0"),
            ("/p", "n", "tftp://n//p"),
            ("http://b/x?y", "192.0.2.2", "http://b/x?y"),
            ("a%20#b", "n:1069", "tftp://n:1069/a%2520%23b"),
            ("/b", "tftp://n/pub", "tftp://n/pub/b"),
            ("boot.ipxe?a=1", "http://n:81", "http://n:81/boot.ipxe?a=1"),
            ("/boot.ipxe", "https://n/pub", "https://n/pub/boot.ipxe"),
            ("a:b", "http://n", "http://n/a:b"),
        ] {
            let url = url_of(file, server).unwrap();
            assert_eq!(url.to_string(), expected, "{file} {server}");
        }
        assert!(url_of("", "192.0.2.2").is_err());
        assert!(url_of("a\nb", "192.0.2.2").is_err());
    }
}
