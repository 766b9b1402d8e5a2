//! Which proxy the environment asks for: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`,
//! as curl reads them.

use super::Failure;
use wireboot_proto::text::url::{Scheme, Url};

/// Returns the proxy for `url`; `variable` looks an environment variable up.
///
/// # Errors
/// The variable holds no `http` URL.
pub(super) fn of(
    url: &Url,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Url>, Failure> {
    let either = |lower: &str| {
        // The upper case of http_proxy could be set by a header Proxy, where programs are started
        // for requests.
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
    let text = match value.contains("://") {
        true => value,
        false => format!("http://{value}"),
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

/// Returns whether `host` or a domain it is in stands in `list`.
fn is_listed(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
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

    fn look(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, Failure> {
        let proxy = of(&url.parse().unwrap(), |name| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(known, _)| *known == name)?;
            Some((*value).to_owned())
        });
        Ok(proxy?.map(|url| url.to_string()))
    }
}
