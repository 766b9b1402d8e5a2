//! Bonds: their options by the names of the kernel's documentation (`bonding.rst`), as netlink has them
//! (`IFLA_BOND_*` of linux/if_link.h), and the state of their LACP.

use crate::prelude::*;
use core::net::Ipv4Addr;

use super::message::{attributes, nested};
use crate::reader::DecodeError;

pub(super) const IFLA_BOND_MODE: u16 = 1;
const IFLA_BOND_ARP_IP_TARGET: u16 = 8;
const IFLA_BOND_PRIMARY: u16 = 11;
const IFLA_BOND_AD_INFO: u16 = 23;
const IFLA_BOND_AD_INFO_PARTNER_MAC: u16 = 5;

/// The mode of LACP.
const MODE_802_3AD: u8 = 4;
/// BOND_MAX_ARP_TARGETS of the kernel.
const MAX_TARGETS: usize = 16;

/// The options: name, attribute, bytes of the value (0 where it is no number), the name in
/// systemd.netdev(5) or `-`, and the names of the values from 0 on.
// As text, since a table of structures takes three times the room.
const OPTIONS: &str = "\
mode 1 1 Mode balance-rr active-backup balance-xor broadcast 802.3ad balance-tlb balance-alb
miimon 3 4 MIIMonitorSec
updelay 4 4 UpDelaySec
downdelay 5 4 DownDelaySec
use_carrier 6 1 -
arp_interval 7 4 ARPIntervalSec
arp_ip_target 8 0 ARPIPTargets
arp_validate 9 4 ARPValidate none active backup all filter filter_active filter_backup
arp_all_targets 10 4 ARPAllTargets any all
primary 11 0 -
primary_reselect 12 1 PrimaryReselectPolicy always better failure
fail_over_mac 13 1 FailOverMACPolicy none active follow
xmit_hash_policy 14 1 TransmitHashPolicy layer2 layer3+4 layer2+3 encap2+3 encap3+4 vlan+srcmac
resend_igmp 15 4 ResendIGMP
num_grat_arp 16 1 GratuitousARP
num_unsol_na 16 1 GratuitousARP
all_slaves_active 17 1 AllSlavesActive
min_links 18 4 MinLinks
lp_interval 19 4 LearnPacketIntervalSec
packets_per_slave 20 4 PacketsPerSlave
lacp_rate 21 1 LACPTransmitRate slow fast
ad_select 22 1 AdSelect stable bandwidth count
ad_actor_sys_prio 24 2 AdActorSystemPriority
ad_user_port_key 25 2 AdUserPortKey
tlb_dynamic_lb 27 1 DynamicTransmitLoadBalancing
peer_notif_delay 28 4 -
lacp_active 29 1 - off on
missed_max 30 1 -
coupled_control 32 1 - off on";

/// A line of [`OPTIONS`], and what the option is set to.
struct BondOption<'a> {
    name: &'a str,
    attribute: u16,
    len: u32,
    networkd: &'static str,
    names: &'static str,
    value: &'a str,
}

impl<'a> BondOption<'a> {
    /// Reads `NAME=VALUE`; none if there is no such option.
    fn read(text: &'a str) -> Option<Self> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let row = OPTIONS.split('\n').find_map(|row| {
            let row = row.strip_prefix(name)?;
            row.strip_prefix(' ')
        })?;
        let mut fields = row.splitn(4, ' ');
        Some(Self {
            name,
            attribute: fields.next()?.parse().ok()?,
            len: fields.next()?.parse().ok()?,
            networkd: fields.next()?,
            names: fields.next().unwrap_or_default(),
            value,
        })
    }

    /// Returns the number of the value.
    fn number(&self) -> Option<u32> {
        let mut names = (0..).zip(self.names.split(' '));
        let named = names.find(|(_, name)| *name == self.value && !name.is_empty());
        // `parse` accepts a sign.
        let has_digits = self.value.bytes().all(|byte| byte.is_ascii_digit());
        named
            .map(|(number, _)| number)
            .or_else(|| self.value.parse().ok().filter(|_| has_digits))
    }

    /// Returns the value by its name, if it has one; none if it is not possible.
    fn checked_value(&self) -> Option<&'a str> {
        if self.len == 0 {
            let mut targets = self.value.split(';');
            // dracut separates addresses by semicolons, since commas are between options.
            let fits = targets.clone().count() <= MAX_TARGETS
                && targets.all(|target| target.parse::<Ipv4Addr>().is_ok());
            return (fits || self.attribute == IFLA_BOND_PRIMARY).then_some(self.value);
        }
        // The kernel reads those of four bytes as int.
        let bits = (self.len * 8).min(31);
        let number = self.number().filter(|number| number >> bits == 0)?;
        if self.names.is_empty() {
            return Some(self.value);
        }
        self.names.split(' ').nth(usize::try_from(number).ok()?)
    }

    fn encode(&self, primary: Option<u32>) -> Vec<u8> {
        if self.attribute == IFLA_BOND_ARP_IP_TARGET {
            let targets = (0..).zip(self.value.split(';'));
            let targets = targets.flat_map(|(place, target)| {
                // Checked by `checked_value`.
                let target = target.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
                nested(place, &target.octets())
            });
            return nested(self.attribute, &targets.collect::<Vec<_>>());
        }
        let number = primary.filter(|_| self.len == 0).or_else(|| self.number());
        let number = number.unwrap_or_default();
        let number = match self.len {
            // The lowest byte, whatever the machine's order is.
            1 => number.to_le_bytes().get(..1).map(<[u8]>::to_vec),
            2 => u16::try_from(number)
                .ok()
                .map(|number| number.to_ne_bytes().to_vec()),
            _ => Some(number.to_ne_bytes().to_vec()),
        };
        nested(self.attribute, &number.unwrap_or_default())
    }
}

