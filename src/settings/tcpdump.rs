//! Flags of tcpdump that `capture` has no row for: those that change nothing here, and those that it
//! refuses by name.
//!
//! Scripts give many of them out of habit. What would change what they get is refused, with what to do
//! instead.

/// A line each: names; whether it takes a value (`+`), or one alone (`=`), is refused (`!`), or refused with
/// its value (`-`); and that value, or what to do instead.
///
/// Numbers are never names, sequence numbers never relative, checksums never verified; BGP, NFS and headers
/// of meshes are not decoded; the compiler of filters has no optimizer; and whoever reads the frames has no
/// privileges, whatever its name (`-Z`).
const FLAGS: &str =
    "b f H K dont-verify-checksums N O no-optimize S absolute-tcp-sequence-numbers u nano\t
Z relinquish-privileges\t+
y linktype\t=EN10MB
j time-stamp-type\t=host
time-stamp-precision\t=nano
E M\t-write the frames with -w, and give the secret to tcpdump or Wireshark
I monitor-mode\t!all frames are of Ethernet
J list-time-stamp-types\t!all are the kernel's (host)
L list-data-link-types\t!all are Ethernet (EN10MB)
m\t-SNMP is not decoded
T\t-protocols are known by their ports
V\t--r reads one file: give each to a command of its own
z\t-a script may compress the files that are complete
print\t!use -U -w - | tee FILE | wireboot capture -r -";

/// Returns whether the flag of this name takes a value; none if tcpdump has no such flag, or it has a row.
pub fn takes_value(name: &str) -> Option<bool> {
    find(name).map(|kind| !matches!(kind.as_bytes(), [] | [b'!', ..]))
}

/// Returns why the flag cannot be followed with this value, if it cannot.
pub fn refusal(name: &str, value: &str) -> Option<String> {
    let (kind, text) = find(name)?.split_at_checked(1)?;
    match kind {
        "+" => None,
        "=" => (text != value).then(|| format!("only {text}")),
        _ => Some(text.to_owned()),
    }
}

/// Returns what is behind the names.
fn find(name: &str) -> Option<&'static str> {
    FLAGS.lines().find_map(|line| {
        let (names, kind) = line.split_once('\t')?;
        names.split(' ').any(|one| one == name).then_some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_is_taken_or_refused_with_its_value() {
        for (name, is_taken, value, why) in [
            ("K", Some(false), "", None),
            ("nano", Some(false), "", None),
            ("Z", Some(true), "root", None),
            ("linktype", Some(true), "EN10MB", None),
            ("y", Some(true), "RAW", Some("only EN10MB")),
            ("L", Some(false), "", Some("all are Ethernet (EN10MB)")),
            (
                "T",
                Some(true),
                "tftp",
                Some("protocols are known by their ports"),
            ),
            ("i", None, "", None),
        ] {
            assert_eq!(takes_value(name), is_taken, "{name}");
            assert_eq!(refusal(name, value).as_deref(), why, "{name}");
        }
    }
}
