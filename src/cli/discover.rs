//! `wireboot discover`: all answers of DHCP servers, and the one a boot would use.

mod answers;

use crate::acquire::{self, Surveyed};
use crate::config::Config;
use crate::error::Error;
use crate::link;
use crate::recorder::Recorder;
use crate::settings::options::Settings;
use crate::sys::descriptor::columns;
use crate::sys::signal::Signals;
use crate::sys::terminal::print;

use answers::AnswerRow;
use wireboot_proto::dhcp::survey::{suspicions, verdicts};

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let recorder = Recorder::default();
    let result = survey(&settings, &recorder);
    recorder.save_after(settings.config.output.record.as_deref(), result)
}

fn survey(settings: &Settings, recorder: &Recorder) -> Result<(), Error> {
    let (config, wait) = (&settings.config, settings.discover.wait);
    let found = link::find(&config.link, recorder, None)?;
    let signals = Signals::open().map_err(Error::no_signals)?;
    let surveyed = acquire::survey(found, config, wait, &signals)?;
    let rows = rows(&surveyed, config);
    let text = if settings.json {
        answers::json(&surveyed, &rows)
    } else {
        answers::text(&rows, settings.verbosity > 0, columns()) + &answers::places(&surveyed)
    };
    print(&text);
    if rows.is_empty() {
        return Err(acquire::unanswered(&surveyed, wait));
    }
    for one in &surveyed {
        let discarded = one.discarded();
        if !discarded.is_empty() {
            log::warn!("{}: {discarded}", one.link.name);
        }
    }
    for silent in surveyed.iter().filter(|one| !one.had_carrier) {
        log::warn!("{}: no carrier, nothing sent", silent.link.name);
    }
    Ok(())
}

/// Returns all answers with the verdicts on them, in the order of interfaces and arrival.
fn rows<'a>(surveyed: &'a [Surveyed], config: &Config) -> Vec<AnswerRow<'a>> {
    let answers: Vec<_> = surveyed.iter().map(|one| &one.answers[..]).collect();
    let is_ordered = !config.link.interfaces.is_empty();
    let verdicts = verdicts(
        &answers,
        is_ordered,
        config.dhcp.proxy_wait.unwrap_or_default() + config.dhcp.late_wait,
    );
    let mut rows = Vec::new();
    for (one, verdicts) in surveyed.iter().zip(verdicts) {
        let answers: Vec<_> = one.answers.iter().collect();
        let suspicions = suspicions(&answers);
        for ((answer, suspicions), mut verdict) in answers.into_iter().zip(suspicions).zip(verdicts)
        {
            for unknown in &one.unknown {
                if answer.asked.is_none() && unknown.service == answer.offer.server {
                    verdict.why.push_str(&format!("; {}", unknown.what));
                }
            }
            rows.push(AnswerRow {
                interface: &one.link.name,
                lease: answer.offer.lease(),
                answer,
                verdict,
                suspicions,
            });
        }
    }
    rows
}