/// Options of a bond, each one possible: `NAME=VALUE` with commas between, the values by their names if
/// they have some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BondOptions(String);

impl BondOptions {
    /// Parses options `NAME=VALUE`, with commas between.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut checked = String::new();
        for text in text.split(',') {
            let Some(option) = BondOption::read(text) else {
                return Err(["\"", text, "\" is no option of a bond"].concat());
            };
            let Some(value) = option.checked_value() else {
                let names = match option.names {
                    "" => "a number, or 1 to 16 IPv4 addresses with ; between",
                    names => names,
                };
                return Err([text, " is not possible: it is ", names].concat());
            };
            checked += &[option.name, "=", value, ","].concat();
        }
        // Without a monitor the kernel takes a member without a carrier for one that works
        // (bond_enslave), and with LACP it sets this by itself (bond_check_params).
        if checked.contains("miimon=") || checked.contains("arp_interval=") {
            checked.pop();
        } else {
            checked += "miimon=100";
        }
        Ok(Self(checked))
    }

    /// Returns the options as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the interface that the option `primary` names.
    pub fn primary(&self) -> Option<&str> {
        self.0.split(',').find_map(primary)
    }

    /// Gives the primary interface the name that `find` returns; without one the option is left out.
    pub fn rename_primary(&mut self, find: &dyn Fn(&str) -> Option<String>) {
        let options = self.0.split(',').filter_map(|option| {
            primary(option).map_or_else(
                || Some(option.to_owned()),
                |name| Some([PRIMARY, &find(name)?].concat()),
            )
        });
        self.0 = options.collect::<Vec<_>>().join(",");
    }

    /// Encodes the options; `primary` is the index of that interface.
    pub(super) fn encode(&self, primary: Option<u32>) -> Vec<u8> {
        let encoded: Vec<_> = self.each().map(|option| option.encode(primary)).collect();
        encoded.concat()
    }

    /// Returns the lines of systemd.netdev(5), without those options that it does not have.
    pub fn networkd_lines(&self) -> String {
        let mut text = String::new();
        for option in self.each().filter(|option| option.networkd != "-") {
            let name = option.networkd;
            // The kernel has milliseconds, but for learning packets.
            let is_millis = name.ends_with("Sec") && !name.starts_with('L');
            let unit = if is_millis { "ms\n" } else { "\n" };
            text += &[name, "=", &option.value.replace(';', " "), unit].concat();
        }
        text
    }

    fn each(&self) -> impl Iterator<Item = BondOption<'_>> {
        self.0.split(',').filter_map(BondOption::read)
    }
}

const PRIMARY: &str = "primary=";

fn primary(option: &str) -> Option<&str> {
    option.strip_prefix(PRIMARY)
}

