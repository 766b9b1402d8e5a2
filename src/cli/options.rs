//! The options of a lease for people, known or not.

use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::packet::option::known::{self, OptionValue};

/// Returns a line for each option, and one for each that is not followed.
pub(super) fn text(lease: &Lease) -> String {
    let mut text = String::new();
    for (code, octets) in lease.options.iter() {
        let (name, value) = (known::name(code), OptionValue::read(code, octets));
        text.push_str(&format!("  {code:>3}  {name:<28}  {value}\n"));
    }
    for (code, why) in &lease.ignored {
        text.push_str(&format!("  {code:>3}  not followed: it {why}\n"));
    }
    text
}
