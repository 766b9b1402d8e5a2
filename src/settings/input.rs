//! The value of a setting as text, and its parsers.

use std::str::FromStr;
use std::time::Duration;

use super::config::NoSuchName;
use wireboot_proto::packet::option::known::parse_code;
use wireboot_proto::text::names;
use wireboot_proto::time::parse_seconds;

/// The value of a setting, as text.
#[derive(Debug)]
pub struct SettingText<'a> {
    /// The value; empty for a flag that has none.
    pub value: &'a str,
    /// Whether it begins a list, which replaces that of a source of lower precedence.
    pub is_first: bool,
}

impl SettingText<'_> {
    /// Parses on or off.
    pub(super) fn is_on(&self) -> Result<bool, String> {
        match self.value {
            "" | "1" | "yes" | "true" | "on" => Ok(true),
            "0" | "no" | "false" | "off" => Ok(false),
            _ => Err("neither on nor off".to_owned()),
        }
    }

    pub(super) fn seconds(&self) -> Result<Duration, String> {
        parse_seconds(self.value)
            .ok_or_else(|| "not a number of seconds from 0 to a year".to_owned())
    }

    pub(super) fn number<T: TryFrom<u64> + Into<u64>>(
        &self,
        least: u64,
        most: T,
    ) -> Result<T, String> {
        let most = most.into();
        let number = self.value.parse().ok();
        let number = number.filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            if most == u64::MAX {
                return format!("not a number of {least} or more");
            }
            format!("not a number from {least} to {most}")
        })
    }

    /// Parses a number of bytes, 1 or more: of `unit` each, or of the one that is behind it.
    #[cfg(feature = "capture")]
    pub(super) fn size(&self, unit: u64) -> Result<u64, String> {
        let (digits, unit) = match self.value.char_indices().last() {
            Some((at, 'k' | 'K')) => (at, 1 << 10),
            Some((at, 'm' | 'M')) => (at, 1 << 20),
            Some((at, 'g' | 'G')) => (at, 1 << 30),
            _ => (self.value.len(), unit),
        };
        let number = self.value.get(..digits).and_then(|text| text.parse().ok());
        let number = number.filter(|number| *number > 0);
        let size = number.and_then(|number: u64| number.checked_mul(unit));
        size.ok_or_else(|| "not a size such as 10, 500k, 20m or 1g".to_owned())
    }

    pub(super) fn parsed<T: FromStr>(&self, what: &str) -> Result<T, String> {
        self.value.parse().map_err(|_| format!("not {what}"))
    }

    pub(super) fn named<T: FromStr<Err = NoSuchName>>(&self) -> Result<T, String> {
        self.value
            .parse()
            .map_err(|error: NoSuchName| error.to_string())
    }

    pub(super) fn one_of(&self, names: &'static [&'static str]) -> Result<&'static str, String> {
        let name = names.iter().find(|name| **name == self.value);
        name.copied().ok_or_else(|| NoSuchName(names).to_string())
    }

    pub(super) fn host_name(&self) -> Result<String, String> {
        if names::is_host_name(self.value) {
            Ok(self.value.to_owned())
        } else {
            Err("not a host name".to_owned())
        }
    }

    /// Parses a text that fits into a DHCP option.
    pub(super) fn printable(&self) -> Result<String, String> {
        // The length of an option is one byte (RFC 2132 §2).
        if (1..=255).contains(&self.value.len()) && names::is_path(self.value) {
            Ok(self.value.to_owned())
        } else {
            Err("not 1 to 255 printable bytes".to_owned())
        }
    }

    pub(super) fn add_to(&self, list: &mut Vec<String>) -> Result<(), String> {
        if self.is_first {
            list.clear();
        }
        list.push(self.value.to_owned());
        Ok(())
    }

    /// Parses options by number or name, separated by commas, and adds them to `list`.
    pub(super) fn add_codes_to(&self, list: &mut Vec<u8>) -> Result<(), String> {
        let code = |text: &str| {
            // 0 and 255 are pad and end, which have no value (RFC 2132 §3).
            parse_code(text).ok_or_else(|| {
                format!(
                    "not a list of DHCP options: \"{text}\" is neither the name of an option nor a number \
                     from 1 to 254; 'wireboot help options' lists the names"
                )
            })
        };
        let codes: Vec<u8> = self.value.split(',').map(code).collect::<Result<_, _>>()?;
        if self.is_first {
            list.clear();
        }
        list.extend(codes);
        Ok(())
    }
}
