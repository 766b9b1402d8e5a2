//! The kernel command line → [`Config`]: `ip=`, `BOOTIF=`, `wireboot.KEY=VALUE`.
//!
//! Everything else belongs to the kernel or to others. What is ours and cannot be followed is
//! told, and the rest still counts: a machine that boots by itself has nobody to correct it.

#![forbid(unsafe_code)]

use std::str::FromStr;
use std::time::Duration;

use crate::config::{Config, OnFailure};

/// Hardware type of Ethernet, before the address in `BOOTIF=` as pxelinux writes it.
const BOOTIF_ETHERNET: &str = "01-";

/// Changes `config` as `text` says; returns what could not be followed.
pub fn apply(text: &str, config: &mut Config) -> Vec<String> {
    let mut complaints = Vec::new();
    for parameter in split(text) {
        let (name, value) = parameter.split_once('=').unwrap_or((&parameter, ""));
        // The kernel takes - and _ for the same in names of parameters.
        let name = name.replace('-', "_");
        let followed = match name.as_str() {
            "ip" => apply_ip(value, config),
            "BOOTIF" => apply_bootif(value, config),
            name => match name.strip_prefix("wireboot.") {
                Some(key) => apply_own(key, value, config),
                None => Ok(()),
            },
        };
        if let Err(why) = followed {
            complaints.push(format!("\"{parameter}\" on the kernel command line {why}"));
        }
    }
    complaints
}

/// Splits at white space outside of double quotes, which are taken out, as the kernel does.
fn split(text: &str) -> Vec<String> {
    let mut parameters = Vec::new();
    let mut parameter = String::new();
    let mut is_quoted = false;
    for character in text.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            character if character.is_whitespace() && !is_quoted => {
                parameters.push(std::mem::take(&mut parameter));
            }
            character => parameter.push(character),
        }
    }
    parameters.push(parameter);
    parameters.retain(|parameter| !parameter.is_empty());
    parameters
}

/// `ip=METHOD` or `ip=client:server:gateway:netmask:name:interface:METHOD…`, as klibc has it.
fn apply_ip(value: &str, config: &mut Config) -> Result<(), String> {
    let mut fields = value.split(':');
    let first = fields.next().unwrap_or_default();
    let Some(interface) = fields.nth(4) else {
        return method(first);
    };
    if !first.is_empty() {
        return Err("asks for a static address, which is not supported".to_owned());
    }
    method(fields.next().unwrap_or_default())?;
    if !interface.is_empty() {
        config.interfaces.push(interface.to_owned());
    }
    Ok(())
}

fn method(text: &str) -> Result<(), String> {
    match text {
        "" | "dhcp" | "on" | "any" | "both" => Ok(()),
        other => Err(format!(
            "asks for the method \"{other}\"; only dhcp is supported"
        )),
    }
}

fn apply_bootif(value: &str, config: &mut Config) -> Result<(), String> {
    let address = value.strip_prefix(BOOTIF_ETHERNET).unwrap_or(value);
    let address = address.parse().map_err(|_| "is no Ethernet address")?;
    config.boot_interface = Some(address);
    Ok(())
}

fn apply_own(key: &str, value: &str, config: &mut Config) -> Result<(), String> {
    match key {
        "interface" => config.interfaces.push(value.to_owned()),
        "link_timeout" => config.link_timeout = seconds(value)?,
        "timeout" => config.lease_timeout = seconds(value)?,
        "proxy_wait" => config.proxy_wait = Some(seconds(value)?),
        "identify" => config.identify = word(value, "pxe, ipxe, http and plain")?,
        "stop_after" => config.stop_after = Some(word(value, "lease, plan, image and load")?),
        "append" => config.append = Some(value.to_owned()),
        "boot_file" => config.boot_file = Some(value.to_owned()),
        "on_failure" => {
            config.on_failure = word::<OnFailure>(value, "retry, shell, reboot and poweroff")?;
        }
        "quiet" => config.quiet = true,
        _ => return Err("is not known".to_owned()),
    }
    Ok(())
}

fn seconds(value: &str) -> Result<Duration, String> {
    let wrong = || "is no number of seconds".to_owned();
    let seconds: f64 = value.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn word<T: FromStr>(value: &str, known: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("is none of {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identify;
    use crate::wire::ethernet::MacAddress;

    fn applied(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let complaints = apply(text, &mut config);
        (config, complaints)
    }

    #[test]
    fn what_is_not_ours_changes_nothing() {
        let text = "BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet console=ttyS0,115200n8 -- x=y\n";
        assert_eq!(applied(text), (Config::default(), vec![]));
    }

    #[test]
    fn each_of_our_words_is_followed() {
        let (config, complaints) = applied(
            "ip=:::::eth1:dhcp BOOTIF=01-52-54-00-12-34-56 wireboot.timeout=2.5 \
             wireboot.link-timeout=7 wireboot.identify=pxe wireboot.on-failure=poweroff \
             wireboot.append=\"a=b c\" \"wireboot.boot_file=http://192.0.2.1/x y\"",
        );
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(config.interfaces, ["eth1"]);
        assert_eq!(
            config.boot_interface,
            Some(MacAddress([0x52, 0x54, 0, 0x12, 0x34, 0x56]))
        );
        assert_eq!(config.lease_timeout, Duration::from_millis(2500));
        assert_eq!(config.link_timeout, Duration::from_secs(7));
        assert_eq!(config.identify, Identify::Pxe);
        assert_eq!(config.on_failure, OnFailure::PowerOff);
        assert_eq!(config.append.as_deref(), Some("a=b c"));
        assert_eq!(config.boot_file.as_deref(), Some("http://192.0.2.1/x y"));
    }

    #[test]
    fn what_cannot_be_followed_is_told_and_the_rest_counts() {
        let (config, complaints) = applied(
            "wireboot.typo=1 wireboot.timeout=-1 ip=192.0.2.5::192.0.2.1:255.255.255.0::eth0:off \
             ip=rarp BOOTIF=20-1 wireboot.identify=x wireboot.quiet",
        );
        assert_eq!(complaints.len(), 6, "{complaints:?}");
        assert!(complaints[0].contains("\"wireboot.typo=1\""));
        assert!(config.quiet);
        assert_eq!(config.interfaces, Vec::<String>::new());
    }
}
