//! `wireboot discover`: all answers of DHCP servers, and the one a boot would use; and of routers and servers
//! of IPv6.

mod answers;

use crate::acquire::{self, Surveyed};
use crate::config::{Config, Family};
use crate::error::{Error, Reason};
use crate::link;
use crate::recorder::Recorder;
use crate::settings::options::Settings;
use crate::sys::descriptor::columns;
use crate::sys::signal::Signals;
use crate::sys::terminal::print;

use answers::{AnswerRow, Report6};
use wireboot_proto::dhcp::survey::{suspicions, verdicts};

pub(super) fn run(settings: Settings) -> Result<(), Error> {
    let recorder = Recorder::default();
    let result = survey(&settings, &recorder);
    recorder.save_after(settings.config.output.record.as_deref(), result)
}

fn survey(settings: &Settings, recorder: &Recorder) -> Result<(), Error> {
    let family = settings.config.dhcp.family;
    let signals = Signals::open().map_err(Reason::no_signals)?;
    match family {
        None | Some(Family::V4) => tell(settings, &survey4(settings, recorder, &signals)?, None),
        Some(Family::V6) => {
            let six = survey6(settings, recorder, &signals)?;
            tell(settings, &[], Some(&six))
        }
        Some(Family::Either) => {
            let mut both = survey4(settings, recorder, &signals)?;
            let six = Report6::read(acquire::surveyed6(&mut both));
            tell(settings, &both, Some(&six))
        }
    }
}

fn survey6(settings: &Settings, recorder: &Recorder, signals: &Signals) -> Result<Report6, Error> {
    let (config, wait) = (&settings.config, settings.discover.wait);
    let found = link::find(&config.link, recorder, Some(signals))?;
    acquire::survey6(found, config, wait, signals).map(Report6::read)
}

fn survey4(
    settings: &Settings,
    recorder: &Recorder,
    signals: &Signals,
) -> Result<Vec<Surveyed>, Error> {
    let (config, wait) = (&settings.config, settings.discover.wait);
    let found = link::find(&config.link, recorder, Some(signals))?;
    acquire::survey(found, config, wait, signals)
}

/// Prints what was answered, over IPv4, and over IPv6 if that was asked.
fn tell(settings: &Settings, surveyed: &[Surveyed], six: Option<&Report6>) -> Result<(), Error> {
    let wait = settings.discover.wait;
    let rows = rows(surveyed, &settings.config);
    let mut text = if settings.json {
        answers::json(surveyed, &rows, six)
    } else {
        answers::text(&rows, settings.verbosity > 0, columns()) + &answers::places(surveyed)
    };
    if let Some(six) = six.filter(|_| !settings.json) {
        text.push_str(&six.text());
    }
    print(&text);
    let is_answered = six.is_some_and(|six| !six.is_empty());
    if rows.is_empty() && !is_answered {
        if surveyed.is_empty() {
            let seconds = wait.as_secs();
            return Err(Box::new(Reason::NoOffer(format!(
                "no router and no server of IPv6 has answered within {seconds} s"
            ))));
        }
        return Err(acquire::unanswered(surveyed, wait));
    }
    for one in surveyed {
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
