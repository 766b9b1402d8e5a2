//! `wireboot explain`: what a kernel command line means to wireboot.

use std::io::Write;

use super::flags::{Arguments, Flag};
use crate::cmdline::{self, Meaning, Remark};
use crate::config::Config;
use crate::error::Error;
use crate::init::KERNEL_COMMAND_LINE;
use crate::time::Seconds;

const HELP: &str = "\
usage: wireboot explain [COMMANDLINE]…

Says what each word of a kernel command line means to wireboot, and what follows from all of them;
without an argument that of the running kernel. Words that are not named are none of its business.
Ends with exit code 1 when a word cannot be followed.

  -h, --help            print this text
";

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut texts = Vec::new();
    while let Some(flag) = arguments.next()? {
        match flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}");
                return Ok(());
            }
            Flag::Value(text) => texts.push(text),
            Flag::Short(_) | Flag::Long(_) => return Err(flag.unexpected()),
        }
    }
    if texts.is_empty() {
        let text = std::fs::read_to_string(KERNEL_COMMAND_LINE);
        texts.push(text.map_err(|error| {
            Error::Usage(format!("cannot read {KERNEL_COMMAND_LINE}: {error}"))
        })?);
    }
    let line = cmdline::parse(&texts.join(" "), Config::for_boot());
    let text: String = line.remarks.iter().map(describe).collect();
    // Whoever reads may close the pipe; nobody is left to tell.
    let _ = write!(std::io::stdout(), "{text}{}", summary(&line.config));
    match line
        .remarks
        .iter()
        .filter(|r| r.refusal().is_some())
        .count()
    {
        0 => Ok(()),
        1 => Err(Error::Usage("1 word cannot be followed".to_owned())),
        count => Err(Error::Usage(format!("{count} words cannot be followed"))),
    }
}

fn describe(remark: &Remark) -> String {
    match &remark.meaning {
        Meaning::Followed(meaning) => format!("{}: {meaning}\n", remark.word),
        Meaning::Needless(why) => format!("{}: needless, {why}\n", remark.word),
        Meaning::Refused(why) => format!("{}: NOT FOLLOWED, {why}\n", remark.word),
    }
}

fn summary(config: &Config) -> String {
    let interfaces = match (&config.interfaces[..], config.boot_interface) {
        ([], None) => "every Ethernet interface with a device behind it".to_owned(),
        ([], Some(mac)) => format!("the interface with the address {mac}"),
        (names, _) => names.join(", "),
    };
    let file = match &config.boot_file {
        Some(file) => file.clone(),
        None => "the boot file of the lease".to_owned(),
    };
    let address = match config.given.address {
        Some((address, prefix_len)) => format!("{address}/{prefix_len}, without DHCP"),
        None => format!("by DHCP, within {} s", Seconds(config.lease_timeout)),
    };
    format!(
        "interfaces: {interfaces}, waited for {} s\naddress: {address}\nboots: {file}\n\
         on failure: {:?}\n",
        Seconds(config.link_timeout),
        config.on_failure,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_told_and_what_follows_from_all() {
        let line = cmdline::parse(
            "quiet ip=:::::eth1:dhcp rd.neednet=1 bridge=br0:eth1",
            Config::for_boot(),
        );
        let text: String = line.remarks.iter().map(describe).collect();
        assert_eq!(
            text + &summary(&line.config),
            "ip=:::::eth1:dhcp: an address by DHCP on eth1\n\
             rd.neednet=1: needless, the network is always set up\n\
             bridge=br0:eth1: NOT FOLLOWED, a bridge cannot be set up; boot over one of its ports\n\
             interfaces: eth1, waited for 30 s\n\
             address: by DHCP, within 60 s\n\
             boots: the boot file of the lease\n\
             on failure: Retry\n"
        );
    }
}
