//! `wireboot lease`: acquires a lease and configures the interface.

use super::flags::{Arguments, COMMON_HELP, Common, Flag};
use crate::config::Config;
use crate::dhcp::lease::Lease;
use crate::error::Error;
use crate::{acquire, agent, link};

const HELP: &str = "\
usage: wireboot lease [FLAG]…

Acquires a DHCP lease and configures address, routes and MTU. Without -i every Ethernet
interface with a device behind it is tried at once; the first lease wins.

  --dry-run             say what would be configured, and leave the interface as it was
";

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut common = Common::default();
    let mut dry_run = false;
    while let Some(flag) = arguments.next()? {
        match &flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}{COMMON_HELP}");
                return Ok(());
            }
            Flag::Long(name) if name == "dry-run" => dry_run = true,
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => {
                common.take(&flag, &mut arguments)?
            }
        }
    }
    let config = common.finish();
    let (link, lease) = if dry_run {
        let (link, lease) = acquire::lease(link::find(&config)?, &config)?;
        link.restore();
        (link, lease)
    } else {
        agent::lease(&config)?
    };
    print(&config, &link.name, &lease);
    Ok(())
}

fn print(config: &Config, interface: &str, lease: &Lease) {
    if config.quiet {
        return;
    }
    println!("{interface}: {lease}");
    for route in &lease.routes {
        let via = route
            .gateway
            .map_or_else(String::new, |gateway| format!(" via {gateway}"));
        println!(
            "{interface}: route {}/{}{via}",
            route.destination, route.prefix_len
        );
    }
    if let Some(file) = &lease.boot_file {
        println!("{interface}: boot file {file}");
    }
}
