//! Patterns of `modules.alias`, and the devices they stand for.

/// Returns whether `text` fits `pattern` of `*`, `?`, `[set]` and plain characters, as fnmatch
/// has them.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last * does not fit: try one octet further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        let after = match (pattern.get(p), text.get(t)) {
            (Some(b'?'), Some(_)) => Some(p + 1),
            (Some(b'['), Some(octet)) => after_set(pattern, p, *octet),
            (Some(expected), Some(octet)) if expected == octet => Some(p + 1),
            _ => None,
        };
        match (after, retry) {
            (Some(after), _) => (p, t) = (after, t + 1),
            (None, Some((star, at))) if at < text.len() => {
                retry = Some((star, at + 1));
                (p, t) = (star + 1, at + 1);
            }
            (None, _) => return false,
        }
    }
    true
}

/// Returns where the pattern goes on behind the set at `at`, when `octet` is in the set.
fn after_set(pattern: &[u8], at: usize, octet: u8) -> Option<usize> {
    let set = pattern.get(at + 1..)?;
    let len = set.iter().position(|octet| *octet == b']')?;
    let set = set.get(..len)?;
    let mut rest = set;
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let last = match more {
            [b'-', last, after @ ..] => {
                rest = after;
                last
            }
            _ => first,
        };
        if (*first..=*last).contains(&octet) {
            return Some(at + len + 2);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_kernel_writes_them() {
        for (pattern, text, fits) in [
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("virtio:d00000001v*", "virtio:d00000002v00001AF4", false),
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00",
                true,
            ),
            ("usb:v0B95p772[AB-D]d*", "usb:v0B95p772Bd0001", true),
            ("usb:v0B95p772[AB-D]d*", "usb:v0B95p772Ed0001", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[", "[", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
