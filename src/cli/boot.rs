//! `wireboot boot`: the whole path, from the interface to the jump into the fetched kernel.

use super::flags::{Arguments, COMMON_HELP, Common, Flag};
use crate::agent;
use crate::config::{Config, Report};
use crate::error::Error;

const HELP: &str = "\
usage: wireboot boot [FLAG]…

Acquires a lease, follows its boot file to a kernel and initrds, fetches them and starts them with
kexec, at once: disks are written to, but nothing is unmounted or stopped.

  --boot-file FILE      begin with this path or URL in place of the lease's
  --initrd FILE         an initrd for a boot file that is a kernel; may be given several times
  --mirror URL          a folder on another server, in which files are looked for, by their whole paths,
                        that their own server does not give; may be given several times
  --ca FILE             trust only the certificates in this PEM file, of authorities or of servers
                        themselves (the system's)
  --cert FILE           show https servers the certificate in this PEM file, which has its key too
  --policy FILE         follow the rules in FILE (/etc/wireboot/policy, if it is there): lines of
                        key KEY, require-signature, allow-scheme NAME, allow-host NAME
  --key KEY             count signatures of this minisign key; a file or the key itself; may be given
                        several times
  --require-signature   read and start nothing that none of the keys has signed: each file has its
                        signature beside it, named .minisig
  --append TEXT, --command-line-append TEXT
                        put TEXT behind the kernel's command line; {ip}, {bootif}, {address},
                        {netmask}, {gateway}, {server}, {mac}, {hostname} and {uuid} in it become
                        what the lease says
  --explain             print which file and line each decision came from
  --json                with --stop-after plan: print the plan as JSON
  --unattended          take the default of every menu at once
  --stop-after STEP     end after link, lease, plan, image or load
";

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut common = Common::over(Config::for_boot());
    while let Some(flag) = arguments.next()? {
        let config = &mut common.config;
        match &flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}{COMMON_HELP}");
                return Ok(());
            }
            Flag::Long(name) if name == "boot-file" => config.boot_file = Some(arguments.value()?),
            Flag::Long(name) if name == "initrd" => config.initrds.push(arguments.value()?),
            Flag::Long(name) if name == "mirror" => config.mirrors.push(arguments.value()?),
            Flag::Long(name) if name == "ca" => config.ca = Some(arguments.value()?),
            Flag::Long(name) if name == "cert" => config.certificate = Some(arguments.value()?),
            Flag::Long(name) if name == "policy" => config.policy = Some(arguments.value()?),
            Flag::Long(name) if name == "key" => config.keys.push(arguments.value()?),
            Flag::Long(name) if name == "require-signature" => config.must_be_signed = true,
            Flag::Long(name) if name == "explain" => config.report = Report::Explain,
            Flag::Long(name) if name == "json" => config.report = Report::Json,
            Flag::Long(name) if name == "unattended" => config.unattended = true,
            Flag::Long(name) if matches!(name.as_str(), "append" | "command-line-append") => {
                config.append = Some(arguments.value()?)
            }
            Flag::Long(name) if name == "stop-after" => {
                config.stop_after = Some(arguments.choice()?);
            }
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => {
                common.take(&flag, &mut arguments)?
            }
        }
    }
    let config = common.finish()?;
    agent::run(&config).map(|step| log::info!("stopped after {step:?}, as told"))
}