/// Reads from `IFLA_INFO_DATA` of a bond whether LACP has found a partner; none in other modes.
pub(super) fn has_partner(data: &[u8]) -> Result<Option<bool>, DecodeError> {
    let (mut is_lacp, mut has_partner) = (false, false);
    for attribute in attributes(data) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_BOND_MODE => is_lacp = attribute.value == [MODE_802_3AD],
            // Missing until an aggregator is chosen.
            IFLA_BOND_AD_INFO => {
                for part in attributes(attribute.value) {
                    let part = part?;
                    let is_partner = part.kind == IFLA_BOND_AD_INFO_PARTNER_MAC;
                    has_partner |= is_partner && part.value.iter().any(|byte| *byte != 0);
                }
            }
            _ => {}
        }
    }
    Ok(is_lacp.then_some(has_partner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_name_and_number_and_written_as_others_write_them() {
        for (text, kernel, networkd) in [
            ("mode=802.3ad", "mode=802.3ad", "Mode=802.3ad\n"),
            ("mode=4", "mode=802.3ad", "Mode=802.3ad\n"),
            (
                "mode=1,primary=eth1",
                "mode=active-backup,primary=eth1",
                "Mode=active-backup\n",
            ),
            ("miimon=50", "miimon=50", "MIIMonitorSec=50ms\n"),
            (
                "lp_interval=2",
                "lp_interval=2",
                "LearnPacketIntervalSec=2\n",
            ),
            ("lacp_rate=1", "lacp_rate=fast", "LACPTransmitRate=fast\n"),
            (
                "xmit_hash_policy=layer3+4",
                "xmit_hash_policy=layer3+4",
                "TransmitHashPolicy=layer3+4\n",
            ),
            ("use_carrier=0", "use_carrier=0", ""),
            (
                "arp_ip_target=192.0.2.1;192.0.2.2",
                "arp_ip_target=192.0.2.1;192.0.2.2",
                "ARPIPTargets=192.0.2.1 192.0.2.2\n",
            ),
        ] {
            let options = BondOptions::parse(text).unwrap();
            // The monitor that stands last where none is asked for.
            let text = options.0.strip_suffix(",miimon=100");
            assert_eq!(text.unwrap_or(&options.0), kernel);
            let lines = options.networkd_lines();
            let lines = lines.strip_suffix("MIIMonitorSec=100ms\n");
            let lines = lines.map_or_else(|| options.networkd_lines(), str::to_owned);
            assert_eq!(lines, networkd);
        }
    }

    #[test]
    fn every_option_is_in_the_table_with_all_it_needs() {
        for row in OPTIONS.split('\n') {
            let name = row.split(' ').next().unwrap();
            let option = BondOption::read(name).unwrap_or_else(|| panic!("{row}"));
            assert!([0, 1, 2, 4].contains(&option.len), "{row}");
            for (number, value) in option.names.split(' ').enumerate() {
                if !value.is_empty() {
                    let text = format!("{name}={number}");
                    let options = BondOptions::parse(&text).unwrap();
                    assert!(options.0.starts_with(&format!("{name}={value}")));
                }
            }
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn values_have_the_length_that_the_kernel_wants() {
        for (text, expected) in [
            ("lacp_rate=fast", &[5, 0, 21, 0, 1, 0, 0, 0][..]),
            ("ad_user_port_key=513", &[6, 0, 25, 0, 1, 2, 0, 0]),
            ("miimon=100", &[8, 0, 3, 0, 100, 0, 0, 0]),
            ("primary=eth1", &[8, 0, 11, 0, 7, 0, 0, 0]),
            (
                "arp_ip_target=192.0.2.1;192.0.2.2",
                &[
                    20, 0, 8, 0, 8, 0, 0, 0, 192, 0, 2, 1, 8, 0, 1, 0, 192, 0, 2, 2,
                ],
            ),
        ] {
            let options = BondOptions::parse(text).unwrap();
            let encoded = options.encode(Some(7));
            assert_eq!(encoded[..expected.len()], *expected, "{text}");
        }
    }

    #[test]
    fn what_no_option_can_be_is_refused_with_the_reason() {
        for (text, why) in [
            (
                "mode",
                "mode is not possible: it is balance-rr active-backup",
            ),
            ("mode=", "mode= is not possible"),
            ("mode=7", "mode=7 is not possible"),
            ("mode=lacp", "mode=lacp is not possible"),
            ("miimon=soon", "miimon=soon is not possible: it is a number"),
            ("miimon=", "miimon= is not possible"),
            ("miimon=-1", "is not possible"),
            ("miimon=+1", "is not possible"),
            ("miimon=2147483648", "is not possible"),
            ("num_grat_arp=256", "is not possible"),
            ("ad_user_port_key=65536", "is not possible"),
            ("arp_ip_target=192.0.2.1;", "IPv4 addresses"),
            ("arp_ip_target=", "IPv4 addresses"),
            ("mode=1,", "\"\" is no option"),
            ("max_bonds=2", "\"max_bonds=2\" is no option"),
            ("mod=4", "\"mod=4\" is no option"),
        ] {
            let error = BondOptions::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let many = vec!["192.0.2.1"; 17].join(";");
        assert!(BondOptions::parse(&format!("arp_ip_target={many}")).is_err());
    }

    #[test]
    fn a_partner_is_one_whose_address_is_not_zero() {
        let data = |mode: u8, partner: &[u8]| {
            let info = nested(IFLA_BOND_AD_INFO_PARTNER_MAC, partner);
            let mut data = nested(IFLA_BOND_MODE, &[mode]);
            data.extend(nested(IFLA_BOND_AD_INFO, &info));
            data
        };
        assert_eq!(has_partner(&data(4, &[0; 6])), Ok(Some(false)));
        assert_eq!(has_partner(&data(4, &[2, 0, 0, 0, 0, 9])), Ok(Some(true)));
        assert_eq!(has_partner(&data(1, &[2, 0, 0, 0, 0, 9])), Ok(None));
        assert_eq!(has_partner(&nested(IFLA_BOND_MODE, &[4])), Ok(Some(false)));
        let whole = data(4, &[2, 0, 0, 0, 0, 9]);
        assert!(has_partner(&whole[..whole.len() - 3]).is_err());
    }
}
