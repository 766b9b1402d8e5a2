//! HTTP proxies: chosen by the environment variables `http_proxy`, `https_proxy`, `all_proxy` and
//! `no_proxy`, as curl reads them, and the tunnel through one.

use std::io::{self, Read, Write};

use super::failure::{Failure, broken};
use wireboot_proto::http;
use wireboot_proto::text::safe::text_of;
use wireboot_proto::text::url::{Scheme, Url};

/// The longest head of a proxy's answer; usual ones have a few hundred bytes.
const MAX_HEAD_LEN: usize = 16 << 10;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// The most informational responses before the proxy's answer.
// As of a web server's answer (`http::Get`).
const MAX_INFORMATIONAL: u32 = 10;

/// Returns the proxy for `url`; `variable` looks an environment variable up.
///
/// # Errors
/// The variable does not hold an `http` URL.
pub(super) fn of(
    url: &Url,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Url>, Failure> {
    let either = |lower: &str| {
        // HTTP_PROXY is ignored, as by curl: a CGI server sets it from a request's Proxy header
        // (CVE-2016-5385).
        let upper = (lower != "http_proxy").then(|| lower.to_ascii_uppercase());
        let value = variable(lower).or_else(|| variable(&upper?))?;
        (!value.is_empty()).then_some(value)
    };
    let name = match url.scheme() {
        Scheme::Tftp => return Ok(None),
        Scheme::Http => "http_proxy",
        Scheme::Https => "https_proxy",
    };
    let Some(value) = either(name).or_else(|| either("all_proxy")) else {
        return Ok(None);
    };
    if either("no_proxy").is_some_and(|list| is_listed(url.host(), &list)) {
        return Ok(None);
    }
    let text = if value.contains("://") {
        value
    } else {
        format!("http://{value}")
    };
    match text.parse::<Url>() {
        Ok(proxy) if proxy.scheme() == Scheme::Http => Ok(Some(proxy)),
        Ok(proxy) => {
            let why = format!("the proxy {proxy} cannot be used; only http:// is known");
            Err(Failure::Other(why.into()))
        }
        Err(error) => Err(Failure::Other(format!("{name}: {error}").into())),
    }
}

/// Returns whether `list` names `host` or a domain that contains it.
fn is_listed(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    // As in curl: commas or blanks between entries, and a leading dot means nothing.
    list.split([',', ' ']).any(|entry| {
        let entry = entry.trim().trim_matches(['[', ']']).to_ascii_lowercase();
        let domain = entry.trim_start_matches('.');
        let is_inside = || {
            let rest = host.strip_suffix(domain);
            rest.is_some_and(|rest| rest.ends_with('.'))
        };
        entry == "*" || !domain.is_empty() && (host == domain || is_inside())
    })
}

/// Asks the proxy to connect to the server of `url` (CONNECT, RFC 9110 §9.3.6).
pub(super) fn tunnel(
    stream: &mut (impl Read + Write),
    url: &Url,
    proxy: &Url,
) -> Result<(), Failure> {
    let host = if url.host().contains(':') {
        format!("[{}]", url.host())
    } else {
        url.host().to_owned()
    };
    let server = format!("{host}:{}", url.port());
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(credentials) = proxy.credentials() {
        let value = http::basic(credentials);
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    let failed = |error| broken(error, "connecting through the proxy");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    for _ in 0..=MAX_INFORMATIONAL {
        let head = read_head(stream).map_err(failed)?;
        if !head.ends_with(END_OF_HEAD) {
            let why = format!("the proxy {proxy} sends a head of more than {MAX_HEAD_LEN} bytes");
            return Err(Failure::Passing(why.into()));
        }
        let line = text_of(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
        let mut words = line.split(' ');
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
        let status = words.next().filter(|status| is_http && status.len() == 3);
        match status.and_then(|status| status.bytes().next()) {
            // The answer is still to come (RFC 9110 §15.2).
            Some(b'1') => {}
            // Any status of success opens the tunnel, and none of them has a body (RFC 9110 §9.3.6).
            Some(b'2') => return Ok(()),
            Some(_) | None => {
                let why = format!("the proxy {proxy} does not connect to {server}: {line}");
                return Err(Failure::Passing(why.into()));
            }
        }
    }
    let why = format!("the proxy {proxy} sends informational responses without end");
    Err(Failure::Passing(why.into()))
}

/// Reads up to an empty line, or the most that a head may have.
fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    // Byte by byte, since bytes behind the head belong to the TLS handshake.
    let mut head = Vec::new();
    while !head.ends_with(END_OF_HEAD) && head.len() < MAX_HEAD_LEN {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_proxy_and_what_it_is_not_for() {
        for (url, variables, expected) in [
            ("http://h/", &[][..], None),
            ("http://h/", &[("http_proxy", "")], None),
            (
                "http://h/",
                &[("http_proxy", "p:3128")],
                Some("http://p:3128/"),
            ),
            ("http://h/", &[("HTTP_PROXY", "http://p")], None),
            ("https://h/", &[("http_proxy", "p")], None),
            (
                "https://h/",
                &[("HTTPS_PROXY", "http://u:w@p")],
                Some("http://p/"),
            ),
            ("https://h/", &[("all_proxy", "p")], Some("http://p/")),
            ("tftp://h/f", &[("all_proxy", "p")], None),
            (
                "http://a.b.c/",
                &[("all_proxy", "p"), ("no_proxy", "x,b.c")],
                None,
            ),
            (
                "http://a.b.c/",
                &[("all_proxy", "p"), ("no_proxy", ".B.C")],
                None,
            ),
            (
                "http://ab.c/",
                &[("all_proxy", "p"), ("no_proxy", "b.c")],
                Some("http://p/"),
            ),
            (
                "http://[::1]/",
                &[("all_proxy", "p"), ("no_proxy", "[::1]")],
                None,
            ),
            ("http://h/", &[("all_proxy", "p"), ("NO_PROXY", "*")], None),
        ] {
            let found = look(url, variables).ok().flatten();
            assert_eq!(found.as_deref(), expected, "{url} {variables:?}");
        }
        assert!(look("http://h/", &[("http_proxy", "https://p")]).is_err());
        assert!(look("http://h/", &[("http_proxy", "socks5://p")]).is_err());
    }

    #[test]
    fn a_tunnel_is_open_with_any_status_of_success() {
        let hint = "HTTP/1.1 100 Continue\r\n\r\n";
        for (answer, expected) in [
            (
                "HTTP/1.1 200 Connection established\r\n\r\n".to_owned(),
                true,
            ),
            ("HTTP/1.0 299 Yes\r\nVia: x\r\n\r\n".to_owned(), true),
            ("HTTP/1.1 204\r\n\r\n".to_owned(), true),
            (format!("{hint}HTTP/1.1 200 OK\r\n\r\n"), true),
            (hint.repeat(20), false),
            ("HTTP/1.1 2000 OK\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 302 Found\r\n\r\n".to_owned(), false),
            ("HTTP/1.1 407 Credentials\r\n\r\n".to_owned(), false),
            ("SSH-2.0-x 200 \r\n\r\n".to_owned(), false),
            ("HTTP/1.1 200 OK\r\n".to_owned(), false),
            ("x".repeat(20_000), false),
            (
                format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000)),
                false,
            ),
        ] {
            let mut stream = Exchange(answer.as_bytes());
            let (url, proxy) = ("https://h/".parse(), "http://p/".parse());
            let opened = tunnel(&mut stream, &url.unwrap(), &proxy.unwrap());
            assert_eq!(
                opened.is_ok(),
                expected,
                "{}",
                answer.get(..30).unwrap_or(&answer)
            );
            assert!(!expected || stream.0.is_empty());
        }
    }

    /// A proxy with the same answer to all requests.
    struct Exchange<'a>(&'a [u8]);

    impl Read for Exchange<'_> {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    impl Write for Exchange<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn look(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let proxy = of(&url.parse().unwrap(), |name| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        });
        Ok(proxy?.map(|url| url.to_string()))
    }
}
