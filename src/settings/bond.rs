//! Bonds, in the words of dracut.

use std::str::FromStr;

use super::interfaces::interface_name;
use wireboot_proto::netlink::bond::BondOptions;

/// A bond of several interfaces; lists have commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bond {
    /// The name of its interface.
    pub name: String,
    /// The interfaces that it is made of, by name or hardware address.
    pub members: String,
    /// Its mode and other options.
    pub options: BondOptions,
    /// Its MTU, in bytes.
    pub mtu_octets: Option<u32>,
}

impl FromStr for Bond {
    type Err = String;

    /// Parses `[NAME[:MEMBERS[:OPTIONS[:MTU]]]]` (dracut.cmdline(7)).
    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.splitn(4, ':');
        let mut next = |default| {
            fields
                .next()
                .filter(|text| !text.is_empty())
                .unwrap_or(default)
        };
        let mut bond = Self {
            name: interface_name(next("bond0"))?,
            members: next("eth0,eth1").to_owned(),
            options: BondOptions::parse(next("mode=balance-rr"))?,
            mtu_octets: None,
        };
        let mtu = next("");
        if !mtu.is_empty() {
            // 68 as in RFC 791 §3.2; the kernel knows what the cards can do.
            let mtu_octets = mtu.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
            bond.mtu_octets = Some(mtu_octets.ok_or_else(|| [mtu, " is no MTU"].concat())?);
        }
        let mut known = vec![bond.name.as_str()];
        for member in bond.members.split(',') {
            interface_name(member)?;
            if known.contains(&member) {
                return Err([member, " cannot be a member here"].concat());
            }
            known.push(member);
        }
        let primary = bond.options.primary();
        match primary.filter(|primary| !bond.has_member(primary)) {
            Some(primary) => Err([primary, " is no member"].concat()),
            None => Ok(bond),
        }
    }
}

impl Bond {
    fn has_member(&self, name: &str) -> bool {
        self.members.split(',').any(|member| member == name)
    }

    /// Gives its members, and with them the primary one, the names that `find` returns; those without one
    /// are left out.
    pub fn rename(&mut self, find: &dyn Fn(&str) -> Option<String>) {
        let members: Vec<_> = self.members.split(',').filter_map(find).collect();
        self.members = members.join(",");
        self.options.rename_primary(find);
    }

    /// Returns the value of `bond=` as dracut reads it.
    pub fn text(&self) -> String {
        let mtu = self
            .mtu_octets
            .map_or(String::new(), |mtu| [":", &mtu.to_string()].concat());
        let options = self.options.as_str();
        [&self.name, ":", &self.members, ":", options, &mtu].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bond_is_read_with_the_defaults_of_dracut_and_written_as_dracut_reads_it() {
        for (text, written) in [
            ("", "bond0:eth0,eth1:mode=balance-rr,miimon=100"),
            ("bond1", "bond1:eth0,eth1:mode=balance-rr,miimon=100"),
            ("bond0:em1,em2", "bond0:em1,em2:mode=balance-rr,miimon=100"),
            ("bond0:em1:mode=4", "bond0:em1:mode=802.3ad,miimon=100"),
            (
                "lag:em1,em2:mode=802.3ad,lacp_rate=1,miimon=50:9000",
                "lag:em1,em2:mode=802.3ad,lacp_rate=fast,miimon=50:9000",
            ),
            (
                "b:x,y:mode=1,arp_interval=100,arp_ip_target=192.0.2.1;192.0.2.2,primary=y",
                "b:x,y:mode=active-backup,arp_interval=100,arp_ip_target=192.0.2.1;192.0.2.2,primary=y",
            ),
        ] {
            let bond: Bond = text.parse().unwrap();
            assert_eq!(bond.text(), written, "{text}");
            assert_eq!(written.parse(), Ok(bond));
        }
    }

    #[test]
    fn what_is_no_bond_is_refused_with_the_reason() {
        for (text, why) in [
            ("bond0:eth0,,eth1", "not the name of an interface: \"\""),
            ("a-name-far-too-long:eth0", "not the name of an interface"),
            ("bond0:eth0,eth0", "eth0 cannot be a member here"),
            ("bond0:bond0", "bond0 cannot be a member"),
            ("bond0:eth0:lacp", "\"lacp\" is no option"),
            (
                "bond0:eth0:mode=lacp",
                "mode=lacp is not possible: it is balance-rr",
            ),
            ("bond0:eth0:mode=1,primary=eth7", "eth7 is no member"),
            ("bond0:eth0:mode=1:jumbo", "jumbo is no MTU"),
            ("bond0:eth0:mode=1:67", "67 is no MTU"),
            ("bond0:eth0:mode=1:1500:x", "1500:x is no MTU"),
        ] {
            let error = text.parse::<Bond>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
