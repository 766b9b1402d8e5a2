//! `wireboot boot`: the whole path, from the interface to the jump into the fetched kernel.

use crate::agent;
use crate::error::Error;
use crate::settings::parse::Settings;

pub(super) fn run(settings: &Settings) -> Result<(), Error> {
    let step = agent::run(&settings.config)?;
    log::info!("stopped after {step} (--stop-after)");
    Ok(())
}
