//! `wireboot discover`: who answers on the network, with what, and what a boot would take of it.

mod json;
mod table;

use std::io::Write;
use std::time::Duration;

use super::flags::{Arguments, COMMON_HELP, Common, Flag};
use super::receive_signals;
use crate::acquire::{self, Surveyed};
use crate::config::Config;
use crate::dhcp::survey::{Answer, Verdict, suspicions, verdicts};
use crate::error::Error;
use crate::link;
use crate::recorder;

const HELP: &str = "\
usage: wireboot discover [FLAG]…

Shows every offer and ProxyDHCP answer of every server, and which of them a boot would take, marked
* and told under WHY. Takes none, and leaves the interfaces as they were. From an interface that has
an IPv4 address, the boot services that are offered are asked where they lead to (port 4011). Servers
that contradict the others or themselves are marked !. Without -i it asks on every Ethernet interface with a device
behind it. Ends with exit code 3 when nobody answers.

  --wait SECS           collect answers this long once there is a carrier (3)
  --json                print JSON, with all options of all answers
";

/// How long answers are collected: the third DISCOVER, after 1.5 s, has time to be answered.
const WAIT: Duration = Duration::from_secs(3);

/// An answer with what is thought of it.
struct Row<'a> {
    interface: &'a str,
    answer: &'a Answer,
    verdict: Verdict,
    suspicions: Vec<String>,
}

pub(super) fn run(mut arguments: Arguments) -> Result<(), Error> {
    let mut common = Common::over(Config::for_boot());
    let (mut wait, mut as_json) = (WAIT, false);
    while let Some(flag) = arguments.next()? {
        match &flag {
            flag if flag.is('h', "help") => {
                print!("{HELP}{COMMON_HELP}");
                return Ok(());
            }
            Flag::Long(name) if name == "wait" => wait = arguments.seconds()?,
            Flag::Long(name) if name == "json" => as_json = true,
            Flag::Short(_) | Flag::Long(_) | Flag::Value(_) => {
                common.take(&flag, &mut arguments)?
            }
        }
    }
    let shows_options = common.is_verbose();
    let config = common.finish()?;
    let result = ask(&config, wait, as_json, shows_options);
    recorder::save_after(config.record.as_deref(), result)
}

fn ask(config: &Config, wait: Duration, as_json: bool, shows_options: bool) -> Result<(), Error> {
    let found = link::find(config)?;
    let signals = receive_signals()?;
    let surveyed = acquire::survey(found, config, wait, &signals)?;
    let rows = rows(&surveyed, config);
    let text = match as_json {
        true => json::text(&surveyed, &rows),
        false => table::text(&rows, shows_options),
    };
    // Whoever reads may close the pipe; nobody is left to tell.
    let _ = write!(std::io::stdout(), "{text}");
    if rows.is_empty() {
        return Err(failure(&surveyed, wait));
    }
    for one in &surveyed {
        let discarded = one.discarded();
        if !discarded.is_empty() {
            log::warn!("{}: {discarded}", one.link.name);
        }
    }
    for silent in surveyed.iter().filter(|one| !one.had_carrier) {
        log::warn!(
            "{}: no carrier, so nobody was asked there",
            silent.link.name
        );
    }
    Ok(())
}

/// Returns all answers with what is thought of them, in the order of interfaces and arrival.
fn rows<'a>(surveyed: &'a [Surveyed], config: &Config) -> Vec<Row<'a>> {
    let answers: Vec<_> = surveyed.iter().map(|one| &one.answers[..]).collect();
    let is_ordered = !config.interfaces.is_empty();
    let verdicts = verdicts(&answers, is_ordered, config.proxy_wait.unwrap_or_default());
    let mut rows = Vec::new();
    for (one, verdicts) in surveyed.iter().zip(verdicts) {
        let answers: Vec<_> = one.answers.iter().collect();
        let suspicions = suspicions(&answers);
        for ((answer, suspicions), mut verdict) in answers.into_iter().zip(suspicions).zip(verdicts)
        {
            for unknown in &one.unknown {
                if answer.asked.is_none() && unknown.service == answer.offer.lease.server {
                    verdict.why.push_str(&format!("; {}", unknown.what));
                }
            }
            rows.push(Row {
                interface: &one.link.name,
                answer,
                verdict,
                suspicions,
            });
        }
    }
    rows
}

/// Tells of each interface why nobody may have answered there.
fn failure(surveyed: &[Surveyed], wait: Duration) -> Error {
    let asked = surveyed.iter().filter(|one| one.had_carrier);
    let mut errors: Vec<_> = asked.map(|one| one.failure(wait)).collect();
    let last = errors.pop();
    for error in errors {
        log::error!("{}", error.chain());
    }
    last.unwrap_or_else(|| Error::NoOffer("no interface was asked on".to_owned()))
}
