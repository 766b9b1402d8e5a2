//! The server that has the boot file, as option 66 or `sname` names it, and the URL of a file there.
//!
//! RFC 2132 §9.4 has a TFTP server's name in option 66. Servers also send the four bytes of an address,
//! a URL, a port, several names, and line ends or blanks around these.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::reply::is_host;
use crate::packet::option::text;
use crate::text::names;
use crate::text::url::{Url, UrlError};

/// Reads the first server in `bytes`, as `host`, `host:port`, or a URL with another scheme or with a folder;
/// none if there is no such name. Returns beside it whether there are more.
pub(super) fn read(bytes: &[u8]) -> Option<(String, bool)> {
    let named = || {
        let names: Option<Vec<_>> = names::words(text(bytes)?).map(normalized).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let found = read(bytes);
            assert_eq!(found, Some((expected.to_owned(), false)), "{bytes:?}");
        }
        for several in [
            &b"192.0.2.7 192.0.2.8"[..],
            b"192.0.2.7,boot",
            b"192.0.2.7, http://a\n",
        ] {
            assert_eq!(read(several), Some(("192.0.2.7".to_owned(), true)));
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
            assert_eq!(read(none), None, "{none:?}");
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
