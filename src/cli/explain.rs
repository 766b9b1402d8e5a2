//! `wireboot explain`: the meaning of a kernel command line to wireboot.

use std::path::Path;

use crate::config::Config;
use crate::error::{Error, Reason};
use crate::settings::cmdline::{self, KERNEL_COMMAND_LINE, Meaning, Remark};
use crate::settings::options::Settings;
use crate::sys::terminal::print;
use wireboot_proto::text::safe::Safe;
use wireboot_proto::time::Seconds;

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let mut texts = settings.operands;
    if texts.is_empty() {
        texts.push(cmdline::read(KERNEL_COMMAND_LINE)?);
    }
    let text = texts.join(" ");
    let mut line = cmdline::parse(&text, Config::for_boot());
    line.remarks.append(&mut line.roots_of_others);
    let text: String = line.remarks.iter().map(describe).collect();
    print(&(text + &summary(&line.config)));
    match line
        .remarks
        .iter()
        .filter(|r| r.refusal().is_some())
        .count()
    {
        0 => Ok(()),
        1 => Err(Box::new(Reason::Usage(
            "1 word is not supported".to_owned(),
        ))),
        count => Err(Box::new(Reason::Usage(format!(
            "{count} words are not supported"
        )))),
    }
}

fn describe(remark: &Remark) -> String {
    // A boot loader that got it from the network may have passed the line on.
    let word = Safe::name(&remark.word);
    let line = match &remark.meaning {
        Meaning::Followed(meaning) => format!("{word}: {meaning}{}", question(&remark.word)),
        Meaning::Needless(why) => format!("{word}: ignored ({why})"),
        Meaning::Refused(why) => format!("{word}: NOT SUPPORTED: {why}"),
    };
    format!("{}\n", Safe::line(line))
}

/// Returns a question if the word names an interface that does not exist and may be a misspelled
/// method. It is no error: the driver may be loaded later.
fn question(word: &str) -> String {
    let interface = word.strip_prefix("ip=").unwrap_or_default();
    match cmdline::misspelled_method(interface) {
        Some(method) if !Path::new("/sys/class/net").join(interface).exists() => {
            format!(" (no such interface now; did you mean ip={method}?)")
        }
        Some(_) | None => String::new(),
    }
}

fn summary(config: &Config) -> String {
    let interfaces = match (&config.link.interfaces[..], config.link.boot_interface) {
        ([], None) => "every Ethernet interface with a device behind it".to_owned(),
        ([], Some(mac)) => format!("the interface with the address {mac}"),
        (names, _) => Safe::name(names.join(", ")).to_string(),
    };
    let file = match &config.boot.file {
        Some(file) => Safe::name(file).to_string(),
        None if config.dhcp.given.address.is_some() => {
            "nothing: without DHCP there is no boot file but wireboot.boot-file=".to_owned()
        }
        None => "the boot file of the lease".to_owned(),
    };
    let address = match config.dhcp.given.address {
        Some((address, prefix_len)) => format!("{address}/{prefix_len}, without DHCP"),
        None => format!("by DHCP, up to {} s", Seconds(config.dhcp.timeout)),
    };
    format!(
        "interfaces: {interfaces}, up to {} s for a carrier\naddress: {address}\nboots: {file}\n\
         on failure: {}\n",
        Seconds(config.link.timeout),
        config.boot.on_failure,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_named_almost_as_a_method_is_questioned() {
        for (word, expected) in [
            ("ip=dchp", "did you mean ip=dhcp?)"),
            ("ip=dhpc", "did you mean ip=dhcp?)"),
            ("ip=boot", "did you mean ip=bootp?)"),
            ("ip=eno1", "an address by DHCP on eno1"),
            ("ip=lo", "an address by DHCP on lo"),
            ("ip=dhcp", "an address by DHCP on any interface"),
            ("ip=dhcp6", "IPv6 by routers and DHCPv6 on any interface"),
        ] {
            let line = cmdline::parse(word, Config::for_boot());
            let text: String = line.remarks.iter().map(describe).collect();
            assert!(text.trim_end().ends_with(expected), "{text}");
        }
    }

    #[test]
    fn a_terminal_obeys_no_word() {
        let line = cmdline::parse(
            "wireboot.boot-file=http://h/\u{1b}]0;x\u{7} rd.neednet=\u{9b}2J ip=\u{1b}[2J:dhcp",
            Config::for_boot(),
        );
        let text: String = line.remarks.iter().map(describe).collect();
        let text = text + &summary(&line.config);
        assert!(text.lines().count() >= 6, "{text}");
        let is_obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(is_obeyed), "{text:?}");
    }

    #[test]
    fn each_word_is_explained_and_the_resulting_configuration() {
        let line = cmdline::parse(
            "quiet ip=:::::eth1:dhcp rd.neednet=1 bridge=br0:eth1",
            Config::for_boot(),
        );
        let text: String = line.remarks.iter().map(describe).collect();
        assert_eq!(
            text + &summary(&line.config),
            "ip=:::::eth1:dhcp: an address by DHCP on eth1\n\
             rd.neednet=1: ignored (the network is always configured)\n\
             bridge=br0:eth1: NOT SUPPORTED: a bridge cannot be set up; boot over one of its ports\n\
             interfaces: eth1, up to 30 s for a carrier\n\
             address: by DHCP, up to 60 s\n\
             boots: the boot file of the lease\n\
             on failure: retry\n"
        );
    }
}
